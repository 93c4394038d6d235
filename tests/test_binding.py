"""Every way to send an image, every place for a parameter, and the errors for wrong ones."""

import base64
import io
import json
import tracemalloc
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from flask import Flask, Request, Response
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.test import EnvironBuilder

from ltu_compute.app import create_app
from ltu_compute.errors import BadParameters, Problem, TooManyBytes
from ltu_compute.settings import Settings
from ltu_compute.web import wire
from tests.support.client import IMAGES, Caller
from tests.support.timing import takes_less

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
        (b"a=%41&b=100%", {"a": ["A"], "b": ["100%"]}),
        (b"a=1;b=2", {"a": ["1;b=2"]}),
    ],
)
@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
def test_urlencoded_bodies_are_read_as_queries_are(
    body: bytes, values: dict[str, list[str]], charset: str
) -> None:
    def request(**sent: Any) -> Request:
        return Request(EnvironBuilder(method="POST", **sent).get_environ())

    assert wire.read(request(data=body, content_type=URLENCODED + charset)).values == values
    if body.isascii():
        query = request(query_string=body.decode())
        assert wire.read(query).values == values


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'{"n": 0.00005}', "0.00005"),
        (b'{"n" :\n5e-05 , "m": 1}', "5e-05"),
        (b'{"n": 1.50}', "1.50"),
        (b'{"n": 1796024064.6181834}', "1796024064.6181834"),
        (b'{"n": 3720363822}', "3720363822"),
        (b'{"n": "0.10"}', "0.10"),
        (rb'{"m": "\"n\": 1.2.3", "n": 0.50}', "0.50"),
        (b'{"m": {"n": 0.25}, "n": 0.50}', "0.50"),
        (b'{"n": 0.' + b"5" * 50 + b"}", "0.5555555555555556"),
        (b'{"n": 0.50, "a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}', "0.5"),
    ],
)
def test_fractions_in_json_stay_as_they_were_written(body: bytes, first: str) -> None:
    sent = EnvironBuilder(method="POST", data=body, content_type="application/json")
    assert wire.read(Request(sent.get_environ())).first("n") == first


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"n": 0.5, "n": 0.25}', "n"),
        (b'{"n":1,"m":{"a":[1,{"b":2}]} , "n" :2}', "n"),
        (rb'{"apikey": "x", "\u0061pikey": "good"}', "apikey"),
        (rb'{"a\"": 1, "a\"": 1}', 'a"'),
        (rb'{"x": "\\\"", "n": "\\", "n": 3}', "n"),
        (b'{"image": "' + b"A" * 10**6 + b'", "image": ""}', "image"),
        (rb'{"n": 1, "m": "\"n\": 2", "o": {"n": 3, "p": [{"n": 4}]}, "p": ["n", "n"]}', ""),
        (b'{"n": "n", "m": ["n"], "o": "m"}', ""),
    ],
)
def test_a_name_that_is_twice_in_json_is_refused(body: bytes, name: str) -> None:
    """A proxy in front may have read the other one. Names in nested objects are not checked."""
    sent = EnvironBuilder(method="POST", data=body, content_type="application/json")
    request = Request(sent.get_environ())
    if not name:
        assert "n" in wire.read(request).values
        return
    with pytest.raises(BadParameters, match="is there twice") as refused:
        wire.read(request)
    assert repr(name) in str(refused.value)


def test_json_of_very_many_quotation_marks_is_refused(call: Caller) -> None:
    body = b'{"classes": "' + b'\\"' * 60_000 + b'"}'
    answer = call.post("objectDetection", data=body, content_type="application/json")
    assert answer.status_code == 413
    assert "quotation marks, allowed are 50000" in answer.json["details"]["message"]


@pytest.mark.parametrize("value", ["1_0", "+5", "5_", " +5", "1_0.0"])
def test_numbers_that_only_python_writes_are_refused(call: Caller, value: str) -> None:
    for operation, name in (("colorPalette", "count"), ("imageQuality", "tolerance")):
        answer = call.post(operation, data={"image": part(SMALL), name: value})
        assert answer.status_code == 400
        assert (
            f"{name}: received {value.strip()!r}, allowed is" in answer.json["details"]["message"]
        )


