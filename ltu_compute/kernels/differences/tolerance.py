"""Tolerances that several good shots taught: what a comparison does not count, place by place.

This is the variation model of industrial inspection (HALCON's ``variation_model``; Steger, Ulrich
and Wiedemann, Machine Vision Algorithms and Applications, 2008), with lighter and darker kept
apart, and with a tolerance for the position of edges. `variation` learns it.

A comparison asks a `Learnt` at each level which `Judge` measures how far pixels exceed the range of
the other picture. `Tolerance` widens that range. `Recorder` leaves it and notes what it sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.difference_map import (
    Judges,
    beyond_rim,
    excess_beyond,
    range_within,
)
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.specimens import Specimen
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Bgr, Box, Mask, Size

SIDE = 1024
"""Longest side of a map of tolerances, px; the reference may be larger."""

LEVELS_PER_DELTA_E = 2.55
"""Steps of a map per ΔE: 255 is black against white."""

STEPS_PER_PX = 16
"""Steps of a map per px that an edge may be displaced, in px of the map."""

REACH_PX = 3
"""Farthest displacement of an edge that is learnt, in px of the map."""

LIGHTER, DARKER, CHROMA, EDGE = range(4)
"""Channels of a map."""

_SPARED = 0.25  # of the threshold: variation that the threshold itself covers
_SEAM_PX = 4  # px at the rim of a tile that blurring and neighbourhoods distort
_RADII = 3  # different displacements of edges in one place


class Learnt(Protocol):
    """Lesson of earlier shots, as a comparison uses it."""

    @property
    def alike(self) -> tuple[Bgr, ...]:
        """Good specimens in place of the reference, by whose common edges shots are aligned.

        Arrays of uint8, shapes (H, W, 3). Without any, shots are aligned as without a lesson.
        """

    def begin(self) -> None:
        """Prepare for a comparison of the whole frame; notes of an earlier one are dropped."""

    def within(self, place: Box, level: Size, inside: Mask, threshold: float) -> Judges | None:
        """Return the judges for a rectangle of the frame; None: as if nothing was learnt.

        Parameters
        ----------
        place : Box
            The rectangle, in px of the level; it may extend beyond the frame.
        level : Size
            Size of the whole frame at this level, px.
        inside : ndarray of uint8, shape (H, W)
            Not 0 where pixels are compared.
        threshold : float
            ΔE from which a difference counts.
        """


def judges_of(
    learnt: Learnt | None, compared: NDArray[np.bool_], threshold: float
) -> Judges | None:
    """Return the judges of a comparison of the whole frame at once; None: nothing was learnt."""
    if learnt is None:
        return None
    learnt.begin()
    height, width = compared.shape
    place = Box(0, 0, width, height)
    return learnt.within(place, Size(width, height), beyond_rim(compared), threshold)


@dataclass(frozen=True, eq=False)
class Tolerance:
    """A tolerance for each place of a reference.

    Attributes
    ----------
    map : ndarray of uint8, shape (H, W, 4)
        Over the whole reference: by how much a shot may be lighter, darker and of another chroma,
        `LEVELS_PER_DELTA_E`, and how far its edges may be displaced, `STEPS_PER_PX`.
    alike : tuple of ndarray of uint8, shapes (H, W, 3)
        As for `Learnt`; no recipe has them beside a tolerance.
    """

    map: NDArray[np.uint8]
    alike: tuple[Bgr, ...] = ()

    def __post_init__(self) -> None:
        shape = self.map.shape
        if self.map.dtype != np.uint8 or len(shape) != 3 or shape[2] != 4:
            raise ValueError("a map of tolerances must be a uint8 array of shape (H, W, 4)")
        if not 1 <= min(shape[:2]) <= max(shape[:2]) <= SIDE:
            raise ValueError(f"a map of tolerances has 1 to {SIDE} px a side")

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self.map.nbytes

    def begin(self) -> None:
        """Do nothing: a tolerance does not change."""

    def within(self, place: Box, level: Size, inside: Mask, threshold: float) -> Judges:
        """Return judges that widen the range; see `Learnt`."""
        del inside
        there = self._sampled(place, level)
        amounts = np.maximum(
            there[..., :EDGE] / np.float32(LEVELS_PER_DELTA_E) - np.float32(_SPARED * threshold), 0
        )
        lighter = amounts[..., [LIGHTER, CHROMA, CHROMA]]
        darker = amounts[..., [DARKER, CHROMA, CHROMA]]
        px = level.width / self.map.shape[1]  # of the level per px of the map
        radii = tuple(_radii(there[..., EDGE] * np.float32(px / STEPS_PER_PX)))
        return _Widened(lighter, darker, radii), _Widened(darker, lighter, radii)

    def _sampled(self, place: Box, level: Size) -> Floats:
        """Return the map over a rectangle of a level, as floats, shape (H, W, 4)."""
        across, down = self.map.shape[1] / level.width, self.map.shape[0] / level.height
        onto_map = np.array(
            [
                [across, 0, (place.x + 0.5) * across - 0.5],
                [0, down, (place.y + 0.5) * down - 0.5],
            ]
        )
        return np.asarray(
            cv2.warpAffine(
                self.map,
                onto_map,
                (place.width, place.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )


def _radii(edge: Floats) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    """Yield a few displacements, px, with the places where edges may be displaced so far."""
    farthest = float(edge.max(initial=0))
    if farthest < 0.5:
        return
    for number in range(1, _RADII + 1):
        radius = farthest * number / _RADII
        where = edge > radius - farthest / (2 * _RADII)
        if where.any():
            yield radius, where


@dataclass(frozen=True, eq=False)
class _Widened:
    """Judge that allows pixels to be below and above the range of the other picture.

    Attributes
    ----------
    below, above : ndarray of float32, shape (H, W, 3)
        By how much, in ΔE per channel.
    radii : tuple
        Displacements, px, with their places.
    """

    below: Floats
    above: Floats
    radii: tuple[tuple[float, NDArray[np.bool_]], ...]

    def excess(
        self, values: Floats, other: Floats, radius: float, allowance: Floats, softness: Floats
    ) -> Floats:
        low, high = range_within(other, radius)
        if self.radii:
            low, high = low.copy(), high.copy()
        for extra, where in self.radii:
            wider_low, wider_high = range_within(other, radius + extra)
            np.copyto(low, wider_low, where=where[..., None])
            np.copyto(high, wider_high, where=where[..., None])
        return excess_beyond(
            values, low, high, allowance, softness, below=self.below, above=self.above
        )


class Recorder:
    """Notes by how much a shot exceeds its reference.

    Parameters
    ----------
    size : Size
        Size of the map that it fills, px.
    alike : tuple of ndarray of uint8, shapes (H, W, 3)
        As for `Learnt`.

    Attributes
    ----------
    seen : ndarray of uint8, shape (REACH_PX + 1, H, W, 3)
        Greatest excess, lighter, darker and of chroma, in `LEVELS_PER_DELTA_E`: by number of px of
        the map that edges may be displaced.
    specimen : Specimen or None
        The shot itself, if it was compared as a whole.
    """

    def __init__(self, size: Size, alike: tuple[Bgr, ...] = ()) -> None:
        self.alike = alike
        self.specimen: Specimen | None = None
        self.seen = np.zeros((REACH_PX + 1, size.height, size.width, 3), np.uint8)

    def begin(self) -> None:
        """Forget what was noted."""
        self.seen[:] = 0

    def within(self, place: Box, level: Size, inside: Mask, threshold: float) -> Judges:
        """Return judges that note what they see; see `Learnt`."""
        del threshold
        note = _Note(self.seen, place, level, inside)
        return _Noting(note, of_shot=False), _Noting(note, of_shot=True)


@dataclass(frozen=True, eq=False)
class _Note:
    """Where a judge writes: a rectangle of a level, and the map of the whole frame."""

    seen: NDArray[np.uint8]
    place: Box
    level: Size
    inside: Mask
    size: Size = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", size_of(self.seen[0]))

    @property
    def px(self) -> float:
        """Px of the level per px of the map."""
        return max(self.level) / max(self.size)

    def add(self, reach: int, excess: Floats) -> None:
        """Note the excess of a rectangle, ΔE, shape (H, W, 3)."""
        noted = np.where(self.inside[..., None] > 0, excess * np.float32(LEVELS_PER_DELTA_E), 0)
        levels = np.asarray(np.clip(np.ceil(noted), 0, 255), np.uint8)
        step = int(np.ceil(self.px))
        if step > 1:  # no pixel between two sampled ones is lost
            levels = np.asarray(cv2.dilate(levels, np.ones((step, step), np.uint8)), np.uint8)
        rows, at_rows = self._pixels(self.place.y, self.place.height, self.level[1], self.size[1])
        columns, at_columns = self._pixels(
            self.place.x, self.place.width, self.level[0], self.size[0]
        )
        part = self.seen[reach, rows, columns]
        np.maximum(part, levels[at_rows[:, None], at_columns], out=part)

    @staticmethod
    def _pixels(start: int, extent: int, level: int, size: int) -> tuple[slice, NDArray[np.intp]]:
        """Return the map's pixels along one side of the rectangle, and theirs within it."""
        seam = 0 if extent >= level else _SEAM_PX
        first, last = max(0, start + seam), min(level, start + extent - seam)
        centres = (np.arange(size) + 0.5) * level / size
        low, high = np.searchsorted(centres, (first, last))
        within = np.clip(np.floor(centres[low:high]).astype(np.intp) - start, 0, extent - 1)
        return slice(int(low), int(high)), within


@dataclass(frozen=True, eq=False)
class _Noting:
    """Judge that notes the excess for each displacement of edges, and returns that for none."""

    note: _Note
    of_shot: bool

    def excess(
        self, values: Floats, other: Floats, radius: float, allowance: Floats, softness: Floats
    ) -> Floats:
        lighter = (values[..., 0] > other[..., 0]) == self.of_shot
        found = None
        for reach in range(REACH_PX + 1):
            low, high = range_within(other, radius + reach * self.note.px)
            excess = excess_beyond(values, low, high, allowance, softness)
            kinds = np.zeros_like(excess)
            kinds[..., LIGHTER] = np.where(lighter, excess[..., 0], 0)
            kinds[..., DARKER] = np.where(lighter, 0, excess[..., 0])
            kinds[..., CHROMA] = np.maximum(excess[..., 1], excess[..., 2])
            self.note.add(reach, kinds)
            if found is None:
                found = excess
        if found is None:
            raise AssertionError("no displacement was examined")
        return found
