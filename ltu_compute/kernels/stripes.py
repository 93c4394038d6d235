"""Striped areas of a picture, where bars of a code may be, and the picture laid level there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.types import Gray
from ltu_compute.kernels.vectors import lengths

_CELL_PX = 4
_COHERENCE = 0.75
_AREA_COHERENCE = 0.6
"""Least coherence (0 to 1) of the gradient around a place, and of all that of an area."""

_MIN_GRADIENT = 10.0
"""Root of the mean square of the gradient, in grey levels per px, where there may be bars."""

_SECTOR = 0.5  # least cosine of the angle, twice that of the stripes, to a sector's middle

_MIN_CELLS = 12
"""Least size of an area, in cells."""

_MAX_CANDIDATES = 6
"""Areas looked at per level of the pyramid, largest first: bounds the time."""

_SAME_DIRECTION = 4.0
"""Degrees by which areas may differ in direction that are parts of one code."""

_DARK_PERCENT = 10.0
"""Percentile of an area's grey levels that is taken for its dark; 100 less it for its light."""

_BESIDE = 8
"""Samples at either end of a row that decide whether the paper is dark or light."""


@dataclass(frozen=True, eq=False)
class Area:
    """A striped area.

    Attributes
    ----------
    center : ndarray of float64, shape (2,)
        Its middle: x, y in px.
    across : ndarray of float64, shape (2,)
        The unit vector across its stripes.
    width, height : float
        Its extents across and along the stripes, in px.
    """

    center: NDArray[np.float64]
    across: NDArray[np.float64]
    width: float
    height: float

    @property
    def axes(self) -> NDArray[np.float64]:
        """The unit vectors across and along its stripes, as rows."""
        return np.array([self.across, (-self.across[1], self.across[0])])

    def sampled(
        self, gray: Gray, u: NDArray[np.float64], v: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return grey levels, bilinear, where lines across and along it cross.

        Samples beyond the picture's edge are paper: dark where the bars are light.

        Parameters
        ----------
        gray : ndarray of uint8, shape (H, W)
            The picture.
        u, v : ndarray of float64
            Distances from its middle, across and along its stripes, in px.

        Returns
        -------
        ndarray of float32, shape (len(v), len(u))
        """
        across, down = self.axes
        x, y = (
            (self.center[axis] + u[None, :] * across[axis] + v[:, None] * down[axis]).astype(
                np.float32
            )
            for axis in (0, 1)
        )
        sampled = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        levels = np.asarray(sampled, np.float32)
        height, width = gray.shape
        outside = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
        if outside.any():
            levels[outside] = _paper(levels, outside)
        return levels


def _paper(levels: NDArray[np.float32], outside: NDArray[np.bool_]) -> float:
    """Return the grey level of the paper around an area of which a part is outside."""
    inside = levels[~outside]
    if inside.size == 0:
        return 255.0
    dark = percentile(inside, _DARK_PERCENT)
    light = percentile(inside, 100 - _DARK_PERCENT)
    ends = [
        levels[:, :_BESIDE][~outside[:, :_BESIDE]],
        levels[:, -_BESIDE:][~outside[:, -_BESIDE:]],
    ]
    beside = np.concatenate(ends)
    is_dark = beside.size > 0 and median(beside) < (dark + light) / 2
    return dark if is_dark else light


def striped_areas(gray: Gray) -> Iterator[Area]:
    """Yield the largest areas in which gradients of one direction dominate, fine stripes first.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture; looked at in three sizes: as it is, half and a quarter.

    Yields
    ------
    Area
        At most six a size, largest first.

    References
    ----------
    J. Bigun, G. Granlund, "Optimal orientation detection of linear symmetry", ICCV 1987: the
    structure tensor's coherence.
    """
    scale = 1.0
    level = gray
    for _ in range(3):
        if min(level.shape) < 6 * _CELL_PX:
            return
        for area in _areas_at(level):
            center = (area.center + 0.5) * scale - 0.5
            yield Area(center, area.across, area.width * scale, area.height * scale)
        scale *= 2
        level = np.asarray(
            cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8
        )


def _areas_at(gray: Gray) -> list[Area]:
    gradient_x = cv2.Scharr(gray, cv2.CV_32F, 1, 0, scale=1 / 32)
    gradient_y = cv2.Scharr(gray, cv2.CV_32F, 0, 1, scale=1 / 32)
    height, width = gray.shape
    cells = (max(1, width // _CELL_PX), max(1, height // _CELL_PX))
    cell_px = np.array([width / cells[0], height / cells[1]])
    pairs = (gradient_x, gradient_x), (gradient_y, gradient_y), (gradient_x, gradient_y)
    products = [
        cv2.resize(cv2.multiply(one, other), cells, interpolation=cv2.INTER_AREA)
        for one, other in pairs
    ]
    tensor = np.asarray(cv2.merge(products), np.float32)
    xx, yy, xy = (cv2.blur(product, (5, 5)) for product in products)
    energy = xx + yy
    level, slant = xx - yy, 2 * xy
    anisotropy = lengths(level, slant)
    striped = (anisotropy > _COHERENCE * energy) & (energy > _MIN_GRADIENT**2)
    # Stripes of different directions that touch are different areas.
    half = _SECTOR * anisotropy
    kernel = np.ones((5, 5), np.uint8)
    found: list[tuple[int, tuple[slice, slice], NDArray[np.bool_]]] = []
    for alike in (level > half, slant > half, -level > half, -slant > half):
        inside = (striped & alike).view(np.uint8)
        if cv2.countNonZero(inside) == 0:
            continue
        closed = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, kernel)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
        order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_MAX_CANDIDATES] + 1
        for label in order.tolist():
            left, top, wide, high, size = stats[label].tolist()
            if size >= _MIN_CELLS:
                box = (slice(top, top + high), slice(left, left + wide))
                found.append((size, box, labels[box] == label))
    found.sort(key=lambda each: -each[0])
    areas = (_area_of(cells, tensor[box], box, cell_px) for _, box, cells in found)
    return list(islice((area for area in areas if area is not None), _MAX_CANDIDATES))


def _area_of(
    cells: NDArray[np.bool_],
    tensor: NDArray[np.float32],
    box: tuple[slice, slice],
    cell_px: NDArray[np.float64],
) -> Area | None:
    """Measure an area, the cells that are set in a box of them, across and along its stripes."""
    xx, yy, xy = tensor[cells].sum(axis=0, dtype=np.float64).tolist()
    if xx + yy <= 0:
        return None
    coherence = float(np.hypot(xx - yy, 2 * xy) / (xx + yy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    across = np.array([np.cos(angle), np.sin(angle)])
    rows, columns = np.nonzero(cells)
    places = np.stack([columns + box[1].start, rows + box[0].start], axis=1)
    points = (places + 0.5) * cell_px - 0.5
    along_u = points @ across
    along_v = points @ np.array([-across[1], across[0]])
    low_u, high_u = percentile(along_u, 1), percentile(along_u, 99)
    low_v, high_v = percentile(along_v, 4), percentile(along_v, 96)
    width = high_u - low_u + _CELL_PX
    height = high_v - low_v + _CELL_PX
    if width < 6 * _CELL_PX or coherence < _AREA_COHERENCE:
        return None
    middle = np.array([(low_u + high_u) / 2, (low_v + high_v) / 2])
    center = middle[0] * across + middle[1] * np.array([-across[1], across[0]])
    return Area(center, across, width, height)


def union(areas: Sequence[Area]) -> Area | None:
    """Return the area around most of those whose stripes have one direction; None without two."""
    angles = np.array([np.arctan2(area.across[1], area.across[0]) for area in areas])
    if angles.size < 2:
        return None
    apart = np.abs((angles[:, None] - angles + np.pi / 2) % np.pi - np.pi / 2)
    alike = apart < np.deg2rad(_SAME_DIRECTION)
    most = alike[int(np.argmax(alike.sum(axis=1)))]
    chosen = [area for area, taken in zip(areas, most, strict=True) if taken]
    if len(chosen) < 2:
        return None
    axes = chosen[0].axes
    middles = np.array([area.center for area in chosen]) @ axes.T
    halves = np.array([(area.width / 2, area.height / 2) for area in chosen])
    low, high = (middles - halves).min(axis=0), (middles + halves).max(axis=0)
    width, height = (high - low).tolist()
    return Area((low + high) / 2 @ axes, axes[0], width, height)
