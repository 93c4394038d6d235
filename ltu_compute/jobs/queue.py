"""The way in for those who submit jobs: they are stored, and idle workers are woken."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.store.jobs import Also, Job, Jobs

MOST_WOKEN = 64  # more workers than a service has
MOST_WAITING = 64  # requests of a process that wait for the end of a job
PROMPTNESS = 0.05  # of the time waited so far: how much later an end is noticed
SHORTEST_S, LONGEST_S = 0.002, 0.05  # seconds between two looks whether any job has ended
LOOK_S = 1.0  # seconds between two looks at the job itself: a worker may be on another machine


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
    _places: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(MOST_WAITING), init=False
    )
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

        It does not wait where `MOST_WAITING` others do, and not for long when this process is
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
        if job is None or job.ended or not self._places.acquire(blocking=False):
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
            self._places.release()
        return job

    def leave(self) -> None:
        """Wait for no more jobs: this process is about to end."""
        self._leaving.set()
