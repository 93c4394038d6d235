"""Time in tests: a clock that is set, and waiting for a condition instead of for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = (
    120.0  # seconds that no test takes, however loaded the machine: what lasts so is broken
)


class Clock:
    """Time that passes when the test says so.

    Attributes
    ----------
    now : float
        Seconds, from wherever it begins.
    """

    def __init__(self, now: float) -> None:
        self.now = float(now)

    def __call__(self) -> float:
        return self.now


def takes_less(seconds: float, call: Callable[[], object]) -> bool:
    """Return whether a call takes this thread less processor time than that, in one of 3 attempts.

    Other programs take the processor, not processor time. The first attempt may import modules.
    """
    for _ in range(3):
        began = time.thread_time()
        call()
        if time.thread_time() - began < seconds:
            return True
    return False


def until(condition: Callable[[], T]) -> T:
    """Return what a condition returns as soon as that is true; fail when it never is.

    It looks less and less often: whoever waits takes processor time from those it waits for.
    """
    deadline = time.monotonic() + PATIENCE_S
    pause = 0.001
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it has not come about in {PATIENCE_S:g} s"
        time.sleep(pause)
        pause = min(1.25 * pause, 0.1)
    return found
