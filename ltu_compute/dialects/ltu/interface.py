"""Common parts of all LTU operations: address, envelope, errors, pieces of replies."""

import ctypes
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar, get_args

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute import __version__
from ltu_compute.auth.token_dialect import TokenDialect
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotEnabled,
    NotFound,
    ProviderFailed,
    ServiceError,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.image import encoding, transport
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Vertices
from ltu_compute.web.dialect import (
    Answer,
    ErrorKind,
    Exchange,
    Json,
)
from ltu_compute.web.endpoint import Endpoint, ImageField, Method, Params
from ltu_compute.web.failures import listed, reportable_problems

Result = TypeVar("Result")
InfoType = TypeVar("InfoType")
Handler = TypeVar("Handler", bound=Callable[..., "Reply[Any, Any]"])

OK = "ok"
BLANKS = " \t\r\n"

UNAVAILABLE = "Busy, or a part of the service does not answer; try again after Retry-After seconds."


@dataclass(frozen=True)
class Reply(Generic[Result, InfoType]):
    """Return value of a handler: the result and the words that go with it.

    The result and the info are typed dictionaries, built once and sent as they are.
    """

    result: Result
    info: InfoType
    message: str = ""
    score: float = 0


@dataclass(frozen=True)
class Layout:
    """Order of the keys of a reply; the vendor's samples differ in it.

    Recognition keeps the envelope of the vendor's first version, whose ``code`` is a text; the
    words about the result are in ``info`` after it.
    """

    top: tuple[str, ...] = ("result", "details", "version")
    details: tuple[str, ...] = ("name", "score", "message", "info")
    code: int | str = 0


@dataclass(frozen=True)
class Operation:
    """An endpoint, for LTU's replies: its label, and the order of keys."""

    label: str
    layout: Layout


STANDARD = Layout()
HEAT_MAP = Layout(details=("name", "info", "score", "message"))
DISTANCE = Layout(top=("details", "code", "errors", "source", "version", "result"))
DIFFERENCES = Layout(top=("result", "details", "version", "code", "errors"))
TEXT_DETECTION = Layout(top=("message", "code", "content", "info"), code="0")
LABELS = Layout(top=("content", "message", "code", "info"), code="0")

_PROBLEM = {
    "type": "object",
    "properties": {
        "parameter": {"type": "string"},
        "message": {"type": "string"},
        "code": {"type": "string", "description": "Its kind, for programs."},
        "values": {"type": "object", "description": "Values in the message."},
    },
    "required": ["parameter", "message", "code"],
}


def _laid_out(
    layout: Layout, result: Any, details: dict[str, Any], code: int | str, errors: list[Any]
) -> dict[str, Any]:
    parts = {
        "result": result,
        "details": {key: details[key] for key in layout.details},
        "version": __version__,
        "code": code,
        "errors": errors,
        "source": {},
        "content": result,
        "info": details["info"],
        "message": OK,
    }
    return {key: parts[key] for key in layout.top}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


class LtuParams(Params):
    """Parameters of an LTU operation.

    The vendor's samples send ``version`` and ``output_format``, which its documentation does not
    explain; they change nothing.
    """

    tolerated: ClassVar[frozenset[str]] = frozenset({"version", "output_format"})

    @classmethod
    def cleaned(cls, value: Any) -> Any:
        """Return a text value without surrounding blanks and one pair of stray quotes."""
        if not isinstance(value, str):
            return value
        bare = value.strip(BLANKS)
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
            bare = bare[1:-1].strip(BLANKS)
        return bare or value  # a value of only whitespace is a value, not a missing one


