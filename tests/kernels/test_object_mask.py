import cv2
import numpy as np
import pytest
from skimage.data import coffee, coins

from ltu_compute.kernels import contours, object_mask
from ltu_compute.kernels.contours import outer_outlines, regions
from ltu_compute.kernels.object_mask import (
    COLOR_CHANNELS,
    color_channel,
    otsu_object_mask,
    otsu_object_outlines,
    quantized_object_mask,
    sobel_object_mask,
)
from tests.support import adversarial

RED, DARK, LIGHT, BEIGE, GREEN = (
    (40, 60, 200),
    (60, 40, 50),
    (230, 220, 220),
    (200, 220, 210),
    (60, 90, 60),
)

KERNELS = {
    "otsu": lambda image, **options: otsu_object_mask(gray_of(image), **options),
    "sobel": lambda image, **options: sobel_object_mask(gray_of(image), **options),
    "quantized": quantized_object_mask,
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def gray_of(image):
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def drawn(shape, foreground, background, *, noise=0.0):
    """Paint the area where `shape` is 255."""
    picture = np.where(shape[..., None] > 0, foreground, background).astype(np.float64)
    picture += np.random.default_rng(1).normal(0, noise, picture.shape)
    return picture.round().clip(0, 255).astype(np.uint8)


def iou(mask, truth):
    """Intersection over union."""
    assert mask is not None, "nothing was found"
    assert set(np.unique(mask)) == {0, 255}
    return np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)


