import cv2
import numpy as np
import pytest

from ltu_compute.kernels import contours
from ltu_compute.kernels.contours import (
    enclosed_pixels,
    outer_outlines,
    regions,
    simplified,
    traced,
)
from ltu_compute.kernels.types import Box
from tests.support import adversarial


def mask_of(*rectangles, shape=(100, 140)):
    """A mask of filled rectangles x, y, width, height."""
    mask = np.zeros(shape, np.uint8)
    for x, y, width, height in rectangles:
        mask[y : y + height, x : x + width] = 255
    return mask


def test_a_rectangle_is_its_four_corners():
    (region,) = regions(outer_outlines(mask_of((20, 10, 30, 40))))
    assert region.box == Box(20, 10, 30, 40)
    assert region.vertices.dtype == np.int32
    assert sorted(region.vertices.tolist()) == [[0, 0], [0, 39], [29, 0], [29, 39]]


def test_the_largest_comes_first_and_equal_ones_in_reading_order():
    rectangles = [
        (100, 60, 10, 10),
        (5, 60, 10, 10),
        (50, 5, 10, 10),
        (60, 40, 30, 5),
        (5, 5, 8, 8),
    ]
    found = regions(outer_outlines(mask_of(*rectangles)))
    assert [tuple(region.box) for region in found] == [
        (60, 40, 30, 5),
        (50, 5, 10, 10),
        (5, 60, 10, 10),
        (100, 60, 10, 10),
        (5, 5, 8, 8),
    ]


def test_holes_and_what_lies_in_them_have_no_outline():
    mask = mask_of((10, 10, 60, 60))
    mask[20:60, 20:60] = 0
    mask[30:40, 30:40] = 255
    (region,) = regions(outer_outlines(mask))
    assert region.box == Box(10, 10, 60, 60)


def test_nothing_in_an_empty_mask():
    assert regions(outer_outlines(np.zeros((5, 7), np.uint8))) == []


def test_outlines_redraw_what_they_were_traced_from():
    """Blobs without holes: filled outlines are the mask, boxes are those of the areas."""
    noise = np.random.default_rng(7).normal(size=(120, 160)).astype(np.float32)
    blobs = (cv2.GaussianBlur(noise, (0, 0), 5) > 0.05).astype(np.uint8) * 255
    outlines, _ = cv2.findContours(blobs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(blobs, outlines, -1, 255, cv2.FILLED)
    found = regions(outer_outlines(blobs))
    assert len(found) > 5
    drawn = np.zeros_like(blobs)
    pixels = []
    for region in found:
        vertices = region.vertices + np.array(region.box[:2], np.int32)
        assert Box(*cv2.boundingRect(vertices)) == region.box
        alone = cv2.fillPoly(np.zeros_like(blobs), [vertices], 255)
        pixels.append(np.count_nonzero(alone))
        drawn |= alone
    np.testing.assert_array_equal(drawn, blobs)
    assert pixels == sorted(pixels, reverse=True)
    vertices = [region.vertices for region in found]
    assert enclosed_pixels(vertices).tolist() == pixels


@pytest.mark.parametrize(
    ("rows", "pixels"),
    [
        (["#"], 1),
        (["####"], 4),
        (["#..", ".#.", "..#"], 3),
        (["##..", "##..", "..##", "..##"], 8),  # touches itself
        (["#####", "#...#", "#...#", "#####"], 20),  # holes count
        (["..#..", ".###.", "#####", "..#.."], 10),
    ],
)
def test_enclosed_pixels(rows, pixels):
    mask = np.array([[255 * (cell == "#") for cell in row] for row in rows], np.uint8)
    (region,) = regions(outer_outlines(mask))
    assert enclosed_pixels([region.vertices]).tolist() == [pixels]


def test_no_outlines_enclose_no_pixels():
    assert enclosed_pixels([]).tolist() == []


# ------------------------------------------------------------------------------ bounds


def crossings(mask):
    return int((np.diff((mask > 0).astype(int), axis=1) != 0).sum())


def test_short_borders_are_traced_as_they_are():
    mask = adversarial.blobs(300, 200)
    mask = np.where(mask > 128, 255, 0).astype(np.uint8)
    outlines, scale = traced(mask)
    assert scale == 1
    for outline, expected in zip(outlines, outer_outlines(mask), strict=True):
        np.testing.assert_array_equal(outline, expected)


@pytest.mark.parametrize("size", [(640, 480), (641, 483)])
@pytest.mark.parametrize("picture", ["diagonal stripes", "checkers", "maze", "blobs"])
def test_long_borders_are_traced_at_half_the_size_or_less(picture, size, monkeypatch):
    mask = np.where(adversarial.PICTURES[picture](*size) > 128, 255, 0).astype(np.uint8)
    most = crossings(mask) // 3
    monkeypatch.setattr(contours, "_MAX_CROSSINGS", most)
    outlines, scale = traced(mask)
    assert scale in {2, 4, 8, 16}
    assert sum(map(len, outlines)) <= 2 * most + 4 * size[1]
    corners = np.concatenate(outlines)
    assert (corners >= 0).all()
    assert (corners * scale < size).all()


def test_an_outline_larger_than_the_grain_keeps_its_place(monkeypatch):
    mask = np.zeros((400, 600), np.uint8)
    mask[40:200, 60:300] = 255
    mask[300:, ::2] = 255  # the grain
    monkeypatch.setattr(contours, "_MAX_CROSSINGS", 4000)
    outlines, scale = traced(mask)
    assert scale == 2
    box = min((cv2.boundingRect(outline) for outline in outlines), key=lambda box: box[1])
    assert tuple(side * scale for side in box) == (60, 40, 240, 160)


@pytest.mark.parametrize("most", [60, 200, 1000])
def test_vertices_are_left_out_until_there_are_few_enough(most):
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    radius = 300 + 10 * np.sin(90 * angles)
    star = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1).round()
    outlines = [star.astype(np.int32) + 400, np.array([[5, 5], [9, 5], [9, 9]], np.int32)]
    fewer, tolerance_px = simplified(outlines, most=most)
    assert sum(map(len, fewer)) <= most
    assert len(fewer[1]) >= 1
    assert 2 < tolerance_px < 200
    for left, whole in zip(fewer, outlines, strict=True):
        assert {tuple(point) for point in left} <= {tuple(point) for point in whole}
        distances = np.linalg.norm(whole[:, None] - left[None], axis=2).min(axis=1)
        assert distances.max() <= tolerance_px


def test_few_vertices_all_stay():
    outlines = [np.array([[0, 0], [1, 0], [1, 1]], np.int32)]
    fewer, tolerance_px = simplified(outlines, most=3)
    assert tolerance_px == 0
    assert fewer[0] is outlines[0]
