"""Find bites and spurs of edges: a displacement of 1 to 3 px that ends after a few px.

The edge tolerance hides most of them. But before and behind a bite the edge is in place, or is
displaced evenly. So the displacement is measured along the edge. At a bite it differs from that of
the rest by far more than the rest varies. A ragged edge has no bites.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.screening import (
    Level,
    grown,
    neighbourhood,
    softened,
    tile_side,
)
from ltu_compute.kernels.resizing import gray_of
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Points

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
_STRIP_PX = 25  # px; a longer change along a row or a column is a displaced edge
_EDGE_WINDOW = (7, 7)  # px, in which an edge is found to run along a row or a column
_ALONG_PX = 28  # px of the edge to both sides of a bite
_ACROSS_PX = 5  # px to both sides of the edge: more than a bite is deep
_TENSOR_PX = 6  # px to both sides, in which the direction of the edge is measured
_OWN_PX = 2  # px beyond a bite that its blur reaches
_STRAIGHT_PX = 3.0  # px across, that the edge of the reference may be from its place at the bite
_SEEN = 0.6  # of the contrast at the bite, that columns have in which the edge continues
_LEAST_KNOWN = (6, 18)  # px of the edge, on each side and in all, that are enough to judge
_DEEP = 0.9  # times the edge tolerance: least depth, which is a mean over 3 px along the edge
_PEAK = 1.22  # times the least depth: least peak; a short tooth of 1 px has none
_LONG_PX = 5  # px; of a longer bite the mean is the depth, and an edge may step by the tolerance
_LONG_DEEP = 1.22  # times the least depth: that of a longer bite
_AREA_PX = 3.5  # px² per px of tolerance, least area: half a disc of 3 px across
_STANDS_OUT = 2.0  # times the greatest displacement beside it
# Standard deviations of the displacement beside it. Teeth of ragged edges have long tails: on
# boards of DeepPCB, teeth of 15 are no defect to people; drawn bites of 3 px have 19 and more.
_DEVIATIONS = 16.0
_MIDDLE_PX = 5  # px, side of the window around a bite's middle that shows its edge's contrast
_EVEN_PX = 0.2  # px; less variation along an edge is noise
_FEW = 8  # candidates; fewer are looked at one by one
_AT_ONCE = 256  # candidates judged at a time, to bound memory
_LONGEST_AT_ONCE = 1 << 14  # px, longest side of a picture softened at once; OpenCV's maps have 2¹⁵


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


class Bites(NamedTuple):
    """Bites and spurs, measured.

    Attributes
    ----------
    depths : ndarray of float32, shape (N,)
        Their depths in px, means over 3 px along the edge.
    peaks : ndarray of float32, shape (N,)
        Their greatest depths in px.
    areas : ndarray of float32, shape (N,)
        Their areas in px².
    """

    depths: Floats
    peaks: Floats
    areas: Floats


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
    contrast: Gray | None = None
    several = [np.zeros((0, 4), np.int64)]
    # Lighter and darker places touch where an edge is displaced one way, its spur the other way.
    for beyond in _beyond_strips(first, second):
        change = cv2.bitwise_and(beyond, allowed)
        _, strong = cv2.threshold(change, int(_SHARE * _LEAST_CONTRAST), 255, cv2.THRESH_BINARY)
        if not cv2.countNonZero(strong):
            continue
        if contrast is None:
            low, high = neighbourhood(first, _NEAR_PX)
            contrast = np.asarray(cv2.subtract(high, low), np.uint8)
        relative = cv2.compare(change, cv2.convertScaleAbs(contrast, alpha=_SHARE), cv2.CMP_GT)
        mask = _bumps(np.asarray(cv2.bitwise_and(strong, relative), np.uint8))
        several.append(_large_enough(mask, np.asarray(change, np.uint8), contrast, limits))
    boxes = np.concatenate(several)
    margin = _ALONG_PX + _ACROSS_PX
    middles = boxes[:, :2] + boxes[:, 2:] // 2
    inner = ((middles >= margin) & (middles + margin < first.shape[::-1])).all(axis=1)
    kept = np.asarray(~inner, np.bool_)
    kept[inner] = _are_bites((first, second), allowed, boxes[inner], limits)
    return [Box(*row) for row in boxes[kept].tolist()]


def _large_enough(mask: Mask, change: Gray, contrast: Gray, limits: Limits) -> NDArray[np.int64]:
    """Return the boxes of the areas of a mask that may be bites by their size, shape (N, 4).

    The area of a bite is the change around it, summed, over the contrast of its edge.
    """
    boxes = components_of(mask)[1][1:, :4].astype(np.int64)
    boxes = boxes[boxes[:, 2:].max(axis=1, initial=0) <= _LONGEST_PX]
    left, top, width, height = boxes.T
    right = np.minimum(left + width + 1, mask.shape[1])
    bottom = np.minimum(top + height + 1, mask.shape[0])
    before, above = np.maximum(left - 1, 0), np.maximum(top - 1, 0)
    total = cv2.integral(change)
    sums = total[bottom, right] - total[bottom, before] - total[above, right] + total[above, before]
    nearby = cv2.dilate(contrast, np.ones((_MIDDLE_PX, _MIDDLE_PX), np.uint8))
    typical = np.maximum(nearby[top + height // 2, left + width // 2], 1)
    return np.asarray(boxes[sums >= _CORE * limits.area * typical], np.int64)


def _beyond_strips(first: Gray, second: Gray) -> tuple[Gray, Gray]:
    """Return by how many levels each pixel is lighter, and darker, than its edge is along it.

    The edge of a track that became narrower is a strip that is darker. At a spur it is less so, or
    not at all. Its opening, or closing, by a line along the edge shows the strip without the spur,
    because the line is longer. Edges are taken to run along rows or columns, whichever is nearer.
    """
    # In steps of two levels: bytes take half the time.
    change = cv2.addWeighted(second, 0.5, first, -0.5, 128)
    across, along = (
        cv2.boxFilter(cv2.convertScaleAbs(cv2.Sobel(first, cv2.CV_16S, *order)), -1, _EDGE_WINDOW)
        for order in ((1, 0), (0, 1))
    )
    upright = cv2.compare(across, along, cv2.CMP_GT)
    line = np.ones((1, _STRIP_PX), np.uint8)
    found = []
    for how in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        strips = cv2.morphologyEx(change, how, line)
        cv2.copyTo(cv2.morphologyEx(change, how, line.T), upright, strips)
        beyond = (change, strips) if how == cv2.MORPH_OPEN else (strips, change)
        halves = cv2.subtract(*beyond)
        found.append(np.asarray(cv2.add(halves, halves), np.uint8))
    return found[0], found[1]


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


def bitten(level: Level, places: list[Box], limits: Limits) -> list[Area]:
    """Return the areas of those candidates that are bites or spurs.

    Parameters
    ----------
    level : Level
        The pictures.
    places : list of Box
        The candidates.
    limits : Limits
        Least bite that is a difference.
    """
    longest = max(level.size)
    if len(places) >= _FEW and longest <= min(tile_side(level.size), _LONGEST_AT_ONCE):
        return _bitten_at_once(level, places, limits)
    areas = []
    for start in range(0, len(places), _AT_ONCE):
        several = places[start : start + _AT_ONCE]
        surroundings = [_surroundings(place) for place in several]
        seen = []
        for wide in surroundings:
            checkpoint()
            pair = (gray_of(softened(each)) for each in level.pictures(wide))
            seen.append((*pair, level.allowed(wide)))
        first, second, allowed = (np.vstack(each) for each in zip(*seen, strict=True))
        # One below the other; each candidate at its place there.
        stacked = [
            Box(place.x - wide.x, place.y - wide.y + index * wide.height, *place[2:])
            for index, (place, wide) in enumerate(zip(several, surroundings, strict=True))
        ]
        kept = np.flatnonzero(_are_bites((first, second), allowed, stacked, limits)).tolist()
        for index in kept:
            whole = surroundings[index]
            rows = slice(index * whole.height, (index + 1) * whole.height)
            own = (first[rows], second[rows], allowed[rows])
            areas.append(_area_of(several[index], whole, own))
    return areas


def _bitten_at_once(level: Level, places: list[Box], limits: Limits) -> list[Area]:
    """Return what `bitten` does, for many candidates of a small picture: it is softened once."""
    margin = 2 * (_ALONG_PX + _ACROSS_PX)
    whole = grown(Box(0, 0, *level.size), margin)
    first, second = (gray_of(softened(each)) for each in level.pictures(whole))
    allowed = level.allowed(whole)
    moved = [Box(x + margin, y + margin, *extent) for x, y, *extent in places]
    areas = []
    for index in np.flatnonzero(_are_bites((first, second), allowed, moved, limits)).tolist():
        wide = _surroundings(moved[index])
        here = _within(wide)
        around = _surroundings(places[index])
        areas.append(_area_of(places[index], around, (first[here], second[here], allowed[here])))
    return areas


def _area_of(place: Box, whole: Box, seen: tuple[Gray, Gray, Mask]) -> Area:
    """Return the area of a bite at a place, of which the pictures and the mask show the whole."""
    first, second, allowed = seen
    around = grown(place, 1)
    top, left = around.y - whole.y, around.x - whole.x
    here = (slice(top, top + around.height), slice(left, left + around.width))
    changes = (each[here] for each in _beyond_strips(first, second))
    values = max(changes, key=np.max) / np.float32(_LEVELS_PER_DELTA_E)
    mask = np.where(values > _HALF * values.max(), np.uint8(255), np.uint8(0))
    own = cv2.bitwise_and(cv2.dilate(mask, np.ones((3, 3), np.uint8)), allowed[here])
    peak, mean = float(values.max()), float(values.mean())
    return Area.of(around, np.asarray(own, np.uint8), peak, mean)


def _are_bites(
    pictures: tuple[Gray, Gray],
    allowed: Mask,
    places: list[Box] | NDArray[np.int64],
    limits: Limits,
) -> NDArray[np.bool_]:
    """Return which candidates are bites or spurs, deep and large enough."""
    result = np.zeros(len(places), np.bool_)
    for start in range(0, len(places), _AT_ONCE):
        boxes = np.array(places[start : start + _AT_ONCE], np.float64)
        middles, extents = boxes[:, :2] + (boxes[:, 2:] - 1) / 2, boxes[:, 2:]
        found = measured(pictures, allowed, middles, extents, limits.contrast)
        long = extents.max(axis=1) > _LONG_PX
        deep = (found.depths >= limits.depth) & (found.peaks >= _PEAK * limits.depth)
        deep = np.where(long, found.depths >= _LONG_DEEP * limits.depth, deep)
        result[start : start + _AT_ONCE] = deep & (found.areas >= limits.area)
    return result


def measured(
    pictures: tuple[Gray, Gray],
    allowed: Mask,
    middles: Points,
    extents: NDArray[np.float64],
    least_contrast: float,
) -> Bites:
    """Measure by how much edges leave their courses at places.

    Parameters
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W)
        Reference and shot; no place is within `_ALONG_PX` and `_ACROSS_PX` of their border.
    allowed : ndarray of uint8, shape (H, W)
        255 where they are compared.
    middles : ndarray of float64, shape (N, 2)
        Middles of the places, x and y in px.
    extents : ndarray of float64, shape (N, 2)
        Their widths and heights, px.
    least_contrast : float
        Least contrast of an edge, levels of 255.

    Returns
    -------
    Bites
        All 0 where the edge does not leave its course, or is not known enough.
    """
    across = _normals_of(pictures, middles)
    first, second = pictures
    shape = (len(middles), 2 * _ACROSS_PX + 1, 2 * _ALONG_PX + 1)
    maps = _strips(middles, across).reshape(-1, shape[2], 2)
    edge, other = (
        cv2.remap(each, maps, None, cv2.INTER_LINEAR).reshape(shape).astype(np.float32)
        for each in (first, second)
    )
    known = cv2.remap(allowed, maps, None, cv2.INTER_NEAREST).reshape(shape)
    change = other - edge
    lowest = edge.min(axis=1)
    contrast = edge.max(axis=1) - lowest
    places = np.arange(-_ALONG_PX, _ALONG_PX + 1, dtype=np.float32)
    steps = np.abs(places)
    half = 0.5 * (np.abs(across[:, ::-1]) * extents).sum(axis=1) + _OWN_PX
    own = steps <= half[:, None]
    typical = _medians(contrast, own)
    good = typical >= least_contrast
    typical = np.maximum(typical, 1)[:, None]
    # Light that a displaced edge adds across it is its displacement times its contrast.
    displacement = change.sum(axis=1) / typical
    sharp = contrast > _SEEN * typical
    beside = ~own & _continued(sharp | own) & (known > 0).all(axis=1)
    # A corner or the rim of a small pad leaves the strip: no course to compare with.
    position = (edge - lowest[:, None]).sum(axis=1) / typical
    beside &= np.abs(position - _medians(position, own)[:, None]) <= _STRAIGHT_PX
    counts = [np.count_nonzero(each, axis=1) for each in np.split(beside, [_ALONG_PX], axis=1)]
    good &= (np.minimum(*counts) >= _LEAST_KNOWN[0]) & (counts[0] + counts[1] >= _LEAST_KNOWN[1])
    total = np.maximum(counts[0] + counts[1], 1)
    # If the part is turned, the displacement drifts along the edge.
    off = np.where(
        beside, places - np.where(beside, places, 0).sum(axis=1)[:, None] / total[:, None], 0
    )
    drift = (displacement * off).sum(axis=1) / np.maximum(np.square(off).sum(axis=1), 1)
    displacement = displacement - drift[:, None].astype(np.float32) * places
    beyond = displacement - _medians(displacement, beside)[:, None]
    smooth = cv2.blur(beyond, (3, 1), borderType=cv2.BORDER_CONSTANT)
    area = np.where(own, beyond, 0).sum(axis=1)
    depth, peak = (
        np.where(own, np.sign(area)[:, None] * each, -np.inf).max(axis=1)
        for each in (smooth, beyond)
    )
    mean = np.where(beside, beyond, 0).sum(axis=1) / total
    spread = np.where(beside, np.square(beyond - mean[:, None]), 0).sum(axis=1) / total
    inner = beside & (steps < _ALONG_PX)
    largest = np.maximum(_EVEN_PX, np.where(inner, np.abs(smooth), 0).max(axis=1))
    good &= (depth >= _STANDS_OUT * largest) & (depth >= _DEVIATIONS * np.sqrt(spread))
    return Bites(
        *(np.where(good, each, 0).astype(np.float32) for each in (depth, peak, np.abs(area)))
    )


def _continued(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which columns are reached from the middle of their row without a gap.

    Behind a gap in a wedge between two pads, the strip shows another edge.
    """
    before, behind = seen[:, _ALONG_PX::-1], seen[:, _ALONG_PX:]
    before, behind = (np.logical_and.accumulate(each, axis=1) for each in (before, behind))
    return np.asarray(np.hstack([before[:, :0:-1], behind]), np.bool_)


