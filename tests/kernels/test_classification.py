import cv2
import numpy as np
import pytest
import skimage.data

from ltu_compute.kernels.classification import (
    COLORS,
    FEATURES,
    KINDS,
    QUALITIES,
    classify,
    color_shares,
    kind_and_qualities,
    kind_chances,
    picture_features,
    quality_chances,
)
from tests.support.drawn_codes import code_128, colored
from tests.support.drawn_pictures import draw, pattern
from training.classification import multinomial_regression


def bgr(picture):
    return np.ascontiguousarray(picture[..., ::-1])


@pytest.fixture(scope="module")
def coffee():
    return bgr(skimage.data.coffee())


def qualities(picture):
    return quality_chances(picture_features(picture))


def test_a_photograph(coffee):
    """A cup of coffee on a wooden table."""
    labels = {label.description: label for label in classify(coffee)}
    assert labels["Photograph"].mid == "/m/068jd"
    assert labels["Photograph"].score > 0.8
    assert {"Brown", "Red", "Orange"} & set(labels)
    assert not {"Document", "Blank", "Black-and-white"} & set(labels)


@pytest.mark.parametrize("kind", ["Document", "Diagram", "Screenshot", "Illustration"])
def test_drawn_kinds(kind):
    """Drawn in the hand that the parameters were fitted on, but not the same pictures."""
    rng = np.random.default_rng(99)
    chances = [kind_chances(picture_features(draw(kind, rng, "tuning"))) for _ in range(8)]
    assert sum(max(each, key=each.get) == kind for each in chances) >= 6


def test_kinds_exclude_each_other(coffee):
    chances = kind_chances(picture_features(coffee))
    assert list(chances) == list(KINDS)
    assert sum(chances.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("quality", "spoil"),
    [
        (
            "Black-and-white",
            lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
        ),
        ("Blurred", lambda image: cv2.GaussianBlur(image, (0, 0), 8)),
        ("Darkness", lambda image: (image * 0.12).astype(np.uint8)),
        ("Overexposed", lambda image: cv2.convertScaleAbs(image, alpha=3.5, beta=60)),
    ],
)
def test_a_spoilt_photograph_has_the_quality_of_its_fault(coffee, quality, spoil):
    assert qualities(coffee)[quality] < 0.5
    assert qualities(spoil(coffee))[quality] > 0.5


@pytest.mark.parametrize("sigma", [5, 12, 20])
@pytest.mark.parametrize("blur", [0, 4, 8])
def test_noise_does_not_make_a_picture_sharp(coffee, blur, sigma):
    """A blurred picture is called so under noise, and a sharp one is not."""
    rng = np.random.default_rng(sigma)
    shown = cv2.GaussianBlur(coffee, (0, 0), blur) if blur else coffee
    noisy = np.clip(shown + rng.normal(0, sigma, shown.shape), 0, 255).astype(np.uint8)
    labels = {label.description for label in kind_and_qualities(noisy)}
    assert ("Blurred" in labels) == (blur > 0)


def test_patterns_and_blank_pictures(coffee):
    assert qualities(pattern(np.random.default_rng(7), "tuning"))["Pattern"] > 0.5
    assert qualities(coffee)["Pattern"] < 0.5
    blank = np.full((300, 400, 3), (180, 200, 210), np.uint8)
    assert qualities(blank)["Blank"] > 0.5
    assert qualities(coffee)["Blank"] < 0.5


@pytest.mark.parametrize(
    ("color", "rgb"),
    [
        ("Black", (10, 10, 12)),
        ("Grey", (128, 128, 128)),
        ("White", (250, 250, 250)),
        ("Red", (255, 0, 0)),
        ("Orange", (255, 140, 0)),  # CSS darkorange
        ("Brown", (139, 69, 19)),  # CSS saddlebrown
        ("Yellow", (255, 230, 0)),
        ("Green", (0, 160, 40)),
        ("Turquoise", (64, 224, 208)),  # CSS turquoise
        ("Blue", (0, 0, 255)),
        ("Purple", (128, 0, 128)),  # CSS purple
        ("Pink", (255, 105, 180)),  # CSS hotpink
    ],
)
def test_colors(color, rgb):
    shares = color_shares(bgr(np.full((20, 30, 3), rgb, np.uint8)))
    assert shares[color] == 1
    assert list(shares) == list(COLORS)


def test_shares_of_a_flag():
    flag = np.zeros((60, 90, 3), np.uint8)
    flag[:, :30], flag[:, 30:60], flag[:, 60:] = (164, 85, 0), (255, 255, 255), (53, 65, 239)
    shares = color_shares(flag)
    assert [shares[name] for name in ("Blue", "White", "Red")] == pytest.approx([1 / 3] * 3)


