"""How well text is read: drawn documents and labels, spoilt in known ways, against plain Tesseract.

    python -m benchmarks.accuracy.text [--models FOLDER] [--set tuning|benchmark] [--pairs N]
        [--write]

``FOLDER`` holds the installed models: the service lets them read what Tesseract does not read
surely. Every picture is drawn here from the sentences
below (written for this purpose, in English, German and French) with fonts of the Debian packages
fonts-dejavu-core and fonts-liberation, so that the truth is known letter by letter. Two sets that
share no sentence and no seed: the settings of the kernel were found on ``tuning``, figures are
reported on ``benchmark``.

*Plain* is pytesseract as its documentation introduces it: ``image_to_string(image)``, English, all
threads. *Plain, language set* is the same with the picture's language. The kernel gets none, and
neither does the service, which has the kernel and the installed models.

The character error rate is the Levenshtein distance between what was read and the truth, in reading
order and with any white space as one blank, over the length of the truth, summed over the pictures
of a group; a rate can thus exceed 100 %. Word recall is the share of the truth's words that were
read exactly, each as often as it occurs.
"""

import argparse
import importlib.util
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple
from unittest import mock

import cv2
import numpy as np
import pytesseract
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks import report
from benchmarks.accuracy.models import installed
from ltu_compute.image import Image as Encoded
from ltu_compute.kernels.text_detection import TesseractTimedOut, detect_text
from ltu_compute.operations.text import read_text
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.second_reader import LETTERS, LINES

Pixels = NDArray[np.uint8]
Set = Literal["tuning", "benchmark"]

FONTS = Path("/usr/share/fonts/truetype")
FACES: dict[Set, tuple[str, ...]] = {
    "tuning": (
        "dejavu/DejaVuSans.ttf",
        "dejavu/DejaVuSerif.ttf",
        "liberation/LiberationSans-Bold.ttf",
    ),
    "benchmark": (
        "liberation/LiberationSans-Regular.ttf",
        "liberation/LiberationSerif-Regular.ttf",
        "dejavu/DejaVuSans-Bold.ttf",
        "liberation/LiberationSansNarrow-Regular.ttf",
    ),
}
LANGUAGES = ("eng", "deu", "fra")


class Text(NamedTuple):
    """What is written on a picture, and in which language."""

    language: str
    lines: tuple[str, ...]

    @property
    def truth(self) -> str:
        """What should be read."""
        return " ".join(self.lines)


DOCUMENTS: dict[Set, dict[str, tuple[str, ...]]] = {
    "tuning": {
        "eng": (
            "The ferry leaves the old harbour every",
            "morning at twenty past seven. Those who",
            "want to take a bicycle should be at the",
            "pier ten minutes earlier, because there",
            "is room for only 14 of them. In winter,",
            "from 3 November until 28 February, the",
            "boat stays on the island overnight.",
        ),
        "deu": (
            "Der Zug nach Lübeck hält heute nicht an",
            "allen Bahnhöfen. Wegen Bauarbeiten fahren",
            "zwischen 9 und 17 Uhr größere Busse, die",
            "an jeder Straße mit grünen Schildern zu",
            "finden sind. Wir bitten alle Fahrgäste um",
            "Verständnis und wünschen trotz der langen",
            "Wege eine gute und ruhige Reise.",
        ),
        "fra": (
            "Le marché du village se tient chaque jeudi",
            "sur la place de l'église. On y trouve des",
            "légumes frais, du miel et du fromage de",
            "chèvre à partir de 8 heures. Les enfants",
            "préfèrent le manège, qui tourne jusqu'à",
            "midi et demi. Où que l'on aille, il reste",
            "toujours 2 ou 3 places à l'ombre.",
        ),
    },
    "benchmark": {
        "eng": (
            "Before you open the housing, switch off",
            "the pump and wait until the small lamp on",
            "the left has gone out. Turn both screws a",
            "quarter clockwise, lift the cover and keep",
            "the grey seal for later use. A damaged seal",
            "must be replaced (part 60-418). Check the",
            "pressure again after 25 hours of work.",
        ),
        "deu": (
            "Die Bücherei öffnet ab Mai schon um 8 Uhr.",
            "Wer ein Buch verlängern möchte, kann das",
            "auch telefonisch unter 0451 7730 tun. Für",
            "jüngere Leser gibt es einen eigenen Raum",
            "mit Spielen, Heften und weichen Kissen.",
            "Bitte schließen Sie Taschen und Jacken in",
            "die Fächer neben der großen Treppe ein.",
        ),
        "fra": (
            "Avant la première utilisation, rincez la",
            "carafe à l'eau tiède et laissez-la sécher.",
            "Versez ensuite un demi-litre d'eau fraîche,",
            "sans dépasser le repère gravé sur le côté.",
            "L'appareil s'arrête de lui-même après 12",
            "minutes ; s'il reste allumé, débranchez-le",
            "et appelez notre service à la clientèle.",
        ),
    },
}

