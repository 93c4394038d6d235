"""Connected components of masks."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.components import components_of


@pytest.mark.parametrize("density", [0.0, 0.02, 0.2, 0.5])
@pytest.mark.parametrize("place", [(0, 0), (3, 5), (4, 6)])
def test_components_are_those_of_opencv(density: float, place: tuple[int, int]) -> None:
    top, left = place
    mask = np.zeros((61, 83), np.uint8)
    drawn = np.random.default_rng(3).random((40, 50)) < density
    mask[top : top + 40, left : left + 50] = drawn * np.uint8(255)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = components_of(mask)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.stats[1:], stats[1:])


def test_as_many_components_as_possible() -> None:
    mask = np.zeros((520, 520), np.uint8)
    mask[::2, ::2] = 255  # 67,600: more than labels of 16 bits
    found = components_of(mask)
    assert len(found.stats) == 67_601
    assert np.count_nonzero(np.bincount(found.labels.ravel())[1:] != 1) == 0
