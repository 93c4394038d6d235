"""Find patches of a shot that are like none of several good specimens nearby.

A thread that turns with its screw has the same details elsewhere on each specimen. So have a lead
that was bent by hand, and a mark that was pressed a little aside. A patch of a shot may therefore
be like one of any specimen within a short distance. This is the search of non-local means (Buades,
Coll and Morel, CVPR 2005) in the memory of PatchCore (Roth et al., CVPR 2022), with pixels as
features. `neighbourhoods` does the same with gradients.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from ltu_compute.cancellation import checked
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr

SIZE = 200
"""Longest side, px, at which patches are compared."""

REACH_PX = 7
"""Farthest displacement of a patch that is like another, px of `SIZE`, along each side."""

_SIDE = 5  # px of `SIZE`: side of the box that is applied twice, so that a patch is 9 px wide
_CHROMA_WEIGHT = 0.5  # of a* and b*, where the lightness has 1: colour is sharp to half as much


def colours(picture: Bgr) -> Floats:
    """Return the colours that patches consist of.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        It is reduced to `SIZE`.

    Returns
    -------
    ndarray of float32, shape (h, w, 3)
        CIE Lab, its chroma weighed.
    """
    small = reduced(picture, SIZE).astype(np.float32) / np.float32(255)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)
    weights = np.array([1, _CHROMA_WEIGHT, _CHROMA_WEIGHT], np.float32)
    return np.asarray(lab * weights, np.float32)


def distances(own: Floats, others: Sequence[Floats]) -> Floats:
    """Return how far each patch is from the most alike one of several pictures nearby.

    Parameters
    ----------
    own : ndarray of float32, shape (h, w, 3)
        The picture, as `colours` returns it.
    others : sequence of ndarray of float32, shapes (h, w, 3)
        The pictures that it is compared with, in the same place.

    Returns
    -------
    ndarray of float32, shape (h, w)
        Root of the mean square of colour differences within the patch, ΔE.
    """
    height, width = own.shape[:2]
    nearest = np.full((height, width), np.inf, np.float32)
    sums = np.ones((1, 3), np.float32)
    for other in checked(others):
        if other.shape != own.shape:
            raise ValueError("pictures must have one size")
        around = cv2.copyMakeBorder(other, *(REACH_PX,) * 4, cv2.BORDER_REPLICATE)
        for down in range(2 * REACH_PX + 1):
            for across in range(2 * REACH_PX + 1):
                away = cv2.subtract(own, around[down : down + height, across : across + width])
                squares = cv2.transform(cv2.multiply(away, away), sums)
                once = cv2.blur(squares, (_SIDE, _SIDE))
                nearest = cv2.min(nearest, cv2.blur(once, (_SIDE, _SIDE)))
    return np.asarray(np.sqrt(nearest), np.float32)
