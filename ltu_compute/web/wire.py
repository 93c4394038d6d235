"""From the bytes of a request to texts and files by name.

Sources in rising order of precedence: query string, form, JSON body, path.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
from flask import Request
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from ltu_compute.errors import BadParameters, Problem, TooManyFields, UnsupportedBody
from ltu_compute.percent_encoding import percent_decoded
from ltu_compute.web.complaints import shown

MULTIPART, URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
FORMS = (MULTIPART, URLENCODED)
JSON = "application/json"
SMALL, LARGE = 64 << 10, 1 << 20  # bytes of a body that are received at once
HEADERS, HEADER = 8, 4 << 10  # in a part of a multipart body, bytes in each
CHARSETS = frozenset(("ascii", "us-ascii", "utf-8", "iso-8859-1"))  # that a text may be in
NAME_BYTES = 1024  # of a field's name as it is sent: errors and replies repeat it
MAX_JSON_TOKENS = 20_000  # commas, brackets and braces: some 2 MB of objects
MAX_JSON_DEPTH = 32  # brackets and braces within each other
MAX_JSON_QUOTES = 50_000  # quotation marks, those within texts included: some 0.1 s of work
MOST_NUMERALS = 4  # fractions of a JSON body whose spelling is kept; a signed one has two
_COLON = re.compile(rb"\s*:")

# A number after a member's name; none that is signed is longer.
_NUMERAL = re.compile(
    rb"\s*:\s*(-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,4})?)(?=[\s,}])"
)


class Upload(NamedTuple):
    """A file that was sent.

    Attributes
    ----------
    content : bytes
        What is in it.
    filename : str
        Its name, as the client gave it; "" if it gave none.
    place : int
        File fields of its parameter before it, those that were left empty included.
    """

    content: bytes
    filename: str = ""
    place: int = 0


@dataclass(frozen=True)
class Wire:
    """Everything a client sent: values and files by name, in order.

    Attributes
    ----------
    values : mapping of str to list
        Texts, or values of a JSON body.
    files : mapping of str to list of Upload
        Files of a multipart body.
    path : mapping of str to str
        Parameters in the path.
    numerals : mapping of str to str
        Numbers of a JSON body that are not whole, by name, as they were written.
    """

    values: Mapping[str, list[Any]] = field(default_factory=dict)
    files: Mapping[str, list[Upload]] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    numerals: Mapping[str, str] = field(default_factory=dict)

    def first(self, name: str) -> str:
        """Return the first value of a name as a text, as it was written; "" if there is none."""
        if name in self.numerals:
            return self.numerals[name]
        values = self.values.get(name, ())
        first = as_text(values[0]) if values else ""
        return first if isinstance(first, str) else ""

    def at(self, path: Mapping[str, str]) -> "Wire":
        """Return the same with the parameters of the path."""
        return replace(self, path=path)


def of_head(request: Request) -> Wire:
    """Return what the query of a request carries; its body is not read."""
    return Wire(dict(request.args.lists()))


def read(request: Request) -> Wire:
    """Return the values and files of a request, whatever its form.

    Raises
    ------
    UnsupportedBody
        If the body is of a type that is not read here.
    BadParameters
        If a JSON body is not a JSON object, or a multipart one is not framed as it should be.
    TooManyFields
        If a multipart body has more parts than it may have, or a urlencoded one as many fields.
    RequestEntityTooLarge
        If it is over the request's limit.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedBody(
            f"Content-Encoding: received {shown(encoding)}, allowed is a body as it is (identity)",
            parameter="Content-Encoding",
        )
    values: dict[str, list[Any]] = {**of_head(request).values}
    files: dict[str, list[Upload]] = {}
    numerals: dict[str, str] = {}
    if request.mimetype == JSON or request.mimetype.endswith("+json"):
        body, numerals = _json_object(request)
        values.update({name: [value] for name, value in body.items()})
    elif request.mimetype == URLENCODED:
        values.update(urlencoded(request))
    elif request.mimetype == MULTIPART:
        texts, files = multipart(request)
        values.update(texts)
    elif request.content_length or request.mimetype:
        received = request.mimetype or "none"
        allowed = ", ".join((*FORMS, JSON))
        raise UnsupportedBody(
            f"Content-Type: received {received!r}, allowed: {allowed}", parameter="Content-Type"
        )
    return Wire(values, files, numerals=numerals)


