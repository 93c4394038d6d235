"""What offers no keypoints is aligned near as it lies, by its pixels."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment import align
from ltu_compute.kernels.alignment.near import align_near
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Gray, Matrix

WIDTH, HEIGHT = 800, 600
PLACES = np.array([(100, 100), (700, 100), (100, 500), (700, 500)], np.float64)


def perforated() -> Gray:
    """A plate of equal holes, and four screws that tell one hole from the next."""
    plate = np.full((HEIGHT, WIDTH), 170, np.uint8)
    for x in range(30, WIDTH, 40):
        for y in range(30, HEIGHT, 40):
            cv2.circle(plate, (x, y), 9, 60, -1, cv2.LINE_AA)
    for (x, y), turn in zip(PLACES.astype(int) + 10, (20, 70, 120, 160), strict=True):
        cv2.circle(plate, (int(x), int(y)), 34, 120, -1, cv2.LINE_AA)
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        ends = [(int(x + k * 26 * cosine), int(y + k * 26 * sine)) for k in (-1, 1)]
        cv2.line(plate, *ends, 50, 7, cv2.LINE_AA)
    return plate


def shot(plate: Gray, matrix: Matrix) -> Gray:
    seen = cv2.warpPerspective(plate, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(4).normal(0, 3, seen.shape)
    return np.clip(0.9 * seen + noise, 0, 255).astype(np.uint8)


def moved(angle_deg: float, x: float, y: float) -> Matrix:
    affine = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle_deg, 1.0)
    affine[:, 2] += (x, y)
    return np.vstack([affine, [0, 0, 1]])


@pytest.mark.parametrize(
    "matrix", [moved(0, 25, -17), moved(2.5, 10, 6), moved(-3, -30, 12)], ids=str
)
def test_a_perforated_plate_is_aligned_to_the_right_hole(matrix: Matrix) -> None:
    plate = perforated()
    second = shot(plate, matrix)
    found = align_near(plate, second)
    assert found is not None
    assert found.method == "near"
    gap = map_points(PLACES, found.matrix) - map_points(PLACES, matrix)
    assert np.abs(gap).max() < 0.5


def test_a_plate_alone_is_refused_by_keypoints() -> None:
    plate = perforated()
    plate[:, :] = plate[230:231, 230:231]
    assert align(plate, plate) is None
    assert align_near(plate, plate) is None


def test_what_shows_something_else_is_refused() -> None:
    noise = np.random.default_rng(8).integers(0, 255, (60, 80)).astype(np.uint8)
    other = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    assert align_near(perforated(), other) is None
