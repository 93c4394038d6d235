"""Turn areas of the compared frame into differences on both original images."""

import cv2
import numpy as np

from ltu_compute.cancellation import checked, checkpoint
from ltu_compute.kernels.differences.appearance import RING_PX, Appearance, appearance
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.regions import outline_of, spot_of
from ltu_compute.kernels.differences.registration import edge_to_edge
from ltu_compute.kernels.differences.results import Difference
from ltu_compute.kernels.differences.screening import grown
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.differences.tiled import Finest
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Box, Size

MOST_DIFFERENCES = 2000  # 2 ms each to describe
_PART = 128  # rows of a reduced picture computed at a time
_OUTLINE_PIXELS = 1_000_000  # px; the outline of a larger place is drawn coarser


def described(
    areas: list[Area],
    finest: Finest,
    settings: ComparisonSettings,
    sizes: tuple[Size, Size],
) -> tuple[Difference, ...]:
    """Describe areas, largest first: the largest `MOST_DIFFERENCES` at most.

    Parameters
    ----------
    areas : list of Area
        In px of the frame.
    finest : Finest
        Pixels of the frame and of the shot under it.
    settings : ComparisonSettings
        Their `weight` multiplies the strength.
    sizes : tuple of Size
        Sizes of the original images.
    """
    size1, size2 = sizes
    sampler = finest.sampler
    level = settings.threshold * DELTA_E_PER_THRESHOLD
    frame = sampler.frame
    shot = Size(sampler.image.shape[1], sampler.image.shape[0])
    to_size1, to_size2 = edge_to_edge(frame, size1), edge_to_edge(shot, size2)
    found = []
    for area in sorted(areas, key=lambda area: -area.pixels)[:MOST_DIFFERENCES]:
        checkpoint()
        region = area.mask > 0
        step = 1
        while region.size > _OUTLINE_PIXELS:
            region, step = region[::2, ::2], 2 * step
        outline = step * outline_of(region) + np.array([area.place.x, area.place.y])
        looks, px = _look_of(area, finest)
        found.append(
            Difference(
                on1=spot_of(map_points(outline, to_size1), size1),
                on2=spot_of(map_points(sampler.onto_shot(outline), to_size2), size2),
                area_percent=100.0 * area.pixels / (frame.width * frame.height),
                strength=settings.weight * area.strength,
                kind=looks.kind,
                delta_e=looks.delta_e,
                border_px=px * looks.border_px * size1.width / frame.width,
                margin=area.peak / level if level > 0 else float("inf"),
            )
        )
    found.sort(key=lambda d: (-d.area_percent, d.on1.box))
    return tuple(found)


def _look_of(area: Area, finest: Finest) -> tuple[Appearance, int]:
    """Return an area's appearance, and the px of the frame per px that was examined."""
    wide = grown(area.place, RING_PX)
    mask = cv2.copyMakeBorder(area.mask, *[RING_PX] * 4, cv2.BORDER_CONSTANT, value=0)
    if mask.size <= _OUTLINE_PIXELS:
        return appearance(*finest.pictures(wide), np.asarray(mask, np.uint8)), 1
    step = int(np.ceil(np.sqrt(mask.size / _OUTLINE_PIXELS)))
    size = (max(1, wide.width // step), max(1, wide.height // step))
    # Part by part: an area may be as large as the frame, and warping the whole shot takes memory.
    shape = (size[1], size[0], *finest.reference.shape[2:])
    small = [np.zeros(shape, np.uint8) for _ in range(2)]
    for top in range(0, size[1], _PART):
        height = min(_PART, size[1] - top)
        place = Box(wide.x, wide.y + top * step, size[0] * step, height * step)
        for whole, part in zip(small, finest.pictures(place), strict=True):
            whole[top : top + height] = cv2.resize(
                part, (size[0], height), interpolation=cv2.INTER_AREA
            )
    reduced_mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return appearance(small[0], small[1], np.asarray(reduced_mask, np.uint8)), step


def overview_map(areas: list[Area], frame: Size, over: Size) -> Floats:
    """Draw the strength of areas on a reduced map, ΔE, shape (H, W); each covers 1 px or more."""
    drawn = np.zeros((over.height, over.width), np.float32)
    x, y = over.width / frame.width, over.height / frame.height
    for area in checked(areas):
        left, top = int(area.place.x * x), int(area.place.y * y)
        right = min(over.width, max(left + 1, round((area.place.x + area.place.width) * x)))
        bottom = min(over.height, max(top + 1, round((area.place.y + area.place.height) * y)))
        share = cv2.resize(area.mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        part = drawn[top:bottom, left:right]
        np.maximum(part, np.where(share > 0, np.float32(area.strength), 0), out=part)
    return drawn
