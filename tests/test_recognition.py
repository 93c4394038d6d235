"""textDetection, classification and objectDetection as they go over the wire."""

import io
import json
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from ltu_compute.cli import main
from ltu_compute.kernels.classification import COLORS, KINDS, QUALITIES
from ltu_compute.kernels.object_detection import CLASSES
from ltu_compute.kernels.text_detection import (
    TesseractFailed,
    TextDetection,
    Word,
    installed_languages,
)
from tests.support.client import IMAGES, Caller
from tests.support.schemas import schema_of

Array = np.ndarray[Any, Any]


def png(image: Array) -> bytes:
    return bytes(cv2.imencode(".png", image)[1].tobytes())


def read(name: str) -> Array:
    image: Array = cv2.imread(str(IMAGES / name))
    return image


def ask(call: Caller, operation: str, image: str | bytes | Array, **params: str) -> Any:
    if isinstance(image, str):
        image = (IMAGES / image).read_bytes()
    elif not isinstance(image, bytes):
        image = png(image)
    answer = call.post(operation, data={"image": (io.BytesIO(image), "image"), **params})
    if answer.status_code == 200:
        schema = schema_of(f"/v2/services/image/{operation}", "post", 200)
        jsonschema.validate(answer.json, schema)
    return answer


def halved(name: str) -> Array:
    """Return a picture at half its size: what is asked of it takes a quarter of the time."""
    picture = cv2.imread(str(IMAGES / name))
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


# -------------------------------------------------------------------------- textDetection

LABEL = json.loads((IMAGES / "label.json").read_text())
WORDS = [word for line in LABEL["lines"] for word in line["text"].split()]


