from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from ltu_compute.kernels import object_detection as module
from ltu_compute.kernels.object_detection import (
    CLASSES,
    DetectedObject,
    candidates,
    detect_objects,
)
from tests.support.drawn_codes import code_128, colored, ean_13, qr_code, worn
from training.object_detection import logistic_regression, supported_regression


@pytest.fixture(scope="module")
def astronaut():
    return np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])


@pytest.fixture(scope="module")
def lfw():
    return (skimage.data.lfw_subset() * 255).round().astype(np.uint8)


def enlarged(small, scale):
    picture = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return colored(cv2.copyMakeBorder(picture, 60, 60, 60, 60, cv2.BORDER_REPLICATE))


def box(found):
    return (*found.corners.min(axis=0), *found.corners.max(axis=0))


def test_the_classes_are_those_of_open_images():
    assert CLASSES["Person"] == "/m/01g317"
    assert CLASSES["Human face"] == "/m/0dzct"
    unfitted = {"Data Matrix", "Aztec code"}  # they score as QR codes do
    assert set(module._logistic()) == set(CLASSES) - unfitted


def test_a_face_and_its_eyes(astronaut):
    """Eyes at (207, 108) and (246, 108), tip of the nose at (228, 133), read off the picture."""
    found = detect_objects(astronaut, classes=("Human face", "Human eye"))
    face = next(each for each in found if each.name == "Human face")
    assert face.score > 0.9
    left, top, right, bottom = box(face)
    assert left < 207
    assert right > 246
    assert top < 108
    assert bottom > 133
    assert right - left < 140
    assert face.mid == "/m/0dzct"
    eyes = [box(each) for each in found if each.name == "Human eye"]
    assert 1 <= len(eyes) <= 2
    for x0, y0, x1, y1 in eyes:
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        apart = min(np.hypot(*(middle - at)) for at in ((207, 108), (246, 108)))
        assert apart < 15


@pytest.mark.parametrize("longest", [256, 448, 512, 700])
def test_one_face_whatever_the_size(astronaut, longest):
    """The patch on the suit, on which few windows agree, is no face."""
    picture = cv2.resize(astronaut, (longest, longest), interpolation=cv2.INTER_AREA)
    assert len(detect_objects(picture, classes=("Human face",))) == 1


@pytest.mark.parametrize("name", ["Person", "Human face", "Cat"])
def test_agreement_speaks_for_a_find(name):
    """The score of these rests on a margin or on how many windows agree, and on nothing else."""
    _, weights = module._logistic()[name]
    assert (weights >= 0).all()
    assert weights.max() > 0


def test_evidence_that_speaks_against_what_it_supports_is_left_out():
    """The second feature contradicts the first; fitted alone, the first keeps its weight."""
    rng = np.random.default_rng(5)
    right = rng.random(400) < 0.5
    first = right + rng.normal(0, 1, 400)
    features = np.stack([first, rng.normal(0, 1, 400) - right], axis=1)
    assert logistic_regression(features, right)[1][1] < -0.5
    bias, weights = supported_regression(features, right, supporting=(0, 1))
    alone, (weight,) = logistic_regression(features[:, :1], right)
    assert (bias, *weights) == pytest.approx((alone, weight, 0))
    free = supported_regression(features, right, supporting=(0,))
    assert free[1] == pytest.approx(logistic_regression(features, right)[1])


def test_corners_are_clockwise_from_the_top_left(astronaut):
    for found in candidates(astronaut, classes=("Human face", "Text")):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = found.corners.tolist()
        assert x0 == x3 < x1 == x2
        assert y0 == y1 < y2 == y3
        assert found.corners.dtype == np.float64


@pytest.mark.parametrize("scale", [1, 4, 8])
def test_most_faces_are_found(lfw, scale):
    """A tenth of what the benchmark measures; the faces fill their pictures."""
    hits = 0
    for small in lfw[:100:10]:
        faces = detect_objects(enlarged(small, scale), classes=("Human face",))
        hits += any(box(each)[0] < 60 + 12.5 * scale < box(each)[2] for each in faces)
    assert hits >= 9


