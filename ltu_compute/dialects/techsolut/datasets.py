"""Data sets: labelled pictures that models of the account's own are trained on."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import orjson
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ltu_compute.dialects.techsolut.interface import Picture, dialect
from ltu_compute.dialects.techsolut.recognition import PixelBox
from ltu_compute.dialects.techsolut.tasks import MOST_ON_PAGE, PAGE, timestamp
from ltu_compute.errors import BadParameters, MissingImage, Problem
from ltu_compute.image import archives
from ltu_compute.operations import data_sets as operations
from ltu_compute.store import Store
from ltu_compute.store.data_sets import (
    CLASS_LENGTH,
    MOST_BOXES,
    MOST_CLASSES,
    Box,
    DataSet,
    DataSetImage,
    Kind,
    NewImage,
)
from ltu_compute.store.names import NAME_LENGTH
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Caller, Exchange
from ltu_compute.web.endpoint import Flag, ImageList, Params
from ltu_compute.web.service import Service

MOST_FILES = 100  # in one request
LARGEST_FILES = 2  # of the largest size in one request
MOST_TOKENS = 500_000  # commas, brackets and braces of annotations: some 50 MB of objects
LISTED_IMAGES = 100  # that the reply to an archive lists

FILES = ImageList(
    "file",
    MOST_FILES,
    LARGEST_FILES,
    "Pictures (JPEG, PNG, GIF), or one zip archive of them: with COCO's JSON or YOLO's text files "
    "for detection, with a folder for each class for classification.",
)

ClassName = Annotated[str, Field(min_length=1, max_length=CLASS_LENGTH)]


class NewDatasetParams(Params):
    """See `create_dataset`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"classes"})
    parted: ClassVar[frozenset[str]] = repeated

    name: str = Field(min_length=1, max_length=NAME_LENGTH, description="Its name.")
    type: Literal["classification", "detection"] = Field(
        description="Kind of models it is for: those that label a picture, or find objects in it."
    )
    classes: list[ClassName] = Field(
        default=[],
        max_length=MOST_CLASSES,
        description="The classes there may be; in a form with commas between them. Default: those "
        "that the pictures bring.",
    )


class DatasetParams(Params):
    """The id of a data set, in the path."""

    dataset_id: str = Field(max_length=64, description="Id of the data set.")


