"""Detection, classification and OCR of one picture, answered at once."""

import math
import time
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.dialects.techsolut import predefined
from ltu_compute.dialects.techsolut.interface import dialect
from ltu_compute.image import Image
from ltu_compute.jobs import detection
from ltu_compute.jobs.detection import DetectionJob, Detections, FoundObject
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.text_detection import Word
from ltu_compute.kernels.types import Size
from ltu_compute.operations import recognition
from ltu_compute.operations.recognition import MAX_OBJECTS
from ltu_compute.operations.text import Line, lines_of, read_text
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx.manifest import coco_mids, open_images_names
from ltu_compute.store.names import NAME_LENGTH
from ltu_compute.web.dialect import Caller
from ltu_compute.web.endpoint import Flag, ImageField, Params

IMAGE = ImageField("image", "The picture; a multipart body may call it `file`.", also=("file", 0))
MOST_CLASSES = 1000  # that a filter may name
CLASS_LENGTH = 200  # characters of a class's name
MOST_LABELS = 1000  # that may be asked for
CONFIDENCE_DIGITS = 4  # decimals of a confidence
BOX_DIGITS = 2  # decimals of a box's px
SECONDS_DIGITS = 3  # decimals of a time

Confidence = Annotated[float, Field(ge=0, le=1)]


class DetectParams(Params):
    """See `detect`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"classes"})
    parted: ClassVar[frozenset[str]] = repeated

    confidence: float = Field(0.25, ge=0, le=1, description="Least confidence of a detection.")
    model: str = Field(
        predefined.DETECTION_DEFAULT,
        max_length=NAME_LENGTH,
        description="A model that `GET /v1/models` lists, or yolov8x or yolov8n, for which the "
        "best installed one answers.",
    )
    classes: list[Annotated[str, Field(max_length=CLASS_LENGTH)]] = Field(
        default=[],
        max_length=MOST_CLASSES,
        description="Classes to look for, whatever their case; in a form with commas between "
        "them. Default: all.",
    )
    max_detections: int = Field(100, ge=1, le=MAX_OBJECTS, description="How many at most.")

    def job(self, recognisers: Recognisers, caller: Caller) -> DetectionJob:
        """Return what is to be computed for a caller."""
        model = predefined.chosen(self.model, "detection", recognisers)
        return DetectionJob(
            account_id=caller.account.id,
            model=model,
            confidence=self.confidence,
            classes=tuple(self.classes),
            max_detections=self.max_detections,
        )


class PixelBox(TypedDict):
    """An upright box, in px of the picture as it was sent."""

    x1: float
    y1: float
    x2: float
    y2: float


Detection = TypedDict(
    "Detection", {"class": str, "confidence": Confidence, "box": PixelBox, "text": NotRequired[str]}
)
Detection.__doc__ = "An object; `text` is what a code says."


class DetectResult(TypedDict):
    """See `detect`."""

    success: Literal[True]
    detections: Annotated[list[Detection], Field(description="Most confident first.")]
    processing_time: Annotated[float, Field(ge=0, description="In seconds.")]
    model: Annotated[str, Field(description="The model that answered.")]


@dialect.endpoint("detect", paths=("/detect",), images=(IMAGE,), methods=("POST",))
def detect(
    image: Image,
    params: DetectParams,
    *,
    recognisers: Recognisers,
    keys: KeyCheck,
    caller: Caller,
) -> DetectResult:
    """Find objects in a picture.

    Confidences of the service's own detectors are calibrated: of what has 0.8, about 8 in 10 are
    right. Their classes have COCO's names where COCO has them.
    """
    with keys.charge(caller.credential):
        job = params.job(recognisers, caller)
        return detect_result(detection.detect(image, job, recognisers))


def detect_result(found: Detections) -> DetectResult:
    """Return what was found in a picture as the vendor words it."""
    own = predefined.COMBINED_DETECTOR if found.installed else predefined.CLASSICAL_DETECTOR
    return {
        "success": True,
        "detections": [_detection(each, own=not found.model) for each in found.objects],
        "processing_time": round(found.seconds, SECONDS_DIGITS),
        "model": found.model or own,
    }


def _detection(found: FoundObject, *, own: bool) -> Detection:
    left, top, right, bottom = (round(value, BOX_DIGITS) for value in found.box)
    detected: Detection = {
        "class": class_name(found.name, found.mid) if own else found.name,
        "confidence": _rounded(found.score),
        "box": {"x1": left, "y1": top, "x2": right, "y2": bottom},
    }
    if found.text:
        detected["text"] = found.text
    return detected


def class_name(name: str, mid: str) -> str:
    """Return what the vendor calls a class: COCO's name where it has one, lower case elsewhere."""
    if open_images_names().get(mid) == name:
        return _coco_names()[mid]
    return name.lower()


def _coco_names() -> dict[str, str]:
    return {mid: name for name, mid in coco_mids().items()}


def _rounded(score: float) -> float:
    return round(min(max(score, 0.0), 1.0), CONFIDENCE_DIGITS)


# ------------------------------------------------------------------------- classification


class ClassifyParams(Params):
    """See `classify`."""

    top_k: int = Field(5, ge=1, le=MOST_LABELS, description="How many labels at most.")
    model: str = Field(
        predefined.CLASSIFICATION_DEFAULT,
        max_length=NAME_LENGTH,
        description="A model that `GET /v1/models` lists, or resnet101, for which the best "
        "installed one answers.",
    )


