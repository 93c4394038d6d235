"""Wake idle runners when there is work, and those who wait for a job when one has ended.

A ring is a hint: the rows are the truth. A runner that misses one finds its work when it next
looks, a second later.

With SQLite, all processes are on one machine. Each kind of job has a named pipe in the data folder.
A ring is a byte in it, which wakes one runner, in this process or another. With PostgreSQL,
processes may be on several machines. A ring is a NOTIFY, which wakes all idle runners.

Sources: pipe(7), fifo(7), PostgreSQL's NOTIFY. The queues Procrastinate and River wake their
workers by NOTIFY, too, and look for work now and then as well.
"""

import fcntl
import logging
import os
import select
import stat
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psycopg
import sqlalchemy as sa
from sqlalchemy import exc

from ltu_compute.errors import Unavailable
from ltu_compute.settings import Settings
from ltu_compute.store.database import Database

FOLDER = "doorbells"  # in the data folder
ENDS = "ended"  # file in it whose time is that of the last end of a job
MOST_PENDING = 64  # rings of a kind that nobody has heard yet: more runners than there are
CHANNEL = "ltu_compute_jobs"  # of PostgreSQL
END = "/ended"  # payload that says that a job has ended; no kind is called that
LISTEN_S = 1.0  # seconds between two looks whether to go on listening
RECONNECT_S = 5.0  # seconds before another connection is tried

_log = logging.getLogger("ltu_compute.jobs")


class Bell(Protocol):
    """Is heard by one runner."""

    def wait(self, seconds: float, *, courtesy: float = 0.0) -> bool:
        """Return whether it rang; False after the time.

        For ``courtesy`` seconds it leaves a ring to others.
        """


class Doorbell(Protocol):
    """Wakes runners, by the kinds of jobs that they compute."""

    def ring(self, kind: str, times: int = 1) -> None:
        """Wake runners of a kind of job: so many, or all that are idle."""

    def bell(self, kinds: Collection[str]) -> Bell:
        """Return what a runner of these kinds listens to."""

    def ended(self) -> None:
        """Say that a job has ended."""

    def ends(self) -> int:
        """Return a number that changes when a job ends; it may change for other reasons."""

    def close(self) -> None:
        """Stop listening."""


class _Ends:
    """The time of the last end of a job, as that of a file: all processes of a machine see it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def touch(self) -> None:
        """Say that a job has ended."""
        now = time.time_ns()
        try:
            os.utime(self._path, ns=(now, now))
        except OSError:
            with suppress(OSError):  # those who wait look now and then as well
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)

    def value(self) -> int:
        """Return the time of the last end, in ns; 0: none is known."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


# ------------------------------------------------------------------------------ named pipes


class _Pipe:
    """A named pipe, opened at first use; a byte in it is a ring that nobody has heard."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opening = threading.Lock()
        self._descriptor = -1
        self._failed = False

    def descriptor(self) -> int:
        """Return its file descriptor; -1: it cannot be opened."""
        with self._opening:
            if self._descriptor < 0 and not self._failed:
                try:
                    self._descriptor = self._open()
                except OSError as error:
                    self._failed = True
                    _log.warning("%s: %s; workers look for jobs every second", self._path, error)
            return self._descriptor

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        # For both: a reader alone would read an end once the last writer has closed it.
        descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("it is not a named pipe")
        return descriptor

    def put(self, count: int) -> None:
        """Add rings, as far as there is room for them."""
        descriptor = self.descriptor()
        if descriptor >= 0:
            pending = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
            with suppress(BlockingIOError):
                os.write(descriptor, bytes(max(0, min(count, MOST_PENDING - pending))))

    def take(self) -> bool:
        """Take a ring; False: somebody else was faster, or the pipe was closed meanwhile."""
        with self._opening:  # a closed descriptor's number may be that of another file by now
            try:
                return self._descriptor >= 0 and bool(os.read(self._descriptor, 1))
            except BlockingIOError:
                return False

    def close(self) -> None:
        """Close it; it is opened again when it is used."""
        with self._opening:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


class _PipeBell:
    """Waits for a ring in one of several pipes."""

    def __init__(self, pipes: Sequence[_Pipe]) -> None:
        self._pipes = pipes

    def wait(self, seconds: float, *, courtesy: float = 0.0) -> bool:
        """Return whether it rang, and nobody else took the ring; False after the time."""
        deadline = time.monotonic() + seconds
        pipes = {pipe.descriptor(): pipe for pipe in self._pipes}
        pipes.pop(-1, None)
        rings = select.poll()
        for descriptor in pipes:
            rings.register(descriptor, select.POLLIN)
        while True:
            left = max(0.0, deadline - time.monotonic())
            rung = rings.poll(1000 * left)
            if rung and courtesy:
                time.sleep(courtesy)
            if any(pipes[descriptor].take() for descriptor, _ in rung):
                return True
            if not left or any(events & select.POLLNVAL for _, events in rung):
                return False  # closed: asking again would return at once, again and again


class PipeDoorbell:
    """A doorbell of all processes of a machine that use a data folder.

    Parameters
    ----------
    folder : Path
        Where its pipes are; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipes: dict[str, _Pipe] = {}
        self._ends = _Ends(folder / ENDS)

    def _pipe(self, kind: str) -> _Pipe:
        return self._pipes.setdefault(kind, _Pipe(self._folder / kind))

    def ring(self, kind: str, times: int = 1) -> None:
        """Wake runners of a kind of job, so many at most."""
        self._pipe(kind).put(times)

    def bell(self, kinds: Collection[str]) -> Bell:
        """Return what a runner of these kinds listens to."""
        return _PipeBell([self._pipe(kind) for kind in kinds])

    def ended(self) -> None:
        """Say that a job has ended."""
        self._ends.touch()

    def ends(self) -> int:
        """Return a number that changes when a job ends."""
        return self._ends.value()

    def close(self) -> None:
        """Close the pipes."""
        for pipe in self._pipes.values():
            pipe.close()


