"""Keypoints: where they lie, what they match."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage import data

from ltu_compute.kernels.keypoints import (
    Keypoints,
    descriptor_distances,
    detect_keypoints,
    detect_orb_keypoints,
    keypoint_places,
    match_keypoints,
)

ASTRONAUT = cv2.resize(
    cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), (384, 384), interpolation=cv2.INTER_AREA
)


@pytest.fixture(scope="module")
def astronaut() -> Keypoints:
    return detect_keypoints(ASTRONAUT)


def test_blobs_are_found_at_their_centres() -> None:
    gray = np.full((200, 260), 200, np.uint8)
    centres = [(50, 60), (130, 140), (210, 70)]
    for centre in centres:
        cv2.circle(gray, centre, 9, 40, -1, cv2.LINE_AA)
    points = detect_keypoints(cv2.GaussianBlur(gray, (0, 0), 2)).points
    for centre in centres:
        assert np.linalg.norm(points - centre, axis=1).min() < 0.25


@pytest.mark.parametrize("limit", [1, 50, 300])
def test_limit_keeps_the_strongest(astronaut: Keypoints, limit: int) -> None:
    fewer = detect_keypoints(ASTRONAUT, limit=limit)
    assert len(fewer) == limit
    # The strongest few may be listed in another order of equal strength, not elsewhere.
    known = {tuple(p) for p in np.round(astronaut.points, 2)}
    assert all(tuple(p) in known for p in np.round(fewer.points, 2))


def test_descriptors_are_root_sift(astronaut: Keypoints) -> None:
    assert astronaut.descriptors.shape == (len(astronaut), 128)
    assert np.allclose(np.linalg.norm(astronaut.descriptors, axis=1), 1, atol=1e-3)


def test_every_keypoint_of_an_image_matches_itself_or_none(astronaut: Keypoints) -> None:
    pairs = match_keypoints(astronaut, astronaut)
    assert len(pairs) > 0.9 * len(astronaut)
    assert (pairs[:, 0] == pairs[:, 1]).all()


@pytest.mark.parametrize("angle", [0, 37, 90, 180])
@pytest.mark.parametrize("scale", [0.7, 1.0])
def test_matches_follow_a_known_turn(astronaut: Keypoints, angle: float, scale: float) -> None:
    turn = cv2.getRotationMatrix2D((191.5, 191.5), angle, scale)
    turned = detect_keypoints(cv2.warpAffine(ASTRONAUT, turn, (384, 384)))
    pairs = match_keypoints(astronaut, turned)
    expected = astronaut.points[pairs[:, 0]] @ turn[:, :2].T + turn[:, 2]
    error_px = np.linalg.norm(expected - turned.points[pairs[:, 1]], axis=1)
    assert len(pairs) > 50
    assert np.mean(error_px < 2) > 0.9


def test_orb_distances_are_those_of_hamming() -> None:
    keypoints = detect_orb_keypoints(ASTRONAUT, limit=60)
    bits = keypoints.descriptors > 0
    hamming = (bits[:, None] != bits[None]).sum(axis=2)
    assert np.allclose(descriptor_distances(keypoints, keypoints) ** 2 * 64, hamming, atol=0.01)
    assert np.allclose(np.linalg.norm(keypoints.descriptors, axis=1), 1)


def test_orb_matches_follow_a_known_turn() -> None:
    turn = cv2.getRotationMatrix2D((191.5, 191.5), 37, 0.9)
    first = detect_orb_keypoints(ASTRONAUT)
    second = detect_orb_keypoints(cv2.warpAffine(ASTRONAUT, turn, (384, 384)))
    pairs = match_keypoints(first, second)
    expected = first.points[pairs[:, 0]] @ turn[:, :2].T + turn[:, 2]
    error_px = np.linalg.norm(expected - second.points[pairs[:, 1]], axis=1)
    assert len(pairs) > 50
    assert np.mean(error_px < 3) > 0.9


def test_faint_keypoints_are_more() -> None:
    assert len(detect_keypoints(ASTRONAUT, limit=5000, faint=True)) > len(
        detect_keypoints(ASTRONAUT, limit=5000)
    )


def test_chosen_keypoints(astronaut: Keypoints) -> None:
    upper = astronaut.points[:, 1] < 100
    chosen = astronaut.only(upper)
    assert len(chosen) == upper.sum()
    assert (chosen.points[:, 1] < 100).all()
    assert chosen.descriptors.shape == (len(chosen), 128)


def test_stricter_ratio_keeps_a_subset(astronaut: Keypoints) -> None:
    other = detect_keypoints(cv2.GaussianBlur(ASTRONAUT, (0, 0), 1.5))
    strict = {tuple(p) for p in match_keypoints(astronaut, other, ratio=0.6)}
    loose = {tuple(p) for p in match_keypoints(astronaut, other, ratio=0.9)}
    assert strict < loose


@pytest.mark.parametrize(
    "gray",
    [
        pytest.param(np.full((120, 160), 128, np.uint8), id="blank"),
        pytest.param(np.zeros((1, 1), np.uint8), id="one pixel"),
        pytest.param(np.zeros((2, 300), np.uint8), id="a line"),
    ],
)
def test_nothing_to_find(gray: np.ndarray, astronaut: Keypoints) -> None:
    keypoints = detect_keypoints(gray)
    assert keypoints.points.shape == (0, 2)
    assert keypoints.descriptors.shape == (0, 128)
    assert match_keypoints(keypoints, astronaut).shape == (0, 2)
    fast = detect_orb_keypoints(gray)
    assert fast.points.shape == (0, 2)
    assert fast.descriptors.shape == (0, 256)


def test_faint_structure_is_found_too() -> None:
    faint = (118 + ASTRONAUT.astype(np.float32) / 16).astype(np.uint8)
    assert len(detect_keypoints(faint)) > 50


@pytest.mark.parametrize(
    ("gray", "limit"),
    [
        (np.zeros((4, 4, 3), np.uint8), 10),
        (np.zeros((4, 4), np.float32), 10),
        (np.zeros((4, 4), np.uint8), 0),
    ],
)
def test_misuse(gray: np.ndarray, limit: int) -> None:
    for detect in (detect_keypoints, detect_orb_keypoints):
        with pytest.raises(ValueError, match="must be"):
            detect(gray, limit=limit)


@pytest.mark.parametrize("name", ["page", "coffee", "moon"])
def test_the_order_of_looks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = getattr(data, name)()
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found = []
    for corners in (0, 10**6):  # the second look at once, or after the first
        monkeypatch.setattr(
            cv2,
            "FastFeatureDetector_create",
            lambda _, count=corners: SimpleNamespace(detect=lambda *_: range(count)),
        )
        found.append(detect_keypoints(gray))
        assert np.array_equal(keypoint_places(gray), found[-1].points)
    assert np.array_equal(found[0].points, found[1].points)
    assert np.array_equal(found[0].descriptors, found[1].descriptors)
