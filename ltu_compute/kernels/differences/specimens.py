"""Compare a shot with several good specimens, and count what they do not show among themselves.

Specimens of a part that were laid down anew differ in all small details: sheen, flash, the depth of
a mould mark. A tolerance for each place, wide enough for all of them, hides defects. A shot is
therefore compared with every specimen. Each neighbourhood of it counts by the specimen that is
nearest. This is the memory of PatchCore (Roth et al., CVPR 2022), with pixels of the same place
instead of features. The good specimens are compared with each other in the same way, each one left
out in turn. A difference of a shot counts if it is greater than theirs in that place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checked
from ltu_compute.kernels.differences import features, patches
from ltu_compute.kernels.differences.difference_map import measure
from ltu_compute.kernels.differences.features import Network
from ltu_compute.kernels.differences.filtering import REFERENCE_SIZE, Floats, hysteresis
from ltu_compute.kernels.differences.neighbourhoods import Neighbourhoods, described
from ltu_compute.kernels.differences.regions import (
    UNLIKE,
    Usual,
    pieces_of,
)
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.differences.tinting import tinted
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Bgr, Box, Mask, Size

MOST = 8
"""Most specimens that a shot is compared with beside the reference."""

MOST_PIXELS = 1_900_000
"""Most px of all pictures of a lesson together, its scores among them: they are stored."""

LEAST_SCORE = 0.3
"""Score, in percent of the picture times ΔE, up to which a difference of specimens counts nowhere;
found on MVTec's transistor and screw, test pictures of even numbers."""

STEPS_PER_DOUBLING = 16
"""Steps of a map of scores: 0 is `LEAST_SCORE`, 255 more than black against white."""

LEVELS_PER_DELTA_E = 2.55
"""Steps of a map of strengths per ΔE: 255 is black against white."""

STEPS_PER_DISTANCE = 64
"""Steps of a map of distances between neighbourhoods; see `neighbourhoods`."""

PATCH_STEPS_PER_DELTA_E = 16
"""Steps of a map of distances between patches per ΔE; see `patches`."""

LEAST_DISTANCE_STEPS = 16
"""Least value of a map of distances, so that it is not taken for the number of pictures."""

_LEAST_STRENGTH = 15.0  # ΔE, up to which no strength alone makes a difference of specimens count
_FEW = 4  # pictures, the least that a lesson is worth: the reference and three others
_POOL_PX = 2  # px at 400 px: a neighbourhood so large must resemble one specimen
_SURROUNDINGS_PX = 24  # px at 400 px around suspect places that a measurement needs
_NEAR = 0.0125  # of the longest side: a usual difference counts so far around its place
_MARGIN = 1.5  # on the usual difference: five specimens do not show the greatest one
_SPREAD_PX = 8  # px at 400 px: an unlike neighbourhood counts so far around its place
_LEAST_PATCH_STEPS = 8  # half a ΔE: noise alone makes patches so unlike
_WHOLE_PART = 0.2  # weight of the greatest distance of patches; the rest is that nearby
_BOTH_UNLIKE = 1.09  # on the mean of both; on MVTec's transistor and screw, even numbers
_FEATURES_UNLIKE = 1.3  # on the mean with features, which count twice; on the same pictures
_FEATURE_BYTES = 7 << 20  # of a specimen: 50 x 50 cells of 320 values, and these weighed
_FAINT = 0.85  # of `UNLIKE`: extent of an unlike neighbourhood
_UNLIKE_DELTA_E = 4.8  # ΔE of a neighbourhood at `UNLIKE`: the level of the presets
_SMALL = 64  # px, longest side at which specimens are seen to be unlike
_SHOWN_DOUBLINGS = 10.0  # doublings of the score of the strongest colour on a drawn lesson
_COLOUR = (200, 0, 200)  # BGR

_DISTANCES = {
    2: (STEPS_PER_DISTANCE, LEAST_DISTANCE_STEPS),
    3: (PATCH_STEPS_PER_DELTA_E, _LEAST_PATCH_STEPS),
    4: (STEPS_PER_DISTANCE, LEAST_DISTANCE_STEPS),
}
"""By channel of a map of usual differences: steps of a distance, and the least value."""

Measured = Callable[[Bgr, Box], Floats]
"""Returns the difference map by another picture instead of the reference, in a rectangle."""


class Specimen(NamedTuple):
    """A good shot, in place and light of the reference.

    Attributes
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        Its pixels; where it is not compared, those of the reference.
    compared : ndarray of bool, shape (H, W)
        True where it is compared.
    ringing_px : int
        Reach of its file's ringing; see `difference_map.ringing_reach`.
    """

    picture: Bgr
    compared: NDArray[np.bool_]
    ringing_px: int


