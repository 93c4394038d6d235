"""``ltu-compute teach``: recipes with a tolerance that good shots taught."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ltu_compute.cli import main
from ltu_compute.errors import BadParameters
from ltu_compute.image.encoding import png
from ltu_compute.jobs import recipe as recipes
from ltu_compute.kernels.differences import Tolerance
from ltu_compute.operations import teaching
from ltu_compute.recognisers import part_features
from tests.support import inspections

pytestmark = pytest.mark.waits

IMAGES = Path(__file__).parents[1] / "fixtures" / "images"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def lit(seed: int, *, lamp: bool, bad: bool = False) -> bytes:
    """Return a good shot, or a bad one, with a reflection where a lamp is on."""
    content = inspections.bad(2) if bad else inspections.good(seed)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).astype(float)
    if lamp:
        picture[85:105, 110:140] += 60
    return png(np.asarray(np.clip(picture, 0, 255), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that four good shots taught; a bad and a broken one among them."""
    made = tmp_path_factory.mktemp("teach")
    good = made / "good"
    good.mkdir()
    for number in range(4):
        (good / f"{number}.png").write_bytes(lit(number, lamp=number % 2 == 1))
    (good / "bad.png").write_bytes(lit(7, lamp=False, bad=True))
    (good / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = run("teach", good, "--out", made / "part.json", "--map", made / "map.png")
    assert found.exit_code == 1, found.output
    assert "left out" in found.output
    assert "bad.png: differs from the others in" in found.output
    assert "broken.png: " in found.output
    assert "taught by 4 good shots" in found.output
    return made


def changed(folder: Path, **values: Any) -> Path:
    named = json.loads((folder / "part.json").read_bytes()) | values
    path = folder / "changed.json"
    path.write_text(json.dumps(named))
    return path


def test_batches_by_the_recipe_pass_what_was_learnt_and_nothing_else(folder: Path) -> None:
    named = json.loads((folder / "part.json").read_bytes())
    jsonschema.validate(named, recipes.schema())
    shots = folder / "shots"
    shots.mkdir()
    (shots / "lit.png").write_bytes(lit(20, lamp=True))
    (shots / "scratched.png").write_bytes(lit(21, lamp=True, bad=True))
    untaught = changed(folder, tolerance=None)
    for recipe, verdicts in ((folder / "part.json", ["OK", "NG"]), (untaught, ["NG", "NG"])):
        out = folder / f"out-{recipe.stem}"
        run("inspect", "--recipe", recipe, shots, "--out", out, "--jobs", "1")
        assert [row["verdict"] for row in inspections.results(out)] == verdicts, recipe
        page = (out / "report.html").read_text()
        picture = base64.b64encode((folder / "map.png").read_bytes()).decode()
        assert (picture in page) == (recipe == folder / "part.json")


@pytest.mark.parametrize(("turned", "resolution"), [(False, "full"), (True, 400)])
def test_the_resolution_is_full_only_if_shots_hardly_moved(
    tmp_path: Path, turned: bool, resolution: int | str
) -> None:
    for name in ("reference", "good"):
        read = cv2.imread(str(IMAGES / f"part-{name}.jpg"), cv2.IMREAD_REDUCED_COLOR_2)
        picture = read[::-1, ::-1] if turned and name == "good" else read
        (tmp_path / f"{name}.png").write_bytes(png(np.ascontiguousarray(picture)))
    found = run("teach", tmp_path, "--out", tmp_path / "part.json")
    assert found.exit_code == 0, found.output
    taught = json.loads((tmp_path / "part.json").read_bytes())
    assert taught["settings"]["resolution"] == resolution


def test_the_tolerance_is_shown(folder: Path) -> None:
    shown = run("recipe", "show", folder / "part.json", "--map", folder / "again.png")
    assert "tolerance  taught by 4 good shots" in shown.output
    assert (folder / "again.png").read_bytes() == (folder / "map.png").read_bytes()
    picture = cv2.imread(str(folder / "again.png")).astype(int)
    assert picture[95, 125, 2] - picture[95, 125, 0] > 30  # red: lighter
    without = run("recipe", "show", changed(folder, tolerance=None), "--map", folder / "x.png")
    assert without.exit_code == 1
    assert "no tolerance" in without.output


def test_a_recipe_is_taught_again_with_its_own_reference(folder: Path) -> None:
    regions = [{"name": "left", "polygon": [[0, 0], [80, 0], [80, 120], [0, 120]]}]
    path = changed(folder, regions=regions, tolerance=None)
    found = run("teach", folder / "good" / "[0-2].png", "--recipe", path, "--out", path)
    assert found.exit_code == 0, found.output
    named = json.loads(path.read_bytes())
    assert [each["name"] for each in named["regions"]] == ["left"]
    assert named["reference"] == json.loads((folder / "part.json").read_bytes())["reference"]
    assert named["tolerance"]["good_shots"] == 3
    again = run("teach", folder / "good", "--recipe", path, "--out", path, "--preset", "2")
    assert again.exit_code == 2
    assert "leave out --preset" in again.output


def test_a_tolerance_that_does_not_belong_is_refused(folder: Path) -> None:
    learnt = json.loads((folder / "part.json").read_bytes())["tolerance"]

    def reason(**values: Any) -> str:
        found = run("recipe", "check", changed(folder, **values))
        assert found.exit_code == 1, found.output
        return found.output

    assert "other settings: teach again" in reason(settings={"preset": 1, "resolution": 300})
    assert "not that of the map" in reason(
        tolerance=learnt | {"map": learnt["map"] | {"sha256": "0" * 64}}
    )
    picture = png(np.zeros((5, 4), np.uint8))
    other = {
        "data": base64.b64encode(picture).decode(),
        "sha256": hashlib.sha256(picture).hexdigest(),
    }
    assert "four maps" in reason(tolerance=learnt | {"map": other})


def test_every_shot_is_learnt_where_that_is_asked_for(folder: Path) -> None:
    out = folder / "all.json"
    found = run(
        "teach",
        folder / "good" / "[0-2b]*d.png",
        folder / "good" / "[0-2].png",
        "--out",
        out,
        "--keep-all",
    )
    assert found.exit_code == 0, found.output
    assert json.loads(out.read_bytes())["tolerance"]["good_shots"] == 4


def test_too_few_or_too_many_good_shots_are_refused(folder: Path) -> None:
    one = run("teach", folder / "good" / "0.png", "--out", folder / "x.json")
    assert one.exit_code == 2
    assert "2 to 50 are needed" in one.output
    many = run("teach", *[folder / "good" / "0.png"] * 51, "--out", folder / "x.json")
    assert "51 good shots" in many.output
    same = run("teach", *[folder / "good" / "0.png"] * 2, "--out", folder / "x.json")
    assert "no other shot" in same.output


def test_a_tolerance_comes_back_from_its_file() -> None:
    given = np.random.default_rng(5).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    again = teaching.loaded(teaching.dumped(Tolerance(given)))
    assert isinstance(again, Tolerance)
    assert np.array_equal(again.map, given)
    maps = given[:28]  # of a size that four maps have
    for wrong in (
        b"",
        bytes(teaching.MAP_BYTES + 1),
        png(np.zeros((4 * 1025, 8), np.uint8)),
        png(np.zeros((12, 8, 3), np.uint8)),  # in colour: specimens, of which it names none
        png(np.full((12, 8, 3), 5, np.uint8)),
        cv2.imencode(".jpg", maps[..., 0])[1].tobytes(),
        cv2.imencode(".png", maps[..., 0].astype(np.uint16))[1].tobytes(),
        png(maps),  # with transparency
    ):
        with pytest.raises(BadParameters, match="tolerance"):
            teaching.loaded(wrong)


def test_features_need_their_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --features, a lesson is learnt without it."""
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(tmp_path))
    part_features.models.cache_clear()
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(lit(number, lamp=False))
    found = run("teach", *tmp_path.glob("*.png"), "--out", tmp_path / "part.json", "--features")
    part_features.models.cache_clear()
    assert found.exit_code == 2
    assert "run `ltu-compute models install part-features`" in found.output