@pytest.mark.parametrize("body", [b"classes=M%F6bel", b"classes=" + bytes([0xC3]), b"cl%E4sses=x"])
def test_a_urlencoded_text_that_is_not_utf_8_is_refused(call: Caller, body: bytes) -> None:
    body = b"image=" + quote(text(PNG)).encode() + b"&" + body
    answer = call.post("objectDetection", data=body, content_type=URLENCODED)
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] in ("classes", "body")
    assert "is not UTF-8" in answer.json["details"]["message"]


def test_megabytes_that_are_not_utf_8_are_refused_at_the_first_byte(call: Caller) -> None:
    body = b"image=" + b"\xff" * (3 << 20)
    answer = call.post("colorPalette", data=body, content_type=URLENCODED)
    assert answer.status_code == 400
    assert "byte 0" in answer.json["details"]["message"]


# ------------------------------------------------------------- what values turn into

HUGE = "9" * 5000  # digits: more than Python converts


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("differences", {"preset": HUGE}),
        ("differences", {"fic_settings": f'{{"margin": {HUGE}}}'}),
        ("differences", {"fic_settings": f"{{'margin': {HUGE}}}"}),
        ("differences", {"fic_settings": f'{{"resolution": "{HUGE}"}}'}),
        ("differences", {"mask_thickness": f"-{HUGE}"}),
        ("edges", {"threshold_min": HUGE}),
        ("colorPalette", {"count": HUGE}),
    ],
)
def test_a_number_of_many_digits_is_out_of_range(
    call: Caller, operation: str, params: dict[str, str]
) -> None:
    names = ("image1", "image2") if operation == "differences" else ("image",)
    images = {name: part(SMALL) for name in names}
    answer = call.post(operation, data=images | params)
    assert answer.status_code == 400, answer.text
    assert next(iter(params)) in answer.json["errors"][0]["parameter"]
    body = {name: text(SMALL) for name in names} | params
    assert call.post(operation, json=body).status_code == 400


def settings_of(size: int, literal: str) -> str:
    """Settings that many objects come of, of some size."""
    item = f"{literal},"
    return "{'a':[" + item * (size // len(item)) + "1]}"


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        (settings_of(5 << 20, "7"), 413, "fic_settings: received 52428"),
        (settings_of(60 << 10, "()"), 400, "which is not a JSON object"),
        (settings_of(60 << 10, "[]").replace("'", '"'), 200, ""),
        ("{'threshold': 3}", 200, ""),
        ("[" * 50_000, 400, "which is not a JSON object"),
    ],
)
def test_settings_are_bounded_by_what_they_become(
    call: Caller, value: str, status: int, words: str
) -> None:
    tracemalloc.start()
    sent = {"image1": part(SMALL), "image2": part(SMALL), "fic_settings": value}
    answer = call.post("differences", data=sent)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == status
    assert words in answer.json["details"]["message"]
    assert peak < 12 * len(value) + (32 << 20)


def test_of_very_many_problems_the_first_are_reported() -> None:
    problems = [Problem("a", f"a: {i // 2}") for i in range(200)]  # each twice
    error = BadParameters(*problems, Problem("b", "b: last"))
    assert [p.message for p in error.problems[:2]] == ["a: 0", "a: 1"]
    assert len(error.problems) == 51
    assert error.problems[-1] == Problem("a", "and 51 more problems")
    assert str(error).endswith("; a: 49; and 51 more problems")
    long = BadParameters(Problem("c", "x" * 5000)).problems[0].message
    assert long == "x" * 2000 + "…"
    assert BadParameters().problems == ()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"[" + b"{}," * 400_000 + b"1]", 413, "commas, brackets and braces, allowed are 20000"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "40 levels of brackets, allowed are 32"),
        (b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}", 400, "9001 levels"),
        (b"]" * 3_000_000, 413, "commas, brackets and braces"),
        (b'{"classes": "' + b"x" * (70 << 10) + b'"}', 413, "classes: received 71680 bytes"),
        (b'{"classes": ["' + b"y" * (66 << 10) + b'"]}', 413, "classes: received 67"),
    ],
)
def test_json_is_bounded_before_it_is_parsed(
    call: Caller, body: bytes, status: int, words: str
) -> None:
    answer = call.post("objectDetection", data=body, content_type="application/json")
    assert answer.status_code == status
    assert words in answer.json["details"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (URLENCODED, b"\x01" * 5000 + b"=\xff"),
        (URLENCODED, b"image=x&" + b"%3C" * 2000 + b"=1"),
        ("application/json", b'{"' + b"n" * 3000 + b'": 1}'),
    ],
)
def test_a_name_is_bounded_and_not_repeated(call: Caller, content_type: str, body: bytes) -> None:
    answer = call.post("edges", data=body, content_type=content_type)
    assert answer.status_code == 413
    assert "a name in it has" in answer.json["details"]["message"]
    assert len(answer.data) < 1000


