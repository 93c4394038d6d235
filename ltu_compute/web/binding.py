"""From texts and files by name to images and validated parameters."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import orjson
from pydantic import ValidationError

from ltu_compute.errors import (
    BadParameters,
    EmptyFile,
    MissingImage,
    Problem,
    ServiceError,
    TooLarge,
    TooManyBytes,
    TooManyFields,
    TooManyImages,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.image import COMMON, Image, transport
from ltu_compute.web.complaints import problems_of, shown
from ltu_compute.web.endpoint import Endpoint, ImageField, ImageList, Images, Params
from ltu_compute.web.unused import Unused
from ltu_compute.web.wire import Upload, Wire, as_text

URL_SCHEMES = ("http://", "https://")
MAX_VALUE_BYTES = 64 << 10  # of a value that is no image: JSON of that size becomes some 5 MB


class Fetch(Protocol):
    """A function that fetches remote images."""

    def __call__(self, url: str, *, name: str, referer: str = "") -> bytes:
        """Return the bytes at an address; errors name the parameter that held it."""


@dataclass(frozen=True)
class Limits:
    """Limits on an image.

    Attributes
    ----------
    bytes : int
        Size of the file.
    pixels : int
        Width times height.
    formats : collection of str
        File formats, of `image.Format`.
    """

    bytes: int
    pixels: int
    formats: Collection[str] = COMMON


class ReceivedImage(NamedTuple):
    """One of several images.

    Attributes
    ----------
    name : str
        Name of the file, or the address, as it was sent.
    image : Image or None
        The picture; None if it is not usable.
    error : ServiceError or None
        Why it is not usable.
    place : int
        Files, or texts, of the parameter before it, those that were left empty included.
    """

    name: str
    image: Image | None
    error: ServiceError | None = None
    place: int = 0


@dataclass(frozen=True)
class Bound:
    """Arguments for a handler, and the names that were not used.

    Attributes
    ----------
    images : list
        An `Image` or None for each `ImageField`, a list of `ReceivedImage` for each `ImageList`.
    params : Params
        Validated parameters.
    unused : Unused
        Names that were sent and not used.
    """

    images: list[Any]
    params: Params
    unused: Unused

    @property
    def pictures(self) -> list[Image]:
        """Every image that was read."""
        listed = (
            [received.image for received in item] if isinstance(item, list) else [item]
            for item in self.images
        )
        return [image for item in listed for image in item if image is not None]


def bind(endpoint: Endpoint, wire: Wire, *, fetch: Fetch, limits: Limits) -> Bound:
    """Return images and parameters; the error lists everything that is wrong with them.

    Parameters
    ----------
    endpoint : Endpoint
        What is asked for.
    wire : Wire
        What was sent.
    fetch : Fetch
        Gets remote images.
    limits : Limits
        Largest image accepted.

    Raises
    ------
    BadParameters
        If a parameter is missing, malformed or out of range: before any image is touched.
    ServiceError
        If an image is too large, of another format, unreadable or cannot be fetched.
    """
    wire, problems = _with_texts_sent_as_files(endpoint, wire)
    problems += [*_contradictions(endpoint, wire), *_surplus_files(endpoint, wire)]
    params: Params | None = None
    try:
        params = endpoint.params.model_validate(_values(endpoint, wire))
    except ValidationError as error:
        problems += problems_of(endpoint.params, error)

    sources = [
        _sources(image, wire, problems)
        if isinstance(image, ImageList)
        else _source(image, wire, problems)
        for image in endpoint.images
    ]
    if problems or params is None:
        raise _error_of(problems)

    if params.image_referer:
        fetch = partial(fetch, referer=params.image_referer)
    images: list[Any] = []
    for image, source in zip(endpoint.images, sources, strict=True):
        if isinstance(source, list):
            images.append(_all_received(image, source, fetch, limits))
        else:
            images.append(None if source is None else _image(image.name, source, fetch, limits))
    return Bound(images, params, _unused(endpoint, wire, params))


def _unused(endpoint: Endpoint, wire: Wire, params: Params) -> Unused:
    """Return the names that were sent and not used; the known ones are those declared."""
    in_path = {*endpoint.path_names}
    declared = [*endpoint.params.wire_names(), *_image_names(endpoint)]
    known = {*declared, *endpoint.params.tolerated} - in_path
    ignored = [
        name
        for name in dict.fromkeys([*wire.values, *wire.files])
        if name not in known and not (name in in_path and _repeats_path(name, wire))
    ]
    nameable = [name for name in declared if name not in in_path]
    inner = Unused.among(params.unknown_names, params.nested_names)
    return Unused.among(ignored, nameable, params.nested_names).plus(inner)


def _repeats_path(name: str, wire: Wire) -> bool:
    """Return whether a parameter of the path was sent beside it, with the same value."""
    sent = [*map(as_text, wire.values.get(name, ())), *wire.files.get(name, ())]
    return all(value == wire.path.get(name) for value in sent)


class _NoImage(Problem):
    """An image is missing."""


class _Empty(Problem):
    """A file without a byte."""


class _Surplus(Problem):
    """There are more images than are taken."""


def _error_of(problems: list[Problem]) -> BadParameters:
    """Return the error of some problems: a more special one where all are of one kind."""
    kinds: dict[type[Problem], type[BadParameters]] = {
        _NoImage: MissingImage,
        _Empty: EmptyFile,
        _Surplus: TooManyImages,
    }
    found = {type(problem) for problem in problems}
    kind = kinds.get(found.pop(), BadParameters) if len(found) == 1 else BadParameters
    return kind(*problems)


# ------------------------------------------------------------------------------- values


def _image_names(endpoint: Endpoint) -> set[str]:
    names = {image.name for image in endpoint.images}
    return names | {i.also[0] for i in endpoint.images if isinstance(i, ImageField) and i.also}


def _with_texts_sent_as_files(endpoint: Endpoint, wire: Wire) -> tuple[Wire, list[Problem]]:
    """Return the wire with parameters that were sent as files, as curl's `-F name=@file` does."""
    texts = (set(endpoint.params.wire_names()) - _image_names(endpoint)).intersection(wire.files)
    if not texts:
        return wire, []
    problems = []
    values = {name: list(given) for name, given in wire.values.items()}
    for name in texts:
        for content, *_ in wire.files[name]:
            _check_size(name, content)
            try:
                values.setdefault(name, []).append(content.decode())
            except UnicodeDecodeError:
                problems.append(Problem(name, f"{name}: received a file that is not UTF-8 text"))
    files = {name: given for name, given in wire.files.items() if name not in texts}
    return Wire(values, files, wire.path), problems


