"""Comparison at the pixels of the shots: boards that can be drawn, with what differs known."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.differences import (
    AUTO,
    FULL,
    PRESETS,
    Comparison,
    ComparisonSettings,
    compare,
)
from ltu_compute.kernels.differences.appearance import _mean_ciede2000
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.copies import align_copies
from ltu_compute.kernels.differences.evidence import Precision, exact_difference
from ltu_compute.kernels.differences.sampling import Sampler
from ltu_compute.kernels.differences.seams import MOST_AREAS, Seams
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.differences.sharpness import blur_to_settle
from ltu_compute.kernels.homography import map_points, size_of
from ltu_compute.kernels.resizing import gray_of, is_colourless
from ltu_compute.kernels.types import Bgr, Box, Matrix, Size

AT_FULL = replace(PRESETS[1], resolution=FULL)
GROUND, COPPER = (40, 70, 30), (70, 150, 190)


def board(width: int, height: int, *, wider_px: int = 0) -> Bgr:
    """Draw tracks, pads and holes; tracks and pads are `wider_px` wider on every side."""
    picture = np.full((height, width, 3), GROUND, np.uint8)
    rng = np.random.default_rng(7)
    for x in range(60, width - 60, 90):
        y, level = int(rng.integers(40, 90)), int(rng.integers(-30, 30))
        bend = int(rng.integers(height // 3, 2 * height // 3))
        places = [(x, y), (x, bend), (x + level, bend + abs(level)), (x + level, height - 60)]
        line = np.array(places, np.int32).reshape(-1, 1, 2)
        cv2.polylines(picture, [line], isClosed=False, color=COPPER, thickness=9 + 2 * wider_px)
        for place in (places[0], places[-1]):
            cv2.circle(picture, place, 20 + wider_px, COPPER, cv2.FILLED)
            cv2.circle(picture, place, 8, GROUND, cv2.FILLED)
    return picture


def runs(picture: Bgr, row: int) -> list[tuple[int, int]]:
    """Return the first and last column of each stretch of copper in a row."""
    copper = (picture[row] == COPPER).all(axis=1).astype(int)
    steps = np.diff(copper, prepend=0, append=0)
    return [
        (int(first), int(last) - 1)
        for first, last in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    ]


def photographed(picture: Bgr, seed: int, matrix: Matrix | None = None) -> Bgr:
    height, width = picture.shape[:2]
    if matrix is not None:
        picture = cv2.warpPerspective(
            picture, matrix, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
        )
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def turned(width: int, height: int, angle_deg: float) -> Matrix:
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1.004)
    affine[:, 2] += 5.3, -3.6
    return np.vstack([affine, [0, 0, 1]])


def compared(one: Bgr, other: Bgr, settings: ComparisonSettings = AT_FULL) -> Comparison:
    found = compare(one, other, settings, size1=size_of(one), size2=size_of(other))
    assert found is not None
    return found


def holds(box: Box, x: float, y: float, beyond: float = 0) -> bool:
    return (
        box.x - beyond <= x <= box.x + box.width - 1 + beyond
        and box.y - beyond <= y <= box.y + box.height - 1 + beyond
    )


@pytest.fixture(scope="module")
def good() -> Bgr:
    return board(1200, 900)


def test_a_dot_of_three_pixels_is_boxed_to_the_pixel(good: Bgr) -> None:
    """At 400 px it would be a single pixel, and no difference."""
    bad = good.copy()
    cv2.rectangle(bad, (801, 501), (803, 503), COPPER, cv2.FILLED)
    first, second = photographed(good, 1), photographed(bad, 2)
    [difference] = compared(first, second).differences
    for box in (difference.on1.box, difference.on2.box):
        assert max(abs(box.x - 801), abs(box.y - 501)) <= 1
        assert max(abs(box.width - 3), abs(box.height - 3)) <= 2


@pytest.mark.parametrize(("width", "height"), [(514, 515), (1026, 515)])
def test_a_corner_of_two_pixels_beyond_the_tiles_is_compared(width: int, height: int) -> None:
    """Tiles have 512 px; half of such a corner is a single pixel."""
    picture = board(width, height)
    bad = picture.copy()
    cv2.rectangle(bad, (251, 251), (262, 262), (255, 255, 255), cv2.FILLED)
    [difference] = compared(picture, bad).differences
    assert holds(difference.on1.box, 256, 256)


@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (1, 40), (15, 32_766)])
def test_pictures_of_the_least_and_the_greatest_sides_are_compared(shape: tuple[int, int]) -> None:
    """A picture 1 px wide has no neighbours along rows. OpenCV's maps have less than 2¹⁵ px."""
    plain = np.full((*shape, 3), 200, np.uint8)
    assert compared(plain, plain).differences == ()
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    compared(noise, np.roll(noise, 1, axis=0))


