"""Batches: a verdict for each shot, results that survive a kill, a report that opens offline."""

import csv
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import cv2
import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result
from playwright.sync_api import Browser, Page

from ltu_compute.cli import main
from ltu_compute.cli.inspect import _options
from ltu_compute.dialects.inspections.jobs import InspectionParams
from ltu_compute.errors import BadParameters
from ltu_compute.jobs import batch, ledger, report
from ltu_compute.jobs.batch import Summary
from ltu_compute.jobs.inspection import Options, Outcome, Task, Verdict
from ltu_compute.jobs.ledger import DiskFull, FolderInUse, Ledger, ResultsExist
from ltu_compute.jobs.limits import Limits, Placement, PlacementLimits, broken_limits
from ltu_compute.jobs.process import MAX_ATTEMPTS, Failed, Pool
from ltu_compute.jobs.sources import Pair, Table, pairs_by_name, shots_of
from ltu_compute.settings import load
from tests.support import inspections
from tests.support.browser import new_page
from tests.support.inspections import lasting, results

pytestmark = pytest.mark.waits


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspections.batch(tmp_path_factory.mktemp("batch"), 6)


@pytest.fixture(scope="module")
def undisturbed(shots: Path) -> Path:
    """The results of a run that nobody disturbed."""
    out = shots.parent / "undisturbed"
    done = run(shots.parent / "reference.png", shots, "--out", out, "--jobs", "2")
    assert done.exit_code == 1, done.output
    return out


# Verdicts


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(), "2 differences, at most 0 allowed"),
        (Limits(count=1), "2 differences, at most 1 allowed"),
        (Limits(count=2), ""),
        (Limits(None, area_percent=3.0), ""),
        (Limits(None, area_percent=2.9), "area 3 %, at most 2.9 % allowed"),
        (Limits(None, strength=40.0), ""),
        (Limits(None, strength=39.5), "strength 40, at most 39.5 allowed"),
        (
            Limits(1, 2.0, 30.0),
            (
                "2 differences, at most 1 allowed; area 3 %, at most 2 % allowed; "
                "strength 40, at most 30 allowed"
            ),
        ),
        (Limits(2, placement=PlacementLimits(5.0, 2.0, 1.0)), ""),
        (
            Limits(2, placement=PlacementLimits(4.9, 1.9, 0.9)),
            (
                "displacement 5 px, at most 4.9 px allowed; turn 2°, at most 1.9° allowed; "
                "scale off by 1 %, at most 0.9 % allowed"
            ),
        ),
        (
            Limits(2, placement=PlacementLimits(4.9, px_per_mm=10)),
            "displacement 0.5 mm, at most 0.49 mm allowed",
        ),
    ],
)
def test_limits_make_the_verdict(limits: Limits, reason: str) -> None:
    differences = [
        SimpleNamespace(area_percent=1.0, strength=40.0),
        SimpleNamespace(area_percent=2.0, strength=5.0),
    ]
    found: Any = SimpleNamespace(differences=differences, aligned=True)
    assert broken_limits(found, limits, Placement(5.0, -2.0, 99.0)) == reason
    assert Limits.of(asdict(limits)) == limits


@pytest.mark.parametrize(
    ("most", "found", "reason"),
    [
        (40, 40.04, "displacement 40.04 px, at most 40 px allowed"),
        (999.5, 1234.5678, "displacement 1235 px, at most 999.5 px allowed"),
        (0, 0.00007512345, "displacement 0.00007512 px, at most 0 px allowed"),
    ],
)
def test_reasons_have_figures_that_differ_from_the_limit(
    most: float, found: float, reason: str
) -> None:
    limits = PlacementLimits(displacement_px=most)
    assert limits.broken(Placement(found, 0.0, 100.0)) == [reason]


def test_a_placement_that_is_not_known_breaks_its_limits() -> None:
    found: Any = SimpleNamespace(differences=[], aligned=False)
    limits = Limits(placement=PlacementLimits(turn_degrees=90))
    assert broken_limits(found, Limits(), None) == ""
    assert broken_limits(found, limits, None).startswith("displacement, turn and scale are not")


