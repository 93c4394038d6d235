"""Runs jobs on this machine: claims parts, has a worker process compute them, records results.

One runner has one worker process. A service has a runner in each of its workers, ``ltu-compute
worker`` has as many as it is told. The database decides who computes what; a runner that dies, with
or without its machine, loses nothing but the seconds until its lease ends.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ltu_compute.errors import Unavailable
from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.jobs.kinds import KINDS, Computed
from ltu_compute.jobs.process import LEAST_NICE, Failed, Process, Progress, WorkerDied
from ltu_compute.jobs.work import Piece, Preparation, Recent, work
from ltu_compute.settings import Settings
from ltu_compute.store.jobs import MAX_ATTEMPTS, SHARED, Claim, Jobs

POLL_S = 1.0  # seconds between two looks for work, unless the doorbell rings
CHECK_S = 0.4  # seconds between two looks whether the job was cancelled
RENEWED_AFTER = 0.2  # of a lease: four renewals may fail
BUSY_S = 0.05  # seconds between two looks whether requests leave room
IDLE_S = 60.0  # seconds after which a worker process with nothing to do is ended
PURGE_S = 60.0  # seconds between two purges of jobs whose time is over
RETRY_S = 0.5  # seconds between two attempts to reach the database
LOST = "its workers were lost %d times"

_log = logging.getLogger("ltu_compute.jobs")


class Runner:
    """Computes jobs, a part at a time, until it is told to stop.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    settings : Settings
        Of the service.
    doorbell : Doorbell, optional
        Wakes it when a job is added by this service.
    may_start : callable
        Whether requests leave room for a part now.
    nice : int
        How far the worker process stands back.
    """

    def __init__(
        self,
        jobs: Jobs,
        settings: Settings,
        *,
        doorbell: Doorbell | None = None,
        may_start: Callable[[], bool] = lambda: True,
        nice: int = LEAST_NICE,
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._doorbell = doorbell
        self._may_start = may_start
        self._nice = nice
        self._lease = settings.job_lease  # seconds
        self._renew_s = self._lease * RENEWED_AFTER
        self._stopping = threading.Event()
        self._process: Process[Piece, Computed] | None = None
        self._prepared: Recent[bool] = Recent()  # jobs that the process is prepared for
        self._used_at = self._purged_at = time.monotonic()

    def stop(self) -> None:
        """Give back what is being computed, and return from `run` soon."""
        self._stopping.set()

    def run(self) -> None:
        """Compute jobs until `stop`; a database that does not answer is waited for."""
        try:
            while not self._stopping.is_set():
                try:
                    self._step()
                except Unavailable:
                    self._stopping.wait(RETRY_S)
                except Exception:  # noqa: BLE001  (no job may end the thread that all others need)
                    _log.exception("a job could not be run")
                    self._stopping.wait(POLL_S)
        finally:
            self._end_process()

    def start(self) -> threading.Thread:
        """Run in a thread of its own."""
        thread = threading.Thread(target=self.run, daemon=True, name="ltu-compute-jobs")
        thread.start()
        return thread

    # ---------------------------------------------------------------- one part

    def _step(self) -> None:
        now = time.monotonic()
        if now - self._purged_at >= PURGE_S:
            self._purged_at = now
            self._jobs.purge()
        if not self._may_start():
            self._stopping.wait(BUSY_S)
            return
        claims = self._jobs.claim(kinds=list(KINDS), lease=self._lease)
        if not claims:
            if self._process is not None and time.monotonic() - self._used_at > IDLE_S:
                self._end_process()
            self._wait()
            return
        for claim in claims:
            self._run(claim)
        self._used_at = time.monotonic()

    def _wait(self) -> None:
        if self._doorbell is None:
            self._stopping.wait(POLL_S)
        else:
            self._doorbell.wait(POLL_S)

    def _run(self, claim: Claim) -> None:
        if claim.exhausted:
            self._give_up(claim, LOST % MAX_ATTEMPTS)
            return
        started = time.monotonic()
        try:
            with self._released_on_error(claim):
                reply = self._computed(claim)
        except WorkerDied as died:
            self._end_process()
            self._fail_or_retry(claim, str(died))
            return
        if reply is None:  # cancelled, claimed by another, or stopped
            self._end_process()
            if self._stopping.is_set():
                self._insist(lambda: self._jobs.release(claim, counts=False))
            _note("job part abandoned", claim)
            return
        if isinstance(reply, Failed):
            self._end_process()  # whatever it is prepared for
            self._fail_or_retry(claim, reply.reason)
            return
        self._insist(lambda: self._jobs.finish(claim, reply.result, reply.attachment))
        _note("job part", claim, ms=round(1000 * (time.monotonic() - started), 1))

    def _computed(self, claim: Claim) -> Computed | Failed | None:
        """Return what a part came to; None when nobody wants it any more."""
        process = self._process or self._start_process()
        preparation = None
        if self._prepared.get(claim.job_id) is None:
            shared = self._jobs.inputs(claim.job_id, SHARED)
            preparation = Preparation(KINDS[claim.kind].prepare, claim.parameters, shared)
            self._prepared.put(claim.job_id, True)
        inputs = self._jobs.inputs(claim.job_id, claim.position)
        process.send(Piece(claim.job_id, inputs, preparation))
        del inputs, preparation
        progress, renewed_at = 0.0, time.monotonic()
        while not self._stopping.is_set():
            if process.connection.poll(CHECK_S):
                reply = process.receive()
                if not isinstance(reply, Progress):
                    return reply
                progress = reply.share
            try:
                if time.monotonic() - renewed_at >= self._renew_s:
                    held = self._jobs.renew({claim: progress}, lease=self._lease)
                    renewed_at = time.monotonic()
                else:
                    held = self._jobs.holds([claim])
            except Unavailable:
                continue  # it may be back before the lease ends; who else could claim meanwhile?
            if claim not in held:
                return None
        return None

    @contextmanager
    def _released_on_error(self, claim: Claim) -> Iterator[None]:
        try:
            yield
        except WorkerDied:
            raise
        except Exception:
            self._end_process()
            self._insist(lambda: self._jobs.release(claim))
            raise

    def _fail_or_retry(self, claim: Claim, reason: str) -> None:
        if claim.attempts >= MAX_ATTEMPTS:
            self._give_up(claim, reason)
        else:
            _note("job part failed, to be tried again", claim, reason=reason)
            self._insist(lambda: self._jobs.release(claim))

    def _give_up(self, claim: Claim, reason: str) -> None:
        _note("job part failed", claim, reason=reason)
        give_up = KINDS[claim.kind].give_up
        if give_up is None:
            self._insist(lambda: self._jobs.fail(claim, reason))
        else:
            inputs = self._jobs.inputs(claim.job_id, claim.position)
            instead = give_up(claim.parameters, inputs, reason)
            self._insist(lambda: self._jobs.finish(claim, instead.result, instead.attachment))

    def _insist(self, write: Callable[[], Any]) -> None:
        """Write to the database once it answers; where the claim is lost meanwhile, it does not."""
        while True:
            try:
                write()
            except Unavailable:
                if self._stopping.wait(RETRY_S):
                    return
            else:
                return

    # ---------------------------------------------------------------- its process

    def _start_process(self) -> Process[Piece, Computed]:
        self._process = Process(partial(work, self._settings), nice=self._nice)
        return self._process

    def _end_process(self) -> None:
        process, self._process = self._process, None
        self._prepared.clear()
        if process is not None:
            process.kill()


def _note(event: str, claim: Claim, **more: Any) -> None:
    fields = {
        "job": claim.job_id,
        "kind": claim.kind,
        "part": claim.position,
        "attempt": claim.attempts,
        **more,
    }
    told = " ".join(f"{name}={value!r}" for name, value in fields.items())
    _log.info("%s %s", event, told, extra={"fields": {"message": event, **fields}})