class LtuDialect(TokenDialect):
    """``{"result", "details": {"name", "score", "message", "info"}, "version"}`` and variants."""

    name = "ltu"
    title = "LTU Compute API v2"
    prefix = "/v2/services/image"
    params = LtuParams
    on_page = True
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        BadParameters: ErrorKind(
            400, "A parameter is missing, malformed or out of range; the reply lists every one."
        ),
        Unauthorized: ErrorKind(401, "No access token, or one that is not valid."),
        NotFound: ErrorKind(404, "Nothing at this address."),
        MethodNotAllowed: ErrorKind(405, "Not with this method."),
        TooSlow: ErrorKind(408, "The request stopped, or arrived too slowly."),
        TooLarge: ErrorKind(413, "Too many bytes or pixels."),
        UnsupportedFormat: ErrorKind(415, "Not a JPEG, PNG or GIF, or a body of another type."),
        Unprocessable: ErrorKind(
            422, "An image that cannot be read, fetched, or used for this operation."
        ),
        TooManyRequests: ErrorKind(
            429, "Too many requests, or wrong passwords; try again after Retry-After seconds."
        ),
        ServiceError: ErrorKind(500, "A fault of the service; the message has the request's id."),
        NotEnabled: ErrorKind(
            501, "Google was asked for and is not enabled here; the message says how to enable it."
        ),
        ProviderFailed: ErrorKind(502, "Google refused, or gave no proper answer in time."),
        Busy: ErrorKind(503, UNAVAILABLE),
        Unavailable: ErrorKind(503, UNAVAILABLE),
    }

    def operation(
        self,
        name: str,
        *,
        label: str = "",
        layout: Layout = STANDARD,
        aliases: tuple[str, ...] = (),
        images: tuple[ImageField, ...] = (ImageField("image"),),
        methods: tuple[Method, ...] = ("GET", "POST"),
        public: bool = False,
        remote: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Register an operation: the last part of its path, also in misspellings, and its label."""
        return self.endpoint(
            name,
            paths=tuple(f"/{spelling}" for spelling in (name, *aliases)),
            images=images,
            methods=methods,
            public=public,
            remote=remote,
            extension=Operation(label or name, layout),
        )

    def answer(self, exchange: Exchange, result: Reply[Any, Any]) -> Answer:
        """Return the envelope around a result."""
        return Answer.json(self.body(exchange, result))

    def body(self, exchange: Exchange, reply: Reply[Any, Any]) -> dict[str, Any]:
        """Return the body of a reply."""
        operation = _operation_of(exchange.endpoint)
        info = {**reply.info, **exchange.unused.keys()}
        details = {
            "name": operation.label,
            "score": reply.score,
            "message": reply.message,
            "info": info,
        }
        return _laid_out(operation.layout, reply.result, details, operation.layout.code, [])

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the same envelope around nothing, or the standard one."""
        status = self.kind_of(error).status
        operation = _operation_of(exchange.endpoint)
        layout = operation.layout if "result" in operation.layout.top else STANDARD
        details: dict[str, Any] = {
            "name": operation.label,
            "score": 0,
            "message": str(error),
            "info": {"error": error.code},
        }
        errors = listed(reportable_problems(error))
        body = _laid_out(layout, {}, details, status, errors)
        return Answer.json(body | {"errors": errors}, status)

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the JSON Schema of a reply."""
        operation = _operation_of(endpoint)
        result, info = map(schema, get_args(endpoint.result))
        details = {
            "name": {"const": operation.label},
            "score": {"type": "number"},
            "message": {"type": "string", "description": "In words, for people."},
            "info": info,
        }
        parts: dict[str, Any] = {
            "result": result,
            "details": _object({key: details[key] for key in operation.layout.details}),
            "version": {"type": "string", "description": "Version of this service."},
            "code": {"const": operation.layout.code},
            "content": result,
            "info": info,
            "message": {"const": OK},
            "errors": {"type": "array", "maxItems": 0},
            "source": {"type": "object"},
        }
        return _object({key: parts[key] for key in operation.layout.top})

    def failure_schema(self) -> Json:
        """Return the JSON Schema of an error."""
        details = {
            "name": {"type": "string"},
            "score": {"type": "number"},
            "message": {"type": "string", "description": "The problem, for people."},
            "info": _object(
                {"error": {"type": "string", "description": "Its kind, for programs."}}
            ),
        }
        schema = _object(
            {
                "result": {"type": "object", "maxProperties": 0},
                "details": _object(details),
                "version": {"type": "string"},
                "errors": {"type": "array", "items": _PROBLEM},
            }
        )
        schema["properties"]["code"] = {"type": "integer", "description": "The HTTP status."}
        return schema


def _operation_of(endpoint: Endpoint | None) -> Operation:
    operation: Operation = endpoint.extension if endpoint else Operation("", STANDARD)
    return operation


dialect = LtuDialect()


class Remark(TypedDict):
    """A reservation about a result."""

    code: Annotated[str, Field(description="Its kind.")]
    message: Annotated[str, Field(description="In words, for people.")]
    values: Annotated[dict[str, str | float], Field(description="Values in the message.")]


def remark(code: str, message: str, **values: str | float) -> Remark:
    """Return a reservation; its message names the values."""
    return {"code": code, "message": message.format(**values), "values": values}


class Info(TypedDict, total=False):
    """Keys that every ``details.info`` may have."""

    ignored: Annotated[list[str], Field(description="Parameters sent that nobody knows.")]
    did_you_mean: Annotated[
        dict[str, str], Field(description="Known parameters that are like ignored ones.")
    ]
    remarks: Annotated[
        list[Remark], Field(description="Reservations about the result, also in the message.")
    ]


class Picture(TypedDict):
    """A PNG picture as text."""

    encoding: Annotated[str, Field(pattern="^base64$")]
    format: Annotated[str, Field(pattern="^image/png$")]
    value: Annotated[str, Field(description="The file, in base64.")]


class Vertex(TypedDict):
    """A point, in px."""

    x: int
    y: int


class BoundingBox(TypedDict):
    """An upright rectangle, in px of the original image."""

    x: int
    y: int
    width: int
    height: int


class Contour(TypedDict):
    """An outline: the last vertex connects with the first."""

    boundingBox: BoundingBox
    relativeVertices: Annotated[
        list[Vertex], Field(description="Relative to the bounding box's corner.")
    ]


def picture(image: Bgr | Gray) -> Picture:
    """Return a colour or grey image as it goes over the wire."""
    return _picture(encoding.png(image))


def mask_picture(mask: Mask) -> Picture:
    """Return a mask as a PNG of one channel: 255 is in, 0 is out."""
    return _picture(encoding.mask_png(mask))


def _picture(png: bytes) -> Picture:
    return {"encoding": "base64", "format": "image/png", "value": transport.base64_text(png)}


class Outlined(Protocol):
    """Anything that has a box and, relative to it, an outline."""

    @property
    def box(self) -> Box:
        """Where it is."""

    @property
    def vertices(self) -> Vertices:
        """Its outline, relative to the box."""


def contour(region: Outlined) -> Contour:
    """Return a region's box and outline."""
    return {"boundingBox": bounding_box(region), "relativeVertices": vertices(region.vertices)}


def bounding_box(region: Outlined) -> BoundingBox:
    """Return a region's box."""
    x, y, width, height = region.box
    return {"x": x, "y": y, "width": width, "height": height}


def vertices(outline: Vertices) -> list[Vertex]:
    """Return an outline as JSON, without an object for each of its vertices.

    In a third of the time and memory of a list of dictionaries of x and y.
    """
    if not len(outline):
        return []
    pairs = orjson.dumps(outline.copy(order="C"), option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    named = pairs.replace(b"],[", b"|").replace(b",", b',"y":').replace(b"|", b'},{"x":')
    return orjson.Fragment(b'[{"x":' + named + b"}]")  # type: ignore[return-value]


def simplified_to(tolerance_px: float) -> str:
    """Return what a message says of outlines that may be off; nothing where they are exact."""
    return f", simplified to within {math.ceil(tolerance_px)} px" if tolerance_px else ""


def single(value: float) -> float:
    """Return a number as the vendor computes it: in 32 bits, widened to 64."""
    return ctypes.c_float(value).value


def singles(values: Iterable[float]) -> list[float]:
    """Return numbers as the vendor computes them."""
    return [single(value) for value in values]
