"""Google's Cloud Vision: against a server on this machine that speaks its REST schema.

Requests are held against the reference of ``images:annotate``; replies are such as it gives: in
proto3's JSON, where zeros and empty lists are left out.
"""

import base64
import io
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from ltu_compute.app import create_app
from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import ProviderFailed, WrongSetting
from ltu_compute.image import Image
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.google import Vision
from ltu_compute.settings import Settings, load
from ltu_compute.warm_up import warm_up
from tests.support.client import IMAGES, Caller
from tests.support.schemas import schema_of
from tests.support.timing import PATIENCE_S

KEY = "AIza-very-secret-key"
TEXT, LABELS, OBJECTS = "TEXT_DETECTION", "LABEL_DETECTION", "OBJECT_LOCALIZATION"

REQUEST_SCHEMA = {  # of the reference's BatchAnnotateImagesRequest, what is used here
    "type": "object",
    "required": ["requests"],
    "additionalProperties": False,
    "properties": {
        "requests": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["image", "features"],
                "additionalProperties": False,
                "properties": {
                    "image": {
                        "type": "object",
                        "required": ["content"],
                        "additionalProperties": False,
                        "properties": {"content": {"type": "string"}},
                    },
                    "features": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type"],
                            "additionalProperties": False,
                            "properties": {
                                "type": {"enum": [TEXT, LABELS, OBJECTS]},
                                "maxResults": {"type": "integer"},
                            },
                        },
                    },
                    "imageContext": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "languageHints": {"type": "array", "items": {"type": "string"}}
                        },
                    },
                },
            },
        }
    },
}


@dataclass
class Google:
    """What the server has been asked, and what it answers."""

    url: str = ""
    status: int = 200
    reply: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    drip: float = 0  # seconds between the bytes of its reply
    meanwhile: Callable[[], None] | None = None  # done before it answers
    asked: list[dict[str, Any]] = field(default_factory=list)
    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answers(self, reply: Any, status: int = 200, **headers: str) -> None:
        self.reply, self.status, self.headers = reply, status, headers
        self.raw, self.drip, self.meanwhile = None, 0, None
        self.asked.clear()
        self.received.clear()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Google]:
    state = Google()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.received.append((self.path, dict(self.headers)))
            state.asked.append(json.loads(body))
            if state.meanwhile is not None:
                state.meanwhile()
            content = state.raw if state.raw is not None else json.dumps(state.reply).encode()
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                for byte in content if state.drip else ():
                    time.sleep(state.drip)
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                if not state.drip:
                    self.wfile.write(content)
            except OSError:
                return  # the client has had enough

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with running() as state:
        yield state


def settings_with(settings: Settings, **more: Any) -> Settings:
    return Settings.model_validate(settings.model_dump() | {"google_api_key": KEY} | more)


def service(settings: Settings, **more: Any) -> Any:
    return create_app(settings_with(settings, **more))


@pytest.fixture(scope="module")
def application(app: Any, settings: Settings, google: Google) -> Iterator[Any]:
    enabled = service(settings, google_endpoint=google.url, google_timeout=PATIENCE_S)
    yield enabled
    enabled.extensions["ltu_compute"].store.close()


@pytest.fixture
def client(application: Any, token: str) -> Caller:
    return Caller(application.test_client(), token)


def sent(content: bytes | str = "chelsea.jpg", **more: str) -> dict[str, Any]:
    if isinstance(content, str):
        content = (IMAGES / content).read_bytes()
    return {"image": (io.BytesIO(content), "image"), "provider": "Google"} | more


def checked(google: Google, feature: str) -> dict[str, Any]:
    """Return the one request that was sent, after holding it against the schema."""
    (body,) = google.asked
    ((path, headers),) = google.received
    assert path == "/v1/images:annotate"
    assert headers["X-Goog-Api-Key"] == KEY
    assert headers["Content-Type"].startswith("application/json")
    jsonschema.validate(body, REQUEST_SCHEMA)
    (request,) = body["requests"]
    assert [f["type"] for f in request["features"]] == [feature]
    found: dict[str, Any] = request
    return found


