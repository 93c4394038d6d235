"""Join the fragments of one thing."""

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checked, checkpoint
from ltu_compute.kernels.differences.areas import Area, Line, Point
from ltu_compute.kernels.types import Box

_OUTLINE_POINTS = 400  # points of an outline from which distances are measured
_OUTLINES = 4096  # outlines cached while neighbours are compared: 26 MB
_NEAR_PX = 5  # px; fragments no farther apart are one thing
_SCRATCH_GAP = 1.0  # of the shorter fragment's length: greatest gap within a scratch
_SCRATCH_GAP_PX = 24  # px, greatest gap within a scratch
_SLENDER = 3.0  # ratio of length to width; a less slender fragment has no direction
_INNER = 0.25  # of a ring's longest side: least longest side of what is one thing with it
_DIRECTIONS = 36  # around the middle of an area, 10 degrees each
_SURROUNDED = 2 / 3  # of the directions: least share in which a ring is seen
_IN_LINE_DEG = 20.0  # degrees, greatest angle between the fragments of a scratch


def joined(areas: list[Area]) -> list[Area]:
    """Join areas that are side by side, rings with their middle, and slender ones in a line."""
    root = list(range(len(areas)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    directions = [_direction(area) for area in checked(areas)]
    outline = lru_cache(_OUTLINES)(lambda index: _points(areas[index]))
    bridges: list[tuple[int, Line]] = []
    for i, others in _near(areas, max(_NEAR_PX, _SCRATCH_GAP_PX)):
        for j in others:
            if find(i) == find(j):
                continue
            start, end_point = _nearest(outline(i), outline(j))
            gap = max(0.0, float(np.linalg.norm(start - end_point)) - 1)
            if (
                gap <= _NEAR_PX
                or _continue_each_other(directions[i], directions[j], gap)
                or _surrounds(areas[i].place, outline(i), areas[j].place)
                or _surrounds(areas[j].place, outline(j), areas[i].place)
            ):
                root[find(j)] = find(i)
                bridges.append((i, (_whole(start), _whole(end_point))))
    groups: dict[int, list[Area]] = {}
    lines_of: dict[int, list[Line]] = {}
    for index, bridge in bridges:
        lines_of.setdefault(find(index), []).append(bridge)
    for index, area in enumerate(areas):
        groups.setdefault(find(index), []).append(area)
    return [
        group[0] if len(group) == 1 else Area.union(group, lines_of[index])
        for index, group in checked(groups.items())
    ]


def _near(areas: list[Area], reach: int) -> Iterator[tuple[int, list[int]]]:
    """Yield each area from left to right, with those further on whose boxes are near to its.

    Areas are given by their numbers; `reach` is the greatest gap of two boxes, in px.
    """
    places = np.array([area.place for area in areas], np.int64).reshape(-1, 4)
    order = np.argsort(places[:, 0], kind="stable")
    x, y, width, height = places[order].T
    right, bottom = x + width, y + height
    ends = np.searchsorted(x, right + reach, side="right")
    for position, i in enumerate(order.tolist()):
        checkpoint()
        further = slice(position + 1, int(ends[position]))
        beside = np.maximum(x[further] - right[position], 0)
        above = np.maximum(y[further] - bottom[position], y[position] - bottom[further])
        gaps = beside**2 + np.maximum(above, 0) ** 2
        yield i, order[further][gaps <= reach**2].tolist()


def _surrounds(outer: Box, points: NDArray[np.float64], inner: Box) -> bool:
    """Return whether an area, given by its outline, has another one in its midst.

    A screw that is missing differs in its rim and in its slot.
    """
    if max(inner.width, inner.height) < _INNER * max(outer.width, outer.height):
        return False
    right, bottom = inner.x + inner.width, inner.y + inner.height
    if not (outer.x <= inner.x and right <= outer.x + outer.width):
        return False
    if not (outer.y <= inner.y and bottom <= outer.y + outer.height):
        return False
    sides = points - (inner.x + inner.width / 2, inner.y + inner.height / 2)
    turns = np.arctan2(sides[:, 1], sides[:, 0]) / (2 * np.pi) + 0.5
    directions = np.unique((turns * _DIRECTIONS).astype(int))
    return len(directions) >= _SURROUNDED * _DIRECTIONS


def _whole(point: NDArray[np.float64]) -> Point:
    x, y = np.rint(point).astype(int).tolist()
    return x, y


def _points(area: Area) -> NDArray[np.float64]:
    """Return points of the outline, shape (N, 2), about `_OUTLINE_POINTS` if it is long."""
    contours, _ = cv2.findContours(area.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours).reshape(-1, 2)
    outline = outline[:: max(1, len(outline) // _OUTLINE_POINTS)]
    return np.asarray(outline + np.array([area.place.x, area.place.y], np.float64), np.float64)


def _nearest(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of two outlines that are nearest to each other."""
    # One coordinate at a time, and without the root: this takes a tenth of the time.
    distance = np.subtract.outer(first[:, 0], second[:, 0])
    np.square(distance, out=distance)
    vertical = np.subtract.outer(first[:, 1], second[:, 1])
    distance += np.square(vertical, out=vertical)
    i, j = np.unravel_index(int(distance.argmin()), distance.shape)
    return first[i], second[j]


_Direction = tuple[NDArray[np.float64], NDArray[np.float64], float] | None


def _direction(area: Area) -> _Direction:
    """Return the centre, direction and length of an area; None if it has no direction."""
    moments = cv2.moments(area.mask, binaryImage=True)
    count = moments["m00"]
    if count < 4:
        return None
    centre = np.array([moments["m10"], moments["m01"]]) / count + (area.place.x, area.place.y)
    covariance = np.array(
        [[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]
    ) / (count - 1)
    spread, axes = np.linalg.eigh(covariance + np.eye(2) / 12)
    if spread[1] < _SLENDER**2 * spread[0]:
        return None
    return centre, axes[:, 1], float(np.sqrt(12 * spread[1]))


def _continue_each_other(one: _Direction, other: _Direction, gap: float) -> bool:
    if one is None or other is None:
        return False
    if gap > min(_SCRATCH_GAP_PX, _SCRATCH_GAP * min(one[2], other[2])):
        return False
    between = other[0] - one[0]
    between /= np.linalg.norm(between) + 1e-9
    least = np.cos(np.deg2rad(_IN_LINE_DEG))
    directions = (one[1] @ other[1], one[1] @ between, other[1] @ between)
    return bool(min(abs(float(d)) for d in directions) >= least)
