"""The kinds of jobs that there are, and how a part of each is computed.

A kind says two things: how a worker process prepares for a job, and what a part comes to that no
worker could compute. New kinds are entered in `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from ltu_compute.jobs import detection, failures
from ltu_compute.jobs.detection import DETECTION, DetectionJob
from ltu_compute.jobs.inspection import (
    Inspection,
    Inspector,
    Limits,
    Options,
    Source,
    Task,
    Verdict,
    record,
)
from ltu_compute.jobs.notices import NOTICE, NoticeJob, notice_id
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings


@dataclass(frozen=True)
class Computed:
    """What a part came to: a result, usually JSON, and what comes with it, such as a picture.

    ``error``, where it is not empty, ends the job as failed: another attempt would not help.
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
    portable : bool
        Whether workers of a cluster, which have neither models nor the database, can compute it.
    """

    prepare: Callable[[str, Inputs, Settings], Part]
    give_up: Callable[[str, Inputs, str], Computed] | None = None
    following: Callable[[str, str], Following | None] | None = None
    portable: bool = False


# ------------------------------------------------------------------------- inspections

INSPECTION = "inspection"
REFERENCE, REGION = "reference", "region"  # names of what all parts share
NAME, SHOT, URL, PROBLEM = "name", "shot", "url", "problem"  # and of a part's own


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
    its turn comes; `PROBLEM`, what was wrong with a file that was sent.
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
        settings, limits = ComparisonSettings(**named["settings"]), Limits(**named["limits"])
        return cls(settings, limits, named["reference"])


def _prepare_inspection(parameters: str, shared: Inputs, settings: Settings) -> Part:
    job = InspectionJob.loads(parameters)
    options = Options(job.settings, job.limits, settings.max_upload_bytes, settings.max_pixels)
    inspector = Inspector(options, Fetcher(settings))
    reference = Source(job.reference, shared[REFERENCE])
    region = Source(REGION, shared[REGION]) if REGION in shared else None

    def inspect(inputs: Inputs) -> Computed:
        if PROBLEM in inputs:
            return _give_up_inspection(parameters, inputs, inputs[PROBLEM].decode())
        name = inputs[NAME].decode()
        shot = Source(inputs[URL].decode()) if URL in inputs else Source(name, inputs[SHOT])
        outcome = inspector.inspect(Task(reference, shot, region))
        if outcome.inspection is None:
            raise RuntimeError("an inspection without a result")  # only where one is known
        named = replace(outcome.inspection, shot=name)
        return Computed(orjson.dumps(record(named)), outcome.closeups or None)

    return inspect


def _give_up_inspection(parameters: str, inputs: Inputs, reason: str) -> Computed:
    job = InspectionJob.loads(parameters)
    failed = Inspection(inputs[NAME].decode(), job.reference, Verdict.ERROR, reason)
    return Computed(orjson.dumps(record(failed)))


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
    notice = DetectionJob.loads(parameters).notice
    if notice is None:
        return None
    follows = NoticeJob(job_id, DETECTION, notice)
    return Following(notice_id(job_id), NOTICE, follows.dumps())


KINDS: dict[str, Kind] = {
    INSPECTION: Kind(_prepare_inspection, _give_up_inspection, portable=True),
    DETECTION: Kind(_prepare_detection, following=_notice_of_detection),
}
