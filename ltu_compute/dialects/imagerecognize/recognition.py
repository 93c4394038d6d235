"""Everything that ImageRecognize answers: one address, and a type for each kind."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NotRequired

import orjson
from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.dialects.imagerecognize.interface import dialect
from ltu_compute.errors import ServiceError
from ltu_compute.image import Image
from ltu_compute.kernels.types import Size
from ltu_compute.operations import moderation, people, recognition
from ltu_compute.operations.recognition import MAX_OBJECTS
from ltu_compute.operations.text import read_text
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.store import KeptResult, Store
from ltu_compute.web.binding import missing_image
from ltu_compute.web.dialect import Caller, Exchange
from ltu_compute.web.endpoint import ImageField, Params

log = logging.getLogger("ltu_compute")

Kind = Literal["objects", "celebrities", "detect_faces", "detect_text", "nsfw", "cache"]

UNLIMITED = -1  # quota of a key without one: the clients' types want a whole number
WHOLE: list["Coordinates"] = [{"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0}]

# Names of Amazon's moderation tree, as far as the installed models can know them.
EXPLICIT, SUGGESTIVE = "Explicit", "Non-Explicit Nudity of Intimate parts and Kissing"

OWN: dict[str, frozenset[str]] = {
    "objects": frozenset({"max_labels", "min_confidence"}),
    "nsfw": frozenset({"nsfw_min_confidence"}),
}
"""Parameters that a type requires; others ignore them."""


class RecognizeParams(Params):
    """See `recognize`."""

    apikey: str = Field("", max_length=200, description="A key of `ltu-compute apikey add`.")
    type: Kind = Field(description="Kind of recognition; `cache`: earlier results.")
    max_labels: int | None = Field(
        None,
        ge=1,
        validate_default=True,
        description="How many names at most; required for `objects`.",
    )
    min_confidence: int | None = Field(
        None,
        ge=0,
        le=100,
        validate_default=True,
        description="Least confidence, in percent; required for `objects`. Objects below 50 are "
        "never given: they are more likely wrong than right.",
    )
    nsfw_min_confidence: int | None = Field(
        None,
        ge=0,
        le=100,
        validate_default=True,
        description="Least confidence, in percent; required for `nsfw`.",
    )

    tolerated: ClassVar[frozenset[str]] = frozenset({"submit"})

    @property
    def computes(self) -> bool:
        """See `Params.computes`: what was recognised before is looked up."""
        return self.type != "cache"

    @field_validator("max_labels", "min_confidence", "nsfw_min_confidence", mode="wrap")
    @classmethod
    def _where_it_belongs(
        cls, value: Any, validate: Callable[[Any], Any], info: ValidationInfo
    ) -> int | None:
        """Require a parameter where its type does, and ignore it elsewhere."""
        kind = info.data.get("type", "")
        if info.field_name not in OWN.get(kind, ()):
            return None
        if value is None:
            raise ValueError(f"required for type {kind}")
        checked: int = validate(value)
        return checked


class CacheParams(Params):
    """See `recognized_before`."""

    apikey: str = Field("", max_length=200, description="A key of `ltu-compute apikey add`.")
    type: Literal["cache"] = Field(description="The only type for GET.")

    tolerated: ClassVar[frozenset[str]] = frozenset().union(*OWN.values())


class Coordinates(TypedDict):
    """An upright box, in shares of the image's width and height, from the top left."""

    x: float
    y: float
    width: float
    height: float


class Recognized(TypedDict):
    """Something that was recognised, wherever it is."""

    name: str
    confidence: Annotated[float, Field(description="In percent.")]
    coordinates: list[Coordinates]
    text: NotRequired[Annotated[str, Field(description="Text of a line or word.")]]


class Earlier(TypedDict):
    """Result that the key got for a picture within the hour."""

    file: Annotated[str, Field(description="SHA-256 of the file.")]
    type: str
    seconds: Annotated[int, Field(description="How long ago.")]
    objects: list[Recognized]


class RecognizeResult(TypedDict):
    """See `recognize`."""

    error: Literal[0]
    type: str
    objects: list[Recognized]
    quota: Annotated[int, Field(description="Answers left; -1: as many as you like.")]
    results: NotRequired[Annotated[list[Earlier], Field(description="Of type cache only.")]]
    note: NotRequired[
        Annotated[str, Field(description="Models that are not there, and how to install them.")]
    ]


@dialect.endpoint(
    "recognize",
    paths=("/",),
    images=(ImageField("file", "A PNG or JPEG picture.", required=False),),
    methods=("POST",),
)
def recognize(
    file: Image | None,
    params: RecognizeParams,
    exchange: Exchange,
    caller: Caller,
    recognisers: Recognisers,
) -> RecognizeResult:
    """Recognise objects, people, faces, text or unsafe content in a picture.

    An answer costs one of the key's quota; errors and `cache` cost nothing. `celebrities` names the
    people whom the operator enrolled, and nobody else. `nsfw` names what the installed models know.
    """
    keys: KeyCheck = exchange.resources[KeyCheck]
    store: Store = exchange.resources[Store]
    if params.type == "cache":
        return _cached(file, caller.credential, keys, store)
    if file is None:
        raise missing_image("file", exchange.wire)
    with keys.charge(caller.credential) as charge:
        found = _RECOGNIZERS[params.type](file, params, recognisers, store)
        quota = UNLIMITED if charge.remaining is None else charge.remaining
    text = orjson.dumps(found.objects).decode()
    try:
        store.results.keep(
            caller.credential, KeptResult(_digest(file), params.type, text, time.time())
        )
    except ServiceError as error:  # the answer was given, and paid for
        log.warning("a result was not kept: %s", error)
    result: RecognizeResult = {
        "error": 0,
        "type": params.type,
        "objects": found.objects,
        "quota": quota,
    }
    if found.missing:
        missing = found.missing
        result["note"] = (
            f"not installed: {', '.join(missing)}; to install: ltu-compute models install "
            f"{' '.join(missing)}"
        )
    return result


