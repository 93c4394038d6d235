"""Worker processes: one computation at a time each, apart from the caller's process.

A computation that takes the process down, or that nobody wants any more, costs a process and
nothing else. Processes are forked from a server that has the imports done (`forkserver`), never
from a process with threads.
"""

import os
import pickle
import queue
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, cast

import cv2

from ltu_compute.admission.allocation import keep_memory

T = TypeVar("T")
R = TypeVar("R")

MAX_ATTEMPTS = 3  # times that a task of a batch is tried when its process dies
PREFETCHED = 2  # tasks that a process has: one is computed, one waits
PROGRESS_S = 0.2  # seconds between two reports of progress
STOP_S = 1.0  # seconds in which a process ends after a request to stop
LEAST_NICE = 19  # of processes that take what others leave of the processors
_PRELOADED = ["ltu_compute.jobs.inspection"]

_context = get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


def preload(module: str) -> None:
    """Have processes forked with a module imported, if none of this process has begun yet."""
    _context.set_forkserver_preload([*_PRELOADED, module])


@dataclass(frozen=True)
class Progress:
    """Progress of a computation, 0 to 1."""

    share: float


class WorkerDied(Exception):
    """The process ended while it computed; the message says how."""


@dataclass(frozen=True)
class Failed:
    """A computation raised; ``reason`` is the type and the text."""

    reason: str


def _nobody(_: float) -> None:
    """Report nothing: this process is no worker."""


_report: Callable[[float], None] = _nobody


def report_progress(share: float) -> None:
    """Report the progress of the computation, 0 to 1; nothing outside of a worker."""
    _report(share)


class _Reporter:
    """Sends progress over a connection, a few times a second at most."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent_at = 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._sent_at >= PROGRESS_S:
            self._sent_at = now
            self._connection.send(Progress(share))


def _serve(connection: Connection, build: Callable[[], Callable[[Any], Any]], nice: int) -> None:
    """Compute tasks from a connection, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_THREAD_LIMIT"] = "1"
    cv2.setNumThreads(1)
    keep_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold pictures
    if nice:
        os.nice(nice)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive() -> None:
        # Beside the computation: the parent must not wait to hand over a large task.
        try:
            while True:
                tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)  # the parent is gone, or wants nothing more: stop whatever is computed

    global _report  # noqa: PLW0603  (a process has one parent)
    _report = _Reporter(connection)
    threading.Thread(target=receive, daemon=True).start()
    compute = build()
    connection.send(Progress(0.0))  # it is ready
    while True:
        task = tasks.get()
        try:
            reply = compute(task)
        except Exception as error:  # noqa: BLE001  (reported to the parent, which decides)
            reply = Failed(f"{type(error).__name__}: {error}")
        del task
        connection.send(reply)
        del reply


class Process(Generic[T, R]):
    """A process that computes one task after the other; the first progress says that it is ready.

    Parameters
    ----------
    build : callable
        Called in the process; returns what computes a task. Both it and the tasks are pickled.
    nice : int
        Niceness of the process, 0 to 19.
    """

    def __init__(self, build: Callable[[], Callable[[T], R]], *, nice: int = 0) -> None:
        # Before the server that forks them starts: processes run side by side, and a second thread
        # of each for its matrices only takes turns with the others.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self.connection, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_serve, args=(theirs, build, nice), daemon=True, name="ltu-compute-jobs"
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    def send(self, task: T) -> None:
        """Hand over a task; the replies arrive in the same order.

        Raises
        ------
        WorkerDied
            When there is nobody to take it.
        """
        try:
            self.connection.send(task)
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerDied(self._obituary()) from None

    def receive(self) -> "R | Failed | Progress":
        """Wait for the next reply, or for news of the computation.

        Raises
        ------
        WorkerDied
            When the process ended instead.
        """
        try:
            reply: R | Failed | Progress = self.connection.recv()
        except (EOFError, ConnectionResetError, pickle.UnpicklingError):
            raise WorkerDied(self._obituary()) from None
        return reply

    def stop(self) -> None:
        """Let it finish nothing more, and wait until it has ended."""
        self.connection.close()
        self._process.join(STOP_S)
        self.kill()

    def join(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        self._process.join(seconds)

    def kill(self) -> None:
        """End it at once, whatever it computes."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _obituary(self) -> str:
        self._process.join(STOP_S)
        status = self._process.exitcode
        if status is not None and status < 0:
            return f"the worker process was ended by {signal.Signals(-status).name}"
        return f"the worker process ended with status {status}"


@dataclass(frozen=True)
class _Item(Generic[T]):
    """A task, where it belongs, and how often it was tried."""

    position: int
    task: T
    attempt: int = 1


class _Waiting(Generic[T]):
    """Tasks that no process has: those to try again, and those that follow."""

    def __init__(self, tasks: Iterator[T]) -> None:
        self._following = enumerate(tasks)
        self.again: list[_Item[T]] = []

    def take(self) -> _Item[T] | None:
        """Return the next one; None: there are no more."""
        if self.again:
            return self.again.pop()
        following = next(self._following, None)
        return None if following is None else _Item(*following)


@dataclass
class _Worker(Generic[T, R]):
    """A process of a pool, and the tasks it has, in order."""

    process: Process[T, R]
    tasks: list[_Item[T]] = field(default_factory=list)


class Pool(Generic[T, R]):
    """Computes tasks in several processes, in whatever order they end.

    Parameters
    ----------
    build : callable
        See `Process`.
    processes : int
        How many.
    """

    def __init__(self, build: Callable[[], Callable[[T], R]], processes: int) -> None:
        self._build = build
        self._workers: list[_Worker[T, R]] = [
            _Worker(Process(build)) for _ in range(max(1, processes))
        ]

    def pids(self) -> Sequence[int]:
        """Return the ids of its processes."""
        return [worker.process.pid for worker in self._workers]

    def map(self, tasks: Iterator[T]) -> Iterator[tuple[int, "R | Failed"]]:
        """Yield the position and result of each task as it ends.

        Tasks are taken from the iterator as processes have room, so that a million of them take
        no more memory than a few. A task whose process dies is tried again in another one, up to
        `MAX_ATTEMPTS` times; then its result is `Failed`.
        """
        waiting = _Waiting(tasks)
        while True:
            for worker in self._workers:
                self._fill(worker, waiting)
            busy = {worker.process.connection: worker for worker in self._workers if worker.tasks}
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[cast("Connection", connection)]  # only these were waited for
                try:
                    reply = worker.process.receive()
                except WorkerDied as died:
                    item, *others = worker.tasks
                    worker.process.kill()
                    worker.process, worker.tasks = Process(self._build), []
                    waiting.again += others
                    if item.attempt < MAX_ATTEMPTS:
                        waiting.again.append(replace(item, attempt=item.attempt + 1))
                    else:
                        yield item.position, Failed(f"{died}, {MAX_ATTEMPTS} times")
                else:
                    if not isinstance(reply, Progress):
                        yield worker.tasks.pop(0).position, reply

    def _fill(self, worker: "_Worker[T, R]", waiting: "_Waiting[T]") -> None:
        """Hand a process as many tasks as it may have, if there are any."""
        while len(worker.tasks) < PREFETCHED:
            item = waiting.take()
            if item is None:
                return
            worker.tasks.append(item)
            with suppress(WorkerDied):  # noticed by the end of its connection
                worker.process.send(item.task)

    def stop(self) -> None:
        """End the processes; what they compute is lost."""
        for worker in self._workers:
            worker.process.connection.close()
        deadline = time.monotonic() + STOP_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()

    def __enter__(self) -> "Pool[T, R]":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
