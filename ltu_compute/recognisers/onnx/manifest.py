"""``model.yaml``: what a model is for, what it takes and how its outputs are read."""

import csv
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ltu_compute.recognisers.onnx import worker
from ltu_compute.recognisers.onnx.session import ModelError

MAX_BYTES = 1 << 20
MAX_SIDE = 4096  # px of an input
IMAGENET_CLASSES = 1000
COCO_IDS = 90
COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})  # ids without pictures

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Level = Annotated[int, Field(ge=0, le=255)]
Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(_Strict):
    """How a picture becomes the model's input: (pixel · scale - mean) / std, a channel at a time.

    Attributes
    ----------
    size : tuple of int
        Width and height, in px.
    multiple : int, optional
        For a letterbox in a model whose sides are free: width and height are the least multiples
        of so many px that hold the picture, `size` at the most. Bars take time and show nothing.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    channels : {"RGB", "BGR", "GRAY"}
        Order of the channels.
    resize : {"letterbox", "stretch", "crop"}, optional
        The whole picture with bars beside it, the whole picture distorted, or the central part
        that has the input's aspect. Default: letterbox for detection, crop for classification.
    align : {"center", "corner"}
        Where a letterbox has the picture: in the middle, or at the top left.
    padding : int or tuple of int
        Level of a letterbox's bars: grey, or one a channel, in the order of `channels`.
    scale : float
        Factor on the grey levels 0 to 255.
    mean, std : tuple of float
        One a channel, or one for all.
    """

    size: tuple[Side, Side]
    multiple: Side | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    resize: Literal["letterbox", "stretch", "crop"] | None = None
    align: Literal["center", "corner"] = "center"
    padding: Level | tuple[Level, Level, Level] = 114
    scale: Positive = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[Positive, ...] = (1.0,)

    @property
    def depth(self) -> int:
        """Number of channels."""
        return 1 if self.channels == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor."""
        width, height = self.size
        if self.layout == "NHWC":
            return 1, height, width, self.depth
        return 1, self.depth, height, width

    @model_validator(mode="after")
    def _one_a_channel(self) -> Self:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.depth):
                raise ValueError(f"{name} must hold 1 or {self.depth} numbers")
        return self

    @model_validator(mode="after")
    def _multiple_fits_size(self) -> Self:
        if self.multiple and any(side % self.multiple for side in self.size):
            raise ValueError(f"multiple: {self.multiple} does not divide the size {self.size}")
        return self


class ClassLabel(_Strict):
    """A class: what it is called, and its Open Images mid ("" where it has none)."""

    name: str = Field(min_length=1, max_length=200)
    mid: str = Field("", max_length=50)


class SsdOutputs(_Strict):
    """The outputs of an SSD by their names: each (1, N, ...) or (N, ...).

    Attributes
    ----------
    boxes, classes, scores : str
        Names of the outputs.
    box_order : {"yxyx", "xyxy"}
        Order of a box's numbers: top, left, bottom, right; or left, top, right, bottom.
    normalized : bool
        Whether they are shares of the input's sides, or px of the input.
    first_class : int
        The class number of the first label; those below it are background.
    """

    boxes: str = "detection_boxes"
    classes: str = "detection_classes"
    scores: str = "detection_scores"
    box_order: Literal["yxyx", "xyxy"] = "yxyx"
    normalized: bool = True
    first_class: int = Field(1, ge=0)


Task = Literal["classification", "detection", "embedding", "points", "mask", "text"]
Decoder = Literal["softmax", "yolov8", "yolox", "nanodet", "ssd", "values"]

DECODERS: dict[Task, tuple[Decoder, ...]] = {
    "classification": ("softmax",),
    "detection": ("yolov8", "yolox", "nanodet", "ssd"),
    "embedding": ("values",),
    "points": ("values",),
    "mask": ("values",),
    "text": ("values",),
}
"""How the outputs of each task may be read; the first one where a manifest names none."""

LABELLED = ("classification", "detection")
"""Tasks of models that have classes."""


class Manifest(_Strict):
    """The content of a ``model.yaml``.

    Attributes
    ----------
    task : {"classification", "detection", "embedding", "points", "mask", "text"}
        Its purpose. Models of the last four serve an operation of the service, by their name;
        requests select the first two.
    input : Input
        What it takes.
    labels : "coco80", "coco91", "imagenet1k", or tuple of str or ClassLabel
        Its classes in their order; `classes` is what they mean. Only models for classification
        and detection have them.
    decoder : {"softmax", "yolov8", "yolox", "nanodet", "ssd", "values"}, optional
        How its outputs are read (`decoders`). Default: the first one of its task in `DECODERS`.
    logits : bool
        softmax: whether the output is logits, or already probabilities.
    outputs : SsdOutputs
        ssd: its outputs.
    min_score : float
        Results below it are never given.
    max_overlap : float
        Detection: of two boxes of a class that overlap by more (intersection over union), the
        better one stays.
    """

    task: Task
    input: Input
    labels: Literal["coco80", "coco91", "imagenet1k"] | tuple[str | ClassLabel, ...] = ()
    decoder: Decoder | None = None
    logits: bool = True
    outputs: SsdOutputs = SsdOutputs()
    min_score: float | None = Field(None, ge=0, le=1)
    max_overlap: float = Field(0.45, ge=0, le=1)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> "Manifest":
        """Return a manifest from the value of its YAML."""
        return cls.model_validate_json(orjson.dumps(content))

    @property
    def read_as(self) -> Decoder:
        """How its outputs are read."""
        return self.decoder or DECODERS[self.task][0]

    @cached_property
    def classes(self) -> tuple[ClassLabel, ...]:
        """The classes in their order; one that COCO knows and that has no mid gets its mid."""
        if self.labels == "imagenet1k":
            return tuple(ClassLabel(name=noun.name, mid=noun.mid) for noun in imagenet_classes())
        mids = coco_mids()
        if self.labels == "coco91":
            return _coco91()
        return tuple(
            label
            if isinstance(label, ClassLabel)
            else ClassLabel(name=label, mid=mids.get(label.casefold(), ""))
            for label in (mids if self.labels == "coco80" else self.labels)
        )

    @property
    def threshold(self) -> float:
        """Score from which results are given: by default all labels, and objects from 0.25."""
        if self.min_score is not None:
            return self.min_score
        return 0.25 if self.task == "detection" else 0.0

    @property
    def resize(self) -> Literal["letterbox", "stretch", "crop"]:
        """How pictures are brought to the input's size."""
        return self.input.resize or ("letterbox" if self.task == "detection" else "crop")

    @model_validator(mode="after")
    def _decoder_fits_task(self) -> Self:
        if self.read_as not in DECODERS[self.task]:
            raise ValueError(f"decoder {self.decoder} is not one for {self.task}")
        if (self.task in LABELLED) != bool(self.labels):
            raise ValueError(f"labels: a model for {self.task} has {_none_or_some(self.task)}")
        if self.input.multiple and self.resize != "letterbox":
            raise ValueError(f"input.multiple: resize is {self.resize}, allowed is letterbox")
        return self


