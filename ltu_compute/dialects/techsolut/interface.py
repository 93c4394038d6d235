"""Common parts of Techsolut's endpoints: paths, keys, replies, errors and rate-limit headers.

All paths under ``/v1/`` that no other interface serves are Techsolut's, so that an unknown one is
refused in its format. ``/v1/inspections`` is an interface of its own.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.auth.api_keys import MissingKey
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotFound,
    QuotaExhausted,
    ServiceError,
    StorageFull,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.image.formats import format_of
from ltu_compute.settings import Rate
from ltu_compute.web import unused
from ltu_compute.web.dialect import Answer, Caller, Dialect, ErrorKind, Exchange, Gate, Head, Json
from ltu_compute.web.endpoint import Endpoint
from ltu_compute.web.rate_headers import RateHeaders
from ltu_compute.web.wire import Wire

SCHEME = "apiKey"
RATE_HEADERS = RateHeaders(
    lambda allowance: allowance.seconds_left,
    "Requests per minute, or in the time that the operator has set.",
    "Seconds until the count begins anew.",
)
PICTURE, BYTES = "image/*", "application/octet-stream"
REQUEST_ID_LENGTH = 14  # letters and digits after req_, as in the document's sample
_PLAIN_ID = re.compile(rf"[0-9A-Za-z]{{{REQUEST_ID_LENGTH},}}")

MALFORMED = "The request was malformed. Check the 'details' field for more information."
UNAUTHORIZED = "Invalid or missing authentication."
FORBIDDEN = "You are not allowed to access this resource."
NOT_FOUND = "The requested resource does not exist."
LIMITED = "You have exceeded your rate limit."
INTERNAL = "An internal error occurred on the server."
WRONG_METHOD = "The resource exists, but not for this method."
INCOMPLETE = "The request did not arrive in full."
TOO_LARGE = "The body, or an image in it, is larger than the service accepts."
UNAVAILABLE = "The service is busy, or a part of it is missing; see 'details' and Retry-After."


class Picture(bytes):
    """The file of a picture; the reply is the file itself."""


class TechsolutDialect(Dialect):
    """Plain JSON; an error is ``{"error": {code, message, details, status, request_id}}``.

    The codes ``method_not_allowed``, ``request_timeout``, ``payload_too_large`` and
    ``service_unavailable`` are not in the document's table.
    """

    name = "techsolut"
    title = "Techsolut API v1"
    prefix = "/v1"
    default_rate = Rate(600, 60)
    default_yields = True
    announces_limit = True
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        BadParameters: ErrorKind(400, MALFORMED, "invalid_request"),
        UnsupportedFormat: ErrorKind(400, MALFORMED, "invalid_request"),
        Unprocessable: ErrorKind(400, MALFORMED, "invalid_request"),
        Unauthorized: ErrorKind(401, UNAUTHORIZED, "unauthorized"),
        QuotaExhausted: ErrorKind(403, FORBIDDEN, "forbidden"),
        StorageFull: ErrorKind(403, FORBIDDEN, "forbidden"),
        NotFound: ErrorKind(404, NOT_FOUND, "not_found"),
        MethodNotAllowed: ErrorKind(405, WRONG_METHOD, "method_not_allowed"),
        TooSlow: ErrorKind(408, INCOMPLETE, "request_timeout"),
        TooLarge: ErrorKind(413, TOO_LARGE, "payload_too_large"),
        TooManyRequests: ErrorKind(429, LIMITED, "rate_limit_exceeded"),
        ServiceError: ErrorKind(500, INTERNAL, "internal_error"),
        Busy: ErrorKind(503, UNAVAILABLE, "service_unavailable"),
        Unavailable: ErrorKind(503, UNAVAILABLE, "service_unavailable"),
    }

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the caller of the API key in the ``Authorization`` header.

        Raises
        ------
        Unauthorized
            There is none, or it opens nothing here: an access token is no key.
        """
        del wire
        scheme, _, key = head.headers.get("Authorization", "").strip().partition(" ")
        try:
            return gate.api_key(key.strip() if scheme.lower() == "bearer" else "")
        except Unauthorized as error:
            error.challenge = f'Bearer realm="{self.name}"'
            if not isinstance(error, MissingKey):
                error.challenge += f', error="invalid_token", error_description="{error}"'
            raise

    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return a result as JSON, and after it the names that were sent and not used.

        A picture is returned as its file.
        """
        if isinstance(result, Picture):
            found = format_of(result)
            kind = f"image/{found.lower()}" if found else BYTES
            return Answer(200, bytes(result), kind, exchange.unused.headers())
        result = {**result, **exchange.unused.keys()}
        return Answer.json(result, exchange.endpoint.status if exchange.endpoint else 200)

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the error's code out of the table, and what is wrong in ``details``."""
        kind = self.kind_of(error)
        body = {
            "code": kind.code,
            "message": kind.meaning,
            "details": str(error),
            "status": kind.status,
            "request_id": request_id(exchange.head.request_id),
        }
        return Answer.json({"error": body}, kind.status)

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the schema of the declared type, with the names that were not used."""
        if endpoint.result is Picture:
            return {"type": "string", "format": "binary"}
        return {"allOf": [schema(endpoint.result), unused.SCHEMA]}

    def success_type(self, endpoint: Endpoint) -> str:
        """Return the type of pictures, or that of JSON."""
        return PICTURE if endpoint.result is Picture else self.content_type

    def failure_schema(self) -> Json:
        """Return the schema of an error."""
        codes = list(dict.fromkeys(kind.code for kind in self.errors.values()))
        pattern = f"^req_[0-9A-Za-z]{{{REQUEST_ID_LENGTH}}}$"
        described = "The parameter, the value received and what is allowed."
        properties: Json = {
            "code": {"enum": codes},
            "message": {"type": "string"},
            "details": {"type": "string", "description": described},
            "status": {"type": "integer"},
            "request_id": {"type": "string", "pattern": pattern},
        }
        error = {"type": "object", "properties": properties, "required": list(properties)}
        return {"type": "object", "properties": {"error": error}, "required": ["error"]}

    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the key."""
        del issuer
        described = "A key of `ltu-compute apikey add`."
        return {SCHEME: {"type": "http", "scheme": "bearer", "description": described}}

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return what the key has left, or its account, whichever is less."""
        return RATE_HEADERS.of(allowance)

    def header_meanings(self) -> Mapping[str, str]:
        """Return what the rate-limit headers mean."""
        return RATE_HEADERS.meanings()


def request_id(service_id: str) -> str:
    """Return a request's id as the vendor spells it.

    Parameters
    ----------
    service_id : str
        The id in logs and in ``X-Request-ID``.

    Returns
    -------
    str
        ``req_`` and the first 14 characters of that id, so that the log can be searched for them;
        of an id that a client gave, with other characters or fewer, those of its SHA-256.
    """
    if not _PLAIN_ID.fullmatch(service_id):
        service_id = hashlib.sha256(service_id.encode()).hexdigest()
    return f"req_{service_id[:REQUEST_ID_LENGTH]}"


dialect = TechsolutDialect()
