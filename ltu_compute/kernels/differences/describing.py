"""Turn areas of the compared frame into differences on both original images."""

import cv2
import numpy as np

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.regions import outline_of, spot_of
from ltu_compute.kernels.differences.registration import edge_to_edge
from ltu_compute.kernels.differences.results import Difference
from ltu_compute.kernels.differences.sampling import Sampler
from ltu_compute.kernels.differences.settings import ComparisonSettings
from ltu_compute.kernels.differences.tiled import Area
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Size

_OUTLINE_PIXELS = 1_000_000  # area of a place from where on its outline is drawn coarser


def described(
    areas: list[Area],
    sampler: Sampler,
    settings: ComparisonSettings,
    sizes: tuple[Size, Size],
) -> tuple[Difference, ...]:
    """Describe areas, largest first.

    Parameters
    ----------
    areas : list of Area
        In px of the frame.
    sampler : Sampler
        How the shot lies under the frame.
    settings : ComparisonSettings
        What the strength is multiplied by.
    sizes : tuple of Size
        Of the original images.
    """
    size1, size2 = sizes
    frame = sampler.frame
    shot = Size(sampler.image.shape[1], sampler.image.shape[0])
    to_size1, to_size2 = edge_to_edge(frame, size1), edge_to_edge(shot, size2)
    found = []
    for area in areas:
        region = area.mask > 0
        step = 1
        while region.size > _OUTLINE_PIXELS:
            region, step = region[::2, ::2], 2 * step
        outline = step * outline_of(region) + np.array([area.place.x, area.place.y])
        found.append(
            Difference(
                on1=spot_of(map_points(outline, to_size1), size1),
                on2=spot_of(map_points(sampler.onto_shot(outline), to_size2), size2),
                area_percent=100.0 * area.pixels / (frame.width * frame.height),
                strength=settings.weight * area.strength,
            )
        )
    found.sort(key=lambda d: (-d.area_percent, d.on1.box))
    return tuple(found)


def overview_map(areas: list[Area], frame: Size, over: Size) -> Floats:
    """Draw the strength of areas on a reduced map, ΔE, shape (H, W); small ones at least 1 px."""
    drawn = np.zeros((over.height, over.width), np.float32)
    x, y = over.width / frame.width, over.height / frame.height
    for area in areas:
        left, top = int(area.place.x * x), int(area.place.y * y)
        right = min(over.width, max(left + 1, round((area.place.x + area.place.width) * x)))
        bottom = min(over.height, max(top + 1, round((area.place.y + area.place.height) * y)))
        share = cv2.resize(area.mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        part = drawn[top:bottom, left:right]
        np.maximum(part, np.where(share > 0, np.float32(area.strength), 0), out=part)
    return drawn