def test_a_folder_against_one_reference(undisturbed: Path, shots: Path) -> None:
    rows = results(undisturbed)
    assert [row["shot"] for row in rows] == sorted(str(path) for path in shots.iterdir())
    assert [row["verdict"] for row in rows] == ["OK", "OK", "NG"] * 2
    bad = rows[2]
    assert (bad["count"], bad["reason"]) == (1, "1 difference, at most 0 allowed")
    x, y, width, height = bad["differences"][0]["on_shot"]
    assert (x + width / 2, y + height / 2) == pytest.approx((20 + 26 + 9, 20 + 14 + 9), abs=3)
    for name in ("annotated", "closeups"):
        assert (undisturbed / bad[name]).read_bytes().startswith(b"\xff\xd8")
        assert rows[0][name] is None
    with (undisturbed / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == ledger.COLUMNS
    assert [row["verdict"] for row in table] == [row["verdict"] for row in rows]
    assert not list(undisturbed.glob("*.new"))


def test_unreadable_pictures_are_rows_of_errors(tmp_path: Path, shots: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    content = inspections.good()
    (folder / "a-cut.png").write_bytes(content[:-100])
    (folder / "b-empty.png").write_bytes(b"")
    (folder / "c-text.jpg").write_text("no picture")
    (folder / "d-other.tiff").write_bytes(b"II*\0" + bytes(50))
    os.mkfifo(folder / "e-pipe.png")
    (folder / "f-good.png").write_bytes(content)
    with (folder / "g-huge.png").open("wb") as file:
        file.truncate(60 << 20)
    (folder / "h\udcff.png").write_bytes(content)
    out = tmp_path / "out"
    missing = tmp_path / "missing.png"
    done = run(shots.parent / "reference.png", folder, missing, "--out", out, "--jobs", "1")
    assert done.exit_code == 2, done.output
    rows = results(out)
    expected = ["ERROR"] * 5 + ["OK", "ERROR", "OK", "ERROR"]
    assert [row["verdict"] for row in rows] == expected
    words = ["truncated", "empty", "JPEG, PNG or GIF", "JPEG, PNG or GIF", "not a file"]
    for row, word in zip(rows, [*words, "", "52428800 bytes", "", "does not exist"], strict=True):
        assert word in row["reason"]
    codes = ["unreadable-image", *["unsupported-format"] * 3]
    codes += ["unreadable-image", "", "too-many-bytes", "", "not-found"]
    assert [row["code"] for row in rows] == codes
    assert "9 shots: 2 OK, 0 NG, 7 ERROR" in done.output


def test_a_missing_reference_is_reported_for_each_shot(tmp_path: Path, shots: Path) -> None:
    rows: list[dict[str, Any]] = []
    pairs = [Pair("nowhere.png", str(shots / "shot-000.png"))]
    summary = batch.run(pairs, Options(), on_row=rows.append)
    assert summary.verdicts[Verdict.ERROR] == 1
    assert summary.exit_status == 2
    assert rows[0]["code"] == "not-found"


def test_a_shot_that_no_worker_can_compute_is_an_error(shots: Path) -> None:
    class Dying:
        """An engine whose processes die."""

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def map(self, tasks: Iterator[Task]) -> Iterator[tuple[int, Outcome | Failed]]:
            yield from ((at, Failed("it died")) for at, _ in enumerate(tasks))

    rows: list[dict[str, Any]] = []
    batch.run([Pair("r.png", "s.png")], Options(), engine=Dying(), on_row=rows.append)
    found = [rows[0][name] for name in ("verdict", "reason", "code")]
    assert found == ["ERROR", "it died", "not-computed"]


def test_another_thing_is_not_good(tmp_path: Path, shots: Path) -> None:
    rows: list[dict[str, Any]] = []
    pair = Pair(str(shots.parent / "reference.png"), "fixtures/images/label.png")
    summary = batch.run([pair], Options(), processes=1, on_row=rows.append)
    assert summary.exit_status == 1
    assert rows[0]["reason"].startswith("not the same thing")


def test_a_texture_all_over_is_not_the_plain_part(tmp_path: Path) -> None:
    # Neither shows anything to align by, and no place differs from its surroundings.
    plain = np.full((300, 400, 3), 150, np.uint8)
    texture = plain.copy()
    texture[::2, ::2], texture[1::2, 1::2] = 100, 200
    paths = [tmp_path / "plain.png", tmp_path / "texture.png", tmp_path / "again.png"]
    for path, image in zip(paths, (plain, texture, plain + np.uint8(2)), strict=True):
        cv2.imwrite(str(path), image)
    rows: list[dict[str, Any]] = []
    pairs = [Pair(str(paths[0]), str(path)) for path in paths[1:]]
    batch.run(pairs, Options(), processes=1, on_row=rows.append)
    assert [row["verdict"] for row in sorted(rows, key=lambda row: row["shot"])] == ["OK", "NG"]
    assert any(row["reason"].startswith("not the same thing") for row in rows)


@pytest.mark.parametrize(
    ("verdicts", "status"), [((3, 0, 0), 0), ((3, 1, 0), 1), ((3, 1, 1), 2), ((0, 0, 1), 2)]
)
def test_the_exit_status(verdicts: tuple[int, int, int], status: int) -> None:
    assert Summary(dict(zip(Verdict, verdicts, strict=True))).exit_status == status


# Going on


def test_resuming_does_only_what_is_missing_or_changed(tmp_path: Path, shots: Path) -> None:
    folder = inspections.batch(tmp_path, 4)
    out, reference = tmp_path / "out", tmp_path / "reference.png"
    arguments = (reference, folder, "--out", out, "--jobs", "1")
    run(*arguments)
    before = results(out)
    again = run(*arguments)
    assert again.exit_code == 2
    assert "--resume" in again.output

    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    torn = b"".join(lines[:3]) + lines[3][:40]  # killed within the last line
    (out / "results.jsonl").write_bytes(torn)
    (folder / "shot-000.png").write_bytes(inspections.bad())
    (folder / "shot-001.png").unlink()
    resumed = run(*arguments, "--resume")
    assert "1 from before" in resumed.output
    after = results(out)
    assert [Path(row["shot"]).stem for row in after] == ["shot-000", "shot-002", "shot-003"]
    assert [row["verdict"] for row in after] == ["NG", "NG", "OK"]
    assert after[1] == before[2], "kept as it was, time and all"

    other = run(*arguments, "--resume", "--max-count", "5")
    assert "from before" not in other.output, "other limits, other verdicts"
    same = run(*arguments, "--resume", "--max-count", "5")
    assert "3 from before" in same.output
    (folder / "shot-002.png").write_bytes(inspections.bad(5))
    run(*arguments, "--resume")
    (out / results(out)[1]["closeups"]).unlink()
    assert "2 from before" in run(*arguments, "--resume").output, "its pictures are part of it"


def _killed_runs(shots: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the batch until it is done; the caller kills."""
    command = [str(Path(sys.executable).with_name("ltu-compute")), "inspect"]
    command += [str(shots.parent / "reference.png"), str(shots)]
    command += ["--out", str(out), "--jobs", "2", "--resume"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        yield process
        process.communicate()
        if process.returncode >= 0:
            assert process.returncode == 1
            return


def test_killed_runs_that_are_resumed_have_equal_results(
    tmp_path: Path, shots: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    path = out / "results.jsonl"
    for attempt, process in enumerate(_killed_runs(shots, out), 1):
        while attempt < 3 and process.poll() is None:
            lines = path.read_bytes().count(b"\n") if path.exists() else 0
            if lines >= 2 * attempt:
                process.kill()
            time.sleep(0.01)
    assert list(map(lasting, results(out))) == list(map(lasting, results(undisturbed)))
    for name in ("annotated", "closeups"):
        for picture in sorted((undisturbed / name).iterdir()):
            assert (out / name / picture.name).read_bytes() == picture.read_bytes()


def test_a_process_that_dies_loses_no_shot(tmp_path: Path) -> None:
    with Pool(partial(inspections.fragile, str(tmp_path / "marker")), 2) as pool:
        found = dict(pool.map(iter(range(8))))
    assert found == {
        0: 0,
        1: 1,
        2: 4,
        3: Failed(f"the worker process was ended by SIGKILL, {MAX_ATTEMPTS} times"),
        4: 16,
        5: Failed("ValueError: five"),
        6: 36,
        7: 49,
    }


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(FolderInUse):
        Ledger(tmp_path)


def test_a_full_disk_is_waited_for_and_nothing_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 200
    reported, waits = [], []

    class Small:
        """A file on a disk with little room."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, content: bytes) -> int:
            left = room - os.fstat(self._file.fileno()).st_size
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._file.write(content[:left]))

    def wait(seconds: float) -> None:
        nonlocal room
        waits.append(seconds)
        if len(waits) == 3:
            room = 1 << 20

    row = {"shot": "s" * 150, "reference": "r", "verdict": "OK"}
    with Ledger(tmp_path, on_full=reported.append, sleep=wait) as written:
        written._file = Small(written._file)  # type: ignore[assignment]
        written.append(0, row)
        written.append(1, row)
        assert (len(waits), len(reported)) == (3, 3)
        room = 500
        monkeypatch.setattr(ledger, "PATIENCE_S", 5.0)
        waits.extend([0.0, 0.0, 0.0])
        with pytest.raises(DiskFull):
            written.append(2, row)
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line) for line in lines] == [row, row]


