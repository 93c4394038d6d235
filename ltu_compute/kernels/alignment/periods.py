"""Choose among alignments that differ by a symmetry of a pattern.

A perforated plate looks the same when it is moved by a period of its holes, or turned by 180°. The
places that interrupt the pattern, such as screws, rims and print, show which of these alignments is
right. They are found in both images, and correlated over all shifts at once.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment.near import climbed_homography, mean_agreement
from ltu_compute.kernels.alignment.refinement import refined
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.homography import (
    inverse,
    is_plausible,
    overlap_mask,
    rescale_homography,
    size_of,
    warp_onto,
)
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Matrix, Size

_SIZE = 384  # px, longest side at which the pattern is measured
_SMALLEST = 64  # px; a shorter side shows too little
_SLOW = 16.0  # sigma, px: slower variation is light, not pattern
_REPEATS = 0.5  # least correlation of a pattern with itself, displaced by a period
_DISTINCT = 0.2  # by how much less it must be displaced by half a period: a line is no pattern
_PERIOD_PX = (5, 96)  # px, shortest and longest period
_COLLINEAR = 0.3  # sine of the angle between two periods; below, they are one direction
_EQUAL = 0.06  # greatest relative difference of the periods of a square or hexagonal pattern
_SQUARE = 0.06  # cosine of the angle between the periods of a square pattern: the most
_SOFT = 1.0  # sigma, px, before the pattern is compared with itself
_ALIKE_PX = 2  # px by which a pattern may deviate from exact repetition
_NOISE = 6.0  # levels; less does not interrupt the pattern
_CLEAR = 24.0  # levels beyond; more counts no more, or one strong defect would outweigh all screws
_FARTHEST = 0.6  # of the shorter side: greatest shift
_PEAKS_UNTURNED = 12  # shifts that are compared without a turn
_PEAKS_TURNED = 5  # and with each turn
_CANDIDATES = 3  # alignments that are improved, the best of these
_BETTER = 0.004  # mean correlation of blocks: least gain of another alignment
_LOST = 0.1  # of correlation: price of an alignment under which the images share nothing
_LEAST_SHARED = 0.4  # of image 2: least part that image 1 shows

_Floats = NDArray[np.float32]
_Vector = NDArray[np.float64]


def among_periods(found: Alignment, gray1: Gray, gray2: Gray, target: Target) -> Alignment:
    """Return the best of all alignments that differ from one by a symmetry of a pattern.

    Parameters
    ----------
    found : Alignment
        In px of the arrays given. The pattern of both images is aligned under it.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images.
    target : Target
        Image 2 prepared for tracking.

    Returns
    -------
    Alignment
        `found`, if image 1 has no pattern that repeats in two directions, or no other alignment is
        clearly better. Another one has ``"near"`` as its method and no inliers.
    """
    sizes = size_of(gray1), size_of(gray2)
    small1, small2 = reduced(gray1, _SIZE), reduced(gray2, _SIZE)
    smalls = size_of(small1), size_of(small2)
    if min(*smalls[0], *smalls[1]) < _SMALLEST:
        return found
    periods = periods_of(small1)
    if len(periods) < 2:  # stripes have no place along them
        return found
    start = rescale_homography(found.matrix, from_sizes=sizes, to_sizes=smalls)
    best, least = None, _score(start, small1, small2) + _BETTER
    for proposal in _proposals(small1, small2, start, periods):
        checkpoint()
        matrix = climbed_homography(proposal, small1, small2)
        if matrix is None or not is_plausible(matrix, *smalls):
            continue
        score = _score(matrix, small1, small2)
        if score > least:
            best, least = matrix, score
    if best is None:
        return found
    none = np.zeros((0, 2), np.float32)
    other = replace(
        found,
        matrix=rescale_homography(best, from_sizes=smalls, to_sizes=sizes),
        inliers=0,
        matches=0,
        method="near",
        inlier_points1=none,
        inlier_points2=none,
    )
    exact = refined(other, gray1, gray2, target=target)
    if exact is None or exact.residual_px > max(1.0, 2 * found.residual_px):
        return found
    return replace(exact, agreement=mean_agreement(exact.matrix, gray1, gray2))


def periods_of(gray: Gray) -> list[_Vector]:
    """Return the periods of a pattern that fills most of a picture: two, one, or none.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.

    Returns
    -------
    list of ndarray of float64, shape (2,)
        x and y, in px: the shortest displacement under which the picture looks like itself, and
        the shortest one in another direction.
    """
    pattern = _pattern(gray)
    height, width = pattern.shape
    reach = min(_PERIOD_PX[1], width // 3, height // 3)
    spectrum = _spectrum(pattern, reach)
    product = _correlation(spectrum, spectrum, pattern.shape, reach)
    lags = np.abs(np.arange(-reach, reach + 1))
    shared = np.outer(1 - lags / height, 1 - lags / width)
    energy = max(float(product[reach, reach]), 1.0)
    repeats = np.asarray(product / (energy * shared), np.float32)
    peaks = (repeats >= cv2.dilate(repeats, np.ones((3, 3), np.uint8))) & (repeats >= _REPEATS)
    places = np.argwhere(peaks)[:, ::-1] - reach
    lengths = np.hypot(*places.T)

    def is_distinct(place: _Vector) -> bool:
        if np.abs(np.rint(place)).max() > reach:  # longer than what is measured
            return False
        x, y = np.rint(place).astype(int) + reach
        half_x, half_y = np.rint(place / 2).astype(int) + reach
        return bool(repeats[y, x] - repeats[half_y, half_x] >= _DISTINCT)

    found: list[_Vector] = []
    for index in np.lexsort((*places.T, np.rint(lengths))):
        place = places[index].astype(np.float64)
        if lengths[index] < _PERIOD_PX[0] or not is_distinct(place):
            continue
        if found:
            # Slots repeat at any displacement along them, also together with a period.
            first = found[0]
            beside = place - np.rint(place @ first / (first @ first)) * first
            cross = abs(first[0] * place[1] - first[1] * place[0])
            if (
                cross < _COLLINEAR * np.linalg.norm(first) * np.linalg.norm(place)
                or np.linalg.norm(beside) < _PERIOD_PX[0]
                or not is_distinct(beside)
            ):
                continue
        found.append(place)
        if len(found) == 2:
            break
    return found


def _pattern(gray: Gray) -> _Floats:
    """Return a picture without noise and without slow variation, of mean 0."""
    levels = np.asarray(gray, np.float32)
    slow = cv2.GaussianBlur(levels, (0, 0), _SLOW)
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), _SOFT) - slow, np.float32)


def _spectrum(values: _Floats, reach: int) -> NDArray[np.complex64]:
    """Return a picture's spectrum, for shifts of up to `reach` px."""
    shape = [cv2.getOptimalDFTSize(extent + reach) for extent in values.shape]
    return np.asarray(np.fft.rfft2(values, shape), np.complex64)


