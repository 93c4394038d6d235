"""Find bites and spurs of edges: a displacement of 1 to 3 px that ends after a few px.

The edge tolerance hides most of them. But before and behind a bite the edge is in place, or is
displaced evenly. So the displacement is measured along the edge. At a bite it differs from that of
the rest by far more than the rest varies. A ragged edge has no bites.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.screening import Level, neighbourhood, softened
from ltu_compute.kernels.resizing import gray_of
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask

MOST = 2000
"""Candidates of a picture; with more, its edges are uneven everywhere, and none is judged."""

_NEAR_PX = 3  # px around a pixel in which an edge has its contrast
_SHARE = 0.4  # of that contrast, by which a pixel must differ: displaced by nearly half a px
_LEAST_CONTRAST = 40  # levels, of 255, least contrast of an edge that is judged
_LONGEST_PX = 20  # px; a longer place is found without its edge
_ALONG_PX = 28  # px of the edge to both sides of a bite
_ACROSS_PX = 5  # px to both sides of the edge: more than a bite is deep
_TENSOR_PX = 6  # px to both sides, in which the direction of the edge is measured
_OWN_PX = 2  # px beyond a bite that its blur reaches
_SEEN = 0.6  # of the contrast at the bite, that columns have in which the edge continues
_LEAST_KNOWN = (6, 18)  # px of the edge, on each side and in all, that are enough to judge
_DEEP = 1.1  # times the edge tolerance: least depth
_AREA_PX = 3.8  # px² per px of tolerance, least area: half a disc of 3 px across
_STANDS_OUT = 2.0  # times the greatest displacement beside it
# Standard deviations of the displacement beside it. Teeth of ragged edges have long tails: on
# boards of DeepPCB, teeth of 15 are no defect to people; drawn bites of 3 px have 19 and more.
_DEVIATIONS = 16.0
_EVEN_PX = 0.2  # px; less variation along an edge is noise


class Bite(NamedTuple):
    """A bite or spur: its depth in px, and its area in px²."""

    depth: float
    area: float


def candidates(reference: Bgr, shot: Bgr, allowed: Mask) -> list[Box]:
    """Return small places that differ by more than a displacement of a px along an edge.

    Parameters
    ----------
    reference, shot : ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        Pictures, softened.
    allowed : ndarray of uint8, shape (H, W)
        255 where they are compared.
    """
    mask = _unequal(gray_of(reference), gray_of(shot), allowed)
    if mask is None:
        return []
    # A strip of 1 px along a displaced edge disappears.
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = (Box(*(int(v) for v in stats[label, :4])) for label in range(1, count))
    return [box for box in boxes if max(box.width, box.height) <= _LONGEST_PX]


def _unequal(first: Gray, second: Gray, allowed: Mask) -> Mask | None:
    """Return where pixels differ by `_SHARE` of an edge's contrast: 255; None if nowhere."""
    difference = cv2.bitwise_and(cv2.absdiff(first, second), allowed)
    _, strong = cv2.threshold(difference, int(_SHARE * _LEAST_CONTRAST), 255, cv2.THRESH_BINARY)
    if not cv2.countNonZero(strong):
        return None
    low, high = neighbourhood(first, _NEAR_PX)
    limit = cv2.convertScaleAbs(cv2.subtract(high, low), alpha=_SHARE)
    relative = cv2.compare(difference, limit, cv2.CMP_GT)
    return np.asarray(cv2.bitwise_and(strong, relative), np.uint8)


def bitten(level: Level, place: Box, tolerance_px: float, least_contrast: float) -> Area | None:
    """Return the area of a candidate that is a bite or a spur; None if it is neither.

    Parameters
    ----------
    level : Level
        The pictures.
    place : Box
        The candidate.
    tolerance_px : float
        Displacement that is not a difference, px.
    least_contrast : float
        Least contrast of the edge, levels of 255.
    """
    margin = _ALONG_PX + _ACROSS_PX
    wide = Box(
        place.x + place.width // 2 - margin,
        place.y + place.height // 2 - margin,
        2 * margin + 1,
        2 * margin + 1,
    )
    first, second = (gray_of(softened(each)) for each in level.pictures(wide))
    allowed = level.allowed(wide)
    middle = (
        place.x + (place.width - 1) / 2 - wide.x,
        place.y + (place.height - 1) / 2 - wide.y,
    )
    least = max(_LEAST_CONTRAST, least_contrast)
    found = measured((first, second), allowed, middle, (place.width, place.height), least)
    if found is None or found.depth < _DEEP * max(tolerance_px, 1.0):
        return None
    if found.area < _AREA_PX * max(tolerance_px, 1.0):
        return None
    top, left = place.y - wide.y - 1, place.x - wide.x - 1
    here = (slice(top, top + place.height + 2), slice(left, left + place.width + 2))
    values = cv2.absdiff(first, second)[here] / np.float32(2.55)
    mask = _unequal(first, second, allowed)
    if mask is None:
        return None
    own = cv2.dilate(mask, np.ones((3, 3), np.uint8))[here]
    around = Box(place.x - 1, place.y - 1, place.width + 2, place.height + 2)
    return Area.of(around, np.asarray(own, np.uint8), float(values.max()), float(values.mean()))


