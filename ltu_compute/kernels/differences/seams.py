"""Ignore strips at the seams of pieces that are displaced against each other.

The boards of a panel, or the pictures of a mosaic, may each be displaced by a few px. Between two
of them one shot then shows a strip that is hidden in the other. Its width is that of their relative
displacement. It cannot be compared with anything.

A seam is only believed where patches on both sides have different displacements, and where the
shots agree everywhere off the strip: one side displaced like its patches, the other like its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checked
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.displacement import (
    Displacement,
    Grid,
    found_again,
    matchable,
)
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.screening import (
    Level,
    grown,
    neighbourhood,
    outside,
    softened,
)
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.resizing import brightest_channel, gray_of
from ltu_compute.kernels.types import Box, Matrix

SPACING = 64
"""Distance of patches beside a seam, in px."""

MOST_AREAS = 1000
"""Areas that are looked at, 20 ms each; with more, the shots differ all over, and not at seams."""

_REACH = 8  # px beyond the displacement measured already, in which a patch is searched for
_NEAREST_PX, _FARTHEST_PX = 20, 160  # from an area, of the middles of patches beside it
_ALONG_PX = 224  # px to both sides of an area along a seam: a third of a small board
_ACROSS_PX = 96  # px to both sides across a seam, in which the shots must agree
_LEAST_PATCHES = 3
_LEAST_ALIKE = 0.4  # share of the patches on a side that must be displaced alike
_ALIKE_PX = 0.75  # px, greatest distance of displacements that count as equal
_LEAST_JUMP_PX = 0.5  # px, least relative displacement of two pieces
_JITTER_PX = 2  # px by which an edge at a seam may be displaced besides
_THIN_PX = 3  # px, greatest width of a strip at a seam along which pieces are displaced
_SLENDER = 4  # times its width: least length of such a strip
_WIDER_PX = 5  # px by which an area may be wider than the relative displacement: blur, and jitter
_LEVELS_OF_NOISE = 8  # levels, of 255, below which no difference remains
_LEVELS_OF_EVIDENCE = 77  # levels, of 255, of a pixel that differs fully: 30 ΔE in grey
_UNSURE = 8.0  # px that differ fully: the place of a seam is not known more exactly
_LEAST_GAIN = 100.0  # px that differ fully, which a seam must explain beyond one displacement
_GAIN_SHARE = 0.5  # of what remains off the strip: least gain of a seam
_MOST_UNSURE_PX = 8  # px in which a seam may be, besides its strip
_OWN_PX = 3  # px around an area that are its own blur, and no evidence of a seam
_STIFF_PX = 30.0  # px from a patch at which it says as much of the slope as the prior of none
_REFITTED = 3  # times that patches are chosen anew by the displacement fitted to them


@dataclass(eq=False)
class Seams:
    """Seams between pieces of a frame.

    Attributes
    ----------
    moved_by : callable
        Returns the pictures with the shot moved by an affine map, shape (3, 3). The map is from px
        of the reference to px of the shot as it is aligned without displacement.
    displacement : Displacement
        As measured by patches that are farther apart.
    grid : Grid
        Places of patches beside seams, `SPACING` px apart.
    """

    moved_by: Callable[[Matrix], Level]
    displacement: Displacement
    grid: Grid
    _found: dict[tuple[int, int], tuple[NDArray[np.float64], float]] = field(default_factory=dict)

    @cached_property
    def _in_place(self) -> Level:
        return self.moved_by(np.eye(3))

    def without_strips(self, areas: list[Area]) -> list[Area]:
        """Return the areas that are not strips at a seam; all if these are over `MOST_AREAS`."""
        if len(areas) > MOST_AREAS:
            return areas
        return [area for area in checked(areas) if not self._is_strip(area.place)]

    def _is_strip(self, place: Box) -> bool:
        apart = self.displacement.spread_near(place)
        if apart < _LEAST_JUMP_PX or min(place[2:]) > apart + _WIDER_PX + 1:
            return False
        return any(self._is_at_seam(place, axis) for axis in (0, 1))

    def _is_at_seam(self, area: Box, axis: int) -> bool:
        """Return whether an area is at a seam across the axis: 0 for x, 1 for y."""
        start, extent = area[axis], area[axis + 2]
        centre = area[1 - axis] + area[3 - axis] // 2
        for before, behind in (
            (_ALONG_PX, _ALONG_PX),
            (2 * _ALONG_PX, 0),  # pieces meet at a corner: a seam may end at the area
            (0, 2 * _ALONG_PX),
        ):
            beside = (centre - before, centre + behind)
            one = self._moved_beside(axis, start, -1, beside)
            other = self._moved_beside(axis, start + extent, 1, beside)
            if one is None or other is None:
                continue
            middle = np.array([[area.x + area.width / 2, area.y + area.height / 2]])
            between = np.abs(map_points(middle, one) - map_points(middle, other))[0]
            jump = float(between[axis])
            thin = extent <= _THIN_PX and area[3 - axis] >= _SLENDER * extent
            apart = float(between.max()) if thin else jump
            if apart < _LEAST_JUMP_PX or extent > jump + _WIDER_PX:
                continue
            if self._part_here(axis, area, beside, (one, other), jump):
                return True
        return False

    def _part_here(
        self,
        axis: int,
        area: Box,
        along: tuple[int, int],
        moved: tuple[Matrix, Matrix],
        jump: float,
    ) -> bool:
        """Return whether the shots agree to both sides of a strip, each displaced in its way.

        `along` are start and end of the surroundings, `moved` the affine maps before and behind
        the strip, and `jump` is by how much these differ across it. The area itself is no evidence.
        """
        start, extent = area[axis], area[axis + 2]
        whole = extent + 2 * _ACROSS_PX
        place = Box(start - _ACROSS_PX, along[0], whole, along[1] - along[0])
        if axis:
            place = Box(place.y, place.x, place.height, place.width)
        own = grown(area, _OWN_PX)
        top, left = max(0, own.y - place.y), max(0, own.x - place.x)
        here = (
            slice(top, max(0, own.y + own.height - place.y)),
            slice(left, max(0, own.x + own.width - place.x)),
        )
        sums = []
        for each in moved:
            left_over = self._left_over(place, each)
            left_over[here] = 0
            sums.append(np.append(0, np.cumsum(left_over.sum(axis=axis))))
        before, behind = sums
        strip = int(np.ceil(jump)) + _JITTER_PX
        seams = np.arange(whole + 1)
        rest = before[np.maximum(seams - strip, 0)]
        rest = rest + behind[-1] - behind[np.minimum(seams + strip, whole)]
        likely = np.flatnonzero(rest <= rest.min() + _UNSURE)
        first, last = int(likely[0]) - strip - _JITTER_PX, int(likely[-1]) + strip + _JITTER_PX
        return bool(
            first <= _ACROSS_PX
            and _ACROSS_PX + extent <= last
            and likely[-1] - likely[0] <= 2 * strip + _MOST_UNSURE_PX
            and min(before[-1], behind[-1]) - rest.min()
            > max(_LEAST_GAIN, _GAIN_SHARE * rest.min())
        )

    def _left_over(self, place: Box, moved: Matrix) -> Floats:
        """Return how much of each pixel differs where the shot is moved: 0 to 1."""
        pictures = self.moved_by(moved)
        first, second = (softened(each) for each in pictures.pictures(place))
        beyond = cv2.max(
            outside(first, *neighbourhood(second, 1)), outside(second, *neighbourhood(first, 1))
        )
        strongest = brightest_channel(np.asarray(beyond, np.uint8))
        cv2.threshold(strongest, _LEVELS_OF_NOISE, 0, cv2.THRESH_TOZERO, strongest)
        strongest = cv2.bitwise_and(strongest, pictures.allowed(place))
        share = np.minimum(strongest, _LEVELS_OF_EVIDENCE) / np.float32(_LEVELS_OF_EVIDENCE)
        return np.asarray(share, np.float32)

    def _moved_beside(
        self, axis: int, start: int, sign: int, along: tuple[int, int]
    ) -> Matrix | None:
        """Return the affine map of the piece before (-1) or behind (1) a px; None if unknown."""
        for farthest in (_FARTHEST_PX, 2 * _FARTHEST_PX):  # next to a seam it may be blank
            near, far = sorted((start + sign * _NEAREST_PX, start + sign * farthest))
            moved = self._moved(axis, (near, far), along)
            if moved is not None:
                return moved
        return None

    def _moved(self, axis: int, across: tuple[int, int], along: tuple[int, int]) -> Matrix | None:
        """Return the affine map of most patches in a rectangle; None if unknown."""
        columns, rows = (across, along) if axis == 0 else (along, across)
        places, vectors, weights = [], [], []
        for row in self._cells(1, rows):
            for column in self._cells(0, columns):
                x, y = self.grid.middles[row, column]
                if columns[0] <= x <= columns[1] and rows[0] <= y <= rows[1]:
                    vector, weight = self._node(row, column)
                    if weight > 0:
                        places.append((x, y))
                        vectors.append(vector)
                        weights.append(weight)
        if len(places) < _LEAST_PATCHES:
            return None
        return _fitted(np.array(places), np.array(vectors), np.array(weights))

    def _cells(self, axis: int, extent: tuple[int, int]) -> range:
        count = (self.grid.columns, self.grid.rows)[axis]
        first, last = (int(value // self.grid.spacing[axis]) for value in extent)
        return range(max(0, first), min(count, last + 1))

    def _node(self, row: int, column: int) -> tuple[NDArray[np.float64], float]:
        """Return the displacement of a patch and its weight; 0 if it is not found."""
        if (row, column) not in self._found:
            self._found[row, column] = self._measured(row, column)
        return self._found[row, column]

    def _measured(self, row: int, column: int) -> tuple[NDArray[np.float64], float]:
        middle = self.grid.middles[row, column]
        near = np.rint(self.displacement.at(middle[None])[0])
        left, top = self.grid.corner(column, row)
        side = self.grid.patch
        x, y = left + int(near[0]) - _REACH, top + int(near[1]) - _REACH
        reference, around = self._in_place.pictures(Box(x, y, side + 2 * _REACH, side + 2 * _REACH))
        if max(abs(near)) > _REACH:
            patch = self._in_place.pictures(Box(left, top, side, side))[0]
        else:
            patch = reference[top - y : top - y + side, left - x : left - x + side]
        found = found_again(matchable(gray_of(patch)), matchable(gray_of(around)), _REACH)
        return (near, 0.0) if found is None else (near + found[0], found[1])


def _fitted(
    places: NDArray[np.float64], vectors: NDArray[np.float64], weights: NDArray[np.float64]
) -> Matrix | None:
    """Return the affine map that most patches agree on; None if too few do.

    `places` and `vectors`, shapes (N, 2), are the middles of the patches and their displacements.
    """
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    most = apart[int(((apart <= _ALIKE_PX) @ weights).argmax())] <= _ALIKE_PX
    middle = np.average(places, axis=0, weights=weights)
    terms = np.column_stack([places - middle, np.ones(len(places))])
    for _ in range(_REFITTED):
        weighted = terms * (weights * most)[:, None]
        prior = np.diag([_STIFF_PX**2, _STIFF_PX**2, 1e-9]) * float((weights * most).sum())
        slopes = np.linalg.solve(weighted.T @ terms + prior, weighted.T @ vectors)
        most = np.linalg.norm(vectors - terms @ slopes, axis=1) <= _ALIKE_PX
        if np.count_nonzero(most) < max(_LEAST_PATCHES, _LEAST_ALIKE * len(places)):
            return None
    matrix = np.eye(3)
    matrix[:2, :2] += slopes[:2].T
    matrix[:2, 2] = slopes[2] - slopes[:2].T @ middle
    return matrix
