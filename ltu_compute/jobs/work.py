"""The worker's side of jobs: prepares for a job once, then computes its parts."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ltu_compute.jobs.kinds import Computed, Inputs, Part
from ltu_compute.settings import Settings

KEPT = 4  # jobs that a worker stays prepared for: jobs of several accounts take turns

T = TypeVar("T")


class Recent(Generic[T]):
    """Values used last, by job; the runner and its worker keep the same ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, job_id: str) -> T | None:
        """Return what is kept for a job; it is now the most recent."""
        if job_id in self._kept:
            self._kept.move_to_end(job_id)
        return self._kept.get(job_id)

    def make_room(self) -> None:
        """Drop the least recent where all places are taken."""
        while len(self._kept) >= KEPT:
            self._kept.popitem(last=False)

    def put(self, job_id: str, value: T) -> None:
        """Keep something for a job."""
        self.make_room()
        self._kept[job_id] = value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()


@dataclass(frozen=True)
class Preparation:
    """Preparation of a worker for the parts of a job."""

    prepare: Callable[[str, Inputs, Settings], Part]
    parameters: str
    shared: Mapping[str, bytes]


@dataclass(frozen=True)
class Piece:
    """A part to compute; with a preparation where the worker has none for its job."""

    job_id: str
    inputs: Mapping[str, bytes]
    preparation: Preparation | None = None


class Work:
    """Computes parts.

    Parameters
    ----------
    settings : Settings
        Of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Recent[Part] = Recent()

    def __call__(self, piece: Piece) -> Computed:
        """Compute a part."""
        given = piece.preparation
        if given is not None:
            self._parts.make_room()
            self._parts.put(
                piece.job_id, given.prepare(given.parameters, given.shared, self._settings)
            )
        compute = self._parts.get(piece.job_id)
        if compute is None:
            raise RuntimeError("a part of a job that was not prepared")
        return compute(piece.inputs)


def work(settings: Settings) -> Callable[[Piece], Computed]:
    """Return what computes parts; called in the worker's process."""
    return Work(settings)
