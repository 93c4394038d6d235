"""How time is taken, and how it is reported.

What is compared runs in turns, round after round, so that whatever else the machine does falls on
all alike. Ratios are those of processor time, which does not count the waiting for a processor;
each round gives one, and the median counts.
"""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from statistics import median
from typing import NamedTuple


class Spent(NamedTuple):
    """What one call took, in s."""

    wall: float
    cpu: float


Timed = Callable[[], object]
"""What is measured. One that runs elsewhere returns what it `Spent` there."""


@dataclass(frozen=True)
class Times:
    """What the calls of one subject took, round by round."""

    spent: tuple[Spent, ...]

    @property
    def wall_ms(self) -> float:
        """Median time by the clock, in ms."""
        return 1000 * median(each.wall for each in self.spent)

    @property
    def cpu_ms(self) -> float:
        """Median processor time, threads and child processes included, in ms."""
        return 1000 * median(each.cpu for each in self.spent)

    def __str__(self) -> str:
        return f"{self.cpu_ms:.3g}"


def timed(subject: Timed) -> Spent:
    """Call a subject once and tell what it took."""
    wall, cpu = time.perf_counter(), _processor_time()
    returned = subject()
    spent = Spent(time.perf_counter() - wall, _processor_time() - cpu)
    return returned if isinstance(returned, Spent) else spent


def _processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def interleaved(subjects: Mapping[str, Timed], *, rounds: int) -> dict[str, Times]:
    """Measure subjects in turns, after each was called once for nothing.

    Parameters
    ----------
    subjects : mapping of str to callable
        What to measure, by name.
    rounds : int
        Calls of each.
    """
    for subject in subjects.values():
        subject()
    spent: dict[str, list[Spent]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            spent[name].append(timed(subject))
    return {name: Times(tuple(each)) for name, each in spent.items()}


def ratio(
    times: Mapping[str, Times],
    upper: Sequence[str],
    lower: Sequence[str],
    *,
    less: Sequence[str] = (),
) -> float:
    """Return the median, over the rounds, of (upper - less) / lower in processor time.

    Each of the three is the sum of the subjects named.
    """

    def total(names: Sequence[str], index: int) -> float:
        return sum(times[name].spent[index].cpu for name in names)

    rounds = range(len(times[upper[0]].spent))
    return median((total(upper, i) - total(less, i)) / total(lower, i) for i in rounds)


@dataclass(frozen=True)
class Row:
    """One line of the table: what is asked for and what was reached.

    Attributes
    ----------
    name : str
        What was measured.
    limit : float
        What is asked for.
    reached : float
        In the same unit.
    unit : str
        Of both; empty for a ratio.
    at_least : bool
        Whether more is better.
    times : mapping of str to Times
        What it stands on.
    note : str
        Anything else to know.
    """

    name: str
    limit: float
    reached: float
    unit: str = ""
    at_least: bool = False
    times: Mapping[str, Times] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether what is asked for was reached."""
        return self.reached >= self.limit if self.at_least else self.reached <= self.limit

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the row as the table shows it."""
        sign = "≥" if self.at_least else "≤"
        unit = f" {self.unit}" if self.unit else ""
        shown = ", ".join(f"{name} {times}" for name, times in self.times.items())
        cell = "; ".join(part for part in (f"{shown} ms" if shown else "", self.note) if part)
        return (
            self.name,
            f"{sign} {self.limit:.3g}{unit}",
            f"{self.reached:.3g}{unit}",
            "yes" if self.met else "**no**",
            cell,
        )


HEAD = ("", "asked", "reached", "met", "processor time of one call, median")
"""Headings above `Row.cells`."""


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent by which values grow with sizes: 0 not at all, 1 in proportion.

    The slope of a straight line through the logarithms, by least squares.
    """
    x = [log(size) for size in sizes]
    y = [log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / across
