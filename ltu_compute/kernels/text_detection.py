"""Words in a picture, their places and their language.

Tesseract reads. Classical image analysis prepares a page that it can read: upright, dark on light,
evenly lit and of the letter height it was trained on.

The module is long because each reading, and the choice between readings, depends on the one before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.languages import SCRIPTS, iso_code, language_of
from ltu_compute.kernels.tesseract import (
    AUTOMATIC,
    BLOCK,
    SPARSE,
    Deadline,
    LanguageMissing,
    Reader,
    TesseractFailed,
    TesseractMissing,
    TesseractTimedOut,
    Token,
    installed_languages,
    names_of,
)
from ltu_compute.kernels.text_ink import BACKGROUND, Ink
from ltu_compute.kernels.text_layout import LONGEST_PX, Rows, Writing, levelling, principal
from ltu_compute.kernels.types import Bgr, Gray

__all__ = [
    "Deadline",
    "LanguageMissing",
    "TesseractFailed",
    "TesseractMissing",
    "TesseractTimedOut",
    "TextDetection",
    "Word",
    "detect_text",
    "installed_languages",
]

_PAGE_PIXELS = 16_000_000
"""A page given to Tesseract has at most as many pixels."""

_LETTER_HEIGHT = 20.0
"""Median height of the letters on a page for Tesseract, in px, when they were of a bad height."""

_GOOD_HEIGHTS = (14.0, 34.0)
"""Median letter heights, in px, that are left alone."""

_POOR = 0.6
"""Mean confidence below which a page is tried the other way up."""

_GUESSED = 0.4
"""Mean confidence below which a page is no text: Tesseract guesses."""

_RIM = 30
"""White around the letters of a page, in px: Tesseract reads badly what touches the edge."""

_UNREAD = 0.12
"""Share of unread ink from which another layout is tried: the first was not understood."""

_SCENE = 0.3
"""Share of unread ink from which most of it is no text.

