"""Recipes: the format, the command, and batches by them."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ltu_compute.cli import main
from ltu_compute.errors import BadParameters
from ltu_compute.image import Image
from ltu_compute.image.encoding import png
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.inspection import Inspector, Options, Source, Task
from ltu_compute.jobs.limits import Limits, PlacementLimits, is_inside
from ltu_compute.jobs.prepared_recipes import PreparedRecipe
from ltu_compute.jobs.recipe import RecipeLimits
from tests.support import inspections
from tests.support.client import ROOT

pytestmark = pytest.mark.waits

SCHEMA = ROOT / "docs" / "recipe-1.schema.json"
SQUARE = [[10, 10], [60, 10], [60, 60], [10, 60]]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a reference, shots (the third is bad) and a recipe."""
    inspections.batch(tmp_path, 3)
    made = run("recipe", "make", tmp_path / "reference.png", "--out", tmp_path / "recipe.json")
    assert made.exit_code == 0, made.output
    return tmp_path


def recipe_in(folder: Path, **changed: Any) -> dict[str, Any]:
    """Return the recipe, changed; it is written, too."""
    path = folder / "recipe.json"
    named: dict[str, Any] = json.loads(path.read_bytes()) | changed
    path.write_text(json.dumps(named))
    return named


def test_a_recipe_is_made_checked_and_shown(folder: Path) -> None:
    named = recipe_in(folder)
    content = (folder / "reference.png").read_bytes()
    assert named["reference"] == {
        "path": "reference.png",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert named["settings"] == {"preset": 1, "resolution": "auto"}
    jsonschema.validate(named, recipes.schema())
    assert run("recipe", "check", folder / "recipe.json").exit_code == 0
    shown = run("recipe", "show", folder / "recipe.json").output
    assert "160 x 120 px" in shown
    assert "0 differences" in shown


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-area", "nan", "not a finite number"),
        ("--max-displacement", "inf", "not a finite number"),
        ("--max-turn", "181", "181"),
        ("--name", "a\nb", "name: "),
        ("--px-per-mm", "1e-9", "px_per_mm: "),
    ],
)
def test_a_recipe_that_cannot_be_made_says_why(
    folder: Path, option: str, value: str, words: str
) -> None:
    made = run(
        "recipe", "make", folder / "reference.png", "--out", folder / "no.json", option, value
    )
    assert made.exit_code in (1, 2)
    assert isinstance(made.exception, SystemExit), "no traceback"
    assert words in made.output


def test_a_recipe_may_hold_its_picture(folder: Path) -> None:
    made = run(
        "recipe", "make", folder / "reference.png", "--embed", "--out", folder / "whole.json"
    )
    assert made.exit_code == 0, made.output
    (folder / "reference.png").unlink()
    found = run("inspect", "--recipe", folder / "whole.json", folder / "shots")
    assert found.exit_code == 1, found.output
    assert "2 OK, 1 NG, 0 ERROR" in found.output


def test_a_recipe_may_be_for_the_part_alone(tmp_path: Path) -> None:
    """The part of 100 x 60 px is dark, before a light ground; the region is 2 to 4 px off it."""
    picture = np.full((300, 400, 3), 200, np.uint8)
    picture[120:180, 150:250] = 40
    (tmp_path / "dark.png").write_bytes(png(picture))
    arguments = ["recipe", "make", tmp_path / "dark.png", "--object", "--out", tmp_path / "r.json"]
    made = run(*arguments)
    assert made.exit_code == 0, made.output
    (region,) = recipes.load(tmp_path / "r.json").regions
    assert (region.name, region.use) == ("object", "include")
    corners = np.array(region.polygon)
    assert corners.min(axis=0) == pytest.approx([146, 116], abs=2)
    assert corners.max(axis=0) == pytest.approx([253, 183], abs=2)
    assert run("recipe", "check", tmp_path / "r.json").exit_code == 0
    by = [each for each in arguments if each != "--object"] + ["--object-by", "sobel"]
    assert "--object-by needs --object" in run(*by).output
    comb = np.full((400, 1000, 3), 200, np.uint8)
    comb[190:210, 20:980] = 40
    comb[20:380, 24:980:26] = comb[20:380, 25:980:26] = comb[20:380, 26:980:26] = 40
    (tmp_path / "dark.png").write_bytes(png(comb))
    assert run(*arguments).exit_code == 0
    (region,) = recipes.load(tmp_path / "r.json").regions
    assert 4 <= len(region.polygon) <= 200  # at 1 % off it would have 300
    for shade, words in ((0, "no object stands out"), (160, "fills the picture")):
        picture[:] = 200
        picture[3:-3, 3:-3] -= np.uint8(shade)
        (tmp_path / "dark.png").write_bytes(png(picture))
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert words in refused.output