def picture(request: dict[str, Any]) -> Any:
    content = base64.b64decode(request["image"]["content"], validate=True)
    assert content.startswith(b"\xff\xd8")
    assert b"Exif" not in content
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def fits(answer: Any, operation: str) -> Any:
    assert answer.status_code == 200, answer.text
    schema = schema_of(f"/v2/services/image/{operation}", "post", 200)
    jsonschema.validate(answer.json, schema)
    return answer.json


# ---------------------------------------------------------------------------------- text


def word(text: str, corners: Any, ends: str = "SPACE", language: str = "fr") -> dict[str, Any]:
    symbols: list[dict[str, Any]] = [{"text": letter} for letter in text]
    symbols[-1]["property"] = {"detectedBreak": {"type": ends}}
    vertices = [{k: v for k, v in zip("xy", corner, strict=True) if v} for corner in corners]
    return {
        "property": {"detectedLanguages": [{"languageCode": language, "confidence": 1}]},
        "boundingBox": {"vertices": vertices},
        "symbols": symbols,
        "confidence": 0.97,
    }


def upright(x: int, y: int, width: int, height: int) -> list[tuple[int, int]]:
    right, bottom = x + width, y + height
    return [(x, y), (right, y), (right, bottom), (x, bottom)]


TEXT_REPLY = {
    "responses": [
        {
            "textAnnotations": [{"locale": "fr", "description": "LE MAT\nLE", "boundingPoly": {}}],
            "fullTextAnnotation": {
                "pages": [
                    {
                        "property": {"detectedLanguages": [{"languageCode": "fr-Latn"}]},
                        "width": 451,
                        "height": 300,
                        "blocks": [
                            {
                                "paragraphs": [
                                    {"words": [
                                        word("LE", upright(0, 0, 20, 10)),
                                        word("MAT", upright(30, 0, 30, 10), "EOL_SURE_SPACE"),
                                    ]},
                                    {"words": [
                                        word("LE", upright(0, 20, 20, 10), "LINE_BREAK", "en"),
                                    ]},
                                ],
                                "blockType": "TEXT",
                            }
                        ],
                    }
                ],
                "text": "LE MAT\nLE",
            },
        }
    ]
}  # fmt: skip


def test_text(client: Caller, google: Google) -> None:
    google.answers(TEXT_REPLY)
    body = fits(client.post("textDetection", data=sent(language="fr, en")), "textDetection")
    request = checked(google, TEXT)
    assert request["imageContext"] == {"languageHints": ["fr", "en"]}
    assert picture(request).shape == (300, 451, 3)
    assert body["info"] == {"provider": "Google", "rotation": 0}
    image = body["content"]["image"]
    uuid = image["UUID"]
    summary = image["areas"][f"{uuid}/0"]["resultInfo"]["textDetection"]
    assert summary == {
        "type": "summary",
        "language": "fr",
        "text": "LE MAT\nLE\n",
        "subarea": [f"{uuid}/1", f"{uuid}/2", f"{uuid}/3"],
        "words": {"LE": [f"{uuid}/1", f"{uuid}/3"], "MAT": [f"{uuid}/2"]},
    }
    third = image["areas"][f"{uuid}/3"]
    assert third["boundingBox"] == {"x": 0, "y": 20, "width": 21, "height": 11}
    found = third["resultInfo"]["textDetection"]
    assert (found["text"], found["language"], found["confidence"]) == ("LE", "en", 0.97)
    assert body["content"]["summary"]["resultInfos"] == {"textDetection": {"nbAreas": 4}}