def test_results_of_another_run_are_not_written_over(tmp_path: Path) -> None:
    with Ledger(tmp_path) as first:
        first.append(0, {"shot": "s", "reference": "r", "verdict": "OK"})
    with pytest.raises(ResultsExist, match="--resume"):
        Ledger(tmp_path)
    assert len(results(tmp_path)) == 1
    (tmp_path / "results.jsonl").write_text('{"shot": 1}\n')
    with pytest.raises(ledger.NoResults, match="line 1"):
        Ledger(tmp_path, resume=True)


# What is inspected


def test_shots_by_file_folder_and_pattern(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "sub/c.gif", "sub/.hidden.png", ".dir/d.png", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    inside = [str(tmp_path / name) for name in ("a.png", "b.JPG", "sub/c.gif")]
    assert shots_of([str(tmp_path)]) == inside
    assert shots_of([f"{tmp_path}/*.png", "http://host/x.png"]) == [inside[0], "http://host/x.png"]
    assert shots_of([f"{tmp_path}/**/*.gif"]) == [inside[2]]
    for nothing in (f"{tmp_path}/*.gif", str(tmp_path / ".dir")):
        if nothing.endswith(".dir"):
            (tmp_path / ".dir/d.png").unlink()
        with pytest.raises(BadParameters):
            shots_of([nothing])


def test_pairs_by_name(tmp_path: Path) -> None:
    for name in ("refs/1.png", "refs/sub/2.png", "shots/1.jpg", "shots/sub/2.png", "shots/3.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = pairs_by_name(str(tmp_path / "refs"), str(tmp_path / "shots"))
    named = {
        Path(pair.shot).name: str(Path(pair.reference).relative_to(tmp_path)) for pair in found
    }
    assert named == {"1.jpg": "refs/1.png", "3.png": "refs/3.png", "2.png": "refs/sub/2.png"}


def test_a_table_with_columns_of_its_own(tmp_path: Path, shots: Path) -> None:
    lines = ["lot,shot,reference", f'"A, 1",{shots}/shot-000.png,../r.png', "B,s.png,http://h/r"]
    path = tmp_path / "pairs.csv"
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    table = Table(path)
    assert (len(table), table.columns) == (2, ("lot",))
    first, second = table
    assert first == Pair(str(tmp_path.parent / "r.png"), f"{shots}/shot-000.png", {"lot": "A, 1"})
    assert second == Pair("http://h/r", str(tmp_path / "s.png"), {"lot": "B"})
    (tmp_path.parent / "r.png").write_bytes(inspections.reference())
    out = tmp_path / "out"
    assert run("--table", path, "--out", out, "--jobs", "1").exit_code == 2
    assert [row["table"] for row in results(out)] == [{"lot": "A, 1"}, {"lot": "B"}]
    assert (out / "results.csv").read_text().splitlines()[0].endswith(",seconds,lot")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *((text, f"'{text}") for text in ("=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)")),
        *((text, f"'{text}") for text in ("\t=1", "\r=1", "\n=1", "-", "=1", "-1e5x", "-\u0661")),
        *((text, text) for text in ("-5", "+0.25", "-1e-3", "-1,5", "a=1", "", "'=1", "shots/=1")),
        (None, ""),
        (-0.5, "-0.5"),
        (3, "3"),
    ],
)
def test_no_cell_is_a_formula(value: Any, cell: str) -> None:
    assert ledger._cell(value) == cell


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'reference'"),
        ("reference,file\na,b\n", "no column 'shot'"),
        ("reference,shot\n", "no pairs"),
        ("reference,shot\na,b\n,c\n", "row 3 lacks"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(BadParameters, match=words):
        Table(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a reference and the shots"),
        (["reference.png"], "name a reference and the shots"),
        (["tests", "tests"], "use --pairs"),
        (["--pairs", "tests"], "two folders"),
        (["--table", "x.csv", "y.png"], "--table has the pairs"),
        (["--table", "nowhere.csv"], "nowhere.csv: No such file"),
        (["r.png", "s.png", "--resume"], "--resume needs --out"),
        (["r.png", "s.png", "--region", "nowhere.png"], "nowhere.png is not a file"),
        (["r.png", "s.png", "--fic-settings", '{"threshold": -1}'], "threshold"),
        (["r.png", "s.png", "--fic-settings", "nonsense"], "fic_settings"),
        (["r.png", "s.png", "--fic-settings", '{"edge_tolerance": 4}'], "edge_tolerance"),
        (["r.png", "nowhere/*.png"], "no picture matches"),
    ],
)
def test_misuse_is_reported_with_its_status(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_dry_run_computes_nothing(shots: Path, tmp_path: Path) -> None:
    done = run(shots.parent / "reference.png", shots, "--dry-run", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert done.output.count("\tagainst ") == 6
    assert not (tmp_path / "out").exists()


# The report


@pytest.fixture
def page(browser: Browser, tmp_path: Path, undisturbed: Path) -> Iterator[Page]:
    """A report of 10,000 rows, with a name that would like to be markup."""
    rows = results(undisturbed)
    with Ledger(tmp_path / "many") as written:
        for number in range(10_000):
            row = dict(rows[0 if number % 100 else 2])
            row["shot"] = f"</script><b>{number:05}"
            if row["score"]:
                row |= {"score": float(number), "reason": f"reason {number}"}
            written.append(number, row)
        written.settle()
        (tmp_path / "many/closeups").mkdir()
        name = rows[2]["closeups"]
        (tmp_path / "many" / name).write_bytes((undisturbed / name).read_bytes())
        path = report.write(written, about="the limits")
    page = new_page(browser, offline=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(f"file://{path}")
    yield page
    leaving = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert leaving == []
    page.context.close()


def test_the_report(page: Page) -> None:
    assert page.locator(".row").count() < 100, "only what is in view is drawn"
    assert page.locator("#grid").get_attribute("aria-rowcount") == "10000"
    worst = page.locator(".row").first
    assert worst.get_attribute("aria-selected") == "true"
    assert "script><b>09900" in str(worst.text_content()), "worst first, and a name is a name"
    tile = page.locator(".pair div").first
    assert "data:image/jpeg;base64,/9j/" in str(tile.get_attribute("style"))

    page.keyboard.press("ArrowDown")
    assert "reason 9800" in str(page.locator("#detail").text_content())
    page.keyboard.press("o")
    assert page.locator("#grid").get_attribute("aria-rowcount") == "9900"
    page.keyboard.press("End")
    assert "script><b>09999" in str(page.locator("#detail").text_content())
    page.keyboard.press("n")
    page.get_by_role("button", name="Shot").click()
    page.keyboard.press("Home")
    assert "script><b>00000" in str(page.locator(".row").first.text_content())
    page.keyboard.press("/")
    page.keyboard.type("reason 4200")
    assert page.locator(".row").count() == 1


@pytest.mark.parametrize(
    ("preset", "given", "resolution"),
    [(1, None, "auto"), (1, 600, 600), (1, "full", "full"), (3, None, 400)],
)
def test_the_strict_preset_compares_all_pixels_by_default(
    preset: int, given: int | str | None, resolution: int | str
) -> None:
    settings = None if given is None else f'{{"resolution": {orjson.dumps(given).decode()}}}'
    limits = ("count", "area", "strength", "displacement", "turn", "scale")
    named = dict.fromkeys(f"max_{limit}" for limit in limits)
    options = _options({**named, "preset": preset, "fic_settings": settings}, load())
    assert options.settings.resolution == resolution
    asked = {"preset": preset} if given is None else {"preset": preset, "resolution": given}
    assert InspectionParams.model_validate(asked).settings() == options.settings
