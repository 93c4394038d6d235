"""Look exactly at a suspect place: what differs there, beyond edges that jitter."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.blending import without_blends
from ltu_compute.kernels.differences.difference_map import (
    beyond_range,
    contrast_allowance,
    coordinates,
)
from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.differences.regions import hysteresis
from ltu_compute.kernels.differences.screening import BASE_BLUR, neighbourhood, outside, softened
from ltu_compute.kernels.differences.settings import ComparisonSettings
from ltu_compute.kernels.resizing import brightest_channel
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask

FULL_EVIDENCE = 30.0  # ΔE from where on a pixel is a whole pixel of evidence
LEAST_EVIDENCE = 12.0
"""Evidence, in px that differ fully, that makes a difference: found on drawn and on real boards."""

LEAST_EVIDENCE_ALONE = 5.0
"""The same away from any edge that both pictures show: a dot of 3 px on plain ground."""

_ALONE = 0.5  # share of a difference that the contrast of the plainer picture may be around it
_APART_PX = 2  # px around a difference in which an edge may be what differs
_LEVELS_PER_DELTA_E = 2.55  # a grey step of 255 takes 100 ΔE
_JITTER_PER_TOLERANCE = 2.0  # px by which an edge may lie elsewhere, all along, per px tolerated
_LEVELS_OF_NOISE = 8  # levels, of 255, below which nothing is left over
_LEVELS_OF_EVIDENCE = 77  # levels, of 255, that `FULL_EVIDENCE` takes in grey
_WINDOW = 17  # side, px, of the windows in which one shift must explain all
_LEFT_OVER = 8.0  # px that differ fully in a window which no shift explains
_BLURRED = 7  # px across that the blur of an edge, and its other side, reach
_COMPACT = 12  # times the square of its depth: what covers less is a lump, and no edge
_THICK = 5  # px from the border inwards: what is thicker is no edge that jitters
_ALONG_PX = 4  # px beyond a difference in which a shift must explain the edge beside it
_SLENDER = 4.0  # times the square of its width that a strip along an edge covers at least
_BLUNT = 2.0  # the same, where it is as wide at its ends: what bulges from an edge tapers
_TENSOR_PX = 7  # side, px, of the window in which the direction of an edge is measured
_HALO = 0.4  # share of the strongest within 2 px below which a pixel is its blur


@dataclass(frozen=True, eq=False)
class Precision:
    """What a level's pictures can tell.

    Attributes
    ----------
    radius : float
        Displacement that is no difference, in px.
    noise : ndarray of float32, shape (3,)
        Standard deviation of the pictures' difference, in ΔE by channel, softened.
    blur : tuple of float
        Sigmas, in px, by which reference and shot are blurred to be equally sharp.
    """

    radius: float
    noise: Floats
    blur: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Look:
    """What an exact look at a place shows.

    Attributes
    ----------
    difference : ndarray of float32, shape (H, W)
        Difference beyond misregistration and noise, ΔE.
    judged : ndarray of float32, shape (H, W)
        The same, smoothed: what the threshold is compared with.
    labels : ndarray of int32, shape (H, W)
        Areas that differ: 1 and up; 0 elsewhere.
    kept : list of tuple
        Labels of the areas that are evidence enough, and where each lies.
    settled : ndarray of uint8, shape (H, W)
        Where an edge lies elsewhere all along, and all beside it: not 0.
    """

    difference: Floats
    judged: Floats
    labels: NDArray[np.int32]
    kept: list[tuple[int, Box]]
    settled: Mask


def sharpened_alike(picture: Bgr, sigma: float) -> Bgr:
    """Return a picture blurred to the other's sharpness."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) if sigma else picture


@dataclass(frozen=True, eq=False)
class Exact:
    """By what an exact look judges.

    Attributes
    ----------
    level : float
        ΔE that counts.
    precision : Precision
        What the pictures can tell.
    shifts : list of tuple of int
        Displacements in x and y, in px, that neighbouring places show.
    """

    level: float
    precision: Precision
    shifts: list[tuple[int, int]]


