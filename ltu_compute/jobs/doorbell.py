"""Signal idle workers of a service that there is work, so that they need not poll all the time."""

import multiprocessing
from typing import Protocol


class Doorbell(Protocol):
    """Wakes those who wait for work."""

    def ring(self, times: int = 1) -> None:
        """Wake so many at most."""

    def wait(self, seconds: float) -> None:
        """Return when it rings, or after a time."""


class SharedDoorbell:
    """A doorbell of all processes that are forked after it was made."""

    def __init__(self) -> None:
        self._semaphore = multiprocessing.get_context("fork").Semaphore(0)

    def ring(self, times: int = 1) -> None:
        """Wake so many at most."""
        for _ in range(times):
            self._semaphore.release()

    def wait(self, seconds: float) -> None:
        """Return when it rings, or after a time."""
        self._semaphore.acquire(timeout=seconds)
