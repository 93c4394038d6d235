"""A part that moved in its place is a difference; the ground around it and a bent sheet are not."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.kernels.alignment.parallax import find_parallax
from ltu_compute.kernels.differences import FULL, PRESETS, Difference, compare
from ltu_compute.kernels.differences.displacement import bent_by, matchable
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.homography import map_points, size_of
from ltu_compute.kernels.resizing import gray_of
from ltu_compute.kernels.types import Bgr, Size

SIZE = Size(400, 300)


def ground(kind: str) -> Bgr:
    """Draw a panel with a rim, screws and print; it is plain, grained or printed all over."""
    rng = np.random.default_rng(3)
    picture = np.full((SIZE.height, SIZE.width, 3), (130, 132, 128), np.uint8)
    if kind == "grained":
        grain = cv2.GaussianBlur(rng.normal(0, 30, picture.shape[:2]), (0, 0), 1.5)
        picture = np.clip(picture + grain[..., None], 0, 255).astype(np.uint8)
    if kind == "printed":
        for x, y, angle in rng.uniform((0, 0, 0), (400, 300, np.pi), (300, 3)):
            end = (round(x + 30 * np.cos(angle)), round(y + 30 * np.sin(angle)))
            cv2.line(picture, (round(x), round(y)), end, (60, 90, 190), 2, cv2.LINE_AA)
    cv2.rectangle(picture, (15, 15), (385, 285), (60, 60, 60), 2)
    for x in range(50, 390, 100):
        for y in (35, 265):
            screw(picture, (x, y), 16, 30)
    cv2.putText(picture, "LOT 48213-7", (60, 235), 0, 0.5, (240, 240, 240), 1, cv2.LINE_AA)
    return picture


def screw(picture: Bgr, middle: tuple[float, float], size: int, angle_deg: float) -> None:
    """Draw a slotted head; places are exact to a sixteenth of a px."""
    x, y = middle
    along = 0.3 * size * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    first, centre, last = (
        (round(16 * (x + sign * along[0])), round(16 * (y + sign * along[1])))
        for sign in (-1, 0, 1)
    )
    cv2.circle(picture, centre, 8 * size, (70, 72, 75), cv2.FILLED, cv2.LINE_AA, 4)
    cv2.circle(picture, centre, 8 * size - 16, (195, 195, 200), 2, cv2.LINE_AA, 4)
    cv2.line(picture, first, last, (20, 20, 20), max(2, size // 10), cv2.LINE_AA, 4)


def label(picture: Bgr, middle: tuple[float, float], size: int, angle_deg: float) -> None:
    height, width = round(0.7 * size), size
    print_ = np.full((height, width, 3), (225, 230, 230), np.uint8)
    for row, text in enumerate(("AB7", "X3")):
        place = (size // 10, round(0.3 * size * (row + 1)))
        cv2.putText(print_, text, place, 0, size / 95, (40, 40, 40), 2, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle_deg, 1)
    turn[:, 2] += np.array(middle) - ((width - 1) / 2, (height - 1) / 2)
    covered = cv2.warpAffine(np.ones((height, width), np.float32), turn, SIZE)[..., None]
    seen = cv2.warpAffine(print_, turn, SIZE, borderMode=cv2.BORDER_REPLICATE)
    picture[:] = np.rint(covered * seen + (1 - covered) * picture)


def photographed(picture: Bgr, seed: int, moved_px: tuple[float, float] = (0, 0)) -> Bgr:
    x, y = moved_px
    turn = cv2.getRotationMatrix2D((SIZE.width / 2, SIZE.height / 2), 0.5 * (x != 0), 1)
    turn[:, 2] += x, y
    seen = cv2.warpAffine(picture, turn, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(cv2.GaussianBlur(seen, (0, 0), 0.6) + noise, 0, 255).astype(np.uint8)


def found_in(good: Bgr, shot: Bgr) -> tuple[Difference, ...]:
    settings = replace(PRESETS[1], resolution=FULL)
    found = compare(good, shot, settings, size1=size_of(good), size2=size_of(shot))
    assert found is not None
    return found.differences


MOVED = (3.4, -2.6)  # px, besides half a degree: the panel was laid anew
STILL = (0.0, 0.0)


@pytest.mark.parametrize(
    ("part", "size", "kind", "moved_px", "turned_deg", "camera_px"),
    [
        (screw, 20, "plain", (10, 0), 0, STILL),
        (screw, 44, "plain", (0, 5), 0, MOVED),
        (screw, 44, "grained", (3.5, 3.5), 0, STILL),
        (screw, 80, "plain", (7, 7), 0, MOVED),
        (screw, 80, "printed", (5, 0), 0, STILL),
        (screw, 80, "grained", (0, 0), 30, MOVED),
        (label, 44, "plain", (5, 0), 0, STILL),
        (label, 80, "printed", (0, 5), 0, MOVED),
        (label, 80, "grained", (0, 0), 10, STILL),
        (label, 120, "printed", (3.5, 3.5), 0, MOVED),
    ],
)
def test_a_part_that_moved_in_its_place_is_found(
    part: Callable[[Bgr, tuple[float, float], int, float], None],
    size: int,
    kind: str,
    moved_px: tuple[float, float],
    turned_deg: float,
    camera_px: tuple[float, float],
) -> None:
    """The part is where four patches meet, so that each of them shows it."""
    good, bad = ground(kind), ground(kind)
    part(good, (198, 122), size, 20)
    part(bad, (198 + moved_px[0], 122 + moved_px[1]), size, 20 + turned_deg)
    reference = photographed(good, 1)
    assert found_in(reference, photographed(good, 2, camera_px)) == ()
    boxes = [each.on1.box for each in found_in(reference, photographed(bad, 3, camera_px))]
    assert boxes
    reach = 0.75 * size + 10
    for x, y, width, height in boxes:
        assert abs(x + width / 2 - 198) < reach
        assert abs(y + height / 2 - 122) < reach


def test_a_large_part_is_not_what_the_panel_is_aligned_by() -> None:
    """Half of the patches show it, one over the other."""
    good, bad = ground("plain"), ground("plain")
    label(good, (230, 120), 130, 0)
    label(bad, (236, 120), 130, 0)
    grays = [gray_of(photographed(each, seed)) for seed, each in enumerate((good, bad))]
    alignment = align_settled(*grays)
    assert alignment is not None
    corners = np.array([[20, 20], [380, 20], [380, 280], [20, 280]], np.float64)
    assert map_points(corners, alignment.matrix) == pytest.approx(corners, abs=0.5)


def bent(size: Size, steepness: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a speckled sheet, and its shot that sinks to 6 px in the middle, 12 px around it."""
    rng = np.random.default_rng(5)
    width, height = size
    picture = rng.normal(128, 120, (height + 24, width + 24)).clip(0, 255).astype(np.uint8)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.uint8)
    rows, columns = np.mgrid[: height + 24, : width + 24].astype(np.float32)
    away = np.abs(columns - width / 2 - 12)
    sinks = np.clip(6 - steepness * np.maximum(0, away - 40), 0, 6)
    shot = cv2.remap(picture, columns, rows - sinks, cv2.INTER_LINEAR)
    return matchable(picture)[12:-12, 12:-12], matchable(np.asarray(shot, np.uint8))


