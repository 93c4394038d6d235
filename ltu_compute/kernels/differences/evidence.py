"""Examine a suspect place exactly: find its differences beyond the jitter of edges."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.differences.blending import that_may_count, without_blends
from ltu_compute.kernels.differences.copies import whole_changes
from ltu_compute.kernels.differences.difference_map import (
    Judges,
    channels_beyond,
    contrast_allowance,
    coordinates,
    lengths_beyond,
    ringing_allowance,
)
from ltu_compute.kernels.differences.filtering import (
    Floats,
    blurred,
    hysteresis,
    smoothing_sigma,
)
from ltu_compute.kernels.differences.sampling import crop
from ltu_compute.kernels.differences.screening import BASE_BLUR, neighbourhood, outside, softened
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.resizing import brightest_channel, gray_of
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask

FULL_EVIDENCE = 30.0  # ΔE of a pixel that counts as a whole pixel of evidence
LEAST_EVIDENCE = 12.0
"""Least evidence of a difference, in px that differ fully; found on drawn and real boards."""

LEAST_EVIDENCE_ALONE = 5.0
"""Least evidence away from any edge that both pictures show: a dot of 3 px on plain ground."""

_LEAST_EVIDENCE_OF_COPIES = 1.0  # px that differ fully: no edge of a digital copy jitters
_ALONE = 0.5  # of a difference's strength: greatest contrast around it in the plainer picture
_APART_PX = 2  # px around a difference in which an edge may be its cause
_LEVELS_PER_DELTA_E = 2.55  # a grey step of 255 is 100 ΔE
_JITTER_PER_TOLERANCE = 2.0  # px an edge may be displaced along its length, per px tolerated
_LEVELS_OF_NOISE = 8  # levels, of 255, below which no difference remains
_LEVELS_OF_EVIDENCE = 77  # levels, of 255: `FULL_EVIDENCE` in grey
_WINDOW = 17  # side, px, of the windows that a single shift must explain
_LEFT_OVER = 8.0  # px that differ fully, least remainder of a window that no shift explains
_LEFT_AT_ENDS = 32.0  # the same at the ends of a strip, beyond which edges are in place
_BLURRED = 7  # px across an edge: reach of its blur and of its other side
_COMPACT = 12  # times the square of its depth; an area that covers less is a lump, not an edge
_THICK = 5  # px from the border inwards; a thicker area is not an edge that jitters
_ALONG_PX = 4  # px beyond a difference in which a shift must explain the edge beside it
_SLENDER = 4.0  # times the square of its width: least area of a strip along an edge
_BLUNT = 2.0  # the same for a strip with wide ends: a bulge of an edge tapers
_SLIVER_PX = 3  # px, greatest width of a sliver
_STRIP_PX = 6  # px, greatest width of a strip between two places of an edge: 3 times its jitter
_TENSOR_PX = 7  # side, px, of the window in which the direction of an edge is measured
_BEYOND_PX = 24  # px along an edge, before and behind a difference, that show its displacement
_ACROSS_PX = 8  # px to both sides of an edge that do not show it
_TEETH_PX = 200  # px, longest difference that may be teeth of a ragged edge
_TEETH_SHARE = 0.35  # least share of an edge that has teeth, for a tooth to be none
_SIDE_PX = 1.5  # px beyond a strip where its sides are seen, off the blur of its rim
_UNEVEN_PX = 1.0  # px, mean over its length, by which the displacement of a long edge varies
_LEAST_KNOWN_PX = 12  # px of an edge, before and behind, that suffice to judge
_LOCAL_BLUR = 0.6  # sigma, px, by which sharpness may vary in a shot: labels by hand (composed)
_HALO = 0.4  # share of the strongest pixel within 2 px; below, a pixel is its blur


@dataclass(frozen=True, eq=False)
class Precision:
    """Precision of a level's pictures.

    Attributes
    ----------
    radius : float
        Displacement that is not a difference, in px.
    noise : ndarray of float32, shape (3,), or (1,) without colour
        Standard deviation of the difference of the softened pictures, in ΔE per channel.
    ringing_px : int
        Reach of a file's ringing, in px; see `ringing_reach`.
    """

    radius: float
    noise: Floats
    ringing_px: int = 0


@dataclass(frozen=True, eq=False)
class Look:
    """Result of the exact examination of a place.

    Attributes
    ----------
    difference : ndarray of float32, shape (H, W)
        Difference beyond misregistration and noise, ΔE.
    judged : ndarray of float32, shape (H, W)
        The same, smoothed, for comparison with the threshold.
    labels : ndarray of int32, shape (H, W)
        Areas that differ: 1 and up; 0 elsewhere.
    kept : list of tuple
        Labels and places of the areas with enough evidence.
    settled : ndarray of uint8, shape (H, W)
        Not 0 at and beside an edge that is displaced along its whole length.
    """

    difference: Floats
    judged: Floats
    labels: NDArray[np.int32]
    kept: list[tuple[int, Box]]
    settled: Mask


@dataclass(frozen=True, eq=False)
class Exact:
    """Parameters of an exact examination.

    Attributes
    ----------
    level : float
        Threshold, ΔE.
    precision : Precision
        Precision of the pictures.
    shifts : list of tuple of int
        Displacements of neighbouring places in x and y, in px.
    judges : tuple of Judge, optional
        What earlier good shots taught of the place.
    moved : ndarray of uint8, shape (H, W), or None
        255 where a part moved in its place farther than edges jitter: they do not jitter there.
    copies : bool
        Whether the pictures are digital copies, see `copies`: their edges do not jitter.
    """

    level: float
    precision: Precision
    shifts: list[tuple[int, int]]
    judges: Judges | None = None
    moved: Mask | None = None
    copies: bool = False


def jitter_px(edge_tolerance: float) -> int:
    """Return how far, in px, a whole edge may be displaced for an edge tolerance in px."""
    return round(_JITTER_PER_TOLERANCE * edge_tolerance)


def look_at(
    pictures: tuple[Bgr, Bgr], allowed: Mask, settings: ComparisonSettings, exact: Exact
) -> Look:
    """Examine a place.

    Parameters
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        Pixels of reference and shot, equally sharp.
    allowed : ndarray of uint8, shape (H, W)
        255 where they are compared.
    settings : ComparisonSettings
        Settings of the comparison.
    exact : Exact
        Parameters of the examination.
    """
    precision, level = exact.precision, exact.level
    reference, shot = pictures
    inside = np.where(allowed > 0, np.uint8(1), np.uint8(0))
    difference = exact_difference(reference, shot, settings, precision, exact.judges, inside=inside)
    judged = difference.copy()
    sigma = smoothing_sigma(settings.smooth)
    if sigma:
        judged = blurred(difference, sigma) * inside
    mask = hysteresis(judged, 0.5 * level, level)
    difference[difference < _HALO * cv2.dilate(difference, np.ones((5, 5), np.uint8))] = 0
    mask &= np.where(difference > 0.5 * level, np.uint8(255), np.uint8(0))
    settled = np.zeros_like(mask)
    if not cv2.countNonZero(mask):
        return Look(difference, judged, np.zeros(mask.shape, np.int32), [], settled)
    if exact.copies:
        labels, kept = _weighed_of_copies(mask, difference, level)
        certain = np.isin(labels, [label for label, _ in kept])
        seeds = np.where(certain, mask, np.uint8(0))
        labels, kept = whole_changes(pictures, allowed, seeds)
        return Look(difference, judged, labels, kept, settled)
    contrast = _least_contrast(reference, shot)
    labels, kept, alone = _weighed(mask, difference, level, contrast)
    reach = jitter_px(settings.edge_tolerance)
    if kept and reach:
        soft = (softened(reference), softened(shot))
        directions = _edge_directions(*soft)
        radius, shifts = round(precision.radius), _shifts(reach, exact.shifts)
        whole = mask.copy()
        jitter = _Jitter(soft, allowed, radius, shifts, directions)
        ragged = _Ragged(soft, allowed, directions)
        for label, place in kept:
            at_edge = not alone[label] or ragged.is_displaced(labels, label, place)
            if at_edge or _is_sliver(place):
                settled |= jitter.take_out(mask, labels, label, place)
            if at_edge or crop(settled, place).any():
                ragged.take_out(mask, labels, label, place)
        if exact.moved is not None:
            mask |= cv2.bitwise_and(whole, exact.moved)
            settled = cv2.bitwise_and(settled, cv2.bitwise_not(exact.moved))
        labels, kept, _ = _weighed(mask, difference, level, contrast)
    return Look(difference, judged, labels, kept, settled)


def _least_contrast(reference: Bgr, shot: Bgr) -> Gray:
    """Return the contrast around each pixel in the picture with less contrast, in levels."""
    contrasts = []
    for picture in (reference, shot):
        low, high = neighbourhood(softened(picture), _APART_PX)
        contrasts.append(brightest_channel(cv2.subtract(high, low)))
    return np.asarray(cv2.min(*contrasts), np.uint8)


def _weighed(
    mask: Mask, difference: Floats, level: float, contrast: Gray
) -> tuple[NDArray[np.int32], list[tuple[int, Box]], NDArray[np.bool_]]:
    """Label the areas of a mask; return those with enough evidence, and which are off any edge.

    Beside an edge that both pictures show, less than `LEAST_EVIDENCE` may be caused by the edge.
    """
    labels, stats = components_of(mask)
    count = len(stats)
    within = np.flatnonzero(labels)
    owners, values = labels.ravel()[within], difference.ravel()[within]
    evidence = _evidence_of(owners, values, level, count)
    # Of the values' own types: NumPy takes 30 times as long to convert them one by one.
    strongest, edge = np.zeros(count, values.dtype), np.zeros(count, contrast.dtype)
    np.maximum.at(strongest, owners, values)
    np.maximum.at(edge, owners, contrast.ravel()[within])
    alone = edge / _LEVELS_PER_DELTA_E < _ALONE * strongest
    least = np.where(alone, LEAST_EVIDENCE_ALONE, LEAST_EVIDENCE)
    enough = (np.flatnonzero(evidence[1:] >= least[1:]) + 1).tolist()
    kept = [(label, Box(*stats[label, :4].tolist())) for label in enough]
    return labels, kept, np.asarray(alone, np.bool_)


def _weighed_of_copies(
    mask: Mask, difference: Floats, level: float
) -> tuple[NDArray[np.int32], list[tuple[int, Box]]]:
    """Label the areas of a mask, and return those with enough evidence for digital copies."""
    labels, stats = components_of(mask)
    within = np.flatnonzero(labels)
    owners, values = labels.ravel()[within], difference.ravel()[within]
    evidence = _evidence_of(owners, values, level, len(stats))
    enough = (np.flatnonzero(evidence[1:] >= _LEAST_EVIDENCE_OF_COPIES) + 1).tolist()
    return labels, [(label, Box(*stats[label, :4].tolist())) for label in enough]


def _evidence_of(
    owners: NDArray[np.int32], values: Floats, level: float, count: int
) -> NDArray[np.float64]:
    """Return the evidence of each of `count` areas, in px that differ fully."""
    share = np.minimum(values / max(FULL_EVIDENCE, level), 1)
    return np.asarray(np.bincount(owners, weights=share, minlength=count), np.float64)


def exact_difference(
    reference: Bgr,
    shot: Bgr,
    settings: ComparisonSettings,
    precision: Precision,
    judges: Judges | None = None,
    *,
    inside: Mask | None = None,
) -> Floats:
    """Return the difference of each pixel beyond misregistration and noise.

    Parameters
    ----------
    reference, shot : ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        The pictures, equally sharp.
    settings : ComparisonSettings
        Settings of the comparison.
    precision : Precision
        Precision of the pictures.
    judges : tuple of Judge, optional
        What earlier good shots taught of the place.
    inside : ndarray of uint8, shape (H, W), optional
        1 where pixels are compared, elsewhere 0. Default: everywhere.

    Returns
    -------
    ndarray of float32, shape (H, W)
        In ΔE, 0 or more; 0 if nothing would reach the threshold. Blends are only taken off near
        what would.
    """
    softness = contrast_allowance(reference, shot)
    first, second = (
        blurred(coordinates(picture, settings), BASE_BLUR) for picture in (reference, shot)
    )
    allowance = np.asarray(2.5 * precision.noise, np.float32)
    pairs = ((first, second), (second, first))
    channels = [
        channels_beyond(*pair, precision.radius, allowance, softness, judge=judge)
        for pair, judge in zip(pairs, judges or (None, None), strict=True)
    ]

    def lengths(by_place: Floats | None) -> list[Floats]:
        several = [lengths_beyond(each, by_place) for each in channels]
        return several if inside is None else [each * inside for each in several]

    def counting(difference: Floats) -> Mask:
        level = settings.threshold * DELTA_E_PER_THRESHOLD
        return that_may_count(difference, level, settings.smooth)

    beyond = np.asarray(cv2.max(*lengths(None)), np.float32)
    if not cv2.countNonZero(counting(beyond)):  # most suspect places show noise only
        return np.zeros_like(beyond)
    by_place = _blur_allowance(first, second)
    if not settings.use_hsv:
        ringing = ringing_allowance(first, second, precision.ringing_px)
        if ringing is not None:
            by_place = ringing + by_place
    both = lengths(by_place)
    beyond = np.asarray(cv2.max(*both), np.float32)
    if settings.use_hsv or first.ndim == 2:
        return beyond
    within = counting(beyond)
    if not cv2.countNonZero(within):
        return beyond
    blended = (
        without_blends(
            differs,
            *pair,
            radius=precision.radius,
            allowance=allowance,
            softness=softness,
            within=within,
        )
        for differs, pair in zip(both, pairs, strict=True)
    )
    return np.asarray(cv2.max(*blended), np.float32)


def _blur_allowance(first: Floats, second: Floats) -> Floats:
    """Return how far colours may differ because sharpness varies within a picture, ΔE.

    That is what a slight blur changes, where both pictures have the detail that it changes: the
    cores of thin strokes. It has the shape of the pictures.
    """
    kernel = np.ones((3, 3), np.uint8)
    changes = (
        cv2.dilate(cv2.absdiff(each, blurred(each, _LOCAL_BLUR)), kernel)
        for each in (first, second)
    )
    return np.asarray(cv2.min(*changes), np.float32)


class _Jitter:
    """The parts of a difference that disappear when the shot is shifted by a few px there.

    An edge that is displaced along its whole length disappears: once shifted, the pictures agree,
    also beside it. A notch, a spur, a gap or a bridge remains, because the edges beside it were in
    place. Each window along the difference is judged with a shift of its own. A slender strip is
    judged only with the continuation of its own edge: the other side of a track may be displaced
    by another amount.
    """

    def __init__(
        self,
        pictures: tuple[Bgr, Bgr],
        allowed: Mask,
        radius: int,
        shifts: list[tuple[int, int]],
        directions: NDArray[np.uint8],
    ) -> None:
        self.allowed, self.shifts = allowed, shifts
        self.farthest = max(1, *(max(abs(dx), abs(dy)) for dx, dy in shifts))
        self.reference = pictures[0]
        self.low1, self.high1 = neighbourhood(self.reference, radius)
        # Pixels beyond the place are unknown: its border is repeated.
        self.shot = np.asarray(
            cv2.copyMakeBorder(pictures[1], *[self.farthest] * 4, cv2.BORDER_REPLICATE), np.uint8
        )
        self.low2, self.high2 = neighbourhood(self.shot, radius)
        self.directions = directions

    def take_out(self, mask: Mask, labels: NDArray[np.int32], label: int, place: Box) -> Mask:
        """Clear the parts of a labelled area in `mask` that a shift explains; return their mask."""
        settled = np.zeros_like(mask)
        margin = _WINDOW // 2
        top, left = max(0, place.y - margin), max(0, place.x - margin)
        bottom = min(labels.shape[0], place.y + place.height + margin)
        right = min(labels.shape[1], place.x + place.width + margin)
        here = (slice(top, bottom), slice(left, right))
        part = (labels[here] == label).astype(np.uint8)
        bordered = cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = float(cv2.distanceTransform(bordered, cv2.DIST_C, 3).max())
        if depth > _THICK and np.count_nonzero(part) < _COMPACT * depth**2:
            return settled
        strip = _is_strip(part, 2 * depth - 1)
        if strip:
            near = _continued(part, self.directions[here])
        else:
            near = cv2.dilate(part, np.ones((2 * _ALONG_PX + 1,) * 2, np.uint8))
        near = cv2.bitwise_and(near, (self.allowed[here] > 0).astype(np.uint8))
        unexplained = part > 0
        least = np.full(part.shape, np.inf, np.float32)
        for dx, dy in self.shifts:
            x, y = dx + self.farthest, dy + self.farthest
            there = (slice(top + y, bottom + y), slice(left + x, right + x))
            beyond = cv2.max(
                outside(self.reference[here], self.low2[there], self.high2[there]),
                outside(self.shot[there], self.low1[here], self.high1[here]),
            )
            strongest = brightest_channel(np.asarray(beyond, np.uint8))
            cv2.threshold(strongest, _LEVELS_OF_NOISE, 0, cv2.THRESH_TOZERO, strongest)
            strongest = cv2.multiply(cv2.min(strongest, _LEVELS_OF_EVIDENCE), near)
            left_over = cv2.boxFilter(
                strongest,
                cv2.CV_32F,
                (_WINDOW, _WINDOW),
                normalize=False,
                borderType=cv2.BORDER_CONSTANT,
            )
            if strip:
                cv2.min(least, left_over, least)
            unexplained &= left_over >= _LEFT_OVER * _LEVELS_OF_EVIDENCE
            if not unexplained.any():
                break
        explained = (part > 0) & ~unexplained
        if strip:  # edges beyond its ends did not move with it
            ends = cv2.dilate(explained.astype(np.uint8), np.ones((_WINDOW, _WINDOW)))
            explained = (part > 0) & (ends > 0)
            explained &= least < _LEFT_AT_ENDS * _LEVELS_OF_EVIDENCE
        mask[here][explained] = 0
        beside = cv2.dilate(explained.astype(np.uint8), np.ones((_BLURRED, _BLURRED), np.uint8))
        settled[here] = cv2.bitwise_and(beside, near)
        return settled


def _is_sliver(place: Box) -> bool:
    """Return whether an area is a sliver along a row or a column.

    It is left of an edge that is displaced farther than the neighbourhood that `_APART_PX` covers.
    """
    short, long = sorted(place[2:])
    return short <= _SLIVER_PX and long >= _SLENDER * short


class _Ragged:
    """The parts of a difference that continue a displaced edge: teeth of its ragged border.

    Etching displaces an edge by two or three px along its whole length, a px more or less from row
    to row. Only some rows exceed the tolerance. A bite or a spur is deeper than the displacement
    before and behind it.
    """

    def __init__(
        self, pictures: tuple[Bgr, Bgr], allowed: Mask, directions: NDArray[np.uint8]
    ) -> None:
        unequal = brightest_channel(np.asarray(cv2.absdiff(*pictures), np.uint8))
        self.unequal = unequal.astype(np.float32)
        self.allowed = np.where(allowed > 0, np.float32(1), np.float32(0))
        self.directions = directions
        self.grays = [gray_of(each) for each in pictures]

    def is_displaced(self, labels: NDArray[np.int32], label: int, place: Box) -> bool:
        """Return whether a strip along a row or a column is between two places of one edge."""
        short, long = sorted(place[2:])
        if short > _STRIP_PX or long < _SLENDER * short:
            return False
        here = (slice(place.y, place.y + place.height), slice(place.x, place.x + place.width))
        part = labels[here] == label
        strong = float(np.median(self.unequal[here][part]))
        across = (1, 0) if place.height > place.width else (0, 1)
        return self._is_between_sides(place, part, across, short, strong)

    def _is_between_sides(
        self,
        place: Box,
        part: NDArray[np.bool_],
        across: tuple[int, int],
        width: float,
        strong: float,
    ) -> bool:
        """Return whether the sides of a strip differ in both pictures.

        An edge that is displaced leaves such a strip. The sides of a scratch are alike.
        """
        reach = round((width / 2 + _SIDE_PX) / float(np.hypot(*across)))
        dx, dy = reach * across[0], reach * across[1]
        for gray in self.grays:
            one, other = (
                crop(gray, Box(place.x + sign * dx, place.y + sign * dy, *place[2:]))[part]
                for sign in (-1, 1)
            )
            if np.median(cv2.absdiff(one, other)) < _ALONE * strong:
                return False
        return True

    def take_out(self, mask: Mask, labels: NDArray[np.int32], label: int, place: Box) -> None:
        """Clear the pieces of a labelled area in `mask` that their edge's displacement explains.

        Of a long strip, jitter may leave many pieces.
        """
        x, y, width, height = place
        within = (slice(y, y + height), slice(x, x + width))
        left = ((labels[within] == label) & (mask[within] > 0)).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(left, connectivity=8)
        for piece in range(1, count):
            own = Box(*(int(value) for value in stats[piece, :4]))
            rows, columns = slice(own.y, own.y + own.height), slice(own.x, own.x + own.width)
            covered = pieces[rows, columns] == piece
            self._take_out(mask, covered, Box(x + own.x, y + own.y, own.width, own.height))

    def _take_out(self, mask: Mask, covered: NDArray[np.bool_], place: Box) -> None:
        """Clear a piece, True in `covered`, if the displacement of its edge explains it."""
        top, left = max(0, place.y - _BEYOND_PX), max(0, place.x - _BEYOND_PX)
        here = (
            slice(top, place.y + place.height + _BEYOND_PX),
            slice(left, place.x + place.width + _BEYOND_PX),
        )
        part = np.zeros(mask[here].shape, np.bool_)
        y, x = place.y - top, place.x - left
        part[y : y + place.height, x : x + place.width] = covered
        counts = np.bincount(self.directions[here][part], minlength=len(_DIRECTIONS))
        if not counts.any():
            return
        dx, dy = _DIRECTIONS[int(counts.argmax())]
        along = np.ptp(np.argwhere(part) @ np.array([dy, dx])) / (dx * dx + dy * dy)
        if along > _TEETH_PX:
            return
        half = round(along / 2 + _BEYOND_PX / np.hypot(dx, dy))
        line = np.zeros((2 * half + 1,) * 2, np.float32)
        cv2.line(
            line, (half - half * dx, half - half * dy), (half + half * dx, half + half * dy), 1
        )
        # Rows that the area itself covers say nothing about the edge before and behind it.
        own = cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8))
        free = self.allowed[here] * (cv2.dilate(own, (line > 0).astype(np.uint8)) > 0)
        own = _smeared_across(own, (dx, dy))
        free[own > 0] = 0
        unequal = self.unequal[here]
        strong = float(np.median(unequal[part]))
        nearby = _displaced_by((unequal, free), strong, line, _LEAST_KNOWN_PX)
        beyond = np.clip((unequal - nearby)[part] / _LEVELS_OF_EVIDENCE, 0, 1)
        if float(beyond.sum()) < LEAST_EVIDENCE:
            mask[here][part] = 0
            return
        # A strip is the displacement of its edge, if that varies by less than a px and than it is.
        pixels, length = np.count_nonzero(covered), along + 1
        if not self._is_between_sides(place, covered, (-dy, dx), pixels / length, strong):
            return
        ends = np.full(unequal.shape, 255, np.float32)
        for side in _halves(line, (dx, dy)):
            unknown = cv2.filter2D(free, -1, side, borderType=cv2.BORDER_CONSTANT) < 1
            mean = _displaced_by((unequal, free), strong, side, _LEAST_KNOWN_PX // 2, teeth=1.0)
            ends = np.minimum(ends, np.where(unknown, ends, mean))
        deeper = np.clip((unequal - np.minimum(ends, nearby))[part] / max(strong, 1), 0, 1)
        if float(deeper.sum()) <= min(_UNEVEN_PX * length, 0.5 * pixels):
            mask[here][part] = 0


def _displaced_by(
    pictures: tuple[Floats, Floats],
    strong: float,
    line: Floats,
    least: int,
    *,
    teeth: float = _TEETH_SHARE,
) -> Floats:
    """Return how much pixels differ along a line through each pixel, in levels.

    Where a share of `teeth` differs as much as `strong` does, it is that. It is 0 where fewer than
    `least` pixels of the line count. `pictures` are by how much pixels differ, and 1 where they
    count, else 0.
    """
    unequal, free = pictures
    known = cv2.filter2D(free, -1, line, borderType=cv2.BORDER_CONSTANT)
    sums = cv2.filter2D(free * unequal, -1, line, borderType=cv2.BORDER_CONSTANT)
    alike = free * (unequal > 0.5 * strong)
    rows = cv2.filter2D(alike, -1, line, borderType=cv2.BORDER_CONSTANT)
    typical = cv2.max(sums / np.maximum(known, 1), np.float32(strong) * (rows >= teeth * known))
    typical *= known >= least
    return np.asarray(cv2.dilate(typical, np.ones((3, 3), np.uint8)), np.float32)


def _halves(line: Floats, direction: tuple[int, int]) -> list[Floats]:
    """Return the halves of a line before and behind its middle."""
    dx, dy = direction
    middle = len(line) // 2
    rows, columns = np.mgrid[: len(line), : len(line)] - middle
    along = columns * dx + rows * dy
    return [np.where(sign * along > 0, line, np.float32(0)) for sign in (-1, 1)]


def _smeared_across(part: NDArray[np.uint8], direction: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a part extended by `_ACROSS_PX` to both sides of an edge of a direction."""
    dx, dy = direction
    reach = _ACROSS_PX
    line = np.zeros((2 * reach + 1,) * 2, np.uint8)
    start = (reach + reach * dy, reach - reach * dx)
    cv2.line(line, start, (reach - reach * dy, reach + reach * dx), 1)
    return np.asarray(cv2.dilate(part, cv2.dilate(line, np.ones((2, 2), np.uint8))), np.uint8)