def test_a_hundred_ignored_names_are_listed(call: Caller) -> None:
    more = {f"n{number}": "1" for number in range(300)}
    answer = call.post("colorPalette", data={"image": part(SMALL)} | more)
    assert len(answer.json["details"]["info"]["ignored"]) == 100


@pytest.mark.parametrize(
    "given",
    [
        '{"resolution": 1e999}',
        "{'resolution': 1e999}",
        "{'margin': 0x" + "f" * 4000 + "}",
        '{"margin": "1_0"}',
        '{"threshold": "+1"}',
    ],
)
def test_numbers_in_settings_that_are_refused(call: Caller, given: str) -> None:
    images = {"image1": part(SMALL), "image2": part(SMALL)}
    assert call.post("differences", data=images | {"fic_settings": given}).status_code == 400


def test_a_parameter_may_be_sent_as_a_file(call: Caller) -> None:
    images = {"image1": part(SMALL), "image2": part(SMALL)}
    as_file = io.BytesIO(b'{"threshold": "nine"}'), "settings.json"
    answer = call.post("differences", data=images | {"fic_settings": as_file})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] == "fic_settings.threshold"
    images = {"image1": part(SMALL), "image2": part(SMALL)}
    wrong = call.post("differences", data=images | {"preset": (io.BytesIO(b"17"), "preset")})
    assert "preset: received '17'" in wrong.json["details"]["message"]


def test_the_fields_of_a_urlencoded_body_are_bounded(call: Caller) -> None:
    def post(fields: int) -> Any:
        body = f"image={quote(text(PNG))}" + "&x=" * (fields - 1)
        return call.post("colorPalette", data=body, content_type=URLENCODED)

    assert post(1000).status_code == 200
    refused = post(1001)
    assert refused.status_code == 413
    assert "1001 fields, allowed are 1000" in refused.json["details"]["message"]


def multipart_request(body: bytes) -> Request:
    kind = "multipart/form-data; boundary=b"
    environ = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=kind)
    environ.content_length = len(body)
    request = Request(environ.get_environ() | {"wsgi.input_terminated": True})
    request.max_content_length = request.max_form_memory_size = 1 << 20
    request.max_form_parts = 3
    return request


def as_flask_reads(body: bytes) -> Any:
    """Return what Flask makes of a multipart body, without file fields that were left empty."""
    try:
        with multipart_request(body) as request:
            texts = {name or "": list(given) for name, given in request.form.lists()}
            files: dict[str, list[bytes]] = {}
            for name, part_ in request.files.items(multi=True):
                content = part_.read()
                if part_.filename or content:
                    files.setdefault(name or "", []).append(content)
    except RequestEntityTooLarge as refused:
        return type(refused)
    return texts, files


def contents(files: Any) -> dict[str, list[bytes]]:
    return {name: [upload.content for upload in uploads] for name, uploads in files.items()}


def as_read_here(body: bytes) -> Any:
    try:
        texts, files = wire.multipart(multipart_request(body))
        return texts, contents(files)
    except (BadParameters, TooManyBytes, RequestEntityTooLarge) as refused:
        return type(refused)


