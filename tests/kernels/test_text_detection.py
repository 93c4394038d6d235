import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image, ImageDraw, ImageFont

from ltu_compute.cancellation import Cancelled, cancellable
from ltu_compute.kernels import tesseract as engine
from ltu_compute.kernels import text_detection, text_layout
from ltu_compute.kernels.languages import language_of
from ltu_compute.kernels.text_detection import (
    LanguageMissing,
    TesseractFailed,
    TesseractMissing,
    TesseractTimedOut,
    detect_text,
    installed_languages,
)
from tests.support.timing import until

WANTED = {"en", "de", "fr"}

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"  # of fonts-dejavu-core

LINES = ("Handle with care", "Store in a dry place", "Keep away from the cold")
WORDS = " ".join(LINES).split()


def page(lines=LINES, *, size=28, ink=0, paper=255, margin=40):
    """Lines, and the box of each word: left, top, right, bottom."""
    font = ImageFont.truetype(FONT, size)
    width = round(max(font.getlength(line) for line in lines)) + 2 * margin
    pitch = round(1.7 * size)
    sheet = Image.new("L", (width, pitch * len(lines) + 2 * margin), paper)
    pen = ImageDraw.Draw(sheet)
    boxes = []
    for number, line in enumerate(lines):
        top = margin + number * pitch
        pen.text((margin, top), line, fill=ink, font=font)
        done = ""
        for word in line.split():
            x = margin + font.getlength(done)
            boxes.append(pen.textbbox((x, top), word, font=font))
            done += f"{word} "
    return np.asarray(sheet, np.uint8), np.array(boxes, np.float64)


def bgr(gray):
    return cv2.cvtColor(np.ascontiguousarray(gray, np.uint8), cv2.COLOR_GRAY2BGR)


def turned(gray, degrees, paper=255):
    """The picture turned clockwise, shown whole, and the matrix that turned it."""
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(gray, matrix, size, flags=cv2.INTER_CUBIC, borderValue=paper), matrix


def texts(found):
    return [word.text for word in found.words]


def corners_of(boxes):
    """Of boxes, the corners of their outermost pixels, clockwise from the top left."""
    left, top, right, bottom = boxes.T
    right, bottom = right - 1, bottom - 1
    return np.stack(
        [
            np.stack(pair, 1)
            for pair in ((left, top), (right, top), (right, bottom), (left, bottom))
        ],
        axis=1,
    )


# ------------------------------------------------------------------------------------ reading


def test_words_lines_and_corners():
    sheet, boxes = page()
    found = detect_text(bgr(sheet))
    assert texts(found) == WORDS
    assert found.text == "\n".join(LINES)
    assert [word.line for word in found.words] == [0] * 3 + [1] * 5 + [2] * 5
    assert found.language == "en"
    assert {word.language for word in found.words} == {"en"}
    assert found.rotation == 0
    assert all(0.7 < word.confidence <= 1 for word in found.words)
    corners = np.array([word.corners for word in found.words])
    assert corners.dtype == np.float64
    np.testing.assert_allclose(corners, corners_of(boxes), atol=4)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90, 15, -15, 7.3, 40, 165, -100])
def test_turned_text_is_read_and_located(degrees):
    sheet, boxes = page()
    picture, matrix = turned(sheet, degrees)
    found = detect_text(bgr(picture))
    assert texts(found) == WORDS
    assert abs(found.rotation - degrees) < 0.4
    expected = corners_of(boxes) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose([word.corners for word in found.words], expected, atol=4)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_capitals_and_figures_do_not_tell_which_side_is_up(degrees):
    """They have no ascenders or descenders: reading them has to decide."""
    lines = ("FRAGILE GLASS", "HANDLE WITH CARE", "LOT 4711 EXP 12")
    found = detect_text(bgr(turned(page(lines)[0], degrees)[0]))
    assert found.text == "\n".join(lines)
    assert abs(found.rotation - degrees) < 0.4


def shaded(sheet):
    light = np.linspace(0.35, 1, sheet.shape[1])
    return sheet * light


def noisy(sheet):
    return (sheet + np.random.default_rng(3).normal(0, 45, sheet.shape)).clip(0, 255)