@pytest.mark.parametrize(
    ("language", "hints"),
    [
        ("eng", ["en"]),
        ("FRA, deu+en", ["fr", "de", "en"]),
        ("fr fre fra", ["fr"]),  # one language, by three codes
        ("chi_sim", ["zh"]),
        ("pt-BR", ["pt-br"]),
        ("grc", ["grc"]),  # there is no shorter one
    ],
)
def test_language_hints(client: Caller, google: Google, language: str, hints: list[str]) -> None:
    google.answers({"responses": [{}]})
    fits(client.post("textDetection", data=sent(language=language)), "textDetection")
    assert checked(google, TEXT)["imageContext"] == {"languageHints": hints}


@pytest.mark.parametrize(
    ("along", "rotation"),
    [((1000, 1), 0.1), ((1000, -1), -0.1), ((10000, -1), 0), ((-10000, -1), 180), ((0, -9), -90)],
)
def test_rotation_is_told_to_a_tenth(
    client: Caller, google: Google, along: tuple[int, int], rotation: float
) -> None:
    start, (x, y) = (20000, 20000), along
    corners = [start, (start[0] + x, start[1] + y), (start[0] + x, 20100), (start[0], 20100)]
    reply = {
        "text": "AB",
        "pages": [{"blocks": [{"paragraphs": [{"words": [word("AB", corners)]}]}]}],
    }
    google.answers({"responses": [{"fullTextAnnotation": reply}]})
    answer = client.post("textDetection", data=sent())
    assert answer.json["info"]["rotation"] == rotation
    assert "-0.0" not in answer.text
    assert "-180" not in answer.text


def test_text_that_is_turned(client: Caller, google: Google) -> None:
    corners = [(100, 50), (100, 90), (80, 90), (80, 50)]  # reads downwards
    reply = {
        "text": "AB",
        "pages": [{"blocks": [{"paragraphs": [{"words": [word("AB", corners)]}]}]}],
    }
    google.answers({"responses": [{"fullTextAnnotation": reply}]})
    body = fits(client.post("textDetection", data=sent()), "textDetection")
    assert body["info"]["rotation"] == 90
    areas = list(body["content"]["image"]["areas"].values())
    assert areas[1]["boundingBox"] == {"x": 80, "y": 50, "width": 21, "height": 41}


def test_a_reply_without_text_has_no_areas(client: Caller, google: Google) -> None:
    google.answers({"responses": [{}]})
    body = fits(client.post("textDetection", data=sent()), "textDetection")
    assert "imageContext" not in checked(google, TEXT)
    (area,) = body["content"]["image"]["areas"].values()
    assert area["boundingBox"] == {"x": 0, "y": 0, "width": 451, "height": 300}
    assert area["resultInfo"]["textDetection"]["text"] == ""