def _is_strip(part: NDArray[np.uint8], width: float) -> bool:
    """Return whether an area is a strip of one width rather than a lump or a bulge."""
    covered = cv2.countNonZero(part)
    if covered >= _SLENDER * width**2:
        return True
    places = cv2.findNonZero(part)
    if covered < _BLUNT * width**2 or places is None:
        return False
    _, sides, _ = cv2.minAreaRect(places)
    return bool(min(sides) + 1 <= width + 0.5)


_DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1))
"""Steps in x and y along an edge, by eighths of a turn."""


def _edge_directions(reference: Bgr, shot: Bgr) -> NDArray[np.uint8]:
    """Return the direction, of `_DIRECTIONS`, of the edges around each pixel, shape (H, W).

    It is measured by the structure tensor (Bigun and Granlund 1987) of both pictures' mean, in
    which an edge that moved appears once.
    """
    mean = gray_of(np.asarray(cv2.addWeighted(reference, 0.5, shot, 0.5, 0), np.uint8))
    x, y = cv2.Sobel(mean, cv2.CV_32F, 1, 0), cv2.Sobel(mean, cv2.CV_32F, 0, 1)
    window = (_TENSOR_PX, _TENSOR_PX)
    xx, yy, xy = (cv2.boxFilter(product, -1, window) for product in (x * x, y * y, x * y))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    eighths = np.rint(across / (np.pi / 4)) + 2  # 0 to 4; edges are normal to gradients
    return np.asarray(eighths.astype(np.uint8) % np.uint8(len(_DIRECTIONS)), np.uint8)


def _continued(part: NDArray[np.uint8], directions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a part extended by `_ALONG_PX` along the edges in it, and by 1 px across: not 0."""
    near = part
    for direction, (dx, dy) in enumerate(_DIRECTIONS):
        own = np.where(directions == direction, part, np.uint8(0))
        reach = round(_ALONG_PX / np.hypot(dx, dy))
        line = np.zeros((2 * reach + 3,) * 2, np.uint8)
        middle = reach + 1
        ends = [(middle + sign * reach * dx, middle + sign * reach * dy) for sign in (-1, 1)]
        cv2.line(line, *ends, 1)
        near = cv2.max(near, cv2.dilate(own, cv2.dilate(line, np.ones((3, 3), np.uint8))))
    return np.asarray(near, np.uint8)


def _shifts(reach: int, others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return shifts in x and y of up to `reach` px from zero and from others, without repeats."""
    offsets = range(-reach, reach + 1)
    starts = [(0, 0), *others]
    steps = sorted(
        ((dx, dy) for dy in offsets for dx in offsets), key=lambda s: s[0] ** 2 + s[1] ** 2
    )
    shifts = ((x + dx, y + dy) for x, y in starts for dx, dy in steps)
    return list(dict.fromkeys(shifts))