def framed(sheet):
    framed = sheet.copy()
    cv2.rectangle(framed, (8, 8), (sheet.shape[1] - 9, sheet.shape[0] - 9), 0, 3)
    return framed


@pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(lambda: page(ink=240, paper=20)[0], id="light on dark"),
        pytest.param(lambda: page(ink=150, paper=166)[0], id="pale"),
        pytest.param(lambda: page(size=11, margin=10)[0], id="small"),
        pytest.param(lambda: page(size=90)[0], id="large"),
        pytest.param(lambda: page(margin=2)[0], id="without margin"),
        pytest.param(lambda: shaded(page()[0]), id="unevenly lit"),
        pytest.param(lambda: noisy(page()[0]), id="noisy"),
        pytest.param(lambda: framed(page()[0]), id="framed"),
        pytest.param(lambda: cv2.GaussianBlur(page()[0], (0, 0), 2), id="blurred"),
    ],
)
def test_text_that_is_hard_to_see(drawn):
    assert detect_text(bgr(drawn())).text == "\n".join(LINES)


def test_both_polarities_on_one_page():
    head, _ = page(("Operating manual",), ink=255, paper=30)
    body, _ = page()
    sheet = np.full((len(head) + len(body), max(head.shape[1], body.shape[1])), 255, np.uint8)
    sheet[: len(head)] = 30
    sheet[: len(head), : head.shape[1]] = head
    sheet[len(head) :, : body.shape[1]] = body
    assert detect_text(bgr(sheet)).text.split() == ["Operating", "manual", *WORDS]


def test_a_small_label_in_a_large_picture():
    """The picture is reduced for the analysis, but read at full size."""
    sheet, boxes = page(size=18, margin=20)
    picture = np.full((2200, 3000), 200, np.uint8)
    picture[700 : 700 + sheet.shape[0], 1200 : 1200 + sheet.shape[1]] = sheet
    found = detect_text(bgr(picture))
    assert texts(found) == WORDS
    expected = corners_of(boxes) + np.array((1200, 700))
    np.testing.assert_allclose([word.corners for word in found.words], expected, atol=3)


@pytest.mark.parametrize("turns", [0, 1])
def test_a_label_on_the_longest_strip(turns):
    """OpenCV warps no picture with a longer side; its analysis works on a shorter one."""
    sheet, boxes = page(LINES[:1], margin=20)
    strip = np.full((sheet.shape[0], 32_766), 255, np.uint8)
    strip[:, 30_000 : 30_000 + sheet.shape[1]] = sheet
    found = detect_text(bgr(np.rot90(strip, turns)))
    assert texts(found) == LINES[0].split()
    if not turns:
        expected = corners_of(boxes) + np.array((30_000, 0))
        np.testing.assert_allclose([word.corners for word in found.words], expected, atol=4)


def test_a_label_in_a_photograph():
    photograph = cv2.imread(str(Path(skimage.__file__).parent / "data" / "chelsea.png"))
    photograph = cv2.resize(photograph, None, fx=2, fy=2)
    assert detect_text(photograph).words == ()
    sheet, _ = page(size=24)
    photograph[300 : 300 + sheet.shape[0], 420 : 420 + sheet.shape[1]] = sheet[..., None]
    assert set(WORDS) <= set(texts(detect_text(photograph)))