@dialect.endpoint("recognized_before", paths=("/",), methods=("GET",))
def recognized_before(params: CacheParams, exchange: Exchange, caller: Caller) -> RecognizeResult:
    """Return what this key got last for each picture within the hour; it costs nothing."""
    del params
    resources = exchange.resources
    return _cached(None, caller.credential, resources[KeyCheck], resources[Store])


def _cached(file: Image | None, key_id: str, keys: KeyCheck, store: Store) -> RecognizeResult:
    """Return what the key got last for each picture within the hour, or for one picture."""
    now = time.time()
    found = store.results.kept(key_id, now, "" if file is None else _digest(file))
    results: list[Earlier] = [
        {
            "file": each.picture,
            "type": each.kind,
            "seconds": max(0, round(now - each.created_at)),
            "objects": orjson.loads(each.text),
        }
        for each in found
    ]
    left = keys.remaining(key_id)
    return {
        "error": 0,
        "type": "cache",
        "objects": results[0]["objects"] if results else [],
        "quota": UNLIMITED if left is None else left,
        "results": results,
    }


def _digest(file: Image) -> str:
    return hashlib.sha256(file.content).hexdigest()


# ------------------------------------------------------------------------- recognizers


class _Found(NamedTuple):
    """Objects that were recognised, and the models that are missing for this type."""

    objects: list[Recognized]
    missing: tuple[str, ...] = ()


def _objects(
    file: Image, params: RecognizeParams, recognisers: Recognisers, store: Store
) -> _Found:
    del store
    found = recognition.detect_objects(file, recognisers, max_results=MAX_OBJECTS, provider="Local")
    least = params.min_confidence or 0
    named: dict[str, Recognized] = {}
    for each in found.objects:
        confidence = _percent(each.score)
        if confidence >= least:
            entry = named.setdefault(
                each.name, {"name": each.name, "confidence": confidence, "coordinates": []}
            )
            entry["coordinates"].append(_box(each.corners.tolist(), found.size))
    return _Found(list(named.values())[: params.max_labels], found.missing)


def _celebrities(
    file: Image, params: RecognizeParams, recognisers: Recognisers, store: Store
) -> _Found:
    del params
    named = people.name_people(file, recognisers, store)
    return _Found([_face(each.name, each) for each in named])


def _faces(file: Image, params: RecognizeParams, recognisers: Recognisers, store: Store) -> _Found:
    del params, store
    return _Found([_face("Face", each) for each in people.detect_faces(file, recognisers)])


def _face(name: str, face: people.FoundFace) -> Recognized:
    box = _box(face.corners.tolist(), face.size)
    return {"name": name, "confidence": _percent(face.score), "coordinates": [box]}


def _text(file: Image, params: RecognizeParams, recognisers: Recognisers, store: Store) -> _Found:
    del params, store
    words = read_text(file, recognisers.local()).found.words
    read: list[Recognized] = []
    for _, each in groupby(words, key=lambda word: word.line):
        line = list(each)
        points = [point for word in line for point in word.corners.tolist()]
        text = " ".join(word.text for word in line)
        confidence = sum(word.confidence for word in line) / len(line)
        read.append(_spelt("LINE", text, confidence, points, file.size))
    read += [
        _spelt("WORD", word.text, word.confidence, word.corners.tolist(), file.size)
        for word in words
    ]
    return _Found(read)


def _spelt(
    name: str, text: str, confidence: float, points: Sequence[Sequence[float]], size: Size
) -> Recognized:
    return {
        "name": name,
        "confidence": _percent(confidence),
        "coordinates": [_box(points, size)],
        "text": text,
    }


def _unsafe(file: Image, params: RecognizeParams, recognisers: Recognisers, store: Store) -> _Found:
    del store
    found = moderation.unsafe_content(file, recognisers)
    named = {EXPLICIT: found.explicit, SUGGESTIVE: found.suggestive}
    least = params.nsfw_min_confidence or 0
    return _Found(
        [
            {"name": name, "confidence": _percent(score), "coordinates": WHOLE}
            for name, score in sorted(named.items(), key=lambda item: -item[1])
            if _percent(score) >= least
        ]
    )


_RECOGNIZERS: dict[str, Callable[[Image, RecognizeParams, Recognisers, Store], _Found]] = {
    "objects": _objects,
    "celebrities": _celebrities,
    "detect_faces": _faces,
    "detect_text": _text,
    "nsfw": _unsafe,
}


def _percent(score: float) -> float:
    return round(100 * min(max(score, 0.0), 1.0), 2)


def _box(points: Sequence[Sequence[float]], size: Size) -> Coordinates:
    """Return the upright box of some points, in shares to two decimals, within the image."""
    xs = [min(max(x / size.width, 0.0), 1.0) for x, _ in points]
    ys = [min(max(y / size.height, 0.0), 1.0) for _, y in points]
    left, top = round(min(xs), 2), round(min(ys), 2)
    return {
        "x": left,
        "y": top,
        "width": round(max(xs) - left, 2),
        "height": round(max(ys) - top, 2),
    }
