"""Find bites and spurs of edges: a displacement of 1 to 3 px that ends after a few px.

The edge tolerance hides most of them. But before and behind a bite the edge is in place, or is
displaced evenly. So the displacement is measured along the edge. At a bite it differs from that of
the rest by far more than the rest varies. A ragged edge has no bites.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.areas import Area, overlap
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.screening import Level, grown, neighbourhood, softened
from ltu_compute.kernels.order_statistics import median
from ltu_compute.kernels.resizing import gray_of
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask

MOST = 2000
"""Candidates of a picture; with more, its edges are uneven everywhere, and none is judged."""

_NEAR_PX = 3  # px around a pixel in which an edge has its contrast
_SHARE = 0.3  # of that contrast, by which a pixel must differ: the rim of a bump of 2 px
_CORE = 0.7  # least share of a bite's area within a px of its pixels that differ so much
_HALF = 0.5  # of the greatest difference, by which a pixel of a bite differs
_LEVELS_PER_DELTA_E = 2.55  # a grey step of 255 is 100 ΔE
_RIMS = 2  # times the threshold, least contrast of an edge: at a bite's rims, half of it remains
_LEAST_CONTRAST = 40  # levels, of 255, least contrast of an edge that is judged
_LONGEST_PX = 20  # px; a longer place is found without its edge
_ALONG_PX = 28  # px of the edge to both sides of a bite
_ACROSS_PX = 5  # px to both sides of the edge: more than a bite is deep
_TENSOR_PX = 6  # px to both sides, in which the direction of the edge is measured
_OWN_PX = 2  # px beyond a bite that its blur reaches
_STRAIGHT_PX = 3.0  # px across, that the edge of the reference may be from its place at the bite
_SEEN = 0.6  # of the contrast at the bite, that columns have in which the edge continues
_LEAST_KNOWN = (6, 18)  # px of the edge, on each side and in all, that are enough to judge
_DEEP = 1.0  # times the edge tolerance: least depth, which is a mean over 3 px along the edge
_LONG_PX = 5  # px; of a longer bite the mean is the depth, and an edge may step by the tolerance
_LONG_DEEP = 1.1  # times the least depth: that of a longer bite
_AREA_PX = 3.5  # px² per px of tolerance, least area: half a disc of 3 px across
_STANDS_OUT = 2.0  # times the greatest displacement beside it
# Standard deviations of the displacement beside it. Teeth of ragged edges have long tails: on
# boards of DeepPCB, teeth of 15 are no defect to people; drawn bites of 3 px have 19 and more.
_DEVIATIONS = 16.0
_EVEN_PX = 0.2  # px; less variation along an edge is noise


class Limits(NamedTuple):
    """Least bite or spur that is a difference.

    Attributes
    ----------
    depth, area : float
        Its depth in px, and its area in px².
    contrast : float
        Contrast of its edge, levels of 255.
    """

    depth: float
    area: float
    contrast: float

    @classmethod
    def of(cls, tolerance_px: float, level_delta_e: float) -> "Limits":
        """Return the limits for an edge tolerance, px, and a threshold, ΔE."""
        tolerance = max(tolerance_px, 1.0)
        contrast = max(_LEAST_CONTRAST, _RIMS * _LEVELS_PER_DELTA_E * level_delta_e)
        return cls(_DEEP * tolerance, _AREA_PX * tolerance, contrast)


class Bite(NamedTuple):
    """A bite or spur: its depth in px, and its area in px²."""

    depth: float
    area: float


def candidates(reference: Bgr, shot: Bgr, allowed: Mask, limits: Limits) -> list[Box]:
    """Return small places that differ by more than a displacement of a px along an edge.

    Places too near to the border, where the edge is not seen far enough, are returned unjudged.

    Parameters
    ----------
    reference, shot : ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        Pictures, softened.
    allowed : ndarray of uint8, shape (H, W)
        255 where they are compared.
    limits : Limits
        Least bite that is a difference.
    """
    first, second = gray_of(reference), gray_of(shot)
    bounds = Box(0, 0, first.shape[1], first.shape[0])
    contrast: Gray | None = None
    found = []
    # Lighter and darker places touch where an edge is displaced one way, its spur the other way.
    for one, other in ((first, second), (second, first)):
        change = cv2.bitwise_and(cv2.subtract(other, one), allowed)
        _, strong = cv2.threshold(change, int(_SHARE * _LEAST_CONTRAST), 255, cv2.THRESH_BINARY)
        if not cv2.countNonZero(strong):
            continue
        if contrast is None:
            low, high = neighbourhood(first, _NEAR_PX)
            contrast = np.asarray(cv2.subtract(high, low), np.uint8)
        relative = cv2.compare(change, cv2.convertScaleAbs(contrast, alpha=_SHARE), cv2.CMP_GT)
        mask = _bumps(np.asarray(cv2.bitwise_and(strong, relative), np.uint8))
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for outline in outlines:
            box = Box(*cv2.boundingRect(outline))
            if max(box.width, box.height) > _LONGEST_PX:
                continue
            around = _within(grown(box, 1))
            area = float(change[around].sum(dtype=np.int64)) / max(1, int(contrast[around].max()))
            if area < _CORE * limits.area:
                continue
            wide = _surroundings(box)
            if overlap(wide, bounds) == wide:
                own = _within(wide)
                if not _is_bite((first[own], second[own]), allowed[own], box, wide, limits):
                    continue
            found.append(box)
    return found


def _bumps(mask: Mask) -> Mask:
    """Return the parts of a mask around three pixels in a row with one beside their middle.

    The tip of a bump of 2 px has them, a strip of 1 px along a displaced edge has not.
    """
    tips = np.zeros_like(mask)
    row, beside_row = np.ones((1, 3), np.uint8), np.array([[1], [0], [1]], np.uint8)
    for along, across in ((row, beside_row), (row.T, beside_row.T)):
        middles = cv2.erode(mask, along, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        beside = cv2.dilate(mask, across)
        tips |= cv2.bitwise_and(middles, beside)
    return np.asarray(cv2.bitwise_and(cv2.dilate(tips, np.ones((3, 3), np.uint8)), mask), np.uint8)


def _within(place: Box) -> tuple[slice, slice]:
    """Return the rows and columns of a rectangle; what is left of or above a picture is cut off."""
    x, y, width, height = place
    return slice(max(0, y), y + height), slice(max(0, x), x + width)


def _surroundings(place: Box) -> Box:
    """Return the square around a candidate in which its edge is followed."""
    margin = _ALONG_PX + _ACROSS_PX
    return Box(
        place.x + place.width // 2 - margin,
        place.y + place.height // 2 - margin,
        2 * margin + 1,
        2 * margin + 1,
    )


def _is_bite(
    pictures: tuple[Gray, Gray], allowed: Mask, place: Box, wide: Box, limits: Limits
) -> bool:
    """Return whether a candidate, within its surroundings, is a bite or a spur."""
    middle = (
        place.x + (place.width - 1) / 2 - wide.x,
        place.y + (place.height - 1) / 2 - wide.y,
    )
    found = measured(pictures, allowed, middle, (place.width, place.height), limits.contrast)
    long = max(place.width, place.height) > _LONG_PX
    depth = limits.depth * (_LONG_DEEP if long else 1.0)
    return found is not None and found.depth >= depth and found.area >= limits.area


def bitten(level: Level, place: Box, limits: Limits) -> Area | None:
    """Return the area of a candidate that is a bite or a spur; None if it is neither.

    Parameters
    ----------
    level : Level
        The pictures.
    place : Box
        The candidate.
    limits : Limits
        Least bite that is a difference.
    """
    wide = _surroundings(place)
    first, second = (gray_of(softened(each)) for each in level.pictures(wide))
    allowed = level.allowed(wide)
    if not _is_bite((first, second), allowed, place, wide, limits):
        return None
    top, left = place.y - wide.y - 1, place.x - wide.x - 1
    here = (slice(top, top + place.height + 2), slice(left, left + place.width + 2))
    values = cv2.absdiff(first, second)[here] / np.float32(2.55)
    mask = np.where(values > _HALF * values.max(), np.uint8(255), np.uint8(0))
    own = cv2.bitwise_and(cv2.dilate(mask, np.ones((3, 3), np.uint8)), allowed[here])
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
    typical = float(median(contrast[own]))
    if typical < least_contrast:
        return None
    # Light that a displaced edge adds across it is its displacement times its contrast.
    displacement = change.sum(axis=0) / typical
    beside = ~own & (contrast > _SEEN * typical) & (known > 0).all(axis=0)
    # A corner or the rim of a small pad leaves the strip: no course to compare with.
    position = (edge - edge.min(axis=0).astype(np.float32)).sum(axis=0) / typical
    beside &= np.abs(position - median(position[own])) <= _STRAIGHT_PX
    sides = [np.count_nonzero(beside & where) for where in (steps < 0, steps > 0)]
    if min(sides) < _LEAST_KNOWN[0] or sum(sides) < _LEAST_KNOWN[1]:
        return None
    beyond = displacement - median(displacement[beside])
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
