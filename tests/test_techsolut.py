"""Techsolut's interface: keys, rate-limit headers, the table of errors, recognition at once."""

import base64
import io
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from ltu_compute.dialects import DIALECTS
from ltu_compute.dialects.techsolut import dialect, predefined
from ltu_compute.dialects.techsolut.interface import request_id
from ltu_compute.errors import Busy
from ltu_compute.openapi import PAGE, document
from ltu_compute.settings import Rate, Settings
from ltu_compute.store.data_sets import Kind
from ltu_compute.web.dialect import find_area
from ltu_compute.web.rate_headers import LIMIT, REMAINING, RESET
from ltu_compute.web.service import service_of
from tests.support.applications import api_key, application
from tests.support.client import IMAGES, USERNAME, token_of
from tests.support.onnx_models import BOXES, COLOURS, colours, install, yolo
from tests.support.pictures import shaded

Ask = Callable[..., Any]
JSON = "application/json"
MODEL_KEYS = ["id", "name", "type", "description", "custom", "version", "last_updated", "status"]
BOX = ["x1", "y1", "x2", "y2"]


PICTURE = shaded()
IN_BASE64 = base64.b64encode(PICTURE).decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    models = tmp_path_factory.mktemp("models")
    # A person and a bolt: centre x, centre y, width, height in px of 64, their scores.
    install(models, "objects", yolo([(16, 24, 16, 16, 0.9, 0), (48, 32, 8, 8, 0, 0.4)]), BOXES)
    install(models, "nuts", yolo([(32, 32, 8, 8, 0.7, 0)]), BOXES | {"labels": ["Nut", "Gear"]})
    install(models, "labels", colours(), COLOURS)
    install(models, "twice", colours(), COLOURS | {"labels": ["Leaf", "Leaf", "Sky"]})
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("techsolut"), models_dir=models, max_upload_bytes=1 << 20
    )
    with application(settings) as app:
        yield app


@pytest.fixture
def key(served: Flask) -> str:
    """A key of its own for each test."""
    return api_key(served)


@pytest.fixture
def ask(served: Flask, key: str) -> Ask:
    def ask(method: str, path: str, status: int = 200, **given: Any) -> Any:
        """Ask under ``/v1``; every reply, of whatever status, is held to the document."""
        headers = {"Authorization": f"Bearer {key}"} | given.pop("headers", {})
        answer = served.test_client().open("/v1" + path, method=method, headers=headers, **given)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        assert answer.status_code == status, answer.text
        assert {LIMIT, REMAINING, RESET} <= set(answer.headers.keys())
        assert 0 <= int(answer.headers[REMAINING]) <= int(answer.headers[LIMIT])
        assert 1 <= int(answer.headers[RESET]) <= 60
        if status >= 400:
            error = answer.json["error"]
            assert list(answer.json) == ["error"]
            assert list(error) == ["code", "message", "details", "status", "request_id"]
            assert error["status"] == status
            assert re.fullmatch("req_[0-9A-Za-z]{14}", error["request_id"])
            assert error["request_id"] == request_id(answer.headers["X-Request-ID"])
        return answer

    return ask


# ------------------------------------------------------------------------ keys and limits


