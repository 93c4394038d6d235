"""Make two shots equally sharp."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.order_statistics import percentile
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr

Pixels = Bgr | Floats
_LEAST_CHROMA = 12  # levels, of 255: a picture with less everywhere is grey
_SOFTER = 0.93  # greatest share of the residual left by a blur: any blur removes noise
_FOCUS_SIGMAS = (0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)


@of_reference
def lightness(coordinates: Floats) -> Floats:
    """Return the first coordinate of colours, shape (H, W)."""
    return coordinates[..., 0]


def chroma_blur_to_match(
    first: Pixels, second: Pixels, compared: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the sigmas, in px, by which to blur the colours of two images; one is 0.

    JPEG often stores colours at half the resolution, and a demosaiced sensor has no more. Two hues
    of one lightness have no other edge that shows the focus.

    Parameters
    ----------
    first, second : ndarray of uint8 or float32, shapes (H, W, 3), or (H, W) without colour
        The images: blue, green, red, 0 to 255.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    """
    if first.ndim == 2:
        return 0.0, 0.0
    colours = [_chroma(picture) for picture in (first, second)]
    if max(np.abs(each).max(initial=0) for each in colours) < _LEAST_CHROMA / 2.55:
        return 0.0, 0.0
    return blur_to_match(colours[0], colours[1], compared, gain=_SOFTER, sigmas=_FOCUS_SIGMAS[1:])


@of_reference
def _chroma(picture: Pixels) -> Floats:
    """Return blue and red beyond luma, shape (H, W, 2), in percent of the range of levels."""
    return np.asarray(_beyond_luma(picture)[1][..., ::2] / np.float32(2.55), np.float32)


@of_reference
def softer_colours(picture: Pixels, sigma: float) -> Pixels:
    """Return a picture with its colours blurred by a Gaussian of `sigma` px, and its luma kept."""
    if not sigma:
        return picture
    luma, beyond = _beyond_luma(picture)
    depth = cv2.CV_8U if picture.dtype == np.uint8 else cv2.CV_32F
    softer: Pixels = np.asarray(cv2.add(luma, blurred(beyond, sigma), dtype=depth))
    return softer


def _beyond_luma(picture: Pixels) -> tuple[NDArray[Any], Floats]:
    """Return the luma (ITU-R BT.601) as three channels, and the picture beyond it."""
    luma = cv2.merge([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)] * 3)
    return luma, np.asarray(cv2.subtract(picture, luma, dtype=cv2.CV_32F), np.float32)


def blur_to_match(
    luma1: Floats,
    luma2: Floats,
    compared: NDArray[np.bool_],
    *,
    gain: float = 1.0,
    sigmas: Sequence[float] = _FOCUS_SIGMAS,
) -> tuple[float, float]:
    """Return the sigmas, in px, by which to blur two images to make them equally sharp; one is 0.

    Parameters
    ----------
    luma1, luma2 : ndarray of float32, shapes (H, W) or (H, W, C)
        Lightness of both, 0 to 100, or chroma in the same unit.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    gain : float
        Greatest share of the residual that the first blur may leave.
    sigmas : sequence of float
        Blurs to try, in px, ascending.
    """
    detail = np.maximum(_magnitude(_detail(luma1)), _magnitude(_detail(luma2)))
    if not compared.any():
        return 0.0, 0.0
    busy = compared & (detail >= percentile(detail[compared], 80)) & (detail > 1)
    if busy.sum() < 100:
        return 0.0, 0.0
    target1, target2 = luma1[busy], luma2[busy]
    best = _trimmed(target1 - target2)
    choice = (0.0, 0.0)
    for sigma in sigmas:
        gaps = (
            (_trimmed(blurred(luma1, sigma)[busy] - target2), (sigma, 0.0)),
            (_trimmed(target1 - blurred(luma2, sigma)[busy]), (0.0, sigma)),
        )
        gap, blurs = min(gaps)
        if gap >= best * (gain if choice == (0.0, 0.0) else 1):
            if choice == (0.0, 0.0) and gap < best:
                continue  # the first sigmas hardly blur: a larger one may leave much less
            break
        best, choice = gap, blurs
    return choice


@of_reference
def _detail(values: Floats) -> Floats:
    return values - blurred(values, 1.0)


def _magnitude(values: Floats) -> Floats:
    """Return the magnitude of numbers, shape (H, W), or of vectors, shape (H, W, C)."""
    lengths = np.abs(values) if values.ndim < 3 else np.linalg.norm(values, axis=2)
    return np.asarray(lengths, np.float32)


def _trimmed(residual: Floats) -> float:
    """Return the mean magnitude of the residual without its largest tenth."""
    magnitude = np.abs(residual) if residual.ndim == 1 else np.linalg.norm(residual, axis=1)
    return float(magnitude[magnitude <= percentile(magnitude, 90)].mean())
