import cv2
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.data import astronaut, chelsea, coffee

from ltu_compute.kernels.color_palette import (
    PaletteColor,
    color_bins,
    dominant_colors,
    quantization,
)


def flag(*stripes, height=60):
    """Vertical stripes, each an RGB colour and its width in px."""
    rows = np.concatenate([np.tile(np.uint8(color), (width, 1)) for color, width in stripes])
    return np.tile(rows[None, :, ::-1], (height, 1, 1))


FLAGS = {
    "Italy": flag(((0, 146, 70), 50), ((255, 255, 255), 50), ((206, 43, 55), 50)),
    "Belgium": flag(((0, 0, 0), 40), ((250, 224, 66), 40), ((237, 41, 57), 40)),
    "Portugal": flag(((0, 102, 0), 40), ((255, 0, 0), 60)),
    "grey wedge": flag(*[((level,) * 3, 20) for level in range(0, 256, 36)]),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Italy", [(0, 146, 70, 34), (206, 43, 55, 33), (255, 255, 255, 33)]),
        ("Belgium", [(0, 0, 0, 34), (237, 41, 57, 33), (250, 224, 66, 33)]),
        ("Portugal", [(255, 0, 0, 60), (0, 102, 0, 40)]),
        (
            "grey wedge",
            [(level, level, level, 13 if level < 144 else 12) for level in range(0, 256, 36)],
        ),
    ],
)
def test_flat_colours_come_out_exactly(name, expected):
    assert dominant_colors(FLAGS[name]) == tuple(PaletteColor(*color) for color in expected)


def test_flat_colours_survive_a_reduction_that_blends_them():
    small = cv2.resize(FLAGS["Portugal"], (67, 41), interpolation=cv2.INTER_AREA)
    colors = [(color.red, color.green, color.blue) for color in dominant_colors(small)]
    assert colors[:2] == [(255, 0, 0), (0, 102, 0)]


def test_a_picture_of_one_colour():
    assert dominant_colors(np.full((3, 5, 3), (10, 20, 30), np.uint8)) == (
        PaletteColor(30, 20, 10, 100),
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_count_limits_the_colours(count):
    assert len(dominant_colors(FLAGS["grey wedge"], count=count)) == count


@pytest.mark.parametrize("count", [0, 33])
def test_count_out_of_range(count):
    with pytest.raises(ValueError, match="count must be 1 to 32"):
        dominant_colors(FLAGS["Italy"], count=count)
    with pytest.raises(ValueError, match="count must be 1 to 32"):
        quantization(FLAGS["Italy"], count=count)


def test_near_identical_colours_are_one():
    picture = flag(((120, 60, 200), 60), ((122, 61, 202), 40), ((20, 20, 20), 100))
    assert [color.percent for color in dominant_colors(picture)] == [50, 50]


def test_colours_of_too_small_a_share_are_left_out():
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[0, 0] = (0, 0, 255)  # 0.25 %
    assert dominant_colors(picture) == (PaletteColor(0, 0, 0, 100),)
    picture[0, :3] = (0, 0, 255)  # 0.75 %
    assert dominant_colors(picture) == (PaletteColor(0, 0, 0, 99), PaletteColor(255, 0, 0, 1))


@pytest.mark.parametrize("photograph", [astronaut, chelsea, coffee])
@pytest.mark.parametrize("count", [1, 5, 8, 32])
def test_percentages_of_photographs(photograph, count):
    colors = dominant_colors(reduced(photograph), count=count)
    percents = [color.percent for color in colors]
    assert sum(percents) == 100
    assert percents == sorted(percents, reverse=True)
    assert min(percents) >= 1
    assert len(colors) == len({(c.red, c.green, c.blue) for c in colors}) <= count


@pytest.mark.parametrize("photograph", [astronaut, chelsea, coffee])
def test_as_faithful_as_k_means_of_all_pixels(photograph):
    """Mean CIEDE2000 to the nearest of 8 colours, against 5 runs of k-means++ in CIELAB."""
    image = reduced(photograph)
    lab = rgb2lab(image[..., ::-1]).reshape(-1, 3)
    ours = rgb2lab(quantization(image, count=8).colors[None, :, ::-1])[0]
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 50, 1e-3)
    _, _, theirs = cv2.kmeans(lab.astype(np.float32), 8, None, stop, 5, cv2.KMEANS_PP_CENTERS)
    assert mean_error(lab, ours) <= 1.01 * mean_error(lab, theirs)


def test_every_pixel_is_labelled_with_a_colour_near_it():
    image = reduced(coffee)
    palette = quantization(image, count=8)
    labels = palette.label_of_bin[color_bins(image)]
    shares = np.bincount(labels.ravel(), minlength=len(palette.colors)) / labels.size
    np.testing.assert_allclose(shares, palette.shares)
    assert palette.label_of_bin.max() < len(palette.colors)
    errors = np.linalg.norm(palette.colors[labels].astype(float) - image, axis=2)
    grey = np.linalg.norm(image.mean(axis=(0, 1)) - image, axis=2)
    assert errors.mean() < 0.4 * grey.mean()


def test_bins_hold_the_upper_five_bits():
    image = np.array([[(0, 0, 0), (8, 0, 0), (0, 8, 0), (0, 0, 8), (255, 255, 255)]], np.uint8)
    assert color_bins(image).tolist() == [[0, 1, 32, 1024, 32767]]


def reduced(photograph):
    return cv2.resize(photograph()[..., ::-1], (160, 120), interpolation=cv2.INTER_AREA)


def mean_error(lab, palette):
    return np.mean(np.min([deltaE_ciede2000(lab, color[None]) for color in palette], axis=0))
