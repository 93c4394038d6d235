"""Percent-encoding, against the standard library's."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltu_compute import percent_encoding
from ltu_compute.percent_encoding import percent_decoded

PERCENT_ENCODED = {  # RFC 3986, section 2.1; what is malformed stays, as everywhere in Python
    b"": b"",
    b"plain": b"plain",
    b"%41%4a%4A": b"AJJ",
    b"a%2Bb%2Fc%3D%3d": b"a+b/c==",
    b"%00%ff": b"\x00\xff",
    b"%2541": b"%41",
    b"%%41": b"%A",
    b"%4%41": b"%4A",
    b"%G1%1G": b"%G1%1G",
    b"%": b"%",
    b"%4": b"%4",
    b"50%": b"50%",
}


@pytest.mark.parametrize("text", PERCENT_ENCODED)
def test_percent_encoding(text: bytes) -> None:
    assert percent_decoded(text) == PERCENT_ENCODED[text]


PIECES = (b"%", b"2", b"B", b"f", b"G", b"\xff", b"%2F", b"%3d", b"=", b"\n", b"\r", b" ", b"_")


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_percent_encoding_as_the_standard_library_has_it(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percent_encoding, "_PART_BYTES", 5)  # many parts, cut anywhere
        assert percent_decoded(text) == unquote_to_bytes(text)
