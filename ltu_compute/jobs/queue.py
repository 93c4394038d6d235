"""The way in for those who submit jobs: they are stored, and idle workers are woken."""

from collections.abc import Mapping
from dataclasses import dataclass

from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.store.jobs import Also, Job, Jobs

MOST_WOKEN = 64  # more workers than a service has


@dataclass(frozen=True)
class Queue:
    """Where jobs are submitted.

    Attributes
    ----------
    jobs : Jobs
        The rows.
    doorbell : Doorbell
        Wakes the workers of this service.
    """

    jobs: Jobs
    doorbell: Doorbell

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
        self.doorbell.ring()
        return job

    def submit(self, job: Job) -> Job:
        """Have a job that was created computed soon; see `Jobs.submit`."""
        job = self.jobs.submit(job)
        self.doorbell.ring(min(job.parts, MOST_WOKEN))
        return job
