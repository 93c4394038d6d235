"""Runs jobs on this machine: claims parts, has a worker process compute them, records results.

One runner has one worker process. A service has a runner in each of its workers, ``ltu-compute
worker`` has as many as its option says. The database assigns the parts. A runner that dies, with or
without its machine, loses nothing but the seconds until its lease ends.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from ltu_compute.errors import Unavailable
from ltu_compute.jobs.doorbell import Bell, Doorbell
from ltu_compute.jobs.kinds import KINDS, Computed
from ltu_compute.jobs.notices import Compose, Notices
from ltu_compute.jobs.process import (
    LEAST_NICE,
    Failed,
    Process,
    Progress,
    WorkerDied,
    preload,
)
from ltu_compute.jobs.records import RETRY_S, Records, note
from ltu_compute.jobs.work import Piece, Preparation, Recent, work
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.job_records import Claim
from ltu_compute.store.jobs import Jobs

POLL_S = 1.0  # seconds between two looks for work, unless the doorbell rings
CHECK_S = 0.4  # seconds between two looks whether the job was cancelled
RENEWED_AFTER = 0.2  # of a lease: four renewals may fail
BUSY_S = 0.05  # seconds between two looks whether requests leave room
IDLE_S = 300.0  # seconds after which a worker process with nothing to do is ended
COURTESY_S = 0.05  # seconds in which a runner that has a process takes a job before one without
PURGE_S = 60.0  # seconds between two purges of jobs whose time is over

_log = logging.getLogger("ltu_compute.jobs")


class Running(Protocol):
    """A runner of jobs, until it is stopped."""

    def start(self) -> threading.Thread:
        """Begin, in a thread of its own."""

    def stop(self) -> None:
        """Give back what is being computed; the thread ends soon."""


class Runner:
    """Computes jobs, a part at a time, until it is stopped.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    settings : Settings
        Of the service.
    doorbell : Doorbell, optional
        Wakes it when there is work, and signals the end of a job.
    may_start : callable
        Whether requests leave room for a part now.
    nice : int
        Niceness of the worker process.
    kinds : collection of str, optional
        Which jobs it computes. Default: all of `KINDS`.
    purge : callable, optional
        Deletes what is over, each `PURGE_S`. Default: jobs.
    """

    def __init__(
        self,
        jobs: Jobs,
        settings: Settings,
        *,
        doorbell: Doorbell | None = None,
        may_start: Callable[[], bool] = lambda: True,
        nice: int = LEAST_NICE,
        kinds: Collection[str] | None = None,
        purge: Callable[[], object] | None = None,
    ) -> None:
        self._jobs = jobs
        self._purge = jobs.purge if purge is None else purge
        self._settings = settings
        self._may_start = may_start
        self._nice = nice
        self._kinds = list(KINDS if kinds is None else kinds)
        self._bell: Bell | None = None if doorbell is None else doorbell.bell(self._kinds)
        self._expects_work = False  # it was woken, or has just found some
        self._lease = settings.job_lease  # seconds
        self._renew_s = self._lease * RENEWED_AFTER
        self._stopping = threading.Event()
        self._records = Records(jobs, self._stopping, doorbell)
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
            self._purge()
        if not self._may_start():
            self._stopping.wait(BUSY_S)
            return
        claims = self._claims()
        if not claims:
            if self._process is not None and time.monotonic() - self._used_at > IDLE_S:
                self._end_process()
            self._expects_work = self._woken()
            return
        self._expects_work = True
        for claim in claims:
            self._run(claim)
        self._used_at = time.monotonic()

    def _claims(self) -> list[Claim]:
        """Return the part to compute next; none: there is no work."""
        if not self._expects_work or self._process is None:
            if not self._jobs.is_waiting(self._kinds):  # idle workers look often, and lock nothing
                return []
            if self._process is None:
                # Before the lease begins: where processors are busy, it would end before this does.
                self._start_process()
                if self._stopping.is_set():
                    return []
        return self._jobs.claim(kinds=self._kinds, lease=self._lease)

    def _woken(self) -> bool:
        """Wait until there may be work, and return whether somebody has said so."""
        if self._bell is None:
            self._stopping.wait(POLL_S)
            return False
        # One job at a time is computed by one process, whose models are loaded.
        return self._bell.wait(POLL_S, courtesy=0.0 if self._process else COURTESY_S)

    def _run(self, claim: Claim) -> None:
        if claim.exhausted:
            self._records.give_up_lost(claim)
            return
        started = time.monotonic()
        try:
            with self._released_on_error(claim):
                reply = self._computed(claim)
        except WorkerDied as died:
            self._end_process()
            self._records.fail_or_retry(claim, str(died))
            return
        if reply is None:  # cancelled, claimed by another, or stopped
            self._end_process()
            if self._stopping.is_set():
                self._records.release(claim, counts=False)
            note("job part abandoned", claim)
            return
        if isinstance(reply, Failed):
            self._end_process()  # whatever it is prepared for
            self._records.fail_or_retry(claim, reply.reason)
            return
        self._records.finish(claim, reply, time.monotonic() - started)

    def _computed(self, claim: Claim) -> Computed | Failed | None:
        """Return the result of a part; None when nobody wants it any more."""
        process = self._process or self._start_process()
        preparation = None
        if self._prepared.get(claim.job_id) is None:
            shared, inputs = self._jobs.all_inputs(claim.job_id, claim.position)
            preparation = Preparation(KINDS[claim.kind].prepare, claim.parameters, shared)
            self._prepared.put(claim.job_id, True)
        else:
            inputs = self._jobs.inputs(claim.job_id, claim.position)
        process.send(Piece(claim.job_id, inputs, preparation))
        preparation, inputs = None, {}
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
            self._records.release(claim)
            raise

    # ---------------------------------------------------------------- its process

    def _start_process(self) -> Process[Piece, Computed]:
        preload(work.__module__)
        process: Process[Piece, Computed] = Process(partial(work, self._settings), nice=self._nice)
        self._process = process
        try:
            while not self._stopping.is_set() and not process.connection.poll(CHECK_S):
                pass
            if not self._stopping.is_set():
                process.receive()  # it is ready
        except WorkerDied:
            self._end_process()
            raise
        return process

    def _end_process(self) -> None:
        process, self._process = self._process, None
        self._prepared.clear()
        if process is not None:
            process.kill()


def runners_for(
    store: Store,
    settings: Settings,
    *,
    compose: Mapping[str, Compose],
    count: int = 1,
    doorbell: Doorbell | None = None,
    may_start: Callable[[], bool] = lambda: True,
    nice: int = LEAST_NICE,
) -> list[Running]:
    """Return what computes jobs where the settings say, and what sends notices of them.

    Where there is a Dask cluster, it computes what its workers can, and a runner here the rest.
    Jobs that take minutes have a runner of their own.

    Parameters
    ----------
    store : Store
        Jobs, and keys that sign notices.
    settings : Settings
        Of the service.
    compose : mapping of str to callable
        What a notice of a job says, by the kind of job.
    count : int
        Runners on this machine.
    doorbell, may_start, nice
        See `Runner`.
    """
    here = {name: kind for name, kind in KINDS.items() if not (settings.dask and kind.portable)}
    slow = [name for name, kind in here.items() if kind.slow]
    quick = [name for name in here if name not in slow]
    running: list[Running] = [
        Runner(
            store.jobs,
            settings,
            doorbell=doorbell,
            may_start=may_start,
            nice=nice,
            kinds=kinds,
            purge=store.purge,
        )
        for kinds in (*[quick] * count, slow)
    ]
    if settings.dask:
        from ltu_compute.jobs.cluster_runner import ClusterRunner  # noqa: PLC0415  (an extra)

        running.append(ClusterRunner(store.jobs, settings, doorbell=doorbell))
    return [*running, Notices(store, settings, compose, doorbell=doorbell)]
