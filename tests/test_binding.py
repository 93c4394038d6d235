"""Every way to send an image, every place for a parameter, and what is told when they are wrong."""

import base64
import io
import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from flask import Flask, Request, Response
from werkzeug.test import EnvironBuilder

from ltu_compute.app import create_app
from ltu_compute.settings import Settings
from ltu_compute.web import binding
from tests.conftest import IMAGES, Caller

PNG = (IMAGES / "object-bright.png").read_bytes()
JPEG = (IMAGES / "chelsea.jpg").read_bytes()
SMALL = cv2.imencode(".png", np.eye(2, dtype=np.uint8) * 255)[1].tobytes()  # fits into a query


def part(content: bytes, name: str = "image", kind: str | None = None) -> tuple[Any, ...]:
    return (io.BytesIO(content), name, kind) if kind else (io.BytesIO(content), name)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


WAYS_IN: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "a file": lambda b: {"data": {"image": part(b)}},
    "a file of a wrong name and type": lambda b: {
        "data": {"image": part(b, "notes.txt", "text/plain")}
    },
    "base64 in a form": lambda b: {"data": {"image": text(b)}},
    "base64 in a multipart text": lambda b: {
        "data": {"image": text(b)},
        "content_type": "multipart/form-data",
    },
    "base64 without padding": lambda b: {"data": {"image": text(b).rstrip("=")}},
    "base64, URL-safe": lambda b: {"data": {"image": base64.urlsafe_b64encode(b).decode()}},
    "base64 with line breaks": lambda b: {"data": {"image": base64.encodebytes(b).decode()}},
    "base64 in quotes": lambda b: {"data": {"image": f'"{text(b)}"'}},
    "a data: URI": lambda b: {"data": {"image": f"data:image/png;base64,{text(b)}"}},
    "JSON": lambda b: {"json": {"image": text(b)}},
    "a file that beats a text": lambda b: {
        "data": {"image": [part(b), "this is no image"]},
    },
    "a file and a query that it beats": lambda b: {
        "data": {"image": part(b)},
        "query_string": {"image": "this is no image"},
    },
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("content", [PNG, JPEG], ids=["PNG", "JPEG"])
def test_every_way_in_gives_the_same_answer(call: Caller, way: str, content: bytes) -> None:
    expected = call.post("colorPalette", data={"image": part(content)})
    answer = call.post("colorPalette", **WAYS_IN[way](content))
    assert answer.status_code == 200, answer.text
    assert answer.json == expected.json


def test_an_image_in_the_query_of_a_get(call: Caller) -> None:
    answer = call.get("colorPalette", query_string={"image": text(SMALL)})
    assert answer.status_code == 200, answer.text
    assert answer.json == call.post("colorPalette", data={"image": part(SMALL)}).json


def test_a_plus_that_a_client_did_not_escape(call: Caller) -> None:
    raw = text(PNG)
    assert "+" in raw
    body = "image=" + quote(raw, safe="+")
    kind = "application/x-www-form-urlencoded"
    answer = call.post("colorPalette", data=body, content_type=kind)
    assert answer.status_code == 200, answer.text


URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        (b"a", {"a": [""]}),
        (b"a=&=b", {"a": [""], "": ["b"]}),
        (b"a=x+y%2Bz", {"a": ["x y+z"]}),
        (b"a=b=c==", {"a": ["b=c=="]}),
        (b"a+b=%C3%A4", {"a b": ["ä"]}),
        ("a=ä".encode(), {"a": ["ä"]}),
        (b"a=%FF%41&b=100%", {"a": ["%FFA"], "b": ["100%"]}),
        (b"a=1;b=2", {"a": ["1;b=2"]}),
    ],
)
@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
def test_urlencoded_bodies_are_read_as_queries_are(
    body: bytes, values: dict[str, list[str]], charset: str
) -> None:
    def request(**sent: Any) -> Request:
        return Request(EnvironBuilder(method="POST", **sent).get_environ())

    assert binding.read(request(data=body, content_type=URLENCODED + charset)).values == values
    if body.isascii():
        query = request(query_string=body.decode())
        assert binding.read(query).values == values


def test_the_fields_of_a_urlencoded_body_are_bounded(call: Caller) -> None:
    def post(fields: int) -> Any:
        body = f"image={quote(text(PNG))}" + "&x=" * (fields - 1)
        return call.post("colorPalette", data=body, content_type=URLENCODED)

    assert post(1000).status_code == 200
    refused = post(1001)
    assert refused.status_code == 413
    assert "1001 fields, allowed are 1000" in refused.json["details"]["message"]