def _correlation(
    first: NDArray[np.complex64], second: NDArray[np.complex64], shape: tuple[int, ...], reach: int
) -> _Floats:
    """Return the correlation of two spectra for all shifts of up to `reach` px; 0 in the middle."""
    full = [cv2.getOptimalDFTSize(extent + reach) for extent in shape]
    values = np.fft.irfft2(first * np.conj(second), full)
    shifts = np.arange(-reach, reach + 1)
    return np.asarray(values[np.ix_(shifts, shifts)], np.float32)


def _proposals(small1: Gray, small2: Gray, start: Matrix, periods: list[_Vector]) -> list[Matrix]:
    """Propose other alignments, the likeliest first."""
    frame = size_of(small1)
    seen = warp_onto(small2, inverse(start), frame)
    shown = overlap_mask(inverse(start), size_of(small2), frame)
    whole = np.full(small1.shape, 255, np.uint8)
    marks1 = _interruptions(small1, whole, periods)
    marks2 = _interruptions(seen, shown, periods)
    reach = round(_FARTHEST * min(frame))
    spectrum1 = _spectrum(marks1, reach)
    least = 0.5 * min(float(np.linalg.norm(period)) for period in periods)
    compared = []
    for turn in _turns(periods):
        checkpoint()
        turned = _turned(frame, turn)
        marks = cv2.warpPerspective(marks2, turned, frame, flags=cv2.WARP_INVERSE_MAP)
        spectrum2 = _spectrum(np.asarray(marks, np.float32), reach)
        scores = _correlation(spectrum2, spectrum1, small1.shape, reach)
        count = _PEAKS_TURNED if turn else _PEAKS_UNTURNED
        for shift in _highest(scores, reach, least, count=count):
            if turn == 0 and np.linalg.norm(shift) < least:
                continue  # the present one
            moved = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
            matrix = start @ turned @ moved
            if is_plausible(matrix, frame, size_of(small2)):
                compared.append((_score(matrix, small1, small2), matrix))
    compared.sort(key=lambda entry: -entry[0])
    return [matrix for score, matrix in compared[:_CANDIDATES] if score > 0]