On pages it is at most 0.07 (the tuning set's), in photographs of parts at least 0.58.
"""

_UPRIGHT = 12
"""Letters in sure words that decide which side is up."""

_SURE = 0.85
"""Mean confidence from which a reading by a similar language will do."""

_LONG = 1000
"""Letters from which a page is long: its language is found out in a small part of it."""

_SAMPLE = 200
"""Letters of that part."""

_STRIP = 500
"""Letters that are worth a Tesseract of their own: to start it takes as long as to read 100."""

_MAX_STRIPS = 4
"""Parts of a page that are read at the same time."""

_FIRST = ("deu", "eng")
"""Who reads first: Tesseract's German reads English as surely as its English does, and umlauts."""

_READ_BY = {"deu": ("eng",)}
"""Languages that need no second reading after the one of their key."""

_LATIN = "Latin"
"""The script of languages that `SCRIPTS` does not name."""


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
        Number of its line, from 0.
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
        Of most of the text: ISO 639-1 where there is such a code, else Tesseract's name. If
        it is unknown, as of a number, the first that was asked for; empty if none was, and without
        text.
    rotation : float
        Degrees by which the text is turned clockwise, above -180 and up to 180; 0 without text.
    """

    words: tuple[Word, ...]
    text: str
    language: str
    rotation: float


def detect_text(
    image: Bgr, *, languages: Sequence[str] = (), deadline: Deadline | None = None
) -> TextDetection:
    """Read what is written in a picture.

    Text may be turned by any angle, all of it by the same. It may be darker or lighter than its
    background, small, pale or unevenly lit. `Writing` finds the letters and the direction of lines.
    Tesseract [1]_ reads the prepared page. It reads once more, turned around or in another
    language, if the first answer is poor or of that language. The parts of a long page are read
    at the same time.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        BGR.
    languages : sequence of str, default ()
        What the text may be written in: ISO 639-1, 639-2 or 639-3 codes, or Tesseract's names. None
        means any that is installed.
    deadline : Deadline, optional
        When to be done. Default: `TIMEOUT_SECONDS` from now.

    Returns
    -------
    TextDetection

    Raises
    ------
    TesseractMissing
        When Tesseract is not installed.
    LanguageMissing
        When one of the languages is not installed.
    TesseractTimedOut
        When Tesseract does not meet the deadline.
    TesseractFailed
        When Tesseract gives up.

    References
    ----------
    .. [1] R. Smith, "An Overview of the Tesseract OCR Engine", ICDAR 2007.
    """
    deadline = deadline or Deadline.from_now()
    names = names_of(languages)
    if image.size == 0 or min(image.shape[:2]) < 4:
        return _NOTHING
    gray = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), np.uint8)
    writing = Writing.find_in(gray)
    if writing is None:
        return _NOTHING
    requested = bool(languages)
    return _detection(
        _read_best(gray, writing, names, deadline, requested=requested), names, requested=requested
    )


@dataclass(frozen=True, eq=False)
class _Page:
    """Input of Tesseract.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W)
        Level dark lines on white.
    matrix : ndarray of float64, shape (2, 3)
        Maps px of the page to px of the picture.
    angle : float
        Degrees clockwise by which lines were turned.
    letters : int
        How many there may be.
    rows : Rows
        Its lines.
    even : bool
        Whether they are one column and of about the same size.
    """

    image: Gray
    matrix: NDArray[np.float64]
    angle: float
    letters: int
    rows: Rows
    even: bool

    @property
    def layout(self) -> int:
        """Layout for Tesseract: lines without anything beside them are one block."""
        return BLOCK if self.even else AUTOMATIC


@dataclass(frozen=True, eq=False)
class _Reading:
    """Words that Tesseract found on a page, with its language and layout."""

    page: _Page
    tokens: tuple[Token, ...]
    reader: Reader

    @property
    def confidence(self) -> float:
        """Mean over the letters; 0 without any."""
        letters = sum(len(token.text) for token in self.tokens)
        return sum(len(token.text) * token.confidence for token in self.tokens) / max(1, letters)

    @property
    def worth(self) -> float:
        """Number of letters, those more that are surer; what is mere guessing counts nothing."""
        return _worth(self.tokens)

    @property
    def stands(self) -> bool:
        """Whether enough is read so surely that this side must be up."""
        sure = [t for t in self.tokens if t.letters >= 3 and t.confidence >= 0.85]
        return sum(token.letters for token in sure) >= _UPRIGHT

    @property
    def is_scene(self) -> bool:
        """Whether most of the page is no text: text on a page with a picture is read surely."""
        return not self.page.even and self.confidence < _SURE and self.unread > _SCENE

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

    def language(self, names: tuple[str, ...]) -> str | None:
        """Return its language of these; among clutter, one word is too little."""
        return language_of(self.text, names, least=2 if self.reader.layout == SPARSE else 1)


def _read_best(
    gray: Gray, writing: Writing, names: tuple[str, ...], deadline: Deadline, *, requested: bool
) -> _Reading:
    """Read a page, once more where the first answer is poor or in another language."""
    view = _View(writing.ink, writing.scale, (0, 0))
    wanted = _page_scale(writing)
    if wanted > writing.scale and writing.scale < 1:
        view = _close_view(gray, writing)
    page = _page(view, writing.angle, wanted)
    if not requested:
        names = _of_script(names, page.image, deadline)
    first = "+".join(names) if requested else _first_choice(names)
    if writing.cluttered:
        best = _read(page, Reader(first, SPARSE, deadline))
    else:
        reader = Reader(first, page.layout, deadline)
        if not requested and page.letters >= _LONG:
            reader = replace(reader, languages=_language_of_sample(page, names, reader))
            first = reader.languages
        best = _read(page, reader)
        turns = [180.0] if writing.certain else [180.0, 90.0]
        while turns and best.tokens and best.confidence < _POOR and not best.stands:
            page = _page(view, writing.angle + turns.pop(0), wanted)
            turned = _read(page, replace(reader, layout=page.layout))
            best = max(best, turned, key=lambda reading: reading.worth)
        best = _with_layout(best)
    in_doubt = best.reader.layout == SPARSE and best.confidence < _SURE
    language = None if requested or in_doubt else best.language(names)
    if language is None or language == first:
        return best
    if language in _READ_BY.get(first, ()) and best.confidence >= _SURE:
        return best
    other = _read(best.page, replace(best.reader, languages=language))
    return other if other.worth > 0.9 * best.worth else best


def _with_layout(best: _Reading) -> _Reading:
    """Read a page in other layouts where one by itself leaves much ink unread."""
    readings = [best]
    if best.unread > _UNREAD and not (best.stands and best.is_scene):
        layout = AUTOMATIC if best.reader.layout == BLOCK else BLOCK
        readings.append(_read(best.page, replace(best.reader, layout=layout)))
        best = max(readings, key=lambda reading: reading.worth)
    if best.is_scene:
        # There is more than text, which the letters' layout did not show.
        readings.append(_read(best.page, replace(best.reader, layout=SPARSE)))
        return replace(readings[-1], tokens=_surest(readings))
    return replace(best, tokens=()) if best.confidence < _GUESSED else best


def _surest(readings: Sequence[_Reading]) -> tuple[Token, ...]:
    """Return the words among clutter of all readings of a page; of those in one place the surest.

    Each layout finds other words there: loose ones, or those of lines.
    """
    lines: list[list[Token]] = []
    for reading in readings:
        by_place: dict[tuple[int, int, int], list[Token]] = {}
        for token in _likely(reading.tokens, cluttered=True):
            by_place.setdefault(token.place, []).append(token)
        lines += by_place.values()
    lines.sort(key=lambda line: -_worth(line))
    kept: list[list[Token]] = []
    for line in lines:
        free = [t for t in line if not any(t.overlaps(u) for other in kept for u in other)]
        if free:
            kept.append(free)
    kept.sort(key=lambda line: (min(t.top for t in line), line[0].left))
    return tuple(replace(t, place=(n, 1, 1)) for n, line in enumerate(kept, 1) for t in line)


def _language_of_sample(page: _Page, names: tuple[str, ...], reader: Reader) -> str:
    """Return what to read a long page with, by a part from its middle."""
    parts = page.rows.strips(page.letters // _SAMPLE)
    (tokens,) = reader.read([_with_rim(page.image[parts[len(parts) // 2]])])
    sample = _Reading(page, tokens, reader)
    language = sample.language(names) if sample.stands else None
    if language is None or language in _READ_BY.get(reader.languages, ()):
        return reader.languages
    return language


def _worth(tokens: Sequence[Token]) -> float:
    return sum(len(token.text) * max(0.0, token.confidence - 0.3) for token in tokens)


def _read(page: _Page, reader: Reader) -> _Reading:
    """Read a page: the parts of one that has many letters at the same time."""
    count = min(_MAX_STRIPS, page.letters // _STRIP)
    if page.even and count > 1:
        parts = page.rows.strips(count)
        found = reader.read([_with_rim(page.image[part]) for part in parts])
        tokens = _joined(found, [part.start - _RIM for part in parts])
    else:
        (tokens,) = reader.read([page.image])
    return _Reading(page, _likely(tokens, cluttered=reader.layout == SPARSE), reader)


def _with_rim(part: Gray) -> Gray:
    """Return rows of a page with white above and below."""
    whole = cv2.copyMakeBorder(part, _RIM, _RIM, 0, 0, cv2.BORDER_CONSTANT, value=255)
    return np.asarray(whole, np.uint8)


def _joined(parts: Sequence[Sequence[Token]], tops: Sequence[int]) -> tuple[Token, ...]:
    """Return the words of a page's parts, each of which begins at some row of it."""
    tokens: list[Token] = []
    for part, top in zip(parts, tops, strict=True):
        before = tokens[-1].place[0] if tokens else 0
        for token in part:
            block, paragraph, line = token.place
            place = (before + block, paragraph, line)
            tokens.append(replace(token, top=token.top + top, place=place))
    return tuple(tokens)