def bar_code(module=3, height=150):
    """Bars as dense as a bar code's, 1 to 4 modules wide; the seed has no meaning."""
    widths = np.random.default_rng(5).integers(1, 5, 59)
    row = np.repeat(np.arange(59) % 2 * 255, widths * module).astype(np.uint8)
    return np.tile(row, (height, 1))


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("lying", [False, True])
def test_a_bar_code_is_no_text(degrees, lying):
    sheet, boxes = page(margin=60)
    bars = bar_code().T if lying else bar_code()
    wide = np.full((max(sheet.shape[0], len(bars) + 40), sheet.shape[1] + bars.shape[1] + 60), 255)
    wide[: sheet.shape[0], : sheet.shape[1]] = sheet
    wide[20 : 20 + len(bars), sheet.shape[1] : sheet.shape[1] + bars.shape[1]] = bars
    picture, matrix = turned(wide.astype(np.uint8), degrees)
    found = detect_text(bgr(picture))
    assert found.text == "\n".join(LINES)
    expected = corners_of(boxes) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose([word.corners for word in found.words], expected, atol=4)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_a_type_plate_with_a_bar_code(degrees):
    plate = cv2.imread(str(Path(__file__).parents[2] / "fixtures/images/label.png"))
    found = detect_text(np.rot90(plate, -degrees // 90))
    assert found.text == (
        "NORTHFIELD PUMPS\nMODEL CX-450\nSERIAL 7304 1182\n230 V 50 HZ\nMADE 2021"
    )
    assert abs(found.rotation - degrees) < 0.4


PART = Path(__file__).parents[2] / "fixtures/images"

ON_THE_PART = set(
    re.findall(
        r"\S+",
        "A REF REF0 REFO 0 O M8 X1 x1 IN HALDEN ALDEN DRIVE UNIT DU-35 24 V DC VDC 4.2 A 4.2A IP 54"
        " S/N /N SUPPLY 40718-226 40718-286 286 LC9674 LC6652 LC6044",
    )
)
"""What is written there (`fixtures/make_fixtures.py`), and what is left where a screw hides it."""


@pytest.mark.parametrize(
    ("shot", "number"), [("reference", "226"), ("shot", "286")], ids=["reference", "shot"]
)
def test_a_machine_part_has_few_words_and_no_language(shot, number):
    """Screws, bores and bars are no words, and type plates are in no language."""
    found = detect_text(cv2.imread(str(PART / f"part-{shot}.jpg")))
    read = texts(found)
    assert {"SUPPLY", "DRIVE", "UNIT", "DU-35", "24", "IP", "54"} <= set(read)
    assert any(number in word for word in read)
    assert len([word for word in read if word not in ON_THE_PART]) <= 1
    assert found.language == ""


@pytest.mark.parametrize("text", ["7", "A", "Paprika", "4012345 678901"])
def test_a_single_word(text):
    assert detect_text(bgr(page((text,), size=40)[0])).text == text


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.full((3, 900, 3), 255, np.uint8),
        np.zeros((40, 60, 3), np.uint8),
        np.full((200, 300, 3), 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8),
    ],
    ids=lambda picture: f"{picture.shape}",
)
def test_pictures_without_text_have_no_words(picture):
    found = detect_text(picture)
    assert found.words == ()
    assert (found.text, found.language, found.rotation) == ("", "", 0)


def test_the_same_picture_gives_the_same_answer():
    picture = bgr(turned(noisy(page()[0]), 12)[0])
    first, second = detect_text(picture), detect_text(picture)
    assert [(word.text, word.confidence, word.line) for word in first.words] == [
        (word.text, word.confidence, word.line) for word in second.words
    ]
    for one, other in zip(first.words, second.words, strict=True):
        np.testing.assert_array_equal(one.corners, other.corners)


# ---------------------------------------------------------------------------------- languages

GERMAN = ("Die Straße ist nicht", "für Fußgänger und Radler", "geöffnet")
FRENCH = ("La crème à la vanille", "est à conserver au frais", "jusqu'à l'été")


@pytest.mark.parametrize(("lines", "language"), [(LINES, "en"), (GERMAN, "de"), (FRENCH, "fr")])
def test_the_language_is_found(lines, language):
    found = detect_text(bgr(page(lines)[0]))
    assert found.language == language
    assert found.text == "\n".join(lines)


@pytest.mark.parametrize("languages", [("de",), ("deu",), ("ger",), ("DE", "en"), ("fr", "deu")])
def test_languages_may_be_named(languages):
    assert detect_text(bgr(page(GERMAN)[0]), languages=languages).text == "\n".join(GERMAN)


def test_a_language_that_is_not_installed():
    with pytest.raises(LanguageMissing, match="tlh") as caught:
        detect_text(bgr(page()[0]), languages=("de", "tlh"))
    assert caught.value.language == "tlh"
    assert set(caught.value.installed) == set(installed_languages()) >= WANTED