def whole_body(request: Request) -> bytes:
    """Return a request's body.

    Raises
    ------
    RequestEntityTooLarge
        If it is over the request's limit. (Of one whose length is not announced Werkzeug would give
        the beginning.)
    ClientDisconnected
        If it ends before it should.
    """
    length, limit = request.content_length, request.max_content_length
    if length is not None:
        return _of_length(request, length)
    if limit is None:
        return request.get_data(cache=False)
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    request.max_content_length = limit
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _of_length(request: Request, length: int) -> bytes:
    """Receive a body of known length, without copying it again: pictures are large.

    The buffer grows with the data received; Content-Length is never trusted.
    """
    stream = request.stream  # refuses what is announced to be too large
    pieces: list[bytearray] = []
    received = 0
    while received < length:
        piece = bytearray(min(length - received, max(received, SMALL), LARGE))
        with memoryview(piece) as place:
            filled = 0
            while filled < len(piece):
                count = stream.readinto(place[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise ClientDisconnected
                filled += count
        pieces.append(piece)
        received += filled
    return b"".join(pieces)


def urlencoded(request: Request, *, errors: str = "strict") -> dict[str, list[str]]:
    """Return the fields of a urlencoded body, read as Flask reads the query string.

    Flask's own way with a body takes ten times as long for an image in base64, and admits any
    number of fields.

    Raises
    ------
    TooManyFields
        If it has more fields than a multipart one may have parts.
    RequestEntityTooLarge
        If it is over the request's limit.
    """
    body = whole_body(request)
    values: dict[str, list[str]] = {}
    for number, (start, end) in enumerate(_fields(body), 1):
        if request.max_form_parts is not None and number > request.max_form_parts:
            raise TooManyFields(
                f"body: received {body.count(b'&') + 1} fields, allowed are "
                f"{request.max_form_parts}",
                parameter="body",
            )
        if start < end:
            sign = body.find(b"=", start, end)
            middle = sign if sign >= 0 else end
            _check_name(middle - start)
            name = _form_text(body[start:middle], "body", errors)
            value = _form_text(body[middle + 1 : end], name, errors)
            values.setdefault(name, []).append(value)
    return values


def _fields(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield from where to where there is what ampersands part.

    To split at them takes forty times as long as to look for them, where they are few.
    """
    start = 0
    while (end := body.find(b"&", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(body)


def _form_text(encoded: bytes, name: str, errors: str) -> str:
    """Return a percent-encoded text.

    Raises
    ------
    BadParameters
        It is not UTF-8.
    """
    text = percent_decoded(encoded.replace(b"+", b" "))
    try:
        return text.decode(errors=errors)
    except UnicodeDecodeError as error:
        message = f"{name}: byte {error.start} is not UTF-8; allowed is UTF-8"
        raise BadParameters(Problem(name, message)) from None


def multipart(request: Request) -> tuple[dict[str, list[str]], dict[str, list[Upload]]]:
    """Return the texts and the files of a multipart body (RFC 7578), each by name, in order.

    A body of no bytes holds nothing. A file field that a browser left empty is left out.

    Raises
    ------
    BadParameters
        If the body is not framed as it should be, or a part has no name.
    TooManyFields
        If there are more parts, or headers in one, than there may be, or a header is too long.
    RequestEntityTooLarge
        If the body or a text in it is over the request's limit.
    """
    texts: dict[str, list[str]] = {}
    files: dict[str, list[Upload]] = {}
    places: Counter[str] = Counter()
    body = whole_body(request)
    if not body:
        return texts, files
    boundary = request.mimetype_params.get("boundary", "")
    most, longest = request.max_form_parts, request.max_form_memory_size
    try:
        for part, content in _parts(body, boundary, most):
            _check_name(len(part.name))
            if not _is_file(part):
                if longest is not None and len(content) > longest:
                    raise RequestEntityTooLarge
                charset = (part.charset or "").lower()
                text = content.decode(charset if charset in CHARSETS else "utf-8", "replace")
                texts.setdefault(part.name, []).append(text)
                continue
            if part.filename != "" or content:
                upload = Upload(content, part.filename or "", places[part.name])
                files.setdefault(part.name, []).append(upload)
            places[part.name] += 1
    except ParserLimitReached as error:
        raise TooManyFields(
            f"body: {error.args[0]}; allowed are {most} parts, {HEADERS} headers in each, "
            f"{HEADER} bytes in a header",
            parameter="body",
        ) from None
    except MultipartError as error:
        message = (
            f"body: {error.args[0]}; allowed is {MULTIPART} (RFC 7578) with the boundary that "
            f"Content-Type names: received {shown(boundary)}"
        )
        raise BadParameters(Problem("body", message)) from None
    return texts, files


def _parts(
    body: bytes, boundary: str, most: int | None
) -> Iterator[tuple[MultipartSegment, bytes]]:
    """Yield the headers and the content of every part.

    Raises
    ------
    MultipartError
        If the body is not framed as it should be.
    """
    # Not strict, the parser joins headers that go on in the next line: 11 s for 20 MB of them.
    parser = PushMultipartParser(
        boundary.encode("latin-1", "replace"),  # as it was sent
        max_header_size=HEADER,
        max_header_count=HEADERS,
        max_segment_count=math.inf if most is None else most,
        strict=True,
    )
    pieces: list[bytes] = []
    with parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part = event
                if sum(name == "Content-Disposition" for name, _ in part.headerlist) > 1:
                    raise ParserError("Content-Disposition is given twice for a part")
            elif event is not None:
                pieces.append(event)
            else:
                content = b"".join(pieces)
                if content.startswith(b"--" + parser.boundary):  # and holds the parts that follow
                    raise ParserError("No content between a header and a boundary")
                yield part, content
                pieces.clear()


def _is_file(part: MultipartSegment) -> bool:
    """Return whether a part is a file; some clients name a file by RFC 5987 alone."""
    return part.filename is not None or "filename*" in part["Content-Disposition"].lower()


def _json_object(request: Request) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the members of a JSON body, and how its fractions were written."""
    text = whole_body(request)
    if not text or text.isspace():
        return {}, {}
    _check_structure(text)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        what = "JSON" if _is_utf8(text) else "JSON: it must be UTF-8"
        raise BadParameters(Problem("", f"the body is not {what} ({error})")) from None
    if not isinstance(body, dict):
        raise BadParameters(Problem("", f"the body must be a JSON object, not {shown(body)}"))
    _check_names_differ(text)
    for name in body:
        _check_name(len(name))
    fractions = [name for name, value in body.items() if isinstance(value, float)]
    kept = fractions if len(fractions) <= MOST_NUMERALS else ()
    return body, {name: _numeral(text, name, body[name]) for name in kept}


def _check_names_differ(text: bytes) -> None:
    """Refuse a JSON object two members of which have one name: which of them counts is unclear.

    Parameters
    ----------
    text : bytes
        Valid JSON, of an object. Its texts are looked for, not through: pictures are large.

    Raises
    ------
    BadParameters
        A name is there twice. Objects within the object are not looked at.
    TooManyFields
        It has more than `MAX_JSON_QUOTES` quotation marks.
    """
    quotes = text.count(b'"')
    if quotes > MAX_JSON_QUOTES:
        raise TooManyFields(
            f"body: received {quotes} quotation marks, allowed are {MAX_JSON_QUOTES}",
            parameter="body",
        )
    names: set[str] = set()
    depth = after = 0
    while (start := text.find(b'"', after)) >= 0:
        between = text[after:start]
        depth += sum(between.count(sign) for sign in (b"{", b"["))
        depth -= sum(between.count(sign) for sign in (b"}", b"]"))
        after = _end_of_text(text, start)
        if depth == 1 and _COLON.match(text, after):
            name = orjson.loads(text[start:after])
            if name in names:
                message = f"body: the name {shown(name)} is there twice"
                raise BadParameters(Problem("body", message))
            names.add(name)


def _end_of_text(text: bytes, start: int) -> int:
    """Return where a JSON text ends that begins at a place: after its quotation mark."""
    end = text.find(b'"', start + 1)
    while _backslashes_before(text, end) % 2:  # the quotation mark is escaped
        end = text.find(b'"', end + 1)
    return end + 1


def _backslashes_before(text: bytes, end: int) -> int:
    """Return how many there are in a row."""
    looked_at = 4
    while True:
        piece = text[max(0, end - looked_at) : end]
        count = len(piece) - len(piece.rstrip(b"\\"))
        if count < len(piece):
            return count
        looked_at *= 4


def _is_utf8(text: bytes) -> bool:
    """Return whether a JSON text is in UTF-8; in UTF-16 and UTF-32 its signs have zeros."""
    try:
        return b"\0" not in text[:4] and bool(text.decode())
    except UnicodeDecodeError:
        return False


def _numeral(text: bytes, name: str, value: float) -> str:
    """Return how a member of a JSON text is written: who signs 0.00005 did not sign 5e-05."""
    sought = b'"%b"' % name.encode()
    start = 0
    for _ in range(MOST_NUMERALS):  # texts may hold the name as well
        start = text.find(sought, start) + len(sought)
        if start < len(sought):
            break
        found = _NUMERAL.match(text, start)
        if found is not None and float(found[1]) == value:
            return found[1].decode()
    return str(value)


def _check_name(length: int) -> None:
    """Refuse a name that is longer than any that means something.

    Raises
    ------
    TooManyFields
        It is over `NAME_BYTES`.
    """
    if length > NAME_BYTES:
        raise TooManyFields(
            f"body: a name in it has {length} bytes, allowed are {NAME_BYTES}", parameter="body"
        )


def _check_structure(text: bytes) -> None:
    """Refuse JSON that would become many objects, or deep ones, before it is parsed.

    Signs within strings are counted as well: no image in base64 has any.

    Raises
    ------
    TooManyFields
        It has more than `MAX_JSON_TOKENS` commas, brackets and braces.
    BadParameters
        It has more than `MAX_JSON_DEPTH` levels.
    """
    tokens = sum(text.count(sign) for sign in (b",", b"[", b"{", b"]", b"}"))
    if tokens > MAX_JSON_TOKENS:
        raise TooManyFields(
            f"body: received {tokens} commas, brackets and braces, allowed are {MAX_JSON_TOKENS}",
            parameter="body",
        )
    depth = _depth(text)
    if depth > MAX_JSON_DEPTH:
        message = f"body: received {depth} levels of brackets, allowed are {MAX_JSON_DEPTH}"
        raise BadParameters(Problem("body", message))


def _depth(text: bytes) -> int:
    """Return how deep brackets and braces are nested, those in strings included."""
    brackets = text.translate(None, delete=_NO_BRACKETS)
    depth = deepest = 0
    for sign in brackets:
        depth += 1 if sign in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


_NO_BRACKETS = bytes(sign for sign in range(256) if sign not in b"[]{}")


def as_text(value: Any) -> Any:
    """Return a JSON number or truth value as a form would hold it, so that both are read alike."""
    return str(value) if isinstance(value, bool | int | float) else value
