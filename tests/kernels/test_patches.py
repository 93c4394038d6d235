"""Patches that are like none of several good specimens nearby."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.differences.patches import REACH_PX, SIZE, colours, distances
from ltu_compute.kernels.types import Bgr


def texture(seed: int) -> Bgr:
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(soft, None, 40, 210, cv2.NORM_MINMAX), np.uint8)


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, -5), (REACH_PX, REACH_PX)])
def test_a_patch_may_be_elsewhere_within_the_reach(down: int, across: int) -> None:
    shot = np.roll(texture(1), (down, across), axis=(0, 1))
    away = distances(colours(shot), [colours(texture(2)), colours(texture(1))])
    assert away[30:-30, 30:-30].max() == pytest.approx(0, abs=1e-3)


def test_a_patch_beyond_the_reach_is_as_far_as_a_foreign_one() -> None:
    known = [colours(texture(1))]
    moved = np.roll(texture(1), REACH_PX + 6, axis=1)
    foreign, beyond = (distances(colours(each), known) for each in (texture(3), moved))
    assert np.median(beyond) > 0.8 * np.median(foreign)


def test_a_distance_is_that_of_colours_in_delta_e() -> None:
    """The lightness of sRGB 100 and 140 differs by 15.8 in CIE Lab."""
    dark, light = (np.full((60, 80, 3), level, np.uint8) for level in (100, 140))
    away = distances(colours(dark), [colours(light)])
    lightness = cv2.cvtColor(np.float32([[[100] * 3, [140] * 3]]) / 255, cv2.COLOR_BGR2LAB)[..., 0]
    assert away == pytest.approx(float(np.ptp(lightness)), abs=0.05)


def test_a_scratch_is_found_beside_a_pattern_that_moved() -> None:
    stripes = np.zeros((SIZE, SIZE, 3), np.uint8)
    stripes[(np.arange(SIZE) // 6) % 2 == 0] = 170
    shot = np.roll(stripes, 4, axis=0)
    cv2.line(shot, (90, 80), (110, 120), (255, 255, 255), 2)
    away = distances(colours(shot), [colours(stripes)])
    row, column = np.unravel_index(away.argmax(), away.shape)
    assert 76 <= row <= 124
    assert 84 <= column <= 116
    assert away[30:60, 30:-30].max() < 0.1 * away.max()


def test_pictures_of_different_sizes_are_refused() -> None:
    one, other = np.zeros((9, 9, 3), np.float32), np.zeros((9, 8, 3), np.float32)
    with pytest.raises(ValueError, match="one size"):
        distances(one, [other])