def test_pictures_without_faces(lfw):
    found = [detect_objects(enlarged(each, 8), classes=("Human face",)) for each in lfw[100::10]]
    assert sum(map(bool, found)) == 0


@pytest.mark.parametrize(
    ("drawn", "name", "text"),
    [
        (qr_code("https://example.org/417"), "QR code", "https://example.org/417"),
        (qr_code("Größe 5 µm"), "QR code", "Größe 5 µm"),
        (ean_13("590123412345"), "Barcode", "5901234123457"),
        (code_128("PART-00417"), "Barcode", "PART-00417"),
    ],
)
@pytest.mark.parametrize("turned", [0, 20, 90, 200])
def test_codes_are_found_and_read(drawn, name, text, turned):
    seen = worn(drawn, turned=turned, noise=5)
    (code,) = detect_objects(colored(seen.picture), classes=("QR code", "Barcode"))
    assert (code.name, code.text, code.mid) == (name, text, "")
    assert code.score > 0.9
    # The same four corners, whichever way up the code is.
    apart = np.hypot(*(code.corners[:, None] - seen.corners).transpose(2, 0, 1))
    assert apart.min(axis=1).max() < 25
    assert code.corners[0].sum() == code.corners.sum(axis=1).min()
    middle = code.corners.mean(axis=0)
    angles = np.arctan2(*(code.corners - middle).T[::-1])
    assert (np.diff(np.unwrap(angles)) > 0).all()


def test_large_pictures_are_reduced_and_corners_are_not():
    """At 3200 px, the code is read at 1600 and lies where it was drawn."""
    drawn = ean_13("590123412345", module_px=6, height=300)
    page = np.full((1200, 3200), 230, np.uint8)
    height, width = drawn.picture.shape
    page[400 : 400 + height, 1000 : 1000 + width] = drawn.picture
    (code,) = detect_objects(colored(page), classes=("Barcode",))
    assert code.text == "5901234123457"
    assert np.abs(code.corners - drawn.corners - (1000, 400)).max() < 30


def test_text_is_found():
    picture = np.full((300, 700, 3), (200, 210, 215), np.uint8)
    cv2.putText(picture, "Packaging", (60, 160), cv2.FONT_HERSHEY_DUPLEX, 1.8, (40, 30, 20), 3)
    (line,) = detect_objects(picture, classes=("Text",))
    left, top, right, bottom = box(line)
    assert 50 < left < 75
    assert 345 < right < 365
    assert 105 < top < 125
    assert 155 < bottom < 180
    assert line.text == ""


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("mark", ["hole", "window", "pad"])
def test_rows_of_one_mark_are_no_text(mark, warped):
    picture = np.full((300, 400, 3), 205, np.uint8)
    for y in range(45, 270, 45):
        for x in range(30, 380, 30):
            if mark == "hole":
                cv2.circle(picture, (x, y), 9, (60, 60, 60), -1, cv2.LINE_AA)
            else:
                width, height = {"window": (12, 26), "pad": (18, 18)}[mark]
                cv2.rectangle(picture, (x, y), (x + width, y + height), (60, 60, 60), -1)
    if warped:
        corners = np.float32([[0, 0], [400, 0], [400, 300], [0, 300]])
        seen = np.float32([[20, 10], [390, 25], [370, 285], [5, 295]])
        matrix = cv2.getPerspectiveTransform(corners, seen)
        picture = cv2.warpPerspective(picture, matrix, (400, 300), borderMode=cv2.BORDER_REPLICATE)
    assert detect_objects(picture, classes=("Text",)) == ()
    cv2.rectangle(picture, (60, 120), (340, 200), (205, 205, 205), -1)
    cv2.putText(picture, "LOT 0042", (70, 175), cv2.FONT_HERSHEY_DUPLEX, 1.6, (60, 60, 60), 3)
    assert detect_objects(picture, classes=("Text",))


