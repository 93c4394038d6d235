"""Runs jobs on a Dask cluster: claims parts, sends them there, records results.

As many as the cluster has threads, twice over, are claimed at a time. The rows stay the truth: a
worker, a scheduler or this process that is lost loses nothing but what was in flight.
"""

import logging
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from ltu_compute import __version__
from ltu_compute.errors import Unavailable
from ltu_compute.jobs import cluster
from ltu_compute.jobs.cluster import AHEAD, ClusterLost, VersionMismatch
from ltu_compute.jobs.doorbell import Doorbell
from ltu_compute.jobs.kinds import KINDS, Computed
from ltu_compute.jobs.records import RETRY_S, Records, note
from ltu_compute.settings import Settings
from ltu_compute.store.job_records import SHARED, Claim
from ltu_compute.store.jobs import Jobs

POLL_S = 0.2  # seconds between two looks at the queue while something is in flight
IDLE_S = 1.0  # seconds between two looks while nothing is
PURGE_S = 60.0  # seconds between two purges of jobs whose time is over
RENEWED_AFTER = 0.2  # of a lease: four renewals may fail
CLAIMED = 8  # parts claimed at a time
PORTABLE = [name for name, kind in KINDS.items() if kind.portable]

_log = logging.getLogger("ltu_compute.jobs")


class ClusterRunner:
    """Computes jobs on a Dask cluster until it is stopped; see `runner.Runner`.

    A part that is cancelled while a worker of the cluster computes it stops at its next
    `checkpoint`, within a second; a step that has none is computed to its end.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    settings : Settings
        Of the service; ``settings.dask`` is the scheduler's address.
    doorbell : Doorbell, optional
        Wakes it when there is work, and signals the end of a job.
    """

    def __init__(self, jobs: Jobs, settings: Settings, *, doorbell: Doorbell | None = None) -> None:
        self._jobs = jobs
        self._settings = settings
        self._sent_settings = without_secrets(settings)
        self._bell = None if doorbell is None else doorbell.bell(PORTABLE)
        self._stopping = threading.Event()
        self._records = Records(jobs, self._stopping, doorbell)
        self._client: Any = None
        self._flying: dict[Any, tuple[Claim, float]] = {}
        self._preparations: dict[str, Any] = {}
        self._renewed_at = self._purged_at = time.monotonic()

    def stop(self) -> None:
        """Give back what is in flight, and return from `run` soon."""
        self._stopping.set()

    def start(self) -> threading.Thread:
        """Run in a thread of its own."""
        thread = threading.Thread(target=self.run, daemon=True, name="ltu-compute-jobs")
        thread.start()
        return thread

    def run(self) -> None:
        """Compute jobs until `stop`; a cluster or a database that is lost is waited for."""
        reported = ""
        while not self._stopping.is_set():
            try:
                if self._client is None:
                    self._client = cluster.connected(self._settings.dask)
                    _log.info("jobs are computed on the Dask cluster at %s", self._settings.dask)
                    reported = ""
                self._step()
            except ClusterLost as lost:
                if str(lost) != reported:
                    reported = str(lost)
                    _log.warning("%s; jobs wait", lost)
                self._abandon()
                self._stopping.wait(RETRY_S)
            except Unavailable as unavailable:
                if str(unavailable) != reported:
                    reported = str(unavailable)
                    _log.warning("%s; jobs wait", unavailable)
                self._stopping.wait(RETRY_S)
            except Exception:  # noqa: BLE001  (no job may end the thread that all others need)
                _log.exception("jobs could not be sent to the Dask cluster")
                self._abandon()
                self._stopping.wait(IDLE_S)
        self._abandon()

    # ---------------------------------------------------------------- one round

    def _step(self) -> None:
        if self._client.status not in {"running", "newly-created"}:
            raise ClusterLost(f"the Dask scheduler at {self._settings.dask} was lost")
        self._tidy()
        self._fill()
        if not self._flying:
            self._preparations.clear()
            if self._bell is None:
                self._stopping.wait(IDLE_S)
            else:
                self._bell.wait(IDLE_S)
            return
        self._collect()

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._purged_at >= PURGE_S:
            self._purged_at = now
            self._jobs.purge()
        claims = {claim: 0.0 for claim, _ in self._flying.values()}
        lease = self._settings.job_lease
        if now - self._renewed_at >= RENEWED_AFTER * lease:
            held = self._jobs.renew(claims, lease=lease)
            self._renewed_at = now
        else:
            held = self._jobs.holds(claims)
        for future, (claim, _) in list(self._flying.items()):
            if claim not in held:
                del self._flying[future]
                future.cancel()
                note("job part abandoned", claim)

    def _fill(self) -> None:
        room = AHEAD * sum(self._client.nthreads().values()) - len(self._flying)
        while room > 0 and self._jobs.is_waiting(PORTABLE):
            claims = self._jobs.claim(
                min(room, CLAIMED), kinds=PORTABLE, lease=self._settings.job_lease
            )
            if not claims:
                return
            for claim in claims:
                if claim.exhausted:
                    self._records.give_up_lost(claim)
                else:
                    self._send(claim)
            room -= len(claims)

    def _send(self, claim: Claim) -> None:
        preparation = self._preparations.get(claim.job_id)
        if preparation is None:
            shared = self._jobs.inputs(claim.job_id, SHARED)
            preparation = self._client.submit(
                cluster.prepared,
                claim.kind,
                claim.parameters,
                shared,
                key=f"ltu-job-{claim.job_id}",
            )
            self._preparations[claim.job_id] = preparation
        future = self._client.submit(
            cluster.compute,
            __version__,
            claim.job_id,
            preparation,
            self._jobs.inputs(claim.job_id, claim.position),
            self._sent_settings,
            pure=False,
        )
        self._flying[future] = claim, time.monotonic()

    def _collect(self) -> None:
        from distributed import wait  # noqa: PLC0415  (an extra)

        with self._client.as_current(), suppress(TimeoutError, CancelledError):
            wait(list(self._flying), timeout=POLL_S, return_when="FIRST_COMPLETED")
        for future in [each for each in self._flying if each.status != "pending"]:
            claim, sent_at = self._flying.pop(future)
            self._record(claim, future, time.monotonic() - sent_at)

    def _record(self, claim: Claim, future: Any, seconds: float) -> None:
        try:
            computed: Computed = future.result(timeout=IDLE_S)
        except VersionMismatch as mismatch:
            self._records.fail_or_retry(claim, str(mismatch))
        except (CancelledError, OSError, TimeoutError) as lost:
            note("job part lost by the cluster", claim, reason=repr(lost))
            self._records.release(claim, counts=False)
        except Exception as error:  # noqa: BLE001  (whatever the computation raised)
            self._records.fail_or_retry(claim, f"{type(error).__name__}: {error}"[:500])
        else:
            self._records.finish(claim, computed, seconds)

    def _abandon(self) -> None:
        """Give back what is in flight, and forget the connection."""
        client, self._client = self._client, None
        flying, self._flying = self._flying, {}
        self._preparations.clear()
        for claim, _ in flying.values():
            self._records.release(claim, counts=False)
        if client is not None:
            with suppress(Exception):
                client.close(timeout=1)


def without_secrets(settings: Settings) -> Settings:
    """Return settings that may travel: passwords, keys and addresses with such are left out."""
    secret = {
        name: SecretStr("")
        for name in Settings.model_fields
        if isinstance(getattr(settings, name), SecretStr)
    }
    return settings.model_copy(update=secret)
