"""Reading the text of an image: by Tesseract, the installed models or Google."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ltu_compute.errors import BadParameters, NotInstalled, Problem, Unavailable, Unprocessable
from ltu_compute.image import Image
from ltu_compute.kernels import tesseract, text_detection
from ltu_compute.kernels.text_detection import (
    LanguageMissing,
    TesseractFailed,
    TesseractMissing,
    TesseractTimedOut,
    TextDetection,
    Word,
    installed_languages,
)
from ltu_compute.recognisers import second_reader
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.second_reader import LEAST_LETTERS, letters_of

MAX_WORDS = 10_000  # of a picture: 3 MB of reply; a page of a newspaper has half as many
READ_PX = 3200  # longest side of what the installed models read in
SURELY_READ = 0.92  # mean confidence of Tesseract's letters from which nobody else is asked

NOTHING = TextDetection((), "", "", 0.0)

Reader = Literal["Tesseract", "PP-OCR", "Google"]


@dataclass(frozen=True)
class ReadText:
    """The text of an image.

    Attributes
    ----------
    found : TextDetection
        Words and their places, in px of the original image.
    provider : {"Tesseract", "PP-OCR", "Google"}
        Who read it; PP-OCR: the installed models.
    left_out : int
        Words beyond `MAX_WORDS`, the last in reading order, which `found` does not have.
    """

    found: TextDetection
    provider: Reader
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Line:
    """A line of text.

    Attributes
    ----------
    words : tuple of Word
        In reading order, at least one.
    corners : ndarray of float64, shape (4, 2)
        x, y in px, clockwise from the line's own top left: the smallest rectangle along the first
        word's upper edge that holds the corners of all words.
    """

    words: tuple[Word, ...]
    corners: NDArray[np.float64]

    @property
    def text(self) -> str:
        """The words, with blanks between them."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean of the words' confidences, 0 to 1."""
        return sum(word.confidence for word in self.words) / len(self.words)


def lines_of(found: TextDetection) -> tuple[Line, ...]:
    """Return the lines that were read, in reading order."""
    lines = []
    for _, words in groupby(found.words, key=lambda word: word.line):
        line = tuple(words)
        lines.append(Line(line, _rectangle([word.corners for word in line])))
    return tuple(lines)


