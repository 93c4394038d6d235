"""From what came over the wire to images and validated parameters.

Sources in rising order of precedence: query string, form, JSON body, uploaded files.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from flask import Request
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from ltu_compute.errors import BadParameters, Problem, TooManyBytes, UnsupportedFormat
from ltu_compute.image import Image, transport
from ltu_compute.percent_encoding import percent_decoded
from ltu_compute.web.endpoint import Endpoint, ImageField, Params

MULTIPART, URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
FORMS = (MULTIPART, URLENCODED)
JSON = "application/json"
URL_SCHEMES = ("http://", "https://")
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "True or False",
    "string": "a text",
    "object": "a JSON object",
}
SMALL, LARGE = 64 << 10, 1 << 20  # bytes of a body that are received at once
HEADERS, HEADER = 8, 4 << 10  # in a part of a multipart body, bytes in each
CHARSETS = frozenset(("ascii", "us-ascii", "utf-8", "iso-8859-1"))  # that a text may be in
SHOWN = 80  # characters of a received value that an error repeats


class Fetch(Protocol):
    """What gets remote images."""

    def __call__(self, url: str, *, name: str) -> bytes:
        """Return what is at an address; errors name the parameter that it came in."""


@dataclass(frozen=True)
class Wire:
    """Everything a client sent: values and file contents by name, in order."""

    values: Mapping[str, list[Any]] = field(default_factory=dict)
    files: Mapping[str, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What an image may be, at the most."""

    bytes: int
    pixels: int


@dataclass(frozen=True)
class Bound:
    """What a handler is called with, and the names that nobody knew."""

    images: list[Image | None]
    params: Params
    ignored: list[str]


