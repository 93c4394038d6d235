"""Jobs, claims and results as the queue returns them, and the states that they pass through."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_ATTEMPTS = 5  # claims of a part; the sixth only records that it failed
PACE_JOBS = 20  # completed jobs whose mean time is an estimate of the next one's
SHARED = -1  # position of inputs that every part needs
KEPT = -2  # position of inputs that no part needs: they are deleted with the job, not when it ends


class State(StrEnum):
    """State of a job or of a part."""

    RECEIVING = "receiving"  # its inputs are still arriving; nobody claims it
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (State.QUEUED, State.RUNNING)
ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Job:
    """A job as its account sees it. Times are in seconds since 1970 (UTC).

    Attributes
    ----------
    parts, parts_done : int
        How many there are, and how many have a result.
    progress : float
        0 to 1: the mean over its parts.
    bytes : int
        Inputs and results that are stored for it now.
    error : str
        Why it failed; "" unless it did.
    expires_at : float or None
        When it is deleted with its results; None before it has ended.
    """

    id: str
    account_id: str
    kind: str
    parameters: str
    state: State
    parts: int
    parts_done: int
    bytes: int
    error: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    progress: float

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in ENDED


@dataclass(frozen=True)
class Claim:
    """A part that a worker may compute until its lease ends."""

    job_id: str
    position: int
    owner: str
    attempts: int
    account_id: str
    kind: str
    parameters: str

    @property
    def exhausted(self) -> bool:
        """Whether all attempts were made: record that it failed, do not compute it."""
        return self.attempts > MAX_ATTEMPTS


@dataclass(frozen=True)
class Result:
    """Result of a part."""

    position: int
    content: bytes


@dataclass(frozen=True)
class Counts:
    """The queue in numbers: jobs by state, and seconds since the oldest queued one was created."""

    jobs: Mapping[State, int]
    oldest_queued_s: float


@dataclass(frozen=True)
class Pace:
    """How fast jobs of a kind are done.

    Attributes
    ----------
    seconds : float or None
        Mean of the last `PACE_JOBS` completed ones, from their last claim to their end; None: there
        is none.
    active : int
        How many are queued or running, of all accounts.
    """

    seconds: float | None
    active: int


@dataclass(frozen=True)
class JobLimits:
    """Limits on the jobs of one account, ended jobs included.

    Attributes
    ----------
    jobs : int
        Jobs, whatever their state.
    bytes : int
        Inputs and results together.
    retention_s : float
        Seconds that an ended job and its results are kept.
    """

    jobs: int = 1000
    bytes: int = 4 << 30
    retention_s: float = 86_400.0
