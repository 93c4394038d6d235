"""Connected components of masks: OpenCV's, in a fraction of the time where little is set."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Mask

_MOST_SHORT = 65_000  # labels that 16 bits hold, and some less


class Components(NamedTuple):
    """Connected components.

    Attributes
    ----------
    labels : ndarray of int32, shape (H, W)
        Label of each pixel; 0 is the background.
    stats : ndarray of int32, shape (N + 1, 5)
        Left, top, width, height and area by label, in px. Those of the background mean nothing.
    """

    labels: NDArray[np.int32]
    stats: NDArray[np.int32]


def components_of(mask: Mask) -> Components:
    """Label the connected components of a mask, neighbours by a corner included.

    Labels are those of ``cv2.connectedComponentsWithStats``, which takes three times as long to
    count pixels in labels of 32 bits, and does so where nothing is set.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Not 0 where it is set.
    """
    part, left, top = _set_part(mask)
    labels = np.zeros(mask.shape, np.int32)
    if part.size == 0:
        return Components(labels, np.zeros((1, 5), np.int32))
    own, stats = _labelled(part)
    labels[top : top + part.shape[0], left : left + part.shape[1]] = own
    return Components(labels, stats + np.array([left, top, 0, 0, 0], np.int32))


def _set_part(mask: Mask) -> tuple[Mask, int, int]:
    """Return the part of a mask in which something is set, and its left and top.

    Both are even, for labels are given by blocks of 2 x 2 px.
    """
    x, y, width, height = cv2.boundingRect(mask)
    left, top = x & ~1, y & ~1
    return mask[top : y + height, left : x + width], left, top


def _labelled(part: Mask) -> tuple[NDArray[Any], NDArray[np.int32]]:
    most = -(-part.shape[0] // 2) * -(-part.shape[1] // 2)  # components: one in each block
    kind = cv2.CV_16U if most < _MOST_SHORT else cv2.CV_32S
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        part, 8, kind, cv2.CCL_DEFAULT
    )
    return labels, np.asarray(stats, np.int32)
