"""Text that Tesseract does not read: lines in photographs, dotted print, digits in frames.

Two models of the catalogue: one finds lines, the other one reads each of them (PP-OCR [1]_, as
RapidOCR packages it). They know Latin, Chinese and Japanese writing, upright or turned by a
quarter.

References
----------
.. [1] Y. Du et al., "PP-OCR: a practical ultra lightweight OCR system", 2020; line finder: M. Liao
   et al., "Real-time scene text detection with differentiable binarization", AAAI 2020; reader: A.
   Graves et al., "Connectionist temporal classification", ICML 2006.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.languages import SCRIPTS, iso_code, language_of
from ltu_compute.kernels.text_detection import TextDetection, Word
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Model, Models, ReleaseSlot

LINES, LETTERS = "text-lines", "text-letters"
"""The models of the catalogue: where lines are, and what they say."""

KNOWN_SCRIPTS = frozenset({"Latin", "Han", "Japanese"})
"""Scripts whose letters the reader has."""

FINDER_PX = 960  # longest side that lines are looked for in; RapidOCR's limit
INK = 0.3  # chance from which a pixel is of a line; this and the next two are RapidOCR's
LEAST_MEAN = 0.5  # mean chance of a line's pixels
GROWTH = 1.6  # by which a line's core is grown: area over perimeter, times this
LEAST_CORE_PX = 3  # of a core's shorter side, at the size that lines are looked for in
MAX_LINES = 200  # of a picture, the largest ones; reading one takes 10 to 60 ms
MAX_LENGTH = 2500  # of all lines that are read, in heights of a line: 5 s of a core
TALL = 1.5  # height over width from which a line runs downwards

LEAST_LINE = 0.75
"""Least mean confidence of a line: what is seen in leaves, bricks and wheels has less, printed
lines of the benchmark have 0.9 and more."""

DOTS = (0.005, 0.0025)
"""Sigmas by which a picture is blurred, in shares of its longer side, in which nothing or only
fragments were read: the dots of dotted print run together. Each serves dots whose distance is 0.8
to 3 sigmas."""

LEAST_LETTERS_A_WORD = 3.0  # different ones; fewer on average may be dots that look like letters
GUESSED = 0.3  # confidence at which a letter is worth nothing

LEAST_LETTERS = 3  # of a picture: less is seen in textures and in round things
LOOK_PX = 96  # shorter side of a place that is looked at for a line, at least
MAX_LOOK_PX = 640  # its longer side, at the most
LEAST_COVERED = 0.6
"""Share of a place that a line covers. Of 35 places in 60 photographs, 23 that showed text had 0.96
and more. Of the 12 others, such as lace, roofs and leaves, one had 1 and one 0.56; ten had up to
0.11."""

MAX_GAP = 3.0  # heights of a line, between two that are read as one row
LEAST_FRAMED = 3  # single digits in a line that make a number: those of a meter, in frames


@dataclass(frozen=True, eq=False)
class _Line:
    """A line that was read: words, where each begins and ends in shares of the line, confidence."""

    corners: NDArray[np.float64]
    words: tuple[tuple[str, float, float], ...]
    confidence: float

    def between(self, left: float, right: float) -> NDArray[np.float64]:
        """Return the corners of a part of it, given in shares of its length."""
        shares = np.array([[1 - left, left], [1 - right, right]])
        above, below = shares @ self.corners[[0, 1]], shares @ self.corners[[3, 2]]
        return np.array([above[0], above[1], below[1], below[0]])


def read(
    image: Bgr,
    models: Models,
    names: Sequence[str],
    release_slot: ReleaseSlot,
    *,
    least_letters: int = LEAST_LETTERS,
) -> TextDetection | None:
    """Read what is written in a picture.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    models : Models
        What is installed.
    names : sequence of str
        Tesseract's names of the languages that the text may be in.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.
    least_letters : int, default 3
        Letters and digits of the whole picture, below which there is no text.

    Returns
    -------
    TextDetection or None
        ``None`` where the models are not installed, or have none of the languages' scripts.

    Raises
    ------
    ModelFailed, Busy
        A model failed, or had no turn.
    """
    finder, reader = models.installed(LINES, "mask"), models.installed(LETTERS, "text")
    scripts = {SCRIPTS.get(name, "Latin") for name in names}
    if (
        finder is None
        or reader is None
        or not reader.known
        or (names and not scripts & KNOWN_SCRIPTS)
    ):
        return None
    rows = _read(image, finder, reader, release_slot)
    for share in DOTS:
        if not _is_fragments(rows):
            break
        sigma = share * max(image.shape[:2])
        blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
        rows = max(rows, _read(blurred, finder, reader, release_slot), key=_worth)
    return _detection(rows, names, least_letters)


def _is_fragments(rows: Sequence[Sequence[_Line]]) -> bool:
    """Return whether what was read is nothing, or words of few letters, or of one again and again.

    Rows of dots are read as letters that are small, and as crosses: 十十十十.
    """
    words = ["".join(set(word)) for row in rows for word, _, _ in _joined(row)]
    return sum(map(letters_of, words)) < LEAST_LETTERS_A_WORD * max(1, len(words))


def _worth(rows: Sequence[Sequence[_Line]]) -> float:
    """Return the number of letters that were read, each counted by its confidence."""
    lines = [line for row in rows for line in row]
    return sum(
        len(word) * (line.confidence - GUESSED) for line in lines for word, _, _ in line.words
    )


def _read(image: Bgr, finder: Model, reader: Model, release_slot: ReleaseSlot) -> list[list[_Line]]:
    """Return the lines of a picture that are read surely, in rows."""
    lines: list[_Line] = []
    left = float(MAX_LENGTH)
    for corners in find_lines(image, finder, release_slot):
        checkpoint()
        width, height = _extent(corners)
        left -= max(width, height) / min(width, height)
        if left < 0:
            break
        line = _read_line(image, corners, reader, release_slot)
        if line is not None and line.confidence >= LEAST_LINE:
            lines.append(line)
    return in_order(lines)


def find_lines(image: Bgr, finder: Model, release_slot: ReleaseSlot) -> list[NDArray[np.float64]]:
    """Return the corners of each line, shape (4, 2), clockwise from its own top left, in px."""
    side = min(FINDER_PX, max(image.shape[:2]))
    outputs, placement = finder.run(image, release_slot, side=side)
    chances = np.asarray(next(iter(outputs.values())), np.float32).reshape(placement.size[::-1])
    ink = cv2.dilate((chances > INK).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(ink, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cores = sorted((cv2.minAreaRect(each) for each in contours), key=lambda core: -np.prod(core[1]))
    scale = np.array([placement.scale_x, placement.scale_y])
    found = []
    for middle, sides, angle in cores[:MAX_LINES]:
        if min(sides) < LEAST_CORE_PX or _mean_inside(chances, (middle, sides, angle)) < LEAST_MEAN:
            continue
        margin = GROWTH * float(np.prod(sides)) / sum(sides)  # on both sides together
        grown = (middle, (sides[0] + margin, sides[1] + margin), angle)
        found.append(_from_top_left(cv2.boxPoints(grown).astype(np.float64)) / scale)
    return found


def shows_line(
    image: Bgr, corners: NDArray[np.float64], finder: Model, release_slot: ReleaseSlot
) -> bool:
    """Return whether there is a line of text at a place; it takes 10 ms.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    corners : ndarray of float64, shape (4, 2)
        x, y of an upright box, in px.
    finder : Model
        The model `LINES`.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.

    Raises
    ------
    ModelFailed, Busy
        The model failed, or had no turn.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = float(high[1] - low[1])
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.ceil(high + margin).astype(int)
    part = image[top:bottom, left:right]
    if min(part.shape[:2]) == 0:
        return False
    scale = min(max(1.0, LOOK_PX / min(part.shape[:2])), MAX_LOOK_PX / max(part.shape[:2]))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=method), np.uint8)
    for line in find_lines(part, finder, release_slot):
        places = line / scale + (left, top)
        shared = np.minimum(high, places.max(axis=0)) - np.maximum(low, places.min(axis=0))
        if np.prod(np.maximum(shared, 0)) >= LEAST_COVERED * np.prod(high - low):
            return True
    return False


