"""From what came over the wire to images and validated parameters.

Sources in rising order of precedence: query string, form, JSON body, uploaded files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from flask import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from ltu_compute import codec
from ltu_compute.errors import BadParameters, Problem, TooManyBytes, UnsupportedFormat
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

    images: list[codec.Image | None]
    params: Params
    ignored: list[str]


def read(request: Request) -> Wire:
    """Return what a request carries, whatever way it came.

    Raises
    ------
    UnsupportedFormat
        If the body is of a type that is not read here.
    BadParameters
        If a JSON body is not a JSON object.
    TooManyBytes
        If a urlencoded body has more fields than a multipart one may have parts.
    """
    values: dict[str, list[Any]] = dict(request.args.lists())
    if request.mimetype == JSON or request.mimetype.endswith("+json"):
        values.update({name: [value] for name, value in _json_object(request).items()})
    elif request.mimetype == URLENCODED:
        values.update(urlencoded(request))
    elif request.mimetype == MULTIPART:
        values.update(request.form.lists())
    elif request.content_length or request.mimetype:
        received = request.mimetype or "none"
        allowed = ", ".join((*FORMS, JSON))
        raise UnsupportedFormat(
            f"Content-Type: received {received!r}, allowed: {allowed}", parameter="Content-Type"
        )
    uploaded = request.files.lists() if request.mimetype == MULTIPART else ()
    files = {name: _contents(parts) for name, parts in uploaded}
    return Wire(values, {name: contents for name, contents in files.items() if contents})


def whole_body(request: Request) -> bytes:
    """Return a request's body.

    Raises
    ------
    RequestEntityTooLarge
        If it is over the request's limit. (Of one whose length is not announced Werkzeug would give
        the beginning.)
    """
    limit = request.max_content_length
    if limit is None or request.content_length is not None:
        return request.get_data(cache=False)
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    request.max_content_length = limit
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


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
    most = request.max_form_parts
    if most is not None and body.count(b"&") >= most:
        raise TooManyBytes(
            f"body: received {body.count(b'&') + 1} fields, allowed are {most}", parameter="body"
        )
    values: dict[str, list[str]] = {}
    for field_ in body.split(b"&"):
        if field_:
            name, _, value = field_.partition(b"=")
            values.setdefault(_form_text(name), []).append(_form_text(value))
    return values


def _form_text(encoded: bytes) -> str:
    text = codec.percent_decoded(encoded.replace(b"+", b" "))
    return text.decode(errors="werkzeug.url_quote")  # what is no UTF-8 stays percent-encoded


def _contents(parts: list[FileStorage]) -> list[bytes]:
    """Return the contents of file parts, but those of fields that a browser left empty."""
    named = [(part.filename, part.read()) for part in parts]
    return [content for name, content in named if name or content]


def _json_object(request: Request) -> dict[str, Any]:
    text = whole_body(request)
    if not text.strip():
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
        problems.append(Problem(image.name, f"{image.name}: {what}"))
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
        content: bytes = codec.bytes_of_text(stripped, name)
    except BadParameters as error:
        problems += [
            Problem(p.parameter, f"{p.message}; received {_shown(text)}") for p in error.problems
        ]
        return None
    return content


def _image(
    name: str, source: bytes | str | None, fetch: Fetch, limits: Limits
) -> codec.Image | None:
    if source is None:
        return None
    content = fetch(source, name=name) if isinstance(source, str) else source
    if len(content) > limits.bytes:
        message = f"{name}: received {len(content)} bytes, allowed are {limits.bytes}"
        raise TooManyBytes(message, parameter=name)
    return codec.Image.from_bytes(content, max_pixels=limits.pixels, name=name)


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