@pytest.mark.parametrize(
    ("text", "names", "language"),
    [
        ("The end of the road", ("deu", "eng", "fra"), "eng"),
        ("Die Strasse und der Wald", ("deu", "eng", "fra"), "deu"),
        ("Le chat est sur la table", ("deu", "eng", "fra"), "fra"),
        ("El gato y la mesa del señor", ("fra", "por", "spa"), "spa"),
        ("Füllmenge 720 ml", ("deu", "eng", "fra"), "deu"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m", ("deu", "eng"), None),
        ("4711", ("deu", "eng"), None),
        ("DRIVE UNIT DU-35, IN 24 V", ("deu", "eng", "fra"), None),  # "in" is German, too
        ("REF À", ("deu", "eng", "fra"), None),
        ("À la carte", ("deu", "eng", "fra"), "fra"),
        ("", ("deu", "eng"), None),
        ("the end", (), None),
    ],
)
def test_language_of_a_text(text, names, language):
    assert language_of(text, names) == language


@pytest.mark.parametrize(("least", "language"), [(1, "eng"), (2, "eng"), (2.5, None)])
def test_a_language_needs_words_that_tell(least, language):
    assert language_of("at the ship", ("deu", "eng"), least=least) == language


@pytest.mark.parametrize(
    ("asked", "language"), [((), ""), (("de",), "de"), (("fr", "en"), "fr"), (("en", "fr"), "en")]
)
def test_text_without_evidence_has_the_requested_language(asked, language):
    assert detect_text(bgr(page(("4711 305",))[0]), languages=asked).language == language


# ---------------------------------------------------------------------------------- Tesseract


@pytest.fixture
def tesseract(tmp_path, monkeypatch):
    """Put a program of this name first; returns where its script is and what it wrote down."""
    monkeypatch.setattr(engine, "_has_tesserocr", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engine._listed.cache_clear()

    def install(languages, reading):
        program = tmp_path / "tesseract"
        listed = "\\n".join(('List of languages in "/data/" (9):', *languages))
        program.write_text(
            "#!/bin/sh\n"
            f"if [ \"$1\" = --list-langs ]; then printf '{listed}\\n'; exit; fi\n"
            'if [ "$1" = --version ]; then echo tesseract 5.3.0; exit; fi\n'
            f'echo "$OMP_THREAD_LIMIT $*" >> {tmp_path}/calls\n'
            'base=$2; case "$*" in *"--psm 0"*) base=$2.osd;; *) base=$2.tsv;; esac\n'
            f'{{ {reading}\n}} > "$base"\n'
        )
        program.chmod(0o755)
        return tmp_path / "calls"

    yield install
    engine._listed.cache_clear()


TSV = "5\t1\t1\t1\t1\t{number}\t0\t0\t2000\t2000\t{confidence}\t{text}\n"
READING = "".join(
    TSV.format(number=number, confidence=confidence, text=text)
    for number, (text, confidence) in enumerate((("der", 91), ("Wald", 95)), 1)
)


DEADLINE = engine.Deadline.from_now()


def word(text, confidence, line=1):
    return engine.Token(text, 0, 0, 50, 20, confidence, (1, 1, line))


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([word("Exit", 0.85)], ["Exit"]),
        ([word("Exit", 0.75)], []),
        ([word("Station", 0.65)], ["Station"]),
        ([word("Station", 0.55)], []),
        ([word("14", 0.88)], []),
        ([word("14", 0.95)], ["14"]),
        ([word("in", 0.7), word("a", 0.85), word("harbour", 0.7)], ["in", "a", "harbour"]),
        ([word("in", 0.7), word("a", 0.7), word("harbour", 0.7)], ["in", "harbour"]),
        ([word("in", 0.7), word("harbour", 0.7, line=2)], ["harbour"]),
        ([word("|", 0.99), word("harbour", 0.7)], ["harbour"]),
    ],
)
def test_among_clutter_short_lines_must_be_surer(tokens, kept):
    assert [token.text for token in text_detection._likely(tokens, cluttered=True)] == kept


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([word("7", 0.65)], ["7"]),
        ([word("L", 0.4), word("J", 0.7)], []),
        ([word("L", 0.4), word("J", 0.7), word("harbour", 0.3)], ["L", "J", "harbour"]),
        ([word("|", 0.4), word("harbour", 0.3)], ["harbour"]),
    ],
)
def test_on_a_page_only_pieces_of_frames_are_left_out(tokens, kept):
    assert [token.text for token in text_detection._likely(tokens, cluttered=False)] == kept


