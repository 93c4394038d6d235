"""The kinds of jobs that there are, and how a part of each is computed.

A kind defines two things: how a worker process prepares for a job, and the result of a part that
no worker could compute. New kinds are entered in `KINDS`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection

from ltu_compute.errors import NotFound
from ltu_compute.jobs import detection, failures, training
from ltu_compute.jobs.detection import DETECTION, DetectionJob
from ltu_compute.jobs.inspection import (
    Inspection,
    Inspector,
    NotComputed,
    Options,
    Source,
    Task,
    Verdict,
    failed,
    record,
)
from ltu_compute.jobs.limits import Limits
from ltu_compute.jobs.notices import NOTICE, Notice, NoticeJob, notice_id
from ltu_compute.jobs.training import TRAINING, TrainingJob
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings
from ltu_compute.store import custom_models
from ltu_compute.store.job_records import Claim


@dataclass(frozen=True)
class Computed:
    """Result of a part, usually JSON, and its attachment, such as a picture.

    An ``error`` that is not empty ends the job as failed: another attempt would not help.
    """

    result: bytes
    attachment: bytes | None = None
    error: str = ""


Inputs = Mapping[str, bytes]
Part = Callable[[Inputs], Computed]
"""Computes a part by its own inputs."""


@dataclass(frozen=True)
class Following:
    """A job that follows another.

    Attributes
    ----------
    id : str
        The same whenever it is asked for, so that it is there once.
    kind, parameters : str
        See `Jobs.add`.
    """

    id: str
    kind: str
    parameters: str


@dataclass(frozen=True)
class Kind:
    """A kind of job.

    Attributes
    ----------
    prepare : callable
        Parameters, shared inputs and settings to what computes a part. Called in the worker
        process, once for the parts of a job that it computes one after the other.
    give_up : callable or None
        Parameters, the part's own inputs and a reason to the result of a part that no worker could
        compute. None: the job fails.
    following : callable or None
        Id and parameters of a job to the job that is to follow when it has ended, or to None.
    ended : callable or None
        Called in the transaction that ends a part, with the claim, and with the part's result or
        the reason of its failure. It stores the attachment itself. If it raises one of
        `failures.LASTING`, the job fails.
    slow : bool
        Whether a part takes minutes: parts of other kinds must not wait for it.
    portable : bool
        Whether workers of a cluster, which have neither models nor the database, can compute it.
    """

    prepare: Callable[[str, Inputs, Settings], Part]
    give_up: Callable[[str, Inputs, str], Computed] | None = None
    following: Callable[[str, str], Following | None] | None = None
    ended: Callable[[Connection, Claim, Computed | str], None] | None = None
    slow: bool = False
    portable: bool = False


# ------------------------------------------------------------------------- inspections

INSPECTION = "inspection"
REFERENCE, REGION, TOLERANCE = "reference", "region", "tolerance"  # what all parts share
MAP = "map"  # what the report shows of a tolerance
NAME, SHOT, URL, PROBLEM, CODE = "name", "shot", "url", "problem", "code"  # and of a part's own


@dataclass(frozen=True)
class InspectionJob:
    """The parameters of an inspection job; each part is a shot.

    Attributes
    ----------
    settings, limits
        How shots are compared and judged.
    reference : str
        Name of the reference, as it is reported.

    Notes
    -----
    A part has the input `NAME`, and one of `SHOT`, the file; `URL`, an address that is fetched when
    it is compared; `PROBLEM`, what was wrong with a file that was sent, with its `CODE`.
    """

    settings: ComparisonSettings
    limits: Limits
    reference: str

    def dumps(self) -> str:
        """Return the parameters as JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def loads(cls, text: str) -> "InspectionJob":
        """Return the parameters that `dumps` wrote."""
        named: dict[str, Any] = orjson.loads(text)
        settings, limits = ComparisonSettings(**named["settings"]), Limits.of(named["limits"])
        return cls(settings, limits, named["reference"])


