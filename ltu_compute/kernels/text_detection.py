"""Words in a picture, where they stand and in which language.

Tesseract reads; what stands before it is classical image analysis, so that it is asked once, about
a page it can read: upright, dark on light, evenly lit and of the letter height it was trained on.
"""

import csv
import functools
import importlib.util
import io
import math
import os
import re
import shutil
import subprocess
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr, Gray, Mask

TIMEOUT_SECONDS = 20.0
"""How long Tesseract may read one page."""

_ANALYSIS_PIXELS = 4_000_000
"""Pictures with more pixels are reduced to as many before letters are looked for."""

_PAGE_PIXELS = 16_000_000
"""A page given to Tesseract has at most as many pixels."""

_LETTER_HEIGHT = 20.0
"""Median height of the letters on a page for Tesseract, in px, when they were of a bad height."""

_GOOD_HEIGHTS = (14.0, 34.0)
"""Median letter heights, in px, that are left alone."""

_BACKGROUND = 124
"""Width, in px, of the surroundings from which letters stand out."""

_POOR = 0.6
"""Mean confidence below which a page is tried the other way up."""

_LINED = 0.65
"""Share of letters that stand in line with others, below which a picture is not all text.

In photographs without text it is 0.07 to 0.54, on pages at least 0.79 (the tuning set's).
"""

_ROW = 5
"""Letters that make a row in a picture that is not all text."""

_TURNED = -1.5
"""Balance of tops and bottoms below which text is taken to stand on its head, in deviations."""

_MAX_LETTERS = 1000
"""Letters that are enough to tell how the lines run."""


class TesseractMissing(RuntimeError):
    """The program `tesseract` is not installed, or has no language to read."""


class TesseractFailed(RuntimeError):
    """Tesseract took too long or gave up."""


class LanguageMissing(ValueError):
    """A language was asked for that Tesseract has no data of.

    Attributes
    ----------
    language : str
        What was asked for.
    installed : tuple of str
        The languages there are, as `installed_languages` names them.
    """

    def __init__(self, language: str, installed: tuple[str, ...]) -> None:
        super().__init__(f"language {language!r} is not installed; there are {list(installed)}")
        self.language = language
        self.installed = installed


@dataclass(frozen=True, eq=False)
class Word:
    """A word in a picture.

    Attributes
    ----------
    text : str
        What is written, without white space.
    corners : ndarray of float64, shape (4, 2)
        The centres of the outermost pixels, x and y in px of the picture, clockwise from the
        word's own top left: the first two are above it, as a reader sees it.
    confidence : float
        How sure Tesseract is, 0 to 1.
    line : int
        Number of the line that it stands in, from 0.
    language : str
        That of the whole text.
    """

    text: str
    corners: NDArray[np.float64]
    confidence: float
    line: int
    language: str


@dataclass(frozen=True, eq=False)
class TextDetection:
    """All that is written in a picture.

    Attributes
    ----------
    words : tuple of Word
        In reading order.
    text : str
        The lines, joined with line feeds; the words of a line with blanks.
    language : str
        Of most of the text: ISO 639-1 where there is such a code, else Tesseract's name; empty
        without text, and where nothing tells, as of a number.
    rotation : float
        Degrees by which the text is turned clockwise, above -180 and up to 180; 0 without text.
    """

    words: tuple[Word, ...]
    text: str
    language: str
    rotation: float


def detect_text(image: Bgr, *, languages: Sequence[str] = ()) -> TextDetection:
    """Read what is written in a picture.

    Text may be turned by any angle, all of it by the same; darker or lighter than what it stands
    on; small, pale, unevenly lit. Letters are found as connected areas that stand out from their
    surroundings [1]_; their neighbours tell how lines run [2]_, the profile across the lines tells
    the angle exactly [3]_, and tops that are less even than bottoms tell which side is up, as there
    are more ascenders than descenders. Tesseract [4]_ reads the page so prepared, and once more
    turned around or in another language where the first answer is poor or of that language.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        BGR.
    languages : sequence of str, default ()
        What the text may be written in: ISO 639-1, 639-2 or 639-3 codes, or Tesseract's names. None
        means any that is installed.

    Returns
    -------
    TextDetection

    Raises
    ------
    TesseractMissing
        When Tesseract is not installed.
    LanguageMissing
        When one of the languages is not installed.
    TesseractFailed
        When Tesseract takes longer than `TIMEOUT_SECONDS` or gives up.

    References
    ----------
    .. [1] N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Trans. SMC 9(1),
       1979.
    .. [2] L. O'Gorman, "The Document Spectrum for Page Layout Analysis", IEEE TPAMI 15(11), 1993.
    .. [3] W. Postl, "Detection of Linear Oblique Structures and Skew Scan in Digitized Documents",
       ICPR 1986.
    .. [4] R. Smith, "An Overview of the Tesseract OCR Engine", ICDAR 2007.
    """
    names = _names_of(languages)
    if image.size == 0 or min(image.shape[:2]) < 4:
        return _NOTHING
    gray = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), np.uint8)
    writing = _find_writing(gray)
    if writing is None:
        return _NOTHING
    return _detection(_read_best(gray, writing, names, told=bool(languages)), names)


def installed_languages() -> tuple[str, ...]:
    """Return the languages that can be read.

    Returns
    -------
    tuple of str
        ISO 639-1 where there is such a code, else Tesseract's name; sorted, each once.

    Raises
    ------
    TesseractMissing
        When Tesseract is not installed.
    """
    return tuple(sorted({_code(name) for name in _installation().names}))


# ------------------------------------------------------------------------------------ letters


@dataclass(frozen=True, eq=False)
class _Ink:
    """What stands out from its surroundings: letters, and what else does.

    Attributes
    ----------
    depth : ndarray of uint8, shape (H, W)
        How much each pixel stands out as ink, in grey levels.
    strength : float
        Depth of ink, in grey levels.
    boxes : ndarray of int32, shape (N, 5)
        x, y, width, height and area of what is of a letter's size.
    letters : ndarray of uint8, shape (H, W)
        255 where these are.
    area : int
        Number of pixels that stand out, letters' and others'; at least 1.
    """

    depth: Gray
    strength: float
    boxes: NDArray[np.int32]
    letters: Mask
    area: int


