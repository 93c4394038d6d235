"""Measure the displacement of a shot's parts beyond its homography, patch by patch.

At full resolution a homography leaves errors of some pixels: the lens distorts, a sheet is not
flat, or the alignment was found on a reduced image. Patches on a grid are found again near the
place that the homography predicts. Their displacements are smoothed, so that a single part that
was moved does not bend the picture around it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD, biweight, weighted_median
from ltu_compute.kernels.types import Box, Gray, Points, Size

_SPACING = (64, 256)  # px between patches: least and most
_PATCHES_PER_SIDE = 12  # patches along the longest side, while the spacing allows it
_PATCH_SHARE = 0.75  # side of a patch, as a share of the spacing of fine grids
_LEAST_PATCH = 56  # px; smaller ones are seldom unique in their surroundings
_LARGEST_PATCH = 112  # px; larger ones are no more exact
_PRIOR = 0.004  # penalty, in correlation, of a displacement of 1 px; grows with its square
_PRIOR_PX = 3.0  # px; beyond, the penalty hardly grows: a board may be displaced far
_SLOPE = 0.0005  # penalty, in correlation, per px: prefers the nearest of similar places
_TEXTURE_PX = 16  # px to which a patch is reduced to measure its texture
_LINE_SHARE = 1e-7  # weight of lines relative to corners: they show displacement across only
_USABLE = 200  # least mean of the mask, of 255, over a patch to search for
_BLUR = 1.0  # sigma, px, before patches are matched
_CONTRAST = 4.0  # grey levels, least standard deviation of a patch to search for
_MIN_CORRELATION = 0.5  # least correlation of a patch found again
_ALIKE_PX = 0.75  # px, greatest distance of displacements that count as equal
_STEP_PX = 1.25  # px, greatest step of a continuous displacement between neighbours (joined boards)
_NEIGHBOURS = 2  # of a patch's eight that must have moved with it to accept its displacement
_CERTAIN = 0.8  # least correlation of a patch that certainly shows a part that moved
_GAIN = 0.05  # by which it is greater than that with the ground's displacement
_GROUND = 0.7  # of the other patches: least share that agrees if a part moved on common ground
_SPAN = 0.7  # of the rows or columns of patches that a fold covers, and no part
_LEAST_SPAN = 4  # rows or columns of patches, in which that shows
_NODE_BLUR = 0.6  # sigma, patches, by which displacements are smoothed
_ALTERNATIVES = 6  # displacements of neighbouring patches to try at a place
_LOCAL_PATCH = 56  # px, side of the patches of a place that is looked at again
_LOCAL_STEP = 28  # px between them
_LOCAL_NEIGHBOURS = 4  # of 24, of which half overlap, that must have moved with a patch
_LOCAL_JUMP = 2.5  # px between neighbours: a bend of 7 px in 100 px has 2 px
SURROUNDINGS = 56
"""Distance around a place, in px, in which a bend begins."""

_SETTLED = 0.15  # px; below, patches are where expected and nothing is resampled


class MovedPart(NamedTuple):
    """A patch that shows a part that moved against its surroundings.

    Attributes
    ----------
    place : Box
        The patch, in px of the frame.
    moved_px : float
        How far the part moved, in px of the frame.
    """

    place: Box
    moved_px: float

    def rescaled(self, factor: float) -> "MovedPart":
        """Return the same in px of a picture `factor` times as large."""
        return MovedPart(
            Box(*(round(factor * value) for value in self.place)), factor * self.moved_px
        )


CropOf = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Pixels of a rectangle, given by left, top, width and height, also beyond the image's edges."""