def _values(endpoint: Endpoint, wire: Wire) -> dict[str, Any]:
    """Return the values of the parameters: those in the path win."""
    values: dict[str, Any] = {}
    for name in endpoint.params.wire_names():
        given = wire.values.get(name)
        if not given:
            continue
        for value in given:
            _check_size(name, value)
        if name in endpoint.params.repeated:
            commas = name in endpoint.params.parted
            values[name] = [as_text(value) for value in _flat(given, commas=commas)]
        else:
            values[name] = as_text(given[0])
    in_path = {name: wire.path[name] for name in endpoint.path_names if name in wire.path}
    return values | in_path


def _flat(given: Iterable[Any], *, commas: bool = False) -> list[Any]:
    """Return the values of a name that may be repeated: in a form, or as a list in JSON.

    With ``commas``, texts outside of such a list are parted at commas.
    """
    found: list[Any] = []
    for each in given:
        if isinstance(each, list):
            found += each
        elif commas and isinstance(each, str):
            found += [part for text in each.split(",") if (part := text.strip())]
        else:
            found.append(each)
    return found


def _check_size(name: str, value: Any) -> None:
    """Refuse a value that is larger than any that means something.

    Raises
    ------
    TooManyFields
        It is over `MAX_VALUE_BYTES`.
    """
    size = len(orjson.dumps(value)) if isinstance(value, list | dict) else _length(value)
    if size > MAX_VALUE_BYTES:
        raise TooManyFields(
            f"{name}: received {size} bytes, allowed are {MAX_VALUE_BYTES}", parameter=name
        )


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _contradictions(endpoint: Endpoint, wire: Wire) -> list[Problem]:
    """Return the parameters that were given several values, under whatever spellings."""
    given: dict[str, list[Any]] = {}
    for spelling, name in endpoint.params.wire_names().items():
        if name not in endpoint.params.repeated:
            given.setdefault(name, []).extend(wire.values.get(spelling, ()))
    return [
        Problem(name, f"{name}: received {' and '.join(map(shown, v[:3]))}, allowed is one value")
        for name, v in given.items()
        if any(value != v[0] for value in v[1:])
    ]


# ------------------------------------------------------------------------------- images


def _surplus_files(endpoint: Endpoint, wire: Wire) -> list[Problem]:
    """Return the images for which more files were sent than are used."""
    places: dict[str, int] = {}
    for image in endpoint.images:
        if isinstance(image, ImageList):
            continue  # counts addresses as well
        places[image.name] = max(places.get(image.name, 0), 1)
        if image.also:
            name, index = image.also
            places[name] = max(places.get(name, 0), index + 1)
    return [
        _Surplus(name, f"{name}: received {len(parts)} files, allowed: {places[name]}")
        for name, parts in wire.files.items()
        if len(parts) > places.get(name, len(parts))
    ]


Source = bytes | str
"""The content of an image, or its address."""


class _Sent(NamedTuple):
    """An image of a list, as sent: its name, content, address or error, and place."""

    name: str
    source: Source | ServiceError
    place: int


