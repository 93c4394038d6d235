"""Settings and presets of a comparison."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from ltu_compute.kernels.differences.polygons import Polygon
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Size

MAX_RESOLUTION = 900
"""Upper limit of the longest side, in px, at which images are compared as a whole."""


FULL: Literal["full"] = "full"
"""Value of `resolution` for the shots' own resolution."""

DELTA_E_PER_THRESHOLD = 8.0
"""Colour difference, ΔE (CIE76), per unit of `threshold`."""

AUTO: Literal["auto"] = "auto"
"""Value of `resolution` for the shots' own resolution if they hardly moved, else `PRESET_PX`."""

PRESET_PX = 400
"""Value of `resolution` in all presets, px: the vendor's default."""

MAX_FINE_RESOLUTION = 65535
"""Upper limit of a numeric `resolution`, in px."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison: which differences count.

    Attributes
    ----------
    threshold : float
        Colour difference that counts, in units of 8 ΔE (CIE76, 100 between black and white); 0 or
        more. The higher, the fewer differences. A difference includes the pixels around it that
        differ by more than half of the threshold.
    smooth : float
        Smoothing of the difference map, 0 or more: a Gaussian of sigma 2.5 · ``smooth`` px of the
        compared image. The higher, the more small differences are erased.
    margin : int
        Width of the border that is not compared, in px of the original image 1.
    resolution : int, "full" or "auto"
        Longest side, in px, at which the images are compared. Smaller images are not enlarged.
        From 16 to 900 the images are compared as a whole. Above 900, or with ``"full"`` (the
        resolution of the shots), they are compared tile by tile: see ``tiled``. ``"auto"`` is
        ``"full"`` if the shots hardly moved (see ``settled``) or something was learnt, else 400.
    use_hsv : bool
        Compare hue, saturation and value instead of CIE Lab.
    weight : float
        Factor of all strengths and so of the score; 0 or more.
    min_area_percent : float
        Differences of a smaller share of image 1 are dropped, in percent.
    edge_tolerance : float
        Displacement that is not a difference, in px compared; 0 or more. It is increased if the
        alignment's residual shows that the surface is not flat.
    strictness : float
        Factor of how unlike good specimens a shot is, 0 or more; see `specimens`. The higher, the
        more differences. Comparisons without specimens do not use it.
    include : tuple of polygons
        Vertices in px of the original image 1. Only places within one of the polygons are
        compared; if the rest moved differently, only these places are aligned. Empty: all of
        image 1.
    exclude : tuple of polygons
        Vertices in px of the original image 1. Places within one of the polygons are not compared.
    """

    threshold: float = 0.6
    smooth: float = 0.2
    margin: int = 0
    resolution: int | Literal["full", "auto"] = PRESET_PX
    use_hsv: bool = False
    weight: float = 1.0
    min_area_percent: float = 0.0
    edge_tolerance: float = 1.0
    strictness: float = 1.0
    include: tuple[Polygon, ...] = ()
    exclude: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):  # JSON has lists
            polygons = tuple(tuple((x, y) for x, y in each) for each in getattr(self, name))
            object.__setattr__(self, name, polygons)
        numbers = (
            self.threshold,
            self.smooth,
            self.margin,
            self.weight,
            self.min_area_percent,
            self.edge_tolerance,
            self.strictness,
        )
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("settings must be finite and not negative")
        if self.resolution not in (FULL, AUTO) and not (
            isinstance(self.resolution, int) and 16 <= self.resolution <= MAX_FINE_RESOLUTION
        ):
            raise ValueError(
                f'resolution must be from 16 to {MAX_FINE_RESOLUTION}, "{FULL}" or "{AUTO}"'
            )

    @property
    def is_fine(self) -> bool:
        """Whether the images are compared tile by tile, at more than `MAX_RESOLUTION`."""
        return not isinstance(self.resolution, int) or self.resolution > MAX_RESOLUTION

    def working_size(self, size: Size) -> int:
        """Return the longest side, in px, to which an image of `size` is to be decoded."""
        if not isinstance(self.resolution, int):
            return max(size)
        if self.is_fine:
            return self.resolution
        # Fine patterns reduced twice would differ by their aliases.
        return max(WORKING_SIZE, 2 * self.resolution)


_BORDERS = ComparisonSettings(margin=10, edge_tolerance=2.0)
PRESETS: Mapping[int, ComparisonSettings] = MappingProxyType(
    {
        1: ComparisonSettings(),
        2: _BORDERS,
        3: replace(_BORDERS, smooth=0.8),
        4: replace(_BORDERS, smooth=0.8, min_area_percent=0.05),
        5: replace(_BORDERS, smooth=0.4, min_area_percent=0.05),
    }
)
"""Settings by number: 1 fine differences; 2 less noise on borders; 3 as 2, smoothed; 4 as 3,
without small differences; 5 as 4, but smoothed less."""

OWN_PRESETS: Mapping[int, ComparisonSettings] = MappingProxyType(
    {**PRESETS, 1: replace(PRESETS[1], resolution=AUTO)}
)
"""The presets as this project's own interfaces use them: preset 1 has the resolution ``"auto"``.

At 400 px a hair of 2 px across two tracks of a board shot at 12 MP is missed
(`benchmarks.accuracy.drawn`). At full resolution, labels shot by hand have many false boxes. The
other presets ignore small differences, and stay as they are.
"""
