"""A dialect that no vendor has: everything at once that one may ask of the frame.

An API key in the form, authentication that needs the body, statuses 202, 300, 402 and 420, an HTML
content type, errors that ride on 200 in a signed envelope, ten images under one name, path
templates, a root route with a trailing slash, names that another dialect has too, rate-limit
headers of its own, and no place on the page.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.errors import (
    BadParameters,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    TooLarge,
    TooManyRequests,
    Unauthorized,
)
from ltu_compute.image import Image
from ltu_compute.operations import analysis
from ltu_compute.settings import Rate
from ltu_compute.store import Account, Store
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Answer, Caller, Dialect, ErrorKind, Exchange, Gate, Head, Json
from ltu_compute.web.endpoint import Endpoint, ImageField, ImageList, Params
from ltu_compute.web.wire import Wire

SECRET = b"of the fictitious vendor"
KEYS = {"key-of-alice": "alice"}
QUOTA: dict[str, int] = {}


class QuotaUsedUp(BadParameters):
    """The key has no requests left."""


class NothingSent(BadParameters):
    """A request without data."""


class WrongType(BadParameters):
    """A type that is none."""


def accounts_by_key(store: Store, key: str) -> Account | None:
    """Return the account of a key."""
    return store.accounts.by_name(KEYS[key]) if key in KEYS else None


class Fictitious(Dialect):
    """``{"json": text, "signature": text}``, always with a signature of the text."""

    name = "fictitious"
    title = "Fictitious v9"
    prefix = "/v9/api"
    credentials = "body"
    content_type = "text/html; charset=UTF-8"
    formats = frozenset(("JPEG", "PNG", "TIFF"))
    default_rate = Rate(5, 60)
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        NothingSent: ErrorKind(300, "No data.", 3),
        BadParameters: ErrorKind(200, "A parameter is wrong.", 15),
        Unauthorized: ErrorKind(200, "The key is wrong.", 1),
        QuotaUsedUp: ErrorKind(402, "The quota is used up.", 2),
        WrongType: ErrorKind(420, "The type is wrong.", 4),
        NotFound: ErrorKind(404, "Nothing is there.", 5),
        MethodNotAllowed: ErrorKind(405, "Not with this method.", 6),
        TooManyRequests: ErrorKind(200, "Too many requests.", 17),
        TooLarge: ErrorKind(200, "Too large.", 14),
        ServiceError: ErrorKind(200, "A fault.", 100),
    }

    store: Store  # given by the test: the gate has no keys of this vendor

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the account of the form's ``apikey``."""
        del head, gate  # this vendor knows keys in the form, and nothing else
        if not wire.values and not wire.files:
            raise NothingSent(*BadParameters().problems)
        account = accounts_by_key(self.store, wire.first("apikey"))
        if account is None:
            raise Unauthorized("apikey: not valid", parameter="apikey")
        return Caller(account, credential=wire.first("apikey"))

    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return a signed success."""
        status = exchange.endpoint.status if exchange.endpoint else 200
        return self._signed(status, {"code": 0, "data": result, **exchange.unused.keys()})

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return a signed error."""
        del exchange
        kind = self.kind_of(error)
        parameters = [problem.parameter for problem in error.problems]
        body = {"code": kind.code, "message": str(error), "parameters": parameters}
        return self._signed(kind.status, body)

    def _signed(self, status: int, body: Json) -> Answer:
        text = orjson.dumps(body).decode()
        signature = hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()
        return Answer.json(
            {"json": text, "signature": signature}, status, content_type=self.content_type
        )

    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the envelope's schema; the declared type is named beside it."""
        schema(endpoint.result)
        return self.failure_schema()

    def failure_schema(self) -> Json:
        """Return the envelope's schema."""
        texts = {"json": {"type": "string"}, "signature": {"type": "string"}}
        return {"type": "object", "properties": texts, "required": list(texts)}

    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the key in the form, as near as OpenAPI can say it."""
        del issuer
        return {"key": {"type": "apiKey", "in": "query", "name": "apikey"}}

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return headers of its own, on every reply."""
        left = self.default_rate.requests if allowance is None else allowance.remaining
        return {"X-Fictitious-Left": str(left)}

    def header_meanings(self) -> Mapping[str, str]:
        """Return what they mean."""
        return {"X-Fictitious-Left": "Requests left."}


dialect = Fictitious()


class KindParams(Params):
    """See `recognise`."""

    apikey: str = ""
    type: str = ""
    tag: list[str] = Field(default=[], max_length=10)
    repeated: ClassVar[frozenset[str]] = frozenset({"tag"})


class Difference(TypedDict):
    """One of the images; LTU has a schema of this name, too."""

    name: str
    size: list[int]
    error: str


class DifferencesResult(TypedDict):
    """See `recognise`."""

    images: list[Difference]
    tags: list[str]


@dialect.endpoint(
    "recognise", paths=("/",), images=(ImageList("image", 10, largest=10),), methods=("POST",)
)
def recognise(images: list[ReceivedImage], params: KindParams) -> DifferencesResult:
    """Look at up to ten images; a broken one costs the others nothing."""
    if params.type not in ("", "objects"):
        raise WrongType(*BadParameters().problems)
    return {"images": [_entry(each) for each in images], "tags": params.tag}


def _entry(each: ReceivedImage) -> Difference:
    size = list(each.image.size) if each.image else []
    return {"name": each.name, "size": size, "error": str(each.error or "")}


class TaskParams(Params):
    """A task's id, in the path."""

    task_id: str = Field(max_length=20)
    apikey: str = ""


class Task(TypedDict):
    """A task."""

    task_id: str
    of: str


@dialect.endpoint("tasks.get", paths=("/tasks/{task_id}",), methods=("GET",))
def task(params: TaskParams, caller: Caller) -> Task:
    """Return a task; it belongs to whoever asks."""
    return {"task_id": params.task_id, "of": caller.account.username}


@dialect.endpoint("tasks.delete", paths=("/tasks/{task_id}",), methods=("DELETE",), status=202)
def cancelled(params: TaskParams) -> Task:
    """Cancel a task, by and by."""
    return {"task_id": params.task_id, "of": ""}


@dialect.endpoint(
    "edges", paths=("/edges",), images=(ImageField("file"),), methods=("POST",), status=202
)
def edges(image: Image, params: KindParams, exchange: Exchange) -> Task:
    """Count the edges: an operation that LTU has too, under the same name."""
    key = exchange.caller.credential if exchange.caller else ""
    if QUOTA.get(key, 1) <= 0:
        raise QuotaUsedUp(*BadParameters().problems)
    mask = analysis.edges(image, low_threshold=50, high_threshold=100, thickness=1)
    return {"task_id": str(int(mask.sum())), "of": image.name}
