"""Distance: copies match, likenesses are near, strangers far."""

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from ltu_compute.kernels.distance import (
    FARTHEST,
    Fingerprint,
    distance_between,
    image_distance,
)
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


def turned(image: Bgr, angle: float, border: int = cv2.BORDER_CONSTANT) -> Bgr:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    return cv2.warpAffine(
        image, turn, (width, height), borderMode=border, borderValue=(255, 255, 255)
    )


def labelled(image: Bgr) -> Bgr:
    label = image.copy()
    cv2.putText(label, "SAMPLE", (20, 90), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 255), 6)
    cv2.circle(label, (image.shape[1] - 60, image.shape[0] - 60), 40, (200, 80, 0), -1)
    return label


def covered(image: Bgr, share: float, opacity: float = 1.0) -> Bgr:
    """Cover a share of a picture's area, about its middle, with one colour."""
    height, width = image.shape[:2]
    down, across = int(height * share**0.5), int(width * share**0.5)
    y, x = (height - down) // 2, (width - across) // 2
    result = image.copy()
    part = result[y : y + down, x : x + across]
    part[:] = np.round(part * (1 - opacity) + np.array((200, 80, 0)) * opacity)
    return result


def gradient(first: tuple[int, ...], last: tuple[int, ...], *, across: bool = False) -> Bgr:
    """Draw a sky: one colour above (or at the left), another below."""
    part = np.linspace(0, 1, 120)[:, None, None]
    column = np.array(first) * (1 - part) + np.array(last) * part
    image = np.broadcast_to(column, (120, 120, 3)).round().astype(np.uint8)
    return np.ascontiguousarray(image.swapaxes(0, 1) if across else image)


def label(rng: np.random.Generator) -> Bgr:
    """Draw a label of a fixed layout with a text of its own."""
    image = np.full((320, 480, 3), 235, np.uint8)
    cv2.rectangle(image, (0, 0), (480, 60), (160, 90, 20), -1)
    for y, size, length in ((42, 1.2, 14), (100, 0.8, 26), (135, 0.8, 26), (170, 0.8, 26)):
        text = "".join(rng.choice(list("ABCDEFGHIJKLMNOPRSTUVWXYZ0123456789"), length))
        color = (255, 255, 255) if y == 42 else (40, 40, 40)
        cv2.putText(image, text, (20, y), cv2.FONT_HERSHEY_DUPLEX, size, color, 1, cv2.LINE_AA)
    x = 20
    while x < 440:
        width, gap = rng.integers(2, 9, 2).tolist()
        cv2.rectangle(image, (x, 200), (x + width - 1, 300), (40, 40, 40), -1)
        x += width + gap
    return image


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
    "turned, reflected": lambda image: turned(image, -20, cv2.BORDER_REFLECT),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 5),
    "very blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 10),
    "third of it covered": lambda image: covered(image, 1 / 3),
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


@pytest.mark.parametrize("copy", ["label", "turned", "very blurred", "part"])
def test_distance_is_the_same_both_ways(copy: str) -> None:
    image = PHOTOGRAPHS["coffee"]
    other = image[20:150, 90:] if copy == "part" else COPIES[copy](image)
    there, back = image_distance(image, other), image_distance(other, image)
    assert there.distance == back.distance
    assert there.match_strength == back.match_strength
    assert (there.box1, there.box2) == (back.box2, back.box1)


def test_distance_of_strangers_is_the_same_both_ways() -> None:
    first, second = PHOTOGRAPHS["page"], PHOTOGRAPHS["rocket"]
    assert image_distance(first, second) == image_distance(second, first)


def test_fingerprints_serve_again() -> None:
    image = PHOTOGRAPHS["coffee"]
    fingerprint = Fingerprint.from_image(image)
    for other in (image.copy(), jpeg(image, 50), PHOTOGRAPHS["page"]):
        found = distance_between(fingerprint, Fingerprint.from_image(other))
        assert found == image_distance(image, other)


def test_fingerprints_of_other_proportions_are_not_equal() -> None:
    tall, wide = (np.full(shape, 7, np.uint8) for shape in ((8, 2, 3), (2, 8, 3)))
    assert distance_between(Fingerprint.from_image(tall), Fingerprint.from_image(wide)).distance > 0


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
def test_more_that_is_covered_is_farther(name: str) -> None:
    image = PHOTOGRAPHS[name]
    original = Fingerprint.from_image(image)
    by_area = [covered(image, share) for share in (0.05, 0.25, 0.6)]
    by_opacity = [covered(image, 0.4, opacity) for opacity in (0.2, 0.6, 1)]
    for pictures in (by_area, by_opacity):
        distances = [
            distance_between(original, Fingerprint.from_image(picture)).distance
            for picture in pictures
        ]
        assert 0 < distances[0] < distances[1] < distances[2] < 1


@pytest.mark.parametrize("seed", range(4))
def test_labels_with_other_text_are_alike_but_no_match(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert 1 < image_distance(label(rng), label(rng)).distance < 1.8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(np.full((213, 320, 3), 255, np.uint8), id="white"),
        pytest.param(gradient((255, 200, 120), (90, 60, 30)), id="gradient"),
        pytest.param(
            np.random.default_rng(1).integers(118, 123, (213, 320, 3)).astype(np.uint8),
            id="faint noise",
        ),
    ],
)
def test_empty_pictures_match_no_photograph(name: str, empty: Bgr) -> None:
    assert image_distance(PHOTOGRAPHS[name], empty).distance > 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(gradient((60, 160, 250), (30, 40, 120)), id="sunset"),
        pytest.param(gradient((255, 200, 120), (90, 60, 30), across=True), id="other direction"),
        pytest.param(gradient((90, 60, 30), (255, 200, 120)), id="upside down"),
    ],
)
def test_skies_match_only_copies(other: Bgr) -> None:
    sky = gradient((255, 200, 120), (90, 60, 30))
    assert image_distance(sky, other).distance > 1
    assert image_distance(sky, jpeg(sky, 40)).distance < 1


def test_strangers_do_not_match() -> None:
    fingerprints = [Fingerprint.from_image(image) for image in PHOTOGRAPHS.values()]
    distances = [distance_between(a, b) for a, b in itertools.combinations(fingerprints, 2)]
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