def test_what_the_detectors_find_is_a_label():
    page = np.full((400, 700), 240, np.uint8)
    drawn = code_128("PART-00417").picture
    page[100 : 100 + drawn.shape[0], 80 : 80 + drawn.shape[1]] = drawn
    labels = {label.description: label for label in classify(colored(page))}
    assert labels["Barcode"].score > 0.9
    assert labels["Barcode"].mid == ""


def test_best_first_and_no_more_than_wanted(coffee):
    labels = classify(coffee)
    scores = [label.score for label in labels]
    assert scores == sorted(scores, reverse=True)
    assert len({label.description for label in labels}) == len(labels)
    assert classify(coffee, max_results=2) == labels[:2]
    assert classify(coffee, min_score=scores[0]) == labels[:1]


def test_misuse(coffee):
    with pytest.raises(ValueError, match="max_results"):
        classify(coffee, max_results=0)
    with pytest.raises(ValueError, match="min_score"):
        classify(coffee, min_score=-0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 9), (40, 40)])
def test_features_of_the_smallest_pictures_are_numbers(shape):
    rng = np.random.default_rng(1)
    for picture in (np.zeros((*shape, 3), np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)):
        features = picture_features(picture)
        assert features.shape == (len(FEATURES),)
        assert np.isfinite(features).all()
        assert set(qualities(picture)) == set(QUALITIES)


def test_the_fit_is_the_likeliest_model():
    """At the maximum, chances add up to what there is of each class, and so do their features,
    but for the prior's pull: the score equations of the multinomial logistic model."""
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, 300)
    features = rng.normal(0, 1, (300, 4)) + np.eye(3, 4)[classes]
    weights = rng.uniform(0.5, 2, 300)
    slopes, biases = multinomial_regression(features, classes, weights, 0.01)
    chances = np.exp(features @ slopes.T + biases)
    chances /= chances.sum(axis=1, keepdims=True)
    gap = (chances - np.eye(3)[classes]) * (weights / weights.sum())[:, None]
    assert gap.sum(axis=0) == pytest.approx(0, abs=1e-8)
    assert gap.T @ features == pytest.approx(-0.01 * slopes, abs=1e-8)
    assert biases.sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "shape", [(1, 3000), (3000, 1), (2, 3000), (3000, 3), (1700, 1), (2000, 1), (5, 20000)]
)
def test_narrow_pictures_have_labels(shape):
    """None of their sides is rounded away when they are reduced."""
    (label,) = classify(np.full((*shape, 3), (0, 0, 255), np.uint8), max_results=1)
    assert label.score > 0.5


def test_each_picture_is_of_one_kind(coffee):
    for picture in (coffee, draw("Diagram", np.random.default_rng(4), "tuning")):
        given = [label for label in classify(picture, max_results=20) if label.description in KINDS]
        assert len(given) <= 1
        assert all(label.score >= 0.5 for label in given)


@pytest.mark.parametrize(
    ("rgb", "color"), [((255, 255, 255), "White"), ((0, 0, 0), "Black"), ((0, 90, 200), "Blue")]
)
@pytest.mark.parametrize("noise", [0, 3])
def test_a_blank_picture_is_blank_and_of_its_color(rgb, color, noise):
    rng = np.random.default_rng(6)
    picture = np.full((240, 320, 3), rgb[::-1]) + rng.normal(0, noise, (240, 320, 3))
    labels = classify(picture.round().clip(0, 255).astype(np.uint8), max_results=20)
    assert {label.description for label in labels} == {"Blank", color}


def test_the_darkest_photographs_are_not_blank(coffee):
    dark = (coffee * 0.12).astype(np.uint8)
    labels = {label.description for label in classify(dark, max_results=20)}
    assert "Darkness" in labels
    assert "Blank" not in labels


def test_only_what_has_shades_is_overexposed(coffee):
    """White paper is no highlight that the sensor could not hold."""
    page = np.full((400, 600, 3), 255, np.uint8)
    cv2.putText(page, "Plain text", (50, 200), cv2.FONT_HERSHEY_DUPLEX, 2, 0, 3, cv2.LINE_AA)
    assert qualities(page)["Overexposed"] > 0.5
    assert "Overexposed" not in {label.description for label in classify(page, max_results=20)}
    bright = cv2.convertScaleAbs(coffee, alpha=3.5, beta=60)
    assert "Overexposed" in {label.description for label in classify(bright, max_results=20)}