def written(*lines: str) -> Array:
    """Black text on white, the first letter's foot at (40, 70), a line each 80 px."""
    page = np.full((60 + 80 * len(lines), 700, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        place = (40, 70 + 80 * number)
        cv2.putText(page, line, place, cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3, cv2.LINE_AA)
    return page


def areas_of(answer: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what was read in the whole image, and the areas of the words."""
    assert answer.status_code == 200, answer.text
    image = answer.json["content"]["image"]
    first, *others = image["areas"].values()
    assert list(image["areas"]) == [f"{image['UUID']}/{n}" for n in range(len(others) + 1)]
    return first["resultInfo"]["textDetection"], others


def text_of(area: dict[str, Any]) -> str:
    return str(area["resultInfo"]["textDetection"]["text"])


def test_a_label_is_read(call: Caller) -> None:
    answer = ask(call, "textDetection", "label.png")
    summary, areas = areas_of(answer)
    assert list(answer.json) == ["message", "code", "content", "info"]
    assert (answer.json["message"], answer.json["code"]) == ("ok", "0")
    assert answer.json["info"]["provider"] == "Tesseract"
    assert answer.json["info"]["rotation"] == pytest.approx(0, abs=1)
    found = [text_of(area) for area in areas]
    assert set(WORDS) <= set(found)
    lines = summary["text"].splitlines()
    for line in LABEL["lines"]:
        assert any(" ".join(line["text"].split()) in read_line for read_line in lines)
    assert summary["text"].endswith("\n")
    assert summary["subarea"] == list(answer.json["content"]["image"]["areas"])[1:]
    assert summary["language"] == "en"
    assert answer.json["content"]["summary"] == {
        "name": "textDetection",
        "status": 0,
        "message": "OK",
        "resultInfos": {"textDetection": {"nbAreas": len(areas) + 1}},
    }
    assert answer.json["content"]["errors"] == []


def test_boxes_lie_where_the_words_are(call: Caller) -> None:
    """The ink within and a little around a box is as large as the box."""
    page = written("STEEL BOLT", "BRASS NUT")
    answer = ask(call, "textDetection", page)
    _, areas = areas_of(answer)
    everything = next(iter(answer.json["content"]["image"]["areas"].values()))
    for area, around in ((everything, 20), *((area, 12) for area in areas)):
        x, y, width, height = area["boundingBox"].values()
        part = page[y - around : y + height + around, x - around : x + width + around, 0]
        rows, columns = np.nonzero(part < 128)
        ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert ink == pytest.approx((around, around, around + width, around + height), abs=6)


@pytest.mark.parametrize(("turn", "degrees"), [
    (cv2.ROTATE_90_CLOCKWISE, 90), (cv2.ROTATE_180, 180), (cv2.ROTATE_90_COUNTERCLOCKWISE, -90),
])  # fmt: skip
def test_text_that_is_turned(call: Caller, turn: int, degrees: int) -> None:
    turned = cv2.rotate(written("MODEL CX-450", "SERIAL 7304", "MADE IN FRANCE"), turn)
    answer = ask(call, "textDetection", turned)
    summary, areas = areas_of(answer)
    assert summary["text"] == "MODEL CX-450\nSERIAL 7304\nMADE IN FRANCE\n"
    rotation = answer.json["info"]["rotation"]
    assert abs((rotation - degrees + 180) % 360 - 180) < 2
    height, width = turned.shape[:2]
    for area in areas:
        box = area["boundingBox"]
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
        assert 0 <= box["y"] < box["y"] + box["height"] <= height
        (x0, y0), (x1, y1) = [
            (v["x"], v["y"]) for v in area["resultInfo"]["textDetection"]["vertices"][:2]
        ]
        if len(text_of(area)) > 3:  # along the word, from its start to its end
            along = np.degrees(np.arctan2(y1 - y0, x1 - x0))
            assert abs((along - degrees + 180) % 360 - 180) < 5


def test_a_word_that_occurs_twice_has_both_areas(call: Caller) -> None:
    summary, areas = areas_of(ask(call, "textDetection", written("STEEL BOLT", "BRASS BOLT")))
    assert [text_of(area) for area in areas] == ["STEEL", "BOLT", "BRASS", "BOLT"]
    names = summary["subarea"]
    assert summary["words"] == {
        "STEEL": [names[0]],
        "BOLT": [names[1], names[3]],
        "BRASS": [names[2]],
    }
    assert summary["text"] == "STEEL BOLT\nBRASS BOLT\n"


@pytest.mark.parametrize(
    "image", [np.full((1, 1, 3), 255, np.uint8), np.full((300, 200, 3), 90, np.uint8)]
)
def test_a_picture_without_text_has_no_areas(call: Caller, image: Array) -> None:
    answer = ask(call, "textDetection", image)
    summary, areas = areas_of(answer)
    assert areas == []
    assert (summary["text"], summary["words"], summary["subarea"]) == ("", {}, [])
    (area,) = answer.json["content"]["image"]["areas"].values()
    height, width = image.shape[:2]
    assert area["boundingBox"] == {"x": 0, "y": 0, "width": width, "height": height}


def test_the_same_bytes_give_the_same_answer(call: Caller) -> None:
    page = written("SERIAL 7304")
    first, second = (ask(call, "textDetection", page).json for _ in range(2))
    assert first == second
    other = ask(call, "textDetection", written("SERIAL 7305")).json
    assert other["content"]["image"]["UUID"] != first["content"]["image"]["UUID"]


@pytest.mark.parametrize("language", ["en", "eng", "EN", "en,fr", "fr de en"])
def test_languages(call: Caller, language: str) -> None:
    _, areas = areas_of(ask(call, "textDetection", written("MOTOR"), language=language))
    assert [text_of(area) for area in areas] == ["MOTOR"]


def test_all_languages_that_are_not_installed_are_listed(call: Caller) -> None:
    answer = ask(call, "textDetection", "label.png", language="xx,en,klingon tlh")
    assert answer.status_code == 400
    message = "received 'xx', 'klingon', 'tlh', installed: de, en, fr"
    assert message in answer.json["details"]["message"]


def test_text_too_dense_is_the_pictures_fault(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would take as long again."""
    installed_languages()  # which takes its time, too
    monkeypatch.setattr("ltu_compute.kernels.tesseract.TIMEOUT_SECONDS", 0.01)
    answer = ask(call, "textDetection", "label.png")
    assert answer.status_code == 422
    assert "Retry-After" not in answer.headers
    message = answer.json["details"]["message"]
    assert message == ("image: too dense to be read in 0.01 s; send a part of it, or a smaller one")
    jsonschema.validate(answer.json, schema_of("/v2/services/image/textDetection", "post", 422))


def test_listed_words_are_bounded(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.array([(0, 0), (9, 0), (9, 9), (0, 9)], float)
    words = [Word(f"w{i}", corners, 0.9, i // 4, "en") for i in range(7)]
    read = TextDetection(tuple(words), "w0 w1 w2 w3\nw4 w5 w6", "en", 0.0)
    monkeypatch.setattr("ltu_compute.kernels.text_detection.detect_text", lambda *_, **__: read)
    for most, text, note in (
        (7, read.text, None),
        (6, "w0 w1 w2 w3\nw4 w5", "7 words were read; listed are the first 6"),
        (2, "w0 w1", "7 words were read; listed are the first 2"),
    ):
        for module in ("operations.text", "dialects.ltu.recognition"):
            monkeypatch.setattr(f"ltu_compute.{module}.MAX_WORDS", most)
        answer = ask(call, "textDetection", "label.png")
        assert answer.json["info"].get("note") == note
        summary, areas = areas_of(answer)
        assert (summary["text"], len(areas)) == (f"{text}\n", most)


def test_a_failure_of_tesseract_is_not(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise TesseractFailed("Tesseract ended with -9")

    monkeypatch.setattr("ltu_compute.kernels.text_detection.detect_text", fail)
    answer = ask(call, "textDetection", "label.png")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) == 60
    assert "ended with -9" in answer.json["details"]["message"]


@pytest.mark.parametrize("language", ["xx", "../eng", "en,klingon"])
def test_a_language_that_is_not_installed(call: Caller, language: str) -> None:
    answer = ask(call, "textDetection", "label.png", language=language)
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] == "language"
    message = answer.json["details"]["message"]
    assert language.rpartition(",")[2] in message
    assert "installed: de, en, fr" in message


def test_without_tesseract_all_else_works(
    call: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = ask(call, "textDetection", "label.png")
    assert answer.status_code == 503
    assert "tesseract-ocr" in answer.json["details"]["message"]
    assert int(answer.headers["Retry-After"]) > 60
    schema = schema_of("/v2/services/image/textDetection", "post", 503)
    jsonschema.validate(answer.json, schema)
    assert ask(call, "edges", "label.png").status_code == 200


def test_without_tesseract_the_service_is_ready(
    app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from ltu_compute.dialects import DIALECTS
    from ltu_compute.warm_up import warm_up

    monkeypatch.setenv("PATH", str(tmp_path))
    warm_up(DIALECTS, app.extensions["ltu_compute"].recognisers)
    assert "textDetection is out of service" in caplog.text
    assert "tesseract-ocr" in caplog.text


# ------------------------------------------------------------------------ objectDetection


def objects_of(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["content"]["localizedObjectAnnotations"]
    return found


def corners_of(found: dict[str, Any]) -> Array:
    return np.array([(v["x"], v["y"]) for v in found["boundingPoly"]["normalizedVertices"]])


ASTRONAUT_FACE = (0.34, 0.12, 0.54, 0.40)  # left, top, right, bottom of it, in shares


def test_a_face_is_found(call: Caller) -> None:
    answer = ask(call, "objectDetection", "astronaut.jpg")
    assert list(answer.json) == ["content", "message", "code", "info"]
    assert (answer.json["message"], answer.json["code"]) == ("ok", "0")
    found = objects_of(answer)
    faces = [o for o in found if o["name"] == "Human face"]  # the best one is hers
    assert faces[0]["mid"] == "/m/0dzct"
    assert list(faces[0]) == ["score", "mid", "boundingPoly", "name"]
    assert list(faces[0]["boundingPoly"]["normalizedVertices"][0]) == ["y", "x"]
    (left, top), (right, bottom) = corners_of(faces[0])[[0, 2]]
    x0, y0, x1, y1 = ASTRONAUT_FACE
    common = max(0, min(right, x1) - max(left, x0)) * max(0, min(bottom, y1) - max(top, y0))
    union = (right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - common
    assert common / union > 0.5
    scores = [o["score"] for o in found]
    assert scores == sorted(scores, reverse=True)
    assert all(score == float(np.float32(score)) for score in scores)
    for o in found:
        corners = corners_of(o)
        assert ((corners >= 0) & (corners <= 1)).all()
        # clockwise, as y grows downwards: the signed area is positive
        x, y = corners.T
        assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0
        assert o["mid"] == CLASSES[o["name"]]


def test_classes_scores_and_number_of_objects_are_filtered(call: Caller) -> None:
    picture = halved("astronaut.jpg")
    everything = objects_of(ask(call, "objectDetection", picture))
    face = [o for o in everything if o["name"] == "Human face"]
    assert face
    for classes in ("human FACE, cat", "/m/0dzct"):
        assert objects_of(ask(call, "objectDetection", picture, classes=classes)) == face
    best = everything[0]["score"]
    assert objects_of(ask(call, "objectDetection", picture, max_results="1")) == (everything[:1])
    least = ask(call, "objectDetection", picture, min_score=str(best))
    assert all(o["score"] >= best for o in objects_of(least))
    unknown = ask(call, "objectDetection", picture, classes="Unicorn, cat,Dragon")
    assert unknown.status_code == 400
    message = unknown.json["details"]["message"]
    assert "received 'Unicorn', 'Dragon', known: " in message
    assert all(name in message for name in CLASSES)


def test_a_qr_code_is_read(call: Caller) -> None:
    code = cv2.QRCodeEncoder.create().encode("CX-450/7304")
    enlarged = np.kron(code, np.ones((6, 6), np.uint8))
    page = np.full((400, 500), 255, np.uint8)
    height, width = enlarged.shape
    page[100 : 100 + height, 150 : 150 + width] = enlarged
    (found,) = objects_of(ask(call, "objectDetection", page, classes="QR code"))
    assert found["text"] == "CX-450/7304"
    assert found["mid"] == ""
    black = np.argwhere(page == 0)
    (top, left), (bottom, right) = black.min(axis=0), black.max(axis=0) + 1
    expected = [(left, top), (right, top), (right, bottom), (left, bottom)]
    assert corners_of(found) * (500, 400) == pytest.approx(np.array(expected), abs=4)


@pytest.mark.parametrize("operation", ["objectDetection", "classification"])
def test_tiny_and_empty_pictures(call: Caller, operation: str) -> None:
    for side in (1, 40):
        answer = ask(call, operation, np.full((side, side, 3), 128, np.uint8))
        assert answer.status_code == 200, answer.text
        if operation == "objectDetection":
            assert objects_of(answer) == []


def test_large_pictures_are_told_in_shares_too(call: Caller) -> None:
    large = cv2.resize(read("astronaut.jpg"), (2400, 2400), interpolation=cv2.INTER_CUBIC)
    small, big = (
        objects_of(ask(call, "objectDetection", image, classes="Human face"))[0]
        for image in (read("astronaut.jpg"), large)
    )
    assert corners_of(big) == pytest.approx(corners_of(small), abs=0.06)


# ------------------------------------------------------------------------- classification


def labels_of(answer: Any) -> dict[str, float]:
    assert answer.status_code == 200, answer.text
    labels = answer.json["content"]["labelAnnotations"]
    for label in labels:
        assert list(label) == ["score", "topicality", "mid", "description"]
        assert label["score"] == label["topicality"] == float(np.float32(label["score"]))
    scores = [label["score"] for label in labels]
    assert scores == sorted(scores, reverse=True)
    assert len(labels) <= 10
    return {label["description"]: label["score"] for label in labels}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("coffee.jpg", {"Photograph"}),
        ("camera.jpg", {"Photograph", "Black-and-white"}),
        ("astronaut.jpg", {"Photograph", "Human face"}),
        ("blank.png", {"Blank", "Grey"}),
    ],
)
def test_labels(call: Caller, image: str, expected: set[str]) -> None:
    answer = ask(call, "classification", image)
    assert list(answer.json) == ["content", "message", "code", "info"]
    assert expected <= set(labels_of(answer))
    mids = {**KINDS, **QUALITIES, **COLORS, **CLASSES}
    for label in answer.json["content"]["labelAnnotations"]:
        assert label["mid"] == mids[label["description"]]


def test_fewer_labels(call: Caller) -> None:
    picture = halved("astronaut.jpg")
    everything = labels_of(ask(call, "classification", picture))
    assert len(everything) > 2
    fewer = labels_of(ask(call, "classification", picture, max_results="2"))
    assert list(fewer) == list(everything)[:2]
    least = sorted(everything.values())[1]
    better = labels_of(ask(call, "classification", picture, min_score=str(least)))
    assert better == {name: score for name, score in everything.items() if score >= least}


# ---------------------------------------------------------------------------- all of them

OPERATIONS = ("textDetection", "classification", "objectDetection")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_unknown_parameters_are_listed(call: Caller, operation: str) -> None:
    body = ask(call, operation, "shapes.png", tpyo="1", version="Custom").json
    assert body["info"]["ignored"] == ["tpyo"]


@pytest.mark.parametrize(
    ("operation", "params", "message"),
    [
        ("textDetection", {"provider": "aZURE"},
         "provider: received 'aZURE', allowed is Tesseract or Google"),
        ("classification", {"provider": "x"}, "provider: received 'x', allowed is Local or Google"),
        ("objectDetection", {"provider": "tesseract"},
         "provider: received 'tesseract', allowed is Local or Google"),
        ("textDetection", {"language": "x" * 201}, "allowed are up to 200 characters"),
        ("classification", {"model": "x" * 256}, "allowed are up to 255 characters"),
        ("objectDetection", {"classes": "x" * 2001}, "allowed are up to 2000 characters"),
    ],
)  # fmt: skip
def test_errors_name_the_value_and_what_is_allowed(
    call: Caller, operation: str, params: dict[str, str], message: str
) -> None:
    answer = ask(call, operation, "shapes.png", **params)
    assert answer.status_code == 400
    assert message in answer.json["details"]["message"]


def test_pictures_are_saved_where_there_are_any() -> None:
    for operation, offered in (
        ("differences", True), ("edges", True), ("objectMaskDetection", True),
        ("alignmentMatrix", True), ("imageQuality", True), ("colorPalette", False),
        *((operation, False) for operation in OPERATIONS),
    ):  # fmt: skip
        shown = CliRunner().invoke(main, [operation, "--help"]).output
        assert ("--save" in shown) == offered, operation


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"provider": "Azure"}, "provider"),
        ({"max_results": "0"}, "max_results"),
        ({"max_results": "5000"}, "max_results"),
        ({"min_score": "1.1"}, "min_score"),
        ({"min_score": "high"}, "min_score"),
        ({"language": "x" * 201}, "language"),
    ],
)
def test_errors_are_those_of_the_other_operations(
    call: Caller, operation: str, params: dict[str, str], parameter: str
) -> None:
    answer = ask(call, operation, "shapes.png", **params)
    if (parameter == "language") != (operation == "textDetection") and parameter != "provider":
        assert answer.json["info"]["ignored"] == [parameter]
        return
    assert answer.status_code == 400
    edges = ask(call, "edges", "shapes.png", threshold_min="x").json
    assert list(answer.json) == list(edges)
    assert list(answer.json["details"]) == list(edges["details"])
    assert answer.json["details"]["name"] == operation
    assert [problem["parameter"] for problem in answer.json["errors"]] == [parameter]
