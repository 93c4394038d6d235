"""Numbers that a process shares with those it forks."""

import fcntl
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

BYTES = 8  # of a number

# Of all numbers of a process: the kernel takes a process that waits for one lock while another of
# its threads holds a second one for half of a deadlock.
_one_thread = threading.Lock()


class SharedNumbers:
    """Whole numbers in memory that forked processes share, and a lock for changing them.

    The memory belongs to no file, so nothing is left behind and a full disk does not matter. The
    lock is a record lock: the kernel releases it when a process dies.

    Parameters
    ----------
    count : int
        How many; each is 64 bits, with a sign, and 0 at first.
    """

    def __init__(self, count: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, max(1, count) * BYTES)).cast("q")
        self._file = _nameless_file()
        weakref.finalize(self, os.close, self._file)

    @property
    def numbers(self) -> memoryview:
        """The numbers. One can be read at any time, and what one process alone changes, too."""
        return self._numbers

    @contextmanager
    def locked(self) -> Iterator[memoryview]:
        """Keep every other thread and process out; for microseconds only."""
        with _one_thread:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield self._numbers
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ltu-compute")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
