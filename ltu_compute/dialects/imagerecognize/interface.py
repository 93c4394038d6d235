"""Common parts of ImageRecognize's interface: address, key, envelope, statuses.

The body is JSON under ``text/html``: the vendor's own jQuery sample parses the text itself, and
would fail on a body that jQuery had parsed already. The HTTP status is that in the body.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from ltu_compute.auth.api_keys import MissingKey
from ltu_compute.errors import (
    BadParameters,
    Busy,
    EmptyFile,
    MethodNotAllowed,
    NotFound,
    QuotaExhausted,
    ServiceError,
    TooLarge,
    TooManyFields,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnreadableImage,
    UnsupportedBody,
    UnsupportedFormat,
)
from ltu_compute.web import unused
from ltu_compute.web.dialect import Answer, Caller, Dialect, ErrorKind, Exchange, Gate, Head, Json
from ltu_compute.web.endpoint import Endpoint
from ltu_compute.web.wire import Wire

SCHEME = "apikey"
TYPE = "type"
WORDED = frozenset((300, 400, 401, 402, 412, 413, 415, 420))  # the document has words for these
PLAIN = frozenset((300, 400, 401, 402))  # of them, those that leave nothing to add


class NothingReceived(BadParameters):
    """The request has no data."""


class InvalidType(BadParameters):
    """A ``type`` that is none, or not with this method."""


class ImageRecognizeDialect(Dialect):
    """``{"status", "message", "data"}``, and ``{"status", "status_message", "data": null}``."""

    name = "imagerecognize"
    title = "ImageRecognize API v2"
    prefix = "/api/v2"
    credentials = "body"
    content_type = "text/html; charset=UTF-8"
    formats = frozenset(("JPEG", "PNG"))
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        NothingReceived: ErrorKind(300, "Invalid request, no data received"),
        MissingKey: ErrorKind(400, "APIkey missing"),
        Unauthorized: ErrorKind(401, "APIkey invalid"),
        QuotaExhausted: ErrorKind(402, "Quota limit reached"),
        NotFound: ErrorKind(404, "Not found"),
        MethodNotAllowed: ErrorKind(405, "Invalid method"),
        TooSlow: ErrorKind(408, "Request incomplete"),
        UnreadableImage: ErrorKind(412, "Invalid file"),
        Unprocessable: ErrorKind(412, "Invalid file"),
        EmptyFile: ErrorKind(412, "Invalid file"),
        TooLarge: ErrorKind(413, "Image size too large"),
        TooManyFields: ErrorKind(413, "Request too large"),
        UnsupportedFormat: ErrorKind(415, "Invalid file format"),
        UnsupportedBody: ErrorKind(415, "Invalid content type"),
        InvalidType: ErrorKind(420, "Invalid type"),
        TooManyRequests: ErrorKind(429, "Too many requests"),
        BadParameters: ErrorKind(430, "Invalid parameter"),
        ServiceError: ErrorKind(500, "Internal error"),
        Busy: ErrorKind(503, "Service busy"),
        Unavailable: ErrorKind(503, "Recognizer not available"),
    }

    def screen(self, head: Head, wire: Wire, gate: Gate) -> None:
        """Refuse a key in the query that opens nothing, before the picture is read."""
        del head
        if secret := wire.first("apikey").strip():
            gate.api_key(secret)

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the caller of the key in the form or the query."""
        del head
        if not wire.values and not wire.files:
            raise NothingReceived
        return gate.api_key(wire.first("apikey").strip())

    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return the body of a success."""
        body = {"status": 200, "message": "Success", "data": result}
        return _harmless(body | exchange.unused.keys(), 200)

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the body of an error: the document's words, and beside them what is wrong.

        Where the document has no words, ``status_message`` says what is wrong: for 430 which
        parameter and why, for 503 which models are not installed and how to install them.
        """
        del exchange
        kind = self.kind_of(error)
        reason = str(error) or kind.meaning
        words = kind.meaning if kind.status in WORDED else reason
        body = {"status": kind.status, "status_message": words, "data": None}
        if kind.status in WORDED - PLAIN:
            body["details"] = reason
        return _harmless(body, kind.status)

    def kind_of(self, error: ServiceError) -> ErrorKind:
        """Return how an error is reported; what is wrong with ``type`` has a status of its own."""
        if type(error) is BadParameters and any(p.parameter == TYPE for p in error.problems):
            return self.errors[InvalidType]
        return super().kind_of(error)

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the schema of a success."""
        return {
            "type": "object",
            "properties": {
                "status": {"const": endpoint.status},
                "message": {"const": "Success"},
                "data": schema(endpoint.result),
                **unused.SCHEMA["properties"],
            },
            "required": ["status", "message", "data"],
        }

    def failure_schema(self) -> Json:
        """Return the schema of an error."""
        properties: Json = {
            "status": {"type": "integer"},
            "status_message": {"type": "string"},
            "data": {"type": "null"},
        }
        required = list(properties)
        properties["details"] = {"type": "string", "description": "The problem, for people."}
        return {"type": "object", "properties": properties, "required": required}

    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the key."""
        del issuer
        described = "A key of `ltu-compute apikey add`, in the query or the form."
        scheme = {"type": "apiKey", "in": "query", "name": "apikey", "description": described}
        return {SCHEME: scheme}


def _harmless(body: Json, status: int) -> Answer:
    """Return a reply that no browser takes for a page, although its type is HTML.

    Sent text, and text read in a picture, may hold tags: JSON escapes their signs.
    """
    text = orjson.dumps(body)
    for sign, spelt in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        text = text.replace(sign, spelt)
    policy = {"Content-Security-Policy": "default-src 'none'; form-action 'none'; sandbox"}
    return Answer(status, text, ImageRecognizeDialect.content_type, policy)


dialect = ImageRecognizeDialect()
