"""Colour, light and size are no difference; what is printed is."""

from dataclasses import replace
from functools import cache
from typing import Literal

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.differences import FULL, PRESETS, Comparison, ComparisonSettings, compare
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr

Color = tuple[int, int, int]

HUES: list[tuple[Color, Color]] = [  # blue, green, red: of print and of its ground
    ((150, 40, 20), (20, 210, 250)),
    ((60, 140, 30), (40, 30, 200)),
    ((60, 150, 30), (140, 20, 200)),
]
ALL = [PRESETS[1], PRESETS[4], replace(PRESETS[1], resolution=FULL)]
NAMES = ["preset 1", "preset 4", "full"]


def compared(one: Bgr, other: Bgr, settings: ComparisonSettings) -> Comparison:
    pictures = (reduced(each, settings.working_size(size_of(each))) for each in (one, other))
    found = compare(*pictures, settings, size1=size_of(one), size2=size_of(other))
    assert found is not None
    return found


def printed(color: Color, ground: Color, *, wrong: bool = False) -> Bgr:
    sheet = np.full((900, 1200, 3), ground, np.uint8)
    for row in range(6):
        line = "0417-2288-B SERIE"[: 17 - row]
        if wrong and row == 2:
            line = line.replace("2288", "2788")
        place, size = (90, 130 + 125 * row), 2.6 - 0.2 * row
        cv2.putText(sheet, line, place, cv2.FONT_HERSHEY_DUPLEX, size, color, 6, cv2.LINE_AA)
    return sheet


def stored(picture: Bgr) -> Bgr:
    """Write as a JPEG with half of the colours' resolution."""
    _, file = cv2.imencode(".jpg", picture)
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


@cache
def shots(color: Color, ground: Color) -> tuple[Bgr, Bgr, Bgr]:
    """Return a sheet, a shot of it by hand, and one of a sheet with a wrong letter."""
    good, wrong = (printed(color, ground, wrong=each) for each in (False, True))
    return good, by_hand(good, 1), by_hand(wrong, 1)


