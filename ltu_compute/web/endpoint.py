"""One declaration per endpoint; validation, routes, OpenAPI and commands all read it."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

Handler = TypeVar("Handler", bound=Callable[..., Any])
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _truth(value: Any) -> Any:
    """Return the truth value of a text."""
    if not isinstance(value, str):
        return value
    if value.lower() not in TRUTH:
        raise ValueError("allowed is True or False")
    return TRUTH[value.lower()]


def plain_number(value: Any) -> Any:
    """Return a value unless it is a number as Python writes it: ``1_0``, ``+5``.

    Clients send neither, and the parser would take them for ten and five.

    Raises
    ------
    PydanticCustomError
        It is one.
    """
    if isinstance(value, str) and ("_" in value or value.lstrip().startswith("+")):
        raise PydanticCustomError("number", "not a number")
    return value


def _takes_numbers(annotation: Any) -> bool:
    """Return whether a field takes a number, and no text."""
    types = {annotation, *get_args(annotation)}
    return bool(types & {int, float}) and str not in types


Flag = Annotated[bool, BeforeValidator(_truth)]
"""A truth value: True, true or 1; False, false or 0."""


class Params(BaseModel):
    """Base class of an endpoint's parameters, as they arrive on the wire.

    A value that is empty or null counts as not given: that is how form libraries send "nothing".
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    tolerated: ClassVar[frozenset[str]] = frozenset()
    """Names that clients send, that mean nothing here and are not reported as ignored."""

    repeated: ClassVar[frozenset[str]] = frozenset()
    """Names that may be sent several times; their fields take a list."""

    parted: ClassVar[frozenset[str]] = frozenset()
    """Names of `repeated` whose texts are parted at commas; the texts in a JSON list are not."""

    @property
    def unknown_names(self) -> list[str]:
        """Names within structured values that are not known."""
        return [
            f"{at}.{name}" for at, value in self._structured() for name in value.model_extra or ()
        ]

    @property
    def nested_names(self) -> list[str]:
        """Names within structured values that are known."""
        return [
            f"{at}.{name}" for at, value in self._structured() for name in type(value).model_fields
        ]

    def _structured(self) -> list[tuple[str, BaseModel]]:
        """Return the values that have names within, by their own names."""
        return [(name, value) for name, value in self if isinstance(value, BaseModel)]

    @property
    def computes(self) -> bool:
        """Whether the request takes a computing slot, if its endpoint computes."""
        return True

    @property
    def image_referer(self) -> str:
        """Header ``Referer`` for fetching images; "" for none."""
        return ""

    @classmethod
    def cleaned(cls, value: Any) -> Any:
        """Return a value as it is validated; a dialect may take off what its clients add."""
        return value

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        cleaned = {name: cls.cleaned(value) for name, value in given.items()}
        return {name: v for name, v in cleaned.items() if not cls._is_empty(name, v)}

    @classmethod
    def _is_empty(cls, name: str, value: Any) -> bool:
        """Return whether a value counts as not given; of lists whose items may be null, none."""
        if value == [None] and name in cls.repeated:
            return get_args(cls.model_fields[name].annotation) != (Any,)
        return value in ("", None)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse numbers as Python writes them, where a number is taken."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        return plain_number(value) if _takes_numbers(annotation) else value

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
    unless : str
        Parameter with which a required image may be left out; the handler then gets ``None``.
    """

    name: str
    description: str = "The image."
    required: bool = True
    also: tuple[str, int] | None = None
    unless: str = ""

    @property
    def most(self) -> int:
        """How many images there may be."""
        return 1

    @property
    def largest(self) -> int:
        """How many of the largest images there may be."""
        return 1


@dataclass(frozen=True)
class ImageList:
    """Several images under one name; the handler gets a list of `ReceivedImage`.

    Attributes
    ----------
    name : str
        Name on the wire.
    most : int
        How many there may be.
    description : str
        What the endpoint does with them.
    required : bool
        Whether at least one is needed.
    mixed : bool
        Whether files and addresses may be mixed in one request.
    largest : int
        How many of the largest images there may be together, which bounds the request's body.
    """

    name: str
    most: int
    largest: int
    description: str = "The images."
    required: bool = True
    mixed: bool = True


Images = ImageField | ImageList


@dataclass(frozen=True)
class Endpoint:
    """A handler and what its declaration says; see `Dialect.endpoint`.

    Attributes
    ----------
    name : str
        Unique in its dialect.
    paths : tuple of str
        Templates with the prefix, the proper one first.
    methods : tuple of str
        HTTP methods.
    images : tuple of ImageField or ImageList
        What the handler takes first.
    params : type of Params
        What else may be sent; a field that a path template names is taken from the path.
    result : object
        Type that the handler returns.
    resources : mapping of str to type
        What else the handler wants, by the names of its parameters.
    computes : bool
        Whether its requests take a computing slot.
    """

    name: str
    paths: tuple[str, ...]
    methods: tuple[Method, ...]
    images: tuple[Images, ...]
    params: type[Params]
    result: Any
    resources: Mapping[str, type]
    status: int
    public: bool
    remote: bool
    computes: bool
    extension: Any
    handler: Callable[..., Any]
    takes_params: bool

    @property
    def path(self) -> str:
        """The proper path."""
        return self.paths[0]

    @property
    def path_names(self) -> tuple[str, ...]:
        """Parameters in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def run(
        self, images: Sequence[object], params: Params, resources: Mapping[type, object]
    ) -> Any:
        """Call the handler with what it declares.

        Parameters
        ----------
        images : sequence
            In the order of the declaration.
        params : Params
            Validated.
        resources : mapping of type to object
            What handlers may want: each is given what its annotations name.
        """
        named = {name: resources[kind] for name, kind in self.resources.items()}
        if self.takes_params:
            named["params"] = params
        return self.handler(*images, **named)

    @property
    def summary(self) -> str:
        """First line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """Return the rest of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[2].strip()


def declared_endpoint(
    handler: Callable[..., Any],
    *,
    name: str,
    prefix: str,
    paths: tuple[str, ...],
    images: tuple[Images, ...],
    default_params: type[Params],
    **rest: Any,
) -> Endpoint:
    """Return the endpoint that a handler's annotations and the given words declare.

    The handler takes the images by position, then, in any order: ``params``, and whatever else its
    annotations name, such as `Recognisers`.

    Raises
    ------
    TypeError
        The handler takes fewer parameters than there are images, or one has no annotation.
    ValueError
        A path names a parameter that is not declared.
    """
    hints = get_type_hints(handler, include_extras=True)
    taken = list(inspect.signature(handler).parameters)[len(images) :]
    missing = [parameter for parameter in taken if parameter not in hints]
    if missing or len(inspect.signature(handler).parameters) < len(images):
        raise TypeError(f"{name}: the handler's parameters {missing} have no annotation")
    endpoint = Endpoint(
        name=name,
        paths=tuple(f"{prefix}{path}" for path in paths),
        images=images,
        params=hints.get("params", default_params),
        result=hints["return"],
        resources={p: hints[p] for p in taken if p != "params"},
        handler=handler,
        takes_params="params" in taken,
        **rest,
    )
    undeclared = set(endpoint.path_names) - set(endpoint.params.wire_names())
    if undeclared:
        raise ValueError(f"{name}: {', '.join(sorted(undeclared))} of the path is not declared")
    return endpoint
