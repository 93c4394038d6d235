import cv2
import numpy as np
import pytest
from skimage.data import rocket

from ltu_compute.kernels.heat_map import keypoint_heat_map
from ltu_compute.kernels.keypoints import detect_keypoints

COLDEST, HOTTEST = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_TURBO)[0]


def temperature(heat_map):
    """Undo the colour map: 0 to 255."""
    colors = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_TURBO)
    level_of = {tuple(color): level for level, color in enumerate(colors[:, 0].tolist())}
    return np.array([[level_of[tuple(pixel)] for pixel in row] for row in heat_map.tolist()])


@pytest.mark.parametrize("shape", [(90, 120), (600, 400), (300, 1000)])
def test_hottest_where_the_points_are(shape):
    height, width = shape
    x, y = width * 0.75, height * 0.25
    heat = temperature(keypoint_heat_map(np.zeros(shape, np.uint8), np.array([[x, y]])))
    assert heat.max() == 255
    rows, columns = np.nonzero(heat == 255)
    scale = max(1, max(shape) / 256)
    assert abs(columns.mean() - x) <= scale
    assert abs(rows.mean() - y) <= scale
    assert heat[-1, 0] == 0


def test_a_lone_point_is_a_gaussian_of_three_percent_of_the_diagonal():
    heat = temperature(keypoint_heat_map(np.zeros((180, 240), np.uint8), np.array([[120.0, 90.0]])))
    distance = np.arange(-20, 21)
    expected = 255 * np.exp(-(distance**2) / (2 * 9.0**2))
    np.testing.assert_allclose(heat[90, 100:141], expected, atol=2)
    np.testing.assert_allclose(heat[70:111, 120], expected, atol=2)


def test_more_points_are_hotter():
    points = np.array([[30.0, 50.0]] * 4 + [[170.0, 50.0]])
    heat = temperature(keypoint_heat_map(np.zeros((100, 200), np.uint8), points))
    assert heat[50, 30] == 255
    assert heat[50, 170] == pytest.approx(255 / 4, abs=1)


@pytest.mark.parametrize(
    "points", [np.zeros((0, 2)), np.array([[-5.0, 3.0], [3.0, 40.0], [60.0, 3.0]])]
)
def test_coldest_everywhere_without_points_inside(points):
    heat_map = keypoint_heat_map(np.zeros((40, 60), np.uint8), points)
    assert heat_map.shape == (40, 60, 3)
    assert (heat_map == COLDEST).all()


def test_hot_on_texture_and_cold_on_blank_areas():
    gray = np.full((300, 400), 128, np.uint8)
    texture = np.random.default_rng(3).integers(0, 256, (20, 20), dtype=np.uint8)
    gray[100:200, 40:140] = cv2.resize(texture, (100, 100), interpolation=cv2.INTER_CUBIC)
    heat = temperature(keypoint_heat_map(gray))
    assert heat.max() == 255
    assert np.unravel_index(heat.argmax(), heat.shape)[0] in range(90, 210)
    assert heat[100:200, 40:140].mean() > 80
    assert heat[:, 220:].max() == 0


def test_the_points_are_those_of_matching():
    gray = np.ascontiguousarray(cv2.cvtColor(rocket(), cv2.COLOR_RGB2GRAY)[::2, ::2])
    points = detect_keypoints(gray).points
    assert len(points) > 50
    heat_map = keypoint_heat_map(gray)
    np.testing.assert_array_equal(heat_map, keypoint_heat_map(gray, points))
    heat = temperature(heat_map)
    at_points = heat[points[:, 1].round().astype(int), points[:, 0].round().astype(int)]
    assert at_points.mean() > 2 * heat.mean()


def test_hottest_is_red_and_coldest_blue():
    assert HOTTEST[2] > 2 * HOTTEST[0]
    assert COLDEST[0] > COLDEST[1]


@pytest.mark.parametrize("points", [np.zeros(4), np.zeros((2, 3))])
def test_points_have_two_coordinates(points):
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        keypoint_heat_map(np.zeros((10, 10), np.uint8), points)
