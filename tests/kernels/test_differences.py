"""Differences: what was drawn is found where it was drawn, and nothing else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from ltu_compute.kernels.differences import (
    PRESETS,
    Comparison,
    ComparisonSettings,
    Spot,
    compare,
    outline_picture,
    region_mask,
)
from ltu_compute.kernels.differences.sharpness import blur_to_match
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Bgr, Box, Mask, Matrix, Size, Vertices

SIZE = Size(1000, 750)
DEFAULTS = PRESETS[1]


def photograph(name: str) -> Bgr:
    image = getattr(data, name)()
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.resize(image[..., ::-1], SIZE, interpolation=cv2.INTER_CUBIC)


COFFEE = photograph("coffee")


def turn(angle_deg: float, scale: float = 1.0) -> Matrix:
    affine = cv2.getRotationMatrix2D((SIZE.width / 2, SIZE.height / 2), angle_deg, scale)
    return np.vstack([affine, [0, 0, 1]])


def shot(image: Bgr, matrix: Matrix, seed: int = 0) -> Bgr:
    """Photograph a picture again: another place, 10 % darker, a lamp to the left, noise."""
    height, width = image.shape[:2]
    seen = cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    lamp = np.linspace(0.96, 0.84, width)[None, :, None]
    noise = np.random.default_rng(seed).normal(0, 2, seen.shape)
    return np.clip(seen * lamp + noise, 0, 255).astype(np.uint8)


def with_dot(image: Bgr, x: int, y: int, radius: int, color: tuple[int, int, int]) -> Bgr:
    dotted = image.copy()
    cv2.circle(dotted, (x, y), radius, color, -1, cv2.LINE_AA)
    return dotted


def compared(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings = DEFAULTS,
    roi1: Mask | None = None,
) -> Comparison:
    def reduced(image: Bgr) -> Bgr:
        scale = max(512, 2 * settings.resolution) / max(image.shape[:2])
        if scale >= 1:
            return image
        return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    found = compare(
        reduced(image1),
        reduced(image2),
        settings,
        size1=Size(image1.shape[1], image1.shape[0]),
        size2=Size(image2.shape[1], image2.shape[0]),
        roi1=roi1,
    )
    assert found is not None
    return found


def centre(box: Box) -> tuple[float, float]:
    return box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2


@pytest.mark.parametrize("angle_deg", [0.0, 5.0])
@pytest.mark.parametrize(
    ("name", "x", "y", "color"),
    [
        ("coffee", 200, 500, (30, 200, 30)),
        ("astronaut", 700, 180, (40, 40, 40)),
        ("page", 500, 330, (60, 60, 200)),
        ("grass", 420, 400, (235, 235, 235)),
    ],
)
def test_a_dot_is_found_on_both_images(
    name: str, x: int, y: int, color: tuple[int, int, int], angle_deg: float
) -> None:
    image, truth = photograph(name), turn(angle_deg, 1 + angle_deg / 200)
    found = compared(image, shot(with_dot(image, x, y, 20, color), truth))
    assert found.aligned
    assert len(found.differences) == 1
    difference = found.differences[0]
    there = map_points(np.array([[x, y]], np.float64), truth)[0]
    tolerance = 0.01 * SIZE.width
    assert np.allclose(centre(difference.on1.box), (x, y), atol=tolerance)
    assert np.allclose(centre(difference.on2.box), there, atol=tolerance)
    assert np.allclose(difference.on1.circle_center, (x, y), atol=tolerance)
    assert 15 < difference.on1.circle_radius < 35
    assert np.allclose(difference.on1.box[2:], 41, atol=2 * tolerance)
    share = 100 * np.pi * 20**2 / (SIZE.width * SIZE.height)
    assert 0.6 * share < difference.area_percent < 2.2 * share
    assert np.allclose(
        map_points(np.array([[500.0, 300]]), found.matrix1to2),
        map_points(np.array([[500.0, 300]]), truth),
        atol=1,
    )


@pytest.mark.parametrize("name", ["coffee", "page", "grass"])
@pytest.mark.parametrize("angle_deg", [0.0, 4.0])
def test_other_light_and_place_are_no_difference(name: str, angle_deg: float) -> None:
    image = photograph(name)
    found = compared(image, shot(image, turn(angle_deg), seed=3))
    assert found.differences == ()
    assert found.score == 0


def test_a_bent_surface_has_a_large_residual() -> None:
    y, x = np.mgrid[: SIZE.height, : SIZE.width].astype(np.float32)
    bent = cv2.remap(
        COFFEE,
        x + 4 * np.sin(np.pi * y / SIZE.height),
        y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    found = compared(COFFEE, bent)
    assert found.alignment is not None
    assert found.alignment.residual_px > 0.3
    assert found.differences == ()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(COFFEE, id="photograph"),
        pytest.param(np.full((100, 100, 3), 255, np.uint8), id="blank"),
        pytest.param(np.zeros((1, 1, 3), np.uint8), id="one pixel"),
        pytest.param(np.tile(np.uint8([[[0], [255]], [[255], [0]]]), (40, 40, 3)), id="pattern"),
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_identical_images_do_not_differ(image: Bgr, threshold: float) -> None:
    found = compared(image, image.copy(), replace(DEFAULTS, threshold=threshold))
    assert found.differences == ()
    assert found.score == 0
    assert found.compared_percent > 95


@pytest.mark.parametrize("missing", [False, True])
def test_a_dot_on_blank_paper_is_found_unaligned(missing: bool) -> None:
    blank = np.full((100, 100, 3), 240, np.uint8)
    dotted = with_dot(blank, 60, 40, 4, (30, 30, 30))
    pair = (dotted, blank) if missing else (blank, dotted)
    found = compared(*pair)
    assert not found.aligned
    assert found.alignment is None
    assert len(found.differences) == 1
    difference = found.differences[0]
    assert np.allclose(centre(difference.on1.box), (60, 40), atol=1)
    assert difference.on1.box == difference.on2.box
    assert difference.strength > 40


def test_images_of_other_sizes() -> None:
    image = with_dot(COFFEE, 200, 500, 20, (30, 200, 30))
    small = cv2.resize(image, (300, 225), interpolation=cv2.INTER_AREA)
    found = compared(COFFEE, small)
    assert len(found.differences) == 1
    assert np.allclose(centre(found.differences[0].on1.box), (200, 500), atol=10)
    assert np.allclose(centre(found.differences[0].on2.box), (60, 150), atol=3)


def test_unalignable_images_of_other_shapes_are_refused() -> None:
    wide, tall = np.zeros((50, 100, 3), np.uint8), np.zeros((100, 50, 3), np.uint8)
    assert compare(wide, tall, DEFAULTS, size1=Size(100, 50), size2=Size(50, 100)) is None


@pytest.fixture(scope="module")
def pair() -> tuple[Bgr, Bgr]:
    """Two shots between which three things differ, one strong, one faint, one small."""
    image = with_dot(COFFEE, 200, 500, 24, (30, 200, 30))
    image = with_dot(image, 650, 560, 24, tuple(int(v) for v in COFFEE[560, 650] * 0.8))
    return COFFEE, shot(with_dot(image, 850, 250, 5, (240, 240, 240)), turn(2))


def test_higher_threshold_reports_less(pair: tuple[Bgr, Bgr]) -> None:
    thresholds = (0.3, 0.6, 2.0, 10.0)
    found = [compared(*pair, replace(DEFAULTS, threshold=t)) for t in thresholds]
    scores = [comparison.score for comparison in found]
    counts = [len(comparison.differences) for comparison in found]
    assert scores == sorted(scores, reverse=True)
    assert counts[1] == 3
    assert counts[1:] == sorted(counts[1:], reverse=True)
    assert counts[3] == 1


def test_smoothing_erases_small_differences_first(pair: tuple[Bgr, Bgr]) -> None:
    counts = [
        len(compared(*pair, replace(DEFAULTS, smooth=smooth)).differences)
        for smooth in (0.2, 4.0, 10.0)
    ]
    assert counts[0] == 3
    assert counts == sorted(counts, reverse=True)
    assert counts[1] == 2


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_weight_scales_the_score_and_keeps_the_count(pair: tuple[Bgr, Bgr], weight: float) -> None:
    plain, weighted = compared(*pair), compared(*pair, replace(DEFAULTS, weight=weight))
    assert weighted.score == pytest.approx(weight * plain.score)
    assert [d.on1.box for d in weighted.differences] == [d.on1.box for d in plain.differences]
    for one, other in zip(weighted.differences, plain.differences, strict=True):
        assert one.strength == pytest.approx(weight * other.strength)


def test_score_is_area_times_strength(pair: tuple[Bgr, Bgr]) -> None:
    found = compared(*pair)
    expected = sum(d.area_percent * d.strength for d in found.differences)
    assert found.score == pytest.approx(expected)
    areas = [d.area_percent for d in found.differences]
    assert areas == sorted(areas, reverse=True)


def test_margin_excludes_the_border() -> None:
    dotted = with_dot(with_dot(COFFEE, 30, 300, 12, (30, 200, 30)), 200, 500, 20, (30, 200, 30))
    without, with_margin = (
        compared(COFFEE, dotted),
        compared(COFFEE, dotted, replace(DEFAULTS, margin=60)),
    )
    assert len(without.differences) == 2
    assert len(with_margin.differences) == 1
    assert centre(with_margin.differences[0].on1.box)[0] > 100
    share = 100 * (1000 - 120) * (750 - 120) / (1000 * 750)
    assert with_margin.compared_percent == pytest.approx(share, abs=1)


def test_region_of_interest_excludes() -> None:
    dotted = with_dot(with_dot(COFFEE, 800, 300, 20, (30, 200, 30)), 200, 500, 20, (30, 200, 30))
    roi = np.zeros((75, 100), np.uint8)
    roi[:, :50] = 1
    found = compared(COFFEE, dotted, roi1=roi)
    assert len(found.differences) == 1
    assert np.allclose(centre(found.differences[0].on1.box), (200, 500), atol=10)
    assert found.compared_percent == pytest.approx(50, abs=1)


@pytest.mark.parametrize(
    ("settings", "roi1"),
    [
        (DEFAULTS, np.zeros((10, 10), np.uint8)),
        (replace(DEFAULTS, margin=400), None),
    ],
)
def test_nothing_left_to_compare(settings: ComparisonSettings, roi1: Mask | None) -> None:
    found = compared(COFFEE, with_dot(COFFEE, 300, 400, 60, (30, 250, 30)), settings, roi1)
    assert found.compared_percent == 0
    assert found.differences == ()


def test_presets_move_as_they_say() -> None:
    assert PRESETS[1] == ComparisonSettings()
    assert list(PRESETS) == [1, 2, 3, 4, 5]
    assert PRESETS[2].margin > PRESETS[1].margin
    assert PRESETS[2].edge_tolerance > PRESETS[1].edge_tolerance
    assert PRESETS[3] == replace(PRESETS[2], smooth=PRESETS[3].smooth)
    assert PRESETS[3].smooth > PRESETS[2].smooth
    assert PRESETS[4] == replace(PRESETS[3], min_area_percent=0.05)
    assert PRESETS[5] == replace(PRESETS[4], smooth=PRESETS[5].smooth)
    assert PRESETS[2].smooth < PRESETS[5].smooth < PRESETS[4].smooth


def test_specks_are_dropped_by_preset_4_and_reported_by_preset_1() -> None:
    speck = with_dot(COFFEE, 200, 500, 5, (30, 250, 30))  # 0.01 % of the area
    part = with_dot(speck, 800, 300, 25, (30, 200, 30))  # 0.26 %
    counts = {
        n: len(compared(COFFEE, part, settings).differences) for n, settings in PRESETS.items()
    }
    assert counts[1] == 2
    assert counts[3] == 2
    assert counts[4] == counts[5] == 1


def test_displacement_within_the_edge_tolerance_is_no_difference() -> None:
    # A plate moved by 3 of 1000 px before a table that stays: 1.2 px at 400 px.
    table = cv2.GaussianBlur(COFFEE, (0, 0), 1)
    first, second = table.copy(), table.copy()
    cv2.rectangle(first, (400, 300), (600, 450), (250, 250, 250), -1)
    cv2.rectangle(second, (403, 300), (603, 450), (250, 250, 250), -1)
    counts = [
        len(compared(first, second, replace(DEFAULTS, edge_tolerance=t)).differences)
        for t in (0.0, 1.0, 2.0)
    ]
    assert counts[0] > 0
    assert counts[2] == 0
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("use_hsv", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        # Hues 1 and 359 degrees are neighbours.
        pytest.param((0, 3, 200), (3, 0, 200), False, id="around red"),
        # Hue means nothing in grey.
        pytest.param((128, 128, 130), (130, 128, 128), False, id="greys"),
        pytest.param((0, 0, 200), (200, 0, 0), True, id="red and blue"),
        pytest.param((60, 60, 60), (180, 180, 180), True, id="dark and bright"),
    ],
)
def test_colour_spaces(
    first: tuple[int, ...], second: tuple[int, ...], differs: bool, use_hsv: bool
) -> None:
    paper = np.full((120, 160, 3), 240, np.uint8)
    one, other = paper.copy(), paper.copy()
    one[40:80, 50:110] = first
    other[40:80, 50:110] = second
    found = compared(one, other, replace(DEFAULTS, use_hsv=use_hsv))
    assert bool(found.differences) is differs


def test_same_input_same_answer(pair: tuple[Bgr, Bgr]) -> None:
    one, other = compared(*pair), compared(*pair)
    assert one.score == other.score
    assert np.array_equal(one.difference_map, other.difference_map)


def test_intermediate_pictures_have_one_size(pair: tuple[Bgr, Bgr]) -> None:
    found = compared(*pair)
    for picture in (found.reference, found.aligned_image, found.corrected_image):
        assert picture.shape == (300, 400, 3)
        assert picture.dtype == np.uint8
    assert found.difference_map.shape == (300, 400)


@pytest.fixture(scope="module")
def triangle() -> Spot:
    vertices: Vertices = np.array([[0, 0], [20, 0], [0, 10]], np.int32)
    return Spot(Box(100, 50, 21, 11), (110.0, 55.0), 11.2, vertices)


def test_region_mask(triangle: Spot) -> None:
    mask = region_mask(triangle)
    assert mask.shape == (11, 21)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[0, 0] == mask[0, 20] == mask[10, 0] == mask[3, 5] == 255
    assert mask[10, 20] == 0


@pytest.mark.parametrize("thickness", [1, 3])
def test_outline_picture(triangle: Spot, thickness: int) -> None:
    picture = outline_picture(triangle, (255, 0, 0, 125), thickness)
    assert picture.shape == (11, 21, 4)
    # All three sides are drawn, the last back to the first vertex, and nothing within.
    for x, y in [(10, 0), (0, 5), (10, 5)]:
        assert tuple(picture[y, x]) == (255, 0, 0, 125)
    if thickness == 1:
        assert not picture[3, 5].any()
    assert not picture[10, 20].any()


def test_a_difference_at_the_edge_stays_within_the_image() -> None:
    blank = np.full((100, 130, 3), 240, np.uint8)
    found = compared(blank, with_dot(blank, 128, 2, 9, (0, 0, 0)))
    for spot in (found.differences[0].on1, found.differences[0].on2):
        assert spot.box.x >= 0
        assert spot.box.y >= 0
        assert spot.box.x + spot.box.width <= 130
        assert spot.box.y + spot.box.height <= 100
        assert (spot.vertices >= 0).all()
        assert (spot.vertices.max(axis=0) + 1 == spot.box[2:]).all()


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": -0.1},
        {"smooth": float("nan")},
        {"weight": float("inf")},
        {"margin": -1},
        {"resolution": 65536},
        {"resolution": "half"},
        {"resolution": 15},
        {"min_area_percent": -1.0},
        {"edge_tolerance": -1.0},
    ],
)
def test_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ComparisonSettings(**values)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_misuse(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        compare(COFFEE, image, DEFAULTS, size1=SIZE, size2=SIZE)


# --- what is no difference, and what still is one ------------------------------------------------


def bent(image: Bgr, reach_px: float) -> Bgr:
    """Show a picture on paper that bulges: half a wave across, `reach_px` at the most."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    shift = np.float32(reach_px) * np.sin(np.pi * x / image.shape[1], dtype=np.float32)
    return cv2.remap(
        image, x + shift, y + shift / 2, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


@pytest.mark.parametrize("reach_px", [6.0, 10.0])
def test_a_surface_that_bends_is_no_difference_and_a_dot_on_it_is_one(reach_px: float) -> None:
    clean = compared(COFFEE, shot(bent(COFFEE, reach_px), turn(1)))
    assert clean.differences == ()
    assert clean.bend_px > 0.3
    dotted = with_dot(COFFEE, 300, 200, 25, (20, 200, 20))
    found = compared(COFFEE, shot(bent(dotted, reach_px), turn(1)))
    assert [np.allclose(centre(d.on1.box), (300, 200), atol=10) for d in found.differences] == [
        True
    ]


def test_a_part_that_moved_is_a_difference() -> None:
    """A label of a fifth of the picture, moved by 1 %: no surface bends like that."""
    moved = COFFEE.copy()
    moved[300:450, 410:610] = COFFEE[300:450, 400:600]
    found = compared(COFFEE, shot(moved, turn(1)))
    assert found.bend_px == 0
    assert found.differences


def lit_by(image: Bgr, x: int, y: int, blur: float = 7) -> Bgr:
    """Mirror a lamp at a place: blown out, fading out around."""
    light = np.zeros(image.shape[:2], np.float32)
    cv2.circle(light, (x, y), 14, 3.0, -1)
    light = cv2.GaussianBlur(light, (0, 0), blur)
    return np.clip(image + 255 * light[..., None], 0, 255).astype(np.uint8)


def test_a_highlight_that_moved_is_no_difference_and_a_white_dot_is_one() -> None:
    first, second = lit_by(COFFEE, 200, 180), lit_by(COFFEE, 230, 210)
    assert compared(first, second).differences == ()
    white = with_dot(COFFEE, 200, 180, 14, (255, 255, 255))
    assert len(compared(COFFEE, white).differences) == 1


def test_a_highlight_that_fades_less_in_one_shot_is_the_same_light() -> None:
    """A highlight of a narrow fade has a partner in the other shot; a white mark has none."""
    wide, narrow = lit_by(COFFEE, 200, 180), lit_by(COFFEE, 230, 210, blur=2)
    assert compared(wide, narrow).differences == ()
    assert compared(narrow, wide).differences == ()
    both = lit_by(wide, 230, 210, blur=2)
    found = compared(wide, both).differences
    assert [np.allclose(centre(d.on1.box), (230, 210), atol=4) for d in found] == [True]
    white = with_dot(COFFEE, 230, 210, 14, (255, 255, 255))
    assert compared(wide, white).differences


def test_a_broken_scratch_is_one_difference() -> None:
    """Three strokes end to end, gaps of 2 % of the picture between them; the fourth is far."""
    scratched = COFFEE.copy()
    for start in (200, 280, 360, 700):
        cv2.line(scratched, (start, 620), (start + 60, 640), (250, 250, 250), 5, cv2.LINE_AA)
    widths = sorted(d.on1.box.width for d in compared(COFFEE, scratched).differences)
    assert len(widths) == 2
    assert widths == pytest.approx([60, 220], abs=14)


def test_more_pixels_show_smaller_differences() -> None:
    """A dot of 0.3 % of the longest side, ΔE some 40."""
    paper = cv2.GaussianBlur(photograph("page"), (0, 0), 1.0)
    dotted = with_dot(paper, 505, 390, 1, (20, 20, 20))
    settings = (ComparisonSettings(resolution=200), ComparisonSettings(resolution=900))

    def count(setting: ComparisonSettings) -> int:
        found = compare(paper, dotted, setting, size1=SIZE, size2=SIZE)
        assert found is not None
        return len(found.differences)

    assert [count(setting) for setting in settings] == [0, 1]


def test_a_light_that_was_switched_on_is_a_difference() -> None:
    """A highlight that only one of the shots shows is none that moved."""
    for first, second in ((COFFEE, lit_by(COFFEE, 300, 300)), (lit_by(COFFEE, 300, 300), COFFEE)):
        found = compared(first, second).differences
        assert [np.allclose(centre(d.on1.box), (300, 300), atol=12) for d in found] == [True]


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
@pytest.mark.parametrize("longest", [320, 160])
def test_a_smaller_copy_does_not_differ(name: str, longest: int) -> None:
    image = photograph(name)
    size = (longest, round(longest * SIZE.height / SIZE.width))
    copy = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for first, second in ((image, copy), (copy, image)):
        assert compared(first, second).differences == ()


def test_a_region_does_not_weaken_differences_in_it(pair: tuple[Bgr, Bgr]) -> None:
    """Light and noise are estimated from all that both show, not by the region alone."""
    whole = compared(*pair)
    largest = whole.differences[0]
    roi = np.zeros((SIZE.height, SIZE.width), np.uint8)
    x, y, width, height = largest.on1.box
    roi[max(0, y - 20) : y + height + 20, max(0, x - 20) : x + width + 20] = 255
    alone = compared(*pair, roi1=roi).differences
    assert len(alone) == 1
    assert alone[0].strength == pytest.approx(largest.strength, rel=0.05)


def test_a_mirrored_picture_is_not_made_to_fit() -> None:
    brick = photograph("brick")
    found = compared(brick, np.ascontiguousarray(brick[:, ::-1]))
    assert not found.aligned
    assert found.bend_px == 0


def print_with_bars() -> Bgr:
    """Draw print whose thinnest bars and gaps are 1 px at the default resolution."""
    rng = np.random.default_rng(3)
    page = np.full((600, 800, 3), 240, np.uint8)
    for y in range(60, 360, 50):
        letters = "".join(chr(c) for c in rng.integers(ord("a"), ord("z") + 1, 26))
        cv2.putText(page, letters, (60, y), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 20), 2, 16)
    x = 80
    while x < 700:
        width = 2 * int(rng.integers(1, 5))
        cv2.rectangle(page, (x, 430), (x + width - 1, 500), (20, 20, 20), cv2.FILLED)
        x += width + 2 * int(rng.integers(1, 5))
    return page


