"""Chapters "textDetection", "classification" and "objectDetection", and the models for them."""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    LABELS,
    STANDARD,
    TEXT_DETECTION,
    BoundingBox,
    Info,
    LtuParams,
    Vertex,
    dialect,
    single,
)
from ltu_compute.errors import BadParameters, NotInstalled, Problem, Unavailable, Unprocessable
from ltu_compute.image import Image
from ltu_compute.kernels import tesseract
from ltu_compute.kernels import text_detection as text_kernel
from ltu_compute.kernels.classification import Label, classify
from ltu_compute.kernels.object_detection import CLASSES, DetectedObject, detect_objects
from ltu_compute.kernels.types import Size
from ltu_compute.recognisers.backends import Backends
from ltu_compute.recognisers.google import RelevantLabel
from ltu_compute.recognisers.onnx import Model, Rejected
from ltu_compute.web.endpoint import Reply


def _spelt(*names: str) -> BeforeValidator:
    """Return what finds a name by any case of its letters, and leaves others as they were sent."""
    known = {name.lower(): name for name in names}
    return BeforeValidator(lambda v: known.get(v.lower(), v) if isinstance(v, str) else v)


def _listed(items: Sequence[str]) -> str:
    return ", ".join(map(repr, items))


# ----------------------------------------------------------------------- textDetection

UUID_DIGITS = 8  # as many as the vendor's sample has
VERSION = 0.1  # of the vendor's format, from its sample


def _languages(text: str) -> tuple[str, ...]:
    """Return the languages that a text lists: between commas, blanks or plus signs."""
    return tuple(dict.fromkeys(filter(None, re.split(r"[\s,;+]+", text))))


class TextDetectionParams(LtuParams):
    """See `text_detection`."""

    provider: Annotated[Literal["", "Tesseract", "Google"], _spelt("Tesseract", "Google")] = Field(
        "",
        description="Tesseract: on this machine. Google: its Cloud Vision, where the service has "
        "a key. Empty: what the service is set to, Tesseract unless it says otherwise.",
        json_schema_extra={"x-allowed": "Tesseract or Google"},
    )
    language: str = Field(
        "",
        max_length=200,
        description="What the text may be written in: ISO 639-1 or 639-2 codes, several with "
        "commas between them. Empty: any that is installed.",
        json_schema_extra={"x-allowed": "text of at most 200 characters"},
    )


class WordsInfo(TypedDict):
    """What was read in an area."""

    type: Annotated[str, Field(pattern="^words$")]
    language: Annotated[str, Field(description="ISO 639-1 where there is such a code.")]
    text: str
    confidence: Annotated[float, Field(description="How sure the provider is, 0 to 1.")]
    vertices: Annotated[
        list[Vertex],
        Field(description="Corners in px, clockwise from the word's own top left."),
    ]


class SummaryInfo(TypedDict):
    """What was read in the whole image."""

    type: Annotated[str, Field(pattern="^summary$")]
    language: Annotated[str, Field(description="Of most of the text; empty without text.")]
    text: Annotated[str, Field(description="All lines, each ended by a line feed.")]
    subarea: Annotated[list[str], Field(description="The areas, in reading order.")]
    words: Annotated[
        dict[str, list[str]], Field(description="The areas of every word, in reading order.")
    ]


class TextDetectionInfos(TypedDict):
    """Results by the name of the operation."""

    textDetection: SummaryInfo | WordsInfo


class Area(TypedDict):
    """A part of the image: ``input`` holds all text, ``output`` one word."""

    type: Literal["input", "output"]
    boundingBox: BoundingBox
    resultInfo: TextDetectionInfos


class TextImage(TypedDict):
    """The image and its areas."""

    areas: Annotated[dict[str, Area], Field(description="UUID/0: the input; UUID/n: word n.")]
    UUID: Annotated[str, Field(description="From the file's bytes: the same for the same file.")]
    version: float


class CountInfo(TypedDict):
    """How many areas there are."""

    nbAreas: Annotated[int, Field(description="The input area and the words.")]


