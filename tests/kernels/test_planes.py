"""Parts that moved differently are distinguished; a region of interest chooses one of them."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment import Target, align_still, choose_plane, motion_at
from ltu_compute.kernels.differences import PRESETS, compare
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Bgr, Mask, Matrix, Size

SIZE = Size(600, 450)
MIDDLE = np.array([300.0, 225.0])
PART = Size(260, 180)


def laid(x: float, y: float, degrees: float) -> Matrix:
    """Map px of the part to px of the scene: its middle lies beside the scene's, turned."""
    turn = cv2.getRotationMatrix2D((PART.width / 2, PART.height / 2), -degrees, 1.0)
    turn[:, 2] += MIDDLE - np.array(PART) / 2 + (x, y)
    return np.vstack([turn, [0, 0, 1]])


def scene(place: Matrix, seed: int, *, period: int = 20, scratch: bool = False) -> Bgr:
    """Draw a part with four holes and a word on a ruled mat."""
    image = np.full((SIZE.height, SIZE.width, 3), (78, 84, 24), np.uint8)
    image[:, ::period] = image[::period] = (120, 200, 190)
    part = np.full((PART.height, PART.width, 3), (160, 154, 150), np.uint8)
    for x in (22, 238):
        for y in (22, 158):
            cv2.circle(part, (x, y), 13, (56, 52, 50), -1, cv2.LINE_AA)
    cv2.putText(part, "FLANSCH 7", (48, 84), cv2.FONT_HERSHEY_DUPLEX, 0.9, (20, 20, 20), 2)
    if scratch:
        cv2.line(part, (140, 120), (190, 140), (228, 225, 225), 4, cv2.LINE_AA)
    shown = np.full(part.shape[:2], 255, np.uint8)
    over = cv2.warpPerspective(part, place, SIZE, flags=cv2.INTER_CUBIC)
    where = cv2.warpPerspective(shown, place, SIZE)[..., None] / 255
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image * (1 - where) + over * where + noise, 0, 255).astype(np.uint8)


def region(place: Matrix, border: int = 8) -> Mask:
    """Include the part less a border."""
    inner = np.zeros((PART.height, PART.width), np.uint8)
    inner[border:-border, border:-border] = 255
    return np.asarray(cv2.warpPerspective(inner, place, SIZE, flags=cv2.INTER_NEAREST), np.uint8)


def gray(image: Bgr) -> Bgr:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def gap_px(found: Matrix, truth: Matrix) -> float:
    """Return the largest distance between where two matrices put the part's corners."""
    corners = map_points(np.array([(0, 0), (260, 0), (0, 180), (260, 180)], float), laid(0, 0, 0))
    return float(
        np.linalg.norm(map_points(corners, found) - map_points(corners, truth), axis=1).max()
    )


@pytest.mark.parametrize(
    ("x", "y", "degrees"), [(0.6, -0.4, 0.0), (6.0, -4.0, 1.0), (33.0, 21.0, -4.0)]
)
def test_the_region_is_followed_where_it_moved(x: float, y: float, degrees: float) -> None:
    gray1, target = gray(scene(laid(0, 0, 0), 1)), Target(gray(scene(laid(x, y, degrees), 2)))
    whole = align_still(gray1, target)  # the mat
    assert whole is not None
    planes = choose_plane(gray1, target, whole, region(laid(0, 0, 0)))
    assert planes.followed == "region"
    assert planes.alignment is not None
    assert gap_px(planes.alignment.matrix, laid(x, y, degrees) @ np.linalg.inv(laid(0, 0, 0))) < 0.6
    assert planes.other is whole
    assert not planes.rest_agrees or abs(x) < 1  # the mat's lines are wider than that


def test_the_whole_is_followed_where_the_region_agrees() -> None:
    gray1, target = gray(scene(laid(0, 0, 0), 1)), Target(gray(scene(laid(0, 0, 0), 2)))
    whole = align_still(gray1, target)
    planes = choose_plane(gray1, target, whole, region(laid(0, 0, 0)))
    assert planes.alignment is whole
    assert (planes.followed, planes.other, planes.rest_agrees) == ("image", None, True)


def test_a_region_that_shows_nothing_does_not_steer() -> None:
    gray1, target = gray(scene(laid(0, 0, 0), 1)), Target(gray(scene(laid(20, 9, 2), 2)))
    whole = align_still(gray1, target)
    blank = np.zeros((SIZE.height, SIZE.width), np.uint8)
    blank[262:300, 210:255] = 255  # plain metal
    planes = choose_plane(gray1, target, whole, blank)
    assert planes.alignment is whole
    assert planes.followed == "image"


def test_without_a_region_the_other_motion_is_reported() -> None:
    gray1, target = gray(scene(laid(0, 0, 0), 1)), Target(gray(scene(laid(20, 9, 2), 2)))
    whole = align_still(gray1, target)
    planes = choose_plane(gray1, target, whole, None)
    assert planes.alignment is whole  # the mat is larger
    assert planes.other is not None
    motion = motion_at(planes.other.matrix, MIDDLE, (SIZE, SIZE))
    assert motion.x == pytest.approx(20, abs=0.5)
    assert motion.y == pytest.approx(9, abs=0.5)
    assert motion.turn_degrees == pytest.approx(2, abs=0.2)
    assert motion.scale == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("period", "preset"), [(20, 1), (33, 4)])
def test_only_the_scratch_of_a_part_laid_anew_differs(period: int, preset: int) -> None:
    reference = scene(laid(0, 0, 0), 1, period=period)
    for scratch in (False, True):
        shot = scene(laid(11, -7, 2), 2, period=period, scratch=scratch)
        found = compare(
            reference, shot, PRESETS[preset], size1=SIZE, size2=SIZE, roi1=region(laid(0, 0, 0))
        )
        assert found is not None
        assert len(found.differences) == scratch
        assert found.followed == "region"
        assert (found.motion.x, found.motion.y) == pytest.approx((11, -7), abs=0.3)
        assert found.other_motion is not None
        for difference in found.differences:
            box = difference.on1.box
            assert box.x <= MIDDLE[0] + 35 < box.x + box.width
            assert box.y <= MIDDLE[1] + 40 < box.y + box.height


@pytest.mark.parametrize(
    ("turn", "scale", "x", "y"), [(0, 1, 0, 0), (30, 1, 5, -3), (-90, 2, 0, 7), (179, 0.5, 1, 1)]
)
def test_motion_of_a_similarity(turn: float, scale: float, x: float, y: float) -> None:
    angle = np.deg2rad(turn)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = rotation
    matrix[:2, 2] = MIDDLE - rotation @ MIDDLE + (x, y)
    motion = motion_at(matrix, MIDDLE, (SIZE, SIZE))
    assert tuple(motion) == pytest.approx((x, y, turn, scale))


def test_edge_to_edge_is_no_displacement() -> None:
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
    motion = motion_at(double, np.array([10.0, 20.0]), (SIZE, Size(1200, 900)))
    assert tuple(motion) == pytest.approx((0, 0, 0, 2))
