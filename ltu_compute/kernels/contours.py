"""Outlines of the areas of a binary image."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Box, Mask, Region, Vertices


def outer_contours(mask: Mask, *, only_biggest: bool = False) -> list[Region]:
    """Trace the outer outlines of the areas of a mask.

    Areas are 8-connected. Straight runs are reduced to their ends; nothing else is simplified.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background, anything else belongs to an area.
    only_biggest : bool, default False
        Return only the outline that encloses most pixels.

    Returns
    -------
    list of Region
        The outline that encloses most pixels first; equal ones from top to bottom, then from left
        to right. Empty when the mask is.

    References
    ----------
    S. Suzuki, K. Abe, "Topological Structural Analysis of Digitized Binary Images by Border
    Following", CVGIP 30(1), 1985.
    """
    return regions(outer_outlines(mask), only_biggest=only_biggest)


def outer_outlines(mask: Mask) -> list[Vertices]:
    """Trace the outer outlines of the areas of a mask, in px of the mask, in no stated order.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background, anything else belongs to an area.

    Returns
    -------
    list of ndarray of int32, shape (N, 2)
        One of each 8-connected area that does not lie in a hole of another; x, y in px.
    """
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [np.asarray(outline, np.int32).reshape(-1, 2) for outline in found]


def regions(outlines: Sequence[Vertices], *, only_biggest: bool = False) -> list[Region]:
    """Return the areas that outlines enclose, each with its box.

    Parameters
    ----------
    outlines : sequence of ndarray of int32, shape (N, 2)
        From `outer_outlines`.
    only_biggest : bool, default False
        Return only the one that encloses most pixels.

    Returns
    -------
    list of Region
        In the order of `outer_contours`.
    """
    if not outlines:
        return []
    x, y, starts = _coordinates(outlines)
    left, top = np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)
    width, height = np.maximum.reduceat(x, starts) - left, np.maximum.reduceat(y, starts) - top
    boxes = np.stack([left, top, width + 1, height + 1], axis=1)
    order = np.lexsort((left, top, -_enclosed_pixels(x, y, starts)))
    if only_biggest:
        order = order[:1]
    return [
        Region(Box(*boxes[index].tolist()), outlines[index] - boxes[index, :2].astype(np.int32))
        for index in order.tolist()
    ]


def enclosed_pixels(outlines: Sequence[Vertices]) -> NDArray[np.int64]:
    """Count the pixels that each outline encloses, its own and those of holes included.

    By Pick's theorem, A + B / 2 + 1 for a polygon of area A through the centres of B pixels. It
    holds for lines and for areas that touch themselves, where the polygon's area alone would be
    far too small.

    Parameters
    ----------
    outlines : sequence of ndarray of int32, shape (N, 2)
        Closed 8-connected outlines; x, y in px.

    Returns
    -------
    ndarray of int64, shape (len(outlines),)
        Numbers of pixels.
    """
    if not outlines:
        return np.zeros(0, np.int64)
    return _enclosed_pixels(*_coordinates(outlines))


_Integers = NDArray[np.int64]


def _coordinates(outlines: Sequence[Vertices]) -> tuple[_Integers, _Integers, _Integers]:
    """Return x and y of all vertices, one outline after the other, and where each begins.

    In arrays of their own: NumPy takes several times as long over pairs.
    """
    x, y = np.ascontiguousarray(np.concatenate(outlines).T, np.int64)
    ends = np.cumsum([len(outline) for outline in outlines])
    return x, y, np.concatenate(([0], ends[:-1]))


def _enclosed_pixels(x: _Integers, y: _Integers, starts: _Integers) -> _Integers:
    next_x, next_y = np.empty_like(x), np.empty_like(y)
    for values, following in ((x, next_x), (y, next_y)):
        following[:-1] = values[1:]
        following[starts[1:] - 1] = values[starts[:-1]]
        following[-1] = values[starts[-1]]
    doubled_area = np.abs(np.add.reduceat(x * next_y - next_x * y, starts))
    steps = np.maximum(np.abs(next_x - x), np.abs(next_y - y))
    pixels: _Integers = (doubled_area + np.add.reduceat(steps, starts)) // 2 + 1
    return pixels