PLACES: dict[str, Callable[[], dict[str, Any]]] = {
    "query of a POST": lambda: {"data": {"image": part(PNG)}, "query_string": {"count": "2"}},
    "form": lambda: {"data": {"image": text(PNG), "count": "2"}},
    "multipart": lambda: {"data": {"image": part(PNG), "count": "2"}},
    "JSON number": lambda: {"json": {"image": text(PNG), "count": 2}},
    "JSON text": lambda: {"json": {"image": text(PNG), "count": "2"}},
    "query beside JSON": lambda: {"json": {"image": text(PNG)}, "query_string": {"count": 2}},
    "form over query": lambda: {
        "data": {"image": text(PNG), "count": "2"},
        "query_string": {"count": "9"},
    },
    "stray quotes": lambda: {"data": {"image": part(PNG), "count": '"2"'}},
    "sent twice alike": lambda: {"data": {"image": part(PNG), "count": ["2", "2"]}},
}


@pytest.mark.parametrize("place", PLACES)
def test_every_place_for_a_parameter(call: Caller, place: str) -> None:
    answer = call.post("colorPalette", **PLACES[place]())
    assert answer.status_code == 200, answer.text
    assert answer.json["details"]["info"]["count"] <= 2
    assert len(call.post("colorPalette", data={"image": part(JPEG)}).json["result"]["colors"]) > 2


TRUE = ("True", "true", "1", '"True"', "TRUE")
FALSE = ("False", "false", "0", '"False"', "")


@pytest.mark.parametrize(("value", "expected"), [*((v, 1) for v in TRUE), *((v, 3) for v in FALSE)])
def test_booleans(call: Caller, value: str, expected: int) -> None:
    data = {"image": part((IMAGES / "shapes.png").read_bytes()), "only_biggest": value}
    answer = call.post("contours", data=data)
    assert answer.status_code == 200, answer.text
    count = answer.json["details"]["info"]["nbContours"]
    assert count == 1 if expected == 1 else count >= expected


def test_the_misspelt_names_of_the_document(call: Caller) -> None:
    thin = call.post("edges", data={"image": part(PNG)}).json["result"]
    thick = call.post("edges", data={"image": part(PNG), "edge_thicknesse": 5}).json
    assert thick["result"] != thin
    assert "ignored" not in thick["details"]["info"]
    proper = call.post("edges", data={"image": part(PNG), "edge_thickness": 5}).json
    assert thick == proper
    strict = call.post("imageQuality", data={"image": part(JPEG), "tolerence": 0.01}).json
    loose = call.post("imageQuality", data={"image": part(JPEG), "tolerance": 0.4}).json
    share = [r["result"]["brightness"]["under_per"] for r in (strict, loose)]
    assert share[0] < share[1]


@pytest.mark.parametrize(
    ("sent", "ignored"),
    [
        ({}, None),
        ({"cuont": "3"}, ["cuont"]),
        ({"version": "Custom", "output_format": "json"}, None),
        ({"mask_type": "none", "x": ""}, ["mask_type", "x"]),
    ],
    ids=["nothing", "a typo", "what the samples send", "of another operation"],
)
def test_unknown_parameters_are_told(
    call: Caller, sent: dict[str, str], ignored: list[str] | None
) -> None:
    info = call.post("colorPalette", data={"image": part(PNG)} | sent).json["details"]["info"]
    assert info.get("ignored") == ignored