def test_a_column_of_lines_is_never_taken_for_clutter(tesseract):
    """Also if it is read badly: as a block, then with a search for its layout."""
    poor = READING.replace("2000", "20").replace("91", "70").replace("95", "70")
    calls = tesseract(["eng"], f"printf '{poor}'")
    assert texts(detect_text(bgr(page()[0]))) == ["der", "Wald"]
    assert re.findall("--psm (\\d+)", calls.read_text()) == ["6", "3"]


def test_signs_alone_are_no_text(tesseract):
    """Rings and lines are read as such."""
    tesseract(["eng"], f"printf '{READING.replace('der', '©').replace('Wald', '=')}'")
    assert detect_text(bgr(page()[0])).words == ()


def test_of_several_readings_the_surest_words_stay():
    def at(text, left, top, confidence, line):
        return engine.Token(text, left, top, 50, 20, confidence, (1, 1, line))

    blank = np.full((200, 200), 255, np.uint8)
    rows = text_layout.Rows.find_in(blank)
    sheet = text_detection._Page(blank, np.eye(2, 3), 0.0, letters=20, rows=rows, even=False)
    lines, loose = (
        text_detection._Reading(sheet, tokens, engine.Reader("eng", layout, DEADLINE))
        for layout, tokens in (
            (engine.BLOCK, (at("serial", 0, 100, 0.9, 1), at("number", 60, 100, 0.9, 1))),
            (
                engine.SPARSE,
                (at("numher", 62, 102, 0.7, 1), at("motor", 0, 0, 0.9, 2), at("ii", 0, 50, 0.5, 3)),
            ),
        )
    )
    kept = text_detection._surest([lines, loose])
    assert [token.text for token in kept] == ["motor", "serial", "number"]
    assert [token.place for token in kept] == [(1, 1, 1), (2, 1, 1), (2, 1, 1)]


def test_guesses_of_tesseract_are_no_text(tesseract):
    tesseract(["eng"], f"printf '{READING.replace('91', '30').replace('95', '30')}'")
    assert detect_text(bgr(page()[0])).words == ()


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ({4: 9, 5: 9, 6: 9}, {5, 6}),
        ({5: 90, 8: 40, 20: 5}, {8, 20}),  # 450 letters in rows of 5 are too many beside 420
        ({5: 90, 8: 70, 20: 5}, {20}),
        ({151: 1, 150: 1, 5: 1}, {5, 150}),
        ({4: 3}, set()),
    ],
)
def test_in_clutter_long_rows_go_first(rows, kept):
    """Rows by length, and how many there are of each."""
    lengths = np.repeat(list(rows), [length * count for length, count in rows.items()])
    assert set(lengths[text_layout._in_rows(lengths)].tolist()) == kept


def test_a_fine_texture_is_not_read(tesseract):
    calls = tesseract(["eng"], "exit 1")
    specks = np.full((1400, 1400), 255, np.uint8)
    specks[::8] = specks[1::8] = specks[2::8] = specks[3::8] = specks[4::8] = 0
    specks[:, ::8] = specks[:, 1::8] = specks[:, 2::8] = 255
    assert detect_text(bgr(specks)).words == ()
    assert not calls.exists()


def test_tesseract_gets_no_secrets(tesseract, monkeypatch, tmp_path):
    monkeypatch.setenv("LTU_COMPUTE_SECRET", "hidden")
    monkeypatch.setenv("TESSDATA_PREFIX", "/data")
    tesseract(["eng"], f"env > {tmp_path}/environment; printf '{READING}'")
    detect_text(bgr(page()[0]))
    passed = dict(
        line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines()
    )
    passed = {
        name: passed[name] for name in passed.keys() - {"PWD", "OLDPWD", "SHLVL", "_"}
    }  # sh's own
    assert passed == {
        "PATH": os.environ["PATH"],
        "TESSDATA_PREFIX": "/data",
        "LC_ALL": "C.UTF-8",
        "OMP_THREAD_LIMIT": "1",
    }


def test_a_missing_tesseract_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TesseractMissing, match="not installed"):
        detect_text(bgr(page()[0]))
    with pytest.raises(TesseractMissing, match="not installed"):
        installed_languages()


def test_a_missing_language_is_reported(tesseract):
    tesseract(["osd"], "exit 1")
    with pytest.raises(TesseractMissing, match="no language"):
        installed_languages()


