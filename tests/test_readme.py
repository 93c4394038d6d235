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
from ltu_compute.openapi import MEANINGS
from ltu_compute.settings import table
from tests.conftest import PASSWORD, ROOT, USERNAME, Caller, Live
from tests.test_golden import PART, SHOT, elided, post

README = ROOT / "README.md"
TEXT = README.read_text()


def rows(*lines: tuple[object, ...]) -> str:
    head, *body = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


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
    return rows(("status", "meaning"), *MEANINGS.items())


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
    assert set(dialect.statuses.values()) == set(MEANINGS)
    assert ServiceError in dialect.statuses  # so that none is without a status


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
