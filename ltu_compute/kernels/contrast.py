"""Make pictures grey for what looks at shapes, such as keypoints."""

import math

import cv2
import numpy as np

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import first_channel, gray_of, is_colourless, roughly_reduced
from ltu_compute.kernels.types import Bgr, Gray

_LONGEST = 400  # px, about, at which contrast is measured
_DETAIL_PX = 2.0  # sigma, px: what varies more slowly is light
_FAINT = 0.35  # share of the best channel's contrast below which brightness is not used


def gray_pair(image1: Bgr, image2: Bgr) -> tuple[Gray, Gray]:
    """Make two pictures grey, alike.

    Print in one colour on another of the same brightness disappears when it is made grey. Where
    one channel shows much more than brightness does, in both pictures, it is taken instead.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        Two shots of one thing.

    Returns
    -------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        Brightness of both, or the same channel of both.
    """
    contrasts = np.minimum(
        *(_contrasts(roughly_reduced(image, _LONGEST)) for image in (image1, image2))
    )
    best = int(contrasts[1:].argmax())
    if contrasts[0] >= _FAINT * contrasts[1 + best]:
        return gray_of(image1), gray_of(image2)
    return _channel(image1, best), _channel(image2, best)


@of_reference
def _channel(image: Bgr, index: int) -> Gray:
    return np.asarray(cv2.extractChannel(image, index), np.uint8)


@of_reference
def _contrasts(image: Bgr) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the deviation of fine detail, in levels: of brightness, blue, green and red."""
    if is_colourless(image):
        return np.full(4, _detail_of(first_channel(image)))
    return np.array([_detail_of(plane) for plane in (gray_of(image), *cv2.split(image))])


def _detail_of(plane: Gray) -> float:
    values = plane.astype(np.float32)
    detail = cv2.subtract(values, cv2.GaussianBlur(values, (0, 0), _DETAIL_PX))
    return float(cv2.norm(detail)) / math.sqrt(detail.size)
