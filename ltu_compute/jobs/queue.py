"""The way in for those who submit jobs: they are stored, and idle workers are woken."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.store.job_records import Job
from ltu_compute.store.jobs import Also, Jobs

MOST_WOKEN = 64  # more workers than a service has
MOST_WAITING = 64  # requests of a process that wait for the end of a job
MOST_WAITING_OF_ACCOUNT = 48  # of these, so that one account leaves some to the others
PROMPTNESS = 0.05  # of the time waited so far: how much later an end is noticed
SHORTEST_S, LONGEST_S = 0.002, 0.05  # seconds between two looks whether any job has ended
LOOK_S = 1.0  # seconds between two looks at the job itself: a worker may be on another machine


class _Places:
    """Places of requests that wait, counted by account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()

    def taken(self, account_id: str) -> bool:
        """Take a place; return whether there was one."""
        with self._lock:
            free = (
                self._waiting.total() < MOST_WAITING
                and self._waiting[account_id] < MOST_WAITING_OF_ACCOUNT
            )
            if free:
                self._waiting[account_id] += 1
            return free

    def give_back(self, account_id: str) -> None:
        """Give a place back."""
        with self._lock:
            self._waiting[account_id] -= 1
            self._waiting = +self._waiting  # accounts that wait for nothing take no memory


@dataclass(frozen=True)
class Queue:
    """Where jobs are submitted.

    Attributes
    ----------
    jobs : Jobs
        The rows.
    doorbell : Doorbell
        Wakes the workers.
    """

    jobs: Jobs
    doorbell: Doorbell
    _places: _Places = field(default_factory=_Places, init=False)
    _leaving: threading.Event = field(default_factory=threading.Event, init=False)

    def add(
        self,
        account_id: str,
        kind: str,
        parameters: str,
        inputs: Mapping[tuple[int, str], bytes] | None = None,
        *,
        job_id: str | None = None,
        also: Also | None = None,
    ) -> Job:
        """Add a job of one part and have it computed soon; see `Jobs.add`."""
        job = self.jobs.add(account_id, kind, parameters, inputs, job_id=job_id, also=also)
        self.doorbell.ring(kind)
        return job

    def submit(self, job: Job) -> Job:
        """Have a job that was created computed soon; see `Jobs.submit`."""
        job = self.jobs.submit(job)
        self.doorbell.ring(job.kind, min(job.parts, MOST_WOKEN))
        return job

    def ended(
        self, account_id: str, job_id: str, seconds: float, is_unwanted: Callable[[], bool]
    ) -> Job | None:
        """Return a job once it has ended, or as it is after a time; None: there is no such job.

        It does not wait where `MOST_WAITING` others do, or `MOST_WAITING_OF_ACCOUNT` of the same
        account, and not for long when this process is
        about to end.

        Parameters
        ----------
        account_id, job_id : str
            Whose, and which.
        seconds : float
            How long it may take.
        is_unwanted : callable
            Whether nobody waits for the answer any more.
        """
        seen = self.doorbell.ends()
        job = self.jobs.job(account_id, job_id)
        if job is None or job.ended or not self._places.taken(account_id):
            return job
        try:
            began = looked = time.monotonic()
            while (now := time.monotonic()) < began + seconds and not is_unwanted():
                pause = min(max(PROMPTNESS * (now - began), SHORTEST_S), LONGEST_S)
                if self._leaving.wait(min(pause, began + seconds - now)):
                    break
                if self.doorbell.ends() != seen or time.monotonic() - looked >= LOOK_S:
                    seen, looked = self.doorbell.ends(), time.monotonic()
                    job = self.jobs.job(account_id, job_id)
                    if job is None or job.ended:
                        break
        finally:
            self._places.give_back(account_id)
        return job

    def leave(self) -> None:
        """Wait for no more jobs: this process is about to end."""
        self._leaving.set()