# operation, what is sent, and for each parameter that is wrong what its message must hold
WRONG: dict[str, tuple[str, dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "no image": ("edges", {}, {"image": ("required",)}),
    "an empty file": ("edges", {"image": part(b"")}, {"image": ("empty",)}),
    "neither URL nor base64": (
        "edges",
        {"image": "a photograph of my cat!"},
        {"image": ("base64", "'a photograph of my cat!'")},
    ),
    "out of range": (
        "edges",
        {"image": text(PNG), "threshold_max": "501"},
        {"threshold_max": ("'501'", "0 to 500")},
    ),
    "not a number": (
        "edges",
        {"image": text(PNG), "threshold_min": "high"},
        {"threshold_min": ("'high'", "a number from 0 to 500")},
    ),
    "not finite": (
        "edges",
        {"image": text(PNG), "threshold_min": "nan"},
        {"threshold_min": ("'nan'", "a number")},
    ),
    "all at once": (
        "edges",
        {"threshold_min": "-1", "threshold_max": "x", "edge_thickness": "0.5"},
        {
            "image": ("required",),
            "threshold_min": ("'-1'",),
            "threshold_max": ("'x'",),
            "edge_thickness": ("'0.5'", "a whole number from 1"),
        },
    ),
    "an unknown word": (
        "objectMaskDetection",
        {"image": text(PNG), "algorithm": "MAGIC"},
        {"algorithm": ("'MAGIC'", "SOBEL", "BINNING", "OTSU_BIN_THRESHOLD")},
    ),
    "a channel of another space": (
        "objectMaskDetection",
        {"image": text(PNG), "color_space": "YRB", "channel": "V"},
        {"channel": ("'V'", "YRB", "Y, R, B")},
    ),
    "a misspelt name": (
        "imageQuality",
        {"image": text(PNG), "tolerence": "2"},
        {"tolerence": ("'2'", "a number from 0 to 1")},
    ),
    "a channel beside something else": (
        "objectMaskDetection",
        {"image": text(PNG), "channel": "R", "only_biggest": "maybe"},
        {"channel": ("'R'", "H, S, V"), "only_biggest": ("'maybe'", "True or False")},
    ),
    "several settings": (
        "differences",
        {
            "image1": text(PNG),
            "image2": text(PNG),
            "fic_settings": '{"threshold": true, "smooth": -1, "unknown": true}',
        },
        {
            "fic_settings.threshold": ("True", "a number"),
            "fic_settings.smooth": ("-1", "a number from 0 to 100"),
        },
    ),
    "not a boolean": (
        "contours",
        {"image": text(PNG), "only_biggest": "perhaps"},
        {"only_biggest": ("'perhaps'", "True or False")},
    ),
    "two values": (
        "colorPalette",
        {"image": text(PNG), "count": ["2", "3"]},
        {"count": ("'2' and '3'",)},
    ),
    "settings that are not JSON": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "fic_settings": "{threshold: high"},
        {"fic_settings": ("{threshold: high", "JSON")},
    ),
    "settings that are a list": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "fic_settings": "[1]"},
        {"fic_settings": ("[1]", "a JSON object")},
    ),
    "settings out of range": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "fic_settings": '{"resolution": 901}'},
        {"fic_settings.resolution": ("901", "32 to 900")},
    ),
    "a colour of two numbers": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "mask_color": "1,2"},
        {"mask_color": ("1,2",)},
    ),
    "a colour over 255": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "mask_color": "1,2,300"},
        {"mask_color": ("300", "0 to 255")},
    ),
    "both images": ("alignmentMatrix", {}, {"image1": ("required",), "image2": ("required",)}),
    "one of two": ("distance", {"refImage": text(PNG)}, {"queryImage": ("required",)}),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(call: Caller, case: str) -> None:
    operation, sent, told = WRONG[case]
    answer = call.post(operation, data=sent)
    assert answer.status_code == 400, answer.text
    body = answer.json
    assert body["result"] == {}
    errors = {error["parameter"]: error["message"] for error in body["errors"]}
    assert errors.keys() == told.keys()
    for parameter, words in told.items():
        for word in words:
            assert word in errors[parameter]
        assert errors[parameter] in body["details"]["message"]


def test_both_images_can_be_unreadable_but_parameters_come_first(call: Caller) -> None:
    answer = call.post("alignmentMatrix", data={"image1": text(b"GIF89a"), "resolution": "1"})
    assert answer.status_code == 400
    assert {e["parameter"] for e in answer.json["errors"]} == {"image2", "resolution"}


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"BM" + bytes(60), 415, "JPEG, PNG or GIF"),
        (JPEG[: len(JPEG) // 2], 422, "not a readable JPEG"),
        (PNG[:-20], 422, "not a readable PNG"),
    ],
    ids=["BMP", "half a JPEG", "a PNG without its end"],
)
def test_images_that_are_none(call: Caller, content: bytes, status: int, words: str) -> None:
    for sent in ({"image": part(content)}, {"image": text(content)}):
        answer = call.post("edges", data=sent)
        assert answer.status_code == status
        assert [e["parameter"] for e in answer.json["errors"]] == ["image"]
        assert words in answer.json["details"]["message"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[1, 2]", "application/json", 400),
        (b"{", "application/json", 400),
        (PNG, "image/png", 415),
        (b"image=x", "text/plain", 415),
    ],
)
def test_bodies_of_another_kind(call: Caller, body: bytes, kind: str, status: int) -> None:
    answer = call.post("edges", data=body, content_type=kind)
    assert answer.status_code == status
    assert answer.json["details"]["message"]