def measured(
    pictures: tuple[Gray, Gray],
    allowed: Mask,
    middle: tuple[float, float],
    extent: tuple[int, int],
    least_contrast: float,
) -> Bite | None:
    """Measure by how much an edge leaves its course; None if it does not, or is not known enough.

    Parameters
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W)
        Reference and shot around a place.
    allowed : ndarray of uint8, shape (H, W)
        255 where they are compared.
    middle : tuple of float
        Middle of the place, x and y in px.
    extent : tuple of int
        Its width and height, px.
    least_contrast : float
        Least contrast of the edge, levels of 255.
    """
    first, second = pictures
    across = _normal_of(first, second, middle)
    turn = _onto_strip(middle, across)
    size = (2 * _ALONG_PX + 1, 2 * _ACROSS_PX + 1)
    change = cv2.subtract(second, first, dtype=cv2.CV_32F)
    change, edge, known = (
        cv2.warpAffine(each, turn, size, flags=how | cv2.WARP_INVERSE_MAP)
        for each, how in (
            (change, cv2.INTER_LINEAR),
            (first, cv2.INTER_LINEAR),
            (allowed, cv2.INTER_NEAREST),
        )
    )
    contrast = np.ptp(edge.astype(np.float32), axis=0)
    steps = np.arange(-_ALONG_PX, _ALONG_PX + 1)
    half = 0.5 * (abs(across[1]) * extent[0] + abs(across[0]) * extent[1]) + _OWN_PX
    own = np.abs(steps) <= half
    typical = float(np.median(contrast[own]))
    if typical < least_contrast:
        return None
    # Light that a displaced edge adds across it is its displacement times its contrast.
    displacement = change.sum(axis=0) / typical
    beside = ~own & (contrast > _SEEN * typical) & (known > 0).all(axis=0)
    sides = [np.count_nonzero(beside & where) for where in (steps < 0, steps > 0)]
    if min(sides) < _LEAST_KNOWN[0] or sum(sides) < _LEAST_KNOWN[1]:
        return None
    beyond = displacement - np.median(displacement[beside])
    smooth = np.convolve(beyond, np.full(3, 1 / 3), "same")
    area = float(beyond[own].sum())
    depth = float((np.sign(area) * smooth[own]).max())
    deviation = float(beyond[beside].std())
    inner = beside & (np.abs(steps) < _ALONG_PX)
    largest = max(_EVEN_PX, float(np.abs(smooth[inner]).max(initial=0)))
    if depth < _STANDS_OUT * largest or depth < _DEVIATIONS * deviation:
        return None
    return Bite(depth, abs(area))


def _normal_of(first: Gray, second: Gray, middle: tuple[float, float]) -> tuple[float, float]:
    """Return the unit normal of an edge: by the structure tensor of both pictures' mean."""
    column, row = round(middle[0]), round(middle[1])
    around = (
        slice(max(0, row - _TENSOR_PX), row + _TENSOR_PX + 1),
        slice(max(0, column - _TENSOR_PX), column + _TENSOR_PX + 1),
    )
    mean = cv2.addWeighted(first[around], 0.5, second[around], 0.5, 0, dtype=cv2.CV_32F)
    x = cv2.Sobel(mean, cv2.CV_32F, 1, 0)[1:-1, 1:-1]
    y = cv2.Sobel(mean, cv2.CV_32F, 0, 1)[1:-1, 1:-1]
    angle = 0.5 * np.arctan2(2 * float((x * y).sum()), float((x * x - y * y).sum()))
    return float(np.cos(angle)), float(np.sin(angle))


def _onto_strip(middle: tuple[float, float], across: tuple[float, float]) -> Floats:
    """Return the matrix, shape (2, 3), from px of a strip along an edge to those of a picture."""
    cosine, sine = across
    x, y = middle
    matrix: NDArray[np.float64] = np.array(
        [
            [-sine, cosine, x + sine * _ALONG_PX - cosine * _ACROSS_PX],
            [cosine, sine, y - cosine * _ALONG_PX - sine * _ACROSS_PX],
        ]
    )
    return matrix.astype(np.float32)
