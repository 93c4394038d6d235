"""Highlights: what fades out around a blown-out core is one, what ends at an edge is not."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.highlights import ALL_FADES, VISIBLE_FADES, find_highlights
from ltu_compute.kernels.types import Bgr


def lamp(radius: int, blur: float, ground: int = 90) -> Bgr:
    """A lamp mirrored in grey metal, three times as bright as the sensor can tell."""
    light = np.zeros((600, 800), np.float32)
    cv2.circle(light, (400, 300), radius, 3.0, -1)
    if blur:
        light = cv2.GaussianBlur(light, (0, 0), blur)
    level = np.clip(ground + 255 * light, 0, 255).astype(np.uint8)
    return np.dstack([level] * 3)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (lamp(12, 6), True),
        (lamp(12, 6, ground=20), True),
        (lamp(12, 0), False),  # a white dot: paint, a sticker
        (lamp(12, 0.7), False),  # the same, a little out of focus
        (lamp(12, 6, ground=220), False),  # white on nearly white
        (lamp(120, 12), False),  # an overexposed surface
        (np.full((600, 800, 3), 255, np.uint8), False),
        (np.full((600, 800, 3), 90, np.uint8), False),
    ],
    ids=["lamp", "on black", "dot", "soft dot", "on white", "surface", "white", "grey"],
)
def test_a_highlight_fades_and_a_white_mark_does_not(image: Bgr, found: bool) -> None:
    assert find_highlights(image).certain.any() == found


@pytest.mark.parametrize(("fades", "levels"), [(VISIBLE_FADES, 60), (ALL_FADES, 2)])
def test_the_mask_holds_what_fades_and_little_more(fades: float, levels: int) -> None:
    image = lamp(12, 6)
    mask = find_highlights(image, fades).certain
    brightened = image[..., 0] > 90 + levels
    assert (mask[brightened] == 255).mean() > 0.95
    assert (mask > 0).sum() < 6 * brightened.sum()
    assert set(np.unique(mask)) == {0, 255}