def _interruptions(gray: Gray, shown: NDArray[np.uint8], periods: list[_Vector]) -> _Floats:
    """Return by how much each place differs from all places a period away, in levels.

    It is at most `_CLEAR`.
    """
    pattern = _pattern(gray)
    height, width = pattern.shape
    kernel = np.ones((2 * _ALIKE_PX + 1,) * 2, np.uint8)
    low, high = cv2.erode(pattern, kernel), cv2.dilate(pattern, kernel)
    differs = np.full(pattern.shape, np.inf, np.float32)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    for period in periods:
        for sign in (-1, 1):
            x, y = np.rint(sign * period).astype(int)
            places = (np.clip(rows + y, 0, height - 1), np.clip(columns + x, 0, width - 1))
            inside = (rows + y == places[0]) & (columns + x == places[1]) & (shown[places] > 0)
            beyond = np.maximum(low[places] - pattern, pattern - high[places])
            differs = np.where(inside, np.minimum(differs, beyond), differs)
    usable = np.isfinite(differs) & (shown > 0)
    return np.where(usable, np.clip(differs - _NOISE, 0, _CLEAR), 0).astype(np.float32)


def _turns(periods: list[_Vector]) -> list[int]:
    """Return the turns, in degrees, that a pattern with these periods may have as symmetries."""
    turns = [0, 180]
    if len(periods) == 2:
        lengths = [float(np.linalg.norm(period)) for period in periods]
        cosine = abs(float(periods[0] @ periods[1])) / (lengths[0] * lengths[1])
        if max(lengths) <= (1 + _EQUAL) * min(lengths):
            if cosine <= _SQUARE:
                turns += [90, 270]
            elif abs(cosine - 0.5) <= _SQUARE:
                turns += [60, 120, 240, 300]
    return turns


def _turned(frame: Size, turn: int) -> Matrix:
    """Return the matrix of a turn about the middle of a frame."""
    middle = ((frame.width - 1) / 2, (frame.height - 1) / 2)
    return np.vstack([cv2.getRotationMatrix2D(middle, turn, 1.0), [0, 0, 1]])


def _highest(scores: _Floats, reach: int, apart: float, *, count: int) -> Iterator[_Vector]:
    """Yield the shifts in x and y of the highest scores, none within `apart` px of another."""
    values = scores.copy()
    for _ in range(count):
        _, score, _, (x, y) = cv2.minMaxLoc(values)
        if score <= 0:
            return
        yield np.array([x - reach, y - reach], np.float64)
        cv2.circle(values, (x, y), int(np.ceil(apart)), 0.0, cv2.FILLED)


def _score(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """Return how alike the aligned images are, less a price for what they do not share."""
    size1, size2 = size_of(gray1), size_of(gray2)
    shared = cv2.countNonZero(overlap_mask(matrix, size1, size2)) / gray2.size
    if shared < _LEAST_SHARED:
        return -1.0
    return float(mean_agreement(matrix, gray1, gray2) - _LOST * (1 - shared))