class CountInfos(TypedDict):
    """Counts by the name of the operation."""

    textDetection: CountInfo


class TextSummary(TypedDict):
    """How it went."""

    name: str
    status: int
    message: str
    resultInfos: CountInfos


class TextDetectionResult(TypedDict):
    """See `text_detection`."""

    image: TextImage
    summary: TextSummary
    errors: Annotated[list[str], Field(max_length=0)]


class TextDetectionInfo(Info):
    """See `text_detection`."""

    provider: Literal["Tesseract", "Google"]
    rotation: Annotated[
        float, Field(description="Degrees, to a tenth, by which text is turned clockwise.")
    ]


@dialect.endpoint("textDetection", layout=TEXT_DETECTION, remote=True)
def text_detection(
    image: Image, params: TextDetectionParams, backends: Backends
) -> Reply[TextDetectionResult, TextDetectionInfo]:
    """Read what is written in the image.

    Text may be turned by any angle, small, pale, or light on dark. Boxes are in pixels of the
    original image. A word that occurs twice has both areas.
    """
    languages = _languages(params.language)
    google = params.provider == "Google" or (not params.provider and backends.google_by_default)
    if google:
        found = backends.google().text(image, languages, idle=backends.idle)
    else:
        found = _tesseract_text(image, languages)
    uuid = hashlib.sha256(image.content).hexdigest()[:UUID_DIGITS]
    names = [f"{uuid}/{number}" for number in range(1, 1 + len(found.words))]
    words: dict[str, list[str]] = {}
    for name, word in zip(names, found.words, strict=True):
        words.setdefault(word.text, []).append(name)
    points = [point for word in found.words for point in word.corners.tolist()]
    summary: SummaryInfo = {
        "type": "summary",
        "language": found.language,
        "text": f"{found.text}\n" if found.text else "",
        "subarea": names,
        "words": words,
    }
    whole = [(0, 0), (image.width - 1, image.height - 1)]
    areas: dict[str, Area] = {
        f"{uuid}/0": {
            "type": "input",
            "boundingBox": _box(points or whole, image.size),
            "resultInfo": {"textDetection": summary},
        }
    }
    areas |= {
        name: _word_area(word, image.size) for name, word in zip(names, found.words, strict=True)
    }
    result: TextDetectionResult = {
        "image": {"areas": areas, "UUID": uuid, "version": VERSION},
        "summary": {
            "name": "textDetection",
            "status": 0,
            "message": "OK",
            "resultInfos": {"textDetection": {"nbAreas": len(areas)}},
        },
        "errors": [],
    }
    provider: Literal["Tesseract", "Google"] = "Google" if google else "Tesseract"
    return Reply(result, {"provider": provider, "rotation": _rotation(found.rotation)})


def _rotation(degrees: float) -> float:
    """Return an angle to a tenth, above -180 and up to 180."""
    rounded = round(degrees, 1)
    return 180.0 if rounded == -180 else rounded + 0.0  # -0.0 is 0.0


def _tesseract_text(image: Image, languages: Sequence[str]) -> text_kernel.TextDetection:
    try:
        _refuse_missing(languages)
        return text_kernel.detect_text(image.full(), languages=languages)
    except text_kernel.TesseractMissing as error:
        raise NotInstalled(
            f"provider: Tesseract is not installed on the service's machine ({error}); install "
            "the package tesseract-ocr and those of its languages, such as tesseract-ocr-fra",
            parameter="provider",
        ) from error
    except text_kernel.TesseractTimedOut as error:
        raise Unprocessable(
            f"{image.name}: too dense to be read in {tesseract.TIMEOUT_SECONDS:g} s; send a part "
            "of it, or a smaller one",
            parameter=image.name,
        ) from error
    except text_kernel.TesseractFailed as error:
        raise Unavailable(f"{image.name}: {error}", parameter=image.name, retry_after=60) from error


