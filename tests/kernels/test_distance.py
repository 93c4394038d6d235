"""Distance: copies match, likenesses are near, strangers far."""

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from ltu_compute.kernels.distance import FARTHEST, image_distance
from ltu_compute.kernels.types import Bgr, Box


def photograph(name: str) -> Bgr:
    image = getattr(data, name)()
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    scale = 320 / max(image.shape[:2])
    return cv2.resize(image[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


NAMES = ("astronaut", "chelsea", "coffee", "page", "rocket")
PHOTOGRAPHS = {name: photograph(name) for name in NAMES}


def jpeg(image: Bgr, quality: int) -> Bgr:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def resized(image: Bgr, scale: float) -> Bgr:
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=flags)


def cropped(image: Bgr, share: float) -> Bgr:
    height, width = image.shape[:2]
    side = share**0.5
    return image[: int(height * side), int(width * (1 - side)) :]


def turned(image: Bgr, angle: float) -> Bgr:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    return cv2.warpAffine(image, turn, (width, height), borderValue=(255, 255, 255))


def labelled(image: Bgr) -> Bgr:
    label = image.copy()
    cv2.putText(label, "SAMPLE", (20, 90), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 255), 6)
    cv2.circle(label, (image.shape[1] - 60, image.shape[0] - 60), 40, (200, 80, 0), -1)
    return label


def grey(image: Bgr) -> Bgr:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


COPIES = {
    "jpeg 20": lambda image: jpeg(image, 20),
    "quarter": lambda image: resized(image, 0.25),
    "double": lambda image: resized(image, 1.33),
    "crop": lambda image: cropped(image, 0.6),
    "brighter": lambda image: np.clip(image * 1.3 + 10.0, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "label": labelled,
    "turned": lambda image: turned(image, 30),
    "grey": grey,
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_copies_match(name: str, copy: str) -> None:
    original = PHOTOGRAPHS[name]
    found = image_distance(original, COPIES[copy](original))
    assert 0 < found.distance < 1
    assert found.distance == pytest.approx(1 - found.match_strength)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(PHOTOGRAPHS["coffee"], id="photograph"),
        pytest.param(np.full((80, 60, 3), 200, np.uint8), id="blank"),
        pytest.param(np.zeros((1, 1, 3), np.uint8), id="one pixel"),
    ],
)
def test_equal_pixels_are_at_distance_zero(image: Bgr) -> None:
    found = image_distance(image, image.copy())
    assert found.distance == 0
    assert found.match_strength == 1
    assert found.box1 == found.box2 == Box(0, 0, image.shape[1], image.shape[0])


def test_strangers_do_not_match() -> None:
    distances = [
        image_distance(PHOTOGRAPHS[a], PHOTOGRAPHS[b]) for a, b in itertools.combinations(NAMES, 2)
    ]
    assert all(1 < found.distance <= FARTHEST for found in distances)
    assert np.mean([found.distance > 1.8 for found in distances]) > 0.8
    for found in distances:
        assert found.match_strength == 0
        assert found.box1 == found.box2 == Box(0, 0, 0, 0)


def test_copies_before_likenesses_before_strangers() -> None:
    copies, alike, strangers = [], [], []
    for name, other in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True):
        image = PHOTOGRAPHS[name]
        half = image.shape[1] // 2
        copies.append(image_distance(image, jpeg(image, 50)).distance)
        alike.append(image_distance(image[:, :half], image[:, half:]).distance)
        strangers.append(image_distance(image, PHOTOGRAPHS[other]).distance)
    assert np.mean(copies) < 0.5
    assert 1 < np.mean(alike) < 1.8 < np.mean(strangers)


def test_mirrored_picture_is_alike_but_no_match() -> None:
    image = PHOTOGRAPHS["chelsea"]
    assert 1 < image_distance(image, image[:, ::-1]).distance < 1.8


def test_matching_area_is_what_both_show() -> None:
    image = PHOTOGRAPHS["astronaut"]
    found = image_distance(image, image[80:260, 120:290])
    x, y, width, height = found.box1
    assert 110 <= x <= 160
    assert 70 <= y <= 120
    assert 100 <= width <= 180
    assert 100 <= height <= 190
    # The same area on the query lies 120 px to the left and 80 px up.
    assert np.allclose(found.box2, (x - 120, y - 80, width, height), atol=4)
    for score in (
        found.box_covered_surface,
        found.box_points_ratio,
        found.box_points_ratio_homography,
        found.match_strength,
        found.match_strength_without_weighting,
    ):
        assert 0 < score <= 1


def test_worse_copies_are_farther() -> None:
    image = PHOTOGRAPHS["coffee"]
    distances = [image_distance(image, jpeg(image, quality)).distance for quality in (90, 40, 8)]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        pytest.param((200, 200, 200), (201, 201, 201), True, id="same grey"),
        pytest.param((200, 200, 200), (0, 0, 0), False, id="white and black"),
        pytest.param((0, 0, 255), (255, 0, 0), False, id="red and blue"),
    ],
)
@pytest.mark.parametrize("side", [1, 64])
def test_blank_pictures(
    first: tuple[int, ...], second: tuple[int, ...], near: bool, side: int
) -> None:
    one = np.full((side, side, 3), first, np.uint8)
    other = np.full((side, side, 3), second, np.uint8)
    distance = image_distance(one, other).distance
    assert (distance < 1) is near


def test_same_input_same_answer() -> None:
    a, b = PHOTOGRAPHS["rocket"], turned(PHOTOGRAPHS["rocket"], 12)
    assert image_distance(a, b) == image_distance(a, b)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_misuse(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        image_distance(PHOTOGRAPHS["coffee"], image)