@pytest.mark.parametrize("sigma", [0.0, 0.42, 0.57, 0.72, 1.1])
def test_the_sharper_of_two_pictures_is_blurred_as_much_as_the_other(sigma: float) -> None:
    """By a sigma between those that are tried, too."""
    rng = np.random.default_rng(3)
    sharp = np.tile(12 + 75 * (rng.random(240) > 0.5), (120, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), sigma) if sigma else sharp
    soft = (soft + rng.normal(0, 0.3, soft.shape)).astype(np.float32)
    everywhere = np.ones(sharp.shape, bool)
    assert blur_to_match(sharp, soft, everywhere) == pytest.approx((sigma, 0), abs=0.03)
    assert blur_to_match(soft, sharp, everywhere) == pytest.approx((0, sigma), abs=0.03)


@pytest.mark.parametrize("blur_px", [1.0, 1.5])
def test_a_softer_shot_of_thin_bars_is_no_difference_and_a_missing_bar_is(blur_px: float) -> None:
    page = print_with_bars()
    turned = cv2.getRotationMatrix2D((400, 300), 0.7, 1.0)

    def soft(picture: Bgr) -> Bgr:
        seen = cv2.warpAffine(picture, turned, (800, 600), borderMode=cv2.BORDER_REPLICATE)
        noise = np.random.default_rng(1).normal(0, 2, seen.shape)
        return np.clip(cv2.GaussianBlur(seen, (0, 0), blur_px) + noise, 0, 255).astype(np.uint8)

    assert compared(page, soft(page)).differences == ()
    worn = page.copy()
    worn[430:501, 300:340] = 240
    found = compared(page, soft(worn)).differences
    assert [d.on1.box.x // 50 for d in found] == [6]
