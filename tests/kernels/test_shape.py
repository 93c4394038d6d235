"""Alignment of two specimens of a part by its shape."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment import align_exactly, align_shape
from ltu_compute.kernels.differences import PRESETS, Tolerance, compare
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Gray, Matrix, Size

SIZE = Size(320, 320)
BRACKET = np.array([[90, 60], [230, 60], [230, 110], [150, 110], [150, 250], [90, 250]])


def pose(degrees: float, x: float = 0.0, y: float = 0.0) -> Matrix:
    """Turn about the middle, then shift."""
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((160, 160), degrees, 1)
    matrix[:2, 2] += x, y
    return matrix


def specimen(seed: int, at: Matrix | None = None, *, leg: int = 0, lamp: float = 1.0) -> Gray:
    """Draw a bracket with grain of its own, before a plain background; its leg may be bent."""
    rng = np.random.default_rng(seed)
    grain = cv2.resize(
        rng.normal(0, 12, (160, 160)).astype(np.float32), SIZE, interpolation=cv2.INTER_CUBIC
    )
    surface = (90 + grain) * lamp
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillPoly(mask, [BRACKET.astype(np.int32)], 255)
    cv2.line(mask, (225, 108), (225 + leg, 190), 255, 9)
    cv2.circle(mask, (120, 85), 12, 0, -1)
    background = np.full(mask.shape, 200.0 * lamp, np.float32)
    if at is not None:
        mask, surface = (cv2.warpPerspective(each, at, SIZE) for each in (mask, surface))
    share = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32) / 255
    drawn = share * surface + (1 - share) * background + rng.normal(0, 1.5, mask.shape)
    return np.asarray(np.clip(np.rint(drawn), 0, 255), np.uint8)


def off_px(matrix: Matrix, truth: Matrix) -> float:
    """Return the greatest distance of the bracket's corners from their true places."""
    corners = BRACKET.astype(np.float64)
    apart = map_points(corners, matrix) - map_points(corners, truth)
    return float(np.linalg.norm(apart, axis=1).max())


@pytest.mark.parametrize(
    ("degrees", "x", "y"), [(0, 6, -9), (37, 0, 0), (141, 12, 5), (262, -9, 7)]
)
def test_another_specimen_is_found_at_any_angle_and_a_bent_leg_does_not_bend_the_pose(
    degrees: float, x: float, y: float
) -> None:
    truth = pose(degrees, x, y)
    reference, shot = specimen(1), specimen(2, truth, leg=12, lamp=0.85)
    found = align_shape(reference, shot)
    assert found is not None
    assert found.subject == "subject"
    assert found.alignment.method == "shape"
    assert off_px(found.alignment.matrix, truth) < 1.5
    scale = np.sqrt(np.linalg.det(found.alignment.matrix[:2, :2]))
    assert scale == pytest.approx(1, abs=0.008)
    # Nothing else is looked for where the edges agree already.
    assert align_shape(reference, shot, known=found.alignment) is None


def test_a_region_is_followed_on_a_board_that_moved_differently() -> None:
    def on_board(part: Gray, shift: int) -> Gray:
        board = np.full(SIZE[::-1], 200, np.uint8)
        for x in range(-40 + shift, 360, 40):
            board[:, max(0, x) : max(0, x + 6)] = 120
        return np.where(part < 160, part, board).astype(np.uint8)

    truth = pose(8, 5, 4)
    region = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillPoly(region, [BRACKET.astype(np.int32)], 255)
    region = cv2.dilate(region, np.ones((9, 9), np.uint8))
    reference, shot = on_board(specimen(1), 0), on_board(specimen(2, truth), 17)
    found = align_shape(reference, shot, region1=region)
    assert found is not None
    assert found.subject == "region"
    assert off_px(found.alignment.matrix, truth) < 1.5


def bolt(at: float, phase: float) -> Gray:
    """Draw a bolt whose head is at some column, and whose thread has a phase of its own."""
    drawn = np.full(SIZE[::-1], 200, np.uint8)
    cv2.rectangle(drawn, (round(at), 110), (round(at) + 30, 210), 90, -1)
    cv2.rectangle(drawn, (round(at) + 30, 145), (round(at) + 200, 175), 90, -1)
    for tooth in range(9):
        x = at + 40 + phase + 16 * tooth
        crest = np.array(
            [[x, 145], [x + 5, 132], [x + 10, 145], [x + 10, 175], [x + 5, 188], [x, 175]]
        )
        cv2.fillPoly(drawn, [np.rint(crest).astype(np.int32)], 90)
        cv2.line(drawn, (round(x), 175), (round(x) + 10, 145), 150, 2)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 0.8), np.uint8)


def test_edges_that_good_specimens_share_say_where_a_bolt_is_and_its_thread_does_not() -> None:
    """The shot is 6 px farther, and its thread is where that of the reference is."""
    reference, shot = bolt(60, 0), bolt(66, -6)
    ends = np.array([[60, 110], [60, 210]], np.float64)

    def off(alike: list[Gray]) -> float:
        found = align_shape(reference, shot, alike=alike)
        assert found is not None
        return float(np.abs(map_points(ends, found.alignment.matrix) - ends - (6, 0)).max())

    assert off([bolt(60, phase) for phase in (3, 6, 9, 12)]) < 1.5
    assert off([]) > 3


def test_nothing_else_has_the_shape_and_a_disc_is_not_turned() -> None:
    reference = specimen(1)
    others = np.full(SIZE[::-1], 200, np.uint8)
    for x, y in ((60, 80), (150, 210), (260, 120), (240, 260)):
        cv2.circle(others, (x, y), 28, 90, -1)
    assert align_shape(reference, others) is None
    blank = np.full(SIZE[::-1], 200, np.uint8)
    assert align_shape(reference, blank) is None
    assert align_shape(blank, reference) is None
    discs = [np.full(SIZE[::-1], 200, np.uint8) for _ in range(2)]
    for disc, x in zip(discs, (150, 163), strict=True):
        cv2.circle(disc, (x, 160), 70, 90, -1, cv2.LINE_AA)
    found = align_shape(*discs)
    assert found is not None
    assert np.allclose(found.alignment.matrix, [[1, 0, 13], [0, 1, 0], [0, 0, 1]], atol=0.5)


def test_what_was_learnt_is_compared_at_any_angle_and_other_pairs_as_ever() -> None:
    reference, turned = specimen(1), specimen(2, pose(141, 12, 5))
    assert align_exactly(reference, turned, longest=320) is None
    bad = turned.copy()
    x, y = map_points(np.array([[120.0, 180.0]]), pose(141, 12, 5))[0].round().astype(int)
    cv2.circle(bad, (int(x), int(y)), 8, 240, -1)
    generous = np.zeros((320, 320, 4), np.uint8)
    generous[..., :2] = 60
    generous[..., 3] = 40

    def found(shot: Gray, tolerance: Tolerance | None) -> list[tuple[int, int]]:
        pair = [cv2.cvtColor(each, cv2.COLOR_GRAY2BGR) for each in (reference, shot)]
        result = compare(*pair, PRESETS[1], size1=SIZE, size2=SIZE, learnt=tolerance)
        assert result is not None
        assert result.aligned == (tolerance is not None)
        assert result.followed == ("none" if tolerance is None else "subject")
        return [(d.on1.box.x, d.on1.box.y) for d in result.differences]

    assert found(turned, Tolerance(generous)) == []
    assert found(bad, Tolerance(generous)) == [pytest.approx((112, 172), abs=4)]
    assert len(found(turned, None)) >= 1
