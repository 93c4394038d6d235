"""Bends: a slow displacement is found, a part that moved bends nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.kernels.surface import find_bend
from ltu_compute.kernels.types import Size

SIZE = Size(800, 600)
Points = NDArray[np.float32]


def tracked(count: int = 500, noise_px: float = 0.05) -> tuple[Points, Points]:
    """Points all over the image that stay where they are, up to the noise of tracking."""
    rng = np.random.default_rng(5)
    start = rng.uniform((10, 10), (790, 590), (count, 2))
    return start.astype(np.float32), (start + rng.normal(0, noise_px, start.shape)).astype(
        np.float32
    )


def bulge(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Half a wave across the image, up to 4 px."""
    x, y = np.asarray(points, np.float64).T
    return np.stack([4 * np.sin(np.pi * x / 800), 2 * np.sin(np.pi * y / 600)], axis=1)


def test_a_bulge_is_found_to_a_fraction_of_a_pixel() -> None:
    start, end = tracked()
    bend = find_bend(start, (end + bulge(start)).astype(np.float32), SIZE)
    assert bend is not None
    asked = np.array([[100, 100], [400, 300], [700, 480], [250, 520]], np.float64)
    assert np.abs(bend.at(asked) - bulge(asked)).max() < 0.25
    assert bend.residual_px < 0.2
    assert bend.largest_px == pytest.approx(np.hypot(4, 2), abs=0.3)


def test_its_outline_is_where_it_is_known() -> None:
    start, end = tracked()
    moved = (end + bulge(start)).astype(np.float32)
    left = start[:, 0] < 500
    bend = find_bend(start[left], moved[left], SIZE)
    assert bend is not None
    assert 480 < bend.known[:, 0].max() <= 500
    left = start[:, 0] < 200  # a quarter of the image says nothing about the rest
    assert find_bend(start[left], moved[left], SIZE) is None


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_part_that_moved_bends_nothing(share: float) -> None:
    start, end = tracked()
    part = start[:, 0] < 800 * share
    end[part] += (5, 0)
    assert find_bend(start, end, SIZE) is None


@pytest.mark.parametrize("name", ["flat", "few points", "at random"])
def test_what_is_no_bend(name: str) -> None:
    start, end = tracked()
    if name == "few points":
        start, end = start[:20], (end + bulge(start)).astype(np.float32)[:20]
    if name == "at random":
        end = start + np.random.default_rng(1).normal(0, 4, start.shape).astype(np.float32)
    assert find_bend(start, end, SIZE) is None


@pytest.mark.parametrize("count", [120, 200, 400])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_not_fitted(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform((10, 10), (790, 590), (count, 2)).astype(np.float32)
    end = start + rng.normal(0, 0.6, start.shape).astype(np.float32)
    assert find_bend(start, end, SIZE) is None
