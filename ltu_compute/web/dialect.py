"""One vendor's HTTP interface: what it may decide, and nothing that two of them share.

A dialect owns its paths, its authentication, its envelope, its error table and its rate-limit
headers. The rest of the service knows dialects through this class alone.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import orjson

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.errors import (
    BadParameters,
    NotEnabled,
    ProviderFailed,
    ServiceError,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Rate, Settings
from ltu_compute.store import Account
from ltu_compute.web.endpoint import Endpoint, Handler, Images, Method, Params, declared_endpoint
from ltu_compute.web.unused import Unused
from ltu_compute.web.wire import Wire

Json = dict[str, Any]
JSON = "application/json"


@dataclass(frozen=True)
class Head:
    """A request without its body.

    Attributes
    ----------
    method, path : str
        As asked for.
    headers : mapping of str to str
        Names in any case.
    client : str
        Address of the client; "" where it is not known.
    scheme, host : str
        Of the address that the request was sent to, as seen by the client.
    request_id : str
        The id in logs and in ``X-Request-ID``.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    client: str = ""
    scheme: str = "http"
    host: str = ""
    request_id: str = ""

    @property
    def base_url(self) -> str:
        """Address of the service as the client sees it, without a slash at its end."""
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes
    ----------
    account : Account
        Whose request it is.
    credential : str
        Id of the key of the request; "" where the account itself logged in.
    rate : Rate or None
        Limit of that key, beside that of its account; None: that of the dialect.
    """

    account: Account
    credential: str = ""
    rate: Rate | None = None

    @property
    def counted_as(self) -> str:
        """Name that the requests of one key are counted under."""
        return self.credential or self.account.id


class Gate(Protocol):
    """The ways to authenticate that the service knows. Each raises `Unauthorized`."""

    def bearer(self, head: Head) -> Account:
        """Return the account of an access token in the ``Authorization`` header."""

    def api_key(self, secret: str) -> Caller:
        """Return the caller of an API key, "" for none."""

    def client(self, client_id: str) -> None:
        """Raise unless a signed request of this client may be let in."""

    def signature(self, client_id: str, timestamp: str, nonce: str, signature: str) -> Caller:
        """Return the caller of a signed request; a second one with this signature is refused."""


@dataclass
class Exchange:
    """A request on its way through the service.

    Attributes
    ----------
    head : Head
        The request.
    dialect : Area
        Who forms the reply.
    endpoint : Endpoint or None
        What was asked for; None where nothing is served.
    wire : Wire
        What was sent; empty before the body has been read.
    caller : Caller or None
        Who asks; None before authentication, and for public endpoints.
    unused : Unused
        Names that were sent and not used.
    allowance : Allowance or None
        What the rate limit leaves, once the request was counted.
    resources : mapping of type to object
        What the service has for its dialects, by type; see `Service.resources`.
    seconds : float
        Time that the operation took, s.
    is_client_gone : callable
        Whether the client has closed its connection.
    """

    head: Head
    dialect: "Area"
    endpoint: Endpoint | None = None
    wire: Wire = field(default_factory=Wire)
    caller: Caller | None = None
    unused: Unused = field(default_factory=Unused)
    allowance: Allowance | None = None
    resources: Mapping[type, Any] = field(default_factory=dict)
    seconds: float = 0.0
    is_client_gone: Callable[[], bool] = bool


@dataclass(frozen=True)
class Answer:
    """A reply, ready to be sent."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(
        cls,
        body: object,
        status: int = 200,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """Return a reply that holds JSON, keys in the order they were put."""
        return cls(status, orjson.dumps(body), content_type, headers or {})


@dataclass(frozen=True)
class ErrorKind:
    """How a dialect reports a class of errors.

    Attributes
    ----------
    status : int
        HTTP status.
    meaning : str
        In words, for OpenAPI and documents.
    code : int or str
        The vendor's code; "" where it has none but the status.
    """

    status: int
    meaning: str
    code: int | str = ""


