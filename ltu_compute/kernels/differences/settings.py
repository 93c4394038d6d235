"""What counts as a difference: settings and presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from ltu_compute.kernels.differences.polygons import Polygon
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Size

MAX_RESOLUTION = 900
"""Largest longest side, in px, at which images are compared."""


FULL: Literal["full"] = "full"
"""Resolution: that of the shots themselves."""

MAX_FINE_RESOLUTION = 65535
"""Largest longest side, in px, that may be asked for by number."""


@dataclass(frozen=True)
class ComparisonSettings:
    """What counts as a difference.

    Attributes
    ----------
    threshold : float
        Colour difference that counts, in units of 8 ΔE (CIE76, 100 between black and white); 0 or
        more. The higher, the fewer differences. A difference also holds its surroundings of more
        than half of that.
    smooth : float
        Smoothing of the difference map, 0 or more: a Gaussian of sigma 2.5 · ``smooth`` px of the
        compared image. The higher, the more small differences are erased.
    margin : int
        Border that is not compared, in px of the original image 1.
    resolution : int or "full"
        Longest side, in px, at which the images are compared. Smaller images are not enlarged.
        From 16 to 900 the images are compared as a whole. Beyond, or with ``"full"``, which is
        the resolution of the shots, they are compared tile by tile: see ``tiled``.
    use_hsv : bool
        Compare hue, saturation and value instead of CIE Lab.
    weight : float
        Factor of all strengths and so of the score; 0 or more.
    min_area_percent : float
        Differences of a smaller share of image 1 are dropped, in percent.
    edge_tolerance : float
        Displacement that is no difference, in px compared; 0 or more. It is widened where the
        alignment's residual says that the surface is not flat.
    include : tuple of polygons
        Vertices in px of the original image 1: only what lies in one of them is compared, and
        aligned where the rest moved differently. Empty: all of image 1.
    exclude : tuple of polygons
        What lies in one of them is not compared.
    """

    threshold: float = 0.6
    smooth: float = 0.2
    margin: int = 0
    resolution: int | Literal["full"] = 400
    use_hsv: bool = False
    weight: float = 1.0
    min_area_percent: float = 0.0
    edge_tolerance: float = 1.0
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
        )
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("settings must be finite and not negative")
        if self.resolution != FULL and not (
            isinstance(self.resolution, int) and 16 <= self.resolution <= MAX_FINE_RESOLUTION
        ):
            raise ValueError(f'resolution must be from 16 to {MAX_FINE_RESOLUTION}, or "{FULL}"')

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
        # Fine patterns that were reduced twice would differ by their aliases.
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
"""Settings by number: 1 fine differences, 2 less noise on borders, 3 and smoothed, 4 and without
small differences, 5 as 4 but smoothed less."""