SoftCropOf = Callable[[int, int, int, int], Floats]
"""Pixels of a rectangle as `matchable` returns them, also beyond the image's edges."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement sampled on a grid, in px, interpolated bilinearly in between.

    Attributes
    ----------
    spacing : tuple of float
        Distance of the grid's places in x and y, in px; the first is half of it from the edge.
    vectors : ndarray of float32, shape (R, C, 2)
        Displacement in x and y at each place, smoothed.
    seen : ndarray of float32, shape (R, C, 2)
        Measured displacement of the patch there, not smoothed; nan where unknown.
    """

    spacing: tuple[float, float]
    vectors: Floats
    seen: Floats

    @property
    def largest_px(self) -> float:
        """Greatest displacement, in px."""
        return float(np.linalg.norm(self.vectors, axis=2).max())

    def at(self, points: Points) -> NDArray[np.float64]:
        """Return the displacement, shape (N, 2), at `points`, shape (N, 2), in px."""
        rows, columns = self.vectors.shape[:2]
        x, y = ((np.asarray(points, np.float64) + 0.5) / np.array(self.spacing) - 0.5).T
        x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
        left, top = x.astype(int), y.astype(int)
        right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
        x, y = (x - left)[:, None], (y - top)[:, None]
        above = (1 - x) * self.vectors[top, left] + x * self.vectors[top, right]
        below = (1 - x) * self.vectors[bottom, left] + x * self.vectors[bottom, right]
        return np.asarray((1 - y) * above + y * below, np.float64)

    def near(self, place: Box) -> list[tuple[int, int]]:
        """Return other displacements near a rectangle, in whole px beyond `at` its middle."""
        middle = np.array([[place.x + place.width / 2, place.y + place.height / 2]])
        beyond = self._seen_near(place) - self.at(middle)
        steps, counts = np.unique(np.rint(beyond).astype(int), axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_ALTERNATIVES]
        return [(int(dx), int(dy)) for dx, dy in steps[order]]

    def spread_near(self, place: Box) -> float:
        """Return by how much the patches near a rectangle are displaced against each other, px."""
        seen = self._seen_near(place)
        return float(np.ptp(seen, axis=0).max()) if len(seen) else 0.0

    def _seen_near(self, place: Box) -> Floats:
        """Return the displacements of the patches near a rectangle, shape (N, 2), in px."""
        columns, rows = (
            slice(
                max(0, int((start - 0.5 * step) / step - 0.5)), int((start + extent) / step + 1.5)
            )
            for start, extent, step in zip(place[:2], place[2:], self.spacing, strict=True)
        )
        seen = self.seen[rows, columns].reshape(-1, 2)
        return seen[~np.isnan(seen[:, 0])]

    def rescaled(self, factor: float) -> "Displacement":
        """Return the same displacement in px of a picture `factor` times as large."""
        spacing = (factor * self.spacing[0], factor * self.spacing[1])
        scale = np.float32(factor)
        return Displacement(spacing, self.vectors * scale, self.seen * scale)

    def plus(self, other: "Displacement") -> "Displacement":
        """Return the sum of this displacement and a finer one beyond it, on the finer grid."""
        rows, columns = other.vectors.shape[:2]
        x = (np.arange(columns) + 0.5) * other.spacing[0] - 0.5
        y = (np.arange(rows) + 0.5) * other.spacing[1] - 0.5
        centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        here = self.at(centres).reshape(rows, columns, 2).astype(np.float32)
        return Displacement(other.spacing, here + other.vectors, here + other.seen)


