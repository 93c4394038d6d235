"""Files as text: base64 and data: URIs."""

import binascii

import pybase64

from ltu_compute.errors import BadParameters, Problem
from ltu_compute.percent_encoding import percent_decoded


def base64_text(content: bytes) -> str:
    """Return bytes in base64: standard alphabet, padded, in one line."""
    return pybase64.b64encode_as_string(content)


_LINE_BREAKS = b"\t\n\v\f\r"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def _without_blanks(text: bytes) -> bytes:
    """Return base64 without blanks, reading as "+" those that form decoding made of one.

    A client that puts base64 into a urlencoded body as it is (``curl -d image=$(base64 photo)``)
    has each "+" arrive as a blank. Blanks are taken for "+" with three exceptions: the text still
    has a "+", "-" or "_", so nothing was lost; the blanks separate lines of 64 or 76 characters;
    or only without them the length is valid: a multiple of four with the padding, never one more
    without it.
    """
    stripped = text.strip(b" ")
    lost = not any(sign in text for sign in b"+-_")
    if lost and not _is_wrapped(stripped):
        padded = stripped.endswith(b"=")
        # Blanks at the end are layout, unless they complete the last group of four.
        candidate = text if len(text) % 4 == 0 and not padded else stripped
        if len(candidate) % 4 == 0 or (not padded and len(candidate) % 4 != 1):
            return candidate.replace(b" ", b"+")
    return text.replace(b" ", b"")


def _is_wrapped(text: bytes) -> bool:
    """Return whether blanks separate lines as PEM (64 characters) and MIME (76) break them."""
    length = text.find(b" ")
    return length in {64, 76} and {len(line) for line in text.split(b" ")[:-1]} == {length}


def _payload(text: bytes, name: str) -> bytes:
    """Return the base64 part of a data URI, or the text itself."""
    if text[:5].lower() != b"data:":
        return text
    head, comma, payload = text.partition(b",")
    if not comma or not head.replace(b" ", b"").lower().endswith(b";base64"):
        raise BadParameters(Problem(name, f"{name}: a data: URI must be data:TYPE;base64,TEXT"))
    return percent_decoded(payload)


def bytes_of_text(text: str | bytes, name: str = "image") -> bytes:
    """Return the bytes that a text field holds, as base64 or as a ``data:`` URI.

    Parameters
    ----------
    text : str or bytes
        Standard or URL-safe alphabet, with or without padding, line breaks or blanks. Blanks that
        a form decoder made of "+" are turned back.
    name : str
        The parameter that held it.

    Returns
    -------
    bytes
        At least one.

    Raises
    ------
    BadParameters
        Empty, not base64, cut off inside of a character group, or a data: URI without base64.
    """
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    raw = _payload(raw.lstrip(), name)
    try:
        content = pybase64.b64decode(raw, validate=True)  # the usual case, at full speed
    except binascii.Error:
        raw = raw.translate(None, _LINE_BREAKS)
        if b" " in raw:
            raw = _without_blanks(raw)
        raw = raw.translate(_TO_STANDARD).rstrip(b"=")
        try:
            content = pybase64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
        except binascii.Error:
            raise BadParameters(
                Problem(name, f"{name}: neither a file, an http(s) URL nor base64")
            ) from None
    if not content:
        raise BadParameters(Problem(name, f"{name}: empty"))
    return content