def _prepare_inspection(parameters: str, shared: Inputs, settings: Settings) -> Part:
    job = InspectionJob.loads(parameters)
    options = Options(
        job.settings,
        job.limits,
        settings.max_upload_bytes,
        settings.max_pixels,
        shared.get(TOLERANCE),
    )
    inspector = Inspector(options, Fetcher(settings))
    reference = Source(job.reference, shared[REFERENCE])
    region = Source(REGION, shared[REGION]) if REGION in shared else None

    def inspect(inputs: Inputs) -> Computed:
        if PROBLEM in inputs:
            code = inputs.get(CODE, b"").decode()  # an earlier version stored none
            return _not_inspected(job, inputs, inputs[PROBLEM].decode(), code)
        name = inputs[NAME].decode()
        shot = Source(inputs[URL].decode()) if URL in inputs else Source(name, inputs[SHOT])
        outcome = inspector.inspect(Task(reference, shot, region))
        if outcome.inspection is None:
            raise RuntimeError("an inspection without a result")  # only where one is known
        named = replace(outcome.inspection, shot=name)
        return Computed(orjson.dumps(record(named)), outcome.closeups or None)

    return inspect


def _give_up_inspection(parameters: str, inputs: Inputs, reason: str) -> Computed:
    return _not_inspected(InspectionJob.loads(parameters), inputs, reason, NotComputed.code)


def _not_inspected(job: InspectionJob, inputs: Inputs, reason: str, code: str) -> Computed:
    begun = Inspection(inputs[NAME].decode(), job.reference, Verdict.ERROR)
    return Computed(orjson.dumps(record(failed(begun, reason, code))))


# -------------------------------------------------------------------------- detections


def _prepare_detection(parameters: str, shared: Inputs, settings: Settings) -> Part:
    del shared  # its one part has the picture

    def compute(inputs: Inputs) -> Computed:
        try:
            return Computed(detection.dumped(detection.compute(parameters, inputs, settings)))
        except tuple(failures.LASTING.values()) as error:
            return Computed(b"", error=failures.dumped(error))

    return compute


def _notice_of_detection(job_id: str, parameters: str) -> Following | None:
    return _notice_of(job_id, DETECTION, DetectionJob.loads(parameters).notice)


def _notice_of(job_id: str, kind: str, notice: Notice | None) -> Following | None:
    if notice is None:
        return None
    return Following(notice_id(job_id), NOTICE, NoticeJob(job_id, kind, notice).dumps())


# --------------------------------------------------------------------------- trainings


def _prepare_training(parameters: str, shared: Inputs, settings: Settings) -> Part:
    del shared  # the pictures are in their data set

    def compute(inputs: Inputs) -> Computed:
        del inputs
        try:
            trained = training.compute(parameters, settings)
        except tuple(failures.LASTING.values()) as error:
            return Computed(b"", error=failures.dumped(error))
        return Computed(training.result(parameters, trained), training.packed(trained))

    return compute


def _notice_of_training(job_id: str, parameters: str) -> Following | None:
    return _notice_of(job_id, TRAINING, TrainingJob.loads(parameters).notice)


def _training_ended(connection: Connection, claim: Claim, outcome: Computed | str) -> None:
    model_id, now = TrainingJob.loads(claim.parameters).model_id, time.time()
    if isinstance(outcome, str):
        reason = str(failures.loaded(outcome))
        custom_models.fail(connection, model_id, claim.job_id, reason, now)
    elif outcome.attachment is not None:
        trained = training.unpacked(outcome.attachment)
        if not custom_models.settle(connection, model_id, claim.job_id, trained, now):
            raise NotFound(f"model {model_id} was deleted, or trained anew, before this ended")


KINDS: dict[str, Kind] = {
    INSPECTION: Kind(_prepare_inspection, _give_up_inspection, portable=True),
    DETECTION: Kind(_prepare_detection, following=_notice_of_detection),
    TRAINING: Kind(
        _prepare_training, following=_notice_of_training, ended=_training_ended, slow=True
    ),
}