class Classification(TypedDict):
    """A label of a picture."""

    label: str
    confidence: Confidence


class ClassifyResult(TypedDict):
    """See `classify`."""

    success: Literal[True]
    classifications: Annotated[list[Classification], Field(description="Most confident first.")]
    processing_time: Annotated[float, Field(ge=0, description="In seconds.")]
    model: Annotated[str, Field(description="The model that answered.")]


@dialect.endpoint("classify", paths=("/classify",), images=(IMAGE,), methods=("POST",))
def classify(
    image: Image,
    params: ClassifyParams,
    *,
    recognisers: Recognisers,
    keys: KeyCheck,
    caller: Caller,
) -> ClassifyResult:
    """Label a picture by what it shows.

    If no classifier is installed, classical descriptors answer: they know kinds of pictures,
    colours and a few objects.
    """
    with keys.charge(caller.credential):
        began = time.perf_counter()
        model = predefined.chosen(params.model, "classification", recognisers)
        found = recognition.classify(
            image, recognisers, max_results=MOST_LABELS, provider="Local", model=model
        )
        lower = predefined.is_known(model, recognisers)
        labels = _named_once(found.labels, lower=lower)[: params.top_k]
        return {
            "success": True,
            "classifications": labels,
            "processing_time": round(time.perf_counter() - began, SECONDS_DIGITS),
            "model": found.model or predefined.own(recognisers, "classification"),
        }


def _named_once(labels: Sequence[Label], *, lower: bool) -> list[Classification]:
    """Return labels, each name once; ImageNet has a few names for two classes, which add up."""
    chances: dict[str, float] = {}
    for each in labels:
        name = each.description.lower() if lower else each.description
        chances[name] = chances.get(name, 0.0) + each.score
    best = sorted(chances.items(), key=lambda item: -item[1])
    return [{"label": name, "confidence": _rounded(chance)} for name, chance in best]


# ------------------------------------------------------------------------------------ OCR


class OcrParams(Params):
    """See `ocr`."""

    language: str = Field(
        "auto",
        max_length=20,
        description="Primary language of the text, as its ISO 639-1 code; auto: any that is "
        "installed.",
    )
    detailed: Flag = Field(
        False, description="Also give the lines' polygons, and their words with confidences."
    )


Polygon = Annotated[
    list[Annotated[list[float], Field(min_length=2, max_length=2)]],
    Field(min_length=4, max_length=4, description="Corners, clockwise from the text's top left."),
]


class WordElement(TypedDict):
    """A word of a line."""

    text: str
    confidence: Confidence
    box: PixelBox
    polygon: Polygon


class LineElement(TypedDict):
    """A line of text."""

    text: str
    confidence: Confidence
    box: PixelBox
    polygon: NotRequired[Polygon]
    words: NotRequired[list[WordElement]]


class OcrResult(TypedDict):
    """See `ocr`."""

    success: Literal[True]
    text: Annotated[str, Field(description="All lines, with line feeds between them.")]
    elements: list[LineElement]
    language: Annotated[
        str, Field(description="Language that was read, ISO 639-1; empty without text.")
    ]
    processing_time: Annotated[float, Field(ge=0, description="In seconds.")]


@dialect.endpoint("ocr", paths=("/ocr",), images=(IMAGE,), methods=("POST",))
def ocr(
    image: Image,
    params: OcrParams,
    *,
    recognisers: Recognisers,
    keys: KeyCheck,
    caller: Caller,
) -> OcrResult:
    """Read the text in a picture, line by line.

    Text may be turned by any angle, small, pale, or light on dark.
    """
    with keys.charge(caller.credential):
        began = time.perf_counter()
        language = params.language.lower()
        languages = () if language == "auto" else (language,)
        found = read_text(image, recognisers.local(), languages=languages).found
        lines = lines_of(found)
        return {
            "success": True,
            "text": found.text,
            "elements": [_line(line, image.size, detailed=params.detailed) for line in lines],
            "language": found.language,
            "processing_time": round(time.perf_counter() - began, SECONDS_DIGITS),
        }


def _line(line: Line, size: Size, *, detailed: bool) -> LineElement:
    points = [point for word in line.words for point in word.corners.tolist()]
    element: LineElement = {
        "text": line.text,
        "confidence": _rounded(line.confidence),
        "box": _whole_box(points, size),
    }
    if detailed:
        element["polygon"] = _polygon(line.corners.tolist())
        element["words"] = [_word(word, size) for word in line.words]
    return element


def _word(word: Word, size: Size) -> WordElement:
    corners = word.corners.tolist()
    return {
        "text": word.text,
        "confidence": _rounded(word.confidence),
        "box": _whole_box(corners, size),
        "polygon": _polygon(corners),
    }


def _polygon(corners: Sequence[Sequence[float]]) -> Polygon:
    return [[round(x, BOX_DIGITS), round(y, BOX_DIGITS)] for x, y in corners]


def _whole_box(points: Sequence[Sequence[float]], size: Size) -> PixelBox:
    """Return the box, within the picture, of the pixels that points are the centres of."""
    (left, right), (top, bottom) = (
        (math.floor(min(values) + 0.5), math.floor(max(values) + 1.5))
        for values in zip(*points, strict=True)
    )
    return {
        "x1": min(max(left, 0), size.width),
        "y1": min(max(top, 0), size.height),
        "x2": min(max(right, 0), size.width),
        "y2": min(max(bottom, 0), size.height),
    }
