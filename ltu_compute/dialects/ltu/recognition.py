"""Chapters "textDetection", "classification" and "objectDetection", and the models for them.

They share provider, model and scores; most of the module declares parameters and replies.
"""

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
    Reply,
    Vertex,
    dialect,
    single,
)
from ltu_compute.image import Image
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.text_detection import Word
from ltu_compute.kernels.types import Size
from ltu_compute.operations import recognition
from ltu_compute.operations.recognition import MAX_OBJECTS, FoundLabels, FoundObjects
from ltu_compute.operations.text import MAX_WORDS, read_text, readable_languages
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.google import RelevantLabel
from ltu_compute.recognisers.onnx import INSTALL, Model, Rejected
from ltu_compute.store import Store
from ltu_compute.store.custom_models import CustomModel
from ltu_compute.store.names import NAME_LENGTH
from ltu_compute.web.dialect import Caller


def _spelt(*names: str) -> BeforeValidator:
    """Return what finds a name by any case of its letters, and leaves others as they were sent."""
    known = {name.lower(): name for name in names}
    return BeforeValidator(lambda v: known.get(v.lower(), v) if isinstance(v, str) else v)


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
        description="Languages of the text: ISO 639-1 or 639-2 codes, several with "
        "commas between them. Empty: any that is installed.",
        json_schema_extra={"x-allowed": "text of at most 200 characters"},
    )


class WordsInfo(TypedDict):
    """Text read in an area."""

    type: Annotated[str, Field(pattern="^words$")]
    language: Annotated[str, Field(description="ISO 639-1 where there is such a code.")]
    text: str
    confidence: Annotated[float, Field(description="How sure the provider is, 0 to 1.")]
    vertices: Annotated[
        list[Vertex],
        Field(description="Corners in px, clockwise from the word's own top left."),
    ]


class SummaryInfo(TypedDict):
    """Text read in the whole image."""

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

    provider: Literal["Tesseract", "PP-OCR", "Google"]
    rotation: Annotated[
        float, Field(description="Degrees, to a tenth, by which text is turned clockwise.")
    ]
    note: NotRequired[
        Annotated[str, Field(description="How many words are left out, of more than 10,000.")]
    ]


@dialect.operation("textDetection", layout=TEXT_DETECTION, remote=True)
def text_detection(
    image: Image, params: TextDetectionParams, recognisers: Recognisers
) -> Reply[TextDetectionResult, TextDetectionInfo]:
    """Read what is written in the image.

    Text may be turned by any angle, small, pale, or light on dark. Boxes are in pixels of the
    original image. A word that occurs twice has both areas.
    """
    languages = _languages(params.language)
    read = read_text(image, recognisers, languages=languages, provider=params.provider)
    found = read.found
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
    info: TextDetectionInfo = {
        "provider": read.provider,
        "rotation": _rotation(found.rotation),
    }
    if read.left_out:
        info["note"] = (
            f"{read.left_out + MAX_WORDS} words were read; listed are the first {MAX_WORDS}"
        )
    return Reply(result, info)


def _rotation(degrees: float) -> float:
    """Return an angle to a tenth, above -180 and up to 180."""
    rounded = round(degrees, 1)
    return 180.0 if rounded == -180 else rounded + 0.0  # -0.0 is 0.0


def _word_area(word: Word, size: Size) -> Area:
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

OBJECT_SCORES = "calibrated: of what scores 0.8, about 8 in 10 are right"
LABEL_SCORES = f"{OBJECT_SCORES}; of colours: the share of the picture that they fill"
MODEL_SCORES = "the model's own"
GOOGLE_SCORES = "Google's own"