def test_sides_that_are_too_long_for_a_map_are_sampled_in_parts() -> None:
    ramp = (np.arange(32_766) // 129).astype(np.uint8)[None].repeat(8, axis=0)
    for scale in (1, 4):
        frame = Size(len(ramp[0]) // scale, 8 // scale)
        matrix = np.diag([scale, scale, 1.0])
        matrix[0, 2] = 0.5
        sampler = Sampler(ramp, matrix, frame)
        whole = sampler.tile(Box(-32, 0, frame.width + 64, 2))
        part = sampler.tile(Box(frame.width // 2 - 10, 0, 40, 2))
        here = whole[:, frame.width // 2 + 22 :][:, :40]
        assert cv2.absdiff(here, part).max() <= 1
        assert (whole.shape, whole[0, 0], whole[0, -1]) == ((2, frame.width + 64), 0, 253)


@pytest.mark.parametrize("angle_deg", [0.0, 0.8, 7.0])
def test_small_defects_on_a_board_that_was_moved(good: Bgr, angle_deg: float) -> None:
    bad = good.copy()
    left, _ = runs(good, 450)[2]
    places = [
        (left - 4, 450),
        (sum(runs(good, 300)[4]) // 2, 300),
        (sum(runs(good, 350)[6]) // 2, 350),
        ((runs(good, 520)[7][1] + runs(good, 520)[8][0]) // 2, 520),
    ]
    for (x, y), (width, height), color in zip(
        places,
        [(9, 7), (5, 5), (15, 5), (7, 7)],  # a spur, a pinhole, an open track, an island
        [COPPER, GROUND, GROUND, COPPER],
        strict=True,
    ):
        corner = (x - width // 2, y - height // 2)
        cv2.rectangle(bad, (*corner, width, height), color, cv2.FILLED)
    matrix = turned(1200, 900, angle_deg)
    found = compared(photographed(good, 1), photographed(bad, 2, matrix)).differences
    assert len(found) == len(places)
    for x, y in places:
        at = map_points(np.array([[x, y]], np.float64), matrix)[0]
        assert any(holds(d.on1.box, x, y, 3) for d in found)
        assert any(holds(d.on2.box, *at, 3) for d in found)


@pytest.mark.parametrize("angle_deg", [0.0, 1.5])
def test_edges_displaced_along_their_length_are_no_difference(good: Bgr, angle_deg: float) -> None:
    """Copper that was etched less, by 1 px on every side, is process; a spur on it is not."""
    etched = board(1200, 900, wider_px=1)
    matrix = turned(1200, 900, angle_deg)
    first = photographed(good, 1)
    assert compared(first, photographed(etched, 2, matrix)).differences == ()
    edge, _ = runs(etched, 600)[5]
    spurred = etched.copy()
    cv2.rectangle(spurred, (edge - 6, 596), (edge + 1, 602), COPPER, cv2.FILLED)
    [difference] = compared(first, photographed(spurred, 2, matrix)).differences
    assert holds(difference.on1.box, edge - 4, 600, 3)


def bars(*, left_px: int = 0, border_px: int = 0) -> Bgr:
    """Draw pads and tracks of 8 px that start `left_px` later, and a pad at the left border."""
    picture = np.full((640, 640, 3), 255, np.uint8)
    for x in range(60, 600, 40):
        cv2.rectangle(picture, (x + left_px, 60), (x + 7, 580), (0, 0, 0), cv2.FILLED)
        for y in (60, 580):
            cv2.circle(picture, (x + 4, y), 14, (0, 0, 0), cv2.FILLED)
    if border_px:
        cv2.rectangle(picture, (0, 300), (border_px - 1, 360), (0, 0, 0), cv2.FILLED)
    return picture


def test_one_displaced_side_of_a_thin_track_is_no_difference() -> None:
    """The other side is too near to be left out, and does not move along; a notch is found."""
    good, bad = bars(), bars(left_px=3)
    assert compared(good, bad).differences == ()
    cv2.rectangle(bad, (183, 300), (187, 308), (255, 255, 255), cv2.FILLED)
    [difference] = compared(good, bad).differences
    assert holds(difference.on1.box, 185, 304)
    assert difference.on1.box.height < 20


def ragged_tracks(etched_px: int = 0) -> Bgr:
    """Draw white tracks of 9 px whose right edge is etched, in some rows by 1 px more."""
    picture = np.zeros((300, 340, 3), np.uint8)
    rng = np.random.default_rng(2)
    for x in range(20, 320, 20):
        deeper = np.cumsum(rng.random(240) < 0.1) % 2 * (etched_px > 0)
        for y, tooth in enumerate(deeper, 30):
            picture[y, x : x + 9 - etched_px - tooth] = 255
    return picture


def test_teeth_of_an_etched_edge_are_no_difference_and_a_bite_of_it_is() -> None:
    good, bad = ragged_tracks(), ragged_tracks(2)
    assert compared(good, bad).differences == ()
    cv2.rectangle(bad, (107, 150), (112, 157), (255, 255, 255), cv2.FILLED)
    cv2.rectangle(bad, (223, 220), (227, 228), (0, 0, 0), cv2.FILLED)
    bite, spur = sorted(compared(good, bad).differences, key=lambda each: -each.on1.box.x)
    assert holds(bite.on1.box, 226, 224)
    assert holds(spur.on1.box, 111, 153)


@pytest.mark.parametrize("depth", [2, -2])
def test_a_bite_is_deeper_than_the_displacement_of_its_edge(depth: int) -> None:
    """Two px: within what the edge tolerance hides, were it all along. Negative: a spur."""
    good = np.full((300, 400, 3), GROUND, np.uint8)
    good[:, 180:220] = COPPER
    bad = good.copy()
    bad[:, 220] = COPPER  # all along: the process
    inside = (slice(150, 155), slice(221 - max(depth, 0), 221 - min(depth, 0)))
    bad[inside] = GROUND if depth > 0 else COPPER
    first, second = (
        photographed(np.asarray(cv2.GaussianBlur(each, (0, 0), 0.6), np.uint8), seed)
        for seed, each in enumerate((good, bad))
    )
    [difference] = compared(first, second).differences
    assert holds(difference.on1.box, 221 - depth / 2, 152, beyond=2)
    ragged = bad.copy()
    rows = np.random.default_rng(4).integers(-2, 3, 300)
    for row, teeth in enumerate(rows):
        ragged[row, 221:223] = COPPER if teeth > 0 else ragged[row, 221:223]
        ragged[row, 219:221] = GROUND if teeth < 0 else ragged[row, 219:221]
    second = photographed(np.asarray(cv2.GaussianBlur(ragged, (0, 0), 0.6), np.uint8), 3)
    assert not compared(first, second).differences


@pytest.mark.parametrize("middle", [219, 220])
@pytest.mark.parametrize("color", [COPPER, GROUND])
def test_half_a_disc_of_5_px_on_an_edge_is_found(color: tuple[int, int, int], middle: int) -> None:
    """The edge is at 219.5: the half beyond it covers 4 px², or 9."""
    good = np.full((300, 400, 3), GROUND, np.uint8)
    good[:, 180:220] = COPPER
    bad = good.copy()
    cv2.circle(bad, (middle, 152), 2, color, cv2.FILLED)
    bad[100, 179 if color is COPPER else 180] = color  # a px: within the tolerance
    first, second = (
        photographed(np.asarray(cv2.GaussianBlur(each, (0, 0), 0.6), np.uint8), seed)
        for seed, each in enumerate((good, bad))
    )
    [difference] = compared(first, second).differences
    assert holds(difference.on1.box, 219.5, 152, beyond=2)


def test_a_spur_that_reaches_to_the_old_edge_of_a_narrower_track_is_found() -> None:
    """Its 4 px² differ less from the reference than the edge beside it, which moved by 1 px."""
    good = np.full((300, 400, 3), GROUND, np.uint8)
    good[:, 180:220] = COPPER
    bad = good.copy()
    bad[:, 219] = GROUND
    spurred = bad.copy()
    cv2.circle(spurred, (218, 152), 2, COPPER, cv2.FILLED)
    first, again, spurred = (
        photographed(np.asarray(cv2.GaussianBlur(each, (0, 0), 0.6), np.uint8), seed)
        for seed, each in enumerate((good, bad, spurred))
    )
    assert compared(first, again).differences == ()
    [difference] = compared(first, spurred).differences
    assert holds(difference.on1.box, 219.5, 152, beyond=2)


def test_the_rim_of_a_wider_pad_is_no_spur() -> None:
    """Between pixels, a drawn disc that is 1 px larger is so by up to 1.4 px."""
    pads = []
    for seed, radius in enumerate((14, 15)):
        pad = np.full((300, 400, 3), GROUND, np.uint8)
        for x in range(40, 400, 80):
            cv2.circle(pad, (x, 150), radius, COPPER, cv2.FILLED)
            cv2.line(pad, (x, 150), (x, 299), COPPER, 9)
        pads.append(photographed(np.asarray(cv2.GaussianBlur(pad, (0, 0), 0.6), np.uint8), seed))
    assert compared(*pads).differences == ()


def test_the_wedge_between_pads_of_which_one_grew_is_no_spur() -> None:
    """Where two pads of 29 px meet, a px all around fills more than a px of the wedge."""
    shots = []
    for seed, grown in enumerate((0, 1)):
        pads = np.full((300, 400, 3), GROUND, np.uint8)
        for x in range(60, 400, 90):
            for middle, wider in ((x, grown), (x + 26, 0)):
                cv2.line(pads, (middle, 20), (middle, 200), COPPER, 9 + wider)
                cv2.circle(pads, (middle, 200), 14 + wider, COPPER, cv2.FILLED)
                cv2.circle(pads, (middle, 200), 5, GROUND, cv2.FILLED)
        shots.append(photographed(np.asarray(cv2.GaussianBlur(pads, (0, 0), 0.6), np.uint8), seed))
    assert compared(*shots).differences == ()


def long_strip(depths: tuple[int, int], *, scratch: bool = False) -> Bgr:
    """Draw tracks whose left sides are etched by `depths` px: along all, and in the middle."""
    picture = np.zeros((400, 600, 3), np.uint8)
    for x in (40, 120, 260, 350, 470):
        picture[20:380, x : x + 20] = 255
    for y in (30, 370):
        picture[y - 3 : y + 4, 40:490] = 255
    picture[50:350, 260 : 260 + depths[0]] = 0
    picture[100:300, 260 : 260 + depths[1]] = 0
    if scratch:
        picture[60:340, 300:303] = 128
    return picture


@pytest.mark.parametrize(("all_along", "middle", "found"), [(3, 5, 0), (0, 6, 1)])
def test_a_long_strip_is_the_displacement_of_its_edge_or_a_difference(
    all_along: int, middle: int, found: int
) -> None:
    """Etched by 3 px and in the middle by 5 is process; by 6 px where the edge is in place is not.

    A scratch along a track stays one.
    """
    good = long_strip((0, 0))
    assert len(compared(good, long_strip((all_along, middle))).differences) == found
    scratched = long_strip((all_along, middle), scratch=True)
    assert len(compared(good, scratched).differences) == found + 1


def test_a_sheet_that_is_bent_between_two_patches_is_no_difference() -> None:
    """Over 100 px of 1,500 the shot sinks by 7 px: patches there are 125 px apart."""
    good = np.zeros((600, 1500, 3), np.uint8)
    for y in range(30, 580, 24):
        good[y : y + 10, 20:1480] = 255
    for x in range(60, 1480, 40):
        good[30:580:48, x : x + 12] = good[20:570:48, x : x + 12] = 255
    rows, columns = np.mgrid[:600, :1500].astype(np.float32)
    sinks = 7 * np.clip(1 - np.abs(columns - 750) / 100, 0, 1)
    bad = np.asarray(cv2.remap(good, columns, rows - sinks, cv2.INTER_LINEAR), np.uint8)
    assert compared(good, bad).differences == ()
    cv2.rectangle(bad, (740, 310), (752, 322), (128, 128, 128), cv2.FILLED)
    [stain] = compared(good, bad).differences
    assert holds(stain.on2.box, 748, 316)


def test_an_edge_may_enter_from_beyond_the_border_by_its_jitter() -> None:
    good = bars()
    assert compared(good, bars(border_px=3)).differences == ()
    [difference] = compared(good, bars(border_px=9)).differences
    assert holds(difference.on1.box, 5, 330)


def test_close_defects_stay_apart_and_a_broken_scratch_is_one() -> None:
    plain = photographed(np.full((1200, 1600, 3), (130, 140, 150), np.uint8), 1)
    bad = plain.copy()
    cv2.circle(bad, (400, 400), 5, (20, 20, 20), cv2.FILLED)
    cv2.circle(bad, (424, 400), 5, (20, 20, 20), cv2.FILLED)
    for start in range(0, 120, 40):
        cv2.line(bad, (900 + start, 700 + start), (928 + start, 728 + start), (240, 240, 240), 2)
    cv2.ellipse(bad, (300, 900), (40, 40), 0, 20, 340, (20, 20, 20), 6)  # an open ring, its middle
    cv2.circle(bad, (300, 900), 14, (20, 20, 20), cv2.FILLED)
    cv2.circle(bad, (1300, 300), 90, (20, 20, 20), 6)  # a large ring, and a dot in it
    cv2.circle(bad, (1300, 300), 5, (20, 20, 20), cv2.FILLED)
    found = compared(plain, bad).differences
    assert len(found) == 6
    scratch = max(found, key=lambda each: each.on1.box.x == pytest.approx(900, abs=3)).on1.box
    assert holds(scratch, 902, 702, 2)
    assert holds(scratch, 1006, 806, 2)


def test_a_faint_stain_is_found_whole() -> None:
    """It differs by less than the noise of a pixel; a coarser level finds it."""
    plain = np.full((1500, 2000, 3), 128, np.float64)
    stained = plain.copy()
    stained[500:800, 900:1300] += 14
    noise = np.random.default_rng(3).normal(0, 6, (2, *plain.shape))
    first, second = (
        np.clip(picture + grain, 0, 255).astype(np.uint8)
        for picture, grain in zip((plain, stained), noise, strict=True)
    )
    [difference] = compared(first, second).differences
    box = difference.on1.box
    assert max(abs(box.x - 900), abs(box.y - 500)) < 12
    assert max(abs(box.width - 400), abs(box.height - 300)) < 24


def test_a_number_asks_for_that_many_pixels(good: Bgr) -> None:
    bad = good.copy()
    cv2.rectangle(bad, (801, 501), (812, 512), COPPER, cv2.FILLED)
    settings = replace(AT_FULL, resolution=1000)
    first, second = (
        cv2.resize(photographed(picture, seed), (1000, 750), interpolation=cv2.INTER_AREA)
        for seed, picture in enumerate((good, bad))
    )
    found = compare(first, second, settings, size1=size_of(good), size2=size_of(good))
    assert found is not None
    [difference] = found.differences
    assert holds(difference.on1.box, 806, 506)
    assert difference.on1.box.width < 20


def test_nothing_differs_from_itself(good: Bgr) -> None:
    found = compared(good, good)
    assert (found.differences, found.score, found.compared_percent) == ((), 0, 100)


def test_same_input_same_answer() -> None:
    good = photographed(board(480, 360), 1)
    bad = photographed(board(480, 360, wider_px=4), 2, turned(480, 360, 3.0))
    one, other = compared(good, bad), compared(good, bad)
    assert [d.on2.box for d in one.differences] == [d.on2.box for d in other.differences]
    assert one.score == other.score


@pytest.mark.parametrize("use_hsv", [False, True])
def test_colourless_pictures_are_compared_as_coloured_ones(*, use_hsv: bool) -> None:
    good, bad = (np.repeat(gray_of(board(500, 400))[..., None], 3, axis=2) for _ in range(2))
    cv2.line(bad, (150, 200), (240, 205), (90, 90, 90), 3)
    cv2.circle(bad, (300, 60), 5, (200, 200, 200), cv2.FILLED)
    bad = np.asarray(cv2.convertScaleAbs(bad, alpha=0.9), np.uint8)  # another lamp
    tinted = bad.copy()
    tinted[0, 0, 0] ^= 1  # enough to have all channels compared
    assert is_colourless(bad)
    assert not is_colourless(tinted)
    settings = replace(AT_FULL, use_hsv=use_hsv)
    one, other = compared(good, bad, settings), compared(good, tinted, settings)
    assert len(one.differences) == 2
    assert [d.on2.box for d in one.differences] == [d.on2.box for d in other.differences]
    assert one.score == pytest.approx(other.score, rel=1e-3)


@pytest.mark.parametrize("settings", [PRESETS[1], AT_FULL], ids=["400 px", "full"])
@pytest.mark.parametrize(
    ("on1", "on2", "kind"),
    [(True, False, "missing"), (False, True, "extra"), (True, True, "changed")],
)
def test_which_shot_shows_more(
    settings: ComparisonSettings, on1: bool, on2: bool, kind: str
) -> None:
    shots = []
    for seed, (shown, color) in enumerate([(on1, (20, 20, 160)), (on2, (160, 20, 20))]):
        shot = board(1200, 900)
        cv2.rectangle(shot, (20, 400), (26, 406), (240, 240, 240), cv2.FILLED)
        if shown:
            cv2.rectangle(shot, (1150, 600), (1179, 629), color, cv2.FILLED)
        shots.append(photographed(shot, seed))
    [difference] = compared(*shots, settings).differences
    assert difference.kind == kind
    assert difference.delta_e > 30
    assert difference.margin > 2
    assert difference.border_px < 12


def test_margin_is_how_many_thresholds_a_difference_has(good: Bgr) -> None:
    bad = good.copy()
    cv2.rectangle(bad, (20, 600), (39, 619), COPPER, cv2.FILLED)
    first, second = photographed(good, 1), photographed(bad, 2)
    [one] = compared(first, second).differences
    [twice] = compared(first, second, replace(AT_FULL, threshold=1.2)).differences
    assert one.margin == pytest.approx(2 * twice.margin, rel=0.05)
    beyond = replace(AT_FULL, threshold=0.6 * one.margin * 1.15)
    assert compared(first, second, beyond).differences == ()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [  # Sharma, Wu and Dalal, Color Research and Application 30, 2005: pairs 1, 5, 17 and 25
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.1848, -84.8006), (50, 0, -82.7485), 1.0000),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_colour_difference_is_ciede2000(first: Any, second: Any, expected: float) -> None:
    many = np.tile(np.array([first, second], np.float32)[:, np.newaxis], (1, 50_000, 1))
    assert _mean_ciede2000(*many) == pytest.approx(expected, abs=2e-4)


def test_a_board_that_moved_does_not_displace_its_panel() -> None:
    """Of four boards one moves by 11 px; the others stay aligned to a fraction of a px."""
    boards = [board(480, 480) for _ in range(4)]
    move = np.array([[1, 0, 9], [0, 1, -7]], np.float64)
    moved = cv2.warpAffine(boards[1], move, (480, 480), borderMode=cv2.BORDER_REPLICATE)
    gray1, gray2 = (
        cv2.cvtColor(
            photographed(np.vstack([np.hstack([one, other]), np.hstack(boards[2:])]), seed),
            cv2.COLOR_BGR2GRAY,
        )
        for seed, (one, other) in enumerate([boards[:2], (boards[0], np.asarray(moved, np.uint8))])
    )
    alignment = align_settled(np.asarray(gray1, np.uint8), np.asarray(gray2, np.uint8))
    assert alignment is not None
    others = np.array([[20, 20], [460, 460], [20, 940], [940, 940], [500, 500]], np.float64)
    assert map_points(others, alignment.matrix) == pytest.approx(others, abs=0.4)


def test_a_long_panel_is_aligned_across_too() -> None:
    """Seen at an angle: 1 % wider at one end, and displaced by more across than along."""
    panel = board(2600, 460)
    corners = np.array([[0, 0], [2600, 0], [2600, 460], [0, 460]], np.float32)
    seen = corners + np.array([[3, -7], [10, -13], [-5, 9], [6, 6]], np.float32)
    truth = cv2.getPerspectiveTransform(corners, seen)
    shot = photographed(panel, 2, truth)
    alignment = align_settled(gray_of(panel), gray_of(shot))
    assert alignment is not None
    gap = map_points(corners, alignment.matrix) - map_points(corners, truth)
    assert np.linalg.norm(gap, axis=1).max() < 2


def test_a_panel_of_equal_pins_is_not_a_pin_off() -> None:
    """Five equal boards with a pin every 14 px, one in a hundred missing, moved by 8 px."""
    rng = np.random.default_rng(7)
    panel = np.full((460, 2600, 3), GROUND, np.uint8)
    for row in range(14, 446, 14):
        for column in range(14, 506, 14):
            if rng.random() < 0.99:
                panel[row - 3 : row + 3, column - 3 : column + 3] = COPPER
    panel = np.tile(panel[:, :520], (1, 5, 1))
    corners = np.array([[0, 0], [2600, 0], [2600, 460], [0, 460]], np.float32)
    seen = corners + np.array([[6, 4], [4, 6], [6, 4], [5, 5]], np.float32)
    truth = cv2.getPerspectiveTransform(corners, seen)
    alignment = align_settled(gray_of(panel), gray_of(photographed(panel, 2, truth)))
    assert alignment is not None
    gap = map_points(corners, alignment.matrix) - map_points(corners, truth)
    assert np.linalg.norm(gap, axis=1).max() < 1


def test_a_strip_at_the_seam_of_boards_that_moved_is_no_difference() -> None:
    """The middle board moved by 5 px, below the upper one; a spot beside their seam is found."""
    drawn = board(1400, 400)
    one, lower = drawn[70:320], np.ascontiguousarray(drawn[70:325, ::-1])
    cv2.rectangle(lower, (300, 0), (360, 3), COPPER, cv2.FILLED)
    good, shot = np.vstack([one, lower[:250], one]), np.vstack([one, lower[5:], one])
    cv2.rectangle(shot, (1000, 275), (1003, 283), COPPER, cv2.FILLED)
    boxes = [each.on1.box for each in compared(good, photographed(shot, 1)).differences]
    assert any(holds(box, 1001, 280) for box in boxes)
    assert not any(holds(box, x, 252) for box in boxes for x in (79, 306, 440, 890, 1160))


def test_seams_are_looked_for_among_a_bounded_number_of_areas() -> None:
    area = Area.of(Box(0, 0, 9, 2), np.full((2, 9), 255, np.uint8), 50.0, 40.0)
    untouched: Any = None  # to look at any area needs the pictures
    seams = Seams(untouched, untouched, untouched)
    many = [area] * (MOST_AREAS + 1)
    assert seams.without_strips(many) is many
    with pytest.raises(AttributeError):
        seams.without_strips(many[1:])


@pytest.mark.parametrize(("angle_deg", "resolution"), [(0.6, 800), (20.0, 400)])
def test_auto_is_full_resolution_where_the_shot_hardly_moved(
    angle_deg: float, resolution: int
) -> None:
    good = board(800, 600)
    bad = good.copy()
    cv2.rectangle(bad, (400, 300), (430, 330), (20, 20, 160), cv2.FILLED)
    settings = replace(PRESETS[1], resolution=AUTO)
    found = compared(good, photographed(bad, 1, turned(800, 600, angle_deg)), settings)
    assert found.resolution == pytest.approx(resolution, abs=10)
    assert any(holds(difference.on1.box, 415, 315) for difference in found.differences)


@pytest.mark.parametrize("sigma", [0.0, 0.65, 1.25])
def test_the_sharper_shot_is_blurred_as_much_as_the_other(sigma: float) -> None:
    """Also if the other is turned, by 1 px at its borders."""
    blocks = (np.random.default_rng(3).random((24, 24)) > 0.5).astype(np.float32)
    blocks = 20 + 70 * cv2.resize(blocks, (240, 240), interpolation=cv2.INTER_NEAREST)
    sharp = np.asarray(cv2.GaussianBlur(blocks, (0, 0), 0.7), np.float32)
    turn = cv2.getRotationMatrix2D((120, 120), np.degrees(1 / 120), 1)
    soft = cv2.warpAffine(sharp, turn, (240, 240), flags=cv2.INTER_CUBIC, borderMode=1)
    if sigma:
        soft = cv2.GaussianBlur(soft, (0, 0), sigma)
    everywhere = np.ones(sharp.shape, bool)
    assert blur_to_settle(sharp, soft, everywhere) == (sigma, 0.0)
    assert blur_to_settle(soft, sharp, everywhere) == (0.0, sigma)


def test_a_part_laid_anew_is_compared_without_its_mat() -> None:
    """The mat stays, and the part moves on it: patches of the mat say nothing about the part."""
    mat = np.full((600, 800, 3), (84, 60, 30), np.uint8)
    for at in range(0, 800, 34):
        mat[:, at : at + 2] = mat[at : at + 2] = (170, 190, 120)
    part = board(400, 300)
    shots = []
    for x, y in [(200, 150), (211, 142)]:
        shot = mat.copy()
        shot[y : y + 300, x : x + 400] = part
        shots.append(shot)
    region = np.zeros((600, 800), np.uint8)
    region[154:446, 204:596] = 255
    scratched = shots[1].copy()
    cv2.line(scratched, (411, 260), (461, 275), (200, 200, 200), 2)
    for seed, shot in enumerate((shots[1], scratched)):
        pair = photographed(shots[0], 1), photographed(shot, 2 + seed)
        size = size_of(mat)
        found = compare(*pair, AT_FULL, size1=size, size2=size, roi1=region)
        assert found is not None
        assert [holds(d.on1.box, 425, 276, 2) for d in found.differences] == [True] * seed


@pytest.mark.parametrize("sigma", [0.4, 0.5])
def test_the_core_of_a_thin_stroke_may_be_blurred_by_half_a_pixel(sigma: float) -> None:
    """A lens is less sharp at its rim, and one blur for the whole shot does not fit there."""
    page = np.full((60, 120), 235, np.uint8)
    for x in range(15, 110, 12):
        cv2.line(page, (x, 10), (x, 50), 30, 2)
    faint = page.copy()
    faint[20:40, 84:90][faint[20:40, 84:90] < 100] = 120
    sharp, softer, fainter = (
        np.asarray(cv2.GaussianBlur(each, (0, 0), blur), np.uint8)
        for each, blur in [(page, sigma), *((each, np.hypot(sigma, 0.6)) for each in (page, faint))]
    )
    precision = Precision(1.0, np.full(1, 0.3, np.float32))
    assert exact_difference(sharp, softer, AT_FULL, precision).max() == 0
    assert exact_difference(sharp, fainter, AT_FULL, precision).max() > 20


@pytest.fixture(scope="module")
def page() -> Bgr:
    """Draw a page as a browser would: no noise, and smoothed text."""
    picture = np.full((480, 640, 3), 250, np.uint8)
    cv2.rectangle(picture, (0, 0), (639, 40), (150, 90, 30), cv2.FILLED)
    for row in range(10):
        line = (
            f"Entry {row}: {1000 + 37 * row} pieces, order {row * 91 % 17:02d}-{row * 53 % 97:02d}"
        )
        place = (40, 80 + 38 * row)
        cv2.putText(
            picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 50, 40), 1, cv2.LINE_AA
        )
    return picture


def changed_page(page: Bgr, change: str) -> tuple[Bgr, Box]:
    """Return a page with a change, and where it is."""
    picture = page.copy()
    line = slice(219, 240)  # of the text "Entry 4"
    if change == "moved by 3 px":
        picture[line] = np.roll(page[line], 3, axis=1)
        return picture, Box(40, 219, 290, 21)
    if change == "halved":
        picture[219:229, 120:200] = 250
        return picture, Box(120, 219, 80, 10)
    if change == "recoloured":
        picture[line, 120:200, 2] = np.minimum(page[line, 120:200, 2].astype(int) + 50, 250)
        return picture, Box(120, 219, 80, 21)
    icon = picture[224:236, 122:131]  # a digit, upside down
    picture[224:236, 122:131] = icon[::-1, ::-1].copy()
    return picture, Box(122, 224, 9, 12)


@pytest.mark.parametrize("resolution", [FULL, AUTO])
@pytest.mark.parametrize("change", ["moved by 3 px", "halved", "recoloured", "turned over"])
def test_changes_of_screenshots_are_found(page: Bgr, change: str, resolution: Any) -> None:
    """Pixels of a digital copy do not jitter: shots by a camera would have hidden these."""
    other, place = changed_page(page, change)
    found = compared(page, other, replace(PRESETS[1], resolution=resolution))
    assert found.alignment is not None
    assert (found.alignment.matrix == np.eye(3)).all()
    assert found.differences
    unequal = (page != other).any(axis=2)
    for difference in found.differences:
        x, y, width, height = difference.on2.box
        assert place.x - 2 <= x
        assert x + width <= place.x + place.width + 2
        assert place.y - 2 <= y
        assert y + height <= place.y + place.height + 2
        assert unequal[y : y + height, x : x + width].any()


def test_specks_all_over_a_screenshot_are_no_noise(page: Bgr) -> None:
    other = page.copy()
    for x, y in ((5, 5), (5, 6), (6, 5), (6, 6)):
        other[y::7, x::7] = (0, 0, 255)
    assert align_copies(page, other, gray_of(page), gray_of(other)) is not None
    assert compared(page, other).differences


def test_what_is_equal_to_the_bit_is_no_difference(page: Bgr) -> None:
    """A large part in another colour does not change how the rest is compared."""
    other = page.copy()
    cv2.rectangle(other, (0, 0), (639, 40), (20, 30, 200), cv2.FILLED)
    [difference] = compared(page, other).differences
    assert difference.on1.box == Box(0, 0, 640, 41)
