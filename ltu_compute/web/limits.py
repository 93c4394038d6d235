"""Admission: how many computations run at once, and how many requests may wait for one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ltu_compute.errors import Busy


class Slots:
    """Computing slots of one process, with a bounded queue before them.

    Parameters
    ----------
    computing : int
        Computations at once.
    waiting : int
        Requests that may wait for a slot; one more is refused.
    """

    def __init__(self, *, computing: int, waiting: int) -> None:
        self.places = computing + waiting
        self._free = threading.Semaphore(computing)
        self._lock = threading.Lock()
        self._taken = 0

    def check(self) -> None:
        """Refuse at once what would be refused anyway, before its body is read.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        """
        if self._taken >= self.places:
            raise Busy(f"busy: {self.places} requests are in work or waiting; try again")

    def take(self) -> None:
        """Take a place, in work or waiting.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        """
        with self._lock:
            self.check()
            self._taken += 1

    def give_back(self) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= 1

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Wait for a slot and hold it.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        """
        self.take()
        try:
            with self._free:
                yield
        finally:
            self.give_back()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others have the slot that this thread holds by `claim`, and wait for one afterwards.

        For the time in which another process or machine computes. The place stays taken, so that
        those who wait are as many as ever.
        """
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()