def test_large_and_turned_pictures(client: Caller, google: Google) -> None:
    """A photograph of 5000 x 40 px that EXIF turns upright is sent at 33 x 4096 px."""
    stripes = np.kron(np.arange(100, dtype=np.uint8), np.full((40, 50), 2, np.uint8))
    content = cv2.imencode(".jpg", stripes)[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff
    google.answers(
        {"responses": [{"fullTextAnnotation": {"text": "I", "pages": [
            {"blocks": [{"paragraphs": [{"words": [word("I", upright(8, 2048, 8, 16))]}]}]}
        ]}}]}
    )  # fmt: skip
    turned = content[:2] + exif + content[2:]
    body = fits(client.post("textDetection", data=sent(turned)), "textDetection")
    height, width = picture(checked(google, TEXT)).shape[:2]
    assert height == 4096
    assert 32 <= width <= 33
    box = list(body["content"]["image"]["areas"].values())[1]["boundingBox"]
    scale = 40 / width
    assert box["x"] == pytest.approx(8 * scale, abs=1)
    assert box["y"] == pytest.approx(2048 * scale, abs=1)


# ---------------------------------------------------------------------- labels, objects


def test_labels(client: Caller, google: Google) -> None:
    annotations = [
        {"mid": "/m/01yrx", "description": "Cat", "score": 0.98, "topicality": 0.75},
        {"mid": "/m/01l7qd", "description": "Whiskers", "score": 0.93, "topicality": 0.93},
        {"mid": "/m/07k6w8", "description": "Small to medium-sized cats", "score": 0.5},
    ]
    google.answers({"responses": [{"labelAnnotations": annotations}]})
    answer = client.post("classification", data=sent(max_results="5", min_score="0.6"))
    body = fits(answer, "classification")
    assert checked(google, LABELS)["features"][0]["maxResults"] == 5
    assert body["info"] == {"provider": "Google", "model": "", "scores": "Google's own"}
    assert body["content"]["labelAnnotations"][0] == {
        "score": float(np.float32(0.98)), "topicality": 0.75, "mid": "/m/01yrx",
        "description": "Cat",
    }  # fmt: skip
    assert [a["description"] for a in body["content"]["labelAnnotations"]] == ["Cat", "Whiskers"]


def test_objects(client: Caller, google: Google) -> None:
    poly = {"normalizedVertices": [{}, {"x": 0.5}, {"x": 0.5, "y": 0.25}, {"y": 0.25}]}
    annotations = [
        {"mid": "/m/0k4j", "name": "Car", "score": 0.7, "boundingPoly": poly},
        {"mid": "/m/01yrx", "name": "Cat", "score": 0.9, "boundingPoly": poly},
    ]
    google.answers({"responses": [{"localizedObjectAnnotations": annotations}]})
    body = fits(client.post("objectDetection", data=sent()), "objectDetection")
    assert checked(google, OBJECTS)["features"][0]["maxResults"] == 100
    found = body["content"]["localizedObjectAnnotations"]
    assert [o["name"] for o in found] == ["Cat", "Car"]
    assert found[0]["boundingPoly"]["normalizedVertices"] == [
        {"y": 0, "x": 0}, {"y": 0, "x": 0.5}, {"y": 0.25, "x": 0.5}, {"y": 0.25, "x": 0},
    ]  # fmt: skip
    for classes in ("car", "/m/0k4j", "Car, Boat"):
        google.asked.clear()
        google.received.clear()
        body = client.post("objectDetection", data=sent(classes=classes, max_results="1")).json
        assert [o["name"] for o in body["content"]["localizedObjectAnnotations"]] == ["Car"]
        # a better one of another class takes no car's place
        assert checked(google, OBJECTS)["features"][0]["maxResults"] == 1000
    body = client.post("objectDetection", data=sent(classes="car,cat", max_results="1")).json
    assert [o["name"] for o in body["content"]["localizedObjectAnnotations"]] == ["Cat"]


# ---------------------------------------------------------------------------- refusals

ENDED = {"error": {"code": 403, "message": f"Consumer 'api_key:{KEY}' has been suspended."}}
BAD_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        ],
    }
}
BAD_IMAGE = {"responses": [{"error": {"code": 3, "message": "Bad image data."}}]}
NO_LIST = {"responses": [{"labelAnnotations": {"mid": "/m/01yrx"}}]}


