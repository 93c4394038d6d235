"""One declaration per endpoint; validation, routes, OpenAPI and CLI all read it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_type_hints,
)

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, model_validator

from ltu_compute.errors import Problem, ServiceError
from ltu_compute.recognisers.available import Recognisers

Result = TypeVar("Result")
Info = TypeVar("Info")
Handler = TypeVar("Handler", bound=Callable[..., "Reply[Any, Any]"])


def _bare(value: Any) -> Any:
    """Return a text value without surrounding blanks and one pair of stray quotes."""
    if not isinstance(value, str):
        return value
    bare = value.strip(BLANKS)
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        bare = bare[1:-1].strip(BLANKS)
    return bare or value  # what holds nothing but blanks is not nothing


BLANKS = " \t\r\n"
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _truth(value: Any) -> Any:
    """Return the truth value that a text stands for."""
    if not isinstance(value, str):
        return value
    if value.lower() not in TRUTH:
        raise ValueError("allowed is True or False")
    return TRUTH[value.lower()]


Flag = Annotated[bool, BeforeValidator(_truth)]
"""A truth value: True, true or 1; False, false or 0."""


class Params(BaseModel):
    """Base class of an endpoint's parameters, as they arrive on the wire.

    A value that is empty or null counts as not given: that is how form libraries send "nothing".
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    tolerated: ClassVar[frozenset[str]] = frozenset()
    """Names that clients send, that mean nothing here and are not worth telling them."""

    @property
    def unknown_names(self) -> list[str]:
        """Names within structured values that nobody knows."""
        return []

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        bare = {name: _bare(value) for name, value in given.items()}
        return {name: value for name, value in bare.items() if value not in ("", None)}

    @classmethod
    @cache
    def wire_names(cls) -> Mapping[str, str]:
        """Return every name a parameter may have on the wire, and its proper one."""
        names = {}
        for name, info in cls.model_fields.items():
            alias = info.validation_alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
            names.update({str(choice): str(choices[0]) for choice in choices})
        return MappingProxyType(names)


@dataclass(frozen=True)
class ImageField:
    """An image that an endpoint takes.

    Attributes
    ----------
    name : str
        Name on the wire.
    description : str
        What the endpoint does with it.
    required : bool
        Whether the request is refused without it; the handler gets ``None`` if not.
    also : tuple of (str, int), optional
        Name, and place among the values of that name, under which it is accepted as well.
    """

    name: str
    description: str = "The image."
    required: bool = True
    also: tuple[str, int] | None = None


@dataclass(frozen=True)
class Reply(Generic[Result, Info]):
    """What a handler returns: the result and the words that go with it.

    The result and the info are typed dictionaries, built once and sent as they are.
    """

    result: Result
    info: Info
    message: str = ""
    score: float = 0


@dataclass(frozen=True)
class Endpoint:
    """A handler and what its declaration says.

    Attributes
    ----------
    name : str
        Last part of the path, as the vendor spells it; also the command's name.
    label : str
        What the reply calls the operation.
    aliases : tuple of str
        Other spellings of the name that are served.
    layout : object
        The dialect's own note on how replies are laid out.
    public : bool
        Whether it answers without authentication.
    remote : bool
        Whether it may ask a provider elsewhere.
    """

    name: str
    label: str
    path: str
    aliases: tuple[str, ...]
    methods: tuple[Literal["GET", "POST"], ...]
    images: tuple[ImageField, ...]
    params: type[Params]
    result: Any
    info: Any
    layout: Any
    public: bool
    remote: bool
    handler: Callable[..., Reply[Any, Any]]

    def run(
        self, images: Sequence[object], params: Params, recognisers: Recognisers
    ) -> Reply[Any, Any]:
        """Call the handler; one that declares no ``params`` or ``recognisers`` gets none."""
        named = {"params": params, "recognisers": recognisers}
        return self.handler(*images, **{name: named[name] for name in self._wanted})

    @cached_property
    def _wanted(self) -> tuple[str, ...]:
        """What else than images the handler declares that it takes."""
        declared = inspect.signature(self.handler).parameters
        return tuple(name for name in ("params", "recognisers") if name in declared)

    @property
    def summary(self) -> str:
        """First line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """Return the rest of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[2].strip()


class Envelope(Protocol):
    """How a dialect wraps results and errors."""

    def success(
        self, endpoint: Endpoint, reply: Reply[Any, Any], ignored: list[str]
    ) -> dict[str, Any]:
        """Return the body of a reply; ``ignored`` are the parameters nobody knows."""

    def failure(
        self, endpoint: Endpoint | None, status: int, message: str, problems: tuple[Problem, ...]
    ) -> dict[str, Any]:
        """Return the body of an error."""

    def success_schema(
        self, endpoint: Endpoint, result: dict[str, Any], info: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the JSON Schema of `success`, given those of its parts."""

    def failure_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of `failure`."""


@dataclass(frozen=True)
class Dialect:
    """One vendor's HTTP interface: its endpoints, its envelope, its errors.

    Attributes
    ----------
    name : str
        Word for it, in code and documents.
    title : str
        Its name, for people.
    prefix : str
        What the paths of all its endpoints begin with.
    envelope : Envelope
        How results and errors are wrapped.
    statuses : mapping
        HTTP status of every class of error; the nearest class counts.
    params : type of Params
        Parameters of an endpoint whose handler declares none.
    endpoints : list of Endpoint
        In the order of their declaration.
    """

    name: str
    title: str
    prefix: str
    envelope: Envelope
    statuses: Mapping[type[ServiceError], int]
    params: type[Params] = Params
    endpoints: list[Endpoint] = field(default_factory=list)

    def endpoint(
        self,
        name: str,
        *,
        label: str = "",
        aliases: tuple[str, ...] = (),
        images: tuple[ImageField, ...] = (ImageField("image"),),
        methods: tuple[Literal["GET", "POST"], ...] = ("GET", "POST"),
        layout: Any = None,
        public: bool = False,
        remote: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Register a handler; its annotations and docstring are the declaration."""

        def register(handler: Handler) -> Handler:
            hints = get_type_hints(handler, include_extras=True)
            result, info = get_args(hints["return"])
            self.endpoints.append(
                Endpoint(
                    name=name,
                    label=label or name,
                    path=f"{self.prefix}/{name}",
                    aliases=aliases,
                    methods=methods,
                    images=images,
                    params=hints.get("params", self.params),
                    result=result,
                    info=info,
                    layout=layout,
                    public=public,
                    remote=remote,
                    handler=handler,
                )
            )
            return handler

        return register

    def serves(self, path: str) -> bool:
        """Tell whether a path is within this interface."""
        return path.startswith(f"{self.prefix}/")

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that is, or would be, served at a path."""
        if not self.serves(path):
            return None
        name = path.removeprefix(self.prefix).strip("/")
        return next((e for e in self.endpoints if name in (e.name, *e.aliases)), None)

    def status_of(self, error: ServiceError) -> int:
        """Return the status that this vendor gives an error: that of its nearest class."""
        return next(self.statuses[cls] for cls in type(error).__mro__ if cls in self.statuses)