DISPOSITION = b'Content-Disposition: form-data; name="a"'
HEAD = b"--b\r\n" + DISPOSITION + b"%b\r\n\r\n"
FRAME = HEAD + b"%b\r\n--b--\r\n"
FILE = b'; filename="f"'
MULTIPART = {
    "a text": (FRAME % (b"", b"x y"), ({"a": ["x y"]}, {})),
    "a file": (FRAME % (FILE, b"\xff\xd8"), ({}, {"a": [b"\xff\xd8"]})),
    "a file that is empty": (FRAME % (FILE, b""), ({}, {"a": [b""]})),
    "a field that was left empty": (FRAME % (b'; filename=""', b""), ({}, {})),
    "a file without a name": (FRAME % (b'; filename=""', b"x"), ({}, {"a": [b"x"]})),
    "a name of RFC 5987": (FRAME % (b"; filename*=UTF-8''%C3%A4", b"x"), ({}, {"a": [b"x"]})),
    "line breaks at both ends": (FRAME % (FILE, b"\r\n\n\r\n"), ({}, {"a": [b"\r\n\n\r\n"]})),
    "the delimiter within a line": (FRAME % (FILE, b"x--b\r\n"), ({}, {"a": [b"x--b\r\n"]})),
    "something before and after": (b"x\r\n" + FRAME % (b"", b"y") + b"z", ({"a": ["y"]}, {})),
    "Latin-1": (
        FRAME % (b"\r\nContent-Type: text/plain; charset=ISO-8859-1", b"\xe4"),
        ({"a": ["ä"]}, {}),
    ),
    "a charset that is not known": (
        FRAME % (b"\r\nContent-Type: text/plain; charset=utf-7", b"+AOQ-"),
        ({"a": ["+AOQ-"]}, {}),
    ),
    "what is no UTF-8": (FRAME % (b"", b"\xe4"), ({"a": ["\ufffd"]}, {})),
    "an empty name": (FRAME.replace(b'"a"', b'""') % (b"", b"x"), ({"": ["x"]}, {})),
    "no part": (b"--b--\r\n", ({}, {})),
    "nothing": (b"", ({}, {})),
    "as many parts as there may be": (
        (HEAD % b"" + b"x\r\n") * 2 + FRAME % (b"", b"x"),
        ({"a": ["x"] * 3}, {}),
    ),
    "too long a text": (FRAME % (b"", bytes(1 << 20)), RequestEntityTooLarge),
}


@pytest.mark.parametrize("case", MULTIPART)
def test_multipart_bodies(case: str) -> None:
    body, expected = MULTIPART[case]
    assert as_read_here(body) == expected == as_flask_reads(body)


def test_a_text_is_bounded_apart_from_the_body() -> None:
    request = multipart_request(FRAME % (b"", b"123") + bytes(100))
    request.max_form_memory_size = 3
    assert wire.multipart(request) == ({"a": ["123"]}, {})
    request = multipart_request(FRAME % (b"", b"1234"))
    request.max_form_memory_size = 3
    with pytest.raises(RequestEntityTooLarge):
        wire.multipart(request)