def jitter_px(edge_tolerance: float) -> int:
    """Return by how many px an edge may lie elsewhere, all along, for a tolerance in px."""
    return round(_JITTER_PER_TOLERANCE * edge_tolerance)


def look_at(
    pictures: tuple[Bgr, Bgr], allowed: Mask, settings: ComparisonSettings, exact: Exact
) -> Look:
    """Look at a place.

    Parameters
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W, 3)
        Pixels of reference and shot, equally sharp.
    allowed : ndarray of uint8, shape (H, W)
        Where they are compared: 255.
    settings : ComparisonSettings
        What counts.
    exact : Exact
        By what it is judged.
    """
    precision, level = exact.precision, exact.level
    reference, shot = pictures
    inside = np.where(allowed > 0, np.uint8(1), np.uint8(0))
    difference = exact_difference(reference, shot, settings, precision) * inside
    judged = difference.copy()
    if settings.smooth > 0.02:
        judged = blurred(difference, 2.5 * settings.smooth) * inside
    mask = hysteresis(judged, 0.5 * level, level)
    difference[difference < _HALO * cv2.dilate(difference, np.ones((5, 5), np.uint8))] = 0
    mask &= np.where(difference > 0.5 * level, np.uint8(255), np.uint8(0))
    contrast = _least_contrast(reference, shot)
    labels, kept, alone = _weighed(mask, difference, level, contrast)
    settled = np.zeros_like(mask)
    reach = jitter_px(settings.edge_tolerance)
    if kept and reach:
        soft = (softened(reference), softened(shot))
        jitter = _Jitter(soft, allowed, round(precision.radius), _shifts(reach, exact.shifts))
        for label, place in kept:
            if not alone[label]:
                settled |= jitter.take_out(mask, labels, label, place)
        labels, kept, _ = _weighed(mask, difference, level, contrast)
    return Look(difference, judged, labels, kept, settled)


def _least_contrast(reference: Bgr, shot: Bgr) -> Gray:
    """Contrast around each pixel in the picture that has less of it, in levels."""
    contrasts = []
    for picture in (reference, shot):
        low, high = neighbourhood(softened(picture), _APART_PX)
        contrasts.append(brightest_channel(cv2.subtract(high, low)))
    return np.asarray(cv2.min(*contrasts), np.uint8)