def _refuse_missing(languages: Sequence[str]) -> None:
    """Refuse languages that cannot be read, all of them at once."""
    missing = []
    for language in languages:
        try:
            tesseract.names_of([language])
        except text_kernel.LanguageMissing:
            missing.append(language)
    if missing:
        installed = ", ".join(text_kernel.installed_languages())
        told = f"language: received {_listed(missing)}, installed: {installed}"
        raise BadParameters(Problem("language", told))


def _word_area(word: text_kernel.Word, size: Size) -> Area:
    corners = word.corners.tolist()
    return {
        "type": "output",
        "boundingBox": _box(corners, size),
        "resultInfo": {
            "textDetection": {
                "type": "words",
                "language": word.language,
                "text": word.text,
                "confidence": word.confidence,
                "vertices": [{"x": round(x), "y": round(y)} for x, y in corners],
            }
        },
    }


def _box(points: Sequence[Sequence[float]], size: Size) -> BoundingBox:
    """Return the upright box, within the image, of the pixels that points are the centres of."""
    left, top = (math.floor(min(values) + 0.5) for values in zip(*points, strict=True))
    right, bottom = (math.floor(max(values) + 0.5) for values in zip(*points, strict=True))
    left, right = (min(max(x, 0), size.width - 1) for x in (left, right))
    top, bottom = (min(max(y, 0), size.height - 1) for y in (top, bottom))
    return {"x": left, "y": top, "width": right - left + 1, "height": bottom - top + 1}


# ---------------------------------------------------- classification, objectDetection

MAX_OBJECTS = 1000  # that may be asked for
WORKING_SIZE = 1600  # px; the detectors look at no more detail (kernels.object_detection)
OBJECT_SCORES = "calibrated: of what scores 0.8, about 8 in 10 are right"
LABEL_SCORES = f"{OBJECT_SCORES}; of colours: the share of the picture that they fill"
MODEL_SCORES = "the model's own"
GOOGLE_SCORES = "Google's own"


class RecognitionParams(LtuParams):
    """What `classification` and `object_detection` have in common."""

    provider: Annotated[Literal["", "Local", "Google"], _spelt("Local", "Google")] = Field(
        "",
        description="Local: on this machine. Google: its Cloud Vision, where the service has a "
        "key. Empty: what the service is set to, Local unless it says otherwise.",
        json_schema_extra={"x-allowed": "Local or Google"},
    )
    model: str = Field(
        "",
        max_length=64,
        description="A model that is installed on the service, listed by `GET models`. Empty: "
        "the service's own means.",
        json_schema_extra={"x-allowed": "text of at most 64 characters"},
    )
    min_score: float = Field(
        0,
        ge=0,
        le=1,
        description="Least score given; that of a model's own settings counts if it is higher.",
    )

    @field_validator("model")
    @classmethod
    def _is_local(cls, model: str, info: ValidationInfo) -> str:
        if model and info.data.get("provider") == "Google":
            raise ValueError("which is not Google's; leave out provider or model")
        return model

    def asks_google(self, backends: Backends) -> bool:
        """Tell whether Google is to answer."""
        if self.provider:
            return self.provider == "Google"
        return backends.google_by_default and not self.model


class RecognitionInfo(Info):
    """Who has answered, and what its scores mean."""

    provider: Literal["Local", "Google"]
    model: Annotated[str, Field(description="The installed model; empty: the service's own means.")]
    scores: Annotated[str, Field(description="What the scores mean.")]


def _info(params: RecognitionParams, own_scores: str, *, google: bool) -> RecognitionInfo:
    scores = GOOGLE_SCORES if google else MODEL_SCORES if params.model else own_scores
    return {
        "provider": "Google" if google else "Local",
        "model": params.model,
        "scores": scores,
    }


class ClassificationParams(RecognitionParams):
    """See `classification`."""

    max_results: int = Field(10, ge=1, le=10, description="How many labels, at the most.")


class LabelAnnotation(TypedDict):
    """What an image shows or is."""

    score: Annotated[float, Field(description="Probability, 0 to 1.")]
    topicality: Annotated[float, Field(description="Google's; of others the same as score.")]
    mid: Annotated[str, Field(description="Open Images' id; empty where there is none.")]
    description: str


