"""The documentation: its tables are generated, its commands are run, its links lead somewhere.

``pytest tests/test_docs.py --update-golden`` rewrites the generated parts.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import click
import pytest
from flask import Flask

from ltu_compute import dialects
from ltu_compute.cli import main
from ltu_compute.dialects.ltu import dialect as ltu
from ltu_compute.errors import ServiceError
from ltu_compute.jobs.detection import DETECTION
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.runner import Runner
from ltu_compute.recognisers.onnx import manifest
from ltu_compute.settings import Settings, table
from ltu_compute.web.service import service_of
from tests.support import forked, pages
from tests.support.calls import PART, SHOT, elided, post
from tests.support.client import PASSWORD, ROOT, USERNAME, Caller, Live
from tests.support.tables import rows
from tests.support.timing import PATIENCE_S

pytestmark = pytest.mark.waits

README = ROOT / "README.md"
DOCS = ROOT / "docs"
RECOGNITION = DOCS / "recognition.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
LINES = 120  # of the README, at most: what a stranger reads before deciding

NOT_RUN = "console"  # blocks that install, or need another machine
RUN = (
    "README.md",
    "quickstart.md",
    "tutorial.md",
    "recipes.md",
    "techsolut.md",
    "imagerecognize.md",
    "tuputech.md",
    "inspections.md",
)


def presets(call: Caller) -> str:
    listed = call.get("differences/presets").json["result"]["presets"]
    names = list(listed[0]["settings"])
    uses = [(p["preset"], p["name"], p["description"], p["purpose"]) for p in listed]
    body = [(p["preset"], *(p["settings"][name] for name in names)) for p in listed]
    use = rows(("preset", "name", "what it does", "what it is for"), *uses)
    return f"{use}\n\n{rows(('preset', *(f'`{name}`' for name in names)), *body)}"


def settings(_: Caller) -> str:
    lines = [(f"`{name}`", f"`{value}`" if value else "", text) for name, value, text in table()]
    return rows(("variable", "default", "meaning"), *lines)


def block(reply: object) -> str:
    text = json.dumps(reply, indent=1).replace('"..."', "...").replace('"...": ...', "...")
    text = re.sub(r"{\s+([^{}\[\]]*?)\s+}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text)
    return f"```text\n{text}\n```"


def example(call: Caller) -> str:
    """Return a reply with one of several differences."""
    reply = elided(post(call, "differences", PART, SHOT, preset="1", vertices="False"))
    for key in ("diffOnImage1", "diffOnImage2"):
        reply["result"][key] = [reply["result"][key][0], "..."]
    return block(reply)


def short_example(call: Caller) -> str:
    """Return what most clients read of that reply."""
    reply = post(call, "differences", PART, SHOT, preset="1", vertices="False")
    names = ("boundingBox", "area_percent", "kind")
    first = {name: reply["result"]["diffOnImage1"][0][name] for name in names} | {"...": "..."}
    details = {"name": "differences", "score": reply["details"]["score"], "...": "..."}
    result = {"diffOnImage1": [first, "..."], "diffOnImage2": ["..."]}
    return block({"result": result, "details": details, "...": "..."})


def measured(heading: str) -> dict[str, dict[str, str]]:
    """Return the first table under a heading of the benchmarks' report: rows by first cell.

    Of rows that begin alike the first counts, unless it is about a few pictures only.
    """
    report = (ROOT / "benchmarks" / "README.md").read_text()
    section = report[re.search(f"^##+ {heading}$", report, re.MULTILINE).start() :]
    lines = re.search(r"(^\|.*\n)+", section, re.MULTILINE)[0].splitlines()
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows: dict[str, dict[str, str]] = {}
    for first, *cells in body:
        row = dict(zip(head[1:], cells, strict=True))
        if int(row.get("pictures", 100)) >= 10:
            rows.setdefault(first, row)
    return rows


def recognition_figures() -> dict[str, str]:
    """Return what was measured, by the first words of the row of the README that tells it."""
    read = measured("Text")
    found = {name: f"{float(row['found']):.0%}" for name, row in measured("Classes").items()}
    codes, false = measured("Codes"), measured("Faces")["4x: 100 px"]["false alarms"]
    kinds: dict[str, str] = {n: f"{float(r['right']):.0%}" for n, r in measured("Kinds").items()}
    said = measured("Qualities")
    groups = {"plain": "plain", "skewed": "skewed 4° to 15°", "small": "small, 8 to 12 px"}
    wrong = (f"{n} {read[g]['CER kernel']} ({read[g]['CER plain']})" for n, g in groups.items())
    worn = {"turned": "turned 45°", "blurred by 2 px": "blur sigma 2 px"}
    symbols = ("QR", "EAN-13", "Code 128", "Data Matrix", "Aztec", "PDF417")
    qualities = (
        f"{n} {float(r['called so']):.0%} ({float(r['called so wrongly']):.0%})"
        for n, r in said.items()
    )
    return {
        "text:": f"characters wrong (Tesseract alone): {', '.join(wrong)}",
        "`Human face`": "found: "
        + ", ".join(f"{n.lower()} {found[n]}" for n in ("Human face", "Human eye", "Cat"))
        + f"; pictures without a face where one was seen: {false}",
        "`Person`": f"found: {found['Person']} (walking, some hidden)",
        "`Vehicle": f"found: {found['Vehicle registration plate']}",
        "`QR code`": "; ".join(
            f"{n}: " + ", ".join(f"{s} {float(codes[row][s]):.0%}" for s in symbols)
            for n, row in worn.items()
        ),
        "`Text`": f"found: {found['Text']}",
        "kind:": "right: " + ", ".join(f"{name.lower()} {share}" for name, share in kinds.items()),
        "`Black-and-white`": f"called so (wrongly): {', '.join(qualities)}",
    }


def test_the_figures_of_recognition_are_those_measured(update_golden: bool) -> None:
    for words, figures in recognition_figures().items():
        pattern = re.compile(rf"^(\| {words}[^|]*\|[^|]*\| )([^|]*)( \|)", re.MULTILINE)
        if update_golden:
            text = pattern.sub(lambda m, f=figures: m[1] + f + m[3], RECOGNITION.read_text())
            RECOGNITION.write_text(text)
        found = pattern.findall(RECOGNITION.read_text())
        assert [each[1] for each in found] == [figures], "run: make golden"


PARTS: dict[tuple[str, str], Callable[[Caller], str]] = {
    ("README.md", "example"): short_example,
    ("ltu.md", "example"): example,
    ("ltu.md", "presets"): presets,
    ("settings.md", "settings"): settings,
}
for each in dialects.DIALECTS:
    PARTS[f"{each.name}.md", "errors"] = lambda _, d=each: pages.errors(d)
    PARTS[f"{each.name}.md", "endpoints"] = lambda _, d=each: pages.endpoints(d)

COVERED = [each for each in dialects.DIALECTS if (pages.VENDOR / f"{each.name}.yaml").exists()]
for each in COVERED:
    PARTS["coverage.md", each.name] = lambda _, d=each: pages.coverage(d)

ELSEWHERE = {("comparison.md", "settings")}  # tests/test_comparison_page.py


def page(name: str) -> Path:
    return README if name == README.name else DOCS / name


@pytest.mark.parametrize(("name", "part"), PARTS, ids=" ".join)
def test_generated_parts_are_current(
    name: str, part: str, call: Caller, update_golden: bool
) -> None:
    text = f"<!-- begin {part} -->\n{PARTS[name, part](call)}\n<!-- end {part} -->"
    pattern = re.compile(f"<!-- begin {part} -->\n.*?<!-- end {part} -->", re.DOTALL)
    if update_golden:
        page(name).write_text(pattern.sub(lambda _: text, page(name).read_text()))
    found = pattern.search(page(name).read_text())
    assert found is not None
    if part == "example":  # whose numbers differ a little between versions of OpenCV
        assert re.sub(r"[\d.]+", "#", found[0]) == re.sub(r"[\d.]+", "#", text)
    else:
        assert found[0] == text, "run: make golden"


def test_every_part_that_a_page_marks_is_generated() -> None:
    marked = {
        (path.name, part)
        for path in PAGES
        for part in re.findall(r"<!-- begin (\S+) -->", path.read_text())
    }
    assert marked == PARTS.keys() | ELSEWHERE


def test_every_status_is_explained() -> None:
    assert ServiceError in ltu.errors  # so that none is without a status
    assert all(kind.meaning for kind in ltu.errors.values())


@pytest.mark.parametrize("name", [each.name for each in COVERED])
def test_the_tests_of_each_sentence_exist(name: str) -> None:
    for each in pages.sentences(name):
        assert each["tests"], each["said"]
        for path, test in (test.split("::") for test in each["tests"]):
            assert path != "?", test
            source = (ROOT / "tests" / path).read_text("utf-8")
            assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{path}::{test}"


# Code blocks


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return the code blocks of a page: language and text, without its indentation."""
    found = re.findall(
        r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", path.read_text(), re.MULTILINE | re.DOTALL
    )
    return [
        (language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, language, text in found
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_code_block_has_a_language_that_is_checked(path: Path) -> None:
    languages = {language for language, _ in blocks(path)}
    checked = {"yaml", "python", "text", "", "{toctree}", NOT_RUN}
    assert languages <= checked | ({"sh"} if path.name in RUN else set())


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with forked.commands(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.fixture(scope="module")
def tasks(app: Flask, settings: Settings) -> Iterator[None]:
    """Compute tasks, as one of the pages waits for the end of one."""
    service = service_of(app)
    queue = service.resources[Queue]
    assert isinstance(queue, Queue)
    runner = Runner(
        service.store.jobs, settings, nice=0, kinds=[DETECTION], doorbell=queue.doorbell
    )
    thread = runner.start()
    yield
    runner.stop()
    queue.doorbell.ring(DETECTION)
    thread.join(PATIENCE_S)


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize("name", RUN)
def test_shell_blocks_run(
    name: str, app: Flask, live: Live, settings: Settings, tmp_path: Path, binaries: Path
) -> None:
    for each in ("fixtures", ".venv"):
        (tmp_path / each).symlink_to(ROOT / each)
    (tmp_path / ".data").mkdir()
    account = f"USERNAME='{USERNAME}'\nPASSWORD='{PASSWORD}'\n"
    (tmp_path / ".data/first-account").write_text(account)
    script = "".join(text for language, text in blocks(page(name)) if language == "sh")
    if "TOKEN=" not in script:  # explained on the quick start's page
        script = blocks(page("quickstart.md"))[1][1] + script
    script = script.replace("http://127.0.0.1:8000", live.url)
    script = script.replace("$PWD/.venv/bin", f"{binaries}:{Path(sys.executable).parent}")
    environment = {**os.environ, "LTU_COMPUTE_DATA_DIR": str(settings.data_dir)}
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert rb"\"code\":1," not in done.stdout, "Tuputech's code for a wrong signature"


# A command line of the project; words such as add|list stay together.
COMMAND = re.compile(
    r"(?:^|[(|&;]\s*|\$\()"
    r"((?:[^\s=]*/)?(?:ltu-compute|make)(?=\s|$)(?:[^|&;()\n#]|(?<=\w)\|(?=\w))*)",
    re.MULTILINE,
)


def commands(text: str) -> list[list[str]]:
    """Return the command lines of a shell block that begin one of the project's programs."""
    found = COMMAND.findall(re.sub(r"\\\n\s*", " ", text))
    return [shlex.split(line.replace("…", "")) for line in found]


def assert_exists(words: list[str]) -> None:
    """Assert that a command line names commands, options and targets that there are."""
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in rest if "=" not in word and word not in targets] == [], words
        return
    command: click.Command = main
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        names = rest.pop(0).split("|")
        found = [command.get_command(click.Context(command), name) for name in names]
        assert all(found), words
        command = found[0]
    options = {option for param in command.params for option in param.opts} | {"--help"}
    given = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert given <= options, words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_blocks_that_are_not_run_name_what_there_is(path: Path) -> None:
    for language, text in blocks(path):
        if language == NOT_RUN:
            for words in commands(text):
                assert_exists(words)
            for file in re.findall(r"\bdeploy/[\w.-]+", text):
                assert (ROOT / file).exists(), file


def test_a_command_that_is_not_there_is_noticed() -> None:
    assert commands("KEY=$(ltu-compute apikey add A | tail -1)") == [
        ["ltu-compute", "apikey", "add", "A"]
    ]
    for line in ("ltu-compute nothing", "ltu-compute inspect a b --nothing", "make nothing"):
        with pytest.raises(AssertionError):
            assert_exists(shlex.split(line))


@pytest.mark.parametrize("name", ["quickstart.md", "inspect.md"])
def test_python_blocks_run(name: str, app: Flask, live: Live, tmp_path: Path) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    (tmp_path / ".data").mkdir()
    account = f"USERNAME='{USERNAME}'\nPASSWORD='{PASSWORD}'\n"
    (tmp_path / ".data/first-account").write_text(account)
    (tmp_path / "shots").mkdir()
    shutil.copy(ROOT / "fixtures" / "images" / PART, tmp_path / "reference.jpg")
    shutil.copy(ROOT / "fixtures" / "images" / SHOT, tmp_path / "shots")
    script = "".join(text for language, text in blocks(page(name)) if language == "python")
    script = script.replace("http://127.0.0.1:8000", live.url)
    (tmp_path / "script.py").write_text(f"if __name__ == '__main__':\n{indent(script, '    ')}")
    command = [sys.executable, "-W", "ignore", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip()


def test_manifests_are_valid(tmp_path: Path) -> None:
    found = [text for language, text in blocks(DOCS / "models.md") if language == "yaml"]
    assert len(found) == 3
    for text in found:
        (tmp_path / "model.yaml").write_text(text)
        assert manifest.read(tmp_path / "model.yaml").task


# What a reader relies on


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= LINES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[)#]", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = [text for language, text in blocks(DOCS / "index.md") if language == "{toctree}"]
    listed = {name for tree in trees for name in tree.splitlines() if re.fullmatch(r"\w+", name)}
    assert listed == {path.stem for path in DOCS.glob("*.md")} - {"index"}
