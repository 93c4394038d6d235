"""The second reader, with models that see what is drawn for them."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from ltu_compute.errors import NotInstalled, Unprocessable
from ltu_compute.kernels.text_detection import TextDetection, Word
from ltu_compute.operations import text as reading
from ltu_compute.recognisers import second_reader
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx.decoders import Placement

LETTERS = ["A", "B", "7"]
WHITE = 255


def chances(steps: str, sure: float = 0.9) -> Any:
    """Return what a reader says of a line; "-" is nothing, "_" a blank."""
    found = np.zeros((len(steps), 5), np.float32)
    for step, letter in enumerate(steps):
        found[step, "-AB7_".index(letter)] = sure
    return found


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("AAB-", ["AB"]),
        ("A-A-", ["AA"]),  # nothing between them: two letters
        ("-A_B", ["A", "B"]),
        ("_A__7_", ["A", "7"]),
        ("----", []),
        ("____", []),
    ],
)
def test_steps_become_words(steps: str, words: list[str]) -> None:
    found, confidence = second_reader.decoded(chances(steps), LETTERS)
    assert [word for word, _, _ in found] == words
    assert confidence == pytest.approx(0.0 if steps == "----" else 0.9)
    assert all(0 <= left < right <= 1 for _, left, right in found)


def test_words_are_where_their_letters_are() -> None:
    """The first word in the first half of the line; the last quarter of the steps is a bar."""
    ((_, left, right), (_, begin, end)), _ = second_reader.decoded(
        chances("A-B-_-7-----"), LETTERS, filled=0.75
    )
    assert (left, right) == pytest.approx((0.0, 2.5 / 9 + 1 / 9), abs=0.02)
    assert (begin + end) / 2 == pytest.approx(6.5 / 9, abs=0.02)


class Finder:
    """Sees white areas of the picture."""

    def run(self, image: Any, _idle: Any, *, side: int) -> Any:
        scale = side / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        ink = (small.min(axis=2) > 200).astype(np.float32)
        return {"ink": ink[None, None]}, Placement(scale, scale, 0, 0, size)


class Reader:
    """Says of every line the next of some texts."""

    known = True

    def __init__(self, *texts: str, sure: float = 0.95) -> None:
        self.texts, self.sure = list(texts), sure
        self.shapes: list[tuple[int, ...]] = []

    def metadata(self, _name: str) -> str:
        return "\n".join(LETTERS)

    def run(self, image: Any, _idle: Any) -> Any:
        self.shapes.append(image.shape[:2])
        steps = self.texts.pop(0) if self.texts else "--"
        height, width = image.shape[:2]
        placement = Placement(48 / height, 48 / height, 0, 0, (round(width * 48 / height), 48))
        return {"chances": chances(steps, self.sure)[None]}, placement


def models(**named: Any) -> Any:
    given = {"text-lines": Finder()} | {name.replace("_", "-"): m for name, m in named.items()}
    return SimpleNamespace(installed=lambda name, _task: given.get(name))


def page(*boxes: tuple[int, int, int, int]) -> Any:
    """Return a picture with white boxes: left, top, width, height."""
    picture = np.zeros((400, 600, 3), np.uint8)
    for left, top, width, height in boxes:
        picture[top : top + height, left : left + width] = WHITE
    return picture


def read(picture: Any, reader: Reader, names: tuple[str, ...] = ()) -> TextDetection | None:
    return second_reader.read(picture, models(text_letters=reader), names, nullcontext)


def test_lines_are_read_in_order() -> None:
    """The largest is read first; rows go from the top, and in a row from the left."""
    reader = Reader("A-B", "7-A-7", "B-B")
    found = read(page((40, 300, 300, 40), (40, 100, 200, 40), (280, 98, 150, 40)), reader)
    assert found is not None
    assert found.text == "7A7 BB\nAB"
    assert [word.line for word in found.words] == [0, 0, 1]
    assert found.rotation == pytest.approx(0, abs=0.5)
    low, high = found.words[2].corners.min(axis=0), found.words[2].corners.max(axis=0)
    assert (low < (50, 302)).all()
    assert (high > (280, 338)).all()


def test_single_digits_in_a_row_are_one_number() -> None:
    """As on a meter; digits that are far apart are separate."""
    frames = [(40 + 90 * n, 100, 45, 60) for n in range(4)]
    found = read(page(*frames), Reader("7", "7", "7", "7"))
    assert found is not None
    assert [word.text for word in found.words] == ["7777"]
    assert np.ptp(found.words[0].corners[:, 0]) > 300


def test_a_line_that_runs_downwards_is_read_from_its_side() -> None:
    reader = Reader("--", "A-B-7")
    found = read(page((200, 50, 40, 300)), reader)
    assert found is not None
    assert found.text == "AB7"
    assert [width > 3 * height for height, width in reader.shapes] == [True, True]


@pytest.mark.parametrize(
    "reader", [Reader("A-B-7", sure=0.6), Reader("A-7"), Reader()], ids=["unsure", "two", "none"]
)
def test_letters_in_textures_are_no_text(reader: Reader) -> None:
    found = read(page((40, 100, 200, 40)), reader)
    assert found is not None
    assert (found.words, found.text, found.language) == ((), "", "")


@pytest.mark.parametrize(
    ("texts", "looks", "expected"),
    [
        ((), 3, ""),
        (("A", "7", "A-B-7", "B-7-A"), 2, "B7A\nAB7"),  # letters in dots, then the lines of these
        (("A", "7", "--", "--", "A-B-7", "B-7-A"), 3, "B7A\nAB7"),
        (("A", "7-7", "--", "A"), 3, "77\nA"),
        (("A-A-A", "B-B-B", "A-B-7", "B-A-7-A-B"), 2, "BA7AB\nAB7"),
        (("A-B-7", "B-7-A"), 1, "B7A\nAB7"),
    ],
    ids=["nothing", "dots", "finer dots", "no better", "crosses", "whole words"],
)
def test_fragments_are_looked_at_blurred(texts: tuple[str, ...], looks: int, expected: str) -> None:
    """Dots run together; the reading with the most letters counts."""
    seen: list[int] = []

    class Counting(Finder):
        def run(self, image: Any, release_slot: Any, *, side: int) -> Any:
            seen.append(np.unique(image).size)
            return super().run(page(*boxes), release_slot, side=side)

    boxes = ((40, 300, 200, 40), (40, 100, 150, 40))
    given = models(text_letters=Reader(*texts), text_lines=Counting())
    found = second_reader.read(page(*boxes), given, (), nullcontext)
    assert found is not None
    assert found.text == expected
    assert len(seen) == looks
    assert seen[0] == 2  # black and white
    assert all(levels > 2 for levels in seen[1:])


@pytest.mark.parametrize(
    ("left", "top", "expected"),
    [(100, 60, True), (150, 60, True), (100, 200, False), (215, 60, False), (700, 60, False)],
    ids=["line", "most of it", "below", "a third of it", "outside"],
)
def test_a_line_is_seen_where_it_covers_a_place(left: int, top: int, expected: bool) -> None:
    corners = np.add([(0, 0), (160, 0), (160, 24), (0, 24)], (left, top))
    finder: Any = Finder()
    picture = page((98, 58, 168, 28))
    assert second_reader.shows_line(picture, corners, finder, nullcontext) is expected


def test_the_length_of_all_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest lines are read; each of these is five heights long and grows."""
    monkeypatch.setattr(second_reader, "MAX_LENGTH", 8)
    reader = Reader(*["A-B-7"] * 4)
    found = read(page(*((40, 40 + 90 * n, 200, 40) for n in range(4))), reader)
    assert found is not None
    assert len(reader.shapes) == 2
    assert found.text == "AB7\nAB7"


