"""Common parts of all endpoints under ``/v1/inspections``: authentication, replies, errors."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.auth.token_dialect import TokenDialect
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.web import unused
from ltu_compute.web.dialect import (
    Answer,
    ErrorKind,
    Exchange,
    Json,
)
from ltu_compute.web.endpoint import Endpoint
from ltu_compute.web.failures import PROBLEM_JSON, problem, reportable_problems

HTML = "text/html; charset=utf-8"
# The report brings its own styles and script, and asks nobody for anything.
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
UNAVAILABLE = "Busy, or a part of the service does not answer; try again after Retry-After seconds."


Displacement = Annotated[
    float | None,
    Field(
        description="Of the middle of the reference, or of its region, in px of the reference; "
        "null: not aligned."
    ),
]
Turn = Annotated[float | None, Field(description="Clockwise, -180 to 180; null: not aligned.")]
Scale = Annotated[
    float | None, Field(description="100: as large as on the reference; null: not aligned.")
]


class ShotDifference(TypedDict):
    """One difference; boxes are x, y, width and height in px of each original."""

    on_reference: list[int]
    on_shot: list[int]
    area_percent: float
    strength: float


class Page(bytes):
    """A reply that is a page, not JSON."""


class InspectionsDialect(TokenDialect):
    """Plain JSON; errors have ``status``, ``detail`` and ``errors``."""

    name = "inspections"
    title = "Inspections"
    prefix = "/v1/inspections"
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        BadParameters: ErrorKind(400, "A parameter is missing, malformed or out of range."),
        Unauthorized: ErrorKind(401, "No access token, or one that is not valid."),
        NotFound: ErrorKind(404, "The account has no such inspection, or not in that state."),
        MethodNotAllowed: ErrorKind(405, "Not with this method."),
        TooSlow: ErrorKind(408, "The request stopped, or arrived too slowly."),
        TooLarge: ErrorKind(413, "Too many bytes or pixels."),
        UnsupportedFormat: ErrorKind(415, "Not a JPEG, PNG or GIF, or a body of another type."),
        Unprocessable: ErrorKind(422, "The reference or the region cannot be read or fetched."),
        TooManyRequests: ErrorKind(
            429, "The account has as many requests, jobs or bytes as it may have."
        ),
        ServiceError: ErrorKind(500, "A fault of the service; the message has the request's id."),
        Busy: ErrorKind(503, UNAVAILABLE),
        Unavailable: ErrorKind(503, UNAVAILABLE),
    }

    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return a result as JSON, or as the page that it is, and the names that were not used."""
        status = exchange.endpoint.status if exchange.endpoint else 200
        if isinstance(result, Page):
            headers = {"Content-Security-Policy": REPORT_POLICY} | exchange.unused.headers()
            return Answer(status, bytes(result), HTML, headers)
        return Answer.json({**result, **exchange.unused.keys()}, status)

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return problem details (RFC 9457): what is wrong, and which parameters are."""
        del exchange
        status = self.kind_of(error).status
        return problem(status, str(error), reportable_problems(error), code=error.code)

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the schema of the declared type; a page is a text."""
        if endpoint.result is Page:
            return {"type": "string"}
        return {"allOf": [schema(endpoint.result), unused.SCHEMA]}

    def success_type(self, endpoint: Endpoint) -> str:
        """Return the type of a page, or that of JSON."""
        return HTML if endpoint.result is Page else self.content_type

    def failure_type(self) -> str:
        """Return the type of problem details."""
        return PROBLEM_JSON

    def failure_schema(self) -> Json:
        """Return the schema of an error."""
        text = {"type": "string"}
        wrong: Json = {"parameter": text, "message": text, "code": text}
        values = {"values": {"type": "object", "description": "Values in the message."}}
        listed = {"type": "object", "properties": wrong | values, "required": list(wrong)}
        properties = {
            "status": {"type": "integer"},
            "detail": text,
            "code": text,
            "errors": {"type": "array", "items": listed},
        }
        return {"type": "object", "properties": properties, "required": list(properties)}


dialect = InspectionsDialect()


def iso_time(seconds: float) -> str:
    """Return a time, in seconds since 1970, by ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