LABELS: dict[Set, dict[str, tuple[str, ...]]] = {
    "tuning": {
        "eng": ("Blackcurrant Jam", "Best before 14.09.2027", "Net weight 340 g", "LOT 58-C207"),
        "deu": (
            "Süße Kirschen",
            "Mindestens haltbar bis 03.2028",
            "Füllmenge 720 ml",
            "Los 19 K 44",
        ),
        "fra": ("Crème à la vanille", "À conserver au frais", "Poids net 125 g", "Lot 7305 B"),
    },
    "benchmark": {
        "eng": ("Smoked Paprika", "Store in a dry place", "Contents 85 g", "Batch 2046-117"),
        "deu": (
            "Frischer Gänsebraten",
            "Kühl und trocken lagern",
            "Stückpreis 17,95",
            "Artikel 83062",
        ),
        "fra": (
            "Gelée de coing",
            "Tenir à l'abri de la lumière",
            "Volume 250 ml",
            "Référence 9041",
        ),
    },
}


@cache
def _font(face: str, capital: int) -> ImageFont.FreeTypeFont:
    """Return a font whose capitals are this many px high."""
    reference = ImageFont.truetype(str(FONTS / face), 200)
    _, top, _, bottom = reference.getbbox("H")
    return ImageFont.truetype(str(FONTS / face), capital * 200 / (bottom - top))


def drawn(
    lines: Sequence[str],
    face: str,
    capital: int,
    *,
    ink: int = 0,
    paper: int = 255,
    margin: float = 2.0,
    boxed: bool = False,
) -> Pixels:
    """Write lines on paper; `capital` is the height of a capital letter in px.

    `margin` is the white around them, in capital heights; `boxed` draws a label's frame into it.
    """
    font = _font(face, capital)
    pitch = round(2.1 * capital)
    rim = round(margin * capital)
    width = round(max(font.getlength(line) for line in lines)) + 2 * rim
    height = pitch * (len(lines) - 1) + round(1.4 * capital) + 2 * rim
    page = Image.new("L", (width, height), paper)
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((rim, rim + capital + number * pitch), line, fill=ink, font=font, anchor="ls")
    if boxed:
        edge = rim // 3
        pen.rectangle((edge, edge, width - 1 - edge, height - 1 - edge), outline=ink, width=2)
    return np.asarray(page, np.uint8)


def turned(page: Pixels, degrees: float) -> Pixels:
    """Turn a page clockwise and show it whole; what comes into sight has the corners' grey."""
    height, width = page.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, high = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix[:, 2] += (wide - width) / 2, (high - height) / 2
    paper = int(page[0, 0])
    spoilt = cv2.warpAffine(page, matrix, (wide, high), flags=cv2.INTER_CUBIC, borderValue=paper)
    return np.asarray(spoilt, np.uint8)


def noisy(page: Pixels, sigma: float, dice: np.random.Generator) -> Pixels:
    """Add Gaussian noise of this standard deviation, in grey levels."""
    spoilt = page + dice.normal(0, sigma, page.shape)
    return spoilt.round().clip(0, 255).astype(np.uint8)


def photographed(page: Pixels, dice: np.random.Generator) -> Pixels:
    """Show a page as a telephone would: from aside, unevenly lit, a little blurred and noisy."""
    height, width = page.shape
    table = 60.0
    margin = round(0.12 * width)
    scene = np.full((height + 2 * margin, width + 2 * margin), table, np.float32)
    scene[margin:-margin, margin:-margin] = page
    high, wide = scene.shape
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
    shift = dice.uniform(-0.035, 0.035, (4, 2)) * (wide, high)
    matrix = cv2.getPerspectiveTransform(corners, (corners + shift).astype(np.float32))
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), dice.uniform(-7, 7), 0.95)
    matrix = np.vstack([turn, (0, 0, 1)]) @ matrix
    scene = cv2.warpPerspective(
        scene, matrix, (wide, high), flags=cv2.INTER_CUBIC, borderValue=table
    )
    direction = dice.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, wide), np.linspace(-1, 1, high))
    light = 0.72 + 0.25 * (x * np.cos(direction) + y * np.sin(direction))
    scene = cv2.GaussianBlur((scene * light).astype(np.float32), (0, 0), 0.9)
    return noisy(np.asarray(scene), 6, dice)


