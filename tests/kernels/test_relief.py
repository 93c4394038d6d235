"""Tall parts seen from elsewhere are the same parts; missing and other ones are differences."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.alignment.parallax import find_parallax
from ltu_compute.kernels.differences import PRESETS, Comparison, compare
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.displacement import Displacement
from ltu_compute.kernels.differences.fine import _without_measured, _without_unexplained
from ltu_compute.kernels.differences.relief import Part, Relief, only
from ltu_compute.kernels.differences.sampling import Sampler
from ltu_compute.kernels.types import Bgr, Box, Size

SIZE = Size(640, 480)
TOPS = [Box(80 + 130 * (k % 4), 60 + 130 * (k // 4), 70, 60) for k in range(12)]
DIRECTION = np.array([0.9, 0.4])  # of what stands above the board, seen from elsewhere
HEIGHTS = [6.0 + 0.7 * k for k in range(12)]  # px by which each top is displaced
CAMERA = np.vstack([cv2.getRotationMatrix2D((320, 240), 1.0, 1.01), [0, 0, 1.0]])


def speckle(seed: int, width: int, height: int, base: tuple[int, int, int]) -> Bgr:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 40, (height // 5 + 1, width // 5 + 1, 1))
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.array(base) + fine[..., None], 0, 255).astype(np.uint8)


def shot(seed: int, moved: bool, *, missing: int = -1, other: int = -1, slid: int = -1) -> Bgr:
    """Draw a board with twelve tall parts, from the first place or from the second."""
    scene = speckle(100, *SIZE, (60, 110, 50))
    for k, (box, height) in enumerate(zip(TOPS, HEIGHTS, strict=True)):
        if k == missing:
            continue
        x, y = np.rint(DIRECTION * height).astype(int) if moved else (0, 0)
        if k == slid:
            x, y = x - 8, y + 18
        top = speckle(k + 50 * (k == other), box.width, box.height, (40 + 15 * k, 90, 200 - 12 * k))
        scene[box.y + y : box.y + y + box.height, box.x + x : box.x + x + box.width] = top
    if moved:
        scene = cv2.warpPerspective(
            scene, CAMERA, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    noise = np.random.default_rng(seed).normal(0, 2, scene.shape)
    return np.clip(cv2.GaussianBlur(scene, (0, 0), 0.7) + noise, 0, 255).astype(np.uint8)


def compared(image1: Bgr, image2: Bgr, *, fine: bool = False) -> Comparison:
    settings = replace(PRESETS[1], resolution="full" if fine else 400)
    found = compare(image1, image2, settings, size1=SIZE, size2=SIZE)
    assert found is not None
    return found


def lies_on(box: Box, other: Box) -> bool:
    x, y = other.x + other.width / 2, other.y + other.height / 2
    return box.x <= x < box.x + box.width and box.y <= y < box.y + box.height


def test_parts_seen_from_elsewhere_are_no_differences() -> None:
    found = compared(shot(1, moved=False), shot(2, moved=True))
    assert len(found.differences) <= 1  # without the search some twenty: the borders of all parts
    for box, height in zip(TOPS, HEIGHTS, strict=True):
        x, y = CAMERA[:2, :2] @ DIRECTION * height
        seen = [part for part in found.relief if lies_on(part.box, box)]
        assert seen
        assert seen[0].displacement == pytest.approx((x, y), abs=1.5)


@pytest.mark.parametrize("fine", [False, True])
def test_missing_and_replaced_parts_are_differences(fine: bool) -> None:
    found = compared(shot(1, moved=False), shot(2, moved=True, missing=5, other=7), fine=fine)
    assert len(found.differences) <= 6
    for k in (5, 7):
        assert any(lies_on(each.on1.box, TOPS[k]) for each in found.differences)
        assert not any(lies_on(part.box, TOPS[k]) for part in found.relief)
    assert len(found.relief) >= 9


def test_a_part_that_slid_aside_is() -> None:
    found = compared(shot(1, moved=False), shot(2, moved=True, slid=6))
    assert any(lies_on(each.on1.box, TOPS[6]) for each in found.differences)


def test_a_camera_that_stood_still_sees_no_relief() -> None:
    found = compared(shot(1, moved=False), shot(2, moved=False, slid=6))
    assert found.relief == ()
    assert found.differences


def test_corners_that_move_anywhere_are_no_parallax() -> None:
    rng = np.random.default_rng(4)
    places = rng.uniform(0, 600, (300, 2))
    shifts = rng.normal(0, 0.1, (300, 2))
    shifts[:40] = rng.normal(0, 4, (40, 2))
    assert find_parallax(places, shifts) is None


@pytest.mark.parametrize("epipole", [(-2000.0, 300.0), (250.0, 200.0)])
def test_the_epipole_is_where_displacements_meet(epipole: tuple[float, float]) -> None:
    rng = np.random.default_rng(5)
    places = rng.uniform(0, 600, (300, 2))
    shifts = rng.normal(0, 0.1, (300, 2))
    away = places[:60] - epipole
    shifts[:60] += away / np.linalg.norm(away, axis=1, keepdims=True) * rng.uniform(2, 9, (60, 1))
    shifts[:6] = rng.normal(0, 5, (6, 2))  # and some that are wrong
    found = find_parallax(places, shifts)
    assert found is not None
    directions = found.direction_at(places)
    truth = (places - epipole) / np.linalg.norm(places - epipole, axis=1, keepdims=True)
    assert np.median(np.abs((directions * truth).sum(axis=1))) > 0.995
    assert found.high - found.low == pytest.approx(9 * 1.25, rel=0.15)


def drawn_relief() -> Relief:
    """Draw a part of 40 x 30 px and one of 10 x 10 px, both displaced by 2 px to the right."""
    parts = (Part(Box(10, 10, 40, 30), (2.0, 0.0)), Part(Box(70, 50, 10, 10), (2.0, 0.0)))
    labels = np.zeros((80, 100), np.int32)
    for index, (box, _) in enumerate(parts, start=1):
        labels[box.y : box.y + box.height, box.x : box.x + box.width] = index
    displacement = np.stack([2.0 * (labels > 0), np.zeros(labels.shape)], axis=-1)
    return Relief(
        displacement=displacement.astype(np.float32),
        hidden=labels > 0,
        surroundings=labels > 0,
        labels=labels,
        parts=parts,
    )


def test_a_relief_of_some_parts_leaves_the_others_in_place() -> None:
    whole = drawn_relief()
    assert only(whole, whole.parts) is whole
    assert only(whole, []) is None
    small = only(whole, whole.parts[1:])
    assert small is not None
    assert small.labels.tolist() == (whole.labels == 2).astype(int).tolist()
    assert small.displacement[..., 0].tolist() == (2.0 * (whole.labels == 2)).tolist()
    assert not small.hidden[:, :60].any()
    assert small.hidden[:, 60:].any()
    assert not small.surroundings[:, :60].any()


@pytest.mark.parametrize(("measured_px", "left"), [(19.0, 1), (1.0, 2)])
def test_a_large_part_that_patches_have_measured_is_no_relief(
    measured_px: float, left: int
) -> None:
    """The other parts stay: a small one is between the patches, here 500 px apart."""
    frame = Size(1000, 800)
    vectors = np.zeros((2, 2, 2), np.float32)
    vectors[..., 0] = measured_px
    field = Displacement((500.0, 400.0), vectors, vectors)
    sampler = Sampler(np.zeros((800, 1000, 3), np.uint8), np.eye(3), frame, displacement=field)
    found = _without_measured(drawn_relief(), Size(100, 80), sampler)
    assert found is not None
    assert len(found.parts) == left


def ring(x: int, y: int, width: int, height: int, *, lower: bool) -> Area:
    """Return the rim of a bar of 5 px all around; without `lower`, without its lower quarter."""
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (2, 2), (width - 3, height - 3), 255, 5)
    if not lower:
        mask[3 * height // 4 :] = 0
    return Area.of(Box(x, y, width, height), mask, 50.0, 40.0)


def test_a_part_that_grew_is_no_relief() -> None:
    """Displaced, one of its sides fits; the others differ as before. The other part fits."""
    plane = [ring(100, 100, 400, 300, lower=True), ring(700, 500, 100, 100, lower=True)]
    left = [ring(100, 100, 400, 300, lower=True), ring(700, 500, 100, 100, lower=False)]
    sizes = Size(100, 80), Size(1000, 800)
    grew = _without_unexplained(drawn_relief(), *sizes, (plane, [left[0]]))
    assert grew is not None
    assert [part.box.x for part in grew.parts] == [70]
    assert _without_unexplained(drawn_relief(), *sizes, (plane, left)) is None
    whole = drawn_relief()
    assert _without_unexplained(whole, *sizes, (plane, [])) is whole