class RecognitionParams(LtuParams):
    """Common parameters of `classification` and `object_detection`."""

    provider: Annotated[Literal["", "Local", "Google"], _spelt("Local", "Google")] = Field(
        "",
        description="Local: on this machine. Google: its Cloud Vision, where the service has a "
        "key. Empty: what the service is set to, Local unless it says otherwise.",
        json_schema_extra={"x-allowed": "Local or Google"},
    )
    model: str = Field(
        "",
        max_length=NAME_LENGTH,
        description="A model that `GET models` lists: the name of an installed one, or the id or "
        "name of one that the account has trained. Empty: the service's own means.",
        json_schema_extra={"x-allowed": f"text of at most {NAME_LENGTH} characters"},
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


class RecognitionInfo(Info):
    """Who has answered, and what its scores mean."""

    provider: Literal["Local", "Google"]
    model: Annotated[str, Field(description="The installed model; empty: the service's own means.")]
    scores: Annotated[str, Field(description="Meaning of the scores.")]
    note: NotRequired[
        Annotated[
            str, Field(description="Which models are not installed, and how to install them.")
        ]
    ]
    missing: NotRequired[Annotated[list[str], Field(description="The models of note.")]]


def _info(found: FoundLabels | FoundObjects, own_scores: str) -> RecognitionInfo:
    google = found.provider == "Google"
    scores = GOOGLE_SCORES if google else MODEL_SCORES if found.model else own_scores
    info: RecognitionInfo = {"provider": found.provider, "model": found.model, "scores": scores}
    if found.missing:
        info["note"] = f"not installed: {', '.join(found.missing)}; {INSTALL}"
        info["missing"] = list(found.missing)
    return info


class ClassificationParams(RecognitionParams):
    """See `classification`."""

    max_results: int = Field(10, ge=1, le=10, description="How many labels, at the most.")


class LabelAnnotation(TypedDict):
    """A label of an image."""

    score: Annotated[float, Field(description="Probability, 0 to 1.")]
    topicality: Annotated[float, Field(description="Google's; of others the same as score.")]
    mid: Annotated[str, Field(description="Open Images' id; empty where there is none.")]
    description: str


class ClassificationResult(TypedDict):
    """See `classification`."""

    labelAnnotations: Annotated[list[LabelAnnotation], Field(description="Best first.")]


@dialect.operation("classification", layout=LABELS, remote=True)
def classification(
    image: Image, params: ClassificationParams, recognisers: Recognisers
) -> Reply[ClassificationResult, RecognitionInfo]:
    """Return what kind of image it is and what it shows.

    Without models, the labels are those of classical descriptors: the page on recognition has a
    table of them and of their errors. Models of your own, or Google, have others.
    """
    found = recognition.classify(
        image,
        recognisers,
        max_results=params.max_results,
        provider=params.provider,
        model=params.model,
    )
    kept = [label for label in found.labels if single(label.score) >= params.min_score]
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
    return Reply({"labelAnnotations": annotations}, _info(found, LABEL_SCORES))


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
    text: NotRequired[Annotated[str, Field(description="Content of a QR code or barcode.")]]


class ObjectDetectionResult(TypedDict):
    """See `object_detection`."""

    localizedObjectAnnotations: Annotated[
        list[LocalizedObjectAnnotation], Field(description="Best first.")
    ]


@dialect.operation("objectDetection", layout=LABELS, remote=True)
def object_detection(
    image: Image, params: ObjectDetectionParams, recognisers: Recognisers
) -> Reply[ObjectDetectionResult, RecognitionInfo]:
    """Find objects and their places.

    Without models, the detectors are classical: the page on recognition has a table of what they
    find and how well. QR codes and barcodes have their content in `text`. Models of your own, or
    Google, find other things.
    """
    found = recognition.detect_objects(
        image,
        recognisers,
        max_results=params.max_results,
        classes=params.wanted,
        provider=params.provider,
        model=params.model,
    )
    kept = [o for o in found.objects if single(o.score) >= params.min_score]
    annotations = [_annotation(detected, found.size) for detected in kept]
    info = _info(found, OBJECT_SCORES)
    return Reply({"localizedObjectAnnotations": annotations}, info)


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
    """Input of a model."""

    width: int
    height: int
    layout: str
    channels: str
    resize: str


class InstalledModel(TypedDict):
    """A model that can be used."""

    name: str
    own: Annotated[bool, Field(description="Your own; else `models install` has installed it.")]
    task: str
    decoder: str
    labels: Annotated[int, Field(description="How many classes it knows.")]
    input: ModelInput
    opset: Annotated[int, Field(description="Version of ONNX's operators.")]


class AccountModel(TypedDict):
    """A model that the account has trained."""

    id: str
    name: Annotated[str, Field(description="`model` takes it, or the id.")]
    task: Literal["classification", "detection"]
    labels: Annotated[int, Field(description="How many classes it knows.")]
    version: Annotated[int, Field(ge=1, description="How often it was trained.")]


class FailedModel(TypedDict):
    """A model that cannot be used."""

    name: str
    reason: str


class ModelsResult(TypedDict):
    """See `models`."""

    models: list[InstalledModel]
    trained: Annotated[
        list[AccountModel], Field(description="Of the account, the newest first; others see none.")
    ]
    failed: list[FailedModel]
    missing: Annotated[
        list[str],
        Field(
            description="Models of the default set that are not there; `info.note` says how to "
            "install them."
        ),
    ]
    providers: Annotated[
        list[str], Field(description="Values of `provider`. Google only where it is enabled.")
    ]
    languages: Annotated[
        list[str], Field(description="Languages that text is read in on this machine.")
    ]


class ModelsInfo(Info):
    """How to install what is missing."""

    note: NotRequired[str]


@dialect.operation("models", layout=STANDARD, images=(), methods=("GET",))
def models(
    recognisers: Recognisers, store: Store, caller: Caller
) -> Reply[ModelsResult, ModelsInfo]:
    """List the models: installed, trained by the account, not usable with the reason, and missing.

    Those for classification and detection are what `model` of `classification` and
    `objectDetection` selects from. Installed models are listed as they were when the service
    started. Providers and languages of text are listed, too.
    """
    _, made = store.custom_models.page(caller.account.id)
    found = recognisers.models.all()
    missing = recognisers.models.missing()
    return Reply(
        {
            "models": [_installed(model) for model in found if isinstance(model, Model)],
            "trained": [_trained(model) for model in made if model.version],
            "failed": [
                {"name": model.name, "reason": model.reason}
                for model in found
                if isinstance(model, Rejected)
            ],
            "missing": missing,
            "providers": ["Local", *(["Google"] if recognisers.vision else [])],
            "languages": readable_languages(),
        },
        {"note": INSTALL} if missing else {},
    )


def _trained(model: CustomModel) -> AccountModel:
    return {
        "id": model.id,
        "name": model.name,
        "task": model.kind.value,
        "labels": len(model.trained_classes),
        "version": model.version,
    }


def _installed(model: Model) -> InstalledModel:
    declared: Any = model.manifest.input
    width, height = declared.size
    return {
        "name": model.name,
        "own": not model.known,
        "task": model.manifest.task,
        "decoder": model.manifest.read_as,
        "labels": len(model.manifest.classes),
        "input": {
            "width": width,
            "height": height,
            "layout": declared.layout,
            "channels": declared.channels,
            "resize": model.manifest.resize,
        },
        "opset": model.opset,
    }