@dataclass(frozen=True, eq=False)
class Grid:
    """Patches of a frame: one in each cell of a grid, where the cell has most texture.

    Attributes
    ----------
    spacing : tuple of float
        Extent of a cell in x and y, in px.
    columns, rows : int
        Numbers of cells.
    patch : int
        Side of a patch, in px.
    middles : ndarray of float64, shape (rows, columns, 2)
        Middle of each patch, x and y in px.
    """

    spacing: tuple[float, float]
    columns: int
    rows: int
    patch: int
    middles: NDArray[np.float64]

    @classmethod
    def over(cls, frame: Size, overview: Gray, spacing: float | None = None) -> "Grid":
        """Return the grid for a frame, with patches placed by the texture of a grey overview."""
        if spacing is None:
            extent = min(max(frame), 3 * min(frame))  # a longer frame has rows like one of 3:1
            spacing = float(np.clip(extent / _PATCHES_PER_SIDE, *_SPACING))
        columns = max(1, round(frame.width / spacing))
        rows = max(1, round(frame.height / spacing))
        exact = (frame.width / columns, frame.height / rows)
        patch = int(min(_LARGEST_PATCH, max(_PATCH_SHARE * spacing, _LEAST_PATCH), *frame))
        scale = min(1.0, _TEXTURE_PX / patch)
        size = Size(max(8, round(frame.width * scale)), max(8, round(frame.height * scale)))
        small = cv2.resize(overview, size, interpolation=cv2.INTER_AREA)
        # The lesser eigenvalue of the structure tensor: contrast in every direction.
        texture = np.asarray(cv2.cornerMinEigenVal(small, _TEXTURE_PX), np.float32)
        texture += _LINE_SHARE * cv2.blur(cv2.Laplacian(small, cv2.CV_32F) ** 2, [_TEXTURE_PX] * 2)
        # A cell has 8 px or more of the texture: patches are hardly larger than their spacing.
        lines = np.rint(np.arange(rows + 1) * exact[1] * scale).astype(np.intp)
        sides = np.rint(np.arange(columns + 1) * exact[0] * scale).astype(np.intp)
        places = _strongest(texture[: lines[-1], : sides[-1]], lines, sides)
        middles = (places.reshape(rows, columns, 2) + 0.5) / scale - 0.5
        limits = np.array(frame) - 1 - patch / 2
        return cls(
            exact, columns, rows, patch, np.clip(middles, patch / 2, np.maximum(limits, patch / 2))
        )

    def corner(self, column: int, row: int) -> tuple[int, int]:
        """Return the left and top of a patch."""
        x, y = self.middles[row, column].tolist()
        return round(x - self.patch / 2 + 0.5), round(y - self.patch / 2 + 0.5)