def read(request: Request) -> Wire:
    """Return what a request carries, whatever way it came.

    Raises
    ------
    UnsupportedFormat
        If the body is of a type that is not read here.
    BadParameters
        If a JSON body is not a JSON object, or a multipart one is not framed as it should be.
    TooManyBytes
        If a multipart body has more parts than it may have, or a urlencoded one as many fields.
    RequestEntityTooLarge
        If it is over the request's limit.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedFormat(
            f"Content-Encoding: received {_shown(encoding)}, allowed is a body as it is (identity)",
            parameter="Content-Encoding",
        )
    values: dict[str, list[Any]] = dict(request.args.lists())
    files: dict[str, list[bytes]] = {}
    if request.mimetype == JSON or request.mimetype.endswith("+json"):
        values.update({name: [value] for name, value in _json_object(request).items()})
    elif request.mimetype == URLENCODED:
        values.update(urlencoded(request))
    elif request.mimetype == MULTIPART:
        texts, files = multipart(request)
        values.update(texts)
    elif request.content_length or request.mimetype:
        received = request.mimetype or "none"
        allowed = ", ".join((*FORMS, JSON))
        raise UnsupportedFormat(
            f"Content-Type: received {received!r}, allowed: {allowed}", parameter="Content-Type"
        )
    return Wire(values, files)


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
    """Return a body that was announced, received where it stays: pictures are large.

    There is room for as much again as has come, not for what was announced: many may announce much
    and send nothing.
    """
    stream = request.stream  # refuses what is announced to be too large
    pieces: list[bytearray] = []
    come = 0
    while come < length:
        piece = bytearray(min(length - come, max(come, SMALL), LARGE))
        with memoryview(piece) as place:
            filled = 0
            while filled < len(piece):
                count = stream.readinto(place[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise ClientDisconnected
                filled += count
        pieces.append(piece)
        come += filled
    return b"".join(pieces)


def urlencoded(request: Request) -> dict[str, list[str]]:
    """Return the fields of a urlencoded body, read as Flask reads the query string.

    Flask's own way with a body takes ten times as long for an image in base64, and admits any
    number of fields.

    Raises
    ------
    TooManyBytes
        If it has more fields than a multipart one may have parts.
    RequestEntityTooLarge
        If it is over the request's limit.
    """
    body = whole_body(request)
    values: dict[str, list[str]] = {}
    for number, (start, end) in enumerate(_fields(body), 1):
        if request.max_form_parts is not None and number > request.max_form_parts:
            raise TooManyBytes(
                f"body: received {body.count(b'&') + 1} fields, allowed are "
                f"{request.max_form_parts}",
                parameter="body",
            )
        if start < end:
            sign = body.find(b"=", start, end)
            middle = sign if sign >= 0 else end
            name, value = body[start:middle], body[middle + 1 : end]
            values.setdefault(_form_text(name), []).append(_form_text(value))
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


def _form_text(encoded: bytes) -> str:
    text = percent_decoded(encoded.replace(b"+", b" "))
    return text.decode(errors="werkzeug.url_quote")  # what is no UTF-8 stays percent-encoded


def multipart(request: Request) -> tuple[dict[str, list[str]], dict[str, list[bytes]]]:
    """Return the texts and the files of a multipart body (RFC 7578), each by name, in order.

    A body of no bytes holds nothing. A file field that a browser left empty is left out.

    Raises
    ------
    BadParameters
        If the body is not framed as it should be, or a part has no name.
    TooManyBytes
        If there are more parts, or headers in one, than there may be, or a header is too long.
    RequestEntityTooLarge
        If the body or a text in it is over the request's limit.
    """
    texts: dict[str, list[str]] = {}
    files: dict[str, list[bytes]] = {}
    body = whole_body(request)
    if not body:
        return texts, files
    boundary = request.mimetype_params.get("boundary", "")
    most, longest = request.max_form_parts, request.max_form_memory_size
    try:
        for part, content in _parts(body, boundary, most):
            if not _is_file(part):
                if longest is not None and len(content) > longest:
                    raise RequestEntityTooLarge
                charset = (part.charset or "").lower()
                text = content.decode(charset if charset in CHARSETS else "utf-8", "replace")
                texts.setdefault(part.name, []).append(text)
            elif part.filename != "" or content:
                files.setdefault(part.name, []).append(content)
    except ParserLimitReached as error:
        raise TooManyBytes(
            f"body: {error.args[0]}; allowed are {most} parts, {HEADERS} headers in each, "
            f"{HEADER} bytes in a header",
            parameter="body",
        ) from None
    except MultipartError as error:
        message = (
            f"body: {error.args[0]}; allowed is {MULTIPART} (RFC 7578) with the boundary that "
            f"Content-Type names: received {_shown(boundary)}"
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
        boundary.encode("latin-1", "replace"),  # as it came over the wire
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
    """Tell files from texts; some clients name a file in the way of RFC 5987 alone."""
    return part.filename is not None or "filename*" in part["Content-Disposition"].lower()


def _json_object(request: Request) -> dict[str, Any]:
    text = whole_body(request)
    if not text or text.isspace():
        return {}
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadParameters(Problem("", f"the body is not JSON: {error}")) from None
    if not isinstance(body, dict):
        raise BadParameters(Problem("", f"the body must be a JSON object, not {_shown(body)}"))
    return {name: _as_text(value) for name, value in body.items()}


def _as_text(value: Any) -> Any:
    """Return a JSON number or truth value as a form would hold it, so that both are read alike."""
    return str(value) if isinstance(value, bool | int | float) else value


def bind(endpoint: Endpoint, wire: Wire, *, fetch: Fetch, limits: Limits) -> Bound:
    """Return images and parameters; all that is wrong with them is told at once.

    Parameters
    ----------
    endpoint : Endpoint
        What is asked for.
    wire : Wire
        What was sent.
    fetch : Fetch
        Gets remote images.
    limits : Limits
        Largest image accepted.

    Raises
    ------
    BadParameters
        If a parameter is missing, malformed or out of range: before any image is touched.
    ServiceError
        If an image is too large, of another format, unreadable or cannot be fetched.
    """
    problems = [*_contradictions(endpoint, wire), *_surplus_files(endpoint, wire)]
    single = {name: given[0] for name, given in wire.values.items()}

    params: Params | None = None
    try:
        params = endpoint.params.model_validate(single)
    except ValidationError as error:
        problems += _problems(endpoint.params, error)

    sources = {image.name: _source(image, wire, problems) for image in endpoint.images}
    if problems or params is None:
        raise BadParameters(*problems)

    known = {*endpoint.params.wire_names(), *endpoint.params.tolerated}
    for image in endpoint.images:
        known |= {image.name, *(image.also or ())[:1]}
    sent = dict.fromkeys([*wire.values, *wire.files])
    ignored = [name for name in sent if name not in known]
    images = [_image(name, source, fetch, limits) for name, source in sources.items()]
    return Bound(images, params, ignored + params.unknown_names)


def _contradictions(endpoint: Endpoint, wire: Wire) -> list[Problem]:
    """Return the parameters that were given several values, under whatever spellings."""
    given: dict[str, list[Any]] = {}
    for spelling, name in endpoint.params.wire_names().items():
        given.setdefault(name, []).extend(wire.values.get(spelling, ()))
    return [
        Problem(name, f"{name}: received {' and '.join(map(_shown, v[:3]))}, allowed is one value")
        for name, v in given.items()
        if any(value != v[0] for value in v[1:])
    ]


def _surplus_files(endpoint: Endpoint, wire: Wire) -> list[Problem]:
    """Return the images of which more files came than are looked at."""
    places = {image.name: 1 for image in endpoint.images}
    for name, index in (image.also for image in endpoint.images if image.also):
        places[name] = max(places.get(name, 0), index + 1)
    return [
        Problem(name, f"{name}: received {len(parts)} files, allowed: {places[name]}")
        for name, parts in wire.files.items()
        if len(parts) > places.get(name, len(parts))
    ]


def _source(image: ImageField, wire: Wire, problems: list[Problem]) -> bytes | str | None:
    """Return an image's bytes or its address, or note why there is neither."""
    places = [(image.name, 0), *([image.also] if image.also else [])]
    for name, index in places:  # a file wins over text of whatever name
        parts = wire.files.get(name, [])
        if index < len(parts):
            if not parts[index]:
                problems.append(Problem(image.name, f"{image.name}: the file is empty"))
            return parts[index]
    for name, index in places:
        texts = wire.values.get(name, [])
        if index < len(texts) and texts[index] not in ("", None):
            return _from_text(image.name, texts[index], problems)
    if image.required:
        what = "an image is required: a file, an http(s) URL or base64 text"
        names = ", ".join(map(_shown, [*wire.values, *wire.files][:5])) or "nothing"
        problems.append(Problem(image.name, f"{image.name}: {what}; received were {names}"))
    return None


