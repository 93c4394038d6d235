"""Reducing pictures, in px and in channels."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.resizing import (
    brightest_channel,
    darkest_channel,
    reduced,
    reduced_size,
    roughly_reduced,
    shrunk,
)
from ltu_compute.kernels.types import Size


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        (Size(4000, 3000), 512, Size(512, 384)),
        (Size(3000, 4000), 512, Size(384, 512)),
        (Size(1000, 333), 500, Size(500, 166)),  # 166.5: to the even number, as Python rounds
        (Size(5000, 1), 100, Size(100, 1)),
        (Size(100, 50), 400, Size(400, 200)),
    ],
)
def test_reduced_size(size: Size, longest: int, expected: Size) -> None:
    assert reduced_size(size, longest) == expected


def test_each_pixel_is_the_mean_of_its_area() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(4, 16)
    means = image.reshape(2, 2, 8, 2).mean(axis=(1, 3))
    assert np.abs(reduced(image, 8) - means).max() <= 0.5
    colour = np.dstack([image, image, image])
    assert reduced(colour, 8).shape == (2, 8, 3)


@pytest.mark.parametrize("longest", [16, 17, 1000])
def test_an_image_that_is_small_enough_is_returned_itself(longest: int) -> None:
    image = np.zeros((4, 16), np.uint8)
    assert reduced(image, longest) is image


@pytest.mark.parametrize("size", [Size(160, 40), Size(30, 9), Size(20, 1), Size(1, 1)])
def test_halving_first_gives_the_mean_of_areas(size: Size) -> None:
    """Rounding twice, and leaving out an odd last column, change a smooth picture by little."""
    ramp = np.add.outer(np.arange(80), np.arange(321) // 2).astype(np.uint8)[..., np.newaxis]
    image = np.repeat(ramp, 3, axis=2)
    at_once = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    found = shrunk(image, size)
    assert found.shape == (size.height, size.width, 3)
    assert np.abs(found.astype(int) - at_once).max() <= 3
    assert shrunk(image, Size(321, 80)) is image


@pytest.mark.parametrize(
    "shape", [(1, 1), (700, 900), (3, 1 << 19)], ids=["a pixel", "several stripes", "long rows"]
)
def test_channels_are_joined(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(brightest_channel(image), image.max(axis=2))
    assert np.array_equal(darkest_channel(image), image.min(axis=2))
    assert np.array_equal(brightest_channel(image[::2, ::-1]), image[::2, ::-1].max(axis=2))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(400, 300), Size(100, 75)),  # a whole number of px to one
        (Size(224, 112), Size(112, 56)),  # 2 to 1 gives 1.12 times the wanted size
        (Size(402, 300), Size(100, 75)),  # none divides both sides
        (Size(90, 40), Size(90, 40)),
    ],
)
def test_a_size_that_need_not_be_exact_divides_the_sides(size: Size, expected: Size) -> None:
    levels = np.arange(size.width * size.height, dtype=np.float32) % 251
    image = levels.reshape(size.height, size.width).astype(np.uint8)
    made = roughly_reduced(image, 100)
    assert (made.shape[1], made.shape[0]) == expected
    if size.width % expected.width == size.height % expected.height == 0:
        factor = size.width // expected.width
        blocks = image.reshape(expected.height, factor, expected.width, factor).astype(np.float64)
        assert np.abs(made - blocks.mean(axis=(1, 3))).max() <= 1.0  # rounded once or twice
