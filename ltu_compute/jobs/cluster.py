"""Computing on a Dask cluster instead of this machine's processors.

The cluster is transport and processors, nothing else: what is to be done is in the database or in
the folder of a batch, and so is what was done. A worker, a scheduler or a connection that is lost
costs the computations in flight, which are made again.

Files travel with their tasks, so that workers need no access to them. A reference travels once per
worker: it is a task of its own, which the scheduler gives anew to a worker that lacks it.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2

from ltu_compute import __version__
from ltu_compute.admission.allocation import keep_memory
from ltu_compute.cancellation import cancellable
from ltu_compute.errors import NotInstalled, ServiceError, Unavailable
from ltu_compute.jobs.inspection import (
    Inspector,
    Options,
    Outcome,
    Source,
    Task,
    file_content,
)
from ltu_compute.jobs.kinds import KINDS, Computed, Part
from ltu_compute.jobs.process import Failed
from ltu_compute.jobs.work import Preparation
from ltu_compute.settings import Settings

CONNECT_S = 10.0  # seconds in which a scheduler must answer
LOST_S = 60.0  # seconds for which a scheduler that was lost is waited for
AHEAD = 2  # tasks that each thread of the cluster has: one is computed, one is on its way
KEPT = 4  # jobs or batches that a worker stays prepared for
RETRY_S = 0.5
REFERENCE_KEY = "ltu-reference-"

_log = logging.getLogger("ltu_compute.jobs")


class VersionMismatch(ServiceError):
    """A worker of the cluster runs another version of this package."""


class ClusterLost(Unavailable):
    """No scheduler answers."""


# ------------------------------------------------------------------- on the cluster's workers


class _Prepared(threading.local):
    """Preparations of a worker's thread, by key."""

    def __init__(self) -> None:
        self.parts: OrderedDict[str, Callable[..., Any]] = OrderedDict()

    def get(self, key: str, build: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if key not in self.parts:
            cv2.setNumThreads(1)
            keep_memory()
            while len(self.parts) >= KEPT:
                self.parts.popitem(last=False)
            self.parts[key] = build()
        self.parts.move_to_end(key)
        return self.parts[key]


_prepared = _Prepared()


def _check_version(version: str) -> None:
    if version != __version__:
        raise VersionMismatch(
            f"the Dask worker runs ltu-compute {__version__}, its client {version}: install the "
            "same version"
        )


def content(file: bytes) -> bytes:
    """Return a file: the task that takes it to workers."""
    return file


def inspect(
    version: str, options: Options, task: Task, reference: bytes | None, region: bytes | None
) -> Outcome:
    """Inspect a shot; runs on a worker."""
    _check_version(version)
    inspect_one = _prepared.get(options.digest, lambda: Inspector(options).inspect)
    if reference is not None:
        task = replace(task, reference=replace(task.reference, content=reference))
    if region is not None and task.region is not None:
        task = replace(task, region=replace(task.region, content=region))
    with cancellable(_cancelled_here()):
        outcome: Outcome = inspect_one(task)
    return outcome


def compute(
    version: str, key: str, preparation: Preparation, inputs: dict[str, bytes], settings: Settings
) -> Computed:
    """Compute a part of a job; runs on a worker."""
    _check_version(version)
    part: Part = _prepared.get(
        key,
        lambda: preparation.prepare(preparation.parameters, preparation.shared, settings),
    )
    with cancellable(_cancelled_here()):
        return part(inputs)


def _cancelled_here() -> Callable[[], bool] | None:
    """Return a function that says whether the task of this thread was cancelled; None: no worker.

    It asks the worker's own record of its tasks, which the scheduler keeps up to date: no message
    is sent.
    """
    from distributed import get_worker  # noqa: PLC0415  (an extra)

    try:
        worker = get_worker()
    except ValueError:  # not on a worker
        return None
    key = worker.get_current_task()

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return cancelled


def prepared(kind: str, parameters: str, shared: dict[str, bytes]) -> Preparation:
    """Return the preparation of a job: the task that takes it to workers."""
    return Preparation(KINDS[kind].prepare, parameters, shared)


# -------------------------------------------------------------------------- on this side


def connected(address: str) -> Any:
    """Return a client of a scheduler. TLS is that of ``dask.config`` (distributed.comm.tls).

    Raises
    ------
    NotInstalled
        Without the extra [dask].
    ClusterLost
        When no scheduler answers at the address.
    """
    try:
        from distributed import Client  # noqa: PLC0415  (an extra)
    except ImportError:
        raise NotInstalled("Dask takes the extra [dask]: pip install 'ltu-compute[dask]'") from None
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False, name="ltu-compute")
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:  # the last: TLS is required
        raise ClusterLost(f"no Dask scheduler answers at {address}: {error}") from None


@dataclass(frozen=True)
class _Item:
    """A task that was sent, its position, and the number of attempts."""

    position: int
    task: Task
    attempt: int = 1


