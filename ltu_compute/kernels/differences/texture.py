"""Distinguish a plain surface from one that is textured all over, if nothing could be aligned.

A fine texture that one shot shows and the other does not is no difference of any place: it looks
like noise, which is forgiven, and there is nothing in the plain shot to align it by.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr, Gray, Mask

_BLOCKS = 24  # along the longest side: small, so that uneven light is even in one of them
_LEAST_BLOCK_PX = 16  # px; the texture's period must fit into a block
_VISIBLE = 10.0  # levels: standard deviation that is no camera's noise
_TIMES = 3.0  # as strong in one image as in the other: more than focus and light explain
_SHARE = 0.1  # of the blocks: so much is no part of the subject that is missing


def same_texture(image1: Bgr, image2: Bgr, roi1: Mask | None = None) -> bool:
    """Return whether two images are about as plain or as textured, block by block.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        The images, which show the same from edge to edge if they show the same at all.
    roi1 : ndarray of uint8, shape (H, W), optional
        Region of interest on image 1, of any size: blocks of which none is in it do not count.

    Returns
    -------
    bool
        False if one image has a visible texture in a tenth of the blocks, three times as strong as
        the other image there.
    """
    longest = min(max(image1.shape[:2]), max(image2.shape[:2]))
    grays = gray_pair(reduced(image1, longest), reduced(image2, longest))
    shape = _grid(grays[0]), _grid(grays[1])
    rows, columns = (min(sides) for sides in zip(*shape, strict=True))
    first, second = (_by_block(gray, rows, columns, np.std) for gray in grays)
    stronger, weaker = np.maximum(first, second), np.minimum(first, second)
    unlike = (stronger >= _VISIBLE) & (stronger >= _TIMES * weaker)
    if roi1 is not None:
        within = cv2.resize(roi1, size_of(grays[0]), interpolation=cv2.INTER_NEAREST)
        unlike = unlike[_by_block(np.asarray(within, np.uint8), rows, columns, np.max) > 0]
    return bool(np.count_nonzero(unlike) <= _SHARE * unlike.size)


def _grid(gray: Gray) -> tuple[int, int]:
    """Return how many rows and columns of blocks an image has at the most."""
    side = max(_LEAST_BLOCK_PX, max(gray.shape) / _BLOCKS)
    height, width = gray.shape
    return max(1, round(height / side)), max(1, round(width / side))


def _by_block(
    gray: Gray, rows: int, columns: int, measure: Callable[[Gray], np.generic]
) -> NDArray[np.float64]:
    """Return a measure of each block of an image, shape (rows, columns)."""
    return np.array(
        [
            [float(measure(block)) for block in np.array_split(strip, columns, axis=1)]
            for strip in np.array_split(gray, rows)
        ]
    )
