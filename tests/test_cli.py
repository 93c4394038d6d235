"""The command: operations, accounts, keys, settings."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ltu_compute.cli import main
from ltu_compute.cli.group import OPERATIONS
from ltu_compute.cli.operations import dialect_groups, short_forms
from ltu_compute.cli.summaries import summary
from ltu_compute.settings import load, table
from tests.support.calls import PART, SHOT, post
from tests.support.client import IMAGES, Caller
from tests.support.timing import PATIENCE_S


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path / "data"))

    def invoke(*arguments: str | Path, stdin: str = "") -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)

    return invoke


def test_the_list_of_commands_is_current(run: Any, update_golden: bool) -> None:
    """It is read from a file, so that no interface is loaded for it."""
    declared = {**dialect_groups(), **short_forms()}
    text = json.dumps(
        {name: str(found.help).partition("\n")[0] for name, found in declared.items()}, indent=2
    )
    if update_golden:
        OPERATIONS.write_text(text + "\n")
    assert OPERATIONS.read_text() == text + "\n"
    lines = run("--help").output.splitlines()
    listed = {line.split()[0] for line in lines if line.startswith("  ") and line.strip()}
    assert {"serve", "worker", *declared} <= listed
    program = "import sys; from ltu_compute.cli import main; main(['--help'], standalone_mode=0); "
    program += "sys.exit(bool({'numpy', 'cv2', 'flask', 'sqlalchemy'} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False)
    assert ended.returncode == 0, "slow packages are imported for a list of names"


@pytest.mark.parametrize(
    ("operation", "names", "options", "params"),
    [
        ("heatMap", ["chelsea.jpg"], [], {}),
        ("color-palette", ["coffee.jpg"], ["--count", "3"], {"count": "3"}),
        ("objectMaskDetection", ["object-dark.png"], ["--channel", "S"], {"channel": "S"}),
        ("edges", ["chelsea.jpg"], ["--threshold-min", "20"], {"threshold_min": "20"}),
        ("edges", ["chelsea.jpg"], ["--threshold_min", "20"], {"threshold_min": "20"}),
        ("contours", ["shapes.png"], ["--only-biggest", "True"], {"only_biggest": "True"}),
        ("imagequality", ["rocket.jpg"], [], {}),
        ("distance", ["coffee.jpg", "coffee-shot.jpg"], [], {}),
        ("differences", [PART, SHOT], ["--preset", "4"], {"preset": "4"}),
        ("alignment_matrix", [PART, SHOT], [], {}),
        ("text-detection", ["label.png"], ["--language", "en"], {"language": "en"}),
        ("classification", ["coffee.jpg"], ["--max-results", "2"], {"max_results": "2"}),
        (
            "objectDetection",
            ["astronaut.jpg"],
            ["--classes", "Human face"],
            {"classes": "Human face"},
        ),
    ],
)
def test_an_operation_prints_what_the_service_answers(
    run: Any,
    call: Caller,
    operation: str,
    names: list[str],
    options: list[str],
    params: dict[str, str],
) -> None:
    done = run(operation, *(IMAGES / name for name in names), *options)
    assert done.exit_code == 0, done.output
    wire = {"color-palette": "colorPalette", "imagequality": "imageQuality"}
    wire |= {"alignment_matrix": "alignmentMatrix", "text-detection": "textDetection"}
    answer = post(call, wire.get(operation, operation), *names, **params)
    assert json.loads(done.stdout) == answer
    assert list(json.loads(done.stdout)) == list(answer)


def test_pictures_are_saved(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    done = run(
        "differences", IMAGES / PART, IMAGES / SHOT, "--mask-type", "binary", "--save", folder
    )
    reply = json.loads(done.stdout)
    count = reply["details"]["info"]["count"]
    assert count > 0
    names = {f"diffOnImage{i}-{n}-mask.png" for i in (1, 2) for n in range(count)}
    assert {path.name for path in folder.iterdir()} == names
    differences = reply["result"]["diffOnImage1"]
    assert [difference["mask"] for difference in differences] == [
        {"format": "image/png", "file": str(folder / f"diffOnImage1-{n}-mask.png")}
        for n in range(count)
    ], "the reply tells where each is"
    box = differences[0]["boundingBox"]
    mask = cv2.imread(str(folder / "diffOnImage1-0-mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (box["height"], box["width"])
    run("objectMaskDetection", IMAGES / "object-dark.png", "--save", folder)
    assert (folder / "binary-mask.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edges", IMAGES / "chelsea.jpg", "--threshold-min", "x"], "threshold_min"),
        (["edges", IMAGES / "shapes.json"], "JPEG, PNG or GIF"),
        (["alignmentMatrix", IMAGES / "rocket.jpg", IMAGES / "coffee.jpg"], "do not match"),
    ],
)
def test_errors_name_what_is_wrong(run: Any, arguments: list[Any], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert words in done.output


def test_errors_are_a_line_and_a_status() -> None:
    command = Path(sys.executable).parent / "ltu-compute"
    done = subprocess.run(
        [command, "edges", IMAGES / "shapes.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: image: ")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    """As with other commands in a pipeline: no message, and the status of SIGPIPE."""
    command = Path(sys.executable).parent / "ltu-compute"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [command, "settings"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE_S,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("command", ["inspect", "teach"])
def test_examples_in_help_keep_their_lines(run: Any, command: str) -> None:
    text = run(command, "--help").output
    examples = [line for line in text.splitlines() if line.startswith(f"  ltu-compute {command} ")]
    assert len(examples) == text.count("ltu-compute ") >= 2
    assert "\\" not in text


def test_the_recipe_of_a_command_is_a_file(run: Any) -> None:
    text = run("differences", "--help").output
    assert "--recipe FILE" in text
    assert "[default: ]" not in text


def test_a_file_that_is_not_there(run: Any) -> None:
    done = run("edges", "nowhere.jpg")
    assert done.exit_code == 1
    assert "nowhere.jpg" in done.output


def test_accounts(run: Any) -> None:
    assert run("user", "add", "ann", stdin="the secret of ann\n").exit_code == 0
    assert run("user", "add", "bob", stdin="the secret of bob\n").exit_code == 0
    assert run("user", "add", "eve", "--password", "the secret of eve").exit_code == 0
    listed = run("user", "list").output
    assert "eve\tenabled" in listed
    assert "ann\tenabled" in listed
    assert "bob\tenabled" in listed
    assert "secret" not in listed
    assert run("user", "disable", "bob").exit_code == 0
    assert "bob\tdisabled" in run("user", "list").output
    assert run("user", "enable", "bob").exit_code == 0
    assert run("user", "password", "bob", stdin="another of bob's\n").exit_code == 0
    assert run("user", "remove", "ann").exit_code == 0
    assert "ann" not in run("user", "list").output
    assert run("user", "remove", "ann").exit_code == 1
    twice = run("user", "add", "bob", stdin="another secret of bob\n")
    assert twice.exit_code == 1
    assert "bob" in twice.output


def test_a_short_password_is_refused(run: Any) -> None:
    assert run("user", "add", "ann", stdin="the secret of ann\n").exit_code == 0
    for command in (["add", "bob"], ["password", "ann"]):
        done = run("user", *command, stdin="hunter2\n")
        assert done.exit_code == 1
        assert "password: received 7 characters; a new one has 8 " in done.output
        assert "hunter2" not in done.output
    assert "bob" not in run("user", "list").output


def test_keys(run: Any) -> None:
    first = run("keys", "list").output.split("\t")[0]
    assert run("keys", "rotate").exit_code == 0
    listed = run("keys", "list").output
    assert f"{first}\tverifies only" in listed
    assert listed.count("active") == 1
    assert run("keys", "remove", first).exit_code == 0
    assert first not in run("keys", "list").output


@pytest.mark.parametrize("kid", ["-Wo3vB", "-hZ2", "--x"])
def test_a_key_whose_id_begins_with_a_dash_is_no_option(run: Any, kid: str) -> None:
    refused = run("keys", "remove", kid)
    assert refused.exit_code == 1
    assert f"There is no key '{kid}'" in refused.output


def test_settings_hide_secrets(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTU_COMPUTE_DATABASE_URL", "postgresql://u:hunter2@db/ltu")
    monkeypatch.setenv("LTU_COMPUTE_BOOTSTRAP_PASSWORD", "hunter2")
    monkeypatch.setenv("LTU_COMPUTE_GOOGLE_API_KEY", "hunter2")
    monkeypatch.setenv("LTU_COMPUTE_FETCH_ALLOWED_NETWORKS", "10.0.0.0/8, 192.168.1.0/24")
    shown = run("settings").output
    assert "hunter2" not in shown
    assert "LTU_COMPUTE_FETCH_ALLOWED_NETWORKS=10.0.0.0/8,192.168.1.0/24" in shown
    for name, _, meaning in table():
        assert name in shown
        assert meaning in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FETCH_ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("MAX_PIXELS", "many"),
        ("ISSUER", "vision.example.com"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("FETCH_TIMEOUT", "inf"),
        ("MODEL_TIMEOUT", "0"),
        ("MODEL_MEMORY", "1000"),
        ("DEFAULT_PROVIDER", "Azure"),
    ],
)
def test_a_wrong_setting_is_named(
    run: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LTU_COMPUTE_{name}", value)
    done = run("settings")
    assert done.exit_code == 1
    assert f"LTU_COMPUTE_{name}" in done.output
    assert value in done.output
    assert "Traceback" not in done.output


def test_an_empty_setting_is_the_default(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in table():
        if name != "LTU_COMPUTE_DATA_DIR":
            monkeypatch.setenv(name, "")
    shown = run("settings").output
    assert "LTU_COMPUTE_PORT=8000" in shown
    assert load().keys_dir.name == "keys"


def test_a_folder_that_cannot_be_made(run: Any) -> None:
    done = run("edges", IMAGES / "chelsea.jpg", "--save", "/proc/nothing")
    assert done.exit_code == 1
    assert "/proc/nothing" in done.output
    assert "Traceback" not in done.output


def test_a_summary_of_differences_is_for_people(run: Any, tmp_path: Path) -> None:
    picture = tmp_path / "annotated.jpg"
    done = run("differences", IMAGES / PART, IMAGES / SHOT, "--annotated", picture, "--json")
    reply = json.loads(done.stdout)
    lines = summary("differences", reply)
    found = reply["result"]["diffOnImage2"]
    assert lines[0].startswith(f"NG: {len(found)} differences, ")
    box = found[0]["boundingBox"]
    assert f"at {box['x']}, {box['y']}  {box['width']} x {box['height']} px" in lines[1]
    assert summary("differences", reply | {"result": {"diffOnImage2": []}})[0].startswith("OK")
    shot, drawn = cv2.imread(str(IMAGES / SHOT)), cv2.imread(str(picture))
    assert max(drawn.shape[:2]) == min(1600, max(shot.shape[:2]))
    small = cv2.resize(shot, drawn.shape[1::-1], interpolation=cv2.INTER_AREA)
    scale = drawn.shape[1] / shot.shape[1]
    x, y = round(box["x"] * scale), round((box["y"] + box["height"] / 2) * scale)
    side = np.abs(drawn[y, x - 8 : x + 1].astype(int) - small[y, x - 8 : x + 1]).max()
    assert side > 60, "there is a line at its left side"


def test_pictures_and_long_values_are_summarised() -> None:
    body = {"result": {"mask": {"encoding": "base64", "format": "image/png", "value": "A" * 400}}}
    assert summary("edges", body) == ["result.mask: image/png, 300 bytes (--save FOLDER)"]
    outline = {"vertices": [{"x": x, "y": 1} for x in range(50)]}
    assert summary("contours", outline) == ["vertices: 50 points (--json has them)"]
    many = summary("x", {"values": [{"v": number} for number in range(100)]})
    assert len(many) == 41
    assert many[-1].startswith("… 60 more lines")


def test_on_a_terminal_it_is_a_summary(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "ltu-compute"
    ours, theirs = os.openpty()
    environment = os.environ | {"LTU_COMPUTE_DATA_DIR": str(tmp_path)}
    arguments = [command, "imageQuality", IMAGES / "clock.jpg"]
    subprocess.run(arguments, stdout=theirs, env=environment, check=True, timeout=PATIENCE_S)
    os.close(theirs)
    printed = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "{" not in printed
    assert "details.name: " in printed


def test_a_folder_is_for_inspect(run: Any, tmp_path: Path) -> None:
    done = run("differences", IMAGES / PART, tmp_path)
    assert done.exit_code == 1
    assert "ltu-compute inspect" in done.output
