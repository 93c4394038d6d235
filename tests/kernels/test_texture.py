"""Textures that nothing can be aligned by: what only one shot shows is not the same thing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ltu_compute.kernels.differences import PRESETS, Comparison, compare
from ltu_compute.kernels.differences.settings import FULL
from ltu_compute.kernels.differences.texture import same_texture
from ltu_compute.kernels.types import Bgr, Size

SIZE = Size(400, 300)


def plain(level: int = 150) -> Bgr:
    return np.full((SIZE.height, SIZE.width, 3), level, np.uint8)


def noisy(image: Bgr, seed: int) -> Bgr:
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def checkered() -> Bgr:
    """Draw fields of 1 px, 100 and 200 levels: standard deviation 50."""
    y, x = np.indices((SIZE.height, SIZE.width))
    return np.where((x + y)[..., None] % 2, 200, 100).repeat(3, axis=2).astype(np.uint8)


def speckled() -> Bgr:
    """Draw specks of 3 px, 14 px apart."""
    image = plain(180)
    y, x = np.indices((SIZE.height, SIZE.width)) % 14
    image[(abs(y - 7) <= 1) & (abs(x - 7) <= 1)] = 60
    return image


def graded() -> Bgr:
    levels = np.linspace(110, 190, SIZE.width).astype(np.uint8)
    return np.tile(levels[None, :, None], (SIZE.height, 1, 3))


def compared(first: Bgr, second: Bgr) -> Comparison | None:
    settings = replace(PRESETS[1], resolution=FULL)
    return compare(first, second, settings, size1=SIZE, size2=SIZE)


@pytest.mark.parametrize("texture", [checkered, speckled])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_texture_that_only_one_shot_shows(texture: Callable[[], Bgr], swapped: bool) -> None:
    pair = [noisy(plain(), 1), noisy(texture(), 2)]
    assert compared(*pair[:: -1 if swapped else 1]) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(noisy(plain(), 1), noisy(plain(), 2), id="blank walls"),
        pytest.param(plain(), noisy(plain(), 2), id="noise in one of them"),
        pytest.param(noisy(plain(), 1), noisy(plain(110), 2), id="less light"),
        pytest.param(plain(), graded(), id="a lamp from the side"),
        pytest.param(checkered(), np.roll(checkered(), 1, axis=1), id="the same texture, moved"),
    ],
)
def test_shots_that_look_alike_with_nothing_to_align_by(first: Bgr, second: Bgr) -> None:
    found = compared(first, second)
    assert found is not None
    assert not found.aligned
    assert not found.differences


def test_a_texture_outside_the_region_does_not_count() -> None:
    textured = plain()
    textured[:, :200] = checkered()[:, :200]
    region = np.zeros((SIZE.height, SIZE.width), np.uint8)
    region[:, 240:] = 255
    assert not same_texture(plain(), textured)
    assert same_texture(plain(), textured, region)


def test_textures_are_compared_at_the_size_of_the_smaller() -> None:
    # At half the size, the fields of 1 px have become one grey.
    assert same_texture(plain()[::2, ::2], checkered())
    assert not same_texture(plain(), checkered())
