"""Find suspect places of two pictures at little cost, for exact examination.

Works on bytes, tile by tile. A pixel is suspect when, in any channel, it exceeds the range of the
other picture's neighbourhood by more than noise and contrast explain.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import brightest_channel
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Size

TILE = 512
"""Side of a tile, in px: its pictures and intermediate results fit in a processor's cache."""

CELL = 32
"""Side, in px, of the cells that are marked as suspect; a tile has a whole number of cells."""

BASE_BLUR = 0.7  # sigma, px: averages the grain of a sensor, and half a pixel of an edge
_AT_ONCE = 1 << 19  # px; a smaller picture is one tile
_MARGIN = 8  # px around a tile that blurring and neighbourhoods use
_CONTRAST_SHARE = 0.12  # of the neighbourhood's contrast: below the exact look's allowance
_LEAST_PIXELS = 3  # pixels of a suspect place; a difference that counts has more
_EDGE_LEVELS = 24  # levels, of 255: least contrast of a neighbourhood with an edge
_LEVELS_PER_DELTA_E = 1.6  # levels, of 255: least step of a channel for a step of 1 ΔE


class Level(Protocol):
    """Two pictures of equal size and resolution, and a mask of the places to compare."""

    @property
    def size(self) -> Size:
        """Size of both, in px."""

    def pictures(self, place: Box) -> tuple[Bgr, Bgr]:
        """Return the pixels of a rectangle: of the reference, and of the shot warped into it."""

    def allowed(self, place: Box) -> Mask:
        """Return where in a rectangle the pictures are compared: 255, elsewhere 0."""


@dataclass(frozen=True)
class Sensitivity:
    """Limits above which a pixel is suspect.

    Attributes
    ----------
    low, high : int
        Levels, of 255: above `low` a pixel belongs to a suspect place; above `high` it creates
        one.
    radius : int
        Displacement that is not a difference, in whole px.
    """

    low: int
    high: int
    radius: int

    @classmethod
    def of(cls, level_delta_e: float, noise_levels: float, radius: float) -> "Sensitivity":
        """Return the sensitivity for a threshold in ΔE and the allowance for noise in levels."""
        high = max(2.0, _LEVELS_PER_DELTA_E * level_delta_e)
        low = max(1.0, 0.5 * high)
        return cls(
            int(min(254, low + noise_levels)), int(min(254, high + noise_levels)), int(radius)
        )


@dataclass(frozen=True, eq=False)
class Survey:
    """Result of a first pass over two pictures.

    Attributes
    ----------
    cells : ndarray of bool, shape (R, C)
        True for cells with a pixel that creates a suspect place.
    share : float
        Share of such pixels.
    halved : tuple of ndarray of uint8
        Both pictures at half the resolution, and a mask, shape (H, W): 255 where they are
        compared. Edges displaced within the tolerance are moved to their place in the reference,
        so that averaging does not turn them into differences.
    places : list of Box
        Places that `also` found.
    """

    cells: NDArray[np.bool_]
    share: float
    halved: tuple[Bgr, Bgr, Mask]
    places: list[Box]

    def outside(self, known: Mask) -> "Survey":
        """Return the survey without places that are known to differ: not 0 in the level's mask."""
        first, second, mask = self.halved
        rows, columns = self.cells.shape
        sides = rows * CELL - known.shape[0], columns * CELL - known.shape[1]
        whole = cv2.copyMakeBorder(known, 0, sides[0], 0, sides[1], cv2.BORDER_REPLICATE)
        within = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA) == 255
        cells = self.cells & ~within
        left = int(np.count_nonzero(cells)) / max(1, int(np.count_nonzero(self.cells)))
        free = cv2.resize(known, size_of(mask), interpolation=cv2.INTER_AREA) == 0
        mask = np.where(free, mask, np.uint8(0))
        return replace(self, cells=cells, share=left * self.share, halved=(first, second, mask))


