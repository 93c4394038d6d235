import cv2
import numpy as np
import pytest
from skimage.data import astronaut, chelsea, coffee

from ltu_compute.kernels import image_quality as module
from ltu_compute.kernels.image_quality import histogram_picture, image_quality


@pytest.fixture(scope="module", params=[astronaut, chelsea, coffee])
def photograph(request):
    return cv2.cvtColor(request.param(), cv2.COLOR_RGB2GRAY)


@pytest.fixture
def noise():
    return np.random.default_rng(5).integers(0, 256, (75, 131), dtype=np.uint8)


def test_measures_by_hand():
    """Mirrored without repetition: the row 10 20 40 has 20 and 20 beyond its ends."""
    quality = image_quality(np.array([[10, 20, 40]], np.uint8))
    differences = [2 * 10 - 20 - 20, 2 * 20 - 10 - 40, 2 * 40 - 20 - 20]
    assert differences == [-20, -10, 40]
    assert quality.modified_laplacian == 70 / 3
    assert quality.laplacian_variance == pytest.approx(np.var([20, 10, 40]), rel=1e-15)
    assert quality.luminance_mean == 70 / 3
    assert quality.luminance_std == pytest.approx(np.std([10, 20, 40]), rel=1e-15)
    assert quality.noise_sigma == 0


def test_a_single_bright_pixel():
    gray = np.zeros((9, 9), np.uint8)
    gray[4, 4] = 100
    quality = image_quality(gray)
    assert quality.modified_laplacian == (4 * 100 + 2 * 200) / 81
    laplacian = np.zeros(81)
    laplacian[:5] = 400, 100, 100, 100, 100
    assert quality.laplacian_variance == pytest.approx(laplacian.var(), rel=1e-15)
    # Immerkaer's mask sums up to 4 + 4 * 2 + 4 * 1 in absolute values; 49 pixels are inner ones.
    assert quality.noise_sigma == pytest.approx(np.sqrt(np.pi / 2) * 16 * 100 / (6 * 49))


@pytest.mark.parametrize("stripe_pixels", [1, 131, 500, 1 << 18])
def test_exactly_the_definitions_however_the_picture_is_cut(noise, stripe_pixels, monkeypatch):
    monkeypatch.setattr(module, "_STRIPE_PIXELS", stripe_pixels)
    quality = image_quality(noise)
    padded = np.pad(noise.astype(np.int64), 1, mode="reflect")
    middle = padded[1:-1, 1:-1]
    horizontal = 2 * middle - padded[1:-1, :-2] - padded[1:-1, 2:]
    vertical = 2 * middle - padded[:-2, 1:-1] - padded[2:, 1:-1]
    laplacian = np.abs(horizontal + vertical)
    assert quality.laplacian_variance == pytest.approx(laplacian.var(), rel=1e-14)
    total = np.abs(horizontal).sum() + np.abs(vertical).sum()
    assert quality.modified_laplacian == total / noise.size
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    windows = np.lib.stride_tricks.sliding_window_view(noise.astype(np.int64), (3, 3))
    absolute_sum = np.abs((windows * mask).sum(axis=(2, 3))).sum()
    expected = np.sqrt(np.pi / 2) * absolute_sum / (6 * 73 * 129)
    assert quality.noise_sigma == pytest.approx(expected, rel=1e-14)
    assert quality.luminance_mean == noise.mean()
    assert quality.luminance_std == pytest.approx(noise.std(), rel=1e-14)


def test_sums_of_extreme_pictures_are_exact():
    checkerboard = (np.indices((700, 900)).sum(axis=0) % 2 * 255).astype(np.uint8)
    quality = image_quality(checkerboard)
    assert quality.laplacian_variance == 0  # 1020 everywhere
    assert quality.modified_laplacian == 1020


@pytest.mark.parametrize("sigma", [10, 20])
def test_noise_is_estimated(photograph, sigma):
    rng = np.random.default_rng(11)
    noisy = photograph * 0.5 + 64 + rng.normal(0, sigma, photograph.shape)
    estimate = image_quality(noisy.round().clip(0, 255).astype(np.uint8)).noise_sigma
    assert estimate == pytest.approx(sigma, rel=0.15)


def test_more_blur_is_less_sharp(photograph):
    blurred = [cv2.GaussianBlur(photograph, (0, 0), sigma) for sigma in (0.7, 1.5, 3, 6)]
    qualities = [image_quality(gray) for gray in (photograph, *blurred)]
    for measure in ("laplacian_variance", "modified_laplacian"):
        values = [getattr(quality, measure) for quality in qualities]
        assert values == sorted(values, reverse=True)
        assert values[0] > 3 * values[-1] > 0