def _mean_inside(
    chances: NDArray[np.float32], core: tuple[Sequence[float], Sequence[float], float]
) -> float:
    corners = np.round(cv2.boxPoints(core)).astype(np.int32)
    left, top, width, height = cv2.boundingRect(corners)
    left, top = max(0, left), max(0, top)
    part = chances[top : top + height, left : left + width]
    if part.size == 0:
        return 0.0
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [corners - (left, top)], 1)
    return float(cv2.mean(part, inside)[0])


def _from_top_left(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Order corners clockwise, from the top left one."""
    around = corners[np.argsort(np.arctan2(*(corners - corners.mean(axis=0)).T[::-1]))]
    return np.roll(around, -int(np.argmin(around.sum(axis=1))), axis=0)


def _read_line(
    image: Bgr, corners: NDArray[np.float64], reader: Model, release_slot: ReleaseSlot
) -> _Line | None:
    """Read a line, one that runs downwards from either side; None where there is nothing."""
    width, height = _extent(corners)
    turns = (0,) if height < TALL * width else (1, 3)
    read = [
        _read_level(image, np.roll(corners, turn, axis=0), reader, release_slot) for turn in turns
    ]
    return max(
        (line for line in read if line is not None), key=lambda line: line.confidence, default=None
    )


def _extent(corners: NDArray[np.float64]) -> tuple[float, float]:
    along = np.hypot(*(corners - np.roll(corners, -1, axis=0)).T)
    return float(max(along[0], along[2])), float(max(along[1], along[3]))


def _read_level(
    image: Bgr, corners: NDArray[np.float64], reader: Model, release_slot: ReleaseSlot
) -> _Line | None:
    width, height = (max(1, round(side)) for side in _extent(corners))
    goal = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), goal)
    level = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    outputs, placement = reader.run(np.asarray(level, np.uint8), release_slot)
    chances = np.asarray(next(iter(outputs.values())), np.float32)[0]
    filled = width * placement.scale_x / placement.size[0]  # share of the input
    words, confidence = decoded(chances, reader.metadata("character").split("\n"), filled)
    return _Line(corners, words, confidence) if words else None


def decoded(
    chances: NDArray[np.float32], letters: Sequence[str], filled: float = 1.0
) -> tuple[tuple[tuple[str, float, float], ...], float]:
    """Return the words of a line, and the mean of its letters' chances.

    Of each step the likeliest class counts: nothing, a letter, or a blank. The same one again is
    the same letter.

    Parameters
    ----------
    chances : ndarray of float32, shape (T, C)
        Of nothing, of each of the letters, and, where there is one class more, of a blank.
    letters : sequence of str
        The letters, in the order of their classes.
    filled : float
        Share of the steps that are of the line; beyond are bars.

    Returns
    -------
    words : tuple of (str, float, float)
        Each with its left and right in shares of the line.
    confidence : float
        0 to 1.
    """
    classes = ["", *letters]
    classes += [" "] * (chances.shape[1] - len(classes))
    best = chances.argmax(axis=1)
    starts = np.flatnonzero((best != 0) & np.concatenate([[True], best[1:] != best[:-1]]))
    if starts.size == 0:
        return (), 0.0
    places = (starts + 0.5) / (len(best) * filled)
    half = float(np.median(np.diff(places))) / 2 if starts.size > 1 else 0.5
    words: list[tuple[str, float, float]] = []
    begun = True
    for step, place in zip(starts.tolist(), places.tolist(), strict=True):
        letter = classes[best[step]]
        left, right = max(0.0, place - half), min(1.0, place + half)
        if letter.isspace():
            begun = True
        elif begun:
            words.append((letter, left, right))
            begun = False
        else:
            words[-1] = (words[-1][0] + letter, words[-1][1], right)
    return tuple(words), float(chances[starts, best[starts]].mean())


def in_order(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Return rows of lines from top to bottom, each row from left to right.

    Lines further apart than `MAX_GAP` heights are of different rows, as columns are.
    """
    rows: list[list[_Line]] = []
    for line in sorted(lines, key=lambda each: float(each.corners[:, 1].mean())):
        height = _extent(line.corners)[1]
        near = [row for row in rows if any(_is_beside(line, other, height) for other in row)]
        rows = [row for row in rows if row not in near]
        rows.append([line, *(other for row in near for other in row)])
    rows.sort(key=lambda row: min(float(line.corners[:, 1].mean()) for line in row))
    for row in rows:
        row.sort(key=lambda each: float(each.corners[:, 0].mean()))
    return rows


def _is_beside(line: _Line, other: _Line, height: float) -> bool:
    level = abs(line.corners[:, 1].mean() - other.corners[:, 1].mean()) < height / 2
    lefts = (line.corners[:, 0].min(), other.corners[:, 0].min())
    rights = (line.corners[:, 0].max(), other.corners[:, 0].max())
    return bool(level and max(lefts) - min(rights) < MAX_GAP * height)


def _detection(
    rows: Sequence[Sequence[_Line]], names: Sequence[str], least_letters: int
) -> TextDetection:
    lines = [_joined(row) for row in rows]
    text = "\n".join(" ".join(word for word, _, _ in line) for line in lines)
    if letters_of(text) < least_letters:
        return TextDetection((), "", "", 0.0)
    language = iso_code(language_of(text, names) or "")
    words = [
        Word(word, corners, confidence, number, language)
        for number, line in enumerate(lines)
        for word, corners, confidence in line
    ]
    along = sum((line.corners[1] - line.corners[0] for row in rows for line in row), np.zeros(2))
    rotation = float(np.degrees(np.arctan2(along[1], along[0])))
    return TextDetection(tuple(words), text, language, rotation)


def letters_of(text: str) -> int:
    """Return how many letters and digits a text has."""
    return sum(letter.isalnum() for letter in text)


def _joined(row: Sequence[_Line]) -> list[tuple[str, NDArray[np.float64], float]]:
    """Return the words of a row, where they are and how sure they are.

    Single digits with gaps between them are one number, as those of a meter are.
    """
    words = [
        (word, line.between(left, right), line.confidence)
        for line in row
        for word, left, right in line.words
    ]
    if len(words) < LEAST_FRAMED or any(len(w) > 1 or not w.isdigit() for w, _, _ in words):
        return words
    (_, first, _), (_, last, _) = words[0], words[-1]
    corners = np.array([first[0], last[1], last[2], first[3]])
    number = "".join(word for word, _, _ in words)
    return [(number, corners, sum(sure for _, _, sure in words) / len(words))]