def _source(image: ImageField, wire: Wire, problems: list[Problem]) -> Source | None:
    """Return an image's bytes or its address, or note why there is neither."""
    places = [(image.name, 0), *([image.also] if image.also else [])]
    files = [
        (name, wire.files[name][index].content)
        for name, index in places
        if index < len(wire.files.get(name, []))
    ]
    for (first, content), (second, other) in pairwise(files):
        if content != other:
            message = f"received {first} and {second}, which are different files, allowed is one"
            problems.append(_Surplus(image.name, f"{image.name}: {message}"))
    if files:  # a file wins over text of whatever name
        content = files[0][1]
        if not content:
            problems.append(_empty(image.name))
        return content
    for name, index in places:
        texts = wire.values.get(name, [])
        if index < len(texts) and _is_given(texts[index]):
            return _from_text(image.name, texts[index], problems)
    instead = wire.values.get(image.unless, []) if image.unless else []
    if image.required and not any(map(_is_given, instead)):
        problems += missing_image(image.name, wire).problems
    return None


def _sources(images: ImageList, wire: Wire, problems: list[Problem]) -> list[_Sent]:
    """Return the images of a list."""
    files = wire.files.get(images.name, [])
    name = images.name
    given = wire.values.get(name, [])
    is_json = any(isinstance(value, list) for value in given)
    texts = [(place, text) for place, text in enumerate(_flat(given)) if is_json or _is_given(text)]
    problems += [_not_a_text(name, text) for _, text in texts if not isinstance(text, str)]
    if files and texts and not images.mixed:
        problems.append(Problem(name, f"{name}: received files and texts, allowed are either"))
    if len(files) + len(texts) > images.most:
        message = f"{name}: received {len(files) + len(texts)} images, allowed: {images.most}"
        problems.append(_Surplus(name, message))
    if images.required and not files and not texts:
        problems += missing_image(name, wire).problems
    if problems:
        return []
    found = [
        _Sent(upload.filename, upload.content or BadParameters(_empty(name)), upload.place)
        for upload in files
    ]
    for place, text in texts:
        wrong: list[Problem] = []
        source = _from_text(name, text, wrong)
        label = source if isinstance(source, str) else ""
        found.append(_Sent(label, BadParameters(*wrong) if source is None else source, place))
    return found


def _is_given(value: Any) -> bool:
    return value not in ("", None)


def _empty(name: str) -> Problem:
    return _Empty(name, f"{name}: the file is empty")


def missing_image(name: str, wire: Wire) -> MissingImage:
    """Return the error of an image that is required, with the names that were sent."""
    what = "an image is required: a file, an http(s) URL or base64 text"
    names = ", ".join(map(shown, [*wire.values, *wire.files][:5])) or "nothing"
    return MissingImage(_NoImage(name, f"{name}: {what}; received were {names}"))


def _from_text(name: str, text: Any, problems: list[Problem]) -> Source | None:
    if not isinstance(text, str):
        problems.append(_not_a_text(name, text))
        return None
    stripped = text.strip().strip("\"'")
    if is_address(stripped):
        return stripped
    try:
        content: bytes = transport.bytes_of_text(stripped, name)
    except BadParameters as error:
        problems += [
            Problem(p.parameter, f"{p.message}; received {shown(text)}") for p in error.problems
        ]
        return None
    return content


def _not_a_text(name: str, value: Any) -> Problem:
    allowed = "an http(s) URL, base64 text or a data: URI"
    return Problem(name, f"{name}: received {shown(value)}, allowed is {allowed}")


def is_address(text: str) -> bool:
    """Return whether a text is the address of an image, not an image."""
    return text[:8].lower().startswith(URL_SCHEMES)


def _all_received(
    image: Images, sources: list[_Sent], fetch: Fetch, limits: Limits
) -> list[ReceivedImage]:
    """Return the images of a list: files and what is fetched have one budget of bytes.

    Raises
    ------
    TooManyBytes
        They have more bytes together than `ImageList.largest` images at their largest.
    """
    left = image.largest * limits.bytes
    received = []
    for each in sources:
        received.append(_received(image.name, each, fetch, limits))
        picture = received[-1].image
        left -= len(picture.content) if picture else 0
        if left < 0:
            allowed = image.largest * limits.bytes
            raise TooManyBytes(
                f"{image.name}: the images have more than {allowed} bytes together",
                parameter=image.name,
            )
    return received


def _received(name: str, sent: _Sent, fetch: Fetch, limits: Limits) -> ReceivedImage:
    label, source, place = sent
    if isinstance(source, ServiceError):
        return ReceivedImage(label, None, source, place)
    try:
        return ReceivedImage(label, _image(name, source, fetch, limits), place=place)
    except (BadParameters, TooLarge, UnsupportedFormat, Unprocessable) as error:
        return ReceivedImage(label, None, error, place)  # others may pass: the request fails


def _image(name: str, source: Source, fetch: Fetch, limits: Limits) -> Image:
    content = fetch(source, name=name) if isinstance(source, str) else source
    if len(content) > limits.bytes:
        message = f"{name}: received {len(content)} bytes, allowed are {limits.bytes}"
        raise TooManyBytes(message, parameter=name)
    return Image.from_bytes(content, max_pixels=limits.pixels, name=name, formats=limits.formats)


def local_wire(values: Mapping[str, Iterable[Any]], files: Mapping[str, bytes]) -> Wire:
    """Return what a request would carry; for the command line."""
    return Wire(
        {name: list(given) for name, given in values.items()},
        {name: [Upload(content)] for name, content in files.items()},
    )