def _rectangle(corners: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the rectangle of some quadrangles, along the upper edge of the first."""
    along = corners[0][1] - corners[0][0]
    length = math.hypot(*along)
    right = along / length if length else np.array([1.0, 0.0])
    axes = np.array([right, [-right[1], right[0]]])  # rightwards and downwards
    points = np.concatenate(corners) @ axes.T
    (left, top), (end, bottom) = points.min(axis=0), points.max(axis=0)
    rectangle: NDArray[np.float64] = (
        np.array([[left, top], [end, top], [end, bottom], [left, bottom]]) @ axes
    )
    return rectangle


def read_text(
    image: Image, recognisers: Recognisers, *, languages: Sequence[str] = (), provider: str = ""
) -> ReadText:
    """Read what is written in an image: `MAX_WORDS` words at most.

    Parameters
    ----------
    image : Image
        The picture.
    recognisers : Recognisers
        What is there to answer.
    languages : sequence of str
        What the text may be written in: ISO 639-1 or 639-2 codes; none: any that is installed.
    provider : {"", "Tesseract", "Google"}
        Who is to read it; "": what the service is set to. Tesseract: nobody else.

    Raises
    ------
    BadParameters
        A language is not installed.
    NotInstalled, NotEnabled
        The provider is not there.
    Unprocessable
        The text is too dense to be read in time.
    Unavailable, ProviderFailed
        The provider failed.
    """
    if provider == "Google" or (not provider and recognisers.google_by_default):
        vision = recognisers.google()
        return _bounded(
            vision.text(image, languages, release_slot=recognisers.release_slot), "Google"
        )
    return _read_here(image, recognisers, languages, alone=provider == "Tesseract")


def _bounded(found: TextDetection, provider: Reader) -> ReadText:
    """Return the first `MAX_WORDS` words of a text, and how many are left out."""
    left_out = max(0, len(found.words) - MAX_WORDS)
    if left_out:
        words = found.words[:MAX_WORDS]
        lines = (" ".join(w.text for w in line) for _, line in groupby(words, lambda w: w.line))
        found = replace(found, words=words, text="\n".join(lines))
    return ReadText(found, provider, left_out)


def _read_here(
    image: Image, recognisers: Recognisers, languages: Sequence[str], *, alone: bool
) -> ReadText:
    """Read by Tesseract; what it does not read surely, by the installed models, too.

    Of two readings the one counts that has more letters, read more surely. One or two letters that
    the models do not read are no text: Tesseract sees an N in leaves and in fur, and is sure of it.
    """
    try:
        found = _tesseract_text(image, languages)
        names: tuple[str, ...] = tesseract.names_of(languages)
    except NotInstalled:
        if alone or (second := _read_by_models(image, recognisers, ())) is None:
            raise
        return _bounded(second, "PP-OCR")
    except Unprocessable:  # too dense: the dots of dotted print are more marks than a page has
        names = tesseract.names_of(languages)
        second = None if alone else _read_by_models(image, recognisers, names)
        if second is None or not second.words:
            raise
        return _bounded(second, "PP-OCR")
    few = 0 < letters_of(found.text) < LEAST_LETTERS
    if alone or (found.words and _sureness(found) >= SURELY_READ and not few):
        return _bounded(found, "Tesseract")
    second = _read_by_models(image, recognisers, names, least_letters=1 if few else LEAST_LETTERS)
    if second is not None and few and not _has_words_of(second, found):
        found = NOTHING
        second = second if letters_of(second.text) >= LEAST_LETTERS else None
    if second is not None and _worth(second) > _worth(found):
        return _bounded(second, "PP-OCR")
    return _bounded(found, "Tesseract")


def _has_words_of(second: TextDetection, first: TextDetection) -> bool:
    """Return whether a reading has all words of another one."""
    words = {word.text.casefold() for word in second.words}
    return all(word.text.casefold() in words for word in first.words)


def _read_by_models(
    image: Image,
    recognisers: Recognisers,
    names: Sequence[str],
    *,
    least_letters: int = LEAST_LETTERS,
) -> TextDetection | None:
    """Return what the installed models read, in px of the original; None without them."""
    pixels = image.fit(READ_PX)
    found = second_reader.read(
        pixels,
        recognisers.models,
        names,
        recognisers.release_slot,
        least_letters=least_letters,
    )
    if found is None:
        return None
    scale = np.array([image.width / pixels.shape[1], image.height / pixels.shape[0]])
    words = [
        replace(word, corners=(word.corners * scale).clip(0, (image.width - 1, image.height - 1)))
        for word in found.words
    ]
    return replace(found, words=tuple(words))


def _sureness(found: TextDetection) -> float:
    letters = sum(len(word.text) for word in found.words)
    return sum(len(word.text) * word.confidence for word in found.words) / max(1, letters)


def _worth(found: TextDetection) -> float:
    return sum(
        len(word.text) * max(0.0, word.confidence - second_reader.GUESSED) for word in found.words
    )


def _tesseract_text(image: Image, languages: Sequence[str]) -> TextDetection:
    try:
        _refuse_missing(languages)
        return text_detection.detect_text(image.full(), languages=languages)
    except TesseractMissing as error:
        raise NotInstalled(
            f"provider: Tesseract is not installed on the service's machine ({error}); install "
            "the package tesseract-ocr and those of its languages, such as tesseract-ocr-fra",
            parameter="provider",
        ) from error
    except TesseractTimedOut as error:
        raise Unprocessable(
            f"{image.name}: too dense to be read in {tesseract.TIMEOUT_SECONDS:g} s; send a part "
            "of it, or a smaller one",
            parameter=image.name,
        ) from error
    except TesseractFailed as error:
        raise Unavailable(f"{image.name}: {error}", parameter=image.name, retry_after=60) from error


def readable_languages() -> list[str]:
    """Return the languages that text is read in on this machine; none without Tesseract."""
    try:
        return list(installed_languages())
    except TesseractMissing:
        return []


def _refuse_missing(languages: Sequence[str]) -> None:
    """Refuse languages that cannot be read; the message lists every one."""
    missing = []
    for language in languages:
        try:
            tesseract.names_of([language])
        except LanguageMissing:
            missing.append(language)
    if missing:
        installed = ", ".join(installed_languages())
        received = ", ".join(map(repr, missing))
        message = f"language: received {received}, installed: {installed}"
        raise BadParameters(Problem("language", message))