def test_best_first_and_no_more_than_wanted(astronaut):
    found = detect_objects(astronaut)
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 <= score <= 1 for score in scores)
    first = detect_objects(astronaut, max_results=1)
    assert [(each.name, each.score) for each in first] == [(found[0].name, found[0].score)]
    least = scores[0]
    assert all(each.score >= least for each in detect_objects(astronaut, min_score=least))


def test_misuse():
    picture = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="unknown class: Unicorn; known are Person"):
        detect_objects(picture, classes=["Unicorn"])
    with pytest.raises(ValueError, match="min_score"):
        detect_objects(picture, min_score=1.5)
    with pytest.raises(ValueError, match="max_results"):
        detect_objects(picture, max_results=0)
    assert detect_objects(picture, classes=()) == ()


def test_bars_are_no_text():
    """Text within a code is not returned as text; text beside it is."""
    code = found("Barcode", 0, 0, 100, 0.9)
    bars, digits = found("Text", 10, 10, 70, 0.99), found("Text", 60, 60, 100, 0.8)
    assert module._without_print_of_codes([bars, code, digits]) == [code, digits]
    drawn = ean_13("590123412345", module_px=4)
    (only,) = detect_objects(colored(drawn.picture))
    assert only.name == "Barcode"
    # A code that scores less than is wanted is a code all the same.
    assert detect_objects(colored(drawn.picture), min_score=(1 + only.score) / 2) == ()


def test_stripes_are_no_code():
    """A brick wall, whose joints stand side by side like bars."""
    brick = colored(skimage.data.brick())
    assert detect_objects(brick, classes=("Barcode",)) == ()


def test_a_cat_is_seen_twice():
    """Chelsea is a cat; the spoon beside the cup was one, until looked at a second time."""
    fixtures = Path(__file__).parents[2] / "fixtures" / "images"
    cat, shot = (cv2.imread(str(fixtures / name)) for name in ("chelsea.jpg", "coffee-shot.jpg"))
    (seen,) = detect_objects(cat, classes=("Cat",))
    assert seen.score <= 0.75
    assert detect_objects(shot, classes=("Cat",)) == ()


@pytest.mark.parametrize(("agreeing", "most"), [(0.0, 0.75), (1.1, 1.0)])
def test_a_plate_that_one_cascade_sees_is_no_more_than_likely(agreeing, most):
    corners = np.zeros((4, 2))
    plate = module.Candidate("Vehicle registration plate", (4.0, agreeing, 0.0), corners)
    assert 0.5 < module._score(plate) <= most
    assert (module._score(plate) > 0.75) == (agreeing > 0)


@pytest.mark.parametrize("name", ["part-good.jpg", "part-shot.jpg"])
def test_parts_have_text(name):
    """Their marks lie within each other, too: all at the same x."""
    fixtures = Path(__file__).parents[2] / "fixtures" / "images"
    assert detect_objects(cv2.imread(str(fixtures / name)), classes=("Text",))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 9), (30, 30), (128, 64)])
@pytest.mark.parametrize("level", [0, 255])
def test_nothing_is_found_in_a_blank_picture(shape, level):
    assert detect_objects(np.full((*shape, 3), level, np.uint8)) == ()


def found(name, x, y, size, score):
    corners = np.array([[x, y], [x + size, y], [x + size, y + size], [x, y + size]], np.float64)
    return DetectedObject(name, CLASSES[name], score, corners)


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        (found("Person", 300, 0, 100, 0.8), True),  # elsewhere
        (found("Person", 30, 0, 100, 0.8), False),  # 70 of 130: more than 0.3
        (found("Person", 55, 0, 100, 0.8), True),  # 45 of 155: less than 0.3
        (found("Person", 10, 10, 40, 0.8), False),  # within
        (found("Human face", 10, 10, 40, 0.8), True),  # within, but of another class
    ],
)
def test_duplicates_are_dropped(second, kept):
    first = found("Person", 0, 0, 100, 0.9)
    assert module._without_duplicates([first, second]) == ([first, second] if kept else [first])