@pytest.mark.parametrize(("steepness", "sinks"), [(0.07, True), (6.0, False)])
def test_a_bend_grows_and_a_part_that_moved_begins_at_once(steepness: float, sinks: bool) -> None:
    """Steepness is in px of displacement per px; with the second, a strip of 80 px moved."""
    shifts = bent_by(*bent(Size(420, 140), steepness), 12)
    assert ((0, 6) in shifts) == sinks
    assert sinks or shifts == []


@pytest.mark.parametrize("heights_px", [0.0, 5.0])
def test_one_rigid_part_is_no_parallax_of_a_camera_that_hardly_moved(heights_px: float) -> None:
    """Forty corners of a part of 60 px among 300 of the plane; or of things of various heights."""
    rng = np.random.default_rng(6)
    places = rng.uniform(0, 600, (300, 2))
    places = places[np.abs(places - 300).max(axis=1) > 40]
    on_part = rng.uniform(270, 330, (40, 2)) if not heights_px else rng.uniform(0, 600, (40, 2))
    away = rng.normal(0, 0.1, (len(places), 2))
    heights = 6 + heights_px * rng.uniform(-1, 1, (40, 1))
    shifts = np.vstack([away, heights * [0.8, 0.6] + rng.normal(0, 0.1, (40, 2))])
    places = np.vstack([places, on_part])
    assert find_parallax(places, shifts) is not None
    assert (find_parallax(places, shifts, several=True) is None) == (not heights_px)
