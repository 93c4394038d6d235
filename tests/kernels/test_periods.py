"""A pattern that repeats is aligned by what interrupts it."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment import Alignment, Target
from ltu_compute.kernels.alignment.periods import among_periods, periods_of
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Gray, Matrix

WIDTH, HEIGHT, PITCH = 480, 360, 24
PLACES = np.array([(90, 80), (390, 70), (80, 280), (400, 290)], np.float64)
MIDDLE = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])


def plate(*, screws: bool = True, rows: bool = True) -> Gray:
    """Draw a plate of equal holes with four screws; or with slots over its height."""
    picture = np.full((HEIGHT, WIDTH), 170, np.uint8)
    for x in range(PITCH // 2, WIDTH, PITCH):
        if not rows:
            cv2.line(picture, (x, 0), (x, HEIGHT), 60, 8)
            continue
        for y in range(PITCH // 2, HEIGHT, PITCH):
            cv2.circle(picture, (x, y), 7, 60, cv2.FILLED, cv2.LINE_AA)
    for (x, y), turn in zip(PLACES.astype(int), (20, 70, 120, 160), strict=True):
        if screws:
            cv2.circle(picture, (int(x), int(y)), 22, 120, cv2.FILLED, cv2.LINE_AA)
            step = 16 * np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
            ends = [(int(x + s * step[0]), int(y + s * step[1])) for s in (-1, 1)]
            cv2.line(picture, *ends, 50, 5, cv2.LINE_AA)
    return picture


def shifted(columns: int, rows: int) -> Matrix:
    return np.array([[1, 0, PITCH * columns], [0, 1, PITCH * rows], [0, 0, 1.0]])


def turned(degrees: float) -> Matrix:
    """Turn about the middle, which is between holes."""
    angle = np.deg2rad(degrees)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    return np.linalg.inv(MIDDLE) @ turn @ MIDDLE


def seen(picture: Gray, matrix: Matrix) -> Gray:
    shot = cv2.warpPerspective(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(4).normal(0, 3, shot.shape)
    return np.clip(0.9 * shot + noise, 0, 255).astype(np.uint8)


def given(matrix: Matrix) -> Alignment:
    none = np.zeros((0, 2), np.float32)
    return Alignment(matrix, 30, 40, 0.1, "sift", 1.0, 0.05, none, none)


@pytest.mark.parametrize(
    "error",
    [shifted(1, 0), shifted(-4, 3), shifted(5, -4), turned(180) @ shifted(1, 1)],
    ids=["one period", "five periods", "six periods", "upside down"],
)
def test_an_alignment_off_by_a_symmetry_of_the_holes_is_corrected(error: Matrix) -> None:
    camera = np.array([[0.99, -0.05, 20], [0.05, 1.0, -12], [2e-5, -1e-5, 1.0]])
    first = plate()
    second = seen(first, camera)
    found = among_periods(given(camera @ error), first, second, Target(second))
    gap = map_points(PLACES, found.matrix) - map_points(PLACES, camera)
    assert np.abs(gap).max() < 0.3
    assert (found.method, found.inliers) == ("near", 0)
    assert found.agreement > 0.9


@pytest.mark.parametrize("screws", [True, False], ids=["right", "no screw decides"])
def test_an_alignment_is_kept_unless_another_is_better(*, screws: bool) -> None:
    first = plate(screws=screws)
    second = seen(first, shifted(0, 0))
    start = given(np.eye(3))
    assert among_periods(start, first, second, Target(second)) is start


def test_periods_are_those_of_a_pattern_and_not_of_lines() -> None:
    periods = periods_of(plate())
    lengths = sorted(tuple(abs(each).tolist()) for each in periods)
    assert lengths == [(0.0, PITCH), (PITCH, 0.0)]
    assert len(periods_of(plate(rows=False))) < 2


@pytest.mark.parametrize("stripe", [(9, 8), (7, -30)])
def test_oblique_stripes_have_one_period(stripe: tuple[int, int]) -> None:
    """Along stripes, displacements alike reach beyond those that are measured."""
    x, y = np.meshgrid(np.arange(384), np.arange(384))
    phase = (x * stripe[0] + y * stripe[1]) / np.square(stripe).sum()
    (period,) = periods_of(np.where(phase % 1 < 0.5, 60, 200).astype(np.uint8))
    assert abs(period @ stripe) == pytest.approx(np.square(stripe).sum(), rel=0.02)


def test_a_period_as_long_as_what_is_measured() -> None:
    """Their difference, (135, 0), is longer than a quarter of the picture, which is the most."""
    one, other = np.array([-39, 96]), np.array([96, 96])
    picture = np.full((384, 384), 60, np.uint8)
    for i in range(-6, 7):
        for j in range(-6, 7):
            cv2.circle(picture, (200 + i * one + j * other).tolist(), 14, 200, cv2.FILLED)
    assert [abs(each).tolist() for each in periods_of(picture)] == [[39, 96]]