@pytest.mark.parametrize(
    ("tolerance", "under", "over"),
    [(0.1, 26, 26), (0.01, 3, 3), (0.2, 51, 51), (0.8, 204, 204), (0, 0, 0), (1, 255, 255)],
)
def test_exposure_of_a_ramp(tolerance, under, over):
    """Of the 256 levels, those less than tolerance * 255 from either end."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    quality = image_quality(ramp, tolerance=tolerance)
    assert quality.under_percent == 100 * under / 256
    assert quality.over_percent == 100 * over / 256
    np.testing.assert_array_equal(quality.under_mask, np.where(ramp < under, 255, 0))
    np.testing.assert_array_equal(quality.over_mask, np.where(ramp > 255 - over, 255, 0))


def test_a_negative_swaps_under_and_over_exposure(photograph):
    quality, negative = image_quality(photograph), image_quality(255 - photograph)
    assert quality.under_percent == negative.over_percent > 0
    np.testing.assert_array_equal(quality.over_mask, negative.under_mask)
    assert quality.laplacian_variance == negative.laplacian_variance


def test_histogram_is_scaled_to_its_maximum():
    gray = np.repeat(np.uint8([0, 100, 200]), [10, 40, 20]).reshape(7, 10)
    histogram = image_quality(gray, bins=256).histogram
    assert histogram.dtype == np.uint8
    assert {level: histogram[level] for level in np.flatnonzero(histogram)} == {
        0: 64,
        100: 255,
        200: 128,
    }


@pytest.mark.parametrize("bins", [2, 16, 100, 255, 256])
def test_histogram_has_the_bins_of_numpy(photograph, bins):
    histogram = image_quality(photograph, bins=bins).histogram
    expected, _ = np.histogram(photograph, bins=bins, range=(0, 256))
    np.testing.assert_array_equal(histogram, (expected * (255 / expected.max())).round())


def test_counts_beyond_what_float32_holds(monkeypatch):
    """More pixels of one level than the 2 ** 24 up to which OpenCV's histogram is exact."""
    gray = np.broadcast_to(np.uint8(3), (4097, 4097))
    assert module._level_counts(gray)[3] == 4097**2


@pytest.mark.parametrize("pixels", [1, 2, 3, 74, 75])
@pytest.mark.parametrize("pairs_at_once", [1, 7, 1 << 24])
def test_levels_are_counted_alike_in_pairs(noise, pixels, pairs_at_once, monkeypatch):
    monkeypatch.setattr(module, "_PAIRED_PIXELS", 2)
    monkeypatch.setattr(module, "_COUNTED", pairs_at_once)
    gray = noise[:1, :pixels]
    np.testing.assert_array_equal(
        module._level_counts(gray), np.bincount(gray.ravel(), minlength=256)
    )


@pytest.mark.parametrize("settings", [{"bins": 1}, {"bins": 257}, {"tolerance": -0.1}])
def test_settings_out_of_range(noise, settings):
    with pytest.raises(ValueError, match="must be"):
        image_quality(noise, **settings)


@pytest.mark.parametrize("bins", [2, 3, 16, 255, 256])
def test_the_histogram_picture_shows_every_bar(bins):
    histogram = np.linspace(0, 255, bins).round().astype(np.uint8)
    picture = histogram_picture(histogram)
    assert picture.shape == (256, 512, 3)
    assert picture.dtype == np.uint8
    dark = (picture < 128).all(axis=2)
    assert not dark[:7].any(), "the margin is white"
    heights = dark[8:248, 8:504].sum(axis=0)
    expected = histogram[np.arange(496) * bins // 496] * (240 / 255)
    np.testing.assert_allclose(heights, expected, atol=0.5)
    assert dark[248, 8:504].all(), "the axis"
    assert dark[8:249, 7].all(), "the axis"


def test_the_histogram_picture_has_the_size_asked_for():
    assert histogram_picture(np.full(16, 255, np.uint8), width=99, height=50).shape == (50, 99, 3)


@pytest.mark.parametrize(
    ("histogram", "size"),
    [
        (np.zeros(1, np.uint8), {}),
        (np.zeros(257, np.uint8), {}),
        (np.zeros((2, 2), np.uint8), {}),
        (np.zeros(9, np.uint8), {"width": 31}),
        (np.zeros(9, np.uint8), {"height": 31}),
    ],
)
def test_a_malformed_histogram_is_not_drawn(histogram, size):
    with pytest.raises(ValueError, match=r"bins|at least 32"):
        histogram_picture(histogram, **size)