@dataclass(frozen=True)
class _File:
    """A file that was sent to the workers, and its digest; empty if workers fetch it."""

    future: Any = None
    sha256: str = ""


class Cluster:
    """Computes the tasks of a batch on a Dask cluster; see `batch.Engine`.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://host:8786`` or ``tls://host:8786``.
    options : Options
        How shots are compared and judged.

    Raises
    ------
    NotInstalled, ClusterLost
        See `connected`.
    """

    def __init__(self, address: str, options: Options) -> None:
        self._address = address
        self._options = options
        self._client = connected(address)
        self._files: OrderedDict[str, _File] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._client.close(timeout=1)

    def map(self, tasks: Iterator[Task]) -> Iterator[tuple[int, Outcome | Failed]]:
        """Yield the position and outcome of each task as it ends.

        A scheduler that is lost is waited for, and what was in flight is computed again; after
        `LOST_S` seconds without one, `ClusterLost` is raised.
        """
        following = enumerate(tasks)
        again: list[_Item] = []
        flying: dict[Any, _Item] = {}
        more = True
        while True:
            while len(flying) < self._window() and (again or more):
                if again:
                    item = again.pop()
                else:
                    taken = next(following, None)
                    if taken is None:
                        more = False
                        break
                    item = _Item(*taken)
                early = self._sent(item, flying)
                if early is not None:
                    yield item.position, early
            if not flying:
                return
            for future, outcome in self._ended(flying):
                item = flying.pop(future)
                if outcome is None:
                    again.append(replace(item, attempt=item.attempt + 1))
                else:
                    yield item.position, outcome
            if self._client.status in {"closed", "closing", "connecting"}:
                again += flying.values()
                flying.clear()
                self._reconnect()

    def _window(self) -> int:
        """Return how many tasks may be in flight: two a thread of the cluster."""
        try:
            threads = int(sum(self._client.nthreads().values()))
        except Exception:  # noqa: BLE001  (whatever a broken connection raises)
            threads = 1
        return AHEAD * max(1, threads)

    def _sent(self, item: _Item, flying: dict[Any, _Item]) -> Failed | Outcome | None:
        """Send a task; return its outcome where its files cannot even be read here."""
        task = item.task
        files: list[_File] = []
        try:
            for source, name in ((task.reference, "reference"), (task.region, "region")):
                files.append(self._file(source, name) if source else _File())
            task = replace(task, shot=self._read(task.shot, "shot"))
        except ServiceError as error:
            digests = [*(file.sha256 for file in files), "", ""]
            return Inspector(self._options).refused(
                task, error, reference_sha256=digests[0], region_sha256=digests[1]
            )
        reference, region = (file.future for file in files)
        future = self._client.submit(
            inspect, __version__, self._options, task, reference, region, pure=False
        )
        flying[future] = item
        return None

    def _read(self, source: Source, name: str) -> Source:
        if source.content is not None or source.is_url:
            return source
        return Source(source.name, file_content(source.name, self._options.max_bytes, name))

    def _file(self, source: Source, name: str) -> _File:
        """Return a file on its way to the workers, kept for the tasks that follow."""
        if source.is_url:  # workers fetch it
            return _File()
        if source.name not in self._files:
            read = self._read(source, name).content or b""
            sha256 = hashlib.sha256(read).hexdigest()
            while len(self._files) >= 2 * KEPT:
                self._files.popitem(last=False)
            future = self._client.submit(content, read, key=REFERENCE_KEY + sha256)
            self._files[source.name] = _File(future, sha256)
        self._files.move_to_end(source.name)
        return self._files[source.name]

    def _ended(self, flying: dict[Any, _Item]) -> Iterator[tuple[Any, Outcome | Failed | None]]:
        """Wait for some task to end, and yield those that did; None: compute it again."""
        from distributed import wait  # noqa: PLC0415  (an extra)

        with self._client.as_current(), suppress(TimeoutError, CancelledError):
            wait(list(flying), timeout=RETRY_S, return_when="FIRST_COMPLETED")
        for future in [each for each in flying if each.status != "pending"]:
            yield future, _outcome(future, flying[future].attempt)

    def _reconnect(self) -> None:
        deadline = time.monotonic() + LOST_S
        self._files.clear()
        with suppress(Exception):
            self._client.close(timeout=1)
        while True:
            try:
                self._client = connected(self._address)
            except ClusterLost:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)
            else:
                return


MAX_ATTEMPTS = 5  # times that a task is sent whose worker is lost


def _outcome(future: Any, attempt: int) -> Outcome | Failed | None:
    """Return the outcome of a task; None: it was lost, and is to be sent again."""
    try:
        outcome: Outcome = future.result(timeout=CONNECT_S)
    except VersionMismatch:
        raise
    except Exception as error:  # noqa: BLE001  (what a lost worker or scheduler raises)
        if attempt >= MAX_ATTEMPTS:
            return Failed(f"{type(error).__name__}: {error}"[:500])
        _log.info("a task of the cluster was lost, to be sent again: %r", error)
        return None
    return outcome