def _from_text(value: Any) -> Any:
    """Return the JSON object that a text of a form holds."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"which is not a JSON object ({error})") from None


class ChangeParams(DatasetParams):
    """See `change_dataset`."""

    name: str = Field("", max_length=NAME_LENGTH, description="Its new name. Default: as it is.")
    rename: Annotated[dict[str, ClassName], BeforeValidator(_from_text)] = Field(
        default={},
        max_length=MOST_CLASSES,
        description="New names of classes by those that they have now, as a JSON object such as "
        '`{"bolt": "screw"}`. Labels and boxes follow.',
    )
    merge: Flag = Field(
        False,
        description="Make one class of those that get the same name, or that of another one. "
        "False: this is an error.",
    )


class PageParams(Params):
    """A page of a list."""

    limit: int = Field(PAGE, ge=1, le=MOST_ON_PAGE, description="How many at most.")
    offset: int = Field(0, ge=0, le=10**9, description="How many to leave out.")


class ImagesPageParams(DatasetParams, PageParams):
    """A page of the pictures of a data set."""


class ImageParams(DatasetParams):
    """The ids of a data set and of a picture, in the path."""

    image_id: str = Field(max_length=64, description="Id of the picture.")


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


Time = Annotated[str, Field(description="UTC.")]


class ClassCount(TypedDict):
    """Counts of a class in a data set."""

    name: str
    images: Annotated[int, Field(ge=0, description="Pictures that have it.")]
    boxes: Annotated[int, Field(ge=0, description="For detection: how often it is in them.")]


class DatasetSummary(TypedDict):
    """A data set."""

    id: str
    name: str
    type: Literal["classification", "detection"]
    classes: list[str]
    image_count: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0, description="Of the pictures' files together.")]
    created_at: Time
    last_updated: Time


class Dataset(DatasetSummary):
    """A data set with what it holds of each class."""

    class_counts: list[ClassCount]


class DatasetPage(TypedDict):
    """A page of data sets, the newest first."""

    datasets: list[DatasetSummary]
    total: int
    limit: int
    offset: int


Annotation = TypedDict("Annotation", {"class": str, "box": PixelBox})
Annotation.__doc__ = "An object in a picture; `box` in px of the picture."


class DatasetImage(TypedDict):
    """A picture of a data set."""

    id: str
    filename: str
    width: int
    height: int
    bytes: int
    created_at: Time
    label: NotRequired[Annotated[str | None, Field(description="null: not labelled.")]]
    annotations: NotRequired[
        Annotated[list[Annotation] | None, Field(description="null: nobody has looked.")]
    ]


class AddedImages(TypedDict):
    """See `add_dataset_images`."""

    added: Annotated[int, Field(ge=0, description="Pictures that were added or changed.")]
    images: Annotated[list[DatasetImage], Field(description=f"The first {LISTED_IMAGES} of them.")]
    skipped: Annotated[
        list[str],
        Field(
            description="Files of an archive that were not used, and pictures that its COCO files "
            "name and that it lacks; the first 100."
        ),
    ]
    unlabelled: Annotated[
        list[str],
        Field(
            description="Names of those of the added pictures that have no label, or of which "
            f"nobody has looked what they show; the first {LISTED_IMAGES}. Training leaves them "
            "out."
        ),
    ]
    dataset: DatasetSummary


class DatasetImagePage(TypedDict):
    """A page of the pictures of a data set, in the order they were added."""

    images: list[DatasetImage]
    total: int
    limit: int
    offset: int


class Deleted(TypedDict):
    """The deleted thing."""

    id: str
    deleted: Literal[True]


@dialect.endpoint("datasets.create", paths=("/datasets",), methods=("POST",), status=201)
def create_dataset(params: NewDatasetParams, store: Store, caller: Caller) -> Dataset:
    """Create an empty data set.

    Its pictures are kept in the service's database until it, or the account, is deleted.
    """
    made = store.data_sets.add(caller.account.id, params.name, Kind(params.type), params.classes)
    return _dataset(made, [])


@dialect.endpoint("datasets.list", paths=("/datasets",), methods=("GET",))
def datasets(params: PageParams, store: Store, caller: Caller) -> DatasetPage:
    """List the data sets of the account, the newest first."""
    total, found = store.data_sets.page(caller.account.id, offset=params.offset, limit=params.limit)
    listed = [_summary(each) for each in found]
    return {"datasets": listed, "total": total, "limit": params.limit, "offset": params.offset}


@dialect.endpoint("datasets.get", paths=("/datasets/{dataset_id}",), methods=("GET",))
def dataset(params: DatasetParams, store: Store, caller: Caller) -> Dataset:
    """Return a data set, with what it holds of each class."""
    return _dataset(*store.data_sets.whole(caller.account.id, params.dataset_id))


@dialect.endpoint("datasets.change", paths=("/datasets/{dataset_id}",), methods=("PATCH",))
def change_dataset(params: ChangeParams, store: Store, caller: Caller) -> Dataset:
    """Give a data set, or classes of it, other names.

    All classes change at once, so that two can exchange their names. Models that were trained on
    the data set keep the names that they were trained with.
    """
    if not params.name and not params.rename:
        raise _wrong("rename", "name or rename is required; received neither")
    owner, changed = caller.account.id, params.dataset_id
    store.data_sets.change(
        owner, changed, name=params.name, renamed=params.rename, merge=params.merge
    )
    return _dataset(*store.data_sets.whole(owner, changed))


@dialect.endpoint("datasets.delete", paths=("/datasets/{dataset_id}",), methods=("DELETE",))
def delete_dataset(params: DatasetParams, store: Store, caller: Caller) -> Deleted:
    """Delete a data set with its pictures. Models that were trained on it stay."""
    store.data_sets.delete(caller.account.id, params.dataset_id)
    return {"id": params.dataset_id, "deleted": True}


@dialect.endpoint(
    "datasets.images.add",
    paths=("/datasets/{dataset_id}/images",),
    images=(FILES,),
    methods=("POST",),
    status=201,
)
def add_dataset_images(
    files: list[ReceivedImage],
    params: NewImagesParams,
    *,
    store: Store,
    caller: Caller,
    exchange: Exchange,
    service: Service,
) -> AddedImages:
    """Add pictures to a data set, all of them or none.

    A picture that the data set has already, byte by byte, takes the new label or boxes; it keeps
    those that it has when the request gives none.
    """
    data_set = store.data_sets.get(caller.account.id, params.dataset_id)
    skipped: list[str] = []
    archive = _archive(exchange, files)
    if archive is not None:
        if params.label or params.annotations:
            name = "label" if params.label else "annotations"
            raise _wrong(name, "an archive brings its own; send it without")
        limits = service.limits
        new, skipped = operations.from_archive(
            archive, data_set, max_bytes=limits.bytes, max_pixels=limits.pixels, name="file"
        )
    else:
        images = [each.image for each in files if each.image is not None]
        operations.check_pixels(images, service.limits.pixels, FILES.name)
        new = _new_images(files, params, data_set)
    added = store.data_sets.add_images(caller.account.id, data_set.id, new)
    return {
        "added": len(added),
        "images": [_image(each, data_set.kind) for each in added[:LISTED_IMAGES]],
        "skipped": skipped,
        "unlabelled": [each.name for each in added if each.label is None and each.boxes is None][
            :LISTED_IMAGES
        ],
        "dataset": _summary(store.data_sets.get(caller.account.id, data_set.id)),
    }


@dialect.endpoint(
    "datasets.images.list", paths=("/datasets/{dataset_id}/images",), methods=("GET",)
)
def dataset_images(params: ImagesPageParams, store: Store, caller: Caller) -> DatasetImagePage:
    """List the pictures of a data set, in the order they were added."""
    data_set = store.data_sets.get(caller.account.id, params.dataset_id)
    found = store.data_sets.images(data_set.id, offset=params.offset, limit=params.limit)
    return {
        "images": [_image(each, data_set.kind) for each in found],
        "total": data_set.images,
        "limit": params.limit,
        "offset": params.offset,
    }


@dialect.endpoint(
    "datasets.images.get",
    paths=("/datasets/{dataset_id}/images/{image_id}",),
    methods=("GET",),
)
def dataset_image(params: ImageParams, store: Store, caller: Caller) -> Picture:
    """Return the file of a picture as it was sent."""
    found = store.data_sets.image(caller.account.id, params.dataset_id, params.image_id)
    return Picture(store.data_sets.content(found.id))


@dialect.endpoint(
    "datasets.images.delete",
    paths=("/datasets/{dataset_id}/images/{image_id}",),
    methods=("DELETE",),
)
def delete_dataset_image(params: ImageParams, store: Store, caller: Caller) -> Deleted:
    """Delete a picture of a data set."""
    store.data_sets.delete_image(caller.account.id, params.dataset_id, params.image_id)
    return {"id": params.image_id, "deleted": True}


# ------------------------------------------------------------------------- what is sent


def _archive(exchange: Exchange, files: Sequence[ReceivedImage]) -> bytes | None:
    """Return the archive that was sent in the place of pictures; None if there is none."""
    uploads = exchange.wire.files.get(FILES.name, [])
    if not any(archives.is_archive(upload.content) for upload in uploads):
        return None
    if len(files) > 1:
        raise _wrong(FILES.name, "received an archive among other files; send it alone")
    return uploads[0].content


def _new_images(
    files: Sequence[ReceivedImage], params: NewImagesParams, data_set: DataSet
) -> list[NewImage]:
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
        raise _wrong("label", message)
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
        raise _wrong("annotations", message)
    read = [_from_json(each) for each in given]
    if len(read) == 1 and count > 1 and read[0] and all(isinstance(e, list) for e in read[0]):
        read = read[0]  # a list of lists in one text
    if all(isinstance(each, dict) for each in read):
        read = [read]  # the list itself, in a JSON body
    if len(read) != count:
        message = f"received {len(read)} lists for {count} files, allowed is one for each file"
        raise _wrong("annotations", message)
    return [None if each is None else _objects(each) for each in read]


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _wrong(
            "annotations", f"received {value[:60]!r}, which is not JSON: {error}"
        ) from None


def _objects(value: Any) -> list[Box]:
    try:
        found = _OBJECTS.validate_python(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in wrong["loc"]) or "it"
        shown = str(wrong["input"])[:60]
        message = f"received {shown!r} at {place}: {wrong['msg']}; allowed is a list of objects "
        raise _wrong("annotations", message + "with class and box (x1, y1, x2, y2)") from None
    return [Box(o.class_, o.box.x1, o.box.y1, o.box.x2, o.box.y2) for o in found]


def _wrong(parameter: str, what: str) -> BadParameters:
    return BadParameters(_problem(parameter, what))


def _problem(parameter: str, what: str) -> Problem:
    return Problem(parameter, f"{parameter}: {what}")


# ------------------------------------------------------------------------- what is replied


def _summary(data_set: DataSet) -> DatasetSummary:
    return {
        "id": data_set.id,
        "name": data_set.name,
        "type": data_set.kind.value,
        "classes": list(data_set.classes),
        "image_count": data_set.images,
        "bytes": data_set.bytes,
        "created_at": timestamp(data_set.created_at),
        "last_updated": timestamp(data_set.updated_at),
    }


def _dataset(data_set: DataSet, images: Sequence[DataSetImage]) -> Dataset:
    counts = operations.tallies(data_set.classes, images)
    return {
        **_summary(data_set),
        "class_counts": [
            {"name": name, "images": count.images, "boxes": count.boxes}
            for name, count in counts.items()
        ],
    }


def _image(image: DataSetImage, kind: Kind) -> DatasetImage:
    reply: DatasetImage = {
        "id": image.id,
        "filename": image.name,
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "created_at": timestamp(image.created_at),
    }
    if kind == Kind.CLASSIFICATION:
        reply["label"] = image.label
    else:
        reply["annotations"] = (
            None if image.boxes is None else [_annotation(b) for b in image.boxes]
        )
    return reply


def _annotation(box: Box) -> Annotation:
    sides: PixelBox = {"x1": box.left, "y1": box.top, "x2": box.right, "y2": box.bottom}
    return {"class": box.class_name, "box": sides}
