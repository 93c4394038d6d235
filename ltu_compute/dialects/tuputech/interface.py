"""Common parts of Tuputech's interface: address, signatures, envelope, codes.

The vendor's SDKs decide what its document leaves open: every reply has HTTP status 200 and is a
signed envelope of two texts; codes of errors are those of its Java SDK's ``ErrorUtil``.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from ltu_compute.auth.signatures import (
    LONGEST_NONCE,
    DisabledClient,
    ReplySigner,
    UnknownClient,
    WrongSignature,
    WrongTime,
)
from ltu_compute.dialects.tuputech.tasks import NoTask, TaskTable, UnknownTask
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    MissingImage,
    NotFound,
    Problem,
    ServiceError,
    TooLarge,
    TooManyFields,
    TooManyImages,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unprocessable,
    UnsupportedBody,
    UnsupportedFormat,
)
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Rate, Settings
from ltu_compute.web.dialect import Answer, Caller, Dialect, ErrorKind, Exchange, Gate, Head, Json
from ltu_compute.web.endpoint import Endpoint
from ltu_compute.web.wire import Wire

SUCCESS = 0
SCHEME = "signature"
READS_UTF8 = "tupu-client/"  # User-Agent of the C++ and the Go SDK


class NoImageUsable(Unprocessable):
    """None of the images can be read."""


class TuputechDialect(Dialect):
    """``{"json": text, "signature": text}``; the text holds ``code``, ``message`` and the tasks."""

    name = "tuputech"
    title = "Tuputech image recognition v3"
    prefix = "/v3/recognition"
    credentials = "body"
    formats = frozenset(("JPEG", "PNG", "TIFF", "WebP"))
    default_rate = Rate(50, 1)  # the document's limit: 50 queries per second
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        WrongSignature: ErrorKind(200, "The signature is missing, wrong or used up.", 1),
        Unauthorized: ErrorKind(200, "Authentication failed.", 1),
        MissingImage: ErrorKind(200, "No image to recognise.", 3),
        MethodNotAllowed: ErrorKind(200, "Not with this method.", 4),
        UnknownClient: ErrorKind(200, "The secretId is unknown.", 6),
        NotFound: ErrorKind(200, "Nothing at this address: it ends with the secretId.", 6),
        UnknownTask: ErrorKind(200, "A task id that has no model here.", 7),
        DisabledClient: ErrorKind(200, "The secretId's account is disabled.", 8),
        WrongTime: ErrorKind(200, "The timestamp is malformed, or too far from now.", 12),
        NoTask: ErrorKind(200, "No model for any task is installed.", 13),
        Unprocessable: ErrorKind(200, "No image can be read or fetched.", 14),
        TooLarge: ErrorKind(200, "Too many bytes or pixels.", 14),
        UnsupportedFormat: ErrorKind(200, "Not PNG, JPEG, TIFF or WebP.", 14),
        UnsupportedBody: ErrorKind(200, "The body is neither a form nor JSON.", 15),
        TooManyFields: ErrorKind(200, "Too many or too long parameters.", 15),
        BadParameters: ErrorKind(200, "A parameter is missing or wrong.", 15),
        TooSlow: ErrorKind(200, "The request did not arrive in full.", 16),
        TooManyRequests: ErrorKind(200, "Too many requests in a second.", 17),
        Busy: ErrorKind(200, "Every place to compute and to wait is taken.", 17),
        TooManyImages: ErrorKind(200, "More than ten images.", 19),
        ServiceError: ErrorKind(200, "A fault of the service.", 100),
    }

    def check(self, settings: Settings, recognisers: Recognisers) -> None:
        """Check the operator's table of tasks."""
        TaskTable.from_settings(settings).report(recognisers)

    def screen(self, head: Head, wire: Wire, gate: Gate) -> None:
        """Refuse an id in the path that is no client's, before up to ten images are read."""
        del head
        gate.client(wire.path.get("secret_id", ""))

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the client whose signature the form carries."""
        del head
        timestamp, nonce = wire.first("timestamp"), wire.first("nonce")
        if not nonce:
            message = f"nonce: required, a text of up to {LONGEST_NONCE} characters, new each time"
            raise BadParameters(Problem("nonce", message))
        return gate.signature(
            wire.path.get("secret_id", ""), timestamp, nonce, wire.first("signature")
        )

    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return the signed reply that holds a task object for each task."""
        return _signed(exchange, replied(exchange, result))

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the signed reply that holds a code and a message."""
        code = self.kind_of(error).code
        return _signed(exchange, _trailer(exchange, int(code), str(error)))

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the schema of the envelope; what its text holds is described beside it."""
        schema(endpoint.result)
        return _envelope_schema()

    def failure_schema(self) -> Json:
        """Return the schema of the envelope."""
        return _envelope_schema()

    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the signature, as near as OpenAPI can say it."""
        del issuer
        described = (
            "RSA-SHA256 (PKCS #1 v1.5) over `secretId,timestamp,nonce` as they are sent, by the "
            "client's private key, in base64. It is a field of the form or of the JSON body, with "
            "`timestamp` and `nonce`: OpenAPI has no word for that, so `in` says `query`."
        )
        scheme = {"type": "apiKey", "in": "query", "name": "signature", "description": described}
        return {SCHEME: scheme}


def _envelope_schema() -> Json:
    texts = {
        "json": {
            "type": "string",
            "description": "JSON: code, message, nonce, timestamp, and a task object by task id.",
        },
        "signature": {
            "type": "string",
            "description": "RSA-SHA256 over the UTF-8 bytes of `json` by the service's key.",
        },
    }
    return {"type": "object", "properties": texts, "required": list(texts)}


def replied(exchange: Exchange, result: Mapping[str, Any]) -> Json:
    """Return what a success holds: the task objects, and what every reply ends with."""
    return {**result, **_trailer(exchange, SUCCESS, "success")}


def _trailer(exchange: Exchange, code: int, message: str) -> Json:
    return {
        "code": code,
        "message": message,
        "nonce": exchange.wire.first("nonce")[:LONGEST_NONCE],  # who sent more is refused
        "timestamp": time.time_ns() // 1_000_000,
        **exchange.unused.keys(),
    }


def _signed(exchange: Exchange, body: Json) -> Answer:
    """Return a signed reply, in ASCII unless the SDK that asks needs UTF-8."""
    text = written(body)
    signer: ReplySigner = exchange.resources[ReplySigner]
    reads_utf8 = exchange.head.headers.get("User-Agent", "").startswith(READS_UTF8)
    return Answer(200, enveloped(text, signer.sign(text), ascii_only=not reads_utf8))


def written(body: Mapping[str, Any]) -> str:
    """Return the text that is signed, as JavaScript's ``JSON.stringify`` would write it."""
    return orjson.dumps(body).decode()


def enveloped(text: str, signature: str, *, ascii_only: bool) -> bytes:
    """Return an envelope that every SDK can read.

    There is no blank between its signs. Where one follows a colon, the JSON library of the Java
    SDK parses the text within and writes it anew, with numbers of 32 bits: the signature does not
    fit any more.

    Parameters
    ----------
    text, signature
        What it holds.
    ascii_only
        Whether other characters are escaped. The Java SDK takes each byte for a character, the C++
        SDK knows no such escapes.
    """
    envelope = {"json": text, "signature": signature}
    return json.dumps(envelope, ensure_ascii=ascii_only, separators=(",", ":")).encode()


dialect = TuputechDialect()