def surveyed(
    level: Level,
    sensitivity: Sensitivity,
    also: Callable[[Bgr, Bgr, Mask], list[Box]] | None = None,
) -> Survey:
    """Survey two pictures, tile by tile.

    `also` searches each tile's softened pictures, within a mask, for other places.
    """
    width, height = level.size
    cells = np.zeros((-(-height // CELL), -(-width // CELL)), np.float32)
    half = Size(max(1, width // 2), max(1, height // 2))
    halves: list[Bgr] = []
    places: list[Box] = []
    mask_half = np.zeros((half.height, half.width), np.uint8)
    for core in _tiles(level.size):
        checkpoint()
        inner = (slice(_MARGIN, _MARGIN + core.height), slice(_MARGIN, _MARGIN + core.width))
        reference, shot = level.pictures(grown(core, _MARGIN))
        if not halves:
            shape = (half.height, half.width, *reference.shape[2:])
            halves = [np.zeros(shape, np.uint8) for _ in "12"]
        first, second = softened(reference), softened(shot)
        ranges = neighbourhood(first, sensitivity.radius), neighbourhood(second, sensitivity.radius)
        beyond = _excess(first, second, ranges)[inner]
        allowed = level.allowed(core)
        if also is not None:
            found = also(first[inner], second[inner], allowed)
            places += [Box(core.x + x, core.y + y, *extent) for x, y, *extent in found]
        _, mask = cv2.threshold(beyond, sensitivity.high, 255, cv2.THRESH_BINARY)
        if cv2.countNonZero(mask):
            counts = _counts(np.asarray(cv2.bitwise_and(mask, allowed, mask), np.uint8))
            top, left = core.y // CELL, core.x // CELL
            cells[top : top + len(counts), left : left + counts.shape[1]] = counts
        own_reference, own_shot = reference[inner], shot[inner].copy()
        contrast = cv2.min(*(cv2.subtract(high, low) for low, high in ranges))
        edges = brightest_channel(np.asarray(contrast, np.uint8)[inner])
        settled = (edges > _EDGE_LEVELS) & (beyond <= sensitivity.low)
        cv2.copyTo(own_reference, settled.astype(np.uint8), own_shot)
        size = (
            min(core.width, 2 * half.width - core.x) // 2,
            min(core.height, 2 * half.height - core.y) // 2,
        )
        if min(size) < 1:
            continue
        at = (slice(core.y // 2, core.y // 2 + size[1]), slice(core.x // 2, core.x // 2 + size[0]))
        even = (slice(0, 2 * size[1]), slice(0, 2 * size[0]))
        for whole, part in zip(halves, (own_reference, own_shot), strict=True):
            whole[at] = cv2.resize(part[even], size, interpolation=cv2.INTER_AREA)
        smaller = cv2.resize(allowed[even], size, interpolation=cv2.INTER_AREA)
        # Not cv2.compare: it takes a tile of 1 x 1 px for a scalar.
        mask_half[at] = np.where(smaller == 255, np.uint8(255), np.uint8(0))
    # A difference may be on the border of cells.
    around = cv2.boxFilter(
        cells, cv2.CV_32F, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    suspect = (cells > 0) & (np.asarray(around) >= _LEAST_PIXELS)
    share = float(cells.sum()) / (width * height)
    return Survey(suspect, share, (halves[0], halves[1], mask_half), places)


def _counts(mask: Mask) -> NDArray[np.int32]:
    """Count the pixels of a mask in each cell, by its integral (Crow, SIGGRAPH 1984)."""
    rows, columns = (np.append(np.arange(0, extent, CELL), extent) for extent in mask.shape)
    integral = cv2.integral(mask)[np.ix_(rows, columns)]
    return np.asarray(np.diff(np.diff(integral, axis=0), axis=1) // 255, np.int32)


def suspect_places(
    cells: NDArray[np.bool_], size: Size, most: int | None = None
) -> Iterator[tuple[Box, Mask]]:
    """Return rectangles around connected suspect cells, and masks of these cells: 255.

    A group of cells that is larger than `most` px a side yields several rectangles, side by side.
    Default: a tile.
    """
    grown_cells = cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grown_cells, connectivity=8)
    step = (most or tile_side(size)) // CELL
    for label in range(1, count):
        x, y, width, height, _ = (int(v) for v in stats[label])
        for top in range(y, y + height, step):
            for left in range(x, x + width, step):
                bottom, right = min(top + step, y + height), min(left + step, x + width)
                own = (labels[top:bottom, left:right] == label).astype(np.uint8) * 255
                if not own.any():
                    continue
                place = Box(
                    left * CELL,
                    top * CELL,
                    min(right * CELL, size.width) - left * CELL,
                    min(bottom * CELL, size.height) - top * CELL,
                )
                whole = ((right - left) * CELL, (bottom - top) * CELL)
                mask = cv2.resize(own, whole, interpolation=cv2.INTER_NEAREST)
                yield place, np.asarray(mask[: place.height, : place.width], np.uint8)


def tile_side(size: Size) -> int:
    """Return the side of the tiles of a picture, px: a small picture is one tile."""
    if size.width * size.height > _AT_ONCE:
        return TILE
    return -(-max(size) // CELL) * CELL


def _tiles(size: Size) -> Iterator[Box]:
    """Return the tiles of a picture, row by row; those at the right and bottom may be smaller."""
    side = tile_side(size)
    for y in range(0, size.height, side):
        for x in range(0, size.width, side):
            yield Box(x, y, min(side, size.width - x), min(side, size.height - y))


def grown(place: Box, margin: int) -> Box:
    """Return a rectangle with a margin on each side, in px."""
    return Box(
        place.x - margin, place.y - margin, place.width + 2 * margin, place.height + 2 * margin
    )


@of_reference
def softened(picture: Bgr) -> Bgr:
    """Return a picture blurred by `BASE_BLUR`, as it is examined."""
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), BASE_BLUR), np.uint8)


def _excess(first: Bgr, second: Bgr, ranges: tuple[tuple[Bgr, Bgr], tuple[Bgr, Bgr]]) -> Gray:
    """Return by how many levels pixels exceed the other picture's neighbourhood, both ways."""
    beyond = cv2.max(
        outside(first, *ranges[1], _CONTRAST_SHARE), outside(second, *ranges[0], _CONTRAST_SHARE)
    )
    return brightest_channel(np.asarray(beyond, np.uint8))


@of_reference
def neighbourhood(picture: Bgr, radius: int) -> tuple[Bgr, Bgr]:
    """Return the least and greatest level within `radius` px, square."""
    if radius <= 0:
        return picture, picture
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return (
        np.asarray(cv2.erode(picture, kernel), np.uint8),
        np.asarray(cv2.dilate(picture, kernel), np.uint8),
    )


def outside(values: Bgr, low: Bgr, high: Bgr, contrast_share: float = 0.0) -> Bgr:
    """Return by how many levels values are beyond a range, less a share of its width."""
    beyond = cv2.max(cv2.subtract(low, values), cv2.subtract(values, high))
    if not contrast_share:
        return np.asarray(beyond, np.uint8)
    contrast = cv2.subtract(high, low)
    share = cv2.convertScaleAbs(contrast, contrast, contrast_share)
    return np.asarray(cv2.subtract(beyond, share, beyond), np.uint8)