def _likely(tokens: Sequence[Token], *, cluttered: bool) -> tuple[Token, ...]:
    """Return the words that are not what Tesseract makes of frames, or of leaves and shadows.

    The fewer letters a line has, the more likely it is chance, and the surer Tesseract must be of
    them; surer still where there is much that is no text.
    """
    lines: dict[tuple[int, int, int], list[Token]] = {}
    for token in tokens:
        if cluttered:
            likely = token.letters > 0 and token.confidence >= (0.8 if token.letters == 1 else 0.6)
        else:
            likely = token.letters > 0 or token.confidence >= 0.5
        if likely:
            lines.setdefault(token.place, []).append(token)
    return tuple(t for line in lines.values() if _is_likely(line, cluttered) for t in line)


def _is_likely(line: Sequence[Token], cluttered: bool) -> bool:
    letters = sum(token.letters for token in line)
    confidence = float(
        np.average([t.confidence for t in line], weights=[len(t.text) for t in line])
    )
    if cluttered:
        return confidence >= (0.9 if letters <= 3 else 0.8 if letters == 4 else 0.6)
    return letters > 3 or confidence >= 0.6


@dataclass(frozen=True, eq=False)
class _View:
    """A part of a picture as ink: `scale` times as large, its corner `origin` px into it."""

    ink: Ink
    scale: float
    origin: tuple[int, int]


