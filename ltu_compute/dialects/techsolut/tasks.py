"""Tasks: what was accepted with 202 and is computed later.

A task is a job of the service. Its id is short, as the vendor's are; the job's follows from it.
"""

import math
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired, cast

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.dialects.techsolut.interface import dialect, request_id
from ltu_compute.dialects.techsolut.recognition import (
    IMAGE,
    DetectParams,
    DetectResult,
    detect_result,
)
from ltu_compute.errors import NotFound
from ltu_compute.image import Image
from ltu_compute.jobs import detection, failures
from ltu_compute.jobs.detection import DETECTION
from ltu_compute.jobs.notices import PARAMETER, Notice, notice_id
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.training import TRAINING
from ltu_compute.operations import recognition
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.store.job_records import Job, State
from ltu_compute.store.jobs import Jobs
from ltu_compute.web.dialect import Caller, Exchange
from ltu_compute.web.endpoint import Params
from ltu_compute.web.service import Service

TASK_LENGTH = 10  # letters and digits after task_, as in the document's sample
SIGNS = string.ascii_letters + string.digits
PAGE = 50  # tasks, or models, on a page unless another number is asked for
MOST_ON_PAGE = 100
FIRST_ESTIMATE_S = 5.0  # seconds of a task where none has been measured: the document's sample
LONGEST_WAIT_S = 30.0  # seconds in one request; proxies cut off replies that begin after 60
URL_LENGTH = 2048  # characters of an address
_NAMESPACE = uuid.UUID("b7f3a6f0-0a58-4d0c-8f57-2a4c1f6d9e11")

Status = Literal["processing", "completed", "failed", "cancelled"]
STATUSES: Mapping[State, Status] = {
    State.RECEIVING: "processing",
    State.QUEUED: "processing",
    State.RUNNING: "processing",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}

Time = Annotated[str, Field(description="UTC, ISO 8601.")]
Json = dict[str, Any]


class AcceptedTask(TypedDict):
    """A task that was accepted."""

    task_id: str
    status: Status
    estimated_time: Annotated[int, Field(ge=1, description="Seconds, as lately measured.")]
    task_url: Annotated[str, Field(description="Where to ask for it.")]


class TaskError(TypedDict):
    """Why a task failed; the codes are those of error replies."""

    code: str
    message: str
    details: str
    status: int
    request_id: Annotated[str, Field(description="The request that submitted the task.")]


class Task(TypedDict):
    """A task without its result."""

    task_id: str
    status: Status
    type: Annotated[Literal["detection", "training"], Field(description="Kind of computation.")]
    progress: Annotated[float, Field(ge=0, le=1)]
    created_at: Time
    started_at: NotRequired[Time]
    completed_at: NotRequired[Time]
    expires_at: NotRequired[Annotated[str, Field(description="When it is deleted, UTC.")]]
    callback: NotRequired[
        Annotated[
            Literal["waiting", "sent", "failed"],
            Field(description="State of the request to `callback_url`."),
        ]
    ]


class TaskState(Task):
    """A task; a completed one with its result, a failed one with the reason."""

    result: NotRequired[DetectResult | dict[str, Any]]
    error: NotRequired[TaskError]


class TaskPage(TypedDict):
    """A page of tasks, the newest first."""

    tasks: list[Task]
    total: int
    limit: int
    offset: int


class TaskParams(Params):
    """The id of a task, in the path."""

    task_id: str = Field(max_length=64, description="Id of the task.")


class TaskStateParams(TaskParams):
    """See `task`."""

    wait: float = Field(
        0.0,
        ge=0,
        le=LONGEST_WAIT_S,
        description="Seconds to wait for the end of the task, if it has not ended; the reply "
        "follows at once when it does. Default: do not wait.",
    )


class TasksParams(Params):
    """A page of tasks."""

    limit: int = Field(PAGE, ge=1, le=MOST_ON_PAGE, description="How many at most.")
    offset: int = Field(0, ge=0, le=10**9, description="How many to leave out.")


class AsyncDetectParams(DetectParams):
    """See `detect_later`."""

    callback_url: str = Field(
        "",
        max_length=URL_LENGTH,
        description="Address that gets a signed POST request when the task has ended. It must be "
        "public, as those of images.",
    )


@dialect.endpoint(
    "detect.async", paths=("/detect/async",), images=(IMAGE,), methods=("POST",), status=202
)
def detect_later(
    image: Image,
    params: AsyncDetectParams,
    *,
    recognisers: Recognisers,
    keys: KeyCheck,
    caller: Caller,
    queue: Queue,
    exchange: Exchange,
    service: Service,
) -> AcceptedTask:
    """Accept a picture in which objects are found later.

    Errors that can be detected at once are reported at once. When this answers, the task is
    accepted: a restart of the service does not lose it. An accepted task costs one of the key's
    quota.
    """
    task_id = new_task_id()
    job = params.job(recognisers, caller)
    recognition.check_objects(recognisers, classes=job.classes, model=job.model)
    notice = None
    if params.callback_url:
        service.check_address(params.callback_url, name=PARAMETER)
        notice = Notice(params.callback_url, caller.credential)
    named = vars(job) | {
        "task": task_id,
        "request_id": exchange.head.request_id,
        "notice": notice,
    }
    parameters = detection.DetectionJob(**named).dumps()
    with keys.charge(caller.credential):
        queue.add(
            caller.account.id,
            DETECTION,
            parameters,
            {(0, detection.IMAGE): image.content},
            job_id=job_id_of(task_id),
        )
    return accepted(task_id, DETECTION, exchange, service)


def new_task_id() -> str:
    """Return an id that no task has: 62^10 are possible, and belong to an account."""
    return "task_" + "".join(secrets.choice(SIGNS) for _ in range(TASK_LENGTH))