DOT_PITCH = 4  # px between the dots of dotted print
DOTTED_CAPITALS = (9, 14)  # rows of dots of a capital letter: the least, one more than the most


def _dotted(lines: Sequence[str], face: str, _: bool, dice: np.random.Generator) -> Pixels:
    """Print in dots that do not touch each other, as ink jets print dates."""
    fine = drawn(lines, face, int(dice.integers(*DOTTED_CAPITALS)))
    height, width = fine.shape
    page = np.full((height * DOT_PITCH, width * DOT_PITCH), 255, np.uint8)
    middles = np.argwhere(fine < 128)[:, ::-1] * DOT_PITCH + DOT_PITCH // 2
    for middle in middles.tolist():
        cv2.circle(page, middle, DOT_PITCH // 2 - 1, 30, cv2.FILLED, cv2.LINE_AA)
    return page


@dataclass(frozen=True)
class Sample:
    """A picture and what is written on it."""

    image: Pixels
    text: Text


Draw = Callable[[Sequence[str], str, bool, np.random.Generator], Pixels]
"""From lines, a typeface, whether they are a label and dice to a picture."""


def _pages(**options: int) -> Draw:
    return lambda lines, face, label, _: drawn(lines, face, 24, boxed=label, **options)


def _turned(*degrees: float) -> Draw:
    return lambda lines, face, label, dice: turned(
        drawn(lines, face, 24, boxed=label), float(dice.choice(degrees))
    )


def _skewed(lines: Sequence[str], face: str, label: bool, dice: np.random.Generator) -> Pixels:
    degrees = dice.uniform(4, 15) * dice.choice((-1, 1))
    return turned(drawn(lines, face, 24, boxed=label), float(degrees))


def _blurred(lines: Sequence[str], face: str, label: bool, dice: np.random.Generator) -> Pixels:
    page = drawn(lines, face, 24, boxed=label)
    return np.asarray(cv2.GaussianBlur(page, (0, 0), dice.uniform(1.5, 3.5)), np.uint8)


def _noisy(lines: Sequence[str], face: str, label: bool, dice: np.random.Generator) -> Pixels:
    return noisy(drawn(lines, face, 24, boxed=label), dice.uniform(20, 70), dice)


def _inverted(lines: Sequence[str], face: str, label: bool, dice: np.random.Generator) -> Pixels:
    ink, paper = dice.integers(190, 256), dice.integers(0, 60)
    capital = int(dice.integers(14, 30))
    return drawn(lines, face, capital, boxed=label, ink=int(ink), paper=int(paper))


def _pale(lines: Sequence[str], face: str, label: bool, dice: np.random.Generator) -> Pixels:
    paper = int(dice.integers(70, 230))
    page = drawn(lines, face, 24, boxed=label, ink=paper - int(dice.integers(14, 30)), paper=paper)
    return noisy(page, 2, dice)


def _sized(low: int, high: int) -> Draw:
    return lambda lines, face, label, dice: drawn(
        lines, face, int(dice.integers(low, high + 1)), boxed=label
    )


def _photographed(
    lines: Sequence[str], face: str, label: bool, dice: np.random.Generator
) -> Pixels:
    capital = int(dice.integers(16, 28))
    return photographed(drawn(lines, face, capital, margin=3, boxed=label, ink=25, paper=235), dice)


GROUPS: dict[str, Draw] = {
    "plain": _pages(),
    "rotated 90°": _turned(90),
    "rotated 180°": _turned(180),
    "rotated 270°": _turned(270),
    "skewed 4° to 15°": _skewed,
    "blurred": _blurred,
    "noisy": _noisy,
    "inverted": _inverted,
    "low contrast": _pale,
    "small, 8 to 12 px": _sized(8, 12),
    "sizes, 8 to 40 px": _sized(8, 40),
    "phone-like": _photographed,
    "dotted": _dotted,
}
HALVED = (
    "rotated 90°",
    "rotated 180°",
    "rotated 270°",
    "skewed 4° to 15°",
    "inverted",
    "small, 8 to 12 px",
)
"""Groups whose error rate should be at most half of plain Tesseract's."""
UNREAD = ("dotted",)
"""Groups that Tesseract cannot read; some pages take all the time that it has. They are not timed.
"""


def samples(chosen: Set, group: str, repeats: int, seed: int = 0) -> Iterator[Sample]:
    """Draw the pictures of a group: documents and labels in each language, `repeats` of each."""
    for repeat in range(repeats):
        for number, language in enumerate(LANGUAGES):
            for label, texts in enumerate((DOCUMENTS, LABELS)):
                place = (list(GROUPS).index(group), repeat, number, label, chosen == "tuning")
                dice = np.random.default_rng((seed, *map(int, place)))
                text = Text(language, texts[chosen][language])
                face = str(dice.choice(FACES[chosen]))
                yield Sample(GROUPS[group](text.lines, face, bool(label), dice), text)


def edit_distance(first: str, second: str) -> int:
    """Return how many letters must be inserted, dropped or replaced (Levenshtein, 1966)."""
    letters = np.array([ord(letter) for letter in second], np.int64)
    places = np.arange(len(second) + 1)
    row = places
    for letter in first:
        step = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # Insertions run along the row: the least of all earlier ones plus the way from there.
        row = np.minimum.accumulate(np.concatenate(([row[0] + 1], step)) - places) + places
    return int(row[-1])


@dataclass
class Score:
    """Sums over pictures."""

    wrong: int = 0
    letters: int = 0
    found: int = 0
    words: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, read: str, truth: str, seconds: float) -> None:
        """Count one picture."""
        self.wrong += edit_distance(" ".join(read.split()), truth)
        self.letters += len(truth)
        expected = Counter(truth.split())
        self.found += (expected & Counter(read.split())).total()
        self.words += expected.total()
        self.seconds.append(seconds)

    @property
    def error_rate(self) -> float:
        """Character error rate."""
        return self.wrong / self.letters

    @property
    def recall(self) -> float:
        """Share of the words read exactly."""
        return self.found / self.words


