"""Areas that differ are kept small and drawn exactly."""

import tracemalloc

import cv2
import numpy as np
import pytest

from ltu_compute import cancellation
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.merging import joined
from ltu_compute.kernels.types import Box, Mask


def ragged(width: int, height: int, seed: int) -> Mask:
    return np.where(np.random.default_rng(seed).random((height, width)) < 0.4, 255, 0).astype(
        np.uint8
    )


@pytest.mark.parametrize(("width", "height", "scale"), [(13, 7, 1), (5, 9, 4), (1, 1, 32)])
def test_a_mask_is_drawn_as_it_was_given(width: int, height: int, scale: int) -> None:
    mask = ragged(width, height, 1)
    area = Area.of(Box(30, 20, width, height), mask, 9.0, 4.0).enlarged(scale)
    expected = np.kron(mask, np.ones((scale, scale), np.uint8))
    assert area.place == (30 * scale, 20 * scale, width * scale, height * scale)
    assert np.array_equal(area.mask, expected)
    assert area.pixels == np.count_nonzero(expected)
    page = np.zeros((60 * scale, 60 * scale), np.uint8)
    x, y, w, h = area.place
    page[y : y + h, x : x + w] = expected
    for left, top in ((0, 0), (31 * scale - 1, 21 * scale + 1), (x + 1, y)):
        part = page[top : top + 5 * scale, left : left + 3 * scale]
        place = Box(left, top, part.shape[1], part.shape[0])
        assert np.array_equal(area.within(place), part)


def test_a_union_holds_all_and_the_lines_between_them() -> None:
    first, second = ragged(8, 8, 2), ragged(6, 4, 3)
    areas = [Area.of(Box(10, 10, 8, 8), first, 5, 2), Area.of(Box(14, 14, 6, 4), second, 7, 3)]
    page = np.zeros((30, 30), np.uint8)
    page[10:18, 10:18] = first
    np.maximum(page[14:18, 14:20], second, out=page[14:18, 14:20])
    strength = (2 * areas[0].pixels + 3 * areas[1].pixels) / np.count_nonzero(page)
    cv2.line(page, (11, 11), (19, 16), 255)
    both = Area.union(areas, [((11, 11), (19, 16))])
    assert both.place == (10, 10, 10, 8)
    assert np.array_equal(both.mask, page[10:18, 10:20])
    assert (both.peak, both.strength) == (7, pytest.approx(strength))


def test_lines_across_the_frame_take_no_frame_each() -> None:
    """Ten of them, as dense masks, would take ten times 0.5 MB."""
    tracemalloc.start()
    areas = []
    for number in range(10):
        for part in range(5):  # each of five squares, corner to corner
            line = np.eye(140, dtype=np.uint8) * np.uint8(255)
            areas.append(Area.of(Box(140 * part + 60 * number, 140 * part, 140, 140), line, 9, 5))
    found = joined(areas)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(area.place for area in found) == [(60 * n, 0, 700, 700) for n in range(10)]
    assert held < 1e6
    assert peak < 6e6


def test_joining_looks_at_the_limit_at_every_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "CHECK_EVERY_S", 0.0)
    dot = np.full((2, 2), 255, np.uint8)
    areas = [Area.of(Box(40 * number, 0, 2, 2), dot, 1, 1) for number in range(5)]
    looks = 0

    def looked() -> bool:
        nonlocal looks
        looks += 1
        return False

    with cancellation.limited(looked, RuntimeError):
        assert len(joined(areas)) == 5
    assert looks == 3 * 5, "direction, neighbours, union"
