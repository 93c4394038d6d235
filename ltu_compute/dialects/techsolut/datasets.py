"""Data sets: labelled pictures that models of the account's own are trained on."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import orjson
from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from ltu_compute.dialects.techsolut.interface import Picture, dialect
from ltu_compute.dialects.techsolut.recognition import PixelBox
from ltu_compute.dialects.techsolut.sent_images import (
    FILES,
    ClassName,
    DatasetParams,
    NewImagesParams,
    archive_of,
    new_images,
    wrong,
)
from ltu_compute.dialects.techsolut.tasks import MOST_ON_PAGE, PAGE, timestamp
from ltu_compute.operations import data_sets as operations
from ltu_compute.store import Store
from ltu_compute.store import data_sets as stored
from ltu_compute.store.data_sets import (
    MOST_CLASSES,
    Box,
    DataSet,
    DataSetImage,
    Kind,
)
from ltu_compute.store.names import NAME_LENGTH
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Caller, Exchange
from ltu_compute.web.endpoint import Flag, Params
from ltu_compute.web.service import Service

LISTED_IMAGES = 100  # that the reply to an archive lists


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
    return _dataset(made, dict.fromkeys(made.classes, stored.ClassCount(0, 0)))


@dialect.endpoint("datasets.list", paths=("/datasets",), methods=("GET",))
def datasets(params: PageParams, store: Store, caller: Caller) -> DatasetPage:
    """List the data sets of the account, the newest first."""
    total, found = store.data_sets.page(caller.account.id, offset=params.offset, limit=params.limit)
    listed = [_summary(each) for each in found]
    return {"datasets": listed, "total": total, "limit": params.limit, "offset": params.offset}


@dialect.endpoint(
    "datasets.get", paths=("/datasets/{dataset_id}",), methods=("GET",), computes=True
)
def dataset(params: DatasetParams, store: Store, caller: Caller) -> Dataset:
    """Return a data set, with what it holds of each class."""
    return _dataset(*store.data_sets.counted(caller.account.id, params.dataset_id))


@dialect.endpoint(
    "datasets.change", paths=("/datasets/{dataset_id}",), methods=("PATCH",), computes=True
)
def change_dataset(params: ChangeParams, store: Store, caller: Caller) -> Dataset:
    """Give a data set, or classes of it, other names.

    All classes change at once, so that two can exchange their names. Models that were trained on
    the data set keep the names that they were trained with.
    """
    if not params.name and not params.rename:
        raise wrong("rename", "name or rename is required; received neither")
    owner, changed = caller.account.id, params.dataset_id
    store.data_sets.change(
        owner, changed, name=params.name, renamed=params.rename, merge=params.merge
    )
    return _dataset(*store.data_sets.counted(owner, changed))


@dialect.endpoint("datasets.delete", paths=("/datasets/{dataset_id}",), methods=("DELETE",))
def delete_dataset(params: DatasetParams, store: Store, caller: Caller) -> Deleted:
    """Delete a data set with its pictures. Models that were trained on it stay.

    A large one is deleted 32 MB at a time, which takes half a minute for 2 GB. Where that is
    interrupted, the data set has fewer pictures; delete it again.
    """
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
    archive = archive_of(exchange, files)
    if archive is not None:
        if params.label or params.annotations:
            name = "label" if params.label else "annotations"
            raise wrong(name, "an archive brings its own; send it without")
        limits = service.limits
        new, skipped = operations.from_archive(
            archive, data_set, max_bytes=limits.bytes, max_pixels=limits.pixels, name="file"
        )
    else:
        images = [each.image for each in files if each.image is not None]
        operations.check_pixels(images, service.limits.pixels, FILES.name)
        new = new_images(files, params, data_set)
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
    "datasets.images.list",
    paths=("/datasets/{dataset_id}/images",),
    methods=("GET",),
    computes=True,
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
    computes=True,
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


def _dataset(data_set: DataSet, counts: Mapping[str, stored.ClassCount]) -> Dataset:
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