def test_languages_are_named_by_iso_639_1(tesseract):
    tesseract(["osd", "eng", "chi_sim", "chi_tra", "frk", "deu", "script/Latin"], "exit 1")
    assert installed_languages() == ("de", "en", "frk", "zh")


def test_tesseract_gets_one_thread_and_one_language(tesseract):
    calls = tesseract(["deu", "eng", "osd"], f"printf '{READING}'")
    limit = os.environ.get("OMP_THREAD_LIMIT")
    found = detect_text(bgr(page()[0]))
    assert found.text == "der Wald"
    assert found.language == "de"
    assert [word.confidence for word in found.words] == [0.91, 0.95]
    first, *_ = calls.read_text().splitlines()
    assert re.match(r"1 \S+\.pgm \S+ -l deu -c tessedit_create_tsv=1 --psm 6", first)
    assert os.environ.get("OMP_THREAD_LIMIT") == limit


@pytest.mark.parametrize(
    ("script", "chosen"), [("Cyrillic", "rus+ukr"), ("Latin", "deu"), ("Klingon", "deu")]
)
def test_the_script_decides_which_languages_are_tried(tesseract, script, chosen):
    calls = tesseract(
        ["deu", "osd", "rus", "ukr"],
        f"case \"$*\" in *osd*) echo 'Script: {script}';; *) printf '{READING}';; esac",
    )
    detect_text(bgr(page()[0]))
    osd, reading, *_ = calls.read_text().splitlines()
    assert re.match(r"1 \S+\.pgm \S+ -l osd --psm 0", osd)
    assert f" -l {chosen} " in reading


def test_tesseract_fails(tesseract):
    tesseract(["eng"], "echo 'Image too large' >&2; exit 1")
    with pytest.raises(TesseractFailed, match="Image too large"):
        detect_text(bgr(page()[0]))


def test_tesseract_takes_too_long(tesseract):
    tesseract(["eng"], "exec sleep 30")
    with pytest.raises(TesseractTimedOut, match=r"longer than 0\.2 s"):
        detect_text(bgr(page()[0]), deadline=engine.Deadline.from_now(0.2))


def test_tesseract_is_ended_when_nobody_waits_for_it(tesseract, tmp_path):
    """Within the threads that read, too."""
    marker = tmp_path / "process"
    tesseract(["eng"], f"echo $$ > {marker}; exec sleep 300")

    def running():
        process = marker.read_text().strip() if marker.exists() else ""
        return bool(process) and Path("/proc", process).exists()

    with cancellable(running), pytest.raises(Cancelled):
        detect_text(bgr(page()[0]))
    assert marker.exists()
    assert not running()


def test_all_readings_of_a_picture_have_one_deadline(tesseract):
    """A poor reading is tried the other way up, but not with as much time again."""
    poor = READING.replace("91", "45").replace("95", "45")
    calls = tesseract(["eng"], f"printf '{poor}'")

    def clock():
        """Tell the time where each reading takes 200 s."""
        return 200.0 * len(calls.read_text().splitlines()) if calls.exists() else 0.0

    with pytest.raises(TesseractTimedOut, match="longer than 300 s"):
        detect_text(bgr(page()[0]), deadline=engine.Deadline.from_now(300.0, clock))
    assert len(calls.read_text().splitlines()) == 2


