"""Learn from several good shots what may differ: a variation model.

Each shot is compared with the reference, and a `Recorder` notes by how much it exceeds what
alignment, light and noise explain. `learned` makes a tolerance of these notes. A shot that differs
from the reference where no other one does is left out: one bad part among the good ones must not
be learnt. Five shots do not show all the variation of good parts, so that it is extended. Each
shot is left out in turn, and the least extension by which the others accept it is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checked
from ltu_compute.kernels.differences.tinting import tinted
from ltu_compute.kernels.differences.tolerance import (
    EDGE,
    LEVELS_PER_DELTA_E,
    REACH_PX,
    SIDE,
    STEPS_PER_PX,
    Tolerance,
)
from ltu_compute.kernels.types import Bgr, Mask, Size

MEMORY = 192 << 20  # bytes of all notes together
_EXPLAINED = (
    0.3  # share of the excess that may remain where the displacement of an edge explains it
)
_FACTORS = (1.1, 1.25, 1.5, 2.0, 3.0)  # on the variation seen
_FEW = 2.0  # over the number of shots: least margin on it, as the next shot may be the extreme one
_AROUND = (1, 2, 4, 8, 16)  # px of the map around a place to which its variation extends
_FARTHER, _FAINTER = 4, 3.0  # times as far, variation still counts with this part of it
_ACCEPTED = 0.0002  # share of the frame, mean: may remain of good shots that were left out
_REMAINS = 0.01  # the same, as a share of what these shots exceed without any tolerance
_EXAMINED = 12  # shots that are left out in turn; of more, some
_ODD = 5.0  # times the median of the others: what remains of a shot that is not like them
_ODD_SHARE = 0.0003  # share of the frame, the least that makes a shot odd
_ODD_LEVELS = 2.0  # thresholds by which a shot exceeds the others where it is odd
_ODD_FACTOR = 4.0  # on the variation of the others: beside it, a shot is not odd but an extreme
_DEFECTS = 3  # places that a bad shot among good ones may be bad in
_CONFINED = 0.75  # share of what is odd that these places hold; print that spread is odd all over
_PLACE = 0.02  # of the longest side: parts of one place are no farther apart
_FAR = 40  # levels, of 255: a pixel that is farther from the median counts no more
_SHOWN = 40.0  # ΔE of the strongest colour on a drawn map

Seen = NDArray[np.uint8]
"""Notes of a `Recorder`, shape (REACH_PX + 1, H, W, 3)."""


@dataclass(frozen=True, eq=False)
class Variation:
    """Lesson of good shots.

    Attributes
    ----------
    tolerance : Tolerance
        What may differ.
    odd : tuple of int
        Shots that were left out: they differ where no other one does.
    remains : tuple of float
        By shot, the share of the frame in which it exceeds what the others taught.
    places : tuple of tuple of float
        By shot, the middle of what exceeds it most, in shares of width and height.
    """

    tolerance: Tolerance
    odd: tuple[int, ...]
    remains: tuple[float, ...]
    places: tuple[tuple[float, float], ...]


def map_size(reference: Size, compared: int, shots: int) -> Size:
    """Return the size of the map that is learnt of a reference.

    Parameters
    ----------
    reference : Size
        Size of the reference, px.
    compared : int
        Longest side at which shots are compared, px.
    shots : int
        Number of shots; their notes take `MEMORY` at most.
    """
    each = 3 * (REACH_PX + 1)  # bytes of a pixel's notes
    longest = max(reference)
    most = np.sqrt(MEMORY * longest**2 / (each * max(1, shots) * reference[0] * reference[1]))
    scale = min(SIDE, compared, longest, int(most)) / longest
    return Size(*(max(1, round(side * scale)) for side in reference))


def learned(notes: Sequence[Seen], threshold: float, *, keep_all: bool = False) -> Variation:
    """Make a tolerance of the notes of several shots.

    Parameters
    ----------
    notes : sequence of ndarray of uint8, shapes (REACH_PX + 1, H, W, 3)
        What `Recorder` noted of each good shot.
    threshold : float
        ΔE from which a difference counts.
    keep_all : bool
        Learn every shot, also one that differs where no other one does.

    Raises
    ------
    ValueError
        There are no notes, or of different shapes.
    """
    if not notes or len({each.shape for each in notes}) != 1:
        raise ValueError("notes of one or more shots, of one shape, are needed")
    level = threshold * LEVELS_PER_DELTA_E
    kept = list(range(len(notes)))
    odd: list[int] = []
    while True:
        model = _Model([notes[index] for index in kept], level)
        shares = np.array(
            [_defect_share(model.odd_of(number)) for number in checked(range(len(kept)))]
        )
        worst = int(shares.argmax())
        others = np.delete(shares, worst)
        if (
            keep_all
            or len(kept) < 3
            or len(odd) + 1 > len(notes) // 3
            or shares[worst] < max(_ODD_SHARE, _ODD * float(np.median(others)))
        ):
            break
        odd.append(kept.pop(worst))
    by_shot = {index: model.remains_of(number) for number, index in checked(enumerate(kept))}
    for index in odd:
        by_shot[index] = model.remains_of_other(notes[index])
    ordered = [by_shot[index] > level for index in range(len(notes))]
    return Variation(
        model.tolerance(),
        tuple(sorted(odd)),
        tuple(map(_share, ordered)),
        tuple(_middle(each.astype(np.uint8)) for each in ordered),
    )


def most_typical(pictures: Sequence[Bgr]) -> int:
    """Return the number of the picture that is nearest to the median of all.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shapes (H, W, 3)
        Of one size, aligned, in one light.
    """
    median = np.median(np.stack(pictures), axis=0).astype(np.uint8)
    away = [np.minimum(cv2.absdiff(each, median), _FAR).mean() for each in pictures]
    return int(np.argmin(away))


def drawn(tolerance: Tolerance, reference: Bgr) -> Bgr:
    """Draw a tolerance on its reference.

    Red: a shot may be lighter; blue: darker; green: of another chroma; the stronger, the more.
    Edges that may be displaced are yellow.

    Parameters
    ----------
    tolerance : Tolerance
        What is drawn.
    reference : ndarray of uint8, shape (H, W, 3)
        The reference, which appears faint and grey.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Of the size of the reference given.
    """
    size = reference.shape[1::-1]
    whole = cv2.resize(tolerance.map, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    strengths = np.clip(whole[..., :EDGE] / (LEVELS_PER_DELTA_E * _SHOWN), 0, 1)
    displaced = np.clip(whole[..., EDGE] / (STEPS_PER_PX * REACH_PX), 0, 1)
    layers = (*np.moveaxis(strengths, -1, 0), displaced)
    return tinted(reference, zip(layers, _COLOURS, strict=True))


_COLOURS = ((0, 0, 220), (220, 60, 0), (0, 160, 0), (0, 190, 255))  # BGR


class _Model:
    """Variation of some shots.

    Parameters
    ----------
    notes : sequence of ndarray
        Of each shot.
    level : float
        Threshold, in steps of the map.
    """

    def __init__(self, notes: Sequence[Seen], level: float) -> None:
        self._level = level
        displaced = [_displaced(each, level) for each in checked(notes)]
        self._reach = _spread(np.max(displaced, axis=0), 2)
        self._seen = np.stack([_at(each, self._reach) for each in checked(notes)])
        ordered = np.sort(self._seen, axis=0)
        self._most = ordered[-1]
        self._second = ordered[-2] if len(notes) > 1 else np.zeros_like(ordered[-1])
        self._factor, self._around = self._chosen()

    def _others(self, number: int) -> Seen:
        """Return the greatest excess of all shots but one."""
        own = self._seen[number]
        return np.asarray(np.where(own < self._most, self._most, self._second), np.uint8)

    def _chosen(self) -> tuple[float, int]:
        """Return the least extension by which shots accept each other, but for the worst one."""
        count = len(self._seen)
        if count < 2:
            return _FACTORS[-1], _AROUND[2]
        numbers = np.unique(np.linspace(0, count - 1, min(count, _EXAMINED)).astype(int))
        bare = _all_but_the_worst(
            [_share(self._seen[number].max(axis=2) > self._level) for number in numbers]
        )
        factors = [factor for factor in _FACTORS if factor >= 1 + _FEW / count] or _FACTORS[-1:]
        enough = max(_ACCEPTED, _REMAINS * bare)
        choices: list[tuple[bool, float, float, int]] = []
        for around in _AROUND:
            others = [_extended(self._others(number), around) for number in checked(numbers)]
            whole = _extended(self._most, around)
            for factor in factors:
                remaining = _all_but_the_worst(
                    [
                        _share(_remaining(self._seen[number], own, factor) > self._level)
                        for number, own in checked(zip(numbers, others, strict=True))
                    ]
                )
                cost = float(np.minimum(factor * whole.astype(np.float32), 255).mean())
                suffices = remaining <= enough
                choices.append((not suffices, cost if suffices else remaining, factor, around))
        _, _, factor, around = min(choices)
        return factor, around

    def remains_of(self, number: int) -> NDArray[np.uint8]:
        """Return by how much a shot of the model exceeds what the others taught."""
        if len(self._seen) < 2:
            return np.zeros(self._reach.shape, np.uint8)
        allowed = _extended(self._others(number), self._around)
        return _remaining(self._seen[number], allowed, self._factor)

    def odd_of(self, number: int) -> NDArray[np.bool_]:
        """Return where a shot of the model differs, and no other one does nearly as much."""
        if len(self._seen) < 2:
            return np.zeros(self._reach.shape, bool)
        around = max(self._around, round(_PLACE * max(self._reach.shape)))
        allowed = _spread(self._others(number), around)
        beyond = _remaining(self._seen[number], allowed, max(self._factor, _ODD_FACTOR))
        return np.asarray(beyond > _ODD_LEVELS * self._level, np.bool_)

    def remains_of_other(self, notes: Seen) -> NDArray[np.uint8]:
        """Return by how much another shot exceeds what was taught."""
        allowed = _extended(self._most, self._around)
        return _remaining(_at(notes, self._reach), allowed, self._factor)

    def tolerance(self) -> Tolerance:
        """Return the tolerance that the shots taught."""
        amounts = cv2.multiply(_extended(self._most, self._around), self._factor)
        edge = np.asarray(self._reach * STEPS_PER_PX, np.uint8)
        learnt = np.dstack([amounts, edge])
        if learnt.shape[2] != EDGE + 1:
            raise AssertionError("a map has four channels")
        return Tolerance(learnt)


def _displaced(notes: Seen, level: float) -> NDArray[np.uint8]:
    """Return the least displacement, px, that explains most of a shot's excess; 0: none does."""
    worst = notes.max(axis=3)
    near = [cv2.dilate(each, np.ones((3, 3), np.uint8)) for each in worst]
    displaced = np.zeros(worst.shape[1:], np.uint8)
    suspect = near[0] > level / 2
    for reach in range(REACH_PX, 0, -1):
        explained = suspect & (near[reach] <= _EXPLAINED * near[0].astype(np.float32))
        displaced[explained] = reach
    return displaced


