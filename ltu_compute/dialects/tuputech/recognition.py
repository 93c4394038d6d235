"""Recognition of up to ten images by tasks, each with a model of its own."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, NotRequired

from pydantic import AliasChoices, Field
from typing_extensions import TypedDict

from ltu_compute.auth.signatures import LONGEST_NONCE, LONGEST_SIGNATURE, LONGEST_TIME
from ltu_compute.dialects.tuputech.interface import NoImageUsable, dialect
from ltu_compute.dialects.tuputech.tasks import Rated, Task, TaskTable
from ltu_compute.errors import Unprocessable
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.endpoint import ImageList, Params

MOST_IMAGES = 10
LONGEST_TAG = 1024  # characters


class RecognitionParams(Params):
    """See `recognise`."""

    secret_id: str = Field(max_length=64, description="The client's id, in the path.")
    timestamp: str = Field(
        "",
        max_length=LONGEST_TIME,
        description="Seconds or milliseconds since 1970, whole or not.",
    )
    nonce: str = Field(
        "", max_length=LONGEST_NONCE, description="Anything that no other request has."
    )
    signature: str = Field(
        "",
        max_length=LONGEST_SIGNATURE,
        description="RSA-SHA256 over `secretId,timestamp,nonce` as sent, in base64.",
    )
    tag: list[Annotated[str, Field(max_length=LONGEST_TAG)]] = Field(
        default=[],
        max_length=MOST_IMAGES,
        description="Text repeated in the reply for each image; the last one serves the rest.",
    )
    task: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[], max_length=32, description="Ids of the tasks to run; none: all there are."
    )
    referer: str = Field(
        "",
        max_length=2048,
        pattern="^[!-~]*$",
        description="Sent as the header `Referer` where an image is fetched.",
        json_schema_extra={"x-allowed": "printable ASCII without blanks"},
    )

    @property
    def image_referer(self) -> str:
        """See `Params.image_referer`."""
        return self.referer

    repeated: ClassVar[frozenset[str]] = frozenset({"tag", "task"})
    # Other names that the SDKs send, and that the vendor's document does not list.
    tolerated: ClassVar[frozenset[str]] = frozenset(
        {"secretId", "uid", "CID", "sequenceId", "time"}
    )


class Base64Params(RecognitionParams):
    """See `recognise_base64`: the same, and two names in the plural."""

    tag: list[Annotated[str, Field(max_length=LONGEST_TAG)]] = Field(
        default=[],
        max_length=MOST_IMAGES,
        validation_alias=AliasChoices("tags", "tag"),
        description="Text repeated in the reply for each image; the last one serves the rest.",
    )
    task: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=32,
        validation_alias=AliasChoices("tasks", "task"),
        description="Ids of the tasks to run; none: all there are.",
    )

    repeated: ClassVar[frozenset[str]] = frozenset({"tags", "tag", "tasks", "task"})


class FileEntry(TypedDict):
    """Result of a task for one image."""

    rate: NotRequired[Annotated[float, Field(description="How sure, 0 to 1.")]]
    label: NotRequired[Annotated[int, Field(description="Index of the label.")]]
    name: Annotated[str, Field(description="Name of the file, or the address, as it was sent.")]
    review: NotRequired[Annotated[bool, Field(description="Whether a person should look.")]]
    tag: NotRequired[str]
    error: NotRequired[Annotated[str, Field(description="Why the image was not recognised.")]]


class TaskReply(TypedDict):
    """Result of a task for all images."""

    reviewCount: int
    fileList: list[FileEntry]
    statistic: Annotated[list[int], Field(description="Images of each label.")]


@dialect.endpoint(
    "recognition",
    paths=("/{secret_id}",),
    images=(ImageList("image", MOST_IMAGES, 1, "Images: files or addresses.", mixed=False),),
    methods=("POST",),
)
def recognise(
    images: list[ReceivedImage],
    params: RecognitionParams,
    recognisers: Recognisers,
    settings: Settings,
) -> dict[str, TaskReply]:
    """Recognise up to ten images by the tasks that are asked for, or by all that have a model.

    The body is a form, or JSON, where `image`, `tag` and `task` are texts or lists of texts. An
    image that cannot be read has an entry that says so; the others are answered.
    """
    return _recognised(images, params, recognisers, settings)


@dialect.endpoint(
    "recognition_base64",
    paths=("/image/sync/base64/{secret_id}",),
    images=(ImageList("images", MOST_IMAGES, 1, "Images in base64.", mixed=False),),
    methods=("POST",),
)
def recognise_base64(
    images: list[ReceivedImage],
    params: Base64Params,
    recognisers: Recognisers,
    settings: Settings,
) -> dict[str, TaskReply]:
    """Recognise up to ten images that JSON holds in base64, as the Python and Java SDKs send them.

    The answer is that of `recognition`; the `name` of an image is empty, as it has none.
    """
    return _recognised(images, params, recognisers, settings)


def _recognised(
    images: list[ReceivedImage],
    params: RecognitionParams,
    recognisers: Recognisers,
    settings: Settings,
) -> dict[str, TaskReply]:
    tasks = _chosen(TaskTable.from_settings(settings), params.task, recognisers)
    images = [_of_one_picture(received) for received in images]
    unusable = [str(received.error) for received in images]
    if any(received.image for received in images):
        replies = {task.id: _reply(task, images, params.tag, recognisers) for task in tasks}
        entries = [entry for reply in replies.values() for entry in reply["fileList"]]
        if any("label" in entry for entry in entries):
            return replies
        unusable = [entry["error"] for entry in entries]  # pixels too are broken in all
    raise NoImageUsable("; ".join(dict.fromkeys(unusable)), parameter="image")


def _of_one_picture(received: ReceivedImage) -> ReceivedImage:
    """Return an image, unusable where pages or frames follow that no task would look at."""
    image = received.image
    if image is None or not image.has_more:
        return received
    message = f"{image.name}: received a {image.format} of several pictures, allowed is one picture"
    return received._replace(image=None, error=Unprocessable(message, parameter=image.name))


def _chosen(table: TaskTable, wanted: Sequence[str], recognisers: Recognisers) -> list[Task]:
    """Return the tasks to run.

    Raises
    ------
    UnknownTask
        One that is asked for has no model.
    NoTask
        None is asked for, and none has a model.
    """
    if not wanted:
        return table.available(recognisers)
    return [table.find(task_id, recognisers) for task_id in dict.fromkeys(wanted)]


def _reply(
    task: Task, images: Sequence[ReceivedImage], tags: Sequence[str], recognisers: Recognisers
) -> TaskReply:
    entries = []
    statistic = [0] * len(task.labels)
    for received in images:
        entry = _entry(task, received, recognisers)
        if "label" in entry:
            statistic[entry["label"]] += 1
        if tags:
            entry["tag"] = tags[min(received.place, len(tags) - 1)]
        entries.append(entry)
    reviewed = sum(bool(entry.get("review")) for entry in entries)
    return {"reviewCount": reviewed, "fileList": entries, "statistic": statistic}


def _entry(task: Task, received: ReceivedImage, recognisers: Recognisers) -> FileEntry:
    """Return what a task says of an image, keys in the order of the vendor's service."""
    if received.image is None:
        return {"name": received.name, "error": str(received.error)}
    try:
        rated: Rated = task.rate(received.image, recognisers)
    except Unprocessable as error:  # pixels are read here: its structure was whole
        return {"name": received.name, "error": str(error)}
    return {
        "rate": rated.rate,
        "label": rated.label,
        "name": received.name,
        "review": rated.review,
    }
