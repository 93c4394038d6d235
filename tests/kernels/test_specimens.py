"""Good specimens that a shot is compared with, and what they show among themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.errors import BadParameters, NotInstalled
from ltu_compute.image import Image
from ltu_compute.image.encoding import png
from ltu_compute.kernels.differences import PRESETS, Specimens, Tolerance, compare
from ltu_compute.kernels.differences.features import Network
from ltu_compute.kernels.differences.regions import UNLIKE
from ltu_compute.kernels.differences.specimens import (
    LEAST_DISTANCE_STEPS,
    LEAST_SCORE,
    MOST,
    MOST_PIXELS,
    Specimen,
    drawn_specimens,
    learned_specimens,
)
from ltu_compute.kernels.types import Bgr, Box, Gray, Matrix, Size
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference, differences
from ltu_compute.recognisers import part_features
from tests.kernels.test_shape import pose, specimen

SHEEN, QUIET = (190, 85), (120, 190)  # where good specimens shine, and where they are alike
NONE = np.zeros((4, 5, 2), np.uint8)


def edges(picture: Bgr) -> tuple[NDArray[np.float32], ...]:
    """Return two maps of a drawn network: the blue channel, fine and coarse."""
    height, width = picture.shape[:2]
    sizes = ((max(1, width // 8), max(1, height // 8)), (max(1, width // 16), max(1, height // 16)))
    blue = picture[..., 0].astype(np.float32)
    found = [cv2.resize(blue, size, interpolation=cv2.INTER_AREA)[..., None] for size in sizes]
    return tuple(np.asarray(each, np.float32) for each in found)


EDGES = Network("5f" * 32, edges)


def shot(seed: int, at: Matrix, *, sheen: int, spot: tuple[int, int] | None = None) -> Image:
    """Draw a specimen with a sheen of its own, and perhaps a bright spot."""
    picture: Gray = specimen(seed)
    marks = np.zeros(picture.shape, np.float32)
    cv2.circle(marks, SHEEN, 9, float(sheen), -1)
    if spot is not None:
        cv2.circle(marks, spot, 9, 60.0, -1)
    lit = np.clip(picture + marks, 0, 255).astype(np.uint8)
    turned = cv2.warpPerspective(lit, at, picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return Image.from_bytes(png(np.asarray(turned, np.uint8)), max_pixels=10**6)


def test_specimens_teach_by_how_much_they_differ_among_themselves() -> None:
    poses = [pose(angle, 4, -6) for angle in (37, 141, 262)]
    shots = [shot(2 + n, at, sheen=(0, 70, 20)[n]) for n, at in enumerate(poses)]
    reference = shot(1, np.eye(3), sheen=40)
    taught = teaching.teach(3, lambda n: shots[n], PRESETS[1], reference=reference)
    lesson = taught.tolerance
    assert taught.left_out == ()
    assert isinstance(lesson, Specimens)
    assert len(lesson.pictures) == 3
    scores = lesson.usual_in(Size(320, 320)).scores
    assert scores[SHEEN[::-1]] > 2 * LEAST_SCORE
    assert scores[QUIET[::-1]] == pytest.approx(LEAST_SCORE)
    again = teaching.loaded(teaching.dumped(lesson))
    assert isinstance(again, Specimens)
    assert np.array_equal(again.usual, lesson.usual)
    assert np.array_equal(again.pictures, lesson.pictures)
    assert teaching.method_of(again) == "specimens-3"
    prepared = PreparedReference(reference, tolerance=again)

    def found(image: Image) -> list[tuple[int, int]]:
        each = (d.on1.box for d in differences(prepared, image, taught.settings).differences)
        return [(box.x + box.width // 2, box.y + box.height // 2) for box in each]

    assert found(shot(9, pose(100, 3, 3), sheen=80)) == []
    bad = shot(9, pose(100, 3, 3), sheen=80, spot=QUIET)
    assert found(bad) == [pytest.approx(QUIET, abs=5)]


def test_specimens_without_details_of_their_own_teach_a_tolerance() -> None:
    """A tolerance holds what they show, and hides less of a defect."""
    poses = [pose(angle, 4, -6) for angle in (37, 141)]
    shots = [shot(1, at, sheen=40) for at in poses]
    reference = shot(1, np.eye(3), sheen=40)
    taught = teaching.teach(2, lambda n: shots[n], PRESETS[1], reference=reference)
    assert isinstance(taught.tolerance, Tolerance)
    prepared = PreparedReference(reference, tolerance=taught.tolerance)
    bad = shot(1, pose(100, 3, 3), sheen=40, spot=QUIET)
    assert len(differences(prepared, bad, taught.settings).differences) == 1


def test_the_nearest_specimen_counts_for_each_neighbourhood() -> None:
    pictures = (np.full((40, 60, 3), 1, np.uint8), np.full((40, 60, 3), 2, np.uint8))
    asked: list[Box] = []

    def measured(picture: Bgr, place: Box) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        asked.append(place)
        return np.full((place.height, place.width), (0.0, 9.0, 4.0)[picture[0, 0, 0]], np.float32)

    lesson = Specimens(pictures, np.zeros((40, 60, 2), np.uint8))
    own = np.zeros((40, 60), np.float32)
    own[10:20, 10:20] = 6
    left = lesson.least(own, 2.4, measured)
    assert left[15, 15] == pytest.approx(4)
    assert left[30, 50] == 0
    assert asked[0] == asked[1]
    assert asked[0].width < 60
    assert lesson.least(np.zeros((40, 60), np.float32), 2.4, measured).max() == 0
    assert len(asked) == 2  # where nothing is suspect, nothing is measured again


@pytest.mark.parametrize(
    ("channels", "method"),
    [(2, "specimens-1"), (3, "specimens-2"), (4, "specimens-3"), (5, "specimens-4")],
)
def test_specimens_come_back_from_their_file(channels: int, method: str) -> None:
    rng = np.random.default_rng(3)
    usual = rng.integers(LEAST_DISTANCE_STEPS, 256, (7, 9, channels), dtype=np.uint8)
    usual[0, 0] = usual[0, 1]
    pictures = tuple(rng.integers(0, 256, (2, 7, 9, 3), dtype=np.uint8))
    network = EDGES if channels == 5 else None
    again = teaching.loaded(teaching.dumped(Specimens(pictures, usual, network)))
    assert isinstance(again, Specimens)
    assert np.array_equal(again.usual, usual)
    assert np.array_equal(again.pictures, pictures)
    assert teaching.method_of(again) == method
    if channels == 5:
        assert again.network is not None
        assert again.network.sha256 == EDGES.sha256
        again = replace(again, network=EDGES)
    shown = again.unlikeness(pictures[0], pictures[1])
    assert (shown is not None) == (channels > 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 300), (5, 9)])
def test_slivers_are_no_specimens(shape: tuple[int, int]) -> None:
    """They have no neighbourhoods, and nothing is left of them at the size they are sorted at."""
    pictures = np.random.default_rng(2).integers(0, 256, (5, *shape, 3), np.uint8)
    others = [Specimen(each, np.ones(shape, bool), 0) for each in pictures[1:]]
    assert (learned_specimens(pictures[0], others, PRESETS[1]) is None) == (min(shape) < 5)


@pytest.mark.parametrize("channel", [1, 2, 3, 4])
def test_a_file_of_usual_differences_of_nothing_is_refused(channel: int) -> None:
    """Differences are divided by the usual ones: with 0, results were no numbers."""
    usual = np.full((7, 9, max(3, channel + 1)), LEAST_DISTANCE_STEPS, np.uint8)
    usual[4, 4, channel] = 0
    network = EDGES if channel == 4 else None
    content = teaching.dumped(Specimens((np.zeros((7, 9, 3), np.uint8),), usual, network))
    with pytest.raises(BadParameters, match="usual strengths and distances are 1 to 255"):
        teaching.loaded(content)


@pytest.mark.parametrize("number", [1, 16, 17, 18, 27, 35, 49, 50, 255])
def test_a_file_of_another_number_of_blocks_is_refused(number: int) -> None:
    """With patches, the number is 16 more than there are: one map, pictures, and another map."""
    usual = np.full((36, 9, 4), LEAST_DISTANCE_STEPS, np.uint8)
    content = teaching.dumped(Specimens((np.zeros((36, 9, 3), np.uint8),), usual))
    pixels = Image.from_bytes(content, max_pixels=10**5).fit(108).copy()
    assert pixels[0, 0, 1] == 19
    pixels[0, 0, 1] = number
    with pytest.raises(BadParameters, match="not a map"):
        teaching.loaded(png(pixels))


def test_a_pattern_that_is_elsewhere_on_each_specimen_is_familiar_and_another_is_not() -> None:
    """Pixels of the same place differ by more than the defect does."""
    side = 240
    rows, columns = np.mgrid[:side, :side]

    def stripes(places: NDArray[Any], phase: float) -> Bgr:
        wave = 128 + 60 * np.sin(places / 2 + phase)
        return np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)

    everywhere = np.ones((side, side), bool)
    reference = stripes(columns, 0)
    others = [Specimen(stripes(columns, phase), everywhere, 0) for phase in (0.8, 2.1, 3.0, 4.4)]
    lesson = learned_specimens(reference, others, PRESETS[1])
    assert lesson is not None
    good = stripes(columns, 3.6)
    familiar = lesson.unlikeness(reference, good)
    assert familiar is not None
    assert familiar.max() < UNLIKE
    good[96:144, 96:144] = stripes(rows, 0)[96:144, 96:144]
    strange = lesson.unlikeness(reference, good)
    assert strange is not None
    assert np.unravel_index(strange.argmax(), strange.shape) == (
        pytest.approx(120, abs=24),
        pytest.approx(120, abs=24),
    )
    assert strange.max() > 2 * UNLIKE


def test_a_strict_comparison_finds_what_is_less_unlike() -> None:
    """A place of 0.8 times the limit counts once it is 1.5 times as unlike; pixels are equal."""
    reference = np.full((96, 96, 3), 120, np.uint8)
    usual = np.full((96, 96, 4), LEAST_DISTANCE_STEPS, np.uint8)
    lesson = Specimens((reference.copy(),), usual)
    seen = np.zeros((96, 96), np.float32)
    seen[40:60, 40:60] = 0.8 * UNLIKE
    counts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Specimens, "unlikeness", lambda *_: seen.copy())
        for strictness in (1.0, 1.5):
            settings = replace(PRESETS[1], strictness=strictness)
            size = Size(96, 96)
            found = compare(
                reference, reference.copy(), settings, size1=size, size2=size, learnt=lesson
            )
            assert found is not None
            counts.append(len(found.differences))
    assert counts == [0, 1]


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_a_map_of_zeros_allows_nothing_and_divides_by_nothing(channels: int) -> None:
    """Such a map may be stored from before it was refused; what was learnt has no value so low."""
    reference = np.full((60, 80, 3), 120, np.uint8)
    shot = reference.copy()
    shot[20:30, 20:40] = 250
    usual = np.zeros((60, 80, channels), np.uint8)
    lesson = Specimens((reference.copy(),), usual, EDGES if channels == 5 else None)
    size = Size(80, 60)
    found = compare(reference, shot, PRESETS[1], size1=size, size2=size, learnt=lesson)
    assert found is not None
    assert len(found.differences) == 1
    assert np.isfinite(found.difference_map).all()


def test_features_of_a_network_distinguish_what_pixels_do_not() -> None:
    """A network that reads a spot as ten times brighter makes it stranger, there alone."""
    side = 96
    rng = np.random.default_rng(5)
    pictures = np.asarray(rng.normal(120, 2, (5, side, side, 3)).clip(0, 255), np.uint8)
    everywhere = np.ones((side, side), bool)
    others = [Specimen(each, everywhere, 0) for each in pictures[1:]]
    shot = np.asarray(rng.normal(120, 2, (side, side, 3)).clip(0, 255), np.uint8)
    shot[40:64, 40:64] = 124

    def strange(picture: Bgr) -> tuple[NDArray[np.float32], ...]:
        marked = np.where(picture[40:64, 40:64].std() < 1, 40.0, 0.0)
        fine, coarse = edges(picture)
        fine[5:8, 5:8] += np.float32(marked)
        return fine, coarse

    def seen_with(network: Network | None) -> NDArray[np.float32]:
        lesson = learned_specimens(pictures[0], others, PRESETS[1], network)
        assert lesson is not None
        assert teaching.method_of(lesson) == ("specimens-3" if network is None else "specimens-4")
        seen = lesson.unlikeness(pictures[0], shot)
        assert seen is not None
        return seen

    without, with_features = seen_with(None), seen_with(Network("0a" * 32, strange))
    assert with_features[52, 52] > 1.5 * without[52, 52]
    assert with_features[52, 52] > 2 * np.delete(with_features, slice(24, 80), axis=0).max()


def test_a_lesson_names_the_model_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of another network, or of none, would be of other limits."""
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(tmp_path))
    part_features.models.cache_clear()
    usual = np.full((36, 40, 5), LEAST_DISTANCE_STEPS, np.uint8)
    black = np.zeros((36, 40, 3), np.uint8)
    lesson = teaching.loaded(teaching.dumped(Specimens((black,), usual, EDGES)))
    assert isinstance(lesson, Specimens)
    with pytest.raises(NotInstalled, match=r"part-features, SHA-256 5f5f5f5f5f5f…"):
        lesson.unlikeness(black, black + 9)
    part_features.models.cache_clear()