def _medians(values: Floats, within: NDArray[np.bool_]) -> Floats:
    """Return the median of each row's values `within`, shape (N,); 0 where there is none."""
    counts = np.count_nonzero(within, axis=1)
    ordered = np.sort(np.where(within, values, np.float32(np.inf)), axis=1)
    rows = np.arange(len(values))
    low, high = (ordered[rows, np.maximum(each, 0)] for each in ((counts - 1) // 2, counts // 2))
    return np.where(counts > 0, (low + high) / 2, 0).astype(np.float32)


def _normals_of(pictures: tuple[Gray, Gray], middles: Points) -> NDArray[np.float64]:
    """Return unit normals of edges, shape (N, 2): by the structure tensor of both pictures."""
    offsets = np.arange(-_TENSOR_PX, _TENSOR_PX + 1)
    columns, rows = np.rint(middles.T).astype(np.intp)
    at = (rows[:, None, None] + offsets[:, None], columns[:, None, None] + offsets)
    mean = sum(each[at].astype(np.float32) for each in pictures)
    # Sobel's operator, on each window.
    down = mean[:, :-2] + 2 * mean[:, 1:-1] + mean[:, 2:]
    along = mean[:, :, :-2] + 2 * mean[:, :, 1:-1] + mean[:, :, 2:]
    x, y = down[:, :, 2:] - down[:, :, :-2], along[:, 2:] - along[:, :-2]
    xy, xx, yy = ((a * b).sum(axis=(1, 2), dtype=np.float64) for a, b in ((x, y), (x, x), (y, y)))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _strips(middles: Points, across: NDArray[np.float64]) -> Floats:
    """Return the places of the pixels of strips along edges, shape (N, A, L, 2), in px."""
    along = np.stack([-across[:, 1], across[:, 0]], axis=1)
    steps, sides = (
        np.arange(-reach, reach + 1, dtype=np.float64) for reach in (_ALONG_PX, _ACROSS_PX)
    )
    on_edge = steps[:, None] * along[:, None]
    beside = sides[:, None] * across[:, None]
    places = middles[:, None, None] + on_edge[:, None] + beside[:, :, None]
    return np.ascontiguousarray(places, np.float32)
