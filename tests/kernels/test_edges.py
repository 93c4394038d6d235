from itertools import pairwise

import cv2
import numpy as np
import pytest
from skimage.data import chelsea

from ltu_compute.kernels.edges import canny_edges


@pytest.fixture(scope="module")
def cat():
    return cv2.cvtColor(chelsea(), cv2.COLOR_RGB2GRAY)


def step(contrast: int, *, vertical: bool = True):
    """A step edge in the middle of a square picture."""
    gray = np.full((64, 64), 100, np.uint8)
    gray[:, 32:] += contrast
    return gray if vertical else np.ascontiguousarray(gray.T)


@pytest.mark.parametrize("vertical", [True, False])
@pytest.mark.parametrize("thickness", [1, 2, 3, 4, 5, 8, 15, 30, 31, 32, 33, 40])
def test_a_straight_edge_is_drawn_as_wide_as_asked(thickness, vertical):
    edges = canny_edges(
        step(50, vertical=vertical), low_threshold=50, high_threshold=100, thickness=thickness
    )
    widths = np.count_nonzero(edges, axis=1 if vertical else 0)
    assert (widths[20:44] == thickness).all()
    drawn = np.flatnonzero(edges[32] if vertical else edges[:, 32])
    assert abs(drawn.mean() - 31.5) <= 1, "not centred on the step"


@pytest.mark.parametrize("thickness", [31, 32, 33])
def test_the_ways_to_draw_thick_edges_agree(thickness, monkeypatch, cat):
    asked = {"low_threshold": 300, "high_threshold": 400, "thickness": thickness}
    monkeypatch.setattr("ltu_compute.kernels.edges._LARGEST_ELEMENT_PX", 100)
    by_element = canny_edges(cat, **asked)
    monkeypatch.setattr("ltu_compute.kernels.edges._LARGEST_ELEMENT_PX", 1)
    by_distance = canny_edges(cat, **asked)
    assert 0.1 < np.mean(by_element > 0) < 0.9
    assert np.mean(by_element != by_distance) < 0.02


def test_thick_lines_on_a_picture_without_edges():
    blank = np.full((40, 50), 7, np.uint8)
    assert not canny_edges(blank, low_threshold=0, high_threshold=1, thickness=500).any()


@pytest.mark.parametrize(
    ("contrast", "is_edge"), [(20, False), (24, False), (26, True), (30, True)]
)
def test_a_step_of_one_level_has_a_gradient_of_four(contrast, is_edge):
    edges = canny_edges(step(contrast), low_threshold=100, high_threshold=100)
    assert edges.any() == is_edge


def test_weak_edges_count_only_where_they_hang_together_with_strong_ones():
    gray = np.full((60, 100), 100, np.uint8)
    gray[30:, :50] = 150  # strong on the left,
    gray[30:, 50:] = 120  # weak where it goes on to the right,
    gray[:8] = 120  # weak on its own
    edges = canny_edges(gray, low_threshold=60, high_threshold=160)
    assert edges[25:35, 60:].any()
    assert not edges[4:12].any()


def test_a_higher_threshold_gives_a_subset(cat):
    masks = [
        canny_edges(cat, low_threshold=threshold / 2, high_threshold=threshold) > 0
        for threshold in (60, 120, 240, 480)
    ]
    for more, fewer in pairwise(masks):
        assert fewer.any()
        assert (more & fewer).sum() == fewer.sum() < more.sum()


def test_thresholds_may_be_given_in_reverse(cat):
    forward = canny_edges(cat, low_threshold=50, high_threshold=150)
    backward = canny_edges(cat, low_threshold=150, high_threshold=50)
    assert forward.any()
    np.testing.assert_array_equal(forward, backward)


@pytest.mark.parametrize("thickness", [0, -1])
def test_lines_have_a_thickness(thickness):
    with pytest.raises(ValueError, match="thickness must be at least 1"):
        canny_edges(step(50), low_threshold=1, high_threshold=2, thickness=thickness)
