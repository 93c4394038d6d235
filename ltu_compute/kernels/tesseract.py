"""Tesseract, as a program or within the process: its languages, and the words it reads on a page.

pytesseract runs the program. Measured against our own way of running it before, through pipes, on
18 drawn pictures: the same words, in 0.98 of the processor time. The package tesserocr,
where it is installed, reads within the process: loaded languages stay loaded, and the benchmark's
pages take 0.4 of the program's time.

The program starts through `tesseract.sh`, which empties its environment, limits its memory and
time, and ends it with this process. Pages and replies pass through files in memory (`/dev/shm`)
where the machine has that, else in the folder for temporary files.
"""

import contextvars
import csv
import functools
import importlib.util
import io
import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytesseract
from pytesseract import pytesseract as runner

from ltu_compute.cancellation import CHECK_EVERY_S, checkpoint
from ltu_compute.kernels.languages import BIBLIOGRAPHIC, iso_code
from ltu_compute.kernels.types import Gray

TIMEOUT_SECONDS = 20.0
"""How long Tesseract may read one picture, however often it does."""

AUTOMATIC, BLOCK, SPARSE = 3, 6, 11
"""Page segmentation modes: columns and blocks of lines, a block of lines, words wherever."""

_DPI = "300"
"""Where letters are of the height they are brought to, as in a scanned document."""

_WRAPPER = Path(__file__).with_name("tesseract.sh")

_MEMORY = Path("/dev/shm")  # noqa: S108  (a file system in memory)

_SETTINGS = {"tessedit_do_invert": "0"}
"""Pages are dark on white: a poor line need not be read once more as its negative."""

_NO_LANGUAGES = {"osd", "equ", "snum"}
"""Data that are no language: orientation and script, formulas, serial numbers."""


class TesseractMissing(RuntimeError):
    """The program `tesseract` is not installed, or has no language to read."""


class TesseractFailed(RuntimeError):
    """Tesseract gave up."""


class TesseractTimedOut(TesseractFailed):
    """Tesseract took too long: it would again."""


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


# ---------------------------------------------------------------------------------- languages


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
    return tuple(sorted({iso_code(name) for name in _installation().names}))


def names_of(languages: Sequence[str]) -> tuple[str, ...]:
    """Return Tesseract's names of languages.

    Parameters
    ----------
    languages : sequence of str
        ISO 639-1, 639-2 or 639-3 codes, or Tesseract's names; none means all that are installed.

    Returns
    -------
    tuple of str
        Each once, in the order given; "zh" gives two.

    Raises
    ------
    TesseractMissing
        When Tesseract is not installed.
    LanguageMissing
        When one of the languages is not installed.
    """
    installed = _installation().names
    if not languages:
        return installed
    chosen: dict[str, None] = {}
    for language in languages:
        asked = language.strip().lower()
        asked = BIBLIOGRAPHIC.get(asked, asked)
        names = [name for name in installed if asked in {name, iso_code(name)}]
        if not names:
            raise LanguageMissing(language, installed_languages())
        chosen.update(dict.fromkeys(names))
    return tuple(chosen)


@dataclass(frozen=True)
class _Installation:
    """The folder of Tesseract's data, and its names of the data there.

    Attributes
    ----------
    names : tuple of str
        Of languages, sorted.
    others : frozenset of str
        Of what is no language: "osd" detects scripts.
    """

    folder: str
    names: tuple[str, ...]
    others: frozenset[str]


def _installation() -> _Installation:
    program = shutil.which("tesseract")
    if program is None:
        raise TesseractMissing("the program tesseract is not installed")
    return _listed((program, os.environ.get("TESSDATA_PREFIX", "")))


