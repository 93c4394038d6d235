"""Pictures of a data set as a request sends them: an archive, or files with labels or boxes."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ltu_compute.errors import BadParameters, MissingImage, Problem
from ltu_compute.image import archives
from ltu_compute.operations import data_sets as operations
from ltu_compute.store.data_sets import CLASS_LENGTH, MOST_BOXES, Box, DataSet, Kind, NewImage
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Exchange
from ltu_compute.web.endpoint import ImageList, Params

MOST_FILES = 100  # in one request
LARGEST_FILES = 2  # of the largest size in one request
MOST_TOKENS = 500_000  # commas, brackets and braces of annotations: some 50 MB of objects

FILES = ImageList(
    "file",
    MOST_FILES,
    LARGEST_FILES,
    "Pictures (JPEG, PNG, GIF), or one zip archive of them: with COCO's JSON or YOLO's text files "
    "for detection, with a folder for each class for classification.",
)

ClassName = Annotated[str, Field(min_length=1, max_length=CLASS_LENGTH)]


class DatasetParams(Params):
    """The id of a data set, in the path."""

    dataset_id: str = Field(max_length=64, description="Id of the data set.")


class NewImagesParams(DatasetParams):
    """See `add_dataset_images`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"label", "annotations"})

    label: list[Annotated[str, Field(max_length=CLASS_LENGTH)]] = Field(
        default=[],
        max_length=MOST_FILES,
        description="For classification: the class of all files, or one for each in their order. "
        "Empty: not labelled. Left out: a picture that is there already keeps its label.",
    )
    annotations: list[Any] = Field(
        default=[],
        max_length=max(MOST_BOXES, MOST_FILES),
        description="For detection: what is in a file, as JSON: a list of objects with `class` and "
        '`box`, such as `[{"class": "bolt", "box": {"x1": 4, "y1": 8, "x2": 60, "y2": 52}}]`, in '
        "px of the picture. An empty list: nothing of the classes is in it. With several files "
        "send one for each, in their order. `null`: nobody has looked. Left out: the same, but a "
        "picture that is there already keeps its boxes.",
    )


def archive_of(exchange: Exchange, files: Sequence[ReceivedImage]) -> bytes | None:
    """Return the archive that was sent in the place of pictures; None if there is none."""
    uploads = exchange.wire.files.get(FILES.name, [])
    if not any(archives.is_archive(upload.content) for upload in uploads):
        return None
    if len(files) > 1:
        raise wrong(FILES.name, "received an archive among other files; send it alone")
    return uploads[0].content


def new_images(
    files: Sequence[ReceivedImage], params: NewImagesParams, data_set: DataSet
) -> list[NewImage]:
    """Return the pictures that were sent, each with its label or boxes.

    Raises
    ------
    BadParameters
        Labels or annotations are malformed, or not as many as files.
    MissingImage, ServiceError
        A file is no readable picture.
    """
    used = "label" if data_set.kind == Kind.CLASSIFICATION else "annotations"
    labels = _labels(params.label, len(files))
    given = params.annotations
    if not given and "annotations" in params.model_fields_set:
        given = [[]]  # an empty list in a JSON body
    boxes = _boxes(given, len(files))
    new = []
    for received, label, found in zip(files, labels, boxes, strict=True):
        if received.image is None:
            raise received.error or MissingImage(_problem(FILES.name, "there is no image"))
        new.append(
            operations.new_image(
                received.image,
                received.name,
                data_set,
                label=label,
                boxes=found,
                clears=used in params.model_fields_set,
            )
        )
    return new


def _labels(given: Sequence[str], count: int) -> list[str | None]:
    if len(given) in (0, 1):
        return [(given[0] or None) if given else None] * count
    if len(given) != count:
        message = f"received {len(given)} for {count} files, allowed is one for all, or one each"
        raise wrong("label", message)
    return [label or None for label in given]


class _SentBox(BaseModel):
    """A box as it is sent."""

    x1: float
    y1: float
    x2: float
    y2: float


class _Sent(BaseModel):
    """An object as it is sent."""

    class_: ClassName = Field(alias="class")
    box: _SentBox


_OBJECTS = TypeAdapter(Annotated[list[_Sent], Field(max_length=MOST_BOXES)])


def _boxes(given: Sequence[Any], count: int) -> list[list[Box] | None]:
    """Return the boxes of each file; None for a file that nothing was said of."""
    if not given:
        return [None] * count
    texts = [each for each in given if isinstance(each, str)]
    tokens = sum(text.count(sign) for text in texts for sign in ",[{")
    if tokens > MOST_TOKENS:
        message = f"received {tokens} commas, brackets and braces, allowed are {MOST_TOKENS}"
        raise wrong("annotations", message)
    read = [_from_json(each) for each in given]
    if len(read) == 1 and count > 1 and read[0] and all(isinstance(e, list) for e in read[0]):
        read = read[0]  # a list of lists in one text
    if all(isinstance(each, dict) for each in read):
        read = [read]  # the list itself, in a JSON body
    if len(read) != count:
        message = f"received {len(read)} lists for {count} files, allowed is one for each file"
        raise wrong("annotations", message)
    return [None if each is None else _objects(each) for each in read]


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise wrong("annotations", f"received {value[:60]!r}, which is not JSON: {error}") from None


def _objects(value: Any) -> list[Box]:
    try:
        found = _OBJECTS.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        shown = str(first["input"])[:60]
        message = f"received {shown!r} at {place}: {first['msg']}; allowed is a list of objects "
        raise wrong("annotations", message + "with class and box (x1, y1, x2, y2)") from None
    return [Box(o.class_, o.box.x1, o.box.y1, o.box.x2, o.box.y2) for o in found]


def wrong(parameter: str, what: str) -> BadParameters:
    """Return the error of a parameter."""
    return BadParameters(_problem(parameter, what))


def _problem(parameter: str, what: str) -> Problem:
    return Problem(parameter, f"{parameter}: {what}")