@dataclass(frozen=True, eq=False)
class _Writing:
    """How a picture's text stands.

    Attributes
    ----------
    ink : _Ink
        In a picture that is `scale` times as large.
    keep : ndarray of uint8, shape (H, W)
        255 where text may be.
    cluttered : bool
        Whether the picture shows much else.
    scale : float
        1 or less, or 2.
    angle : float
        Degrees clockwise by which lines are turned.
    certain : bool
        Whether the letters' shapes tell which side is up.
    height : float
        Median height of the letters, in px of the reduced picture.
    share : float
        How much of all that stands out they are, by area.
    """

    ink: _Ink
    keep: Mask
    cluttered: bool
    scale: float
    angle: float
    certain: bool
    height: float
    share: float


def _find_writing(gray: Gray) -> _Writing | None:
    """Find letters and how their lines run; none where nothing has the size of letters."""
    scale = min(1.0, math.sqrt(_ANALYSIS_PIXELS / gray.size))
    if scale < 1:
        gray = _resized(gray, scale)
    ink = _find_ink(gray, _BACKGROUND)
    if (
        len(ink.boxes) > 0
        and np.median(ink.boxes[:, 2:4].max(axis=1)) < 8
        and 4 * gray.size <= _ANALYSIS_PIXELS
    ):
        # So small letters touch, or fall apart, less when there are pixels between theirs.
        scale = 2.0
        gray = _resized(gray, scale)
        ink = _find_ink(gray, _BACKGROUND)
    writing = _writing_in(ink, scale)
    if writing is None or writing.cluttered or writing.share > 0.9:
        return writing
    # Shadows and the edges of a sheet stand out, too; less so from what is close by.
    window = max(40, round(3 * writing.height))
    if window >= 0.8 * _BACKGROUND:
        return writing
    closer = _writing_in(_find_ink(gray, window), scale)
    return closer if closer is not None and closer.share > writing.share else writing


def _writing_in(ink: _Ink, scale: float) -> _Writing | None:
    if len(ink.boxes) == 0:
        return None
    angle = _refined_angle(ink, *_direction(ink.boxes))
    lines = _lines_at(ink, angle)
    if lines is None:
        return None
    few = len(lines.boxes) <= 8
    cluttered = not few and bool((lines.lengths > 1).mean() < _LINED)
    if cluttered:
        # Much of this is no text. What of it stands in rows may be, more likely in level ones.
        level = _lines_at(ink, 0.0)
        if level is not None and (level.lengths >= _ROW).sum() >= (lines.lengths >= _ROW).sum():
            lines, angle = level, 0.0
        letters = lines.boxes[lines.lengths >= _ROW]
        about = letters
    elif few:
        letters, about = lines.boxes, lines.all_boxes
    else:
        # What is large and stands alone is rather a shadow or a piece of a frame.
        letters = lines.boxes[(lines.lengths > 1) | ~_is_large(lines.boxes, lines.height)]
        stray = lines.boxes[(lines.lengths == 1) & _is_large(lines.boxes, lines.height)]
        about = lines.all_boxes[~np.isin(lines.all_boxes[:, :2], stray[:, :2]).all(axis=1)]
    if len(letters) == 0:
        return None
    lines = _lines(letters, about)
    keep = _surroundings(about, ink.depth.shape, angle)
    kept = _masked(ink, keep)
    if len(kept.boxes) == 0:
        return None
    if lines.balance < _TURNED:
        angle += 180
    return _Writing(
        kept,
        keep,
        cluttered,
        scale,
        _principal(angle),
        abs(lines.balance) >= 3,
        lines.height,
        float(about[:, 4].sum()) / ink.area,
    )


def _is_large(boxes: NDArray[np.int32], height: float) -> NDArray[np.bool_]:
    """Tell what is too tall for a letter of lines this high, or a bar."""
    widths, heights = boxes[:, 2], boxes[:, 3]
    bars = (np.minimum(widths, heights) < 0.4 * height) & (widths > 3 * height)
    return np.asarray((heights > 2.5 * height) | bars)


def _find_ink(gray: Gray, window: int) -> _Ink:
    sigma = _noise(gray)
    smooth = _without_noise(gray, sigma)
    deviation = smooth.astype(np.int16) - _background(smooth, window)
    found = [_ink_of(np.asarray(sign * deviation), sigma) for sign in (-1, 1)]
    weights = [_weight(ink) for ink in found]
    major = int(weights[1] > weights[0])
    ink, other = found[major], found[1 - major]
    if len(other.boxes) >= 8 and weights[1 - major] > 0.03 * weights[major]:
        # A block of the other polarity: its letters, with their soft edges, count as ink too.
        seen = cv2.dilate(other.letters, np.ones((3, 3), np.uint8)) > 0
        depth = np.where(seen, np.maximum(ink.depth, other.depth), ink.depth)
        ink = _Ink(
            depth,
            ink.strength,
            np.concatenate((ink.boxes, other.boxes)),
            np.maximum(ink.letters, other.letters),
            ink.area + other.area,
        )
    return ink