@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearer", "Bearer ltu_unknown"])
def test_without_a_key_nothing_is_answered(ask: Ask, authorization: str) -> None:
    answer = ask("POST", "/detect", 401, headers={"Authorization": authorization})
    assert answer.json["error"]["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="techsolut"')


def test_a_token_is_no_key_and_a_key_no_token(served: Flask, ask: Ask, key: str) -> None:
    token = token_of(served.test_client())
    refused = ask("POST", "/detect", 401, headers={"Authorization": f"Bearer {token}"})
    assert refused.json["error"]["details"] == "the API key is unknown"
    as_token = served.test_client().post(
        "/v2/services/image/edges", headers={"Authorization": f"Bearer {key}"}
    )
    assert as_token.status_code == 401


# -------------------------------------------------------------------------------- errors


def test_unknown_addresses_are_refused_in_the_vendors_format(ask: Ask) -> None:
    for path in ("", "/", "/nothing", "/detect/nothing", "/tasks/task_0123456789"):
        error = ask("GET", path, 404).json["error"]
        assert (error["code"], error["message"]) == (
            "not_found",
            "The requested resource does not exist.",
        )


def test_inspections_keep_their_own_paths(served: Flask) -> None:
    area = find_area(DIALECTS, "/v1/inspections/1")
    assert area is not None
    assert area.name == "inspections"
    assert find_area(DIALECTS, "/v1/inspection") is dialect
    answer = served.test_client().get("/v1/inspections/1")
    assert answer.status_code == 401
    assert "detail" in answer.json


def test_request_ids_are_found_in_the_log() -> None:
    assert request_id("0123456789abcdef0123456789abcdef") == "req_0123456789abcd"
    assert request_id("short") != request_id("other")
    assert re.fullmatch("req_[0-9a-f]{14}", request_id("with-dashes-and-more"))


def problem(answer: Any) -> str:
    return str(answer.json["error"]["details"])


def file() -> Any:
    return io.BytesIO(PICTURE), "image.png"


@pytest.mark.parametrize(
    ("given", "status", "code", "details"),
    [
        ({}, 400, "invalid_request", "image: an image is required"),
        ({"image": "no base64!"}, 400, "invalid_request", "image: "),
        ({"image": base64.b64encode(b"%PDF-1.7").decode()}, 400, "invalid_request", "image: "),
        (
            {"image": base64.b64encode(PICTURE[:60]).decode()},
            400,
            "invalid_request",
            "image: ",
        ),
        ({"image": 5}, 400, "invalid_request", "image: received 5"),
        ({"confidence": 1.5}, 400, "invalid_request", "confidence: received '1.5', allowed is a"),
        ({"confidence": "nan"}, 400, "invalid_request", "confidence: received 'nan'"),
        ({"max_detections": 0}, 400, "invalid_request", "max_detections: received '0'"),
        ({"max_detections": "all"}, 400, "invalid_request", "max_detections: received 'all'"),
        ({"classes": [5]}, 400, "invalid_request", "classes: received '5', known: "),
        (
            {"classes": [["cup"]]},
            400,
            "invalid_request",
            "classes: received ['cup'], allowed is a t",
        ),
        ({"classes": ["unicorn"]}, 400, "invalid_request", "classes: received 'unicorn', known: "),
        ({"model": "yolov9"}, 400, "invalid_request", "model: received 'yolov9', installed for"),
        ({"model": "resnet101"}, 400, "invalid_request", "model: received 'resnet101', "),
        ({"image": "A" * (3 << 20)}, 413, "payload_too_large", "the body is over the limit"),
    ],
)
def test_what_is_wrong_with_a_request(
    ask: Ask, given: dict[str, Any], status: int, code: str, details: str
) -> None:
    sent = ({"image": IN_BASE64} if given else {}) | given
    answer = ask("POST", "/detect", status, json=sent)
    assert answer.json["error"]["code"] == code
    assert problem(answer).startswith(details)


def test_null_counts_as_not_given(ask: Ask) -> None:
    nothing = dict.fromkeys(("confidence", "model", "classes", "max_detections"))
    found = ask("POST", "/detect", json={"image": IN_BASE64} | nothing).json["detections"]
    assert found == ask("POST", "/detect", json={"image": IN_BASE64}).json["detections"]


def test_two_pictures_are_refused_where_one_is_used(ask: Ask) -> None:
    """The same one under both names is one."""

    def sent(second: bytes) -> dict[str, Any]:
        return {name: (io.BytesIO(c), "a") for name, c in (("image", PICTURE), ("file", second))}

    details = problem(ask("POST", "/detect", 400, data=sent(PICTURE[:-1])))
    assert details.startswith("image: received image and file, which are different files")
    ask("POST", "/detect", 200, data=sent(PICTURE))


def test_everything_wrong_is_named_at_once(ask: Ask) -> None:
    details = problem(ask("POST", "/detect", 400, json={"confidence": 2, "max_detections": -1}))
    assert all(name in details for name in ("confidence: ", "max_detections: ", "image: "))


def test_methods_and_bodies(ask: Ask, served: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ask("GET", "/detect", 405)
    assert refused.json["error"]["code"] == "method_not_allowed"
    assert "POST" in refused.headers["Allow"]
    assert "not JSON" in problem(ask("POST", "/detect", 400, data="{", content_type=JSON))
    assert "Content-Type" in problem(ask("POST", "/detect", 400, data="x", content_type="a/b"))
    assert problem(ask("POST", "/classify", 400, json={"top_k": 0})).startswith("top_k: ")
    details = problem(ask("POST", "/ocr", 400, json={"image": IN_BASE64, "language": "xx"}))
    assert details.startswith("language: received 'xx', installed: ")
    slots = service_of(served).slots
    monkeypatch.setattr(slots, "check", lambda: (_ for _ in ()).throw(Busy("busy: try again")))
    busy = ask("POST", "/detect", 503, json={"image": IN_BASE64})
    assert busy.json["error"]["code"] == "service_unavailable"
    assert busy.headers["Retry-After"] == "1"


def test_the_announced_limit_is_kept(
    ask: Ask, served: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "default_rate", Rate(2, 60))
    left = [ask("POST", "/detect", 400, json={}).headers[REMAINING] for _ in range(2)]
    assert left == ["1", "0"]
    refused = ask("POST", "/detect", 429, json={})
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers[REMAINING] == "0"
    assert refused.headers["Retry-After"] == refused.headers[RESET]


@pytest.mark.parametrize("requests", [7, 7000])
def test_the_operators_limit_takes_the_place_of_the_default(
    ask: Ask, served: Flask, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(service_of(served).rate_limiter, "_rate", Rate(requests, 30))
    assert ask("GET", "/nothing", 404).headers[LIMIT] == str(requests)
    assert 1 <= int(ask("GET", "/nothing", 404).headers[RESET]) <= 30
    assert ask("POST", "/detect", 400, json={}).headers[LIMIT] == str(requests)


def test_a_quota_counts_answers(served: Flask, ask: Ask) -> None:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    _, secret = store.api_keys.add(account.id, now=time.time(), quota=1)
    headers = {"Authorization": f"Bearer {secret}"}
    ask("POST", "/detect", 400, headers=headers, json={"image": IN_BASE64, "model": "none"})
    ask("POST", "/detect", headers=headers, json={"image": IN_BASE64})
    used_up = ask("POST", "/classify", 403, headers=headers, json={"image": IN_BASE64})
    assert used_up.json["error"]["code"] == "forbidden"


# ------------------------------------------------------------------------------ detection


def test_detections(ask: Ask) -> None:
    sent = {"image": IN_BASE64, "confidence": 0.3, "model": "yolov8x", "max_detections": 20}
    body = ask("POST", "/detect", json=sent | {"classes": ["person", "bolt"]}).json
    assert list(body) == ["success", "detections", "processing_time", "model"]
    assert (body["success"], body["model"]) == (True, "combined-detector")
    assert body["processing_time"] > 0
    person, bolt = body["detections"]
    assert list(person) == ["class", "confidence", "box"]
    assert (person["class"], bolt["class"]) == ("person", "bolt")
    assert person["confidence"] == pytest.approx(0.9, abs=1e-3)
    # The picture fills 64 x 48 of the model's 64 x 64 px, from row 8 on: twice as large here.
    assert list(person["box"]) == BOX
    assert list(person["box"].values()) == pytest.approx([16, 16, 48, 48], abs=0.5)
    assert list(bolt["box"].values()) == pytest.approx([88, 40, 104, 56], abs=0.5)


def test_names_that_are_not_used_are_listed(ask: Ask) -> None:
    body = ask("POST", "/detect", json={"image": IN_BASE64, "confidance": 0.9, "file": None}).json
    assert list(body)[-3:] == ["model", "ignored", "did_you_mean"]
    assert body["ignored"] == ["confidance"]
    assert body["did_you_mean"] == {"confidance": "confidence"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param({"classes": ["PERSON"]}, ["person"], id="list"),
        pytest.param({"classes": "person,Bolt"}, ["person", "bolt"], id="commas"),
        pytest.param({"classes": "person, bolt", "max_detections": 1}, ["person"], id="most"),
        pytest.param({"classes": "bolt", "confidence": 0.5}, [], id="confidence"),
        pytest.param({"classes": "nut", "model": "nuts"}, ["Nut"], id="own model"),
        pytest.param({"classes": "gear", "model": "nuts"}, [], id="not there"),
    ],
)
def test_classes_and_bounds(ask: Ask, given: dict[str, Any], found: list[str]) -> None:
    body = ask("POST", "/detect", json={"image": IN_BASE64} | given).json
    assert [each["class"] for each in body["detections"]] == found
    assert body["model"] == given.get("model", "combined-detector")


def test_a_picture_may_come_in_every_way(ask: Ask) -> None:
    uri = f"data:image/png;base64,{IN_BASE64}"
    form = {"confidence": "0.5", "model": "yolov8n", "classes": "person"}
    ways = [
        ask("POST", "/detect", json=form | {"image": IN_BASE64}),
        ask("POST", "/detect", json=form | {"image": uri}),
        ask("POST", "/detect", data=form | {"file": file()}),
        ask("POST", "/detect", data=form | {"image": file()}),
        ask("POST", "/detect", data=form | {"image": uri}),
    ]
    found = [way.json["detections"] for way in ways]
    assert found == [found[0]] * len(ways)
    assert len(found[0]) == 1


def test_the_document_s_names_are_answered_unless_the_operator_has_models_of_them(
    ask: Ask, served: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognisers = service_of(served).recognisers
    assert predefined.chosen("yolov8x", "detection", recognisers) == ""
    assert predefined.chosen("resnet101", "classification", recognisers) == "labels"
    monkeypatch.setattr(recognisers.models, "names", lambda: ["yolov8x"])
    assert predefined.chosen("yolov8x", "detection", recognisers) == "yolov8x"
    assert predefined.chosen("resnet101", "classification", recognisers.bare()) == ""
    assert predefined.own(recognisers.bare(), "detection") == "classical-detector"


# ------------------------------------------------------------------ classification and OCR


def test_classifications(ask: Ask) -> None:
    body = ask("POST", "/classify", json={"image": IN_BASE64, "top_k": 2}).json
    assert list(body) == ["success", "classifications", "processing_time", "model"]
    assert (body["success"], body["model"]) == (True, "labels")
    assert [list(each) for each in body["classifications"]] == [["label", "confidence"]] * 2
    assert body["classifications"][0]["label"] == "green"
    twice = ask("POST", "/classify", json={"image": IN_BASE64, "model": "twice"}).json
    assert [each["label"] for each in twice["classifications"]] == ["Leaf", "Sky"]
    assert sum(each["confidence"] for each in twice["classifications"]) == pytest.approx(
        1, abs=1e-3
    )
    own = ask("POST", "/classify", json={"image": IN_BASE64, "model": "classical-classifier"}).json
    assert own["model"] == "classical-classifier"
    assert "Green" not in [each["label"] for each in own["classifications"]]


def test_text_is_lines_and_in_detail_their_words(ask: Ask) -> None:
    label = (IMAGES / "label.png").read_bytes()
    sent = {"image": base64.b64encode(label).decode()}
    body = ask("POST", "/ocr", json=sent).json
    assert list(body) == ["success", "text", "elements", "language", "processing_time"]
    assert "\n".join(each["text"] for each in body["elements"]) == body["text"]
    assert re.fullmatch("[a-z]{2}", body["language"])
    for each in body["elements"]:
        assert list(each) == ["text", "confidence", "box"]
        assert list(each["box"]) == BOX
        assert 0 <= each["box"]["x1"] < each["box"]["x2"]
    detailed = ask("POST", "/ocr", json=sent | {"detailed": True, "language": "en"}).json
    assert detailed["language"] == "en"
    for each in detailed["elements"]:
        assert list(each) == ["text", "confidence", "box", "polygon", "words"]
        assert " ".join(word["text"] for word in each["words"]) == each["text"]
        for x, y in each["polygon"]:
            assert each["box"]["x1"] - 3 <= x <= each["box"]["x2"] + 3
            assert each["box"]["y1"] - 3 <= y <= each["box"]["y2"] + 3


# --------------------------------------------------------------------------------- models


def test_models_are_listed_with_versions_and_dates(ask: Ask, served: Flask) -> None:
    body = ask("GET", "/models").json
    assert list(body) == ["models", "total", "limit", "offset"]
    assert (body["limit"], body["offset"], body["total"]) == (50, 0, len(body["models"]))
    by_id = {each["id"]: each for each in body["models"]}
    assert {"combined-detector", "objects", "nuts", "labels", "tesseract"} <= by_id.keys()
    for each in body["models"]:
        assert list(each) == MODEL_KEYS
        assert each["custom"] is False
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each["last_updated"])
        assert each["version"]
    assert "labels, objects" in by_id["combined-detector"]["description"]
    found = service_of(served).recognisers.models.find("nuts", "detection")
    assert found.sha256.startswith(by_id["nuts"]["version"])
    assert by_id["tesseract"]["version"][0].isdigit()


def test_models_are_filtered_and_paged(ask: Ask, served: Flask) -> None:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    own = [store.custom_models.add(account.id, name, Kind.DETECTION) for name in ("one", "two")]
    detectors = ask("GET", "/models?type=detection").json
    assert {each["type"] for each in detectors["models"]} == {"detection"}
    assert [each["custom"] for each in detectors["models"]][-2:] == [True, True]
    total = detectors["total"]
    pages = [ask("GET", f"/models?type=detection&limit=1&offset={n}").json for n in range(total)]
    assert [page["models"][0] for page in pages] == detectors["models"]
    mine = ask("GET", "/models?custom_only=true").json
    assert {each["id"] for each in mine["models"]} == {each.id for each in own}
    assert list(mine["models"][0])[:9] == [*MODEL_KEYS[:6], "created_at", *MODEL_KEYS[6:]]
    assert ask("GET", "/models?type=segmentation").json["total"] == 0
    assert [each["id"] for each in ask("GET", "/models?type=ocr").json["models"]] == ["tesseract"]
    assert problem(ask("GET", "/models?type=pose", 400)).startswith("type: received 'pose'")
    assert ask("GET", f"/models/{own[0].id}").json["name"] == "one"
    assert ask("GET", "/models/nuts").json["id"] == "nuts"
    assert ask("GET", "/models/yolov8x").json["id"] == "combined-detector"
    assert ask("GET", "/models/resnet101").json["id"] == "labels"
    assert ask("GET", "/models/mod_x", 404).json["error"]["code"] == "not_found"
    for each in own:
        store.custom_models.delete(account.id, each.id)


def test_the_page_has_each_kind_of_recognition_once() -> None:
    paths = document()["paths"]
    shown = [path for path, item in paths.items() if any(PAGE in each for each in item.values())]
    recognised = ("detect", "object", "classif", "ocr", "text")
    found = [path for path in shown if any(word in path.lower() for word in recognised)]
    assert sorted(path.rpartition("/")[2] for path in found) == [
        "classification",
        "objectDetection",
        "objectMaskDetection",
        "textDetection",
    ]