def _none_or_some(task: Task) -> str:
    return "at least one" if task in LABELLED else "none"


class PlainLoader(yaml.SafeLoader):
    """Reads YAML without aliases, by which a few lines can become gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the node of the next events."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*) are not allowed")
        return super().compose_node(parent, index)


def read(path: Path) -> Manifest:
    """Return a ``model.yaml``.

    Raises
    ------
    ModelError
        It cannot be read, or does not say what it must; the message names the field.
    """
    try:
        text = worker.content_of(path, MAX_BYTES)
    except OSError as error:
        raise ModelError(f"{path.name}: {error.strerror}") from None
    except worker.Refused as error:
        raise ModelError(str(error)) from None
    try:
        # Through JSON, where a list is a tuple's only form: YAML's own types are strict enough.
        content = orjson.dumps(yaml.load(text, PlainLoader))  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ModelError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        wrong = [_told(detail) for detail in error.errors(include_url=False)[:5]]
        raise ModelError(f"{path.name}: {'; '.join(wrong)}") from None


def _told(wrong: ErrorDetails) -> str:
    fields = [str(part) for part in wrong["loc"] if "[" not in str(part)]  # not branches of unions
    return f"{'.'.join(fields) or 'it'}: {wrong['msg'].removeprefix('Value error, ')}"


@cache
def coco_mids() -> dict[str, str]:
    """Return the 80 classes of COCO in their order, each with its Open Images mid."""
    return {row["coco"]: row["mid"] for row in _table("coco80_to_mid.csv")}


def _coco91() -> tuple[ClassLabel, ...]:
    """Return COCO's classes by their ids from 1 on; ten ids belong to classes it gave up."""
    names = iter(coco_mids().items())
    found = []
    for number in range(1, COCO_IDS + 1):
        name, mid = (f"class {number}", "") if number in COCO_GAPS else next(names)
        found.append(ClassLabel(name=name, mid=mid))
    return tuple(found)


@cache
def open_images_names() -> dict[str, str]:
    """Return what Open Images calls the 80 classes of COCO, by their mids."""
    return {row["mid"]: row["openimages_name"] for row in _table("coco80_to_mid.csv")}


class Noun(NamedTuple):
    """A class of ImageNet, or a group of classes.

    Attributes
    ----------
    name : str
        As Open Images has it, where it has it.
    mid : str
        Its Open Images mid, "" where it has none.
    group : int
        The group that it is a kind of, as its place in `imagenet_nouns`; -1: none.
    """

    name: str
    mid: str
    group: int


@cache
def imagenet_nouns() -> tuple[Noun, ...]:
    """Return the 1000 classes of ImageNet in their order, and then the groups.

    ``training/labels.py`` writes their table and says where it is from.
    """
    rows = list(_table("imagenet1k.csv"))
    places = {row["wnid"]: place for place, row in enumerate(rows)}
    return tuple(Noun(row["name"], row["mid"], places.get(row["group"], -1)) for row in rows)


@cache
def noun_chains() -> tuple[tuple[int, ...], ...]:
    """Return each class of ImageNet and the groups that it is in, the nearest first."""
    return tuple(chain_of(number) for number in range(IMAGENET_CLASSES))


def chain_of(noun: int) -> tuple[int, ...]:
    """Return a noun and the groups that it is in, the nearest first."""
    chain = []
    while noun >= 0:
        chain.append(noun)
        noun = imagenet_nouns()[noun].group
    return tuple(chain)


def imagenet_classes() -> tuple[Noun, ...]:
    """Return the 1000 classes of ImageNet in their order."""
    return imagenet_nouns()[:IMAGENET_CLASSES]


def _table(name: str) -> Iterator[dict[str, str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())
