"""The README: its tables are generated, its commands are run.

``pytest tests/test_readme.py --update-golden`` rewrites the generated parts.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from ltu_compute.dialects.ltu import dialect
from ltu_compute.errors import ServiceError
from ltu_compute.settings import table
from tests.support.calls import PART, SHOT, elided, post
from tests.support.client import PASSWORD, ROOT, USERNAME, Caller, Live
from tests.support.tables import rows

README = ROOT / "README.md"
TEXT = README.read_text()


def operations(_: Caller) -> str:
    lines: list[tuple[object, ...]] = [("operation", "what it does", "images", "parameters")]
    for endpoint in dialect.endpoints:
        if endpoint.images:
            images = ", ".join(f"`{i.name}`" + ("" if i.required else "?") for i in endpoint.images)
            properties = endpoint.params.model_json_schema().get("properties", {})
            params = ", ".join(f"`{name}`" for name in properties)
            lines.append((f"`{endpoint.name}`", endpoint.summary, images, params))
    return rows(*lines)


def presets(call: Caller) -> str:
    listed = call.get("differences/presets").json["result"]["presets"]
    names = list(listed[0]["settings"])
    body = [
        (p["preset"], p["description"], *(p["settings"][name] for name in names)) for p in listed
    ]
    return rows(("preset", "what it does", *(f"`{name}`" for name in names)), *body)


def errors(_: Caller) -> str:
    return rows(
        ("status", "meaning"),
        *sorted({(str(k.status), k.meaning) for k in dialect.errors.values()}),
    )


def settings(_: Caller) -> str:
    lines = [(f"`{name}`", f"`{value}`" if value else "", text) for name, value, text in table()]
    return rows(("variable", "default", "meaning"), *lines)


def example(call: Caller) -> str:
    reply = elided(post(call, "differences", PART, SHOT, preset="1", vertices="False"))
    for key in ("diffOnImage1", "diffOnImage2"):
        reply["result"][key] = [reply["result"][key][0], "..."]
    text = json.dumps(reply, indent=1).replace('"..."', "...")
    text = re.sub(r"{\s+([^{}\[\]]*?)\s+}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text)
    return f"```json\n{text}\n```"


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
    wrong = (f"{n} {read[g]['CER ours']} ({read[g]['CER plain']})" for n, g in groups.items())
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
            README.write_text(pattern.sub(lambda m, f=figures: m[1] + f + m[3], README.read_text()))
        found = pattern.findall(README.read_text())
        assert [each[1] for each in found] == [figures], "run: make golden"


PARTS: dict[str, Callable[[Caller], str]] = {
    "example": example,
    "operations": operations,
    "presets": presets,
    "errors": errors,
    "settings": settings,
}


@pytest.mark.parametrize("name", PARTS)
def test_generated_parts_are_current(name: str, call: Caller, update_golden: bool) -> None:
    part = f"<!-- begin {name} -->\n{PARTS[name](call)}\n<!-- end {name} -->"
    pattern = re.compile(f"<!-- begin {name} -->\n.*?<!-- end {name} -->", re.DOTALL)
    if update_golden:
        README.write_text(pattern.sub(lambda _: part, README.read_text()))
    found = pattern.search(README.read_text())
    assert found is not None
    if name == "example":  # whose numbers differ a little between versions of OpenCV
        assert re.sub(r"[\d.]+", "#", found[0]) == re.sub(r"[\d.]+", "#", part)
    else:
        assert found[0] == part, "run: make golden"


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def test_every_status_is_explained() -> None:
    assert ServiceError in dialect.errors  # so that none is without a status
    assert all(kind.meaning for kind in dialect.errors.values())


def test_the_shell_examples_run(app: Flask, live: Live, tmp_path: Path) -> None:
    token, post, command = blocks()[1:4]
    for name in ("fixtures", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data/first-account").write_text(f"USERNAME='{USERNAME}'\nPASSWORD='{PASSWORD}'\n")
    script = "set -eu\n" + token.replace("http://127.0.0.1:8000", live.url) + post
    environment = {**os.environ, "LTU_COMPUTE_DATA_DIR": str(tmp_path / ".data")}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["details"]["info"]["count"] > 0
    binary = Path(sys.executable).parent / "ltu-compute"
    done = subprocess.run(
        ["sh", "-c", "set -eu\n" + command.replace(".venv/bin/ltu-compute", str(binary))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    count = json.loads(done.stdout)["details"]["info"]["count"]
    assert len(list((tmp_path / "masks").iterdir())) == 2 * count > 0


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