def _at(notes: Seen, reach: NDArray[np.uint8]) -> Seen:
    """Return the excess that remains where edges may be displaced by `reach` px."""
    return np.asarray(np.take_along_axis(notes, reach[None, ..., None], axis=0)[0], np.uint8)


def _spread(values: NDArray[np.uint8], around: int) -> NDArray[np.uint8]:
    """Return the greatest value within some px, square."""
    side = 2 * around + 1
    return np.asarray(cv2.dilate(values, np.ones((side, side), np.uint8)), np.uint8)


def _extended(values: Seen, around: int) -> Seen:
    """Return the greatest variation nearby; what is farther away counts less."""
    far = cv2.multiply(_spread(values, _FARTHER * around), 1 / _FAINTER)
    return np.asarray(np.maximum(_spread(values, around), far), np.uint8)


def _remaining(seen: Seen, allowed: Seen, factor: float) -> NDArray[np.uint8]:
    """Return by how much a shot's excess is beyond what is allowed, the most of all kinds."""
    scaled = cv2.multiply(allowed, factor)
    return np.asarray(cv2.subtract(seen, scaled).max(axis=2), np.uint8)


def _share(mask: NDArray[np.bool_]) -> float:
    """Return the share of the frame that a mask covers."""
    return float(np.count_nonzero(mask)) / mask.size


def _defect_share(odd: NDArray[np.bool_]) -> float:
    """Return the share of the frame that is odd; 0 where it is odd all over, not in few places."""
    side = 2 * max(1, round(_PLACE * max(odd.shape) / 2)) + 1
    joined = cv2.dilate(odd.astype(np.uint8), np.ones((side, side), np.uint8))
    _, labels = cv2.connectedComponents(joined, connectivity=8)
    sizes = np.sort(np.bincount(labels[odd]))[::-1]
    whole = int(sizes.sum())
    return whole / odd.size if sizes[:_DEFECTS].sum() >= _CONFINED * whole else 0.0


def _all_but_the_worst(shares: list[float]) -> float:
    """Return the mean of all shares but the greatest."""
    return float(np.mean(np.sort(shares)[:-1]))


def _middle(mask: Mask) -> tuple[float, float]:
    """Return the middle of the largest area of a mask, in shares of width and height."""
    count, _, stats, middles = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return 0.5, 0.5
    x, y = middles[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return float((x + 0.5) / mask.shape[1]), float((y + 0.5) / mask.shape[0])
