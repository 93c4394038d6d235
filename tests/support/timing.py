"""Time in tests: a clock that is told, and waiting for a condition instead of for a guess."""

import time
from collections.abc import Callable


class Clock:
    """Time that passes when told to.

    Attributes
    ----------
    now : float
        Seconds, from wherever it begins.
    """

    def __init__(self, now: float) -> None:
        self.now = float(now)

    def __call__(self) -> float:
        return self.now


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return when something has come about; fail when it has not in so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not come about in {seconds:g} s"
        time.sleep(0.002)