@functools.cache
def _listed(_key: tuple[str, str]) -> _Installation:
    """Ask the program for its languages; pytesseract does not return the folder of their data."""
    try:
        done = subprocess.run(  # noqa: S603  (Tesseract)
            (_WRAPPER, "--list-langs"),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TesseractFailed("Tesseract does not say which languages it has") from error
    head, *names = done.stdout.decode(errors="replace").splitlines() or [""]
    folder = re.search('"(.+)"', head)
    others = frozenset(name for name in names if name in _NO_LANGUAGES or "/" in name)
    known = tuple(sorted(set(names) - others))
    if folder is None or not known:
        raise TesseractMissing("tesseract has no language to read")
    return _Installation(folder[1], known, others)


@dataclass(frozen=True)
class Program:
    """The program that reads.

    Attributes
    ----------
    version : str
        As it says itself.
    languages : tuple of str
        From `installed_languages`.
    installed_at : float
        When its language data was written last, seconds since 1970.
    """

    version: str
    languages: tuple[str, ...]
    installed_at: float


def program() -> Program:
    """Return what is known of the program.

    Raises
    ------
    TesseractMissing
        When Tesseract is not installed.
    """
    found = _installation()
    data = (Path(found.folder, f"{name}.traineddata") for name in found.names)
    newest = max((path.stat().st_mtime for path in data if path.exists()), default=0.0)
    runner.tesseract_cmd = str(_WRAPPER)
    return Program(str(pytesseract.get_tesseract_version()), installed_languages(), newest)


# ------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Token:
    """A word on a page.

    Attributes
    ----------
    text : str
        Without white space, never empty.
    left, top, width, height : int
        Its box, in px of the page.
    confidence : float
        0 to 1.
    place : tuple of int
        Numbers of its block, paragraph and line.
    """

    text: str
    left: int
    top: int
    width: int
    height: int
    confidence: float
    place: tuple[int, int, int]

    @property
    def letters(self) -> int:
        """Number of its letters and digits."""
        return sum(letter.isalnum() for letter in self.text)

    def overlaps(self, other: "Token") -> bool:
        """Return whether both have a part of the page in common."""
        right, bottom = self.left + self.width, self.top + self.height
        beside = self.left >= other.left + other.width or other.left >= right
        return not (beside or self.top >= other.top + other.height or other.top >= bottom)


@dataclass(frozen=True)
class Deadline:
    """When Tesseract has to be done with a picture.

    Attributes
    ----------
    moment : float
        On its clock, in seconds.
    seconds : float
        How long it has in all.
    clock : callable
        Returns the time, in seconds.
    """

    moment: float
    seconds: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def from_now(
        cls, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> "Deadline":
        """Return the deadline of a picture that arrives now; default: in `TIMEOUT_SECONDS`."""
        seconds = TIMEOUT_SECONDS if seconds is None else seconds
        return cls(clock() + seconds, seconds, clock)

    @property
    def left(self) -> float:
        """How many seconds are left; 0 or less when it has passed."""
        return self.moment - self.clock()

    @property
    def missed(self) -> TesseractTimedOut:
        """Exception to raise when it has passed."""
        return TesseractTimedOut(f"Tesseract took longer than {self.seconds:g} s")


@dataclass(frozen=True)
class Reader:
    """A way to read pages.

    Attributes
    ----------
    languages : str
        Tesseract's names, joined with "+".
    layout : int
        One of `AUTOMATIC`, `BLOCK` and `SPARSE`.
    deadline : Deadline
        When to be done.
    """

    languages: str
    layout: int
    deadline: Deadline

    def read(self, pages: Sequence[Gray]) -> tuple[tuple[Token, ...], ...]:
        """Read pages, as many at the same time as there are processors.

        Parameters
        ----------
        pages : sequence of ndarray of uint8, shape (H, W)
            Level dark lines on white.

        Returns
        -------
        tuple of tuple of Token
            Of each page, in reading order.

        Raises
        ------
        TesseractTimedOut
            When Tesseract does not meet the deadline.
        TesseractFailed
            When Tesseract gives up.
        """
        threads = _threads(os.getpid())
        # Each sees whether anybody waits for this: see `cancellation`.
        reading = [
            threads.submit(contextvars.copy_context().run, self._read_page, page) for page in pages
        ]
        return tuple(each.result() for each in reading)

    def _read_page(self, page: Gray) -> tuple[Token, ...]:
        checkpoint(at_once=True)
        recognise = _recognise_inside if _has_tesserocr() else _recognise_outside
        return _tokens(recognise(page, self.languages, self.layout, self.deadline))

    @staticmethod
    def script_of(page: Gray, deadline: Deadline) -> str | None:
        """Return the script that a page is written in; none where there are too few letters."""
        if "osd" not in _installation().others:
            return None
        try:
            with _as_file(page) as path, _within(deadline) as seconds:
                found = pytesseract.image_to_osd(
                    path,
                    config=f"--dpi {_DPI}",
                    output_type=pytesseract.Output.DICT,
                    timeout=seconds,
                )
        except TesseractTimedOut:
            raise
        except TesseractFailed:
            return None  # too few characters
        script: str | None = found.get("script")
        return script


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads in which a process reads: engines within it stay loaded in theirs."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix=f"tesseract-{process}")


def _recognise_outside(page: Gray, name: str, layout: int, deadline: Deadline) -> str:
    """Read a page with the program; returns its TSV."""
    settings = " ".join(f"-c {key}={value}" for key, value in _SETTINGS.items())
    with _as_file(page) as path, _within(deadline) as seconds:
        return str(
            pytesseract.image_to_data(
                path,
                lang=name,
                config=f"--psm {layout} --dpi {_DPI} {settings}",
                timeout=seconds,
                output_type=pytesseract.Output.STRING,
            )
        )


@contextmanager
def _within(deadline: Deadline) -> Iterator[float]:
    """Give how long pytesseract may take, and turn its errors into ours."""
    seconds = deadline.left
    if seconds <= 0:
        raise deadline.missed
    runner.tesseract_cmd = str(_WRAPPER)
    runner.NamedTemporaryFile = _temporary_file
    runner.timeout_manager = _watched
    try:
        yield seconds
    except pytesseract.TesseractError as error:
        reason = str(error.message).strip() or f"Tesseract ended with {error.status}"
        raise TesseractFailed(reason) from error
    except RuntimeError as error:  # "Tesseract process timeout"
        raise deadline.missed from error
    except SystemExit as error:  # from a program that does not report its version
        raise TesseractFailed(str(error)) from error


@contextmanager
def _watched(process: subprocess.Popen[bytes], seconds: float | None = None) -> Iterator[bytes]:
    """Give what the program says, as pytesseract's own function does; end it if nobody waits."""
    deadline = time.monotonic() + (seconds or math.inf)
    with process:
        try:
            while (left := deadline - time.monotonic()) > 0:
                with suppress(subprocess.TimeoutExpired):
                    _, errors = process.communicate(timeout=min(left, CHECK_EVERY_S))
                    break
                checkpoint()
            else:
                raise RuntimeError("Tesseract process timeout")
        finally:
            process.kill()
    yield errors


def _temporary_file(**options: Any) -> Any:
    """Make a temporary file in memory, where the machine has a folder for that."""
    folder = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    return tempfile.NamedTemporaryFile(dir=folder, **options)


@contextmanager
def _as_file(page: Gray) -> Iterator[str]:
    """Give the path of a page's file (PGM), which is removed afterwards."""
    height, width = page.shape
    with _temporary_file(prefix="tess_", suffix=".pgm") as file:
        file.write(b"P5 %d %d 255\n" % (width, height))
        file.write(np.ascontiguousarray(page).data)
        file.flush()
        yield file.name


def _recognise_inside(page: Gray, name: str, layout: int, deadline: Deadline) -> str:
    """Read a page within the process; returns TSV without its head."""
    height, width = page.shape
    engine = _engine(name)
    left = round(1000 * deadline.left)
    if left <= 0:
        raise deadline.missed
    engine.SetPageSegMode(layout)
    engine.SetImageBytes(page.tobytes(), width, height, 1, width)
    engine.SetSourceResolution(int(_DPI))
    try:
        if not engine.Recognize(left):
            raise deadline.missed if deadline.left <= 0 else TesseractFailed("Tesseract gave up")
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
        loaded[name] = PyTessBaseAPI(path=_installation().folder, lang=name, variables=_SETTINGS)
    return loaded[name]


def _tokens(tsv: str) -> tuple[Token, ...]:
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
            tokens.append(Token(text, left, top, width, height, confidence, place))
    return tuple(tokens)