def test_pages_are_not_left_behind(tesseract, monkeypatch, tmp_path):
    """Pages and results pass through files, in memory if there is a folder for that."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(engine, "_MEMORY", folder)
    tesseract(["eng"], f"ls {folder} > {tmp_path}/seen; printf '{READING}'")
    detect_text(bgr(page()[0]))
    assert any(name.endswith(".pgm") for name in (tmp_path / "seen").read_text().split())
    assert list(folder.iterdir()) == []
    tesseract(["eng"], "exec sleep 30")
    with pytest.raises(TesseractTimedOut):
        detect_text(bgr(page()[0]), deadline=engine.Deadline.from_now(0.2))
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not shutil.which("setpriv"), reason="util-linux is not installed")
def test_tesseract_ends_with_the_service(tesseract, tmp_path):
    """A killed service cannot end its children: the system ends them."""
    tesseract(
        ["eng"], f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60"
    )
    program = (
        "import numpy as np; from ltu_compute.kernels import tesseract as t\n"
        "t._has_tesserocr = lambda: False\n"
        "page = np.zeros((9, 9), np.uint8)\n"
        "t.Reader('eng', t.BLOCK, t.Deadline.from_now(50)).read([page])"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as service:
        pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        service.kill()
    until(lambda: not is_running(int(pid)))


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="util-linux is not installed")
def test_tesseract_has_limits(tesseract, tmp_path):
    tesseract(["eng"], f"ulimit -t > {tmp_path}/limits; ulimit -v >> {tmp_path}/limits; exit 1")
    with pytest.raises(TesseractFailed):
        detect_text(bgr(page()[0]))
    seconds, kilobytes = map(int, (tmp_path / "limits").read_text().split())
    assert seconds <= 30
    assert kilobytes <= 1_000_000


def test_a_deadline_within_the_process():
    passed = engine.Deadline(0.0, 3.0)
    with pytest.raises(TesseractTimedOut, match="longer than 3 s"):
        engine.Reader("eng", engine.BLOCK, passed).read([page()[0]])


def test_a_long_page_is_read_in_parts_in_the_language_of_its_middle():
    lines = FRENCH * 20
    sheet, boxes = page(lines, size=24)
    picture, matrix = turned(sheet, 180)
    calls = []

    class Counting(engine.Reader):
        def read(self, pages):
            calls.append((self.languages, len(pages)))
            return super().read(pages)

    with mock.patch.object(text_detection, "Reader", Counting):
        found = detect_text(bgr(picture))
    assert calls == [("deu", 1), ("fra", 2)]
    assert found.text == "\n".join(lines)
    assert [word.line for word in found.words] == [
        number for number, line in enumerate(lines) for _ in line.split()
    ]
    expected = corners_of(boxes).mean(axis=1) @ matrix[:, :2].T + matrix[:, 2]
    centres = [word.corners.mean(axis=0) for word in found.words]
    np.testing.assert_allclose(centres, expected, atol=8)


def test_columns_are_not_read_across():
    left, _ = page(LINES)
    columns = np.hstack((left, left))
    height = 20.0
    assert text_layout.Rows.find_in(left).are_even(height)
    picture = np.full((90, left.shape[1]), 255, np.uint8)
    picture[10:80, 10:120] = 0  # higher than a line
    assert not text_layout.Rows.find_in(np.vstack((left, picture))).are_even(height)
    assert not text_layout.Rows.find_in(columns).are_even(height)
    head, _ = page(("A heading that runs above both of the columns, and",), size=44)
    wide = max(head.shape[1], columns.shape[1])
    sheets = [np.pad(s, ((0, 0), (0, wide - s.shape[1])), constant_values=255)
              for s in (head, columns)]  # fmt: skip
    assert not text_layout.Rows.find_in(np.vstack(sheets)).are_even(height)


@pytest.mark.parametrize(
    ("count", "cuts"), [(1, []), (2, [40]), (3, [40, 60]), (9, [20, 40, 60, 80])]
)
def test_a_page_is_parted_between_its_lines(count, cuts):
    sheet = np.full((100, 60), 255, np.uint8)
    for top in range(0, 100, 20):
        sheet[top + 2 : top + 18, 5:55] = 0
    found = text_layout.Rows.find_in(sheet).strips(count)
    assert [part.start for part in found] == [0, *cuts]
    assert [part.stop for part in found] == [*cuts, 100]


def test_a_blank_page_is_one_strip():
    assert text_layout.Rows.find_in(np.full((9, 9), 255, np.uint8)).strips(3) == [slice(0, 9)]


@pytest.mark.parametrize("degrees", [0, 180, 11])
@pytest.mark.parametrize("lines", [LINES, GERMAN, FRENCH])
def test_program_and_library_read_the_same(monkeypatch, lines, degrees):
    picture = bgr(turned(page(lines)[0], degrees)[0])
    inside = detect_text(picture)
    monkeypatch.setattr(engine, "_has_tesserocr", lambda: False)
    outside = detect_text(picture)
    assert inside.text == outside.text == "\n".join(lines)
    assert inside.language == outside.language
    assert inside.rotation == outside.rotation
    np.testing.assert_allclose(
        [word.corners for word in inside.words], [word.corners for word in outside.words], atol=3
    )
