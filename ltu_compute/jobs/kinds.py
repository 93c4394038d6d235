"""The kinds of jobs that there are, and how a part of each is computed.

A kind says two things: how a worker process prepares for a job, and what a part comes to that no
worker could compute. New kinds are entered in `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

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
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings


@dataclass(frozen=True)
class Computed:
    """What a part came to: a result, usually JSON, and what comes with it, such as a picture."""

    result: bytes
    attachment: bytes | None = None


Inputs = Mapping[str, bytes]
Part = Callable[[int, Inputs], Computed]
"""Computes a part, by its position and its own inputs."""


@dataclass(frozen=True)
class Kind:
    """A kind of job.

    Attributes
    ----------
    prepare : callable
        Parameters, shared inputs and settings to what computes a part. Called in the worker
        process, once for the parts of a job that it computes one after the other.
    give_up : callable or None
        Parameters, position and reason to the result of a part that no worker could compute. None:
        the job fails.
    """

    prepare: Callable[[str, Inputs, Settings], Part]
    give_up: Callable[[str, int, str], Computed] | None = None


# ------------------------------------------------------------------------- inspections

INSPECTION = "inspection"
REFERENCE, REGION, SHOT = "reference", "region", "shot"  # names of inputs


@dataclass(frozen=True)
class InspectionJob:
    """The parameters of an inspection job.

    Attributes
    ----------
    settings, limits
        How shots are compared and judged.
    shots : tuple of str
        Names of the shots, as they are reported; a part each.
    urls : mapping of int to str
        Addresses of those shots, by position, that are fetched when their turn comes.
    reference : str
        Name of the reference, as it is reported.
    """

    settings: ComparisonSettings
    limits: Limits
    shots: tuple[str, ...]
    urls: Mapping[int, str]
    reference: str

    def dumps(self) -> str:
        """Return the parameters as JSON."""
        named = asdict(self) | {"urls": {str(at): url for at, url in self.urls.items()}}
        return orjson.dumps(named).decode()

    @classmethod
    def loads(cls, text: str) -> "InspectionJob":
        """Return the parameters that `dumps` wrote."""
        named: dict[str, Any] = orjson.loads(text)
        return cls(
            ComparisonSettings(**named["settings"]),
            Limits(**named["limits"]),
            tuple(named["shots"]),
            {int(at): url for at, url in named["urls"].items()},
            named["reference"],
        )


def _prepare_inspection(parameters: str, shared: Inputs, settings: Settings) -> Part:
    job = InspectionJob.loads(parameters)
    options = Options(job.settings, job.limits, settings.max_upload_bytes, settings.max_pixels)
    inspector = Inspector(options, Fetcher(settings))
    reference = Source(job.reference, shared[REFERENCE])
    region = Source(REGION, shared[REGION]) if REGION in shared else None

    def inspect(position: int, inputs: Inputs) -> Computed:
        # An address is read from where it leads, a file from what was sent.
        shot = Source(job.urls.get(position, job.shots[position]), inputs.get(SHOT))
        outcome = inspector.inspect(Task(reference, shot, region))
        if outcome.inspection is None:
            raise RuntimeError("an inspection without a result")  # only where one is known
        named = replace(outcome.inspection, shot=job.shots[position])
        return Computed(orjson.dumps(record(named)), outcome.closeups or None)

    return inspect


def _give_up_inspection(parameters: str, position: int, reason: str) -> Computed:
    job = InspectionJob.loads(parameters)
    failed = Inspection(job.shots[position], job.reference, Verdict.ERROR, reason)
    return Computed(orjson.dumps(record(failed)))


KINDS: dict[str, Kind] = {INSPECTION: Kind(_prepare_inspection, _give_up_inspection)}
