"""Join fragments of one thing, and describe it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.tiled import Area
from ltu_compute.kernels.types import Box

_NEAR_PX = 5  # fragments no farther apart are one thing
_SCRATCH_GAP = 1.0  # of the shorter of two fragments' length: gap that a scratch may have
_SCRATCH_GAP_PX = 24  # and no more than that
_SLENDER = 3.0  # length to width from where on a fragment has a direction
_IN_LINE_DEG = 20.0  # by how much the directions of a scratch's fragments may differ


def joined(areas: list[Area]) -> list[Area]:
    """Join areas that lie side by side, and slender ones that continue each other."""
    root = list(range(len(areas)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    lines = [_line(area) for area in areas]
    bridges: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = []
    order = sorted(range(len(areas)), key=lambda i: areas[i].place.x)
    reach = max(_NEAR_PX, _SCRATCH_GAP_PX)
    for position, i in enumerate(order):
        end = areas[i].place.x + areas[i].place.width + reach
        for j in order[position + 1 :]:
            if areas[j].place.x > end:
                break
            if find(i) == find(j) or _box_gap(areas[i].place, areas[j].place) > reach:
                continue
            start, end_point = _nearest(areas[i], areas[j])
            gap = max(0.0, float(np.linalg.norm(start - end_point)) - 1)
            if gap <= _NEAR_PX or _continue_each_other(lines[i], lines[j], gap):
                root[find(j)] = find(i)
                bridges.append((i, start, end_point))
    groups: dict[int, list[Area]] = {}
    for index, area in enumerate(areas):
        groups.setdefault(find(index), []).append(area)
    return [
        group[0]
        if len(group) == 1
        else _union(group, [bridge[1:] for bridge in bridges if find(bridge[0]) == index])
        for index, group in groups.items()
    ]


def _box_gap(one: Box, other: Box) -> float:
    x = max(one.x - other.x - other.width, other.x - one.x - one.width, 0)
    y = max(one.y - other.y - other.height, other.y - one.y - one.height, 0)
    return float(np.hypot(x, y))


def _points(area: Area) -> NDArray[np.float64]:
    contours, _ = cv2.findContours(area.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours).reshape(-1, 2).astype(np.float64)
    return np.asarray(outline + np.array([area.place.x, area.place.y]), np.float64)


def _nearest(one: Area, other: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of two outlines that are nearest to each other."""
    first, second = _points(one), _points(other)
    first, second = (each[:: max(1, len(each) // 400)] for each in (first, second))
    distance = np.linalg.norm(first[:, None] - second[None], axis=2)
    i, j = np.unravel_index(int(distance.argmin()), distance.shape)
    return first[i], second[j]


Line = tuple[NDArray[np.float64], NDArray[np.float64], float] | None


def _line(area: Area) -> Line:
    """Centre, direction and length of a slender area; None where it has no direction."""
    rows, columns = np.nonzero(area.mask)
    if len(rows) < 4:
        return None
    points = np.stack([columns + area.place.x, rows + area.place.y], axis=1).astype(np.float64)
    centre = points.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((points - centre).T) + np.eye(2) / 12)
    if spread[1] < _SLENDER**2 * spread[0]:
        return None
    return centre, axes[:, 1], float(np.sqrt(12 * spread[1]))


def _continue_each_other(one: Line, other: Line, gap: float) -> bool:
    if one is None or other is None:
        return False
    if gap > min(_SCRATCH_GAP_PX, _SCRATCH_GAP * min(one[2], other[2])):
        return False
    between = other[0] - one[0]
    between /= np.linalg.norm(between) + 1e-9
    least = np.cos(np.deg2rad(_IN_LINE_DEG))
    directions = (one[1] @ other[1], one[1] @ between, other[1] @ between)
    return bool(min(abs(float(d)) for d in directions) >= least)


def _union(group: list[Area], bridges: list[tuple[NDArray[np.float64], ...]]) -> Area:
    """One area that holds all of a group, joined by lines where they are apart."""
    left = min(area.place.x for area in group)
    top = min(area.place.y for area in group)
    right = max(area.place.x + area.place.width for area in group)
    bottom = max(area.place.y + area.place.height for area in group)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    total = 0.0
    for area in group:
        y, x = area.place.y - top, area.place.x - left
        part = mask[y : y + area.place.height, x : x + area.place.width]
        np.maximum(part, area.mask, out=part)
        total += area.strength * area.pixels
    pixels = cv2.countNonZero(mask)
    for start, end in bridges:
        first, second = (np.rint(each - (left, top)).astype(int).tolist() for each in (start, end))
        cv2.line(mask, first, second, 255)
    return Area(
        Box(left, top, right - left, bottom - top),
        mask,
        max(area.peak for area in group),
        total / max(1, pixels),
    )
