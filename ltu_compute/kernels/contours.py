"""Outlines of the areas of a binary image, and bounds on how much of them there can be.

A mask of stripes or specks has a vertex for every third pixel and an area for every few dozen:
at 50 MP that would be gigabytes. So a mask whose borders are very long is traced at half its size,
or a quarter, and so on (`traced`). Outlines of very many vertices lose some (`simplified`).
Photographs of parts stay far below either bound.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Box, Mask, Region, Vertices

MAX_VERTICES = 200_000
"""Vertices of all outlines of a picture together; 4 MB of JSON."""

_MAX_CROSSINGS = 2_000_000
"""Borders that the rows of a mask cross, together, up to which it is traced as it is. An area has
at least two, an outline hardly more vertices than crossings; tracing takes 0.2 GB at most. A coarse
grain all over 12 MP has half as many."""

_POLYGON_PX = 1024  # longest side of the reduced mask around which a polygon is drawn
_STRIP_ROWS = 256
_SQUARES_PX = [side << exponent for exponent in range(16) for side in (2, 3)]


def outer_outlines(mask: Mask) -> list[Vertices]:
    """Trace the outer outlines of the areas of a mask, in px of the mask, in no stated order.

    Straight runs are reduced to their ends; nothing else is simplified.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background, anything else belongs to an area.

    Returns
    -------
    list of ndarray of int32, shape (N, 2)
        One of each 8-connected area that is not in a hole of another; x, y in px.

    References
    ----------
    S. Suzuki, K. Abe, "Topological Structural Analysis of Digitized Binary Images by Border
    Following", CVGIP 30(1), 1985.
    """
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [np.asarray(outline, np.int32).reshape(-1, 2) for outline in found]


def traced(mask: Mask) -> tuple[list[Vertices], int]:
    """Trace the outer outlines of the areas of a mask of any complexity.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background, 255 belongs to an area.

    Returns
    -------
    outlines : list of ndarray of int32, shape (N, 2)
        As of `outer_outlines`, in px of the mask divided by the scale.
    scale : int
        By how much the mask was reduced, so often halved until its borders were short enough: 1
        where it was traced as it is. A pixel of a reduced mask is set where half of it or more is.
    """
    scale = 1
    while _crossings(mask) > _MAX_CROSSINGS:
        mask = _halved(mask)
        scale *= 2
    return outer_outlines(mask), scale


def _crossings(mask: Mask) -> int:
    """Count the places along rows where background and area meet."""
    return sum(
        cv2.countNonZero(cv2.absdiff(strip[:, 1:], strip[:, :-1]))
        for strip in (mask[top : top + _STRIP_ROWS] for top in range(0, len(mask), _STRIP_ROWS))
        if strip.shape[1] > 1
    )


def _halved(mask: Mask) -> Mask:
    height, width = mask.shape
    even = cv2.copyMakeBorder(mask, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    _, mask = cv2.threshold(half, 127, 255, cv2.THRESH_BINARY)
    return np.asarray(mask, np.uint8)


def simplified(
    outlines: Sequence[Vertices], *, most: int = MAX_VERTICES
) -> tuple[list[Vertices], float]:
    """Leave out vertices until there are few enough.

    A vertex is left out where the one before it is in the same square of a grid. The grid's
    squares are 2 px wide, then 3, 4, 6, 8, 12 and so on. That takes time in proportion to the
    vertices, which no method does that measures distances from chords.

    Parameters
    ----------
    outlines : sequence of ndarray of int32, shape (N, 2)
        With all their vertices; x, y in px.
    most : int
        Vertices allowed, of all together; each outline keeps one at least.

    Returns
    -------
    outlines : list of ndarray of int32, shape (N, 2)
        Some of the vertices of each.
    tolerance_px : float
        How far from what is left those that were left out can be; 0 if none was.
    """
    total = sum(map(len, outlines))
    if total <= most:
        return list(outlines), 0.0
    x, y, starts = _coordinates(outlines)
    for side in _SQUARES_PX:
        column, row = x // side, y // side
        kept = np.ones(total, bool)
        kept[1:] = (column[1:] != column[:-1]) | (row[1:] != row[:-1])
        kept[starts] = True
        if np.count_nonzero(kept) <= most:
            break
    pieces = zip(outlines, np.split(kept, starts[1:]), strict=True)
    return [outline[piece] for outline, piece in pieces], float(np.hypot(side, side))


def polygon_around(mask: Mask, *, rim: float, tolerance: float) -> NDArray[np.float64]:
    """Return a polygon around the largest area of a mask, some way off its outline.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background; something else is an area.
    rim : float
        Distance from the outline, as a share of the longest side of the mask.
    tolerance : float
        Most deviation of the polygon, as a share of the same; less than `rim`, so that the area is
        within the polygon.

    Returns
    -------
    ndarray of float64, shape (N, 2)
        Vertices within the mask, x and y in px; the centre of the first pixel is (0, 0). Holes are
        filled.
    """
    height, width = mask.shape
    scale = max(1.0, max(height, width) / _POLYGON_PX)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(
        np.where(mask > 0, np.uint8(255), np.uint8(0)), size, interpolation=cv2.INTER_AREA
    )
    rim_px = math.ceil(rim * max(size))
    small = cv2.copyMakeBorder(small, *[rim_px + 1] * 4, cv2.BORDER_CONSTANT)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim_px + 1, 2 * rim_px + 1))
    grown = cv2.dilate(np.where(small > 0, np.uint8(255), np.uint8(0)), disc)
    largest = max(outer_outlines(np.asarray(grown, np.uint8)), key=cv2.contourArea)
    polygon = cv2.approxPolyDP(largest.reshape(-1, 1, 2), tolerance * max(size), closed=True)
    across = np.array([width, height]) / size
    placed = (polygon.reshape(-1, 2) - rim_px - 0.5) * across - 0.5
    return np.asarray(np.clip(placed, 0, [width - 1, height - 1]), np.float64)


def regions(outlines: Sequence[Vertices]) -> list[Region]:
    """Return the areas that outlines enclose, each with its box.

    Parameters
    ----------
    outlines : sequence of ndarray of int32, shape (N, 2)
        From `outer_outlines`.

    Returns
    -------
    list of Region
        The area that encloses most pixels first; equal ones from top to bottom, then from left to
        right.
    """
    if not outlines:
        return []
    x, y, starts = _coordinates(outlines)
    left, top = np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)
    width, height = np.maximum.reduceat(x, starts) - left, np.maximum.reduceat(y, starts) - top
    boxes = np.stack([left, top, width + 1, height + 1], axis=1)
    order = np.lexsort((left, top, -_enclosed_pixels(x, y, starts)))
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