# Flask reads some of these, and takes the others for empty: a client then learns of an image that
# it has sent that it is missing.
BROKEN: dict[str, tuple[bytes, str]] = {
    "no end": (HEAD % b"" + b"x", "Unexpected end"),
    "no multipart body": (b"a=1&b=2", "Boundary not found"),
    "a part of two names": (
        b"--b\r\ncontent-disposition: form-data; name=a\r\n" + (FRAME % (b"", b"x"))[5:],
        "given twice",
    ),
    "another boundary": ((FRAME % (b"", b"x")).replace(b"--b", b"--c"), "Boundary not found"),
    "no content": (HEAD % b"" + FRAME % (b"", b"x"), "No content"),
    "no content at the end": (HEAD % b"" + b"--b--", "Unexpected end"),
    "line feeds alone": ((FRAME % (b"", b"x")).replace(b"\r", b""), "Invalid line break"),
    "blanks after a delimiter": (HEAD % b"" + b"x\r\n--b  \r\n", "Unexpected bytes after boundary"),
    "what is almost the end": (FRAME % (FILE, b"\r\n--bx"), "Unexpected bytes after boundary"),
    "a header on two lines": (FRAME % (b";\r\n filename=f", b"x"), "header continuation"),
    "a header without a colon": (FRAME % (b"\r\nx", b"x"), "Malformed segment header"),
    "a header that is no UTF-8": (FRAME % (b"; x=\xff", b"x"), "header failed to decode"),
    "no name": (FRAME.replace(b'; name="a"', b"") % (b"", b"x"), "Missing name"),
    "no disposition": (b"--b\r\nX: y\r\n\r\nx\r\n--b--", "Missing Content-Disposition"),
    "no form": (b"--b\r\nContent-Disposition: x; name=a\r\n\r\nx\r\n--b--", "Wrong type"),
    "a length that is not its own": (FRAME % (b"\r\nContent-Length: 2", b"x"), "Content-Length"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_multipart_bodies_are_refused(call: Caller, case: str) -> None:
    body, words = BROKEN[case]
    answer = call.post("edges", data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 400, answer.text
    (error,) = answer.json["errors"]
    assert error["parameter"] == "body"
    assert words in error["message"]
    assert "RFC 7578" in error["message"]
    assert "received 'b'" in error["message"]


@pytest.mark.parametrize(
    "boundary", ["", "; boundary=", "; boundary=ä", "; boundary*=UTF-8''%E2%82%AC"]
)
def test_a_boundary_that_is_none(call: Caller, boundary: str) -> None:
    body = FRAME % (b"", b"x")
    answer = call.post("edges", data=body, content_type="multipart/form-data" + boundary)
    assert answer.status_code == 400, answer.text
    assert [error["parameter"] for error in answer.json["errors"]] == ["body"]


MANY: dict[str, tuple[bytes, str]] = {
    "parts": (
        (HEAD % b"" + b"x\r\n") * 1001,
        "Maximum segment count exceeded; allowed are 1000 parts",
    ),
    "headers": (
        FRAME % (b"\r\nx: y" * 8, b"x"),
        "header count exceeded; allowed are 1000 parts, 8",
    ),
    "bytes in a header": (FRAME % (b'; x="%b"' % bytes(4096), b"x"), "4096 bytes in a header"),
}


@pytest.mark.parametrize("case", MANY)
def test_parts_and_headers_of_a_multipart_body_are_bounded(call: Caller, case: str) -> None:
    body, words = MANY[case]
    answer = call.post("edges", data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 413, answer.text
    (error,) = answer.json["errors"]
    assert error["parameter"] == "body"
    assert words in error["message"]


FOLDED = HEAD % (b";" + b"\r\n x" * 1000) + b"x\r\n"
HOSTILE = {  # what comes first, and what is repeated
    "almost delimiters": (HEAD % b"", b"\r\n--bx"),
    "halves of delimiters": (HEAD % b"", b"\r\n--"),
    "carriage returns": (HEAD % b"", b"\r"),
    "line breaks before all": (b"", b"\r\n"),
    "blanks after a delimiter": (HEAD % b"" + b"x\r\n--b", b" "),
    "tiny parts": (b"", HEAD % b"" + b"\r\n"),
    "headers": (b"--b\r\n", b"a: b\r\n"),
    "a header that does not end": (b"--b\r\n" + DISPOSITION, b"; a"),
    "headers on many lines": (b"", FOLDED),
    "what is to be unquoted": (b"", HEAD % (b'; a="' + b'\\"' * 2000) + b"x\r\n"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_no_multipart_body_takes_long(case: str) -> None:
    """At 4 MB/s or less, reading would be quadratic, or byte by byte in Python."""
    first, repeated = HOSTILE[case]
    body = (first + repeated * ((4 << 20) // len(repeated)))[: 4 << 20]

    def refuse() -> None:
        request = multipart_request(body)
        request.max_content_length, request.max_form_parts = 4 << 20, 1000
        with pytest.raises((BadParameters, TooManyBytes)):
            wire.multipart(request)

    assert takes_less(1, refuse)


CONTENT_PIECES = (
    *(b"--b", b"--b--", b"\r\n--", b"\r\n-", b"\r\n", b"\n", b"\r", b"-", b" ", b"b", b"\xff"),
    *(b"\r\n\r\n", DISPOSITION, HEAD % b"", b"\0" * 100),
)
content_of_a_part = (
    st.lists(st.sampled_from(CONTENT_PIECES), max_size=8)
    .map(b"".join)
    .filter(lambda content: b"\r\n--b" not in b"\r\n" + content)
)


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("acé"), st.booleans(), content_of_a_part), max_size=3))
def test_a_multipart_body_is_read_as_it_was_written(parts: list[tuple[str, bool, bytes]]) -> None:
    body = b""
    texts: dict[str, list[str]] = {}
    files: dict[str, list[bytes]] = {}
    for name, is_file, content in parts:
        head = HEAD.replace(b'"a"', f'"{name}"'.encode()) % (FILE if is_file else b"")
        body += head + content + b"\r\n"
        if is_file:
            files.setdefault(name, []).append(content)
        else:
            texts.setdefault(name, []).append(content.decode("utf-8", "replace"))
    assert as_read_here(body + b"--b--\r\n") == (texts, files)


# No line breaks of one character: Flask takes them for delimiters' where these are content.
MULTIPART_PIECES = (
    *(b"--b", b"--b--", b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\r\n", b"--", b" ", b"\r\n "),
    *(b"\r\n\r\n", b"\t", b"\v", b":", b"x", b"\xe4", DISPOSITION, FILE, b'; filename=""'),
    *(FRAME % (b"", b"y"), FRAME % (FILE, b"z"), HEAD % b"", HEAD % FILE),
    b"Content-Type: text/plain; charset=iso-8859-1",
)


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from(MULTIPART_PIECES), max_size=16))
def test_multipart_bodies_are_refused_or_read_as_flask_reads_them(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    read = as_read_here(body)
    assert read in (BadParameters, TooManyBytes) or read == as_flask_reads(body)


class Dribble(io.BytesIO):
    """A body that comes in pieces; it notes how much room it is offered."""

    offered = 0

    def readinto(self, buffer: Any) -> int:
        self.offered = max(self.offered, len(buffer))
        with memoryview(buffer) as whole:
            return super().readinto(whole[:40_000])


@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 3_000_001])
def test_a_body_is_received_in_pieces(length: int) -> None:
    content = np.random.default_rng(length).bytes(length)
    request = multipart_request(content)
    request.max_content_length = length
    request.environ["wsgi.input"] = body = Dribble(content)
    assert wire.whole_body(request) == content
    assert body.offered <= wire.LARGE


def test_an_announced_length_takes_no_memory() -> None:
    """Hundreds of clients may announce the largest body, and send nothing."""
    request = multipart_request(b"")
    request.environ |= {"CONTENT_LENGTH": str(1 << 30), "wsgi.input": (body := Dribble(b"x" * 9))}
    request.max_content_length = 1 << 30
    with pytest.raises(ClientDisconnected):
        wire.whole_body(request)
    assert body.offered <= wire.SMALL


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
        {"image1": text(PNG), "image2": text(PNG), "fic_settings": '{"resolution": 31}'},
        {"fic_settings.resolution": ("31", "32 to 65535, full, or auto")},
    ),
    "a resolution that is no number": (
        "differences",
        {"image1": text(PNG), "image2": text(PNG), "fic_settings": '{"resolution": "half"}'},
        {"fic_settings.resolution": ("half", "32 to 65535, full, or auto")},
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
def test_every_wrong_parameter_is_reported(call: Caller, case: str) -> None:
    operation, sent, expected = WRONG[case]
    answer = call.post(operation, data=sent)
    assert answer.status_code == 400, answer.text
    body = answer.json
    assert body["result"] == {}
    errors = {error["parameter"]: error["message"] for error in body["errors"]}
    assert errors.keys() == expected.keys()
    for parameter, words in expected.items():
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
    assert info["did_you_mean"] == {"fic_settings.treshold": "fic_settings.threshold"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fic_settings.resolution", "fic_settings"),
        ("fic_settings[resolution]", "fic_settings"),
        ("ficSettings.resolution", "fic_settings"),
        ("resolution", "fic_settings.resolution"),
        ("resolutoin", "fic_settings.resolution"),
        ("maskThickness", "mask_thickness"),
        ("image1.resolution", "image1"),
        ("colour.depth", None),
        ("x", None),
    ],
)
def test_a_setting_that_was_sent_beside_its_object(
    call: Caller, name: str, meant: str | None
) -> None:
    sent = {"image1": text(PNG), "image2": text(PNG), name: "400"}
    info = call.post("differences", data=sent).json["details"]["info"]
    assert info["ignored"] == [name]
    assert info.get("did_you_mean", {}).get(name) == meant


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


def test_a_body_that_was_compressed_is_refused(call: Caller) -> None:
    answer = call.post("edges", data={"image": part(PNG)}, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert [e["parameter"] for e in answer.json["errors"]] == ["Content-Encoding"]
    assert "'gzip'" in answer.json["details"]["message"]


def test_an_image_under_another_name_is_told(call: Caller) -> None:
    answer = call.post("edges", data={"img": part(PNG), "canny": "1"})
    assert answer.status_code == 400
    assert "received were 'canny', 'img'" in answer.json["details"]["message"]


def test_a_value_without_a_name_is_no_image(call: Caller) -> None:
    answer = call.post("edges", json={"image": "", "": [1]})
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] == "image"
