"""Both sides of every limit, by name."""

import base64
import io
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask

from ltu_compute.app import create_app
from ltu_compute.errors import Busy
from ltu_compute.settings import Settings
from ltu_compute.web.limits import Slots
from tests.conftest import IMAGES, OPERATIONS, Caller

LARGE = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def strict(app: Flask, settings: Settings) -> Any:
    """The service with limits that the picture above just meets."""
    limits = {"max_upload_bytes": len(LARGE), "max_pixels": 2000}
    return create_app(settings.model_copy(update=limits))


@pytest.fixture
def strict_call(strict: Any, token: str) -> Caller:
    return Caller(strict.test_client(), token)


def pictures(content: bytes) -> list[dict[str, Any]]:
    return [
        {"data": {"image": (io.BytesIO(content), "x")}},
        {"data": {"image": base64.b64encode(content).decode()}},
        {"json": {"image": base64.b64encode(content).decode()}},
    ]


@pytest.mark.parametrize("way", range(3))
def test_an_image_at_the_limit(strict_call: Caller, way: int) -> None:
    assert strict_call.post("edges", **pictures(LARGE)[way]).status_code == 200


@pytest.mark.parametrize("way", range(3))
def test_a_file_one_byte_over(strict_call: Caller, way: int) -> None:
    answer = strict_call.post("edges", **pictures(LARGE + b"\0")[way])
    assert answer.status_code == 413
    message = answer.json["details"]["message"]
    assert str(len(LARGE)) in message
    assert str(len(LARGE) + 1) in message
    assert answer.json["errors"][0]["parameter"] == "image"


def test_an_image_one_column_over(strict_call: Caller) -> None:
    wide = cv2.imencode(".png", np.zeros((40, 51), np.uint8))[1].tobytes()
    assert len(wide) <= len(LARGE)
    answer = strict_call.post("edges", **pictures(wide)[0])
    assert answer.status_code == 413
    assert "2000" in answer.json["details"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit(strict_call: Caller, chunked: bool) -> None:
    body = b"image=" + b"A" * 1_000_000
    sent: dict[str, Any] = {"content_type": "application/x-www-form-urlencoded"}
    if chunked:
        sent |= {
            "input_stream": io.BytesIO(body),
            "environ_overrides": {"wsgi.input_terminated": 1},
        }
    else:
        sent |= {"data": body}
    answer = strict_call.post("edges", **sent)
    assert answer.status_code == 413
    assert "limit" in answer.json["details"]["message"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "token"),
        ("Basic YTpi", "token"),
        ("Bearer", "token"),
        ("Bearer x.y.z", "token"),
        ("bearer " + "A" * 100_000, "token"),
    ],
    ids=["none", "another scheme", "no token", "rubbish", "huge"],
)
def test_no_token_no_answer(app: Flask, header: str | None, words: str) -> None:
    headers = {"Authorization": header} if header else {}
    answer = app.test_client().post(f"{OPERATIONS}/edges", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert words in answer.json["details"]["message"].lower()
    assert answer.json["result"] == {}


def test_slots_count_to_the_last_place() -> None:
    slots = Slots(computing=1, waiting=0)
    with slots.claim():
        with pytest.raises(Busy):
            slots.check()
        with pytest.raises(Busy), slots.claim():
            pass
    slots.check()
    with slots.claim():
        pass


def test_a_full_service_says_so(app: Flask, call: Caller) -> None:
    slots = app.extensions["ltu_compute"].slots
    claims = []
    content = (IMAGES / "object-bright.png").read_bytes()
    try:
        for _ in range(slots.places):
            slots.take()
            claims.append(1)
        answer = call.post("edges", data={"image": (io.BytesIO(content), "x")})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "busy" in answer.json["details"]["message"]
        assert app.test_client().get("/healthz").status_code == 200
    finally:
        for _ in claims:
            slots.give_back()
    assert call.post("edges", data={"image": (io.BytesIO(content), "x")}).status_code == 200


def test_a_fault_gives_its_slot_back() -> None:
    slots = Slots(computing=1, waiting=0)
    with pytest.raises(ZeroDivisionError), slots.claim():
        raise ZeroDivisionError
    slots.check()


def test_nothing_sent_touches_a_disk(
    call: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    large = cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (700, 700, 3)))[1]
    assert large.nbytes > 1_000_000
    answer = call.post("colorPalette", data={"image": (io.BytesIO(large.tobytes()), "x")})
    assert answer.status_code == 200


def test_a_path_cannot_forge_a_line_of_the_log(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        app.test_client().get("/x%0Aforged line%1B[2J")
    lines = [record.getMessage() for record in caplog.records if "forged" in record.getMessage()]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "\x1b" not in lines[0]


@pytest.mark.parametrize("path", ["/contours", "/v2/services/imageX/contours"])
def test_a_path_outside_is_no_operation(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == 404
    assert answer.json["details"]["name"] == ""


def test_a_host_that_is_none(app: Flask) -> None:
    answer = app.test_client().get("/realms/Production", headers={"Host": 'a b"x'})
    assert answer.status_code == 400
