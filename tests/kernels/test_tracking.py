"""Corners are followed to a fraction of a pixel; what noise offers is none."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment import tracking
from ltu_compute.kernels.alignment.tracking import Target, tracked_corners
from ltu_compute.kernels.types import Gray

SHIFT = np.array([[1.0, 0, 2.5], [0, 1, -1.5], [0, 0, 1]])


def texture(width: int = 400, height: int = 300) -> Gray:
    coarse = np.random.default_rng(2).integers(40, 216, (height // 8, width // 8), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def shifted(gray: Gray) -> Gray:
    seen = cv2.warpPerspective(gray, SHIFT, gray.shape[::-1], flags=cv2.INTER_CUBIC)
    return np.asarray(seen, np.uint8)


def test_corners_are_where_the_shift_puts_them() -> None:
    gray = texture()
    start, end = tracked_corners(np.eye(3), gray, Target(shifted(gray)))
    assert len(start) > 100
    assert np.median(np.linalg.norm(end - start - SHIFT[:2, 2], axis=1)) < 0.05


def test_no_corners_are_returned_if_a_sample_moved_too_far() -> None:
    gray = texture()
    target = Target(shifted(gray))  # by 2.9 px
    near, _ = tracked_corners(np.eye(3), gray, target, farthest_px=4)
    far, _ = tracked_corners(np.eye(3), gray, target, farthest_px=2)
    everything, _ = tracked_corners(np.eye(3), gray, target)
    assert np.array_equal(near, everything)
    assert len(far) == 0


def test_noise_offers_no_corners() -> None:
    noise = np.random.default_rng(3).normal(128, 6, (300, 400)).clip(0, 255).astype(np.uint8)
    assert (Target(noise).above_noise > 0).mean() < 0.01
    textured = Target(texture()).above_noise > 0
    assert textured.mean() > 0.9


@pytest.mark.parametrize("count", [1, 2, 9, 10, 1001])
def test_median_by_counting_is_the_median(count: int) -> None:
    values = np.random.default_rng(count).integers(0, 2041, (1, count)).astype(np.uint16)
    assert tracking._median(values) == np.median(values)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_levelled_to_128(level: int) -> None:
    assert (tracking.equalised(np.full((80, 100), level, np.uint8)) == 128).all()
