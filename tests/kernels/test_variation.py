"""What good shots teach: lighter, darker, chroma and edges; and which shot is not like them."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ltu_compute.cancellation import Cancelled, cancellable
from ltu_compute.kernels.differences import (
    PRESETS,
    Comparison,
    ComparisonSettings,
    Learnt,
    Recorder,
    Tolerance,
    compare,
)
from ltu_compute.kernels.differences.difference_map import range_within
from ltu_compute.kernels.differences.tolerance import CHROMA, DARKER, EDGE, LIGHTER
from ltu_compute.kernels.types import Bgr, Size
from ltu_compute.kernels.variation import Variation, drawn, learned, map_size, most_typical

WIDTH, HEIGHT = 320, 240
WHOLE = PRESETS[1]
FINE = replace(PRESETS[1], resolution="full")


def part(*spots: tuple[int, int, tuple[int, int, int]], edge: int = 0, seed: int = 0) -> Bgr:
    """Draw a part with texture, a dark bar that is wider by some px, and spots of 24 px.

    The bar has no ends: corners that move apart could also be those of a tall part, seen nearer.
    """
    rng = np.random.default_rng(3)
    coarse = rng.integers(90, 150, (HEIGHT // 16, WIDTH // 16, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(25):
        x, y = int(rng.integers(8, 150)), int(rng.integers(8, HEIGHT - 8))
        cv2.circle(picture, (x, y), int(rng.integers(3, 7)), (40, 40, 40), -1)
    cv2.rectangle(picture, (170 - edge, 0), (188 + edge, HEIGHT), (30, 30, 30), -1)
    shifted = picture.astype(np.float32)
    for x, y, change in spots:
        shifted[y - 12 : y + 12, x - 12 : x + 12] += change
    shifted += np.random.default_rng(seed).normal(0, 1, shifted.shape)
    return np.asarray(np.clip(np.rint(shifted), 0, 255), np.uint8)


def compared(shot: Bgr, settings: ComparisonSettings, learnt: Learnt | None) -> Comparison:
    size = Size(WIDTH, HEIGHT)
    found = compare(part(), shot, settings, size1=size, size2=size, learnt=learnt)
    assert found is not None
    return found


def taught(shots: Sequence[Bgr], settings: ComparisonSettings) -> Variation:
    notes = []
    for shot in shots:
        recorder = Recorder(map_size(Size(WIDTH, HEIGHT), WIDTH, len(shots)))
        compared(shot, settings, recorder)
        notes.append(recorder.seen)
    return learned(notes, settings.threshold * 8)


def boxes(found: Comparison) -> list[tuple[int, int]]:
    """Return the middles of differences."""
    each = [d.on1.box for d in found.differences]
    return sorted((box.x + box.width // 2, box.y + box.height // 2) for box in each)


BRIGHT, DARK, RED = (45, 45, 45), (-45, -45, -45), (-40, -20, 70)
LAMP = 240, 120  # where a reflection lies in some good shots


@pytest.mark.parametrize("settings", [WHOLE, FINE], ids=["whole", "fine"])
def test_what_good_shots_show_is_no_difference_and_all_else_is(
    settings: ComparisonSettings,
) -> None:
    shots = [part((*LAMP, BRIGHT), seed=n) if n % 2 else part(seed=n) for n in range(1, 5)]
    learnt = taught(shots, settings)
    assert learnt.odd == ()
    tolerance = learnt.tolerance
    y, x = (
        round(at * side / whole)
        for at, side, whole in zip(LAMP[::-1], tolerance.map.shape, (HEIGHT, WIDTH), strict=False)
    )
    there = tolerance.map[y, x]
    assert there[LIGHTER] > 30
    assert there[DARKER] < 10
    assert tolerance.map[y, 4].max() < 10
    other = part((*LAMP, BRIGHT), seed=9)
    assert len(compared(other, settings, None).differences) == 1
    assert len(compared(other, settings, tolerance).differences) == 0
    # Darker or redder there, or lighter elsewhere, was never seen.
    for change in (DARK, RED):
        assert len(compared(part((*LAMP, change), seed=9), settings, tolerance).differences) == 1
    elsewhere = part((*LAMP, BRIGHT), (80, 60, BRIGHT), seed=9)
    assert boxes(compared(elsewhere, settings, tolerance)) == [pytest.approx((80, 60), abs=4)]


def test_displacements_of_edges_are_learnt() -> None:
    strict = replace(FINE, edge_tolerance=0.0)  # else 3 px at an edge are no difference
    tolerance = taught([part(edge=n, seed=n) for n in (1, 3, 3)], strict).tolerance
    assert tolerance.map[HEIGHT // 2, 188:192, EDGE].max() >= 32
    assert tolerance.map[HEIGHT // 2, 300:, EDGE].max() == 0
    assert len(compared(part(edge=3, seed=9), strict, None).differences) >= 1
    assert len(compared(part(edge=2, seed=9), strict, tolerance).differences) == 0
    assert len(compared(part((192, 100, RED), edge=2, seed=9), strict, tolerance).differences) == 1


@pytest.mark.parametrize("radius", [24, 25, 26.5, 40, 61, 10**9])
def test_the_range_within_any_radius(radius: float) -> None:
    values = np.random.default_rng(1).random((30, 50, 3)).astype(np.float32)
    low, high = range_within(values, radius)
    square = np.ones((2 * min(int(radius), 50) + 1,) * 2, np.uint8)
    around = np.ones((3, 3), np.uint8)
    part = radius % 1
    least, most = cv2.erode(values, square), cv2.dilate(values, square)
    least = (1 - part) * least + part * cv2.erode(least, around)
    most = (1 - part) * most + part * cv2.dilate(most, around)
    np.testing.assert_allclose(low, least, rtol=1e-5)
    np.testing.assert_allclose(high, most, rtol=1e-5)


def test_a_map_of_a_px_that_allows_any_displacement() -> None:
    anywhere = Tolerance(np.full((1, 1, 4), 255, np.uint8))
    assert not compared(part((80, 60, BRIGHT), seed=4), WHOLE, anywhere).differences


def test_a_tolerance_of_nothing_changes_nothing() -> None:
    nothing = Tolerance(np.zeros((HEIGHT, WIDTH, 4), np.uint8))
    shot = part((80, 60, BRIGHT), seed=4)
    for settings in (WHOLE, FINE):
        with_it, without = (compared(shot, settings, each) for each in (nothing, None))
        assert with_it.score == without.score
        assert np.array_equal(with_it.difference_map, without.difference_map)


def test_a_bad_shot_among_the_good_is_found_out() -> None:
    shots = [part(seed=n) for n in range(1, 5)]
    shots[2] = part((80, 160, BRIGHT), seed=3)
    learnt = taught(shots, WHOLE)
    assert learnt.odd == (2,)
    x, y = learnt.places[2]
    assert (x * WIDTH, y * HEIGHT) == pytest.approx((80, 160), abs=6)
    bad = part((80, 160, BRIGHT), seed=9)
    assert len(compared(bad, WHOLE, learnt.tolerance).differences) == 1


def test_the_most_typical_picture_is_nearest_to_the_median() -> None:
    pictures = [part(seed=1), part((80, 60, BRIGHT), seed=2), part((240, 60, DARK), seed=3)]
    assert most_typical(pictures) == 0


def test_a_map_is_bounded_and_checked() -> None:
    assert map_size(Size(4000, 3000), 4000, 5) == (1024, 768)
    assert max(map_size(Size(4000, 3000), 4000, 50)) < 700
    assert map_size(Size(4000, 3000), 400, 50) == (400, 300)
    for wrong in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 1025, 4), np.uint8)):
        with pytest.raises(ValueError, match="map of tolerances"):
            Tolerance(wrong)
    with pytest.raises(ValueError, match="notes"):
        learned([], 5.0)


def test_a_drawn_map_shows_where_and_what() -> None:
    learnt = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    learnt[50:70, 50:70, LIGHTER] = learnt[50:70, 150:170, DARKER] = 200
    learnt[50:70, 250:270, CHROMA] = 200
    shown = drawn(Tolerance(learnt), part()).astype(int)
    colours = [shown[60, x].argmax() for x in (60, 160, 260)]
    assert colours == [2, 0, 1]  # red, blue, green
    faint = shown[200, 60]
    assert faint.min() == faint.max() > 120


def test_learning_ends_where_nobody_waits_for_it() -> None:
    notes = [Recorder(Size(8, 6)).seen] * 2
    learned(notes, 1.0)
    with cancellable(lambda: True), pytest.raises(Cancelled):
        learned(notes, 1.0)