def disc(height=240, width=320, *, center=None, radius=None):
    mask = np.zeros((height, width), np.uint8)
    center = center or (width // 2, height // 2)
    return cv2.circle(mask, center, radius or height // 4, 255, cv2.FILLED)


def rectangle(x, y, width, height, *, shape=(240, 320)):
    mask = np.zeros(shape, np.uint8)
    mask[y : y + height, x : x + width] = 255
    return mask


def triangle():
    corners = np.array([[150, 40], [60, 200], [260, 180]], np.int32)
    return cv2.fillPoly(np.zeros((240, 320), np.uint8), [corners], 255)


SHAPES = {
    "disc": disc(),
    "large disc": disc(600, 800),
    "rectangle": rectangle(100, 60, 120, 90),
    "triangle": triangle(),
    "half disc at the left border": disc(center=(0, 120)),
    "corner": rectangle(0, 0, 100, 80),
    "standing on the lower border": rectangle(110, 80, 90, 160),
}
PAINTS = {
    "red on beige": (RED, BEIGE),
    "light on dark": (LIGHT, DARK),
    "dark on light": (DARK, LIGHT),
    "green on beige": (GREEN, BEIGE),
}


@every_kernel
@pytest.mark.parametrize("noise", [0, 5, 12])
@pytest.mark.parametrize("paint", PAINTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_drawn_objects(kernel, shape, paint, noise):
    least = 0.95 if kernel is KERNELS["sobel"] else 0.98
    truth = SHAPES[shape]
    picture = drawn(truth, *PAINTS[paint], noise=noise)
    assert iou(kernel(picture), truth) >= least
    assert iou(kernel(picture, only_biggest=False), truth) >= least, "specks"


@every_kernel
def test_without_noise_outlines_are_within_a_pixel(kernel):
    for truth in SHAPES.values():
        mask = kernel(drawn(truth, RED, BEIGE))
        square = np.ones((3, 3), np.uint8)
        assert not (cv2.erode(truth, square) & ~mask).any()
        assert not (mask & ~cv2.dilate(truth, square)).any()


@every_kernel
def test_rings_are_filled(kernel):
    truth = disc(radius=80)
    ring = truth & ~disc(radius=50)
    assert iou(kernel(drawn(ring, DARK, LIGHT)), truth) > 0.97


@every_kernel
def test_only_the_biggest_or_all(kernel):
    large, small = disc(center=(100, 120), radius=60), disc(center=(250, 120), radius=30)
    picture = drawn(large | small, RED, BEIGE)
    assert iou(kernel(picture), large) > 0.96
    assert iou(kernel(picture, only_biggest=False), large | small) > 0.96


@every_kernel
def test_specks_are_no_objects(kernel):
    """A single pixel of 320 x 240 is less than a ten-thousandth."""
    speck = np.zeros((240, 320), np.uint8)
    speck[50, 60] = 255
    assert kernel(drawn(speck, RED, BEIGE)) is None
    assert iou(kernel(drawn(speck | disc(), RED, BEIGE), only_biggest=False), disc()) > 0.96


@every_kernel
@pytest.mark.parametrize("noise", [0, 1, 5, 15])
@pytest.mark.parametrize("level", [0, 120, 255])
def test_nothing_stands_out_of_a_flat_picture(kernel, level, noise):
    flat = drawn(np.zeros((240, 320), np.uint8), RED, (level,) * 3, noise=noise)
    assert kernel(flat) is None
    assert kernel(flat, only_biggest=False) is None


@every_kernel
def test_a_textured_background_is_no_object(kernel):
    truth = disc()
    picture = drawn(truth, (20, 20, 30), (180, 190, 200))
    waves = 12 * np.sin(np.arange(320) / 3)[None, :, None]
    picture = (picture + waves).round().clip(0, 255).astype(np.uint8)
    assert iou(kernel(picture), truth) > 0.95


def test_a_background_of_shades_is_one_background():
    truth = disc(radius=70)
    shades = np.linspace(120, 250, 320)[None, :, None] * np.array([0.7, 0.85, 1.0])
    picture = np.where(truth[..., None] > 0, (130, 30, 30), shades).round().astype(np.uint8)
    picture = np.broadcast_to(picture, (240, 320, 3))
    assert iou(quantized_object_mask(picture), truth) > 0.98


def test_edges_may_have_small_gaps():
    outline = cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), 70, 255, 3)
    outline[119:121] = 0
    assert iou(sobel_object_mask(255 - outline), disc(radius=71)) > 0.93


def test_lines_enclose_nothing():
    line = cv2.line(np.full((240, 320), 255, np.uint8), (50, 60), (250, 170), 0, 1)
    assert sobel_object_mask(line) is None


@pytest.mark.parametrize(
    ("dark_columns", "expected"),
    [(40, slice(0, 40)), (60, slice(60, 100)), (50, slice(0, 50))],
)
def test_otsu_breaks_ties(dark_columns, expected):
    """The smaller side is the object; of two equal ones, the darker."""
    gray = np.full((100, 100), 200, np.uint8)
    gray[:, :dark_columns] = 50
    mask = otsu_object_mask(gray)
    truth = np.zeros_like(gray)
    truth[:, expected] = 255
    np.testing.assert_array_equal(mask, truth)


def test_otsu_prefers_the_border_to_the_area():
    truth = rectangle(5, 5, 310, 230)
    assert iou(otsu_object_mask(gray_of(drawn(truth, DARK, LIGHT))), truth) > 0.99
    assert iou(otsu_object_mask(gray_of(drawn(truth, LIGHT, DARK))), truth) > 0.99


@pytest.mark.parametrize(
    ("background", "foreground"), [(0, 60), (175, 60), (60, 178), (120, 3), (3, 170)]
)
def test_hue_lies_on_a_circle(background, foreground):
    """Red noise around 0 and 179 is one colour."""
    truth = disc()
    hue = np.where(truth > 0, foreground, background)
    hue = (hue + np.random.default_rng(2).integers(-3, 4, hue.shape)) % 180
    hue = hue.astype(np.uint8)
    assert iou(otsu_object_mask(hue, only_biggest=False, period=180), truth) > 0.98


def test_a_large_picture_step_by_step():
    """Fewer passes give the result of OpenCV's separate steps."""
    gray = np.asarray(cv2.resize(coffee(), (1500, 1000), interpolation=cv2.INTER_CUBIC))[..., 1]
    smooth = cv2.medianBlur(np.ascontiguousarray(gray), 5)
    _, dark = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    truth = cv2.drawContours(np.zeros_like(smooth), [largest], -1, 255, cv2.FILLED)
    np.testing.assert_array_equal(otsu_object_mask(gray), truth)


def clouds(seed, sigma_px):
    """Areas of all shapes, with holes, areas in holes, specks, and areas that touch corners."""
    noise = np.random.default_rng(seed).normal(size=(150, 200)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma_px)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("only_biggest", [True, False])
@pytest.mark.parametrize("sigma_px", [1.5, 3, 8, 25])
def test_outlines_are_those_of_the_mask(sigma_px, only_biggest):
    """Traced without drawing the mask, to the same vertices."""
    gray = clouds(5, sigma_px)
    mask = otsu_object_mask(gray, only_biggest=only_biggest)
    outlines, tolerance_px = otsu_object_outlines(gray, only_biggest=only_biggest)
    assert tolerance_px == 0
    traced = regions(outlines)
    drawn_first = regions(outer_outlines(mask))
    assert [region.box for region in traced] == [region.box for region in drawn_first]
    for region, other in zip(traced, drawn_first, strict=True):
        np.testing.assert_array_equal(region.vertices, other.vertices)


def test_a_fine_texture_is_traced_at_a_smaller_size(monkeypatch):
    """Mask and outlines stay within the tolerance of those that are traced at full size."""
    gray = np.where(disc(300, 400, center=(200, 120), radius=90) > 0, 220, 30).astype(np.uint8)
    gray[240:290, 20:380][:, np.arange(360) % 12 < 6] = 220
    exact = otsu_object_mask(gray, only_biggest=False)
    monkeypatch.setattr(contours, "_MAX_CROSSINGS", 2000)
    coarse = otsu_object_mask(gray, only_biggest=False)
    outlines, tolerance_px = otsu_object_outlines(gray)
    assert tolerance_px == 2
    assert coarse.shape == exact.shape
    assert 0 < np.mean(coarse != exact) < 0.01
    assert iou(coarse, exact) > 0.95
    redrawn = cv2.fillPoly(np.zeros_like(exact), outlines, 255)
    assert iou(redrawn, coarse) > 0.9


@pytest.mark.parametrize("picture", ["diagonal stripes", "checkers", "blobs"])
def test_otsu_is_that_of_opencv(picture):
    gray = adversarial.PICTURES[picture](230, 170)
    histogram = np.bincount(gray.ravel(), minlength=256).astype(float)
    expected, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_OTSU)
    assert object_mask._otsu_threshold(histogram) == expected