@pytest.mark.parametrize(
    ("status", "reply", "expected", "words"),
    [
        (400, BAD_KEY, 502, "does not accept the key in LTU_COMPUTE_GOOGLE_API_KEY: API key"),
        (401, {"error": {"message": "no"}}, 502, "does not accept the key"),
        (403, ENDED, 502, "Consumer 'api_key:***' has been suspended"),
        (400, {"error": {"message": "Request too large"}}, 502, "status 400: Request too large"),
        (429, {"error": {"message": "Quota exceeded"}}, 503, "quota is used up: Quota exceeded"),
        (500, {"error": {"message": "Internal"}}, 502, "status 500: Internal"),
        (500, [], 502, "status 500: it does not say why"),
        (302, {}, 502, "status 302"),
        (200, BAD_IMAGE, 502, "Google: Bad image data."),
        (200, {}, 502, "not of the form"),
        (200, {"responses": []}, 502, "not of the form"),
        (200, {"responses": [{}, {}]}, 502, "not of the form"),
        (200, NO_LIST, 502, "not of the form that its reference gives: labelAnnotations"),
        (200, {"responses": [{"labelAnnotations": [{"score": "high"}]}]}, 502, "not of the form"),
    ],
)
def test_refusals(
    client: Caller, google: Google, status: int, reply: Any, expected: int, words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    google.answers(reply, status, Retry_After="7", Location="http://127.0.0.1:1/")
    answer = client.post("classification", data=sent())
    assert answer.status_code == expected, answer.text
    assert words in answer.json["details"]["message"]
    assert KEY not in answer.text + str(answer.headers) + caplog.text
    assert answer.headers.get("Retry-After") == ("7" if expected == 503 else None)
    assert answer.json["result"] == {}


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"responses": [', b"\xff\xfe"])
def test_a_reply_that_is_not_json(client: Caller, google: Google, raw: bytes) -> None:
    google.answers({})
    google.raw = raw
    answer = client.post("classification", data=sent())
    assert answer.status_code == 502
    assert "not of the form" in answer.json["details"]["message"]


def test_the_time_is_over(app: Any, settings: Settings, google: Google, token: str) -> None:
    """A server that sends a byte now and then is too late, too."""
    google.answers({"responses": [{}]})
    google.drip = 0.3
    slow = service(settings, google_endpoint=google.url, google_timeout=0.8)
    answer = Caller(slow.test_client(), token).post("classification", data=sent())
    assert answer.status_code == 502
    assert answer.json["details"]["message"] == "Google did not answer within 0.8 s"
    google.drip = 0
    slow.extensions["ltu_compute"].store.close()


@pytest.mark.parametrize("operation", ["textDetection", "classification", "objectDetection"])
def test_others_are_answered_while_google_is_waited_for(
    app: Any, settings: Settings, google: Google, token: str, operation: str
) -> None:
    one_slot = service(settings, google_endpoint=google.url, google_timeout=PATIENCE_S, workers=99)
    client = Caller(one_slot.test_client(), token)
    statuses = []

    def ask() -> None:
        other = Caller(one_slot.test_client(), token)
        image = (io.BytesIO((IMAGES / "shapes.png").read_bytes()), "shapes.png")
        statuses.append(other.post("colorPalette", data={"image": image}).status_code)

    google.answers({"responses": [{}]})
    google.meanwhile = ask
    answer = client.post(operation, data=sent())
    assert answer.status_code == 200, answer.text
    assert statuses == [200]
    one_slot.extensions["ltu_compute"].store.close()


def test_a_refused_connection_is_reported(app: Any, settings: Settings, token: str) -> None:
    alone = service(settings, google_endpoint="http://127.0.0.1:9")
    answer = Caller(alone.test_client(), token).post("classification", data=sent())
    assert answer.status_code == 502
    assert "the connection was refused" in answer.json["details"]["message"]
    alone.extensions["ltu_compute"].store.close()


def test_over_tls(settings: Settings, request: pytest.FixtureRequest) -> None:
    """The certificate is verified, and the deadline holds."""
    path = request.getfixturevalue("certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    unchecked = ssl.create_default_context(cafile=str(path))
    unchecked.check_hostname = False  # it is not one for 127.0.0.1
    image = Image.from_bytes((IMAGES / "chelsea.jpg").read_bytes(), max_pixels=1 << 20)
    with running(context) as google:
        google.answers({"responses": [{}]})
        patient, hasty = (
            settings_with(settings, google_endpoint=google.url, google_timeout=seconds)
            for seconds in (PATIENCE_S, 0.5)
        )
        assert Vision(patient, tls=unchecked).labels(image, max_results=3) == ()
        google.drip = 0.3
        with pytest.raises(ProviderFailed, match=r"did not answer within 0\.5 s"):
            Vision(hasty, tls=unchecked).labels(image, max_results=3)
        google.drip = 0
        with pytest.raises(ProviderFailed, match="the certificate is not valid"):
            Vision(patient).labels(image, max_results=3)


# ------------------------------------------------------------------- asked, or not asked


@pytest.mark.parametrize("operation", ["textDetection", "classification", "objectDetection"])
def test_without_a_key_it_says_how_to_enable_it(call: Caller, operation: str) -> None:
    answer = call.post(operation, data=sent())
    assert answer.status_code == 501
    assert "LTU_COMPUTE_GOOGLE_API_KEY" in answer.json["details"]["message"]
    assert answer.json["errors"][0]["parameter"] == "provider"
    jsonschema.validate(answer.json, schema_of(f"/v2/services/image/{operation}", "post", 501))


@pytest.mark.parametrize("operation", ["textDetection", "classification", "objectDetection"])
def test_google_is_not_asked_unless_named(client: Caller, google: Google, operation: str) -> None:
    google.answers({"responses": [{}]})
    local = "Tesseract" if operation == "textDetection" else "Local"
    for provider in ("", local, local.lower()):
        answer = client.post(operation, data=sent("shapes.png", provider=provider))
        assert answer.status_code == 200, answer.text
        assert answer.json["info"]["provider"] == local
    assert google.asked == []


def test_by_default_where_the_setting_says_so(
    app: Any, settings: Settings, google: Google, token: str
) -> None:
    google.answers({"responses": [{}]})
    eager = service(settings, google_endpoint=google.url, default_provider="Google")
    client = Caller(eager.test_client(), token)
    for operation in ("textDetection", "classification", "objectDetection"):
        answer = client.post(operation, data=sent(provider=""))
        assert answer.json["info"]["provider"] == "Google"
    assert len(google.asked) == 3
    answer = client.post("classification", data=sent(provider="Local"))
    assert answer.json["info"]["provider"] == "Local"
    answer = client.post("classification", data=sent(provider="", model="none"))
    assert answer.status_code == 400  # a model is one of this machine
    warm_up(DIALECTS, eager.extensions["ltu_compute"].recognisers)
    assert len(google.asked) == 3
    eager.extensions["ltu_compute"].store.close()


@pytest.mark.parametrize("value", ["Google", "google", "GOOGLE "])
def test_the_default_provider_in_any_case(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LTU_COMPUTE_DEFAULT_PROVIDER", value)
    assert load().default_provider == "Google"
    assert (
        load(default_provider=value.lower().replace("google", "local")).default_provider == "Local"
    )


def test_by_default_without_a_key_is_a_wrong_setting(settings: Settings) -> None:
    with pytest.raises(WrongSetting, match="GOOGLE_API_KEY"):
        Recognisers.from_settings(settings.model_copy(update={"default_provider": "Google"}))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("GOOGLE_ENDPOINT", "http://vision.example.com", True),
        ("GOOGLE_ENDPOINT", "vision.example.com", True),
        ("GOOGLE_ENDPOINT", "https://vision.example.com/?key=1", True),
        ("DEFAULT_PROVIDER", "Azure", True),
        ("GOOGLE_API_KEY", "two words", False),
        ("GOOGLE_API_KEY", "line\nbreak", False),
    ],
)
def test_wrong_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: bool
) -> None:
    monkeypatch.setenv(f"LTU_COMPUTE_{name}", value)
    with pytest.raises(WrongSetting, match=f"LTU_COMPUTE_{name}") as wrong:
        load()
    assert (value in str(wrong.value)) == shown


def test_the_key_is_no_part_of_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTU_COMPUTE_GOOGLE_API_KEY", f" {KEY}\n")
    settings = load()
    assert settings.google_api_key.get_secret_value() == KEY
    assert KEY not in repr(settings) + str(settings.google_api_key)