def plain(sample: Sample) -> str:
    """Read as pytesseract does by itself."""
    return str(pytesseract.image_to_string(Image.fromarray(sample.image)))


def plain_set(sample: Sample) -> str:
    """Read as pytesseract does with its language set."""
    page = Image.fromarray(sample.image)
    return str(pytesseract.image_to_string(page, lang=sample.text.language))


def with_program(sample: Sample) -> str:
    """Read with the kernel, Tesseract run as a program."""
    with mock.patch("ltu_compute.kernels.tesseract._has_tesserocr", return_value=False):
        return with_library(sample)


def with_library(sample: Sample) -> str:
    """Read with the kernel, Tesseract within the process; nothing where it takes too long."""
    image = np.asarray(cv2.cvtColor(sample.image, cv2.COLOR_GRAY2BGR), np.uint8)
    try:
        return detect_text(image).text
    except TesseractTimedOut:
        return ""


Readers = dict[str, Callable[[Sample], str]]
MOST_PIXELS = 20_000_000  # of a picture that the service reads


def with_models(models: Models) -> Callable[[Sample], str]:
    """Return a function that reads as the service does."""
    recognisers = Recognisers(models)

    def read(sample: Sample) -> str:
        content = cv2.imencode(".png", sample.image)[1].tobytes()
        image = Encoded.from_bytes(content, max_pixels=MOST_PIXELS)
        return read_text(image, recognisers).found.text

    return read


def readers(models: Path) -> Readers:
    """Return all that read, by name; the service only where its models are installed."""
    found: Readers = {"plain": plain, "plain, language set": plain_set, "program": with_program}
    if importlib.util.find_spec("tesserocr"):
        found["tesserocr"] = with_library
    if (models / LINES).is_dir() and (models / LETTERS).is_dir():
        found["service"] = with_models(installed(models))
    return found


