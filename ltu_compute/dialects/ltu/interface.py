"""What all LTU operations share: address, envelope, statuses, pieces of replies."""

import ctypes
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute import __version__
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotEnabled,
    NotFound,
    Problem,
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
from ltu_compute.web.endpoint import Dialect, Endpoint, Params, Reply


@dataclass(frozen=True)
class Layout:
    """Order of the keys of a reply; the vendor's samples differ in it.

    Recognition keeps the envelope of the vendor's first version, whose ``code`` is a text; what
    goes with the result stands in ``info`` behind it.
    """

    top: tuple[str, ...] = ("result", "details", "version")
    details: tuple[str, ...] = ("name", "score", "message", "info")
    code: int | str = 0


STANDARD = Layout()
HEAT_MAP = Layout(details=("name", "info", "score", "message"))
DISTANCE = Layout(top=("details", "code", "errors", "source", "version", "result"))
DIFFERENCES = Layout(top=("result", "details", "version", "code", "errors"))
TEXT_DETECTION = Layout(top=("message", "code", "content", "info"), code="0")
LABELS = Layout(top=("content", "message", "code", "info"), code="0")

OK = "ok"

_PROBLEM = {
    "type": "object",
    "properties": {"parameter": {"type": "string"}, "message": {"type": "string"}},
    "required": ["parameter", "message"],
}


class LtuEnvelope:
    """``{"result", "details": {"name", "score", "message", "info"}, "version"}`` and variants."""

    def success(
        self, endpoint: Endpoint, reply: Reply[Any, Any], ignored: list[str]
    ) -> dict[str, Any]:
        """Return the body of a reply."""
        info = {**reply.info, "ignored": ignored} if ignored else reply.info
        details = {
            "name": endpoint.label,
            "score": reply.score,
            "message": reply.message,
            "info": info,
        }
        return _laid_out(endpoint.layout, reply.result, details, endpoint.layout.code, [])

    def failure(
        self, endpoint: Endpoint | None, status: int, message: str, problems: tuple[Problem, ...]
    ) -> dict[str, Any]:
        """Return the body of an error: the same envelope around nothing, or the standard one."""
        layout = endpoint.layout if endpoint and "result" in endpoint.layout.top else STANDARD
        name = endpoint.label if endpoint else ""
        details: dict[str, Any] = {"name": name, "score": 0, "message": message, "info": {}}
        errors = [{"parameter": p.parameter, "message": p.message} for p in problems]
        body = _laid_out(layout, {}, details, status, errors)
        return body | {"errors": errors}

    def success_schema(
        self, endpoint: Endpoint, result: dict[str, Any], info: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the JSON Schema of a reply."""
        details = {
            "name": {"const": endpoint.label},
            "score": {"type": "number"},
            "message": {"type": "string", "description": "In words, for people."},
            "info": info,
        }
        parts: dict[str, Any] = {
            "result": result,
            "details": _object({key: details[key] for key in endpoint.layout.details}),
            "version": {"type": "string", "description": "Version of this service."},
            "code": {"const": endpoint.layout.code},
            "content": result,
            "info": info,
            "message": {"const": OK},
            "errors": {"type": "array", "maxItems": 0},
            "source": {"type": "object"},
        }
        return _object({key: parts[key] for key in endpoint.layout.top})

    def failure_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an error."""
        details = {
            "name": {"type": "string"},
            "score": {"type": "number"},
            "message": {"type": "string", "description": "What is wrong, for people."},
            "info": {"type": "object"},
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


dialect = Dialect(
    name="ltu",
    title="LTU Compute API v2",
    prefix="/v2/services/image",
    envelope=LtuEnvelope(),
    params=LtuParams,
    statuses={
        BadParameters: 400,
        Unauthorized: 401,
        NotFound: 404,
        MethodNotAllowed: 405,
        TooSlow: 408,
        TooLarge: 413,
        UnsupportedFormat: 415,
        Unprocessable: 422,
        TooManyRequests: 429,
        Busy: 503,
        NotEnabled: 501,
        ProviderFailed: 502,
        Unavailable: 503,
        ServiceError: 500,
    },
)


class Info(TypedDict, total=False):
    """What every ``details.info`` may hold."""

    ignored: Annotated[list[str], Field(description="Parameters sent that nobody knows.")]


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

    In a third of the time and memory of what it stands for: a list of dictionaries of x and y.
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
