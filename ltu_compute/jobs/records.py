"""Results of claimed parts, written to the database once it answers, and to the log."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from ltu_compute.errors import Unavailable
from ltu_compute.jobs import failures
from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.jobs.kinds import KINDS, Computed
from ltu_compute.store.job_records import MAX_ATTEMPTS, Claim
from ltu_compute.store.jobs import Jobs

RETRY_S = 0.5  # seconds between two attempts to reach the database
LOST = f"its workers were lost {MAX_ATTEMPTS} times"

_log = logging.getLogger("ltu_compute.jobs")


class Records:
    """Records what becomes of claims; a claim that does not hold any more records nothing.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    stopping : Event
        Set when nobody waits any longer for a database that does not answer.
    doorbell : Doorbell, optional
        Signals the end of a job, and rings for one that follows.
    """

    def __init__(
        self, jobs: Jobs, stopping: threading.Event, doorbell: Doorbell | None = None
    ) -> None:
        self._jobs = jobs
        self._stopping = stopping
        self._doorbell = doorbell

    def finish(self, claim: Claim, computed: Computed, seconds: float) -> None:
        """Record the result of a part."""
        self._finish(claim, computed)
        note("job part", claim, ms=round(1000 * seconds, 1))

    def release(self, claim: Claim, *, counts: bool = True) -> None:
        """Give a part back to the queue; see `Jobs.release`."""
        self._insist(lambda: self._jobs.release(claim, counts=counts))

    def fail_or_retry(self, claim: Claim, reason: str) -> None:
        """Give a part back that failed, or give it up where all attempts were made."""
        if claim.attempts >= MAX_ATTEMPTS:
            self.give_up(claim, reason)
        else:
            note("job part failed, to be tried again", claim, reason=reason)
            self.release(claim)

    def give_up(self, claim: Claim, reason: str) -> None:
        """Record that nobody could compute a part: its job fails, or has that as a result."""
        note("job part failed", claim, reason=reason)
        instead_of = KINDS[claim.kind].give_up
        if instead_of is None:
            ending = _Ending(self._jobs, claim, reason)
            self._insist(lambda: self._jobs.fail(claim, reason, also=ending))
            self._announce(ending)
        else:
            inputs = self._jobs.inputs(claim.job_id, claim.position)
            self._finish(claim, instead_of(claim.parameters, inputs, reason))

    def give_up_lost(self, claim: Claim) -> None:
        """Record that the workers of a part were lost, one after the other."""
        self.give_up(claim, LOST)

    def _finish(self, claim: Claim, computed: Computed) -> None:
        ending = _Ending(self._jobs, claim, computed.error or computed)
        if computed.error:
            self._insist(lambda: self._jobs.fail(claim, computed.error, also=ending))
            self._announce(ending)
            return
        attachment = None if KINDS[claim.kind].ended else computed.attachment
        try:
            self._insist(lambda: self._jobs.finish(claim, computed.result, attachment, also=ending))
        except tuple(failures.LASTING.values()) as error:  # its kind does not accept the result
            note("job part refused", claim, reason=str(error))
            self._finish(claim, Computed(b"", error=failures.dumped(error)))
        else:
            self._announce(ending)

    def _announce(self, ending: "_Ending") -> None:
        """Wake those who wait for the end of a job, and who computes the job that follows."""
        if self._doorbell is not None and ending.reached:
            self._doorbell.ended()
            if ending.following is not None:
                self._doorbell.ring(ending.following.kind)

    def _insist(self, write: Callable[[], Any]) -> None:
        """Write once the database answers."""
        while True:
            try:
                write()
            except Unavailable:
                if self._stopping.wait(RETRY_S):
                    return
            else:
                return


class _Ending:
    """The further writes when a job ends: those of its kind, and a job that follows.

    Called in the transaction that ends the job.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    claim : Claim
        A part of the job.
    outcome : Computed or str
        Its result, or why it failed.

    Attributes
    ----------
    following : Following or None
        The job that follows.
    reached : bool
        Whether it was called: the part was the last one.
    """

    def __init__(self, jobs: Jobs, claim: Claim, outcome: Computed | str) -> None:
        self._jobs = jobs
        self._claim = claim
        self._outcome = outcome
        self._kind = KINDS[claim.kind]
        follow = self._kind.following
        self.following = follow(claim.job_id, claim.parameters) if follow else None
        self.reached = False

    def __call__(self, connection: Connection) -> None:
        """Do it."""
        self.reached = True
        if self._kind.ended is not None:
            self._kind.ended(connection, self._claim, self._outcome)
        next_ = self.following
        if next_ is not None:
            account_id = self._claim.account_id
            self._jobs.follow(connection, account_id, next_.kind, next_.parameters, next_.id)


def note(event: str, claim: Claim, **more: Any) -> None:
    """Write a line about a part to the log."""
    fields = {
        "job": claim.job_id,
        "kind": claim.kind,
        "part": claim.position,
        "attempt": claim.attempts,
        **more,
    }
    listed = " ".join(f"{name}={value!r}" for name, value in fields.items())
    _log.info("%s %s", event, listed, extra={"fields": {"message": event, **fields}})
