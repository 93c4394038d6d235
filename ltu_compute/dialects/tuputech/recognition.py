"""Recognition of up to ten images by tasks, each with a model of its own."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.tuputech.interface import (
    NoImageUsable,
    dialect,
)
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
        "", max_length=64, description="Seconds or milliseconds since 1970, whole or not."
    )
    nonce: str = Field("", max_length=128, description="Anything that no other request has.")
    signature: str = Field(
        "",
        max_length=4096,
        description="RSA-SHA256 over `secretId,timestamp,nonce` as sent, in base64.",
    )
    tag: list[Annotated[str, Field(max_length=LONGEST_TAG)]] = Field(
        default=[],
        max_length=MOST_IMAGES,
        description="What the reply repeats for each image; the last one goes on for the rest.",
    )
    task: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[], max_length=32, description="Ids of the tasks to run; none: all there are."
    )
    referer: str = Field(
        "",
        max_length=2048,
        pattern="^[!-~]*$",
        description="Sent as the header `Referer` where an image is fetched.",
    )

    @property
    def image_referer(self) -> str:
        """See `Params.image_referer`."""
        return self.referer

    repeated: ClassVar[frozenset[str]] = frozenset({"tag", "task"})
    # What the SDKs send besides, and the vendor's document does not name.
    tolerated: ClassVar[frozenset[str]] = frozenset(
        {"secretId", "uid", "CID", "sequenceId", "time"}
    )


class FileEntry(TypedDict):
    """What a task says of one image."""

    name: Annotated[str, Field(description="Name of the file, or the address, as it was sent.")]
    label: NotRequired[Annotated[int, Field(description="Index of the label.")]]
    rate: NotRequired[Annotated[float, Field(description="How sure, 0 to 1.")]]
    review: NotRequired[Annotated[bool, Field(description="Whether a person should look.")]]
    tag: NotRequired[str]
    error: NotRequired[Annotated[str, Field(description="Why the image was not recognised.")]]


class TaskReply(TypedDict):
    """What a task says of the images."""

    fileList: list[FileEntry]
    reviewCount: int
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

    An image that cannot be read has an entry that says so; the others are answered.
    """
    tasks = _chosen(TaskTable.of(settings), params.task, recognisers)
    if not any(received.image for received in images):
        reasons = "; ".join(dict.fromkeys(str(received.error) for received in images))
        raise NoImageUsable(reasons, parameter="image")
    return {task.id: _reply(task, images, params.tag, recognisers) for task in tasks}


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
    for index, received in enumerate(images):
        entry: FileEntry = {"name": received.name}
        if received.image is None:
            entry["error"] = str(received.error)
        else:
            try:
                rated: Rated = task.rate(received.image, recognisers)
            except Unprocessable as error:  # pixels are read here: its structure was whole
                entry["error"] = str(error)
            else:
                statistic[rated.label] += 1
                entry |= {"label": rated.label, "rate": rated.rate, "review": rated.review}
        if tags:
            entry["tag"] = tags[min(index, len(tags) - 1)]
        entries.append(entry)
    reviewed = sum(bool(entry.get("review")) for entry in entries)
    return {"fileList": entries, "reviewCount": reviewed, "statistic": statistic}
