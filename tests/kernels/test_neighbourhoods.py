"""Neighbourhoods that are like none of several good specimens."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.differences import PRESETS
from ltu_compute.kernels.differences.neighbourhoods import (
    CELL_PX,
    REACH_CELLS,
    Neighbourhoods,
    described,
)
from ltu_compute.kernels.differences.regions import UNLIKE, Usual, pieces_of
from ltu_compute.kernels.differences.specimens import with_unlike
from ltu_compute.kernels.types import Bgr

SIDE = 240


def texture(seed: int) -> Bgr:
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    stretched = cv2.normalize(soft, None, 40, 210, cv2.NORM_MINMAX)
    return np.asarray(cv2.cvtColor(stretched, cv2.COLOR_GRAY2BGR), np.uint8)


def moved(picture: Bgr, cells: int) -> Bgr:
    return np.roll(picture, cells * CELL_PX, axis=1)


def test_a_slope_has_the_direction_in_which_it_rises_and_its_colour() -> None:
    slope = np.linspace(0, 255, SIDE).astype(np.uint8)
    across = cv2.cvtColor(np.tile(slope, (SIDE, 1)), cv2.COLOR_GRAY2BGR)
    middle = described(np.asarray(across, np.uint8))[15, 15]
    assert middle[:8].argmax() == middle[8:16].argmax() == 0
    assert middle[0] == pytest.approx(np.sqrt(100 / SIDE), rel=0.15)  # lightness per px
    assert middle[4] == pytest.approx(0, abs=1e-3)
    down = described(np.ascontiguousarray(np.swapaxes(across, 0, 1), np.uint8))[15, 15]
    assert down[:8].argmax() == 2
    red = described(np.full((SIDE, SIDE, 3), (0, 0, 255), np.uint8))[15, 15]
    assert red[16:] == pytest.approx([53.2, 80.1, 67.2], abs=0.2)  # sRGB red in CIE Lab
    assert red[:16].max() < 1e-2


def test_a_neighbourhood_may_be_elsewhere_and_no_farther_than_the_reach() -> None:
    known = Neighbourhoods.of([texture(1), texture(2)])
    inner = (slice(8, 22), slice(8, 22))

    def distance(shot: Bgr, without: int | None = None) -> float:
        return float(np.median(known.distances(described(shot), without=without)[inner]))

    foreign = distance(texture(3))
    assert distance(texture(1)) == pytest.approx(0, abs=1e-2)
    assert distance(moved(texture(1), REACH_CELLS)) == pytest.approx(0, abs=1e-2)
    assert distance(moved(texture(1), REACH_CELLS + 3)) > 0.7 * foreign
    assert distance(texture(1), without=0) > 0.7 * foreign
    also = known.distances(described(texture(3)), described(texture(3)))
    assert also.max() == pytest.approx(0, abs=1e-2)


def test_what_is_not_like_the_specimens_is_found_in_its_place() -> None:
    """Stripes at another angle: neither their contrast nor their mean colour differ."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pictures = [
        np.repeat((128 + 60 * np.sin(columns / 2 + phase))[..., None], 3, axis=2).astype(np.uint8)
        for phase in (0.0, 1.0, 2.5)
    ]
    shot = pictures[0].copy()
    other = np.repeat((128 + 60 * np.sin(rows / 2))[..., None], 3, axis=2).astype(np.uint8)
    shot[96:144, 96:144] = other[96:144, 96:144]
    away = Neighbourhoods.of(pictures[1:]).distances(described(shot))
    assert np.unravel_index(away.argmax(), away.shape) == (
        pytest.approx(14.5, abs=2),
        pytest.approx(14.5, abs=2),
    )
    assert away[14, 14] > 5 * np.median(away)


@pytest.mark.parametrize(
    ("unlikeness", "usual_score", "counts"),
    [
        (0.5, 7.9, True),  # a quarter more than what is usual
        (0.8, 9.0, False),  # the same neighbourhoods: only their pixels were displaced
        (1.0, 12.0, True),
        (1.0, 15.0, False),
        (1.1, 15.0, True),  # unlike, and almost as different as is usual
        (UNLIKE + 0.05, 1200.0, True),
    ],
)
def test_a_difference_counts_by_pixels_and_by_neighbourhoods(
    unlikeness: float, usual_score: float, counts: bool
) -> None:
    differing = np.zeros((100, 100), np.float32)
    differing[40:50, 40:50] = 10.0  # 1 % of the picture: a score of 10
    pieces = pieces_of(differing, np.ones((100, 100), bool), PRESETS[1])
    full = np.ones((100, 100), np.float32)
    usual = Usual(full * np.float32(usual_score), full * np.float32(99))
    assert usual.is_exceeded_by(pieces, 1) == (usual_score < 10)
    there = usual._replace(unlikeness=full * np.float32(unlikeness))
    assert there.is_exceeded_by(pieces, 1) == counts


def test_unlike_neighbourhoods_become_differences_by_their_distance() -> None:
    unlikeness = np.zeros((60, 60), np.float32)
    unlikeness[10:20, 10:20] = UNLIKE * 1.1
    unlikeness[10:20, 20:25] = UNLIKE * 0.9  # beside it
    unlikeness[40:50, 40:50] = UNLIKE * 0.9  # alone
    own = np.full((60, 60), 1.5, np.float32)
    found = with_unlike(own, unlikeness, 4.8)
    assert found[15, 15] == pytest.approx(4.8 * (1 + 0.1 / 0.3), rel=1e-3)
    assert found[15, 22] == pytest.approx(4.8 * (1 - 0.1 / 0.3), rel=1e-3)
    assert found[45, 45] == found[0, 0] == 1.5
    assert (with_unlike(own, unlikeness, 8.0) == own).all()  # a level that it does not reach