def by_hand(picture: Bgr, seed: int) -> Bgr:
    """Turn, blur in linear light, and write as a JPEG with half of the colours' resolution."""
    turn = cv2.getRotationMatrix2D((600, 450), 0.8, 1)
    turn[:, 2] += 1.3, -0.7
    seen = cv2.warpAffine(
        picture, turn, (1200, 900), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    light = cv2.GaussianBlur((seen / 255) ** 2.2, (0, 0), 0.6) ** (1 / 2.2) * 255
    grains = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return stored(np.clip(light + grains, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("settings", ALL, ids=NAMES)
@pytest.mark.parametrize(("color", "ground"), HUES)
def test_edges_of_two_hues_are_no_difference_and_a_wrong_letter_is_one(
    settings: ComparisonSettings, color: Color, ground: Color
) -> None:
    good, shot, wrong = shots(color, ground)
    assert compared(good, shot, settings).differences == ()
    if settings.min_area_percent:
        return  # which leaves out what is as small as a letter
    found = compared(good, wrong, settings).differences
    assert found
    assert all(300 < d.on1.box.y < 400 and d.on1.box.width < 60 for d in found)


@pytest.mark.parametrize("preset", [4, 5])
def test_the_area_of_a_letter_is_that_of_its_strokes(preset: int) -> None:
    """An 8 covers 733 px; the least area is 540 px, 0.05 percent of the sheet."""
    color, ground = HUES[0]
    good = printed(color, ground)
    text, font = "0417-2288-B SERIE", cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(good, text, (600, 830), font, 1.25, color, 5, cv2.LINE_AA)
    bad = good.copy()
    bad[800:836, 782:806] = ground
    cv2.circle(bad, (1060, 720), 11, color, cv2.FILLED)  # 380 px
    [letter] = compared(good, bad, PRESETS[preset]).differences
    assert 770 < letter.on1.box.x < 806


@pytest.mark.parametrize("resolution", [900, FULL])
def test_colours_of_half_the_resolution_are_no_difference(
    resolution: int | Literal["full"],
) -> None:
    """The reference's file has half of the colours' resolution, the shot's file all of it."""
    settings = replace(PRESETS[1], resolution=resolution)
    color, ground = HUES[0]
    good, wrong = (printed(color, ground, wrong=each)[300:600, 60:700] for each in (False, True))
    assert compared(stored(good), good, settings).differences == ()
    boxes = [each.on1.box for each in compared(stored(good), wrong, settings).differences]
    assert boxes
    assert max(box.x + box.width for box in boxes) - min(box.x for box in boxes) < 60


@pytest.mark.parametrize("settings", ALL, ids=NAMES)
@pytest.mark.parametrize("width", [160, 640])
def test_a_smaller_copy_of_fine_detail_does_not_differ(
    settings: ComparisonSettings, width: int
) -> None:
    rng = np.random.default_rng(3)
    detailed = np.full((1200, 1600, 3), (48, 92, 18), np.uint8)
    for number in range(120):
        x, y = (int(v) for v in rng.integers(20, (1540, 1160)))
        cv2.rectangle(detailed, (x, y), (x + 38, y + 14), (178, 192, 196), cv2.FILLED)
        cv2.rectangle(detailed, (x + 8, y + 1), (x + 30, y + 13), (30, 28, 28), cv2.FILLED)
        cv2.putText(detailed, f"R{number}", (x + 12, y - 4), 0, 0.4, (225, 228, 225), 1)
    small = cv2.resize(detailed, (width, 3 * width // 4), interpolation=cv2.INTER_AREA)
    found = compared(detailed, small, settings)
    assert found.differences == ()
    assert found.resolution <= width


@pytest.mark.parametrize("settings", ALL, ids=NAMES)
@pytest.mark.parametrize(("gain", "added"), [(1.0, 22), (1.0, -15), (0.8, 40)])
def test_light_that_is_added_everywhere_is_no_difference(
    settings: ComparisonSettings, gain: float, added: int
) -> None:
    """A tenth of the picture is copper: a fit that follows the ground must not leave it out.

    Tracks that are tinned in one place are a difference.
    """
    board = np.full((640, 640, 3), (40, 74, 34), np.uint8)
    for x in range(30, 620, 60):
        cv2.line(board, (x, 40), (x, 600), (80, 160, 196), 7)
    tinned = board.copy()
    place = tinned[260:380, 200:320]
    place[place[..., 2] > 100] = (190, 190, 180)
    noise = np.random.default_rng(1).normal(0, 2, (2, *board.shape))
    first = np.clip(board + noise[0], 0, 255).astype(np.uint8)
    veiled, bad = (
        np.clip(gain * each + added + noise[1], 0, 255).astype(np.uint8) for each in (board, tinned)
    )
    assert compared(first, veiled, settings).differences == ()
    boxes = [difference.on1.box for difference in compared(first, bad, settings).differences]
    assert boxes
    assert all(box.x >= 200 and box.x + box.width <= 320 for box in boxes)


@pytest.mark.parametrize("settings", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("middle", "radii", "gain"), [((950, 250), (420, 380), 1.1), ((560, 90), (300, 280), 1.3)]
)
def test_a_lamp_that_was_switched_on_is_light(
    settings: ComparisonSettings,
    middle: tuple[int, int],
    radii: tuple[int, int],
    gain: float,
) -> None:
    shots = [shot.copy() for shot in by_a_lamp(middle, radii, gain)]
    assert compared(*shots, settings).differences == ()
    for radius in (24, 130):  # a larger one is no cone of darkness
        cv2.circle(shots[1], (900, 300), radius, (40, 40, 40), cv2.FILLED)
        [spot] = compared(*shots, settings).differences
        assert spot.on1.box.x < 900 < spot.on1.box.x + spot.on1.box.width
    assert spot.on1.box.width > 230


@cache
def by_a_lamp(middle: tuple[int, int], radii: tuple[int, int], gain: float) -> list[Bgr]:
    """Draw a sheet of steel without and with a lamp."""
    y, x = np.mgrid[:900, :1200]
    grain = cv2.GaussianBlur(np.random.default_rng(9).normal(0, 1, (900, 1200)), (0, 0), 2) * 40
    bed = np.clip(72 + grain[..., None] + np.zeros(3), 0, 255).astype(np.uint8)
    cv2.rectangle(bed, (20, 20), (1180, 90), (160, 155, 150), cv2.FILLED)
    cv2.putText(bed, "STEEL SHEET", (420, 760), cv2.FONT_HERSHEY_DUPLEX, 1.5, (155, 152, 150), 3)
    away = ((x - middle[0]) / radii[0]) ** 2 + ((y - middle[1]) / radii[1]) ** 2
    cone = 1 + gain * np.exp(-away)
    noise = np.random.default_rng(1).normal(0, 3, (2, *bed.shape))
    dark, lit = 0.8 * bed, 0.8 * bed * cone[..., None] * (0.88, 1, 1.06)
    return [
        np.clip(shot + grains, 0, 255).astype(np.uint8)
        for shot, grains in zip((dark, lit), noise, strict=True)
    ]


@pytest.mark.parametrize("settings", [PRESETS[1], replace(PRESETS[1], resolution=FULL)])
def test_print_that_disappears_in_grey_is_aligned(settings: ComparisonSettings) -> None:
    """Green on a blue of the same luma (ITU-R BT.601), 82 of 255."""
    color, ground = (20, 123, 25), (213, 48, 98)
    gray = cv2.cvtColor(np.array([[color, ground]], np.uint8), cv2.COLOR_BGR2GRAY).astype(int)
    assert abs(gray[0, 0] - gray[0, 1]) <= 1
    sheet = printed(color, ground)
    found = compared(sheet, by_hand(sheet, 3), settings)
    assert found.aligned
    assert found.motion.turn_degrees == pytest.approx(-0.8, abs=0.1)


def thermal(seed: int, *, broken: bool = False) -> Bgr:
    """Draw thin dark violet wires and orange boxes on black, as thermal cameras colour them."""
    rng = np.random.default_rng(seed)
    scene = np.full((480, 640, 3), (4, 2, 4), np.uint8)
    for _ in range(14):
        top, bottom = (int(x) for x in rng.integers(0, 640, 2))
        cv2.line(scene, (top, 0), (bottom, 479), (110, 20, 70), 3, cv2.LINE_AA)
    for _ in range(5):
        x, y = int(rng.integers(60, 560)), int(rng.integers(60, 400))
        cv2.rectangle(scene, (x, y), (x + 50, y + 40), (0, 150, 250), cv2.FILLED)
        if broken:
            cv2.rectangle(scene, (x + 10, y + 8), (x + 34, y + 30), (0, 60, 120), cv2.FILLED)
    return scene


def by_thermal_camera(scene: Bgr, x: float, y: float, turn_degrees: float) -> Bgr:
    """Shoot at 320 x 240 px, as a JPEG with half of the colours' resolution."""
    affine = cv2.getRotationMatrix2D((320, 240), turn_degrees, 0.5)
    affine[:, 2] += x - 160, y - 120
    return stored(cv2.warpAffine(scene, affine, (320, 240), borderMode=cv2.BORDER_REFLECT))


@pytest.mark.parametrize(
    ("seed", "motion"), [(2, (1.5, 0.7, 0)), (3, (2.3, -1.6, 0.3)), (6, (1.5, 0.7, 0))]
)
def test_thin_lines_of_dark_colours_in_small_shots_are_no_difference(
    seed: int, motion: tuple[float, float, float]
) -> None:
    """At their own pixels, colours at half the resolution are not averaged out."""
    reference = by_thermal_camera(thermal(seed), 0, 0, 0)
    shot = by_thermal_camera(thermal(seed), *motion)
    assert compared(reference, shot, PRESETS[1]).differences == ()
    broken = by_thermal_camera(thermal(seed, broken=True), *motion)
    assert len(compared(reference, broken, PRESETS[1]).differences) >= 4