def test_settings_in_the_quotes_of_the_document(call: Caller) -> None:
    double = {"resolution": 600, "threshold": 1.4, "smooth": 1.4, "margin": 0}
    path = Path(IMAGES, "chelsea.jpg")
    replies = [
        call.post(
            "differences",
            data={"image1": part(path.read_bytes()), "image2": part(PNG), "fic_settings": sent},
        )
        for sent in (json.dumps(double), str(double), f" {double}\n")
    ]
    assert len({reply.status_code for reply in replies}) == 1
    assert replies[0].json == replies[1].json == replies[2].json


def test_unknown_settings_are_told(call: Caller) -> None:
    settings = '{"treshold": true, "threshold": null}'
    sent = {"image1": text(PNG), "image2": text(PNG), "fic_settings": settings}
    info = call.post("differences", data=sent).json["details"]["info"]
    assert info["ignored"] == ["fic_settings.treshold"]


@pytest.fixture(scope="module")
def gallery(serve: Any) -> str:
    """Serve pictures, and nothing else, on this machine."""
    pictures = Flask("gallery")
    pictures.add_url_rule("/p.png", "picture", lambda: Response(PNG, mimetype="text/plain"))
    return f"{serve(pictures).url}/p.png"


@pytest.fixture
def call_beside_a_gallery(app: Flask, settings: Settings, token: str) -> Caller:
    allowed = settings.model_copy(update={"fetch_allowed_networks": (ip_network("127.0.0.0/8"),)})
    return Caller(create_app(allowed).test_client(), token)


@pytest.mark.parametrize("place", ["data", "query_string", "json", "multipart"])
def test_an_image_by_its_address(
    call: Caller, call_beside_a_gallery: Caller, gallery: str, place: str
) -> None:
    sent: dict[str, Any] = {place: {"image": gallery}}
    if place == "multipart":
        sent = {"data": {"image": gallery}, "content_type": "multipart/form-data"}
    answer = call_beside_a_gallery.post("colorPalette", **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json == call.post("colorPalette", data={"image": part(PNG)}).json


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{gallery}", "ports 80 and 443"),
        ("http://127.0.0.1/x.png", "not public"),
        ("http://169.254.169.254/latest/meta-data", "not public"),
        ("http://user:secret@example.com/x.png", "credentials"),
        ("http://nowhere.invalid/x.png", "nowhere.invalid"),
    ],
)
def test_addresses_that_are_not_fetched(
    call: Caller, gallery: str, address: str, words: str
) -> None:
    answer = call.post("edges", data={"image": address.format(gallery=gallery)})
    assert answer.status_code == 422
    assert [e["parameter"] for e in answer.json["errors"]] == ["image"]
    assert words in answer.json["details"]["message"]
    assert "secret" not in answer.text


def test_an_address_that_answers_404(call_beside_a_gallery: Caller, gallery: str) -> None:
    answer = call_beside_a_gallery.post("edges", data={"image": f"{gallery}.not"})
    assert answer.status_code == 422
    assert "404" in answer.json["details"]["message"]


def test_an_optional_file_that_a_browser_left_out(call: Caller) -> None:
    pair = {"image1": part(PNG), "image2": part(PNG)}
    answer = call.post("differences", data={**pair, "image1_roi": (io.BytesIO(b""), "")})
    assert answer.status_code == 200, answer.text
    text_instead = {"image": [(io.BytesIO(b""), ""), text(PNG)]}
    assert call.post("edges", data=text_instead).status_code == 200


def test_more_files_than_are_looked_at(call: Caller) -> None:
    answer = call.post("edges", data={"image": [part(PNG), part(JPEG)]})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["message"] == "image: received 2 files, allowed: 1"


def test_two_spellings_that_contradict(call: Caller) -> None:
    sent = {"image": text(PNG), "edge_thickness": "1", "edge_thicknesse": "2"}
    answer = call.post("edges", data=sent)
    assert answer.status_code == 400
    assert "'1' and '2'" in answer.json["errors"][0]["message"]
