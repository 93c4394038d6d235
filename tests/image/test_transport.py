"""Files as text: base64 and data: URIs."""

import base64
from urllib.parse import parse_qs, quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_compute.errors import (
    BadParameters,
)
from ltu_compute.image import transport
from tests.support import images

KINDS = images.every_kind()


ANY = bytes(range(256)) * 2 + b"\xfb\xef\xbe" * 20  # plenty of "+" and "/"
TEXT = base64.b64encode(ANY).decode()
SAFE = base64.urlsafe_b64encode(ANY).decode()


def wrapped(text: str, length: int, separator: str) -> str:
    return separator.join(text[i : i + length] for i in range(0, len(text), length))


@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_base64_of_every_length(size: int, safe: bool, padded: bool) -> None:
    content = b"\xfb\xff\xbe\x00\xfe\xef"[:size]
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(content).decode()
    text = text if padded else text.rstrip("=")
    assert transport.bytes_of_text(text) == transport.bytes_of_text(text.encode()) == content


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        SAFE,
        TEXT.rstrip("="),
        SAFE.rstrip("="),
        TEXT + "\n",
        "  " + TEXT + "  ",
        wrapped(TEXT, 76, "\n"),
        wrapped(TEXT, 76, "\r\n") + "\r\n",
        wrapped(TEXT, 64, "\n    "),
        wrapped(TEXT, 4, " "),
        wrapped(SAFE, 10, "\t"),
        "data:image/png;base64," + TEXT,
        "data:;base64," + TEXT,
        "DATA:image/png;charset=utf-8;BASE64," + wrapped(SAFE, 60, "\r\n"),
        "data:image/png;base64," + quote(TEXT, safe=""),
    ],
)
def test_spellings_of_base64(text: str) -> None:
    assert transport.bytes_of_text(text) == ANY


@pytest.mark.parametrize("rest", range(3))
@pytest.mark.parametrize("layout", ["{}", "data:image/png;base64,{}", "wrapped", "unpadded"])
def test_plus_signs_that_form_decoding_made_blanks_come_back(rest: int, layout: str) -> None:
    """As ``curl -d "image=$(base64 file)"`` sends it."""
    content = KINDS["png"] + bytes(rest)
    text = base64.b64encode(content).decode()
    assert "+" in text
    sent = {"wrapped": wrapped(text, 76, "\n"), "unpadded": text.rstrip("=")}.get(
        layout, layout.format(text)
    )
    (received,) = parse_qs("image=" + sent)["image"]
    assert " " in received
    assert "+" not in received
    assert transport.bytes_of_text(received) == content


def test_a_plus_sign_at_the_very_end_comes_back() -> None:
    content = b"\0\0\x3e"
    assert base64.b64encode(content) == b"AAA+"
    assert transport.bytes_of_text("AAA ") == content


@pytest.mark.parametrize("length", [64, 76])
def test_blanks_between_lines_are_layout(length: int) -> None:
    content = bytes(300)  # no "+" in it
    assert transport.bytes_of_text(wrapped("A" * 400, length, " ")) == content


def test_blanks_that_cannot_have_been_plus_signs_are_layout() -> None:
    assert transport.bytes_of_text("AAAA AAAA") == b"\0" * 6
    assert transport.bytes_of_text("AAAA AAA=") == b"\0" * 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("====", "empty"),
        ("data:;base64,", "empty"),
        ("photo.jpg", "neither a file, an http"),
        ("AAAAA", "neither"),
        ("AA=A", "neither"),
        ("AAÄA", "neither"),
        ("AA\ud800A", "neither"),
        ("AA\0A", "neither"),
        ("ftp://example.com/a.png", "neither"),
        ("data:image/png,%89PNG", "data: URI"),
        ("data:image/png;base64", "data: URI"),
        ("data:", "data: URI"),
        ("data:image/png;base64,%zz", "neither"),
    ],
)
def test_malformed_base64_is_rejected_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadParameters, match=reason) as caught:
        transport.bytes_of_text(text, "image2")
    assert caught.value.parameter == "image2"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=100) | st.text("AQ+/-_= \n", max_size=30))
def test_any_text(text: str) -> None:
    try:
        assert transport.bytes_of_text(text)
    except BadParameters as error:
        assert error.parameter == "image"  # noqa: PT017  (it need not be refused)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=100))
def test_base64_round_trip(content: bytes) -> None:
    text = transport.base64_text(content)
    assert transport.bytes_of_text(text) == content
    assert transport.bytes_of_text(text.rstrip("=")) == content
    signed = images.PNG_SIGNATURE + content  # no file begins with a "+"
    assert transport.bytes_of_text(transport.base64_text(signed).replace("+", " ")) == signed
