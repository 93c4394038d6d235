"""Limits of good shots: what an inspection may find, in the whole picture and in its regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ltu_compute.kernels import differences as kernel
from ltu_compute.kernels.differences import Comparison
from ltu_compute.kernels.types import Box


@dataclass(frozen=True)
class RegionLimits:
    """Limits of a good shot in a region of the reference; None: no limit.

    Attributes
    ----------
    name : str
        Of the region.
    polygon : tuple of (float, float)
        Vertices in px of the reference.
    count, area_percent, strength : number or None
        See `Limits`.
    """

    name: str
    polygon: tuple[tuple[float, float], ...]
    count: int | None = None
    area_percent: float | None = None
    strength: float | None = None

    def holds(self, box: Box) -> bool:
        """Return whether the middle of a box on the reference is in the region."""
        middle = box.x + box.width / 2, box.y + box.height / 2
        return is_inside(middle, self.polygon)


@dataclass(frozen=True)
class Limits:
    """Limits of a good shot; None: no limit.

    Attributes
    ----------
    count : int or None
        Differences.
    area_percent : float or None
        Area of all differences together, in percent of the reference.
    strength : float or None
        Strength of the strongest difference; 100 is black against white.
    regions : tuple of RegionLimits
        A difference whose middle is in one of these is judged by the first that contains it. The
        limits above do not apply to it.
    mm2 : float or None
        Area of the reference, in mm²: areas are then given in mm².
    """

    count: int | None = 0
    area_percent: float | None = None
    strength: float | None = None
    regions: tuple[RegionLimits, ...] = ()
    mm2: float | None = None

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> "Limits":
        """Return the limits that `dataclasses.asdict` and JSON made an object of."""
        regions = tuple(
            RegionLimits(**each | {"polygon": tuple((x, y) for x, y in each["polygon"])})
            for each in named.get("regions", ())
        )
        return cls(**{**named, "regions": regions})

    def area(self, percent: float) -> str:
        """Return an area in words."""
        if self.mm2 is None:
            return f"{percent:.3g} %"
        return f"{percent / 100 * self.mm2:.3g} mm²"


def broken_limits(found: Comparison, limits: Limits) -> str:
    """Return which limits a comparison breaks, in words; "" for none."""
    held: dict[int, list[kernel.Difference]] = {}
    for difference in found.differences:
        within = (n for n, each in enumerate(limits.regions) if each.holds(difference.on1.box))
        held.setdefault(next(within, -1), []).append(difference)
    broken = _broken(held.get(-1, []), limits, limits)
    for number, region in enumerate(limits.regions):
        broken += [
            f"{region.name}: {words}" for words in _broken(held.get(number, []), region, limits)
        ]
    if broken and not found.aligned:
        broken.append("the shot could not be aligned and was compared unaligned")
    return "; ".join(broken)


def _broken(
    differences: Sequence[kernel.Difference], own: Limits | RegionLimits, limits: Limits
) -> list[str]:
    """Return which limits differences break, in words."""
    count = len(differences)
    area = float(sum(each.area_percent for each in differences))
    strength = float(max((each.strength for each in differences), default=0.0))
    broken = []
    if own.count is not None and count > own.count:
        noun = "difference" if count == 1 else "differences"
        broken.append(f"{count} {noun}, at most {own.count} allowed")
    if own.area_percent is not None and area > own.area_percent:
        measured, most = limits.area(area), limits.area(own.area_percent)
        broken.append(f"area {measured}, at most {most} allowed")
    if own.strength is not None and strength > own.strength:
        broken.append(f"strength {strength:.3g}, at most {own.strength:g} allowed")
    return broken


def is_inside(point: tuple[float, float], polygon: Sequence[tuple[float, float]]) -> bool:
    """Return whether a point is in a polygon, by the even-odd rule."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise([*polygon, polygon[0]]):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def limits_in_words(limits: Limits) -> str:
    """Return what a good shot may have at most, as the report prints it."""
    words = []
    if limits.count is not None:
        words.append("1 difference" if limits.count == 1 else f"{limits.count} differences")
    if limits.area_percent is not None:
        words.append(f"{limits.area(limits.area_percent)} area")
    if limits.strength is not None:
        words.append(f"strength {limits.strength:g}")
    if limits.regions:
        words.append(
            "in " + ", ".join(region.name for region in limits.regions) + " its own limits"
        )
    return "Allowed at most: " + ", ".join(words) if words else "No limits"