class Area(Protocol):
    """A part of the address space whose errors have one form."""

    name: str

    def serves(self, path: str) -> bool:
        """Return whether a path is within."""

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the reply to a request that failed."""

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return what is added to every reply, given what the rate limit leaves."""


class Dialect(ABC):
    """One vendor's interface; subclasses say what is the vendor's own.

    Attributes
    ----------
    name : str
        Word for it in code, logs, metrics and commands: lower-case letters.
    title : str
        Its name, for people.
    prefix : str
        What all its paths begin with, without a slash at the end.
    errors : mapping of ServiceError classes to ErrorKind
        The nearest class counts; ``ServiceError`` itself must be there.
    credentials : {"header", "body"}
        Where the credentials are. With ``"body"`` the body is read, under the same bounds, before
        `authenticate` is called.
    params : type of Params
        Parameters of an endpoint whose handler declares none.
    content_type : str
        Of replies.
    formats : frozenset of str
        File formats of images that are accepted.
    default_rate : Rate or None
        Limit of each key that has none of its own, beside the service's limit of an account.
    default_yields : bool
        Whether that default holds only where the operator has set no limit of accounts.
    announces_limit : bool
        Whether replies to requests that were not counted, such as one without credentials, have
        the rate-limit headers too: those of a limit of which nothing is used.
    on_page : bool
        Whether its operations have a place on the Analyze page.
    """

    name: str
    title: str
    prefix: str
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]]
    credentials: ClassVar[Literal["header", "body"]] = "header"
    params: type[Params] = Params
    content_type: str = JSON
    formats: frozenset[str] = frozenset(("JPEG", "PNG", "GIF"))
    default_rate: Rate | None = None
    default_yields: bool = False
    announces_limit: bool = False
    on_page: bool = False

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    # ------------------------------------------------------------ what a vendor decides

    @abstractmethod
    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return who sent a request.

        Parameters
        ----------
        head : Head
            The request.
        wire : Wire
            What it carries; empty where `credentials` is ``"header"``.
        gate : Gate
            The ways to authenticate that there are.

        Raises
        ------
        Unauthorized
            Nobody is let in with these.
        """

    def screen(self, head: Head, wire: Wire, gate: Gate) -> None:
        """Refuse, before its body is read, a request that no body lets in.

        Called where `credentials` is ``"body"``; `authenticate` follows once the body was read.

        Parameters
        ----------
        head : Head
            The request.
        wire : Wire
            What its path and query carry.
        gate : Gate
            The ways to authenticate that there are.

        Raises
        ------
        Unauthorized
            Nobody is let in with these, whatever the body holds.
        """
        del head, wire, gate  # any request may have a body that lets it in

    def check(self, settings: Settings, recognisers: Recognisers) -> None:
        """Check what only this interface needs, when the service starts; log what is missing.

        Raises
        ------
        WrongSetting
            A setting of this interface cannot be used.
        """
        del settings, recognisers  # most need nothing

    @abstractmethod
    def answer(self, exchange: Exchange, result: Any) -> Answer:
        """Return the reply that holds what a handler returned."""

    @abstractmethod
    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return the reply to a request that failed."""

    @abstractmethod
    def success_schema(self, endpoint: Endpoint, schema: Callable[[Any], Json]) -> Json:
        """Return the JSON Schema of `answer`'s body; ``schema`` gives that of a declared type."""

    @abstractmethod
    def failure_schema(self) -> Json:
        """Return the JSON Schema of `refuse`'s body."""

    def success_type(self, endpoint: Endpoint) -> str:
        """Return the content type of `answer`."""
        del endpoint
        return self.content_type

    def failure_type(self) -> str:
        """Return the content type of `refuse`."""
        return self.content_type

    @abstractmethod
    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the OpenAPI security schemes by name; one of them is enough.

        Parameters
        ----------
        issuer : str
            External identity provider of the service; "" where it has accounts of its own.
        """

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return the headers of every reply, given what the rate limit leaves."""
        del allowance
        return {}

    def header_meanings(self) -> Mapping[str, str]:
        """Return what `reply_headers` may hold: meanings by name, for OpenAPI."""
        return {}

    def key_rate(self, *, limits_accounts: bool) -> Rate | None:
        """Return the limit of a key that has none of its own.

        Parameters
        ----------
        limits_accounts : bool
            Whether the operator has set a limit of accounts.
        """
        return None if self.default_yields and limits_accounts else self.default_rate

    # ------------------------------------------------------------------- declarations

    def endpoint(
        self,
        name: str,
        *,
        paths: tuple[str, ...] = (),
        images: tuple[Images, ...] = (),
        methods: tuple[Method, ...] = ("GET", "POST"),
        status: int = 200,
        public: bool = False,
        remote: bool = False,
        computes: bool = False,
        extension: Any = None,
    ) -> Callable[[Handler], Handler]:
        """Register a handler; its annotations and docstring are the declaration.

        Parameters
        ----------
        name : str
            Unique in the dialect: in logs, metrics, OpenAPI and commands.
        paths : tuple of str
            Under the prefix, the proper one first; ``{name}`` is a parameter. Default: the
            endpoint's name.
        images : tuple of ImageField or ImageList
            What the handler takes first, in this order.
        methods : tuple of str
            HTTP methods.
        status : int
            HTTP status of success, for OpenAPI; `answer` sets it.
        public : bool
            Whether it answers without authentication.
        remote : bool
            Whether it may ask a provider elsewhere.
        computes : bool
            Whether it decodes pictures or reads megabytes, although it takes no images: its
            requests take a computing slot, as those with images always do.
        extension : object
            What else the dialect wants to know of it.
        """

        def register(handler: Handler) -> Handler:
            declared = declared_endpoint(
                handler,
                name=name,
                prefix=self.prefix,
                paths=paths or (f"/{name}",),
                images=images,
                methods=methods,
                default_params=self.params,
                status=status,
                public=public,
                remote=remote,
                computes=computes or bool(images),
                extension=extension,
            )
            if any(known.name == name for known in self.endpoints):
                raise ValueError(f"{self.name} has two endpoints named {name}")
            self.endpoints.append(declared)
            return handler

        return register

    def kind_of(self, error: ServiceError) -> ErrorKind:
        """Return how an error is reported: that of its nearest class."""
        return next(self.errors[cls] for cls in type(error).__mro__ if cls in self.errors)

    def errors_of(self, endpoint: Endpoint) -> list[ErrorKind]:
        """Return the errors that an endpoint may answer, in the order of the table."""
        impossible: set[type[ServiceError]] = set()
        if endpoint.public:
            impossible |= {Unauthorized, TooManyRequests}
        if not endpoint.remote:
            impossible |= {NotEnabled, ProviderFailed}
        if not endpoint.images:
            impossible |= {UnsupportedFormat, Unprocessable, TooLarge, TooSlow}
            if not endpoint.params.model_fields:
                impossible |= {BadParameters}
            if set(endpoint.methods) - {"GET", "DELETE"}:
                impossible -= {UnsupportedFormat, Unprocessable, TooLarge, TooSlow}
        return [kind for cls, kind in self.errors.items() if not issubclass(cls, tuple(impossible))]

    def serves(self, path: str) -> bool:
        """Return whether a path is within this interface."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")

    def find(self, path: str, method: str = "") -> Endpoint | None:
        """Return the endpoint that is, or would be, served at a path: best, by that method."""
        if not self.serves(path):
            return None
        matching = [e for pattern, e in self._patterns if pattern.fullmatch(path)]
        return next((e for e in matching if method in e.methods), next(iter(matching), None))

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Endpoint]]:
        return [
            (re.compile(f"{pattern_of(path)}/?"), endpoint)
            for endpoint in self.endpoints
            for path in endpoint.paths
        ]


def pattern_of(path: str) -> str:
    """Return a path template as a regular expression."""
    parts = re.split(r"\{\w+\}", path.rstrip("/"))
    return "[^/]+".join(map(re.escape, parts))


def find_area(areas: Iterable[Area], path: str) -> Area | None:
    """Return the area that a path is within."""
    return next((area for area in areas if area.serves(path)), None)