def _noise(gray: Gray) -> float:
    """Estimate the standard deviation of the noise, in grey levels (Immerkær, CVIU 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(gray, cv2.CV_32F, kernel))
    # The median, unlike Immerkær's mean, does not see the strokes; the kernel's norm is 6.
    return float(np.median(response)) / 0.6745 / 6


def _without_noise(gray: Gray, sigma: float) -> Gray:
    if sigma < 4:
        return gray
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.0 if sigma < 25 else 1.4), np.uint8)


def _background(gray: Gray, window: int) -> Gray:
    """Return what lies behind the strokes: a median over much more than they are wide."""
    height, width = gray.shape
    size = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    behind = cv2.medianBlur(small, window // 4 | 1)
    return np.asarray(cv2.resize(behind, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _ink_of(deviation: NDArray[np.int16], sigma: float) -> _Ink:
    depth = deviation.clip(0, 255).astype(np.uint8)
    floor = max(3, round(1.2 * sigma))
    standing_out = depth[depth > floor]
    if standing_out.size == 0:
        return _Ink(depth, 1.0, np.zeros((0, 5), np.int32), np.zeros_like(depth), 1)
    threshold, _ = cv2.threshold(
        standing_out.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    mask = (depth > max(0.9 * threshold, floor + 1)).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    statistics = np.asarray(statistics, np.int32)
    keep = _is_letter_sized(statistics, depth.shape)
    frames = _are_frames(statistics, depth.shape)
    keep[0] = frames[0] = False
    if frames.any():
        drawn = cv2.dilate((frames[labels] * np.uint8(255)).astype(np.uint8), np.ones((5, 5)))
        depth = cv2.bitwise_and(depth, cv2.bitwise_not(drawn))
    letters = (keep[labels] * np.uint8(255)).astype(np.uint8)
    # Of blurred letters it is the middle of the strokes that should become black.
    strength = float(np.percentile(depth[letters > 0], 90)) if keep.any() else 1.0
    area = max(1, int(statistics[1:, 4].sum()))
    return _Ink(np.asarray(depth, np.uint8), max(1.0, strength), statistics[keep], letters, area)


def _are_frames(statistics: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which connected areas are frames, rules or the edges of a sheet."""
    widths, heights, areas = statistics[:, 2], statistics[:, 3], statistics[:, 4]
    return np.asarray(
        (np.maximum(widths, heights) > 0.25 * max(shape))
        & (
            (areas < 0.08 * widths * heights)
            | (np.maximum(widths, heights) > 40 * np.minimum(widths, heights))
        )
    )