def score(
    chosen: Set, group: str, repeats: int, seed: int, readers: Readers
) -> tuple[dict[str, Score], list[tuple[int, Sample, str]]]:
    """Have every reader read every picture of a group; tells what went wrong with the program."""
    scores = {name: Score() for name in readers}
    worst = []
    for sample in samples(chosen, group, repeats, seed):
        for name, read in readers.items():
            start = time.perf_counter()
            text = read(sample)
            scores[name].add(text, sample.text.truth, time.perf_counter() - start)
            if name == "program":
                wrong = edit_distance(" ".join(text.split()), sample.text.truth)
                worst.append((wrong, sample, text))
    return scores, worst


_INTRODUCTION = """## Text

{pictures} pictures per group, drawn in English, German and French: documents of seven lines and
labels of four, capitals 24 px high where not said. *Plain* is `pytesseract.image_to_string(image)`;
*set* is the same with the picture's language set; the kernel gets no language. *Service* is
`textDetection` with the installed models, which read what the kernel does not read surely. CER:
character error rate in reading order. The aim is a CER of at most plain's, of at most half of it
where text is turned, skewed, inverted or small; of *dotted* print the service's counts.

"""

_ON_TIMES = """

Times are of the same run, picture by picture in turns, Tesseract's threads as it sets them by
itself; *program* and *tesserocr* are the kernel's two ways to Tesseract; *service* is the better of
these, and the models where they are asked. Dotted print is not timed. The aim is at most 0.3 of
plain.

"""


SHOWN = {"plain": "plain", "plain, language set": "set", "program": "kernel", "service": "service"}
"""Readers with columns of their own, and what these are called."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and publish what came out."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    given, rest = parser.parse_known_args(arguments)
    asked = report.options("Accuracy of textDetection.", pairs=2, seed=2026, arguments=rest)
    reading = readers(given.models)
    if "service" not in reading:
        print(f"{given.models} holds no models that read: the service is left out")
    if "OMP_THREAD_LIMIT" in os.environ:
        raise SystemExit("OMP_THREAD_LIMIT is set: plain Tesseract would not be as it comes")
    scores, worst = {}, []
    for group in GROUPS:
        scores[group], wrong = score(asked.chosen, group, asked.pairs, asked.seed, reading)
        worst += wrong
    accuracy = []
    for group, by_reader in scores.items():
        shown = [by_reader[name] for name in SHOWN if name in by_reader]
        plainly, ours = by_reader["plain"], by_reader["program"]
        aim = 0.5 if group in HALVED else 1.0
        accuracy.append(
            (
                group,
                *(f"{reader.error_rate:.1%}" for reader in shown),
                "yes" if ours.error_rate <= aim * plainly.error_rate else "NO",
                *(f"{reader.recall:.1%}" for reader in shown),
            )
        )
    times = []
    timed = [by_reader for group, by_reader in scores.items() if group not in UNREAD]
    everything = {name: [by[name].seconds for by in timed] for name in reading}
    baseline = sum(map(sum, everything["plain"]))
    for name, seconds in everything.items():
        flat = [each for group in seconds for each in group]
        times.append(
            (name, f"{np.median(flat):.2f}", f"{sum(flat):.0f}", f"{sum(flat) / baseline:.2f}")
        )
    titles = [title for name, title in SHOWN.items() if name in reading]
    columns = (
        *("group", *(f"CER {title}" for title in titles), "aim reached"),
        *(f"recall {title}" for title in titles),
    )
    text = (
        _INTRODUCTION.format(pictures=len(LANGUAGES) * 2 * asked.pairs)
        + report.table(columns, accuracy)
        + _ON_TIMES
        + report.table(("reader", "median s", "total s", "of plain"), times)
    )
    report.publish(
        "text",
        text,
        asked,
        peers=tuple(name for name in ("pytesseract", "tesserocr") if name in _installed()),
        versions={"tesseract": str(pytesseract.get_tesseract_version())},
    )
    if asked.save:
        worst.sort(key=lambda entry: -entry[0])
        tiles = [
            (
                f"{wrong} wrong: {read[:60]!r}",
                np.asarray(cv2.cvtColor(sample.image, cv2.COLOR_GRAY2BGR), np.uint8),
            )
            for wrong, sample, read in worst[:16]
        ]
        report.save_contact_sheet(asked.save / "text-worst.jpg", tiles, columns=4)


def _installed() -> set[str]:
    return {name for name in ("pytesseract", "tesserocr") if importlib.util.find_spec(name)}


if __name__ == "__main__":
    main()