@dataclass(frozen=True, eq=False)
class Specimens:
    """Good specimens beside the reference, and the usual difference between them.

    Attributes
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W, 3)
        The specimens in place and light of the whole reference.
    usual : ndarray of uint8, shape (H, W, 4 or 5)
        By place, the score and the strength of which a difference must exceed one: the score in
        `STEPS_PER_DOUBLING` above `LEAST_SCORE`, the strength in `LEVELS_PER_DELTA_E`. Then
        distances from the most alike place of another specimen: of neighbourhoods, in
        `STEPS_PER_DISTANCE`; of patches, in `PATCH_STEPS_PER_DELTA_E`; of features of a network,
        in `STEPS_PER_DISTANCE`. Recipes of ``specimens-1`` have two channels, those of
        ``specimens-2`` three and those of ``specimens-3`` four: they were learnt without what
        the others hold.
    network : Network, optional
        The network that features are of; needed with five channels, and with these alone. Features
        are then compared in place of patches.
    """

    pictures: tuple[Bgr, ...]
    usual: NDArray[np.uint8]
    network: Network | None = None

    def __post_init__(self) -> None:
        height, width = self.usual.shape[:2]
        if not 1 <= len(self.pictures) <= MOST:
            raise ValueError(f"there must be 1 to {MOST} specimens")
        if self.usual.shape not in [(height, width, count) for count in (2, 3, 4, 5)] or any(
            each.shape != (height, width, 3) for each in self.pictures
        ):
            raise ValueError("specimens and their map must have one size")
        if any(each.dtype != np.uint8 for each in (self.usual, *self.pictures)):
            raise ValueError("specimens and their map must be uint8 arrays")
        if (len(self.pictures) + 1) * height * width > MOST_PIXELS:
            raise ValueError(f"specimens have {MOST_PIXELS} px at most")
        if (self.network is None) == (self.usual.shape[2] == 5):
            raise ValueError("specimens have a network and its usual distances, or neither")

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, about: neighbourhoods are a third of the pictures."""
        seen = 0 if self.network is None else _FEATURE_BYTES * len(self.pictures)
        return seen + self.usual.nbytes + sum(4 * each.nbytes // 3 for each in self.pictures)

    @property
    def has_distances(self) -> bool:
        """Whether neighbourhoods are compared, too."""
        return bool(self.usual.shape[2] > 2)

    @property
    def has_patches(self) -> bool:
        """Whether patches are compared, too."""
        return bool(self.usual.shape[2] > 3)

    @property
    def alike(self) -> tuple[Bgr, ...]:
        """Pictures whose common edges a shot is aligned by."""
        return self.pictures

    def begin(self) -> None:
        """Do nothing: specimens do not change."""

    def within(self, place: Box, level: Size, inside: Mask, threshold: float) -> None:
        """Return no judges: a shot may not exceed the range of the picture it is compared with."""
        del place, level, inside, threshold

    def least(self, own: Floats, level: float, measured: Measured) -> Floats:
        """Return the difference from the nearest specimen.

        Parameters
        ----------
        own : ndarray of float32, shape (H, W)
            Difference from the reference, ΔE; 0 where nothing is compared.
        level : float
            Difference, ΔE, from which a place is suspect; others are not measured again.
        measured : callable
            Returns the difference from another picture, of the size of `own`, in a rectangle.
        """
        scale = max(own.shape) / REFERENCE_SIZE
        side = 2 * max(1, round(_POOL_PX * scale)) + 1
        nearest = cv2.blur(own, (side, side))
        place = _around(nearest > level, round(_SURROUNDINGS_PX * scale))
        if place is None:
            return np.asarray(nearest, np.float32)
        here = (
            slice(place.y, place.y + place.height),
            slice(place.x, place.x + place.width),
        )
        frame = Size(own.shape[1], own.shape[0])
        for picture in self.pictures:
            another = measured(_resized(picture, frame), place)
            nearest[here] = cv2.min(nearest[here], cv2.blur(another, (side, side)))
        return np.asarray(nearest, np.float32)

    def unlikeness(self, reference: Bgr, shot: Bgr) -> Floats | None:
        """Return how unlike those of the specimens the neighbourhoods of a shot are.

        Parameters
        ----------
        reference : ndarray of uint8, shape (H, W, 3)
            The reference, which is a specimen, too.
        shot : ndarray of uint8, shape (H, W, 3)
            The shot in its place and light; where it is not compared, the reference.

        Returns
        -------
        ndarray of float32, shape (H, W), or None
            Multiple of the usual distance: of neighbourhoods, and with features or patches the
            geometric mean of both, so scaled that it has the same limit. None: it was not learnt.
        """
        if not self.has_distances:
            return None
        own = size_of(self.pictures[0])
        first, second = _resized(reference, own), _resized(shot, own)
        frame = size_of(shot)
        away = self._neighbourhoods.distances(described(second), described(first))
        unlike = self._multiple(away, 2, frame)
        if not self.has_patches:
            return unlike
        if self.network is not None:
            seen = [features.described(each, self.network)[0] for each in (second, first)]
            strange = self._multiple(self._features.distances(*seen), 4, frame)
            return np.asarray(_FEATURES_UNLIKE * np.cbrt(unlike * strange**2), np.float32)
        known = [*self._patches, patches.colours(first)]
        far = self._multiple(patches.distances(patches.colours(second), known), 3, frame)
        return np.asarray(_BOTH_UNLIKE * np.sqrt(unlike * far), np.float32)

    def _multiple(self, away: Floats, channel: int, frame: Size) -> Floats:
        """Return distances in a frame, as multiples of the usual ones there."""
        steps, least = _DISTANCES[channel]
        usual = np.maximum(self.usual[..., channel], least)  # a stored map may have less
        there = cv2.resize(usual, frame, interpolation=cv2.INTER_NEAREST).astype(np.float32)
        own = cv2.resize(away, frame, interpolation=cv2.INTER_LINEAR)
        return np.asarray(own / (there / steps), np.float32)

    @cached_property
    def _patches(self) -> list[Floats]:
        return [patches.colours(picture) for picture in self.pictures]

    @cached_property
    def _neighbourhoods(self) -> Neighbourhoods:
        return Neighbourhoods.of(self.pictures)

    @cached_property
    def _features(self) -> Neighbourhoods:
        if self.network is None:
            raise AssertionError("no network was learnt with")
        return _memory(self.pictures, self.network)

    def usual_in(self, frame: Size) -> Usual:
        """Return what differences must exceed, in a frame of another size."""
        there = cv2.resize(self.usual, frame, interpolation=cv2.INTER_NEAREST).astype(np.float32)
        return Usual(
            np.asarray(LEAST_SCORE * np.exp2(there[..., 0] / STEPS_PER_DOUBLING), np.float32),
            np.maximum(there[..., 1], 1) / np.float32(LEVELS_PER_DELTA_E),  # by which is divided
            needs_unlike=self.has_patches,
        )


def learned_specimens(
    reference: Bgr,
    others: Sequence[Specimen],
    settings: ComparisonSettings,
    network: Network | None = None,
) -> Specimens | None:
    """Learn the usual difference of good specimens.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        The reference, of the size at which shots are compared.
    others : sequence of Specimen
        Good specimens in its place and light. Of many, the most unlike ones are kept.
    settings : ComparisonSettings
        How shots are compared.
    network : Network, optional
        Network whose features are compared, too.

    Returns
    -------
    Specimens or None
        None if there are too few, or they are too large to be stored, or a px or a few wide.
    """
    frame = size_of(reference)
    resized = [
        each._replace(
            picture=_resized(each.picture, frame),
            compared=cv2.resize(
                each.compared.view(np.uint8), frame, interpolation=cv2.INTER_NEAREST
            ).view(bool),
        )
        for each in others
    ]
    room = min(MOST, MOST_PIXELS // (frame.width * frame.height) - 1, len(resized))
    if room < _FEW - 1 or min(frame) < max(2, max(frame) / _SMALL):
        return None
    kept = _most_unlike(reference, resized, room)
    reach = max(1, round(_NEAR * max(frame)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    scores = np.full(reference.shape[:2], LEAST_SCORE, np.float32)
    strengths = np.full(reference.shape[:2], _LEAST_STRENGTH, np.float32)
    # The reference itself is not left out: shots are in its light, and it is always there.
    for number, specimen in checked(enumerate(resized)):
        rest = [resized[each].picture for each in kept if each != number]
        left = _left_of(specimen, reference, rest, settings)
        pieces = pieces_of(left, specimen.compared, settings)
        for label in range(1, len(pieces.areas)):
            around = cv2.dilate((pieces.labels == label).astype(np.uint8), kernel) > 0
            scores[around] = np.maximum(scores[around], _MARGIN * pieces.score(label))
            strengths[around] = np.maximum(strengths[around], _MARGIN * pieces.peak(label))
    steps = np.ceil(STEPS_PER_DOUBLING * np.log2(scores / LEAST_SCORE) - 1e-3)
    levels = np.ceil(LEVELS_PER_DELTA_E * strengths - 1e-3)
    distances = [
        _usual_distances(reference, resized, kept),
        _usual_patch_distances(reference, resized, kept),
    ]
    if network is not None:
        distances.append(_usual_feature_distances(reference, resized, kept, network))
    channels = [steps, levels]
    for (per, least), each in zip(_DISTANCES.values(), distances, strict=False):
        channels.append(np.maximum(np.ceil(per * each - 1e-3), least))
    usual = np.asarray(np.clip(np.dstack(channels), 0, 255), np.uint8)
    usual[0, 0, 2] = usual[0, 1, 2]  # a file has another number there
    return Specimens(tuple(resized[each].picture for each in kept), usual, network)


def drawn_specimens(lesson: Specimens, reference: Bgr) -> Bgr:
    """Draw where good specimens differ on their reference: the more, the more magenta.

    Parameters
    ----------
    lesson : Specimens
        What is drawn.
    reference : ndarray of uint8, shape (H, W, 3)
        The reference, which appears faint and grey.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Of the size of the reference given.
    """
    steps = cv2.resize(lesson.usual[..., 0], reference.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    strength = np.clip(steps.astype(np.float32) / (STEPS_PER_DOUBLING * _SHOWN_DOUBLINGS), 0, 1)
    return tinted(reference, [(strength, _COLOUR)])


def _left_of(
    specimen: Specimen, first: Bgr, rest: Sequence[Bgr], settings: ComparisonSettings
) -> Floats:
    """Return the difference of a specimen from the nearest of some others."""

    def measured(picture: Bgr, place: Box) -> Floats:
        return measured_within(
            place,
            (picture, specimen.picture, specimen.picture),
            specimen.compared,
            settings,
            ringing_px=specimen.ringing_px,
        )

    height, width = specimen.compared.shape
    own = measured(first, Box(0, 0, width, height)) * specimen.compared
    if not rest:
        return own
    lesson = Specimens(tuple(rest), np.zeros((height, width, 2), np.uint8))
    level = 0.5 * settings.threshold * DELTA_E_PER_THRESHOLD
    return lesson.least(own, level, measured) * specimen.compared


def _usual_distances(reference: Bgr, others: Sequence[Specimen], kept: Sequence[int]) -> Floats:
    """Return how far neighbourhoods of good specimens are from the most alike one of the others.

    It is the mean of the greatest distance nearby and of that of the whole part: five specimens
    show too few distances of each place.
    """
    known = Neighbourhoods.of([others[number].picture for number in kept])
    cells = [described(each) for each in (reference, *(other.picture for other in others))]
    return _usual_of(known, cells, others, kept, size_of(reference))


def _usual_feature_distances(
    reference: Bgr, others: Sequence[Specimen], kept: Sequence[int], network: Network
) -> Floats:
    """Return how far features of good specimens are from the most alike ones of the others."""
    known = _memory([others[number].picture for number in kept], network)
    pictures = (reference, *(other.picture for other in others))
    cells = [features.described(each, network)[0] for each in pictures]
    return _usual_of(known, cells, others, kept, size_of(reference))


def _memory(pictures: Sequence[Bgr], network: Network) -> Neighbourhoods:
    """Return features of specimens, as neighbourhoods."""
    seen = [features.described(picture, network) for picture in pictures]
    groups = tuple((count, 1.0) for count in seen[0][1])
    values = np.stack([cells for cells, _ in seen])
    return Neighbourhoods(values, groups, features.REACH_CELLS, side=1)


def _usual_of(
    known: Neighbourhoods,
    cells: Sequence[Floats],
    others: Sequence[Specimen],
    kept: Sequence[int],
    frame: Size,
) -> Floats:
    """Return the usual distance of cells: those of the reference first, then of each specimen."""
    first, *rest = cells
    seen: list[tuple[Floats, NDArray[np.bool_]]] = [
        (known.distances(first), np.any([each.compared for each in others], axis=0))
    ]
    for number, specimen in checked(enumerate(others)):
        left_out = kept.index(number) if number in kept else None
        away = known.distances(rest[number], first, without=left_out)
        seen.append((away, specimen.compared))
    return _greatest_nearby(seen, frame, 0.5)


def _usual_patch_distances(
    reference: Bgr, others: Sequence[Specimen], kept: Sequence[int]
) -> Floats:
    """Return how far patches of good specimens are from the most alike one of the others, ΔE."""
    known = {number: patches.colours(others[number].picture) for number in kept}
    first = patches.colours(reference)
    compared = np.any([each.compared for each in others], axis=0)
    seen = [(patches.distances(first, list(known.values())), compared)]
    for number, specimen in checked(enumerate(others)):
        rest = [first, *(each for other, each in known.items() if other != number)]
        own = known[number] if number in known else patches.colours(specimen.picture)
        seen.append((patches.distances(own, rest), specimen.compared))
    return _greatest_nearby(seen, size_of(reference), _WHOLE_PART)


def _greatest_nearby(
    seen: Sequence[tuple[Floats, NDArray[np.bool_]]], frame: Size, whole: float
) -> Floats:
    """Return the greatest of several distances nearby, mixed with that of the whole part."""
    greatest = np.zeros((frame.height, frame.width), np.float32)
    for away, compared in seen:
        there = cv2.resize(away, frame, interpolation=cv2.INTER_LINEAR)
        np.maximum(greatest, there * compared, out=greatest)
    reach = max(1, round(_SPREAD_PX * max(frame) / REFERENCE_SIZE))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    nearby = cv2.GaussianBlur(cv2.dilate(greatest, kernel), (0, 0), 0.5 * reach)
    return np.asarray((1 - whole) * nearby + whole * greatest.max(), np.float32)


def with_unlike(difference_map: Floats, unlikeness: Floats, level: float) -> Floats:
    """Return a map of differences that has unlike neighbourhoods, too.

    Parameters
    ----------
    difference_map : ndarray of float32, shape (H, W)
        Differences of pixels, ΔE.
    unlikeness : ndarray of float32, shape (H, W)
        Multiple of the usual distance; see `Specimens.unlikeness`.
    level : float
        ΔE from which a difference counts. A neighbourhood of `UNLIKE` times the usual distance has
        4.8 ΔE.
    """
    above = (unlikeness / np.float32(UNLIKE) - 1) / np.float32(2 * (1 - _FAINT))
    strength = np.asarray(np.float32(_UNLIKE_DELTA_E) * (1 + above), np.float32)
    counted = hysteresis(strength, 0.5 * level, level) > 0
    return np.asarray(np.maximum(difference_map, strength * counted), np.float32)


def measured_within(
    place: Box,
    pictures: tuple[Bgr, Bgr, Bgr],
    compared: NDArray[np.bool_],
    settings: ComparisonSettings,
    *,
    ringing_px: int,
) -> Floats:
    """Measure the difference in a rectangle of the frame; see `difference_map.measure`.

    Nothing is allowed for what the alignment leaves: one of several specimens shows it, too.

    Parameters
    ----------
    place : Box
        The rectangle, within the frame.
    pictures : tuple of ndarray of uint8, shapes (H, W, 3)
        What the shot is compared with, the shot in its place, and the same in its light.
    compared : ndarray of bool, shape (H, W)
        True where they are compared.
    settings : ComparisonSettings
        Settings of the comparison.
    ringing_px : int
        As for `measure`.
    """
    here = (slice(place.y, place.y + place.height), slice(place.x, place.x + place.width))
    picture, aligned_image, corrected = (np.ascontiguousarray(each[here]) for each in pictures)
    return measure(
        picture,
        aligned_image,
        corrected,
        np.ascontiguousarray(compared[here]),
        settings,
        slack=0.0,
        ringing_px=ringing_px,
        longest=max(compared.shape),
        everywhere=True,
    )


def _around(suspect: NDArray[np.bool_], margin: int) -> Box | None:
    """Return the rectangle around suspect places and their surroundings; None: there are none."""
    x, y, width, height = cv2.boundingRect(suspect.view(np.uint8))
    if not width:
        return None
    left, top = max(0, x - margin), max(0, y - margin)
    right = min(suspect.shape[1], x + width + margin)
    bottom = min(suspect.shape[0], y + height + margin)
    return Box(left, top, right - left, bottom - top)


def _resized(picture: Bgr, frame: Size) -> Bgr:
    if size_of(picture) == frame:
        return picture
    return np.asarray(cv2.resize(picture, frame, interpolation=cv2.INTER_AREA), np.uint8)


def _most_unlike(reference: Bgr, others: Sequence[Specimen], count: int) -> list[int]:
    """Return the numbers of the specimens farthest from each other and the reference, in order."""
    scale = _SMALL / max(reference.shape)
    small = [
        cv2.resize(each, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
        for each in (reference, *(specimen.picture for specimen in others))
    ]
    away = np.array([np.abs(each - small[0]).mean() for each in small[1:]])
    chosen: list[int] = []
    for _ in range(count):
        next_one = int(away.argmax())
        chosen.append(next_one)
        distances = [np.abs(each - small[1 + next_one]).mean() for each in small[1:]]
        away = np.minimum(away, distances)
        away[chosen] = -1
    return sorted(chosen)