def _is_letter_sized(statistics: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which connected areas could be letters, or words whose letters touch."""
    widths, heights, areas = statistics[:, 2], statistics[:, 3], statistics[:, 4]
    shorter, longer = np.minimum(widths, heights), np.maximum(widths, heights)
    return np.asarray(
        (longer >= 4)
        & (areas >= 6)
        & (longer <= 0.95 * max(shape))
        & (shorter <= 0.6 * min(shape))
        & (longer <= 40 * shorter)
        & (areas >= 0.08 * widths * heights)
    )


def _weight(ink: _Ink) -> float:
    """Say how much the letters of one polarity stand out, all together."""
    return float((ink.depth[ink.letters > 0].astype(np.float64) ** 2).sum())


# ---------------------------------------------------------------------------------- direction


def _direction(boxes: NDArray[np.int32]) -> tuple[float, float]:
    """Return how lines run, -90 up to 90 degrees clockwise, and by how much that may be wrong.

    Letters have their next neighbours along a line; letters that touch are longer along it.
    """
    if len(boxes) == 1:
        return 0.0, 0.0
    widths, heights, areas = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    wide, tall = areas[widths > 2 * heights].sum(), areas[heights > 2 * widths].sum()
    if wide + tall > 0.5 * areas.sum():
        return (0.0 if wide >= tall else 90.0), _WIDE
    # The fewer letters there are, the less exactly their neighbours tell.
    return _neighbour_angle(boxes), (_WIDE if len(boxes) <= 15 else 6.0)


_WIDE = 18.0
"""Skew, in degrees, that is looked for where letters tell little else than upright or not."""


def _neighbour_angle(boxes: NDArray[np.int32]) -> float:
    """Return the direction in which letters have their next neighbours, -90 up to 90 degrees."""
    if len(boxes) > _MAX_LETTERS:
        first = (len(boxes) - _MAX_LETTERS) // 2  # those of a band across the picture
        boxes = boxes[first : first + _MAX_LETTERS]
    centers = boxes[:, :2] + boxes[:, 2:4] / 2
    sizes = boxes[:, 2:4].max(axis=1).astype(np.float64)
    offsets = centers[None] - centers[:, None]
    distances = np.hypot(offsets[..., 0], offsets[..., 1])
    unlike = np.abs(np.log(sizes[None] / sizes[:, None])) > math.log(2.5)
    distances[unlike] = np.inf
    np.fill_diagonal(distances, np.inf)
    bins = np.zeros(180)
    rows = np.arange(len(boxes))
    for _ in range(min(2, len(boxes) - 1)):
        nearest = distances.argmin(axis=1)
        near = distances[rows, nearest] < 3 * sizes
        dx, dy = offsets[rows, nearest][near].T
        angles = np.degrees(np.arctan2(dy, dx)) % 180
        np.add.at(bins, angles.astype(int) % 180, 1.0)
        distances[rows, nearest] = np.inf
    around = np.exp(-0.5 * (np.minimum(np.arange(180), 180 - np.arange(180)) / 4.0) ** 2)
    smoothed = np.fft.irfft(np.fft.rfft(bins) * np.fft.rfft(around), 180)
    angle = float(smoothed.argmax()) + 0.5
    return angle - 180 if angle > 90 else angle


def _refined_angle(ink: _Ink, angle: float, doubt: float) -> float:
    """Return the angle near this one at which the profile across the lines is sharpest."""
    rows, columns = np.nonzero(ink.letters)
    step = max(1, len(rows) // 30_000)
    # In units that leave a letter some twenty rows, as fine as they should be told apart.
    unit = max(1.0, float(np.median(ink.boxes[:, 2:4].max(axis=1))) / 24)
    x, y = columns[::step] / unit, rows[::step] / unit
    for spread, spacing in ((doubt, 0.5), (0.4, 0.1)):
        angles = angle + np.arange(-spread, spread + spacing / 2, spacing)
        angle = float(max(angles, key=lambda degrees: _sharpness(x, y, degrees)))
    # A level page needs no turning, which would cost it some sharpness.
    level = 90.0 * round(angle / 90)
    if abs(angle - level) <= 0.5 and _sharpness(x, y, level) > 0.95 * _sharpness(x, y, angle):
        return level
    return angle


def _sharpness(x: NDArray[np.float64], y: NDArray[np.float64], degrees: float) -> float:
    radians = math.radians(degrees)
    rows = y * math.cos(radians) - x * math.sin(radians)
    # Smoothed, for turned pixels fall unevenly into rows, at 45 degrees most of all.
    profile = np.convolve(np.bincount((rows - rows.min()).astype(np.int64)), (0.25, 0.5, 0.25))
    return float((np.diff(profile, prepend=0, append=0).astype(np.float64) ** 2).sum())


def _turned_mask(mask: Mask, angle: float) -> Mask:
    """Turn a mask so that lines at this angle become level."""
    matrix, size = _levelling(mask.shape, angle, 1.0)
    level = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray((level > 127).astype(np.uint8))


def _successors(boxes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for letters of level lines which one follows which: indices of both, shape (M,)."""
    order = np.argsort(boxes[:, 1], kind="stable")
    left, top, width, height = boxes[order, :4].T.astype(np.float64)
    right, bottom = left + width, top + height
    reach = height.max()
    firsts, seconds = [], []
    # Only letters of about the same level are compared: all with all would be too many.
    for start in range(0, len(order), 256):
        rows = slice(start, min(start + 256, len(order)))
        low, high = np.searchsorted(top, (top[rows][0] - reach, bottom[rows].max()))
        band = slice(low, high)
        taller = np.maximum(height[rows, None], height[band])
        smaller = np.minimum(height[rows, None], height[band])
        shared = np.minimum(bottom[rows, None], bottom[band])
        shared -= np.maximum(top[rows, None], top[band])
        gap = left[band] - right[rows, None]
        follows = (left[band] > left[rows, None]) & (gap < 1.2 * taller)
        follows &= (shared > 0.3 * smaller) & (taller < 2.5 * smaller)
        gap[~follows] = np.inf
        nearest = gap.argmin(axis=1)
        some = np.nonzero(follows.any(axis=1))[0]
        firsts.append(order[start + some])
        seconds.append(order[low + nearest[some]])
    return np.concatenate(firsts), np.concatenate(seconds)


@dataclass(frozen=True, eq=False)
class _Lines:
    """What letters, taken to stand in level lines, have to say about that.

    Attributes
    ----------
    boxes : ndarray of int32, shape (N, 5)
        x, y, width, height and area of the letters.
    all_boxes : ndarray of int32, shape (M, 5)
        The same of letters and of what is small beside them: dots, commas, accents.
    lengths : ndarray of int64, shape (N,)
        In a row of how many each stands, of which each shares its top or its bottom with the next.
    balance : float
        By how many standard deviations more neighbours differ at the top than at the bottom. In
        Latin script ascenders, capitals and digits make tops uneven, descenders make bottoms
        uneven, and they are rarer: negative when upside down.
    height : float
        Median height of the letters, in px.
    """

    boxes: NDArray[np.int32]
    all_boxes: NDArray[np.int32]
    lengths: NDArray[np.int64]
    balance: float
    height: float


def _lines(boxes: NDArray[np.int32], all_boxes: NDArray[np.int32]) -> _Lines:
    height = float(np.median(boxes[:, 3]))
    first, second = _successors(boxes)
    tops, heights = boxes[:, 1], boxes[:, 3]
    bottoms = tops + heights
    slack = 0.75 + 0.12 * np.maximum(heights[first], heights[second])
    top_uneven = np.abs(tops[first] - tops[second]) > slack
    bottom_uneven = np.abs(bottoms[first] - bottoms[second]) > slack
    even = ~(top_uneven & bottom_uneven)
    first, second = first[even], second[even]
    rows = _joined(len(boxes), first, second)
    lengths = np.bincount(rows, minlength=len(boxes))[rows]
    top, bottom = int(top_uneven.sum()), int(bottom_uneven.sum())
    balance = (top - bottom) / math.sqrt(max(1, top + bottom))
    return _Lines(boxes, all_boxes, lengths, balance, height)


def _joined(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each of `count` things the number of the set into which pairs join it."""
    numbers = np.arange(count)
    while True:
        least = np.minimum(numbers[first], numbers[second])
        joined = numbers.copy()
        np.minimum.at(joined, first, least)
        np.minimum.at(joined, second, least)
        joined = joined[joined]
        if np.array_equal(joined, numbers):
            return numbers
        numbers = joined


def _lines_at(ink: _Ink, angle: float) -> _Lines | None:
    """Look at the letters with lines at an angle made level; none when none are left."""
    upright = _turned_mask(ink.letters, angle)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(upright, connectivity=8)
    found = np.asarray(statistics[1:], np.int32)
    found = found[_is_letter_sized(found, upright.shape)]
    if len(found) == 0:
        return None
    # Dots, commas and hyphens are no measure of letters.
    return _lines(found[found[:, 3] >= 0.4 * np.percentile(found[:, 3], 75)], found)


def _surroundings(boxes: NDArray[np.int32], shape: tuple[int, ...], angle: float) -> Mask:
    """Return where letters are, and dots and marks about them; boxes are level at an angle."""
    matrix, (width, height) = _levelling(shape, angle, 1.0)
    level = np.zeros((height, width), np.uint8)
    about = boxes[:, 3] // 2 + round(0.25 * float(np.median(boxes[:, 3])))
    starts = (boxes[:, :2] - about[:, None]).clip(0)
    ends = boxes[:, :2] + boxes[:, 2:4] + about[:, None]
    for (left, top), (right, bottom) in zip(starts.tolist(), ends.tolist(), strict=True):
        level[top:bottom, left:right] = 255
    if angle == 0:
        return level
    turned = cv2.warpAffine(
        level, matrix, shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(turned, np.uint8)


def _masked(ink: _Ink, keep: Mask) -> _Ink:
    """Return the ink in a part of a picture."""
    x, y = (ink.boxes[:, :2] + ink.boxes[:, 2:4] // 2).T
    return _Ink(
        cv2.bitwise_and(ink.depth, keep),
        ink.strength,
        ink.boxes[keep[y, x] > 0],
        cv2.bitwise_and(ink.letters, keep),
        ink.area,
    )


def _principal(degrees: float) -> float:
    """Return the same direction as an angle above -180 and up to 180."""
    return 180.0 - (180.0 - degrees) % 360.0


def _resized(gray: Gray, scale: float) -> Gray:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(gray, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8
    )


def _levelling(
    shape: tuple[int, ...], angle: float, scale: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the affine map that levels lines at an angle, and the size of all that it shows."""
    height, width = shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide = max(1, math.ceil(width * cosine + height * sine - 1e-6))
    high = max(1, math.ceil(width * sine + height * cosine - 1e-6))
    matrix[:, 2] += (wide - width) / 2, (high - height) / 2
    return np.asarray(matrix, np.float64), (wide, high)


# ------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class _Token:
    """A word on a page: its text, its box in px of the page, confidence, and where it stands."""

    text: str
    left: int
    top: int
    width: int
    height: int
    confidence: float
    place: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Page:
    """What Tesseract is given.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W)
        Level dark lines on white.
    matrix : ndarray of float64, shape (2, 3)
        Maps px of the page to px of the picture.
    angle : float
        Degrees clockwise by which lines were turned.
    """

    image: Gray
    matrix: NDArray[np.float64]
    angle: float


@dataclass(frozen=True, eq=False)
class _Reading:
    """What Tesseract found on a page, in which of its languages and layouts."""

    page: _Page
    tokens: tuple[_Token, ...]
    name: str
    layout: int

    @property
    def confidence(self) -> float:
        """Mean over the letters; 0 without any."""
        letters = sum(len(token.text) for token in self.tokens)
        return sum(len(token.text) * token.confidence for token in self.tokens) / max(1, letters)

    @property
    def worth(self) -> float:
        """Number of letters, those more that are surer; what is mere guessing counts nothing."""
        return sum(len(token.text) * max(0.0, token.confidence - 0.3) for token in self.tokens)

    @property
    def unread(self) -> float:
        """Share of the page's ink that is in no word."""
        ink = cv2.compare(self.page.image, 128, cv2.CMP_LT)
        total = cv2.countNonZero(ink)
        for token in self.tokens:
            right, bottom = token.left + token.width, token.top + token.height
            ink[token.top : bottom, token.left : right] = 0
        return float(cv2.countNonZero(ink) / max(1, total))

    @property
    def lines(self) -> dict[tuple[int, int, int], list[str]]:
        """Words of each line."""
        lines: dict[tuple[int, int, int], list[str]] = {}
        for token in self.tokens:
            lines.setdefault(token.place, []).append(token.text)
        return lines

    @property
    def text(self) -> str:
        """Lines of words."""
        return "\n".join(" ".join(words) for words in self.lines.values())


def _read_best(gray: Gray, writing: _Writing, names: tuple[str, ...], *, told: bool) -> _Reading:
    """Read a page, once more where the first answer is poor or in another language."""
    view = _View(writing.ink, writing.scale, (0, 0))
    wanted = _page_scale(writing)
    if wanted > writing.scale and writing.scale < 1:
        view = _close_view(gray, writing)
    page = _page(view, writing.angle, wanted)
    if not told:
        names = _of_script(names, page.image)
    first = "+".join(names) if told else _first_choice(names)
    if writing.cluttered:
        best = _read(page, first, _SPARSE)
    else:
        best = _read(page, first, _AUTOMATIC)
        turns = [180.0] if writing.certain else [180.0, 90.0]
        while turns and best.tokens and best.confidence < _POOR:
            page = _page(view, writing.angle + turns.pop(0), wanted)
            best = max(best, _read(page, first, _AUTOMATIC), key=lambda reading: reading.worth)
        if best.unread > _UNREAD:
            block = _read(best.page, first, _BLOCK)
            best = max(best, block, key=lambda reading: reading.worth)
    in_doubt = writing.cluttered and best.confidence < _SURE
    language = None if told or in_doubt else _language_of(best.text, names)
    if language is None or language == first:
        return best
    if language in _READ_BY.get(first, ()) and best.confidence >= _SURE:
        return best
    other = _read(best.page, language, best.layout)
    return other if other.worth > 0.9 * best.worth else best


def _read(page: _Page, name: str, layout: int) -> _Reading:
    tokens = _recognise(page.image, name, layout)
    return _Reading(
        page, tuple(token for token in tokens if _is_likely(token, layout)), name, layout
    )


def _is_likely(token: _Token, layout: int) -> bool:
    """Tell words from what Tesseract makes of leaves, shadows and frames."""
    letters = sum(letter.isalnum() for letter in token.text)
    if layout == _SPARSE:
        return letters > 0 and token.confidence >= (0.8 if letters == 1 else 0.6)
    return letters > 0 or token.confidence >= 0.5


@dataclass(frozen=True, eq=False)
class _View:
    """A part of a picture as ink: `scale` times as large, its corner `origin` px into it."""

    ink: _Ink
    scale: float
    origin: tuple[int, int]


def _close_view(gray: Gray, writing: _Writing) -> _View:
    """Return that part of a large picture which holds its letters, unreduced."""
    boxes = writing.ink.boxes / writing.scale
    margin = 2 * _BACKGROUND
    left, top = (boxes[:, :2].min(axis=0) - margin).clip(0).astype(int).tolist()
    right, bottom = ((boxes[:, :2] + boxes[:, 2:4]).max(axis=0) + margin).astype(int).tolist()
    window = round(_BACKGROUND / writing.scale)
    ink = _find_ink(gray[top:bottom, left:right], window)
    keep = cv2.resize(writing.keep, gray.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ink = _masked(ink, keep[top:bottom, left:right])
    if len(ink.boxes) == 0:
        return _View(writing.ink, writing.scale, (0, 0))
    return _View(ink, 1.0, (left, top))


def _page_scale(writing: _Writing) -> float:
    """Return how many times as large as the picture a page should be."""
    height = writing.height / writing.scale
    low, high = _GOOD_HEIGHTS
    return 1.0 if low <= height <= high else min(4.0, _LETTER_HEIGHT / height)


def _page(view: _View, angle: float, wanted: float) -> _Page:
    """Draw ink as Tesseract likes it: level, dark on white, with some white around the letters.

    `wanted` is the page's scale against the picture.
    """
    ink = view.ink
    gain = np.arange(256) * min(255.0 / ink.strength, 16.0)
    depth = cv2.LUT(ink.depth, gain.clip(0, 255).round().astype(np.uint8))
    left, top = ink.boxes[:, :2].min(axis=0)
    right, bottom = (ink.boxes[:, :2] + ink.boxes[:, 2:4]).max(axis=0)
    scale = wanted / view.scale
    turn, _ = _levelling(depth.shape, angle, scale)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    corners = corners @ turn[:, :2].T
    extent = np.ptp(corners, axis=0) + 2 * _RIM
    reduction = min(1.0, math.sqrt(_PAGE_PIXELS / extent.prod()))
    matrix = turn * reduction
    matrix[:, 2] = _RIM - reduction * corners.min(axis=0)
    size = [max(1, math.ceil(length * reduction)) for length in extent]
    if scale * reduction < 0.7:
        # Averaged first: a cubic kernel would skip pixels.
        sigma = 0.4 / (scale * reduction)
        depth = cv2.GaussianBlur(depth, (0, 0), sigma)
    level = cv2.warpAffine(depth, matrix, size, flags=cv2.INTER_CUBIC, borderValue=0)
    inverse = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    # From reduced to original pixels, whose centres are at whole numbers in both.
    inverse[:, 2] += 0.5
    inverse /= view.scale
    inverse[:, 2] += np.array(view.origin) - 0.5
    return _Page(np.asarray(255 - level, np.uint8), inverse, _principal(angle))


_RIM = 30
"""White around the letters of a page, in px: Tesseract reads badly what touches the edge."""

_UNREAD = 0.12
"""Share of unread ink from which a page is read as one block: the layout was not understood."""

_SURE = 0.85
"""Mean confidence from which a reading by a similar language will do."""


def _recognise(page: Gray, name: str, layout: int) -> tuple[_Token, ...]:
    engine = _recognise_inside if _has_tesserocr() else _recognise_outside
    return _tokens(engine(page, name, layout))


def _recognise_outside(page: Gray, name: str, layout: int) -> str:
    """Read a page with the program; returns its TSV."""
    done = _run(page, name, layout, "-c", "tessedit_create_tsv=1")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise TesseractFailed(reason[-1] if reason else f"Tesseract ended with {done.returncode}")
    return done.stdout.decode()


def _run(page: Gray, name: str, layout: int, *options: str) -> subprocess.CompletedProcess[bytes]:
    height, width = page.shape
    command = (
        _installation().program,
        *("-", "-", "-l", name, "--psm", str(layout), "--dpi", _DPI, *options),
    )
    try:
        return subprocess.run(  # noqa: S603
            command,
            input=b"P5 %d %d 255\n" % (width, height) + page.tobytes(),
            capture_output=True,
            # One thread: OpenMP's threads wait for each other longer than they work.
            env=os.environ | {"OMP_THREAD_LIMIT": "1"},
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TesseractFailed(f"Tesseract took longer than {TIMEOUT_SECONDS:g} s") from error


_AUTOMATIC, _BLOCK, _SPARSE = 3, 6, 11
"""Page segmentation modes: columns and blocks of lines, a block of lines, words wherever."""

_DPI = "300"
"""Where letters are of the height they are brought to, as in a scanned document."""


def _recognise_inside(page: Gray, name: str, layout: int) -> str:
    """Read a page within the process; returns TSV without its head."""
    height, width = page.shape
    engine = _engine(name)
    engine.SetPageSegMode(layout)
    engine.SetImageBytes(page.tobytes(), width, height, 1, width)
    engine.SetSourceResolution(int(_DPI))
    try:
        if not engine.Recognize(round(1000 * TIMEOUT_SECONDS)):
            raise TesseractFailed(f"Tesseract took longer than {TIMEOUT_SECONDS:g} s or gave up")
        return str(engine.GetTSVText(0))
    finally:
        engine.Clear()


@functools.cache
def _has_tesserocr() -> bool:
    return importlib.util.find_spec("tesserocr") is not None


_engines = threading.local()
"""Engines of a thread that stay loaded, by language: an engine reads one page at a time."""


def _engine(name: str) -> Any:
    from tesserocr import PyTessBaseAPI  # noqa: PLC0415  (an extra)

    loaded: dict[str, Any] = _engines.__dict__
    if name not in loaded:
        if len(loaded) >= 4:
            loaded.pop(next(iter(loaded))).End()
        loaded[name] = PyTessBaseAPI(path=_installation().folder, lang=name)
    return loaded[name]


def _tokens(tsv: str) -> tuple[_Token, ...]:
    """Read words from TSV: level, page, block, paragraph, line, word, box, confidence, text."""
    tokens = []
    for row in csv.reader(io.StringIO(tsv), delimiter="\t", quoting=csv.QUOTE_NONE):
        if len(row) != 12 or row[0] != "5":
            continue
        text = "".join(row[11].split())
        if text:
            block, paragraph, line, _, left, top, width, height = map(int, row[2:10])
            confidence = min(1.0, max(0.0, float(row[10]) / 100))
            place = (block, paragraph, line)
            tokens.append(_Token(text, left, top, width, height, confidence, place))
    return tuple(tokens)


def _detection(reading: _Reading, names: tuple[str, ...]) -> TextDetection:
    if not reading.tokens:
        return _NOTHING
    lines = {place: number for number, place in enumerate(reading.lines)}
    certain = len(names) == 1 or reading.name in _SCRIPTS
    language = _language_of(reading.text, names) or (reading.name if certain else "")
    language = _code(language)
    words = []
    for token in reading.tokens:
        right, bottom = token.left + token.width - 1, token.top + token.height - 1
        corners = np.array(
            [
                (token.left, token.top, 1),
                (right, token.top, 1),
                (right, bottom, 1),
                (token.left, bottom, 1),
            ],
            np.float64,
        )
        words.append(
            Word(
                token.text,
                corners @ reading.page.matrix.T,
                token.confidence,
                lines[token.place],
                language,
            )
        )
    return TextDetection(tuple(words), reading.text, language, reading.page.angle)


_NOTHING = TextDetection((), "", "", 0.0)


# ---------------------------------------------------------------------------------- languages


@dataclass(frozen=True)
class _Installation:
    """The program, the folder of its data, and Tesseract's names of the data there.

    Attributes
    ----------
    names : tuple of str
        Of languages, sorted.
    others : frozenset of str
        Of what is no language: "osd" detects scripts.
    """

    program: str
    folder: str
    names: tuple[str, ...]
    others: frozenset[str]


def _installation() -> _Installation:
    program = shutil.which("tesseract")
    if program is None:
        raise TesseractMissing("the program tesseract is not installed")
    return _listed(program, os.environ.get("TESSDATA_PREFIX"))


@functools.cache
def _listed(program: str, _prefix: str | None) -> _Installation:
    try:
        done = subprocess.run(  # noqa: S603
            (program, "--list-langs"), capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TesseractFailed(f"Tesseract took longer than {TIMEOUT_SECONDS:g} s") from error
    head, *names = done.stdout.decode(errors="replace").splitlines() or [""]
    folder = re.search('"(.+)"', head)
    others = frozenset(name for name in names if name in _NO_LANGUAGES or "/" in name)
    known = tuple(sorted(set(names) - others))
    if folder is None or not known:
        raise TesseractMissing("tesseract has no language to read")
    return _Installation(program, folder[1], known, others)


_NO_LANGUAGES = {"osd", "equ", "snum"}


def _pairs(written: str) -> dict[str, str]:
    """Read "one:another" pairs, parted by white space."""
    return dict(pair.split(":") for pair in written.split())


_TWO_LETTERS = _pairs(
    "afr:af amh:am ara:ar asm:as aze:az bel:be ben:bn bod:bo bos:bs bre:br bul:bg cat:ca ces:cs "
    "chi_sim:zh chi_tra:zh cos:co cym:cy dan:da deu:de div:dv dzo:dz ell:el eng:en epo:eo est:et "
    "eus:eu fao:fo fas:fa fin:fi fra:fr fry:fy gla:gd gle:ga glg:gl guj:gu hat:ht heb:he hin:hi "
    "hrv:hr hun:hu hye:hy iku:iu ind:id isl:is ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khm:km "
    "kir:ky kor:ko kur:ku lao:lo lat:la lav:lv lit:lt ltz:lb mal:ml mar:mr mkd:mk mlt:mt mon:mn "
    "mri:mi msa:ms mya:my nep:ne nld:nl nor:no oci:oc ori:or pan:pa pol:pl por:pt pus:ps que:qu "
    "ron:ro rus:ru san:sa sin:si slk:sk slv:sl snd:sd spa:es sqi:sq srp:sr sun:su swa:sw swe:sv "
    "tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tir:ti ton:to tur:tr uig:ug ukr:uk urd:ur uzb:uz "
    "vie:vi yid:yi yor:yo"
)
"""ISO 639-1 of Tesseract's names, which are ISO 639-3 or begin so."""

_BIBLIOGRAPHIC = _pairs(
    "alb:sqi arm:hye baq:eus bur:mya chi:zh cze:ces dut:nld fre:fra geo:kat ger:deu gre:ell "
    "ice:isl mac:mkd mao:mri may:msa per:fas rum:ron slo:slk tib:bod wel:cym zho:zh"
)
"""Codes of ISO 639-2 and -3 that Tesseract does not use, and what is meant."""

_SCRIPTS = _pairs(
    "amh:Ethiopic ara:Arabic asm:Bengali aze_cyrl:Cyrillic bel:Cyrillic ben:Bengali bod:Tibetan "
    "bul:Cyrillic chi_sim:Han chi_sim_vert:Han chi_tra:Han chi_tra_vert:Han dzo:Tibetan ell:Greek "
    "fas:Arabic grc:Greek guj:Gujarati heb:Hebrew hin:Devanagari hye:Armenian jpn:Japanese "
    "jpn_vert:Japanese kan:Kannada kat:Georgian kaz:Cyrillic khm:Khmer kir:Cyrillic kor:Hangul "
    "kor_vert:Hangul lao:Lao mal:Malayalam mar:Devanagari mkd:Cyrillic mon:Cyrillic mya:Myanmar "
    "nep:Devanagari ori:Oriya pan:Gurmukhi pus:Arabic rus:Cyrillic san:Devanagari sin:Sinhala "
    "snd:Arabic srp:Cyrillic tam:Tamil tat:Cyrillic tel:Telugu tgk:Cyrillic tha:Thai tir:Ethiopic "
    "uig:Arabic ukr:Cyrillic urd:Arabic uzb_cyrl:Cyrillic yid:Hebrew"
)
"""Scripts, as Tesseract's detection names them, of languages that are not written in Latin."""

_FREQUENT_WORDS = {
    "ces": "a i k je na se ve v z za do od pro by byl jako které nebo podle při lze jsou této své",
    "dan": "og i at er det den en af til på med som for de ikke der har fra et eller kan skal ved",
    "deu": (
        "der die das und in ist zu den von mit nicht auf für dem ein eine einen sich des im an als "
        "auch es bei wird sie er ich wir nach aus am zum zur oder bis vor um nur kann sind werden "
        "haltbar mindestens kühl trocken lagern inhalt gewicht stück uhr alle"
    ),
    "eng": (
        "the of and to in a is that for it on with as are be this at by from or not was you your "
        "have has an which all can will if but when there more before after store keep best net "
        "weight made use open dry place contents product"
    ),
    "fin": "ja on ei se että en oli mutta myös tai kun joka hän ovat jos vain niin kuin sen ole",
    "fra": (
        "le la les de des du et un une est à au aux en que qui ne pas pour dans sur par avec ce il "
        "elle sont se son sa ses ou plus mais cette nous vous d'un d'une l'eau c'est poids net "
        "conserver tenir frais avant consommer contient dont jusqu'à chaque après"
    ),
    "hun": "a az és hogy nem is egy ez van volt meg csak de ha már vagy mint még amely kell lehet",
    "ita": (
        "il lo la i gli le di e che un una è per non in con del della dei delle al alla da si sono "
        "nel nella più come anche o dal peso netto prima conservare prodotto"
    ),
    "nld": (
        "de het een en van in is dat op te met voor niet zijn aan er om ook als bij naar door maar "
        "uit of dit wordt worden deze inhoud bewaren houdbaar gewicht ten minste tot"
    ),
    "nor": "og i å er det en av til på med som for ikke de har fra et eller kan skal ved ikkje",
    "pol": "i w na z do się nie że to jest o od po jak za przez przed oraz lub dla są być które",
    "por": (
        "o a os as de e que um uma é do da dos das em no na nos nas para com não por mais se ao ou "
        "como foi são seu sua pelo pela peso líquido antes conservar"
    ),
    "ron": "și de la a în cu nu o pe un că este să din care pentru mai sau al ale sunt fi după",
    "spa": (
        "el la los las de y que en un una es del al se no por con para su lo como más o pero son "
        "sus le ha este esta desde hasta muy peso neto antes conservar consumir"
    ),
    "swe": "och i att är det en av till på med som för inte den de har från ett eller kan ska om",
    "tur": "ve bir bu için ile da de çok olarak en gibi daha kadar sonra olan değil her veya var",
}
"""What texts and labels are full of."""

_OWN_LETTERS = {
    "ces": "ěřůčžšýďťň",
    "dan": "æøå",
    "deu": "äöüß",
    "fin": "äö",
    "fra": "éèêàçùâîôûëïœ",
    "hun": "őűáéíóöúü",
    "ita": "èàòùì",
    "nor": "æøå",
    "pol": "ąćęłńśźżó",
    "por": "ãõçáéíóúâê",
    "ron": "ăâîșțşţ",
    "spa": "ñáéíóú¿¡",
    "swe": "åäö",
    "tur": "ğışçöü",
}
"""Letters beyond a to z that tell of a language."""

_FIRST = ("deu", "eng")
"""Who reads first: Tesseract's German reads English as surely as its English does, and umlauts."""

_READ_BY = {"deu": ("eng",)}
"""Languages that need no second reading after the one they stand under."""


def _code(name: str) -> str:
    """Return ISO 639-1 for Tesseract's name where there is one, else that name."""
    return _TWO_LETTERS.get(name) or _TWO_LETTERS.get(name.partition("_")[0], name)


def _names_of(languages: Sequence[str]) -> tuple[str, ...]:
    """Return Tesseract's names of these languages, or of all installed."""
    installed = _installation().names
    if not languages:
        return installed
    chosen: dict[str, None] = {}
    for language in languages:
        asked = language.strip().lower()
        asked = _BIBLIOGRAPHIC.get(asked, asked)
        names = [name for name in installed if asked in {name, _code(name)}]
        if not names:
            raise LanguageMissing(language, installed_languages())
        chosen.update(dict.fromkeys(names))
    return tuple(chosen)


def _of_script(names: tuple[str, ...], page: Gray) -> tuple[str, ...]:
    """Return the languages of a page's script; Latin ones, if any, where it is not clear."""
    scripts = {name: _SCRIPTS.get(name, _LATIN) for name in names}
    if len(set(scripts.values())) == 1:
        return names
    found = _detected_script(page)
    if found not in scripts.values():
        found = _LATIN if _LATIN in scripts.values() else scripts[names[0]]
    return tuple(name for name in names if scripts[name] == found)


_LATIN = "Latin"


def _detected_script(page: Gray) -> str | None:
    """Return the script that a page is written in; none where there are too few letters."""
    if "osd" not in _installation().others:
        return None
    done = _run(page, "osd", 0)
    found = re.search(rb"^Script: (\w+)", done.stdout, re.MULTILINE)
    return found[1].decode() if found else None


def _first_choice(names: tuple[str, ...]) -> str:
    """Return what to read with first, to tell the language from."""
    if names[0] in _SCRIPTS:
        return "+".join(names[:3])  # no words are known that would tell these apart
    return next((name for name in _FIRST if name in names), names[0])


def _language_of(text: str, names: Iterable[str]) -> str | None:
    """Return the language that a text is in, among these; none where nothing tells."""
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = Counter(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text))
    evidence = {}
    for name in names:
        frequent = _frequent_words(name)
        known = sum(count for word, count in words.items() if _plain(word) in frequent)
        own = set(_OWN_LETTERS.get(name, ""))
        telling = sum(count for word, count in words.items() if own & set(word))
        evidence[name] = known + 1.5 * telling
    ranking = sorted(evidence, key=lambda name: -evidence[name])
    if not ranking or evidence[ranking[0]] == 0:
        return None
    if len(ranking) > 1 and evidence[ranking[0]] == evidence[ranking[1]]:
        return None
    return ranking[0]


@functools.cache
def _frequent_words(name: str) -> frozenset[str]:
    return frozenset(_plain(word) for word in _FREQUENT_WORDS.get(name, "").split())


def _plain(word: str) -> str:
    """Return a word without its accents, which a language that lacks them does not read."""
    letters = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