def test_the_schema_of_the_documentation_is_current(update_golden: bool) -> None:
    text = json.dumps(recipes.schema(), indent=2, ensure_ascii=False) + "\n"
    if update_golden:
        SCHEMA.write_text(text)
    assert SCHEMA.read_text() == text


WHOLE: dict[str, Any] = {
    "version": 1,
    "name": "part",
    "reference": {"path": "part.jpg", "data": None, "sha256": "0" * 64},
    "settings": {
        "preset": 1,
        "threshold": 1.5,
        "smooth": 0,
        "margin": 0,
        "resolution": 400,
        "use_hsv": False,
        "min_area_percent": 0.1,
        "edge_tolerance": 1,
    },
    "regions": [
        {"name": "a", "use": "include", "polygon": SQUARE, "limits": {"max_area_mm2": 1}},
        {"name": "b", "use": "ignore", "polygon": SQUARE, "limits": None},
    ],
    "limits": {
        **dict.fromkeys(RecipeLimits.model_fields, 1),
        "max_area_mm2": None,
        "max_displacement_mm": None,
    },
    "px_per_mm": 10,
    "tolerance": {
        "method": "variation-1",
        "good_shots": 5,
        "reference_sha256": "0" * 64,
        "learnt_with": {"resolution": 400, "use_hsv": False, "edge_tolerance": 1},
        "map": {"path": None, "data": "eA==", "sha256": "0" * 64},
    },
}
VALUES: list[Any] = [
    True,
    False,
    None,
    0,
    1,
    1.0,
    1.5,
    -1,
    33.0,
    5e4,
    1e11,
    "",
    "1",
    "1.5",
    "true",
    "full",
]
VALUES += ["ignore", "A" * 64, "0" * 64, "x" * 256, [], {}, [1], [1, 2], [[1, 2]] * 3, {"x": 1}]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values of a JSON text, those that hold others included."""
    if path:
        yield path
    within = dict(enumerate(node)) if isinstance(node, list) else node
    if isinstance(within, dict):
        for key, value in within.items():
            yield from places(value, (*path, key))


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """Return the whole recipe with another value at a place, or without it."""
    found = node = copy.deepcopy(WHOLE)
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return found


def test_reading_agrees_with_the_schema() -> None:
    """Whatever value is anywhere: what the schema allows is read, and nothing else.

    No schema can say that names differ, that corners enclose something, or that a tolerance was
    learnt with other settings.
    """
    schema = jsonschema.Draft202012Validator(recipes.schema())
    accepted = 0
    for path in [*places(WHOLE), ("note",)]:
        if any(isinstance(part, int) and part > 0 for part in path):
            continue  # regions and corners are alike: the first one does
        for value in [*VALUES, ...] if path != ("note",) else [1]:
            named = changed(path, value)
            message = ""
            try:
                recipes.parsed(json.dumps(named))
                accepted += 1
            except BadParameters as error:
                message = str(error)
            if re.search("teach again|same name|enclose nothing", message):
                continue
            assert schema.is_valid(named) == (not message), f"{path} = {value!r}: {message}"
    assert accepted > 100


LEARNT = {
    "method": "variation-1",
    "good_shots": 5,
    "reference_sha256": "0" * 64,
    "learnt_with": {"resolution": 400, "use_hsv": False, "edge_tolerance": 1.0},
    "map": {"path": "map.png", "sha256": "0" * 64},
}
WRONG = {
    "of another version": ({"version": 2}, "version"),
    "with an unknown key": ({"note": {}}, "note: no such key\n"),
    "with a misspelt key": (
        {"regions": [{"name": "a", "polygon": SQUARE, "limits": {"maxCount": 1}}]},
        "regions.0.limits.maxCount: no such key, did you mean max_count?",
    ),
    "with another picture": (
        {"reference": {"path": "reference.png", "sha256": "0" * 64}},
        "sha256",
    ),
    "without a picture": ({"reference": {"sha256": "0" * 64}}, "either path or data"),
    "with a picture that is missing": (
        {"reference": {"path": "none.png", "sha256": "0" * 64}},
        "none.png",
    ),
    "of no base64": ({"reference": {"data": "?", "sha256": "0" * 64}}, "base64"),
    "of signs beyond ASCII": ({"reference": {"data": "é", "sha256": "0" * 64}}, "base64"),
    "with a scale whose square is 0": ({"px_per_mm": 1e-200}, "px_per_mm"),
    "with a line for a region": ({"regions": [{"name": "a", "polygon": SQUARE[:2]}]}, "polygon"),
    "with corners in one line": (
        {"regions": [{"name": "a", "polygon": [[10, 10], [60, 60], [20, 20.01], [35, 35]]}]},
        "regions.0: the corners are in one line and enclose nothing\n",
    ),
    "with two regions of one name": ({"regions": [{"name": "a", "polygon": SQUARE}] * 2}, "name"),
    "with a region beyond": (
        {"regions": [{"name": "far", "polygon": [[0, 0], [999, 0], [0, 9]]}]},
        "far",
    ),
    "with limits of what is ignored": (
        {"regions": [{"name": "a", "use": "ignore", "polygon": SQUARE, "limits": {}}]},
        "ignored",
    ),
    "with mm and no scale": ({"limits": {"max_area_mm2": 2}}, "px_per_mm"),
    "with a way in mm and no scale": ({"limits": {"max_displacement_mm": 2}}, "px_per_mm"),
    "with more than half a turn": ({"limits": {"max_turn_degrees": 181}}, "max_turn_degrees"),
    "with a placement of a region": (
        {"regions": [{"name": "a", "polygon": SQUARE, "limits": {"max_turn_degrees": 1}}]},
        "max_turn_degrees",
    ),
    "with a tolerance of another method": ({"tolerance": LEARNT | {"method": "x"}}, "method"),
    "with the tolerance of another reference": ({"tolerance": LEARNT}, "another reference"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_a_recipe_that_is_wrong_is_refused_by_name(folder: Path, case: str) -> None:
    changed, word = WRONG[case]
    recipe_in(folder, **changed)
    found = run("recipe", "check", folder / "recipe.json")
    assert found.exit_code == 1
    assert word in found.output


@pytest.mark.parametrize(
    ("more", "key"),
    [('"name": "b"', "name"), ('"limits": {"max_count": 1, "max_count": 5}', "max_count")],
)
def test_a_key_that_is_there_twice_is_refused(more: str, key: str) -> None:
    reference = json.dumps({"path": "a.png", "sha256": "0" * 64})
    text = f'{{"version": 1, "name": "a", "reference": {reference}, {more}}}'
    with pytest.raises(BadParameters, match=f"recipe: the key {key} is there twice"):
        recipes.parsed(text)


@pytest.mark.parametrize(
    "polygon",
    [[[0, 0], [1, 0], [1, 1]], [[0, 0], [9, 9], [9, 0], [0, 9]], [[1e5, 0], [-1e5, 0], [0, 1]]],
)
def test_a_thin_or_crossing_region_is_allowed(polygon: list[list[float]]) -> None:
    recipes.Region(name="a", polygon=polygon)


def test_batches_use_reference_regions_and_limits(folder: Path) -> None:
    """The bad shot has a square of 18 px at 46, 34: within, beside, allowed in a region."""

    def verdicts(**changed: Any) -> str:
        recipe_in(folder, **changed)
        out = folder / f"out{len(list(folder.iterdir()))}"
        found = run("inspect", "--recipe", folder / "recipe.json", folder / "shots", "--out", out)
        assert found.exit_code in (0, 1), found.output
        return str(inspections.results(out)[2]["reason"])

    around = {"name": "label", "polygon": [[40, 28], [72, 28], [72, 60], [40, 60]]}
    assert verdicts() == "1 difference, at most 0 allowed"
    assert verdicts(regions=[around | {"use": "ignore"}]) == ""
    whole = {"name": "all", "polygon": [[0, 0], [160, 0], [160, 120], [0, 120]]}
    assert verdicts(regions=[around | {"limits": {"max_count": 1}}, whole]) == ""
    strict = verdicts(
        regions=[around | {"limits": {"max_area_mm2": 1}}, whole],
        limits={"max_count": 5},
        px_per_mm=10,
    )
    assert strict.startswith("label: area ")
    assert strict.endswith("mm², at most 1 mm² allowed")


def slid(*, turn: float, scale: float, by: tuple[float, float], resolution: int = 1) -> Image:
    """Return a shot whose part is turned clockwise, larger and displaced."""
    picture = Image.from_bytes(inspections.good(), max_pixels=10**6).full()
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -turn, scale)
    matrix[:, 2] += by
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    size = (resolution * width, resolution * height)
    moved = cv2.resize(moved, size, interpolation=cv2.INTER_CUBIC)
    return Image.from_bytes(png(np.asarray(moved, np.uint8)), max_pixels=10**6)


@pytest.mark.parametrize("resolution", [1, 2])
def test_a_part_that_slid_is_named(folder: Path, resolution: int) -> None:
    """Distances are those of the reference, whatever the resolution of the shot."""
    shot = slid(turn=3, scale=1.02, by=(6, -8), resolution=resolution)
    reference = Image.from_bytes((folder / "reference.png").read_bytes(), max_pixels=10**6)

    def reason(**limits: float) -> str:
        named = recipe_in(folder, limits={"max_count": 9} | limits, px_per_mm=10)
        found = PreparedRecipe.of(recipes.of(named), reference).inspect(shot, "shot")
        assert found.displacement_px == pytest.approx(10, abs=0.5)
        assert found.turn_degrees == pytest.approx(3, abs=0.2)
        assert found.scale_percent == pytest.approx(102, abs=0.5)
        return found.reason

    assert reason() == ""
    allowed = {"max_displacement_px": 11.0, "max_turn_degrees": 3.5, "max_scale_percent": 3.0}
    assert reason(**allowed) == ""
    far = reason(**allowed, max_displacement_mm=0.8)
    assert re.fullmatch(r"displacement [\d.]+ mm, at most 0.8 mm allowed", far)
    strict = reason(max_turn_degrees=2, max_scale_percent=1)
    assert re.fullmatch(
        r"turn [\d.]+°, at most 2° allowed; scale off by [\d.]+ %, at most 1 % allowed", strict
    )
    shot_file = folder / "slid.png"
    shot_file.write_bytes(shot.content)
    limits = Limits(9, placement=PlacementLimits(turn_degrees=2))
    inspector = Inspector(Options(limits=limits))
    task = Task(Source(str(folder / "reference.png")), Source(str(shot_file)))
    outcome = inspector.inspect(task)
    assert outcome.inspection is not None
    assert outcome.inspection.reason.startswith("turn ")
    assert outcome.closeups.startswith(b"\xff\xd8"), "the whole pictures, beside each other"
    shown = run("recipe", "show", folder / "recipe.json").output
    assert "9 differences, turn 2°, scale off by 1 %" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-turn", "2", "shots"], "leave out --max-turn"),
        (["--preset", "2", "shots"], "leave out --preset"),
        (["--max-count", "1", "--region", "x.png", "shots"], "leave out --region, --max-count"),
        ([], "name the shots"),
    ],
)
def test_a_recipe_has_its_own_answers(folder: Path, arguments: list[str], words: str) -> None:
    found = run("inspect", "--recipe", folder / "recipe.json", *arguments)
    assert found.exit_code == 2
    assert words in found.output


@pytest.mark.parametrize(
    ("point", "inside"),
    [((20, 20), True), ((5, 20), False), ((61, 20), False), ((20, 59), True), ((20, 61), False)],
)
def test_points_in_a_polygon(point: tuple[float, float], inside: bool) -> None:
    assert is_inside(point, [(x, y) for x, y in SQUARE]) is inside


def test_one_shot_is_compared_by_a_recipe(folder: Path) -> None:
    """Reference, regions, settings and limits are the recipe's; what contradicts it is refused."""
    around = {"name": "label", "polygon": [[40, 28], [72, 28], [72, 60], [40, 60]]}
    recipe_in(folder, regions=[around], limits={"max_count": 1}, settings={"preset": 2})
    recipe, shot = folder / "recipe.json", folder / "shots" / "shot-002.png"
    found = run("ltu", "differences", "--recipe", recipe, shot)
    assert found.exit_code == 0, found.output
    info = json.loads(found.output)["details"]["info"]
    assert info["recipe"] == {"name": "reference", "verdict": "OK", "reason": ""}
    assert info["count"] == 1
    assert info["compared"] == pytest.approx(32 * 32 / (160 * 120), rel=0.2)
    assert run("differences", folder / "reference.png", shot, "--recipe", recipe).exit_code == 0

    recipe_in(folder, limits={})
    verdict = json.loads(run("differences", shot, "--recipe", recipe).output)["details"]["info"][
        "recipe"
    ]
    assert verdict["verdict"] == "NG"
    assert verdict["reason"] == "1 difference, at most 0 allowed"
    for arguments, words in (
        ((shot, shot), "not that of the picture"),
        ((shot, "--preset", "1"), "preset: leave it out"),
        ((shot, "--fic-settings", "{}"), "fic_settings: leave it out"),
        ((), "Missing argument 'IMAGE2'"),
    ):
        refused = run("differences", *arguments, "--recipe", recipe)
        assert refused.exit_code != 0
        assert words in refused.output + str(refused.exception), refused.output
    assert "Missing argument 'IMAGE2'" in run("differences", shot).output