def _weighed(
    mask: Mask, difference: Floats, level: float, contrast: Gray
) -> tuple[NDArray[np.int32], list[tuple[int, Box]], NDArray[np.bool_]]:
    """Label the areas of a mask; return those that are evidence enough, and which are no edge's.

    Beside an edge that both pictures show, less than `LEAST_EVIDENCE` may be the edge's.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    rows, columns = np.nonzero(labels)
    owners, values = labels[rows, columns], difference[rows, columns]
    share = np.minimum(values / max(FULL_EVIDENCE, level), 1)
    evidence = np.bincount(owners, weights=share, minlength=count)
    strongest, edge = np.zeros(count), np.zeros(count)
    np.maximum.at(strongest, owners, values)
    np.maximum.at(edge, owners, contrast[rows, columns])
    alone = edge / _LEVELS_PER_DELTA_E < _ALONE * strongest
    least = np.where(alone, LEAST_EVIDENCE_ALONE, LEAST_EVIDENCE)
    kept = [
        (label, Box(*(int(value) for value in stats[label, :4])))
        for label in range(1, count)
        if evidence[label] >= least[label]
    ]
    return np.asarray(labels, np.int32), kept, np.asarray(alone, np.bool_)


def exact_difference(
    reference: Bgr, shot: Bgr, settings: ComparisonSettings, precision: Precision
) -> Floats:
    """Difference of each pixel beyond misregistration and noise, in ΔE, shape (H, W)."""
    softness = contrast_allowance(reference, shot)
    first, second = (
        blurred(coordinates(picture, settings), BASE_BLUR) for picture in (reference, shot)
    )
    allowance = np.asarray(2.5 * precision.noise, np.float32)
    beyond = np.zeros(first.shape[:2], np.float32)
    for one, other in ((first, second), (second, first)):
        differs = beyond_range(one, other, precision.radius, allowance, softness)
        if not settings.use_hsv:
            differs = without_blends(
                differs,
                one,
                other,
                radius=precision.radius,
                allowance=allowance,
                softness=softness,
            )
        cv2.max(beyond, differs, beyond)
    return beyond


class _Jitter:
    """Which parts of a difference go away when the shot is shifted by a few px there.

    An edge that lies elsewhere all along does: shifted, the pictures agree, beside it too. A notch,
    a spur, a gap or a bridge does not, for the edges beside it were where they belong. Judged in
    windows along the difference, each with a shift of its own. A slender strip is judged with what
    continues its own edge only: the other side of a track may lie elsewhere by another amount.
    """

    def __init__(
        self, pictures: tuple[Bgr, Bgr], allowed: Mask, radius: int, shifts: list[tuple[int, int]]
    ) -> None:
        self.allowed, self.shifts = allowed, shifts
        self.farthest = max(1, *(max(abs(dx), abs(dy)) for dx, dy in shifts))
        self.reference = pictures[0]
        self.low1, self.high1 = neighbourhood(self.reference, radius)
        # Beyond the place nothing is known: its border goes on.
        self.shot = np.asarray(
            cv2.copyMakeBorder(pictures[1], *[self.farthest] * 4, cv2.BORDER_REPLICATE), np.uint8
        )
        self.low2, self.high2 = neighbourhood(self.shot, radius)
        self.directions = _edge_directions(*pictures)

    def take_out(self, mask: Mask, labels: NDArray[np.int32], label: int, place: Box) -> Mask:
        """Clear, in `mask`, what a shift explains of one labelled area; return where that is."""
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
            unexplained &= left_over >= _LEFT_OVER * _LEVELS_OF_EVIDENCE
            if not unexplained.any():
                break
        explained = (part > 0) & ~unexplained
        if strip:  # where its edge ends, other edges begin, which did not move along
            ends = cv2.dilate(explained.astype(np.uint8), np.ones((_WINDOW, _WINDOW)))
            explained = (part > 0) & (ends > 0)
        mask[here][explained] = 0
        beside = cv2.dilate(explained.astype(np.uint8), np.ones((_BLURRED, _BLURRED), np.uint8))
        settled[here] = cv2.bitwise_and(beside, near)
        return settled


def _is_strip(part: NDArray[np.uint8], width: float) -> bool:
    """Whether an area is a strip of one width rather than a lump or a bulge."""
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
    """Return which of `_DIRECTIONS` the edges around each pixel run in, shape (H, W).

    The structure tensor of both pictures' mean, in which an edge that moved is one (Bigun and
    Granlund 1987).
    """
    mean = cv2.cvtColor(cv2.addWeighted(reference, 0.5, shot, 0.5, 0), cv2.COLOR_BGR2GRAY)
    x, y = cv2.Sobel(mean, cv2.CV_32F, 1, 0), cv2.Sobel(mean, cv2.CV_32F, 0, 1)
    window = (_TENSOR_PX, _TENSOR_PX)
    xx, yy, xy = (cv2.boxFilter(product, -1, window) for product in (x * x, y * y, x * y))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    eighths = np.rint(across / (np.pi / 4)).astype(int) + 2  # an edge runs square to its gradient
    return np.asarray(eighths % len(_DIRECTIONS), np.uint8)


def _continued(part: NDArray[np.uint8], directions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a part continued along the edges in it by `_ALONG_PX`, and 1 px across: not 0."""
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
    """Shifts in x and y of up to `reach` px from none and from others, without repetition."""
    offsets = range(-reach, reach + 1)
    starts = [(0, 0), *others]
    steps = sorted(
        ((dx, dy) for dy in offsets for dx in offsets), key=lambda s: s[0] ** 2 + s[1] ** 2
    )
    shifts = ((x + dx, y + dy) for x, y in starts for dx, dy in steps)
    return list(dict.fromkeys(shifts))