def test_without_models_and_for_other_scripts() -> None:
    assert second_reader.read(page(), models(), (), nullcontext) is None
    assert read(page(), Reader(), ("rus", "ara")) is None
    assert read(page(), Reader(), ("rus", "eng")) is not None


# ------------------------------------------------------------------------------- who is taken


def text(word: str, confidence: float) -> TextDetection:
    corners = np.array([(0, 0), (9, 0), (9, 9), (0, 9)], np.float64)
    return TextDetection((Word(word, corners, confidence, 0, ""),), word, "", 0.0)


NOTHING = TextDetection((), "", "", 0.0)


class Picture:
    name, width, height = "image", 200, 100

    def fit(self, _side: int) -> Any:
        return np.zeros((50, 100, 3), np.uint8)


@pytest.mark.parametrize(
    ("first", "second", "provider", "expected"),
    [
        (text("sure", 0.95), text("another", 0.99), "", "sure"),
        (text("m n", 0.5), text("4428734", 0.95), "", "4428734"),
        (text("longer and better", 0.9), text("short", 0.95), "", "longer and better"),
        (NOTHING, text("dots", 0.95), "", "dots"),
        (NOTHING, text("dots", 0.95), "Tesseract", ""),
        (NOTHING, None, "", ""),
        (text("mnmn", 0.5), NOTHING, "", "mnmn"),
        (text("N", 0.94), NOTHING, "", ""),  # in leaves
        (text("N", 0.94), None, "", "N"),
        (text("N", 0.94), NOTHING, "Tesseract", "N"),
        (text("7", 0.94), text("7", 0.99), "", "7"),
        (text("N", 0.94), text("x", 0.99), "", ""),
        (text("N", 0.94), text("dots", 0.8), "", "dots"),
    ],
)
def test_the_better_reading_counts(
    first: TextDetection,
    second: TextDetection | None,
    provider: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_tesseract_text", lambda *_: first)
    monkeypatch.setattr(reading.tesseract, "names_of", lambda _: ("eng",))
    monkeypatch.setattr(second_reader, "read", lambda *_, **_options: second)
    image: Any = Picture()
    found = reading.read_text(image, Recognisers(models()), provider=provider)
    assert found.found.text == expected
    assert found.provider == ("PP-OCR" if second is not None and expected == second.text
                              and expected else "Tesseract")  # fmt: skip
    if found.provider == "PP-OCR":  # in px of the original
        assert found.found.words[0].corners.max() == pytest.approx(18)


@pytest.mark.parametrize(
    "error",
    [
        NotInstalled("provider: Tesseract is not installed", parameter="provider"),
        Unprocessable("image: too dense to be read in 20 s", parameter="image"),
    ],
)
def test_the_models_read_where_tesseract_cannot(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> TextDetection:
        raise error

    monkeypatch.setattr(reading, "_tesseract_text", failing)
    image: Any = Picture()
    monkeypatch.setattr(second_reader, "read", lambda *_, **_options: text("read", 0.9))
    assert reading.read_text(image, Recognisers(models())).found.text == "read"
    with pytest.raises(type(error)):
        reading.read_text(image, Recognisers(models()), provider="Tesseract")
    monkeypatch.setattr(second_reader, "read", lambda *_, **_options: None)
    with pytest.raises(type(error)):
        reading.read_text(image, Recognisers(models()))
