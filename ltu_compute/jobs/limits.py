"""Limits of good shots: what an inspection may find, in the whole picture and in its regions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ltu_compute.kernels import differences as kernel
from ltu_compute.kernels.differences import Comparison
from ltu_compute.kernels.types import Box, Size

_DIGITS = 4  # significant ones: three hide what a limit of three digits is exceeded by
_MOST_DECIMALS = 12  # less is 0


class Placement(NamedTuple):
    """How the part is placed in a shot, compared with the reference.

    Attributes
    ----------
    displacement_px : float
        Displacement of the middle of the reference, or of its region. In px of the reference,
        whatever the resolution of the shot.
    turn_degrees : float
        Turn clockwise, -180 to 180.
    scale_percent : float
        Length in the shot, as a share of its picture; 100: as on the reference.
    """

    displacement_px: float
    turn_degrees: float
    scale_percent: float


def placement_of(found: Comparison, reference: Size, shot: Size) -> Placement | None:
    """Return how a part is placed; None if the shot was not aligned.

    Parameters
    ----------
    found : Comparison
        The comparison.
    reference, shot : Size
        Width and height of the original pictures, px.
    """
    if not found.aligned:
        return None
    motion = found.motion
    across, down = reference[0] / shot[0], reference[1] / shot[1]
    return Placement(
        math.hypot(motion.x * across, motion.y * down),
        motion.turn_degrees,
        100 * motion.scale * math.sqrt(across * down),
    )


@dataclass(frozen=True)
class PlacementLimits:
    """Limits of the placement of a part; None: no limit.

    Attributes
    ----------
    displacement_px : float or None
        Most displacement, in px of the reference.
    turn_degrees : float or None
        Greatest turn, either way.
    scale_percent : float or None
        By how much the scale may differ from 100 %.
    px_per_mm : float or None
        Scale of the reference: displacements are then given in mm.
    """

    displacement_px: float | None = None
    turn_degrees: float | None = None
    scale_percent: float | None = None
    px_per_mm: float | None = None

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return self.displacement_px is self.turn_degrees is self.scale_percent is None

    def distance(self, px: float) -> str:
        """Return a displacement in words."""
        if self.px_per_mm is None:
            return f"{_figure(px)} px"
        return f"{_figure(px / self.px_per_mm)} mm"

    def broken(self, placement: Placement | None) -> list[str]:
        """Return which limits a placement breaks, in words; one that is not known breaks all."""
        if self.is_none:
            return []
        if placement is None:
            return ["displacement, turn and scale are not known"]
        broken = []
        most = self.displacement_px
        if most is not None and placement.displacement_px > most:
            measured = self.distance(placement.displacement_px)
            broken.append(f"displacement {measured}, at most {self.distance(most)} allowed")
        turn, most = abs(placement.turn_degrees), self.turn_degrees
        if most is not None and turn > most:
            broken.append(f"turn {_figure(turn)}°, at most {most:g}° allowed")
        off, most = abs(placement.scale_percent - 100), self.scale_percent
        if most is not None and off > most:
            broken.append(f"scale off by {_figure(off)} %, at most {most:g} % allowed")
        return broken

    def in_words(self) -> list[str]:
        """Return what is allowed at most."""
        words = []
        if self.displacement_px is not None:
            words.append(f"displacement {self.distance(self.displacement_px)}")
        if self.turn_degrees is not None:
            words.append(f"turn {self.turn_degrees:g}°")
        if self.scale_percent is not None:
            words.append(f"scale off by {self.scale_percent:g} %")
        return words


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
    placement : PlacementLimits
        Limits of displacement, turn and scale.
    """

    count: int | None = 0
    area_percent: float | None = None
    strength: float | None = None
    regions: tuple[RegionLimits, ...] = ()
    mm2: float | None = None
    placement: PlacementLimits = PlacementLimits()

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> "Limits":
        """Return the limits that `dataclasses.asdict` and JSON made an object of."""
        regions = tuple(
            RegionLimits(**each | {"polygon": tuple((x, y) for x, y in each["polygon"])})
            for each in named.get("regions", ())
        )
        placement = PlacementLimits(**named.get("placement", {}))
        return cls(**{**named, "regions": regions, "placement": placement})

    def area(self, percent: float) -> str:
        """Return an area in words."""
        if self.mm2 is None:
            return f"{_figure(percent)} %"
        return f"{_figure(percent / 100 * self.mm2)} mm²"


def broken_limits(found: Comparison, limits: Limits, placement: Placement | None) -> str:
    """Return which limits a comparison breaks, in words; "" for none.

    Parameters
    ----------
    found : Comparison
        The comparison.
    limits : Limits
        The limits.
    placement : Placement or None
        That of the shot; see `placement_of`.
    """
    held: dict[int, list[kernel.Difference]] = {}
    for difference in found.differences:
        within = (n for n, each in enumerate(limits.regions) if each.holds(difference.on1.box))
        held.setdefault(next(within, -1), []).append(difference)
    broken = _broken(held.get(-1, []), limits, limits)
    for number, region in enumerate(limits.regions):
        broken += [
            f"{region.name}: {words}" for words in _broken(held.get(number, []), region, limits)
        ]
    broken += limits.placement.broken(placement)
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
        broken.append(f"strength {_figure(strength)}, at most {own.strength:g} allowed")
    return broken


def _figure(value: float) -> str:
    """Return a number of 0 or more with `_DIGITS` significant digits, never with an exponent."""
    magnitude = math.floor(math.log10(value)) if value else 0
    words = f"{value:.{min(_MOST_DECIMALS, max(0, _DIGITS - 1 - magnitude))}f}"
    return words.rstrip("0").rstrip(".") if "." in words else words


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
    words += limits.placement.in_words()
    if limits.regions:
        words.append(
            "in " + ", ".join(region.name for region in limits.regions) + " its own limits"
        )
    return "Allowed at most: " + ", ".join(words) if words else "No limits"
