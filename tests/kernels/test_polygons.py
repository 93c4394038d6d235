"""Regions given by polygons: several to include, several to exclude, within a mask."""

import numpy as np

from ltu_compute.kernels.differences import polygons_mask
from ltu_compute.kernels.types import Size

SIZE = Size(400, 300)
LEFT = [(20.0, 20.0), (120.0, 20.0), (120.0, 120.0), (20.0, 120.0)]
ACROSS = [(80.0, 80.0), (220.0, 80.0), (220.0, 200.0), (80.0, 200.0)]  # overlaps the left one
HOLE = [(90.0, 90.0), (110.0, 90.0), (110.0, 110.0), (90.0, 110.0)]


def at(mask: np.ndarray, x: int, y: int) -> int:
    height, width = mask.shape
    return int(mask[y * height // SIZE.height, x * width // SIZE.width])


def test_places_in_one_of_several_polygons_are_included() -> None:
    mask = polygons_mask(SIZE, include=[LEFT, ACROSS])
    assert mask is not None
    assert [at(mask, *place) for place in ((30, 30), (100, 100), (200, 180))] == [255] * 3
    assert [at(mask, *place) for place in ((10, 10), (200, 40), (300, 250))] == [0] * 3


def test_exclusion_takes_away_from_all() -> None:
    mask = polygons_mask(SIZE, include=[LEFT, ACROSS], exclude=[HOLE])
    assert mask is not None
    assert (at(mask, 100, 100), at(mask, 85, 85)) == (0, 255)
    everywhere_else = polygons_mask(SIZE, exclude=[HOLE, LEFT])
    assert everywhere_else is not None
    assert [at(everywhere_else, *place) for place in ((100, 100), (30, 30), (300, 30))] == [
        0,
        0,
        255,
    ]


def test_a_mask_bounds_them() -> None:
    given = np.zeros((150, 200), np.uint8)
    given[:, :50] = 1  # its left quarter
    mask = polygons_mask(SIZE, mask=given, include=[LEFT])
    assert mask is not None
    assert (at(mask, 30, 30), at(mask, 115, 30)) == (255, 0)
    assert polygons_mask(SIZE, mask=given) is given
    assert polygons_mask(SIZE) is None


def test_the_area_is_exact_and_the_mask_bounded() -> None:
    huge = Size(60000, 40000)
    square = [(6000.0, 4000.0), (36000.0, 4000.0), (36000.0, 24000.0), (6000.0, 24000.0)]
    mask = polygons_mask(huge, include=[square, [(-1e9, -1e9), (-1e8, -1e9), (-1e9, -1e8)]])
    assert mask is not None
    assert max(mask.shape) <= 2048
    assert abs((mask > 0).mean() - 0.25) < 0.003