def _close_view(gray: Gray, writing: Writing) -> _View:
    """Return that part of a large picture which holds its letters, unreduced."""
    boxes = writing.ink.boxes / writing.scale
    margin = 2 * BACKGROUND
    left, top = (boxes[:, :2].min(axis=0) - margin).clip(0).astype(int).tolist()
    right, bottom = ((boxes[:, :2] + boxes[:, 2:4]).max(axis=0) + margin).astype(int).tolist()
    window = round(BACKGROUND / writing.scale)
    ink = Ink.find_in(gray[top:bottom, left:right], window)
    keep = cv2.resize(writing.keep, gray.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ink = ink.within(keep[top:bottom, left:right])
    if len(ink.boxes) == 0:
        return _View(writing.ink, writing.scale, (0, 0))
    return _View(ink, 1.0, (left, top))


def _page_scale(writing: Writing) -> float:
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
    turn, _ = levelling(depth.shape, angle, scale)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    corners = corners @ turn[:, :2].T
    extent = np.ptp(corners, axis=0) + 2 * _RIM
    reduction = min(1.0, math.sqrt(_PAGE_PIXELS / extent.prod()), LONGEST_PX / extent.max())
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
    height = reduction * scale * float(np.median(ink.boxes[:, 2:4].max(axis=1)))
    image = np.asarray(255 - level, np.uint8)
    rows = Rows.find_in(image)
    even = rows.are_even(height)
    return _Page(image, inverse, principal(angle), len(ink.boxes), rows, even)


def _detection(reading: _Reading, names: tuple[str, ...], *, requested: bool) -> TextDetection:
    if not any(token.letters for token in reading.tokens):
        return _NOTHING  # signs alone are what Tesseract makes of rings and lines
    lines = {place: number for number, place in enumerate(reading.lines)}
    name = reading.reader.languages
    certain = len(names) == 1 or name in SCRIPTS
    default = names[0] if requested else name if certain else ""
    language = iso_code(reading.language(names) or default)
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


def _of_script(names: tuple[str, ...], page: Gray, deadline: Deadline) -> tuple[str, ...]:
    """Return the languages of a page's script; Latin ones, if any, where it is not clear."""
    scripts = {name: SCRIPTS.get(name, _LATIN) for name in names}
    if len(set(scripts.values())) == 1:
        return names
    found = Reader.script_of(page, deadline)
    if found not in scripts.values():
        found = _LATIN if _LATIN in scripts.values() else scripts[names[0]]
    return tuple(name for name in names if scripts[name] == found)


def _first_choice(names: tuple[str, ...]) -> str:
    """Return the language to read with first, to find the real one."""
    if names[0] in SCRIPTS:
        return "+".join(names[:3])  # no words are known that would distinguish these
    return next((name for name in _FIRST if name in names), names[0])