@pytest.mark.parametrize("channels", [4, 5])
def test_a_network_and_its_usual_distances_belong_together(channels: int) -> None:
    usual = np.ones((4, 5, channels), np.uint8)
    with pytest.raises(ValueError, match="have a network and its usual distances, or neither"):
        Specimens((np.zeros((4, 5, 3), np.uint8),), usual, EDGES if channels == 4 else None)


@pytest.mark.parametrize(
    ("pictures", "usual"),
    [
        ((), NONE),
        ((np.zeros((4, 5, 3), np.uint8),) * (MOST + 1), NONE),
        ((np.zeros((5, 4, 3), np.uint8),), NONE),
        ((np.zeros((4, 5, 3), np.float32),), NONE),
        ((np.zeros((1, MOST_PIXELS, 3), np.uint8),), np.zeros((1, MOST_PIXELS, 2), np.uint8)),
    ],
)
def test_wrong_specimens_are_refused(pictures: tuple[Bgr, ...], usual: Gray) -> None:
    with pytest.raises(ValueError, match="specimens"):
        Specimens(pictures, usual)


def test_scores_are_drawn_on_the_reference() -> None:
    usual = np.zeros((4, 5, 2), np.uint8)
    usual[:, :2] = 255
    shown = drawn_specimens(
        Specimens((np.zeros((4, 5, 3), np.uint8),), usual), np.full((8, 10, 3), 128, np.uint8)
    )
    assert shown.shape == (8, 10, 3)
    assert shown[4, 0].tolist() == [200, 0, 200]
    assert len(set(shown[4, 9].tolist())) == 1