def _from_text(name: str, text: Any, problems: list[Problem]) -> bytes | str | None:
    if not isinstance(text, str):
        allowed = "an http(s) URL, base64 text or a data: URI"
        problems.append(Problem(name, f"{name}: received {_shown(text)}, allowed is {allowed}"))
        return None
    stripped = text.strip().strip("\"'")
    if stripped[:8].lower().startswith(URL_SCHEMES):
        return stripped
    try:
        content: bytes = transport.bytes_of_text(stripped, name)
    except BadParameters as error:
        problems += [
            Problem(p.parameter, f"{p.message}; received {_shown(text)}") for p in error.problems
        ]
        return None
    return content


def _image(name: str, source: bytes | str | None, fetch: Fetch, limits: Limits) -> Image | None:
    if source is None:
        return None
    content = fetch(source, name=name) if isinstance(source, str) else source
    if len(content) > limits.bytes:
        message = f"{name}: received {len(content)} bytes, allowed are {limits.bytes}"
        raise TooManyBytes(message, parameter=name)
    return Image.from_bytes(content, max_pixels=limits.pixels, name=name)


def _problems(model: type[Params], error: ValidationError) -> list[Problem]:
    schema = model.model_json_schema(by_alias=True)
    proper = model.wire_names()
    return [_problem(schema, proper, detail) for detail in error.errors(include_url=False)]


def _problem(schema: dict[str, Any], proper: Mapping[str, str], detail: ErrorDetails) -> Problem:
    """Return what is wrong with a value, under the name that it was sent by."""
    cause = detail.get("ctx", {}).get("error")
    path = [str(part) for part in detail["loc"]]
    declared: dict[str, Any] = schema
    names = []
    for part in path:
        properties = _resolved(schema, declared).get("properties", {})
        known = part if part in properties else proper.get(part, part)
        if known not in properties:
            break  # the rest names branches of a union, not parameters
        declared = properties[known]
        names.append(part)
    name = ".".join(names) or ".".join(path)
    if detail["type"] == "missing":
        return Problem(name, f"{name}: required, {_allowed(schema, declared)}")
    # Our own validators say what is allowed themselves.
    reason = str(cause) if cause else f"allowed is {_allowed(schema, declared)}"
    return Problem(name, f"{name}: received {_shown(detail['input'])}, {reason}")


def _resolved(schema: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and take the branch of an optional value that is not null."""
    if "$ref" in declared:
        resolved: dict[str, Any] = schema["$defs"][declared["$ref"].rpartition("/")[2]]
        return resolved
    branches = [b for b in declared.get("anyOf", ()) if b.get("type") != "null"]
    return _resolved(schema, branches[0]) if len(branches) == 1 else declared


def _allowed(schema: dict[str, Any], declared: dict[str, Any]) -> str:
    """Say in words what a JSON Schema admits."""
    declared = _resolved(schema, declared)
    if "x-allowed" in declared:
        return str(declared["x-allowed"])
    if "enum" in declared:
        return "one of " + ", ".join(map(str, declared["enum"]))
    if "const" in declared:
        return str(declared["const"])
    types = declared.get("type")
    kind = KINDS.get(types[0] if isinstance(types, list) else str(types), "another value")
    low, high = declared.get("minimum"), declared.get("maximum")
    if low is None:
        return kind
    return f"{kind} from {low:g} up" if high is None else f"{kind} from {low:g} to {high:g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
