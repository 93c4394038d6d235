"""The benchmarks measure what they say: pairs, scores and reports with known answers."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import report
from benchmarks.accuracy import (
    boards,
    differences,
    drawn_sets,
    pairs,
    peers,
    photographs,
    specimens,
    variation,
)
from benchmarks.accuracy.composed import COMPOSED
from benchmarks.accuracy.differences import Found, Score, score, summary
from benchmarks.accuracy.pairs import LEVELS, STRAINS, Defect, Pair, Rect, bounds
from benchmarks.accuracy.photographs import Photograph
from ltu_compute.kernels.types import Box, Size

SEED = 5
LONGEST = 800


@pytest.fixture(autouse=True)
def drawn_photographs(tmp_path_factory, monkeypatch):
    """Three textures stand for the photographs, which would be fetched; all is half as large."""
    available = _drawn(tmp_path_factory.getbasetemp() / "photographs")
    monkeypatch.setattr(pairs, "LONGEST", LONGEST)
    monkeypatch.setattr(pairs, "photographs", lambda _chosen: list(available))


@cache
def _drawn(folder: Path) -> tuple[Photograph, ...]:
    folder.mkdir(exist_ok=True)
    made = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(40, 216, (30, 40, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (700, 525), interpolation=cv2.INTER_CUBIC)
        path = folder / f"texture{seed}.png"
        assert cv2.imwrite(str(path), picture)
        made.append(Photograph(path.stem, path))
    return tuple(made)


@cache
def photograph_pair(level: str, index: int, seed: int = SEED) -> Pair:
    return pairs.photograph_pair("tuning", level, index, seed)


# --- pairs -------------------------------------------------------------------------------------


def test_the_two_sets_share_no_photograph():
    tuning, benchmark = (
        {
            (package, path)
            for package, paths in photographs.SOURCES[chosen].items()
            for path in paths
        }
        for chosen in ("tuning", "benchmark")
    )
    assert tuning
    assert benchmark
    assert not tuning & benchmark


@pytest.mark.parametrize("level", LEVELS)
def test_same_seed_same_pair_and_another_seed_another(level):
    first = pairs.photograph_pair("tuning", level, 1, SEED)
    again = pairs.photograph_pair("tuning", level, 1, SEED)
    other = pairs.photograph_pair("tuning", level, 1, SEED + 1)
    assert (first.name, first.image1, first.image2) == (again.name, again.image1, again.image2)
    assert first.image2 != other.image2


def test_photographs_take_turns():
    names = [photograph_pair("still", index).name.rpartition("-")[2] for index in range(6)]
    assert sorted(names[:3]) == sorted(names[3:]) == ["texture0", "texture1", "texture2"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("index", range(3))
def test_images_are_of_the_stated_size(level, index):
    pair = photograph_pair(level, index)
    assert max(pair.size) == LONGEST
    for image in (pair.image1, pair.image2):
        assert pairs.decoded(image).shape == (pair.size.height, pair.size.width, 3)
    assert np.array_equal(pair.homography, np.eye(3)) == (level == "still")


@pytest.mark.parametrize("level", LEVELS)
def test_pixels_changed_within_the_defects_and_nowhere_else(level):
    """The same pair without its defects differs from it where the truth says, on image 2."""
    seen = 0
    for index in range(4):
        pair, clean = photograph_pair(level, index), _without_defects(level, index)
        assert np.array_equal(pair.homography, clean.homography)
        assert pair.image1 == clean.image1
        gap = cv2.absdiff(pairs.decoded(pair.image2), pairs.decoded(clean.image2)).max(axis=2)
        inside = np.zeros(gap.shape, np.uint8)
        for defect in pair.defects:
            alone = np.zeros(gap.shape, np.uint8)
            cv2.fillPoly(alone, [np.rint(defect.on2).astype(np.int32).reshape(-1, 1, 2)], 255)
            changed = np.argwhere((gap > 12) & (alone > 0))[:, ::-1]
            left, top, right, bottom = bounds(defect.on2)
            # Every side of the truth is reached by pixels that changed, to a block of JPEG.
            extent = (*changed.min(axis=0), *changed.max(axis=0))
            assert extent == pytest.approx((left, top, right, bottom), abs=16)
            inside |= alone
            seen += 1
        # A block of JPEG (16 px where colour is halved) and the lens's blur reach beyond.
        around = cv2.dilate(inside, np.ones((45, 45), np.uint8))
        assert gap[around == 0].max(initial=0) <= 4
    assert seen >= 3


def _without_defects(level: str, index: int) -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        put = pairs._Shot.put

        def forgotten(shot, *arguments, **settings):
            before = shot.picture
            done = put(shot, *arguments, **settings)
            shot.clean = getattr(shot, "clean", before)
            return done

        taken = pairs._Shot.taken

        def cleaned(shot, *arguments):
            shot.picture = getattr(shot, "clean", shot.picture)
            return taken(shot, *arguments)

        patch.setattr(pairs._Shot, "put", forgotten)
        patch.setattr(pairs._Shot, "taken", cleaned)
        return pairs.photograph_pair("tuning", level, index, SEED)


@pytest.mark.parametrize("level", LEVELS)
def test_the_homography_maps_truth_from_image_to_image(level):
    for index in range(4):
        pair = photograph_pair(level, index)
        for defect in pair.defects:
            ones = np.ones((len(defect.on1), 1))
            mapped = np.hstack([defect.on1, ones]) @ pair.homography.T
            assert mapped[:, :2] / mapped[:, 2:] == pytest.approx(defect.on2, abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_defects_are_visible_apart_and_on_both_images(level):
    for index in range(4):
        pair = photograph_pair(level, index)
        assert len(pair.defects) <= 3
        rects = [bounds(defect.on1) for defect in pair.defects]
        for one, first in enumerate(rects):
            for second in rects[one + 1 :]:
                gap_x = max(first.left, second.left) - min(first.right, second.right)
                gap_y = max(first.top, second.top) - min(first.bottom, second.bottom)
                assert max(gap_x, gap_y) >= 30
        for defect in pair.defects:
            for polygon in (defect.on1, defect.on2):
                assert (polygon >= 0).all()
                assert (polygon <= np.array(pair.size) - 1).all()


@pytest.mark.parametrize("kind", COMPOSED)
def test_composed_subjects_are_drawn_anew_and_alike(kind):
    first, second = COMPOSED[kind](np.random.default_rng(1))
    again, _ = COMPOSED[kind](np.random.default_rng(1))
    other, _ = COMPOSED[kind](np.random.default_rng(2))
    assert first.shape == (1200, 1600, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first, second) == (kind != "glossy part")  # its highlights move


def test_discs_have_the_stated_diameters_and_contrast():
    pair = pairs.disc_pair("tuning", 20.0, 0, SEED)
    assert [float(defect.kind) for defect in pair.defects] == list(pairs.CURVE_DIAMETERS)
    for defect in pair.defects:
        left, top, right, bottom = bounds(defect.on1)
        assert right - left == pytest.approx(float(defect.kind) / 100 * LONGEST, abs=2)
        assert bottom - top == pytest.approx(float(defect.kind) / 100 * LONGEST, abs=2)


@pytest.mark.parametrize("gray", [40, 128, 230])
@pytest.mark.parametrize("delta_e", [6.0, 40.0])
def test_contrast_is_as_stated(gray, delta_e):
    flat = np.full((200, 200, 3), gray, np.uint8)
    change = pairs._disc(flat, (100.0, 100.0), 60.0, delta_e)
    lightness = [
        cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 0]
        for picture in (flat[:1, :1], change.pixels)
    ]
    middle = len(change.pixels) // 2
    assert abs(lightness[1][middle, middle] - lightness[0][0, 0]) == pytest.approx(delta_e, abs=0.4)
    assert np.count_nonzero(change.mask) == pytest.approx(np.pi * 30**2, rel=0.05)
    nothing = (change.pixels == gray).all(axis=2)
    assert np.count_nonzero(~nothing) == pytest.approx(np.pi * 30**2, rel=0.05)


def test_no_disc_beyond_the_gamut_or_the_picture():
    assert pairs._disc(np.full((200, 200, 3), 255, np.uint8), (100.0, 100.0), 60.0, 115.0) is None
    assert pairs._disc(np.full((200, 200, 3), 128, np.uint8), (10.0, 100.0), 60.0, 20.0) is None


def test_strained_pairs_hold_what_they_are_named_for():
    made = {kind: pairs.strained_pair("tuning", kind, 0, SEED) for kind in STRAINS}
    assert {kind: len(pair.defects) for kind, pair in made.items()} == {
        "warp": 0,
        "border": 0,
        "dots": 60,
        "specks": 24,
        "lines": 4,
        "defects": 3,
    }
    border = made["border"]
    gap = cv2.absdiff(pairs.decoded(border.image1), pairs.decoded(border.image2)).max(axis=2)
    assert gap[17:-17, 17:-17].max() < 40  # to a block of JPEG, noise
    for strip in (gap[:9], gap[-9:], gap[:, :9], gap[:, -9:]):
        assert strip.max() > 60
    with pytest.raises(ValueError, match="none of warp"):
        pairs.strained_pair("tuning", "ghosts", 0, SEED)


# --- scores ------------------------------------------------------------------------------------


def _square(x: float, y: float, side: float) -> np.ndarray:
    """Hull of the pixels of a square: centres of its corner pixels."""
    last = side - 1
    return np.array([[x, y], [x + last, y], [x + last, y + last], [x, y + last]], np.float64)


# 1000 px: a defect's box is widened by 10 px. One defect of 100 px, one of 40 px.
TRUTH = Pair(
    name="drawn",
    image1=b"",
    image2=b"",
    homography=np.eye(3),
    defects=(
        Defect("large", _square(200, 200, 100), _square(200, 200, 100)),
        Defect("small", _square(600, 600, 40), _square(600, 600, 40)),
    ),
    size=Size(1000, 800),
)


def _box(x: float, y: float, width: float, height: float) -> Found:
    rect = Rect(x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)
    return Found(rect, rect)


LARGE, SMALL = _box(200, 200, 100, 100), _box(600, 600, 40, 40)


@pytest.mark.parametrize(
    ("boxes", "found", "false"),
    [
        ([], (False, False), 0),
        ([LARGE, SMALL], (True, True), 0),
        ([_box(20, 20, 50, 50)], (False, False), 1),  # meets nothing
        ([_box(190, 190, 60, 60)], (True, False), 0),  # 3600 of 14400: a quarter
        ([_box(190, 190, 59, 59), SMALL], (True, True), 0),  # less, but all of it lies within
        ([_box(110, 200, 100, 100)], (False, False), 0),  # touches: neither found nor false
        ([_box(600, 600, 220, 200)], (False, False), 1),  # 44000 > 12 · 3600
        ([_box(600, 600, 220, 200), LARGE], (True, False), 1),
        ([_box(600, 600, 207, 208)], (False, True), 0),  # 43056 < 12 · 3600: covers it
        ([_box(200, 200, 10, 10)] * 3, (True, False), 0),  # three fragments of one
        ([_box(200, 200, 10, 10)] * 5, (True, False), 2),  # the fourth and fifth
        ([_box(200, 200, 440, 440)], (False, False), 1),  # one box for both, larger than 12 times
    ],
)
def test_score_knows_right_from_wrong(boxes, found, false):
    reached = score(TRUTH, boxes)
    assert reached.hits == (("large", found[0]), ("small", found[1]))
    assert reached.false == false
    assert reached.reported == len(boxes)


def test_edges_are_measured_on_both_images_by_the_box_that_fits_best():
    off = Found(Rect(199.5, 189.5, 299.5, 299.5), Rect(199.5, 199.5, 304.5, 299.5))
    reached = score(TRUTH, [_box(200, 200, 20, 20), off])
    assert reached.errors1 == pytest.approx((0.010,))
    assert reached.errors2 == pytest.approx((0.005,))


def test_pair_without_defects():
    empty = replace(TRUTH, defects=())
    assert score(empty, []) == Score(0, 0)
    assert score(empty, [LARGE]).false == 1


def test_summary_of_known_scores():
    scores = [
        Score(2, 0, (("a", True), ("b", True)), (0.002, 0.02), (0.004, 0.01)),
        Score(3, 2, (("a", True), ("b", False)), (0.006,), (0.002,)),
        Score(0, 0),
        Score(1, 1),
    ]
    # 3 of 4 found, 3 false: F1 = 6 / (3 + 4 + 3).
    assert summary("g", "m", scores) == (
        "g",
        "m",
        *(pytest.approx(v) for v in (0.6, 0.75, 0.5, 0.5, 0.5, 2 / 3, 1.0)),
        "0.60",
        "1.86",
    )
    assert np.isnan(summary("g", "m", [Score(0, 0)])[2:5]).all()


def test_specimens_of_a_part_differ_and_only_bad_ones_have_defects():
    part = specimens.part("tuning", "perforated", "still", 0, SEED, good=1, bad=1)
    (good,), (bad,) = part.good, part.bad
    assert not good.defects
    assert 1 <= len(bad.defects) <= 3
    assert good.image1 != good.image2 != bad.image2


def test_table_of_known_variation():
    task = variation.Task("label", "still", 0, report.options("x", arguments=[]))
    good = {"one reference": [Score(3, 3), Score(0, 0)], "five good shots": [Score(0, 0)] * 2}
    hits = (("mark", True), ("scratch", False))
    bad = {method: [Score(2, 1, hits)] for method in good}
    lines = variation.rows([("all", [variation.Measured(task, good, bad, 5)])]).splitlines()
    assert lines[2:] == [
        "| all | one reference | 2 | 1.500 | 0.500 | 0.500 | 1.000 |",
        "| all | five good shots | 2 | 0.000 | 0.000 | 0.500 | 1.000 |",
    ]


def test_tables_of_known_scores():
    """Counts by preset, recall by kind and curves stand under the right headings."""

    def measured(group, scores):
        return differences.Measured(differences.Task(group, 0, photograph_pair, ()), scores)

    counts = differences._counts(
        measured(kind, {name: Score(row + column, 0) for column, name in enumerate(PRESET_NAMES)})
        for row, kind in enumerate(STRAINS)
    ).splitlines()
    assert (
        counts[0]
        == "| pairs with | preset 1 | preset 2 | preset 3 | preset 4 | preset 5 | in truth |"
    )
    assert counts[3] == "| border | 1.0 | 2.0 | 3.0 | 4.0 | 5.0 | 0.0 |"

    hits = (("stain", True), ("stain", False), ("mark", True))
    recalls = differences._recall_by_kind(
        [measured("shift", {differences.OURS: Score(1, 0, hits)})]
    )
    assert recalls.splitlines()[0] == "| recall of | missing | foreign | scratch | stain | mark |"
    assert recalls.splitlines()[2] == "| shift | - | - | - | 0.500 | 1.000 |"

    found = {6.0: 2.0, 10.0: 1.0, 20.0: 0.5, 40.0: 0.25}  # the smallest disc found by contrast
    curves = differences._curves(
        measured(f"{delta_e:g}", {name: Score(0, 0, _hits(smallest)) for name in DISC_NAMES})
        for delta_e, smallest in found.items()
    ).splitlines()
    assert curves[2] == "| 400 px | 6 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 1.00 | 1.00 | 1.00 |"
    assert curves[9] == "| 900 px | 40 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |"
    assert len(curves) == 10


PRESET_NAMES = [f"ltu-compute, preset {number}" for number in range(1, 6)]
DISC_NAMES = ["ltu-compute, preset 1", "ltu-compute, preset 1 at 900 px"]


def _hits(smallest: float) -> tuple[tuple[str, bool], ...]:
    return tuple((str(percent), percent >= smallest) for percent in pairs.CURVE_DIAMETERS)


# --- peers -------------------------------------------------------------------------------------


def test_flagged_pixels_become_boxes():
    mask = np.zeros((1200, 1600), np.uint8)
    mask[400:480, 800:880] = 255
    mask[400:480, 900:980] = 255  # 20 px beside: within 12 cells of 4 px
    mask[::40, ::40] = 255  # noise
    mask[1000:1008, 100:108] = 255  # four cells: too few
    assert peers.boxes(mask) == [Box(800, 400, 180, 80)]
    assert peers.boxes(np.zeros((3, 5), np.uint8)) == []


def test_peers_flag_what_differs_and_nothing_else():
    rng = np.random.default_rng(3)
    image1 = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3)).astype(np.uint8), (0, 0), 2)
    image2 = image1.copy()
    image2[100:140, 200:260] = 255
    for flag in (peers.absdiff, peers.ssim):
        assert not flag(image1, image1).any()
        assert [tuple(box) for box in peers.boxes(flag(image1, image2))] == [
            pytest.approx((200, 100, 60, 40), abs=6)
        ]


def test_orb_peer_aligns():
    rng = np.random.default_rng(3)
    image1 = cv2.resize(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8), (1600, 1200))
    matrix = np.array([[0.999, -0.03, 30.0], [0.03, 0.999, -20.0], [0.0, 0.0, 1.0]])
    image2 = cv2.warpPerspective(image1, matrix, (1600, 1200))
    found = peers.orb_homography(image1, image2)
    corners = np.array([[[0, 0], [1599, 0], [1599, 1199], [0, 1199]]], np.float64)
    error = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, matrix)
    assert np.abs(error).max() < 10
    flat = np.full_like(image1, 128)
    assert np.array_equal(peers.orb_homography(flat, flat), np.eye(3))


# --- reports -----------------------------------------------------------------------------------


def test_sections_are_replaced_exactly():
    document = "# Title\n\ntext\n"
    one = report.with_section(document, "one", "## One\n\n1")
    both = report.with_section(one, "two", "## Two\n\n2")
    assert one == "# Title\n\ntext\n\n<!-- begin one -->\n## One\n\n1\n<!-- end one -->\n"
    assert both == one + "\n<!-- begin two -->\n## Two\n\n2\n<!-- end two -->\n"
    assert report.with_section(both, "one", "## One\n\n1") == both
    assert report.with_section(both, "one", "## New") == both.replace("## One\n\n1", "## New")


@pytest.mark.parametrize(
    "document",
    [
        "<!-- begin a -->\n",
        "<!-- end a -->\n",
        "<!-- end a -->\n<!-- begin a -->\n",
        "<!-- begin a -->\n<!-- begin a -->\n<!-- end a -->\n",
    ],
)
def test_broken_marks_are_refused(document):
    with pytest.raises(ValueError, match="not marked by one begin and one end"):
        report.with_section(document, "a", "## A")


def test_published_section_tells_its_conditions(tmp_path, capsys):
    readme = tmp_path / "README.md"
    asked = report.options("x", arguments=["--set", "tuning", "--pairs", "3", "--seed", "9"])
    section = report.publish("a", "## A\n\nnumbers", asked, versions={"odiff": "1"}, readme=readme)
    assert section.startswith("## A\n\n20")
    assert section.endswith("\n\nnumbers")
    assert "odiff 1. Photographs `tuning`, pairs 3, seed 9." in section
    assert section in capsys.readouterr().out
    assert not readme.exists()
    report.publish("a", "## A\n\nnumbers", replace(asked, write=True), readme=readme)
    report.publish("a", "## A\n\nothers", replace(asked, write=True), readme=readme)
    written = readme.read_text("utf-8")
    assert written.startswith("# Benchmarks\n")
    assert "others\n<!-- end a -->\n" in written
    assert "numbers" not in written


@pytest.mark.parametrize("arguments", [["--pairs", "0"], ["--set", "holidays"], ["--jobs", "-1"]])
def test_wrong_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        report.options("x", arguments=arguments)
    assert arguments[0] in capsys.readouterr().err


def test_table():
    written = report.table(("a", "b"), [("x", 0.12345), (1, float("nan"))])
    assert written == "| a | b |\n| --- | --- |\n| x | 0.123 |\n| 1 | - |"
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        report.table(("a", "b"), [("x",)])


def test_contact_sheet():
    red = np.full((100, 50, 3), (0, 0, 255), np.uint8)
    sheet = report.contact_sheet([("a", red)] * 3, columns=2, tile=Size(40, 40))
    assert sheet.shape == (2 * 60, 80, 3)
    assert (sheet[20:60, :20] == (0, 0, 255)).all()  # 100 x 50 reduced to 40 x 20
    assert (sheet[20:60, 20:40] == 96).all()
    assert (sheet[60:, 40:] == 96).all()
    assert report.contact_sheet([]).shape == (340, 1920, 3)


def test_contact_sheet_is_saved(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    report.save_contact_sheet(path, [("a", np.zeros((5, 5, 3), np.uint8))])
    assert cv2.imread(str(path)).shape == (340, 1920, 3)


def test_a_board_scores_each_box_of_people_once() -> None:
    """Boxes are grown by 10 px before they are compared, not before it is asked what they touch."""
    truth = np.array([[100, 100, 140, 140], [300, 300, 340, 340]], np.float64)
    boxes = np.array(
        [
            [110, 110, 130, 130],  # grown, just the first one
            [105, 105, 135, 135],  # the same once more
            [342, 300, 350, 340],  # 2 px beside the second: grown, it overlaps too little
            [500, 500, 510, 510],
        ],
        np.float64,
    )
    assert boards.score(boxes, truth) == boards.Counts(1, 4, 2, 1, 2)
    assert boards.score(boxes[:0], truth) == boards.Counts(0, 0, 2, 0, 0)


# --- sets to train on ----------------------------------------------------------------------------


def test_drawn_classes_are_in_their_boxes():
    """Without noise and other shapes, the boxes hold all that is not the background."""
    tuning, benchmark = drawn_sets.FAMILIES["tuning"], drawn_sets.FAMILIES["benchmark"]
    assert not {family.name for family in tuning} & {family.name for family in benchmark}
    for family in (*tuning, *benchmark):
        scenes = drawn_sets.scenes(family, np.random.default_rng(3), 6)
        again = drawn_sets.scenes(family, np.random.default_rng(3), 6)
        assert 6 <= sum(len(scene.boxes) for scene in scenes) <= 7
        for scene, other in zip(scenes, again, strict=True):
            assert np.array_equal(scene.picture, other.picture)
            assert len(scene.boxes) >= 1
        canvas = np.zeros((240, 320, 3), np.uint8)
        family.shape(canvas, 150, 100, 30, (200, 180, 160))
        rows, columns = np.nonzero(canvas.max(axis=2))
        left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
        assert np.abs(np.array([left, top, right, bottom]) - (118, 68, 182, 132)).max() <= 2
        for part in family.others:
            plain = np.zeros_like(canvas)
            part(plain, 150, 100, 30, (200, 180, 160))
            assert not np.array_equal(plain, canvas), "the others lack a part"