class ClassificationResult(TypedDict):
    """See `classification`."""

    labelAnnotations: Annotated[list[LabelAnnotation], Field(description="Best first.")]


@dialect.endpoint("classification", layout=LABELS, remote=True)
def classification(
    image: Image, params: ClassificationParams, backends: Backends
) -> Reply[ClassificationResult, RecognitionInfo]:
    """Tell what kind of image it is and what it shows.

    The service's own labels are those that classical descriptors can tell: the README has a table
    of them and of their errors. A model of your own, or Google, tells others.
    """
    google = params.asks_google(backends)
    labels: Sequence[Label]
    if google:
        labels = backends.google().labels(image, max_results=params.max_results, idle=backends.idle)
    elif params.model:
        model = backends.models.find(params.model, "classification")
        pixels = image.fit(model.working_size)
        labels = model.classify(pixels, max_results=params.max_results, idle=backends.idle)
    else:
        labels = classify(image.fit(WORKING_SIZE), max_results=params.max_results)
    kept = [label for label in labels if single(label.score) >= params.min_score]
    annotations: list[LabelAnnotation] = [
        {
            "score": single(label.score),
            "topicality": single(
                label.topicality if isinstance(label, RelevantLabel) else label.score
            ),
            "mid": label.mid,
            "description": label.description,
        }
        for label in kept[: params.max_results]
    ]
    return Reply({"labelAnnotations": annotations}, _info(params, LABEL_SCORES, google=google))


class ObjectDetectionParams(RecognitionParams):
    """See `object_detection`."""

    max_results: int = Field(
        100, ge=1, le=MAX_OBJECTS, description="How many objects, at the most."
    )
    classes: str = Field(
        "",
        max_length=2000,
        description="Names or mids of the classes to look for, with commas between them, "
        "whatever their case. Empty: all.",
        json_schema_extra={"x-allowed": "text of at most 2000 characters"},
    )

    @property
    def wanted(self) -> list[str]:
        """The classes asked for."""
        return [name for name in (part.strip() for part in self.classes.split(",")) if name]


class NormalizedVertex(TypedDict):
    """A point, in shares of the image's height and width."""

    y: Annotated[float, Field(ge=0, le=1)]
    x: Annotated[float, Field(ge=0, le=1)]


class BoundingPoly(TypedDict):
    """Where an object is."""

    normalizedVertices: Annotated[
        list[NormalizedVertex],
        Field(min_length=4, max_length=4, description="Clockwise from the top left."),
    ]


class LocalizedObjectAnnotation(TypedDict):
    """An object."""

    score: Annotated[float, Field(description="Probability, 0 to 1.")]
    mid: Annotated[str, Field(description="Open Images' id; empty where there is none.")]
    boundingPoly: BoundingPoly
    name: str
    text: NotRequired[Annotated[str, Field(description="What a QR code or barcode holds.")]]


class ObjectDetectionResult(TypedDict):
    """See `object_detection`."""

    localizedObjectAnnotations: Annotated[
        list[LocalizedObjectAnnotation], Field(description="Best first.")
    ]