def _strongest(
    values: Floats, lines: NDArray[np.intp], sides: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the x and y of the greatest value of each cell, row by row, shape (N, 2).

    Cells reach from each of `lines`, and of `sides`, to the next. The first of equal values counts.
    """
    greatest = np.maximum.reduceat(values, lines[:-1], axis=0)
    greatest = np.maximum.reduceat(greatest, sides[:-1], axis=1)
    row_of, column_of = (np.repeat(np.arange(len(e) - 1), np.diff(e)) for e in (lines, sides))
    y, x = np.nonzero(values == greatest[row_of[:, None], column_of])
    _, first = np.unique(row_of[y] * (len(sides) - 1) + column_of[x], return_index=True)
    return np.stack([x[first], y[first]], axis=1)


def measured_displacement(
    grid: Grid, reference: SoftCropOf, shot: SoftCropOf, usable: CropOf, reach: int
) -> tuple[Displacement | None, tuple[MovedPart, ...]]:
    """Find patches of the reference again in the shot.

    Parameters
    ----------
    grid : Grid
        Places of the patches.
    reference, shot : callable
        Grey pixels of the frame, and of the shot as the frame should see it, as `matchable`
        returns them.
    usable : callable
        Not 0 where both may be compared.
    reach : int
        Farthest displacement to search for, in px, 1 or more.

    Returns
    -------
    displacement : Displacement or None
        In px of the frame: a point at p in the reference is at p plus this in the shot. None if
        the greatest displacement is within 0.15 px, or no patch was found again.
    parts : tuple of MovedPart
        Patches that show a part that moved against its surroundings.
    """
    vectors, weights = patches_found(grid, reference, shot, usable, reach)
    if np.count_nonzero(weights) == 0:
        return None, ()
    slow = _slow_variation(vectors, weights)
    found = np.where(weights[..., None] > 0, vectors, np.float32(np.nan))
    moved = _parts(found - slow)
    parts = []
    for row, column in np.argwhere(_surely(moved, found, slow)).tolist():
        place = Box(*grid.corner(column, row), grid.patch, grid.patch)
        patch = reference(*place)
        there, here = (
            _correlation(patch, shot, place, each[row, column]) for each in (vectors, slow)
        )
        if there >= max(_CERTAIN, here + _GAIN):
            distance = np.linalg.norm(vectors[row, column] - slow[row, column])
            parts.append(MovedPart(place, float(distance)))
    weights = weights * (_supported(found, slow) & ~moved)
    smoothed = _smoothed(vectors, weights, slow)
    seen = np.where(weights[..., None] > 0, vectors, np.float32(np.nan))
    displacement = Displacement(grid.spacing, smoothed, np.asarray(seen, np.float32))
    return displacement if displacement.largest_px > _SETTLED else None, tuple(parts)


def _correlation(patch: Floats, shot: SoftCropOf, place: Box, moved: Floats) -> float:
    """Return the correlation of a patch with the shot where it is displaced, to whole px."""
    x, y = (round(float(value)) for value in moved)
    seen = shot(place.x + x, place.y + y, place.width, place.height)
    return float(cv2.matchTemplate(seen, patch, cv2.TM_CCOEFF_NORMED)[0, 0])


def patches_found(
    grid: Grid, reference: SoftCropOf, shot: SoftCropOf, usable: CropOf | None, reach: int
) -> tuple[Floats, Floats]:
    """Find each patch again; see `measured_displacement`.

    Returns
    -------
    vectors : ndarray of float32, shape (R, C, 2)
        Displacement of each patch in x and y, in px.
    weights : ndarray of float32, shape (R, C)
        Correlation times contrast, 0 to 1; 0 where a patch was not found.
    """
    vectors = np.zeros((grid.rows, grid.columns, 2), np.float32)
    weights = np.zeros((grid.rows, grid.columns), np.float32)
    for row in range(grid.rows):
        for column in range(grid.columns):
            left, top = grid.corner(column, row)
            around = (left - reach, top - reach, grid.patch + 2 * reach, grid.patch + 2 * reach)
            if usable is not None and usable(left, top, grid.patch, grid.patch).mean() < _USABLE:
                continue
            patch = reference(left, top, grid.patch, grid.patch)
            found = found_again(patch, shot(*around), reach)
            if found is not None:
                vectors[row, column], weights[row, column] = found
    return vectors, weights


def bent_by(reference: Floats, shot: Floats, reach: int) -> list[tuple[int, int]]:
    """Return displacements, in whole px, of a place where a sheet is bent.

    Between the patches of a grid, a sheet may be bent more steeply than the grid shows. Its
    displacement is continuous: it grows from nothing, patch by patch. A part that moved has another
    displacement than what is beside it.

    Parameters
    ----------
    reference : ndarray of float32, shape (H, W)
        The place and `SURROUNDINGS` px around it, as `matchable` returns it.
    shot : ndarray of float32, shape (H + 2 reach, W + 2 reach)
        The shot there, and `reach` px around.
    reach : int
        Farthest displacement to search for, in px.

    Returns
    -------
    list of tuple of int
        In x and y, of 1 px or more, the most frequent first; `_ALTERNATIVES` at the most.
    """
    height, width = reference.shape
    if min(height, width) < _LOCAL_PATCH:
        return []
    rows, columns = (
        np.arange(0, extent - _LOCAL_PATCH + 1, _LOCAL_STEP) for extent in (height, width)
    )
    vectors = np.full((len(rows), len(columns), 2), np.nan, np.float32)
    for row, top in enumerate(rows):
        for column, left in enumerate(columns):
            patch = reference[top : top + _LOCAL_PATCH, left : left + _LOCAL_PATCH]
            side = _LOCAL_PATCH + 2 * reach
            found = found_again(patch, shot[top : top + side, left : left + side], reach)
            if found is not None:
                vectors[row, column] = found[0]
    moved = np.linalg.norm(vectors, axis=2)
    bent = _reached(vectors, moved < 1, _LOCAL_JUMP)
    bent &= (moved >= 1) & (_like_neighbours(vectors, 2) >= _LOCAL_NEIGHBOURS)
    steps, counts = np.unique(np.rint(vectors[bent]).astype(int), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_ALTERNATIVES]
    return [(int(dx), int(dy)) for dx, dy in steps[order]]


def _beside(values: NDArray[Any], reach: int, beyond: float | bool) -> Iterator[NDArray[Any]]:
    """Yield `values`, shape (R, C, ...), shifted by each of up to `reach` rows and columns."""
    rows, columns = values.shape[:2]
    padding = [(reach, reach)] * 2 + [(0, 0)] * (values.ndim - 2)
    padded = np.pad(values, padding, constant_values=beyond)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            if (down, right) != (reach, reach):
                yield padded[down : down + rows, right : right + columns]


def _like_neighbours(vectors: Floats, reach: int) -> NDArray[np.intp]:
    """Return how many neighbours of each patch are displaced like it; unknown ones are nan."""
    close = (
        np.linalg.norm(vectors - other, axis=2) <= _ALIKE_PX
        for other in _beside(vectors, reach, np.nan)
    )
    return np.asarray(sum(each.astype(np.intp) for each in close), np.intp)


def _reached(vectors: Floats, start: NDArray[np.bool_], jump: float) -> NDArray[np.bool_]:
    """Return patches that are reached from some by steps of `jump` px; unknown ones are nan."""
    steps = [
        np.linalg.norm(vectors - other, axis=2) <= jump for other in _beside(vectors, 1, np.nan)
    ]
    reached, before = start.copy(), -1
    while int(np.count_nonzero(reached)) != before:
        before = int(np.count_nonzero(reached))
        for step, beside in zip(steps, list(_beside(reached, 1, beyond=False)), strict=True):
            reached |= step & beside
    return reached


def matchable(gray: Gray) -> Floats:
    """Return grey pixels as patches of them are matched: blurred, and not bytes.

    OpenCV matches floats in less than half the time that bytes take.
    """
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), _BLUR), np.float32)


def found_again(
    patch: Floats, around: Floats, reach: int
) -> tuple[tuple[float, float], float] | None:
    """Return a patch's place in its surroundings, relative to their middle, and its weight.

    Parameters
    ----------
    patch : ndarray of float32, shape (H, W)
        The patch, as `matchable` returns it.
    around : ndarray of float32, shape (H + 2 reach, W + 2 reach)
        Its surroundings in the other picture.
    reach : int
        Farthest displacement to search for, in px.

    Returns
    -------
    tuple or None
        Displacement in x and y, in px, and correlation times contrast, 0 to 1. None if it was not
        found.
    """
    deviation = float(cv2.meanStdDev(patch)[1][0, 0])
    if deviation < _CONTRAST:
        return None
    scores = cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED)
    drawn = cv2.subtract(scores, _penalty(reach))
    _, _, _, (x, y) = cv2.minMaxLoc(drawn)
    correlation = float(scores[y, x])
    if not correlation >= _MIN_CORRELATION:
        return None
    dx, dy = x - reach + _vertex(drawn[y], x), y - reach + _vertex(drawn[:, x], y)
    return (dx, dy), correlation * deviation / (deviation + 2 * _CONTRAST)


@lru_cache(8)
def _penalty(reach: int) -> Floats:
    """Return what displacements of up to `reach` px cost, in correlation: a square, by y and x."""
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    square = offsets[:, None] ** 2 + offsets[None, :] ** 2
    penalty = _PRIOR * square / (1 + square / _PRIOR_PX**2) + _SLOPE * np.sqrt(square)
    penalty.flags.writeable = False
    return np.asarray(penalty, np.float32)


def _vertex(values: Floats, index: int) -> float:
    """Return the offset of the vertex of the parabola through a maximum and its neighbours."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, peak, after = values[index - 1 : index + 2].tolist()
    curvature = before - 2 * peak + after
    return min(0.5, max(-0.5, 0.5 * (before - after) / curvature)) if curvature < 0 else 0.0


def _supported(vectors: Floats, slow: Floats) -> NDArray[np.bool_]:
    """Return which patches agree with the slow variation, or with neighbouring patches.

    The pieces of a sheet are kept, each with its own displacement. Unknown ones are nan.
    """
    alike = np.linalg.norm(vectors - slow, axis=2) <= _ALIKE_PX
    return np.asarray(alike | (_like_neighbours(vectors, 1) >= _NEIGHBOURS), np.bool_)


def _parts(beyond: Floats) -> NDArray[np.bool_]:
    """Return which patches show a part that moved on the ground around it.

    Patches are placed where a cell has most texture, so that several show the same part.

    Parameters
    ----------
    beyond : ndarray of float32, shape (R, C, 2)
        Displacement of each patch beyond the slow variation, in px; nan where unknown.

    Returns
    -------
    ndarray of bool, shape (R, C)
        Groups of like displacements. No patches that are displaced by less connect them with the
        ground, because a sheet is continuous. They do not reach across the frame, as a fold does.
        Most of the rest is ground: the pieces of a panel have no common one.
    """
    ground = np.asarray(np.linalg.norm(beyond, axis=2) <= _ALIKE_PX, np.bool_)
    left = ~np.isnan(beyond[..., 0]) & ~ground & ~_reached(beyond, ground, _STEP_PX)
    known = np.count_nonzero(~np.isnan(beyond[..., 0]))
    parts = np.zeros_like(ground)
    while left.any():
        first = np.zeros_like(ground)
        first[*np.argwhere(left)[0]] = True
        members = _reached(beyond, first, _ALIKE_PX)
        left &= ~members
        others = known - np.count_nonzero(members)
        if np.count_nonzero(ground) >= _GROUND * others and not _spans(members):
            parts |= members
    return parts


def _surely(moved: NDArray[np.bool_], found: Floats, slow: Floats) -> NDArray[np.bool_]:
    """Return which patches of parts that moved are certain, see `_parts`.

    Another patch agrees, and all others beside them that were found again are on the ground.
    """
    alike = _like_neighbours(found, 1)
    known = np.asarray(~np.isnan(found[..., 0]), np.bool_)
    on_ground = known & (np.linalg.norm(found - slow, axis=2) <= _ALIKE_PX)
    beside = [np.asarray(each, np.intp) for each in (known, on_ground)]
    others = [sum(each for each in _beside(counted, 1, 0)) for counted in beside]
    return np.asarray(moved & (alike > 0) & (alike + others[1] == others[0]), np.bool_)


def _spans(members: NDArray[np.bool_]) -> bool:
    """Return whether a group of patches reaches from one side of the frame to the other."""
    return any(
        count >= _LEAST_SPAN and np.count_nonzero(members.any(axis=axis)) >= _SPAN * count
        for axis, count in ((1, members.shape[0]), (0, members.shape[1]))
    )


def _smoothed(vectors: Floats, weights: Floats, slow: Floats) -> Floats:
    """Return the slow variation plus the mean deviation of neighbouring patches from it."""
    rows, columns = weights.shape
    beyond = ((vectors - slow) * weights[..., None]).astype(np.float32)
    share = cv2.GaussianBlur(weights, (3, 3), _NODE_BLUR)[..., None]
    local = cv2.GaussianBlur(beyond, (3, 3), _NODE_BLUR).reshape(rows, columns, 2)
    return np.asarray(slow + local / np.maximum(share, 0.15), np.float32)


def _slow_variation(vectors: Floats, weights: Floats) -> Floats:
    """Fit a quadratic over the grid: iteratively reweighted least squares, Tukey's biweight."""
    rows, columns = weights.shape
    y = np.linspace(-1, 1, rows)[:, None] if rows > 1 else np.zeros((1, 1))
    x = np.linspace(-1, 1, columns)[None, :] if columns > 1 else np.zeros((1, 1))
    terms = np.stack(np.broadcast_arrays(np.ones(1), x, y, x * x, x * y, y * y), axis=-1)
    basis = terms.reshape(-1, terms.shape[-1])
    moved = vectors.reshape(-1, 2).astype(np.float64)
    known = weights.ravel().astype(np.float64)
    stiffness = np.diag([1e-3, 0.02, 0.02, 0.05, 0.05, 0.05]) * known.sum()
    start = np.array([weighted_median(moved[:, axis], known) for axis in range(2)])
    coefficients = np.zeros((basis.shape[1], 2))
    coefficients[0] = start
    for _ in range(10):
        distance = np.linalg.norm(moved - basis @ coefficients, axis=1)
        scale = max(DEVIATIONS_PER_MAD * weighted_median(distance, known), 0.25)
        robust = known * biweight(distance, scale)
        weighted = basis * robust[:, None]
        aim = weighted.T @ (moved - start)
        coefficients = np.linalg.solve(weighted.T @ basis + stiffness, aim)
        coefficients[0] += start
    return np.asarray((basis @ coefficients).reshape(vectors.shape), np.float32)