# ----------------------------------------------------------------------------- PostgreSQL


class _NotifiedBell:
    """Waits for a ring of one of several kinds."""

    def __init__(self, doorbell: "NotifyDoorbell", kinds: Collection[str]) -> None:
        self._doorbell = doorbell
        self._kinds = kinds
        self._heard = doorbell.heard(kinds)

    def wait(self, seconds: float, *, courtesy: float = 0.0) -> bool:
        """Return whether it rang since it was last heard; False after the time."""
        before, self._heard = (
            self._heard,
            self._doorbell.heard_after(self._heard, self._kinds, seconds),
        )
        if self._heard != before and courtesy:
            time.sleep(courtesy)
        return self._heard != before


class NotifyDoorbell:
    """A doorbell of all processes that use a PostgreSQL database.

    Parameters
    ----------
    database : Database
        Where NOTIFY is sent. A process that listens keeps a connection of its own.
    folder : Path
        Where the ends of jobs are noted for the processes of this machine.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._ends = _Ends(folder / ENDS)
        self._rung: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._listener: threading.Thread | None = None
        self._closed = threading.Event()

    def ring(self, kind: str, times: int = 1) -> None:
        """Wake the runners of a kind of job, of all processes."""
        del times  # they agree among themselves who computes what
        self._notify(kind)

    def _notify(self, payload: str) -> None:
        with suppress(Unavailable), self._database.transaction() as connection:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, payload)))

    def bell(self, kinds: Collection[str]) -> Bell:
        """Return what a runner of these kinds listens to."""
        return _NotifiedBell(self, kinds)

    def ended(self) -> None:
        """Say that a job has ended."""
        self._ends.touch()
        self._notify(END)

    def ends(self) -> int:
        """Return a number that changes when a job ends."""
        return self._ends.value()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        if self._listener is not None:
            self._listener.join(2 * LISTEN_S)

    def heard(self, kinds: Collection[str]) -> int:
        """Return how many rings of some kinds this process has heard."""
        return sum(self._rung[kind] for kind in kinds)

    def heard_after(self, before: int, kinds: Collection[str], seconds: float) -> int:
        """Return the same once it is another number, or after a time."""
        with self._changed:
            if self._listener is None and not self._closed.is_set():
                name = "ltu-compute-doorbell"
                self._listener = threading.Thread(target=self._listen, daemon=True, name=name)
                self._listener.start()
            self._changed.wait_for(lambda: self.heard(kinds) != before, seconds)
            return self.heard(kinds)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._database.errors():
                    self._listen_until_lost()
            except (Unavailable, psycopg.Error, exc.SQLAlchemyError):
                self._closed.wait(RECONNECT_S)

    def _listen_until_lost(self) -> None:
        with self._database.engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)  # noqa: S101  (there is no other driver)
            connection.detach()  # it is no longer one of those that requests share
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            while not self._closed.is_set():
                for notified in driver.notifies(timeout=LISTEN_S):
                    self._hear(notified.payload)

    def _hear(self, payload: str) -> None:
        if payload == END:
            self._ends.touch()
            return
        with self._changed:
            self._rung[payload] += 1
            self._changed.notify_all()


def doorbell_for(settings: Settings, database: Database) -> Doorbell:
    """Return the doorbell of a service."""
    folder = settings.data_dir / FOLDER
    if database.url.get_backend_name() == "postgresql":
        return NotifyDoorbell(database, folder)
    return PipeDoorbell(folder)
