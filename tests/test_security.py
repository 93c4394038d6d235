"""Both sides of every limit, by name."""

import base64
import io
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask

from ltu_compute.admission.slots import Slots
from ltu_compute.app import create_app
from ltu_compute.errors import Busy, WrongSetting
from ltu_compute.settings import Settings, load
from tests.support.applications import api_key
from tests.support.client import IMAGES, OPERATIONS, Caller

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


BODIES = {
    "application/x-www-form-urlencoded": b"image=%s&x="
    % base64.b64encode(LARGE).replace(b"+", b"%2B"),
    "application/json": b'{"image": "%s", "x": "' % base64.b64encode(LARGE),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_over_the_limit(strict_call: Caller, kind: str, chunked: bool) -> None:
    """Its beginning alone would be a whole request."""
    body = BODIES[kind] + b"A" * 1_000_000 + b'"}' * kind.endswith("json")
    sent: dict[str, Any] = {"content_type": kind}
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


def test_a_full_service_replies_503(app: Flask, call: Caller) -> None:
    slots = app.extensions["ltu_compute"].slots
    content = (IMAGES / "object-bright.png").read_bytes()
    with ExitStack() as taken:
        for _ in range(slots.places):
            taken.enter_context(slots.take())
        answer = call.post("edges", data={"image": (io.BytesIO(content), "x")})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "busy" in answer.json["details"]["message"]
        assert app.test_client().get("/healthz").status_code == 200
    assert call.post("edges", data={"image": (io.BytesIO(content), "x")}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/recipes/part/teach"),
        ("GET", "/v1/recipes/part"),
        ("GET", "/v1/recipes/part/tolerance"),
        ("GET", "/v1/inspections/1/report"),
        ("GET", "/v1/inspections/1/results"),
        ("GET", "/v1/datasets/1"),
        ("GET", "/v1/datasets/1/images"),
        ("GET", "/v1/datasets/1/images/1"),
        ("PATCH", "/v1/datasets/1"),
        ("POST", "/v1/models/1/train"),
    ],
)
def test_computing_without_an_image_takes_a_slot_too(
    app: Flask, token: str, method: str, path: str
) -> None:
    slots = app.extensions["ltu_compute"].slots
    secret = token if path.startswith(("/v1/recipes", "/v1/inspections")) else api_key(app)
    with ExitStack() as taken:
        for _ in range(slots.places):
            taken.enter_context(slots.take())
        answer = app.test_client().open(
            path, method=method, headers={"Authorization": f"Bearer {secret}"}
        )
    assert answer.status_code == 503


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
    assert answer.json == {
        "status": 404,
        "detail": f"nothing is served at {path}",
        "code": "not-found",
        "errors": [],
    }


def test_a_host_that_is_none(app: Flask) -> None:
    answer = app.test_client().get("/realms/Production", headers={"Host": 'a b"x'})
    assert answer.status_code == 400


# Headers for browsers

HTTPS = {"base_url": "https://vision.example.com"}
PAGE = "https://app.example.com"
REPLIES = ["/healthz", "/nowhere", f"{OPERATIONS}/edges", "/realms/Production"]


@pytest.mark.parametrize("path", REPLIES)
def test_replies_are_not_run_drawn_framed_or_kept(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in headers["Cache-Control"]
    assert "Strict-Transport-Security" not in headers
    assert not [name for name, _ in headers if name.startswith("Access-Control-")]


def test_pages_have_a_policy_of_their_own(app: Flask) -> None:
    with app.test_client().get("/docs") as reply:
        headers = reply.headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_only_replies_to_https_have_strict_transport_security(
    app: Flask, settings: Settings
) -> None:
    behind = create_app(settings.model_copy(update={"proxy_hops": 1}))
    for service, forwarded, expected in (
        (app, "https", None),
        (behind, "http", None),
        (behind, "https", "max-age=31536000"),
    ):
        reply = service.test_client().get("/healthz", headers={"X-Forwarded-Proto": forwarded})
        assert reply.headers.get("Strict-Transport-Security") == expected


def test_strict_transport_security_can_be_switched_off(settings: Settings) -> None:
    client = create_app(settings.model_copy(update={"hsts_max_age": 0})).test_client()
    assert "Strict-Transport-Security" not in client.get("/healthz", **HTTPS).headers


@pytest.fixture(scope="module")
def shared(app: Flask, settings: Settings) -> Flask:
    """The service with an origin whose pages may call it."""
    return create_app(settings.model_copy(update={"cors_origins": (PAGE,)}))


@pytest.mark.parametrize("path", REPLIES)
def test_a_page_of_an_allowed_origin_reads_replies_and_errors(shared: Flask, path: str) -> None:
    headers = shared.test_client().get(path, headers={"Origin": PAGE}).headers
    assert headers["Access-Control-Allow-Origin"] == PAGE
    exposed = headers["Access-Control-Expose-Headers"].split(", ")
    rates = {f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")}
    assert {"X-Request-ID", "Retry-After"} | rates <= set(exposed)
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(
    "path", [f"{OPERATIONS}/edges", "/realms/Production/protocol/openid-connect/token"]
)
def test_a_preflight_is_answered(shared: Flask, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    asked |= {"Access-Control-Request-Headers": "authorization,content-type"}
    reply = shared.test_client().options(path, headers={"Origin": PAGE} | asked)
    assert reply.status_code == 200
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
    assert int(reply.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil.example?https://app.example.com",
        "https://APP.example.com",
    ],
)
def test_other_origins_read_nothing(shared: Flask, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    reply = shared.test_client().options(f"{OPERATIONS}/edges", headers=asked)
    assert not [name for name, _ in reply.headers if name.startswith("Access-Control-")]
    assert "Origin" in reply.headers["Vary"], "caches keep them apart"


def test_every_origin_by_setting(settings: Settings) -> None:
    client = create_app(settings.model_copy(update={"cors_origins": ("*",)})).test_client()
    headers = client.get("/healthz", headers={"Origin": "https://any.example"}).headers
    assert headers["Access-Control-Allow-Origin"] == "https://any.example"
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(
    "text", ["app.example.com", "https://app.example.com/", "https://A.example", "ftp://a", "null"]
)
def test_origins_that_are_none(text: str) -> None:
    with pytest.raises(WrongSetting, match="LTU_COMPUTE_CORS_ORIGINS"):
        load(cors_origins=f"https://good.example, {text}")