def test_a_flat_picture_has_no_outlines():
    assert otsu_object_outlines(np.full((40, 60), 90, np.uint8)) == ([], 0)


@pytest.mark.parametrize(
    ("mask_of", "share"),
    [(otsu_object_mask, 0.02), (sobel_object_mask, 0.02)],
)
def test_coins(mask_of, share):
    """The picture shows 24 coins; the largest takes a fiftieth or so of it."""
    mask = mask_of(coins()[60:], only_biggest=False)  # above, the light is too uneven for Otsu
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    assert 18 <= (sizes > 300).sum() <= 24
    assert share / 2 < sizes.max() / mask.size < 2 * share
    assert count < 60


def test_the_cup_on_its_saucer():
    """The edges enclose the white cup: its inside belongs to it, the table does not."""
    image = np.ascontiguousarray(coffee()[..., ::-1])
    mask = sobel_object_mask(gray_of(image))
    assert mask[80:180, 210:340].mean() > 250
    assert mask[:, :60].max() == 0
    assert mask[:20, 450:].max() == 0


# ------------------------------------------------------------------------------ colour channels


CONVERSIONS = {
    "HSV": cv2.COLOR_BGR2HSV,
    "XYZ": cv2.COLOR_BGR2XYZ,
    "YCrCb": cv2.COLOR_BGR2YCrCb,
    "LAB": cv2.COLOR_BGR2LAB,
    "LUV": cv2.COLOR_BGR2LUV,
    "YUV": cv2.COLOR_BGR2YUV,
    "HLS": cv2.COLOR_BGR2HLS,
    "RGB": cv2.COLOR_BGR2RGB,
}


@pytest.mark.parametrize("color_space", CONVERSIONS)
def test_channels_are_bit_identical_with_a_full_conversion(color_space):
    image = np.random.default_rng(4).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    converted = cv2.cvtColor(image, CONVERSIONS[color_space])
    for index, channel in enumerate(COLOR_CHANNELS[color_space]):
        found = color_channel(image, color_space, channel)
        np.testing.assert_array_equal(found, converted[..., index])
        assert found.flags.c_contiguous


def test_the_grey_channel_is_the_luma():
    image = np.random.default_rng(4).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(color_channel(image, "GRAY", "GRAY"), gray_of(image))


def test_every_colour_space_is_tested():
    assert set(COLOR_CHANNELS) == {*CONVERSIONS, "GRAY"}


def test_known_colours():
    """Pure red: hue 0, full saturation and value; CIELAB 53, 80, 67 on OpenCV's 8-bit scales."""
    red = np.array([[(0, 0, 255)]], np.uint8)
    assert [color_channel(red, "HSV", channel)[0, 0] for channel in "HSV"] == [0, 255, 255]
    assert [color_channel(red, "LAB", channel)[0, 0] for channel in "LAB"] == [136, 208, 195]


@pytest.mark.parametrize(
    ("color_space", "channel", "message"),
    [
        ("HSV", "L", "HSV has the channels H, S, V, not 'L'"),
        ("RGB", "r", "RGB has the channels R, G, B, not 'r'"),
        ("CMYK", "C", "colour space must be one of RGB, GRAY, HSV, .*"),
    ],
)
def test_channels_that_a_space_lacks(color_space, channel, message):
    with pytest.raises(ValueError, match=message):
        color_channel(np.zeros((2, 2, 3), np.uint8), color_space, channel)