def job_id_of(task_id: str) -> str:
    """Return the id of the job that a task is."""
    return str(uuid.uuid5(_NAMESPACE, task_id))


def accepted(task_id: str, kind: str, exchange: Exchange, service: Service) -> AcceptedTask:
    """Return the reply to a request that began a task."""
    return {
        "task_id": task_id,
        "status": "processing",
        "estimated_time": estimated_seconds(service.store.jobs, kind, service.settings),
        "task_url": f"{exchange.head.base_url}{dialect.prefix}/tasks/{task_id}",
    }


def estimated_seconds(jobs: Jobs, kind: str, settings: Settings) -> int:
    """Return how long it may take until a job that was just added has ended, 1 s or more."""
    pace = jobs.pace(kind)
    rounds = math.ceil(max(1, pace.active) / settings.workers)
    seconds = FIRST_ESTIMATE_S if pace.seconds is None else pace.seconds
    return max(1, math.ceil(seconds * rounds))


@dialect.endpoint("tasks.get", paths=("/tasks/{task_id}",), methods=("GET",))
def task(params: TaskStateParams, queue: Queue, caller: Caller, exchange: Exchange) -> TaskState:
    """Return how far a task is, and its result when it has completed.

    With `wait`, the reply is sent when the task ends, or after that time with what the task is
    then. It may be sent earlier: when many requests wait, or the service is about to stop.
    """
    job = _job(queue, caller, params.task_id)
    if params.wait and not job.ended:
        waited = queue.ended(caller.account.id, job.id, params.wait, exchange.is_client_gone)
        job = _known(waited, params.task_id)
    return task_state(queue.jobs, job)


@dialect.endpoint("tasks.list", paths=("/tasks",), methods=("GET",))
def tasks(params: TasksParams, queue: Queue, caller: Caller) -> TaskPage:
    """List the tasks of the account, without their results."""
    total, found = queue.jobs.page(
        caller.account.id, kind=list(OUTCOMES), offset=params.offset, limit=params.limit
    )
    listed = [_task(queue.jobs, job) for job in found]
    return {"tasks": listed, "total": total, "limit": params.limit, "offset": params.offset}


@dialect.endpoint("tasks.delete", paths=("/tasks/{task_id}",), methods=("DELETE",))
def delete_task(params: TaskParams, queue: Queue, caller: Caller) -> Task:
    """Cancel a task, and delete all that is kept of it; from then on it does not exist."""
    job = _job(queue, caller, params.task_id)
    cancelled = queue.jobs.cancel(caller.account.id, job.id)
    deleted = _task(queue.jobs, job)
    queue.jobs.delete(caller.account.id, job.id)
    queue.doorbell.ended()
    return {**deleted, "status": "cancelled"} if cancelled else deleted


def _job(queue: Queue, caller: Caller, task_id: str) -> Job:
    return _known(queue.jobs.job(caller.account.id, job_id_of(task_id)), task_id)


def _known(job: Job | None, task_id: str) -> Job:
    if job is None or job.kind not in OUTCOMES:
        raise NotFound(f"task_id: received {task_id!r}, which is no task of the account")
    return job


# ------------------------------------------------------------------------- what became of it


def _detected(content: bytes) -> Json:
    return {**detect_result(detection.loaded(content))}


OUTCOMES: dict[str, Callable[[bytes], Json]] = {DETECTION: _detected, TRAINING: orjson.loads}
"""Kinds of jobs that are tasks, and functions from their result to that of the task."""


def task_state(jobs: Jobs, job: Job) -> TaskState:
    """Return a task with its result or error."""
    state = cast("TaskState", _task(jobs, job))
    if job.state is State.FAILED:
        error = failures.loaded(job.error)
        kind = dialect.kind_of(error)
        state["error"] = {
            "code": str(kind.code),
            "message": kind.meaning,
            "details": str(error),
            "status": kind.status,
            "request_id": request_id(_parameters(job)["request_id"]),
        }
    elif job.state is State.COMPLETED:
        state["result"] = OUTCOMES[job.kind](jobs.results(job.id)[0].content)
    return state


def _task(jobs: Jobs, job: Job) -> Task:
    found: Task = {
        "task_id": _parameters(job)["task"],
        "status": STATUSES[job.state],
        "type": "detection" if job.kind == DETECTION else "training",
        "progress": math.floor(100 * job.progress) / 100,
        "created_at": timestamp(job.created_at),
    }
    if job.started_at is not None:
        found["started_at"] = timestamp(job.started_at)
    if job.finished_at is not None:
        found["completed_at"] = timestamp(job.finished_at)
    if job.expires_at is not None:
        found["expires_at"] = timestamp(job.expires_at)
    if _parameters(job).get("notice"):
        found["callback"] = _callback(jobs, job)
    return found


def _parameters(job: Job) -> Json:
    parameters: Json = orjson.loads(job.parameters)
    return parameters


def _callback(jobs: Jobs, job: Job) -> Literal["waiting", "sent", "failed"]:
    notice = jobs.job(job.account_id, notice_id(job.id))
    if notice is None or not notice.ended:
        return "waiting"
    return "sent" if notice.state is State.COMPLETED else "failed"


def timestamp(seconds: float) -> str:
    """Return a time as the vendor writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def notice_of(jobs: Jobs, account_id: str, job_id: str) -> bytes | None:
    """Return the body of the request to a task's `callback_url`; None: the task is gone."""
    job = jobs.job(account_id, job_id)
    if job is None or job.finished_at is None:
        return None
    data = task_state(jobs, job)
    data.pop("callback", None)
    event = {
        "type": f"task.{data['status']}",
        "timestamp": timestamp(job.finished_at),
        "data": data,
    }
    return orjson.dumps(event)