@dialect.endpoint("objectDetection", layout=LABELS, remote=True)
def object_detection(
    image: Image, params: ObjectDetectionParams, backends: Backends
) -> Reply[ObjectDetectionResult, RecognitionInfo]:
    """Find objects and tell where they are.

    The service's own detectors are classical: the README has a table of what they find and how
    well. QR codes and barcodes carry their content in `text`. A model of your own, or Google,
    finds other things.
    """
    google = params.asks_google(backends)
    objects: Sequence[DetectedObject]
    size = image.size
    if google:
        wanted = {name.casefold() for name in params.wanted}
        most = MAX_OBJECTS if wanted else params.max_results  # others are sorted out afterwards
        found = backends.google().objects(image, max_results=most, idle=backends.idle)
        objects = [o for o in found if not wanted or {o.name.casefold(), o.mid.casefold()} & wanted]
    elif params.model:
        model = backends.models.find(params.model, "detection")
        labels = {label.name: label.mid for label in model.manifest.classes}
        pixels = image.fit(model.working_size)
        size = Size(pixels.shape[1], pixels.shape[0])
        objects = model.detect(
            pixels,
            classes=_classes(params.wanted, labels),
            max_results=params.max_results,
            idle=backends.idle,
        )
    else:
        pixels = image.fit(WORKING_SIZE)
        size = Size(pixels.shape[1], pixels.shape[0])
        objects = detect_objects(
            pixels,
            classes=_classes(params.wanted, dict(CLASSES)),
            max_results=params.max_results,
        )
    kept = [o for o in objects if single(o.score) >= params.min_score][: params.max_results]
    annotations = [_annotation(detected, size) for detected in kept]
    info = _info(params, OBJECT_SCORES, google=google)
    return Reply({"localizedObjectAnnotations": annotations}, info)


def _classes(wanted: Sequence[str], known: dict[str, str]) -> set[str] | None:
    """Return the names of the classes that are asked for by name or mid, ``None`` for all.

    Raises
    ------
    BadParameters
        Some of them are not known; the message lists those, and those that are.
    """
    if not wanted:
        return None
    named = {mid.casefold(): name for name, mid in known.items() if mid}
    named |= {name.casefold(): name for name in known}
    unknown = [name for name in wanted if name.casefold() not in named]
    if unknown:
        raise BadParameters(
            Problem("classes", f"classes: received {_listed(unknown)}, known: {', '.join(known)}")
        )
    return {named[name.casefold()] for name in wanted}


def _annotation(detected: DetectedObject, size: Size) -> LocalizedObjectAnnotation:
    vertices: list[NormalizedVertex] = [
        {"y": _share(y, size.height), "x": _share(x, size.width)}
        for x, y in detected.corners.tolist()
    ]
    annotation: LocalizedObjectAnnotation = {
        "score": single(detected.score),
        "mid": detected.mid,
        "boundingPoly": {"normalizedVertices": vertices},
        "name": detected.name,
    }
    if detected.text:
        annotation["text"] = detected.text
    return annotation


def _share(coordinate: float, side: int) -> float:
    return single(min(max(coordinate / side, 0.0), 1.0))


# ------------------------------------------------------------------------------ models


class ModelInput(TypedDict):
    """What a model takes."""

    width: int
    height: int
    layout: str
    channels: str
    resize: str


class InstalledModel(TypedDict):
    """A model that can be used."""

    name: str
    task: str
    decoder: str
    labels: Annotated[int, Field(description="How many classes it knows.")]
    input: ModelInput
    opset: Annotated[int, Field(description="Version of ONNX's operators.")]


class FailedModel(TypedDict):
    """A model that cannot be used."""

    name: str
    reason: str


class ModelsResult(TypedDict):
    """See `models`."""

    models: list[InstalledModel]
    failed: list[FailedModel]


@dialect.endpoint("models", layout=STANDARD, images=(), methods=("GET",))
def models(backends: Backends) -> Reply[ModelsResult, Info]:
    """List the models of your own: those installed, and why others are not usable.

    They are what `model` of `classification` and `objectDetection` selects from, as they were when
    the service started.
    """
    found = backends.models.all()
    return Reply(
        {
            "models": [_installed(model) for model in found if isinstance(model, Model)],
            "failed": [
                {"name": model.name, "reason": model.reason}
                for model in found
                if isinstance(model, Rejected)
            ],
        },
        {},
    )


def _installed(model: Model) -> InstalledModel:
    declared: Any = model.manifest.input
    width, height = declared.size
    return {
        "name": model.name,
        "task": model.manifest.task,
        "decoder": model.manifest.decoder,
        "labels": len(model.manifest.classes),
        "input": {
            "width": width,
            "height": height,
            "layout": declared.layout,
            "channels": declared.channels,
            "resize": model.manifest.resize,
        },
        "opset": model.contract.opset,
    }
