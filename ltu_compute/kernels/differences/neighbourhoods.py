"""Find neighbourhoods of a shot that are like none of several good specimens.

The difference map compares pixels of one place. A thread that turns with the screw has its details
elsewhere on each specimen, and its pixels differ everywhere. Here a neighbourhood is described by
its gradients and its mean colour, and may be like any neighbourhood of a specimen nearby.

This is the memory of PatchCore (Roth et al., CVPR 2022). Its features of a network are replaced by
histograms of oriented gradients (Dalal and Triggs, CVPR 2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ltu_compute.kernels.differences.filtering import REFERENCE_SIZE, Floats
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr, Size

CELL_PX = 8
"""Side of a cell, px at 400 px: a neighbourhood has 3 x 3 of them."""

REACH_CELLS = 4
"""Farthest displacement of a neighbourhood that is like another, in cells."""

_DIRECTIONS = 8  # of gradients
_LEVELS = 2  # sizes of the picture, each half of the one before
_SOFTENED_PX = 0.8  # sigma before gradients are taken, which noise would have, too
_COLOUR_WEIGHT = 0.5  # of the mean colour, where each level of gradients has 1
_LEAST_DEVIATION = 1e-3  # of a value that all neighbourhoods have in common


@of_reference
def described(picture: Bgr) -> Floats:
    """Describe the cells of a picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        It is reduced to 400 px.

    Returns
    -------
    ndarray of float32, shape (h, w, 19)
        By level and direction, the square root of the mean strength of gradients; then the mean
        colour, CIE Lab.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, REFERENCE_SIZE / max(height, width))
    frame = Size(max(CELL_PX, round(width * scale)), max(CELL_PX, round(height * scale)))
    small = cv2.resize(picture, frame, interpolation=cv2.INTER_AREA).astype(np.float32)
    lab = cv2.cvtColor(small / np.float32(255), cv2.COLOR_BGR2LAB)
    grid = Size(round(frame.width / CELL_PX), round(frame.height / CELL_PX))
    channels = []
    level = cv2.extractChannel(lab, 0)
    for _ in range(_LEVELS):
        soft = cv2.GaussianBlur(level, (0, 0), _SOFTENED_PX)
        across = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125)
        down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)
        squares = across * across + down * down + np.float32(1e-6)
        for angle in np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS):
            along = across * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))
            # The length times the cube of the cosine: most of it is in the two nearest directions.
            strength = np.maximum(along, 0) ** 3 / squares
            channels.append(np.sqrt(cv2.resize(strength, grid, interpolation=cv2.INTER_AREA)))
        half = Size(max(1, level.shape[1] // 2), max(1, level.shape[0] // 2))
        level = cv2.resize(level, half, interpolation=cv2.INTER_AREA)
    channels += cv2.split(cv2.resize(lab, grid, interpolation=cv2.INTER_AREA))
    return np.asarray(np.dstack(channels), np.float32)


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Neighbourhoods of good specimens, all in one place.

    Attributes
    ----------
    values : ndarray of float32, shape (N, h, w, C)
        The cells of each specimen; see `described`.
    groups : tuple of (int, float)
        Consecutive values that count together: how many, and their weight.
    reach : int
        Farthest displacement of a neighbourhood that is like another, in cells.
    side : int
        Side of a neighbourhood, in cells.
    """

    values: Floats
    groups: tuple[tuple[int, float], ...] = (*((_DIRECTIONS, 1.0),) * _LEVELS, (3, _COLOUR_WEIGHT))
    reach: int = REACH_CELLS
    side: int = 3

    @classmethod
    def of(cls, pictures: Sequence[Bgr]) -> "Neighbourhoods":
        """Describe specimens of shapes (H, W, 3), all of one size."""
        return cls(np.stack([described(picture) for picture in pictures]))

    def distances(self, own: Floats, *others: Floats, without: int | None = None) -> Floats:
        """Return how far each neighbourhood is from the most alike one of the specimens.

        Parameters
        ----------
        own : ndarray of float32, shape (h, w, C)
            The cells of a shot in the specimens' place.
        *others : ndarray of float32, shapes (h, w, C)
            Cells of further specimens.
        without : int, optional
            Number of a specimen that is left out.

        Returns
        -------
        ndarray of float32, shape (h, w)
            Root of the weighted mean square of the differences, in standard deviations of the
            values of all specimens.
        """
        rest = [each for number, each in enumerate(self._weighed) if number != without]
        known = np.stack([*rest, *(self._as_weighed(each) for each in others)])
        asked = self._as_weighed(own)
        height, width, channels = asked.shape
        columns = np.arange(width)
        far = np.abs(columns[:, None] - columns) > self.reach
        nearest = np.empty((height, width), np.float32)
        for row in range(height):
            near = known[:, max(0, row - self.reach) : row + self.reach + 1]
            candidates = near.reshape(-1, channels)
            squares = np.square(candidates).sum(axis=1) - 2 * (asked[row] @ candidates.T)
            least = squares.reshape(width, -1, width).min(axis=1)  # by column of both
            least[far] = np.inf
            nearest[row] = least.min(axis=1) + np.square(asked[row]).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(nearest, 0)), np.float32)

    @cached_property
    def _weighed(self) -> list[Floats]:
        return [self._as_weighed(each) for each in self.values]

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        """Mean and weight of each value, shapes (C,)."""
        flat = self.values.reshape(-1, self.values.shape[-1])
        counts = [count for count, _ in self.groups]
        weights = np.array([weight for _, weight in self.groups]) / np.sqrt(counts)
        deviations = flat.std(axis=0) + np.float32(_LEAST_DEVIATION)
        return flat.mean(axis=0), np.asarray(np.repeat(weights, counts) / deviations, np.float32)

    def _as_weighed(self, cells: Floats) -> Floats:
        mean, weight = self._moments
        planes = cv2.split((cells - mean) * weight)
        blurred = [cv2.blur(plane, (self.side, self.side)) for plane in planes]
        return np.asarray(np.dstack(blurred), np.float32)
