"""Techsolut's document: its samples replayed as printed, and its replies key by key.

``fixtures/vendor/techsolut.yaml`` has the document's sentences, each with the tests that show it.
"""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask

from ltu_compute.dialects.techsolut import dialect
from ltu_compute.operations import recognition
from ltu_compute.settings import Settings
from ltu_compute.store.data_sets import Kind
from ltu_compute.web.service import service_of
from tests.support.applications import api_key, application
from tests.support.client import FIXTURES, IMAGES, ROOT, USERNAME, Live
from tests.support.onnx_models import BOXES, COLOURS, colours, install, yolo
from tests.support.pictures import shaded
from tests.support.timing import PATIENCE_S

DOCUMENT = yaml.load((FIXTURES / "vendor" / "techsolut.yaml").read_text(), yaml.CSafeLoader)
SAMPLES = {each["name"]: each["text"] for each in DOCUMENT["samples"]}
REPLIES = {name: json.loads(text) for name, text in DOCUMENT["replies"].items()}
ADDRESS = "https://api.techsolut.fr"
PICTURE = base64.b64encode(shaded()).decode()
# A browser has these; Node has not.
BROWSER = """
const fs = require("fs");
let chosen;
globalThis.document = {getElementById: () => ({addEventListener: (_, then) => { chosen = then; }})};
globalThis.FileReader = class {
  readAsDataURL(file) {
    file.arrayBuffer().then((content) => {
      this.result = `data:${file.type};base64,` + Buffer.from(content).toString("base64");
      this.onloadend();
    }).catch((error) => this.onerror(error));
  }
};
globalThis.displayResults = (found) => fs.writeFileSync("found.json", JSON.stringify(found));
"""
CHOOSE = """
chosen({target: {files: [new File([fs.readFileSync("image.jpg")], "i", {type: "image/jpeg"})]}});
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    models = tmp_path_factory.mktemp("models")
    install(models, "objects", yolo([(16, 24, 16, 16, 0.92, 0)]), BOXES)
    install(models, "labels", colours(), COLOURS)
    settings = Settings(data_dir=tmp_path_factory.mktemp("document"), models_dir=models)
    with application(settings) as app:
        yield app


@pytest.fixture(scope="module")
def key(served: Flask) -> str:
    return api_key(served)


@pytest.fixture(scope="module")
def live(served: Flask, serve: Any) -> Live:
    found: Live = serve(served)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "image.jpg").write_bytes(shaded())
    return tmp_path


def sample(name: str, live: Live, key: str) -> str:
    """Return a sample with this server's address, a key and a picture in their places."""
    text = SAMPLES[name].replace(ADDRESS, live.url).replace("YOUR_API_KEY", key)
    return str(text).replace("path/to/your/image.jpg", "image.jpg")


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_like(answer: Any, printed: Any, where: str, own: frozenset[str] = frozenset()) -> None:
    """Compare an answer with a printed one: keys, their order, and types."""
    if isinstance(printed, dict):
        assert [name for name in answer if name not in own] == list(printed), where
        for name, value in printed.items():
            assert_like(answer[name], value, f"{where}.{name}", own)
    elif isinstance(printed, list):
        assert isinstance(answer, list), where
        for each in answer:
            assert_like(each, printed[0], f"{where}[]", own)
    elif isinstance(printed, float):
        assert type(answer) in (int, float), where
    else:
        assert type(answer) is type(printed), where


# ------------------------------------------------------------------------------- samples


def test_the_document_s_samples(
    live: Live, key: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In curl, where the printed picture is elided, and in Python."""
    text = sample("detect by curl", live, key).replace('"..."', f'"{PICTURE}"')
    assert_like(json.loads(run(["sh", "-c", text], folder)), REPLIES["detect"], "curl")
    made = json.loads(run(["sh", "-c", sample("create a model by curl", live, key)], folder))
    custom = REPLIES["models.list"]["models"][1]
    printed = {name: value for name, value in custom.items() if name != "metrics"}
    assert_like(made, printed, "create a model", frozenset(("classes", "base_model")))
    assert made["classes"] == ["soda_can", "cereal_box", "snack_bag", "water_bottle"]
    monkeypatch.chdir(folder)
    namespace: dict[str, Any] = {}
    exec(compile(sample("detect in Python", live, key), "sample", "exec"), namespace)
    assert_like(namespace["detections"], REPLIES["detect"], "Python")
    assert capsys.readouterr().out == "Detected 1 objects:\n- person: 0.92\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_javascript_sample(live: Live, key: str, folder: Path) -> None:
    script = BROWSER + sample("detect in JavaScript", live, key) + CHOOSE
    (folder / "sample.js").write_text(script)
    assert run(["node", "sample.js"], folder) == "Detected 1 objects\nperson: 0.92\n"
    assert_like(json.loads((folder / "found.json").read_text()), REPLIES["detect"], "JavaScript")


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed")
def test_the_php_sample(live: Live, key: str, folder: Path) -> None:
    if "curl" not in run(["php", "-m"], folder).split():
        pytest.skip("PHP has no curl")
    (folder / "sample.php").write_text(sample("detect in PHP", live, key))
    assert run(["php", "sample.php"], folder).strip() == "Objets détectés: 1\n- person: 0.92"


def test_both_forms_of_the_parameters(live: Live, key: str) -> None:
    """The JSON as printed, and the form as printed."""
    as_json, as_form = (each["text"] for each in DOCUMENT["forms"])
    headers = {"Authorization": f"Bearer {key}"}
    sent = json.loads(as_json) | {"image": PICTURE}
    fields = dict(line.split(": ", 1) for line in as_form.splitlines()[2:])
    file = {"file": shaded()}
    assert fields.pop("file") == "[binary image data]"
    url = f"{live.url}/v1/detect"
    refused = requests.post(url, headers=headers, json=sent, timeout=PATIENCE_S).json()
    assert refused["error"]["details"].startswith("classes: received 'car', known: ")
    sent["classes"] = fields["classes"] = "person"
    for given in ({"json": sent}, {"data": fields, "files": file}):
        found: Any = requests.post(url, headers=headers, timeout=PATIENCE_S, **given).json()
        assert_like(found, REPLIES["detect"], str(given.keys()))
        assert [each["class"] for each in found["detections"]] == ["person"]


# ------------------------------------------------------------------------------- replies


def test_replies_have_the_keys_that_are_printed(served: Flask, live: Live, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}

    def ask(path: str, sent: dict[str, Any]) -> Any:
        return requests.post(live.url + path, headers=headers, json=sent, timeout=PATIENCE_S).json()

    label = base64.b64encode((IMAGES / "label.png").read_bytes()).decode()
    assert_like(ask("/v1/classify", {"image": PICTURE}), REPLIES["classify"], "classify")
    assert_like(ask("/v1/ocr", {"image": label}), REPLIES["ocr"], "ocr")
    accepted = ask("/v1/detect/async", {"image": PICTURE})
    assert_like(accepted, REPLIES["detect.async"], "detect.async")
    for name in ("task_id", "task_url"):
        pattern = re.sub("[0-9A-Za-z]{10}$", "[0-9A-Za-z]{10}", REPLIES["detect.async"][name])
        assert re.fullmatch(pattern.replace(ADDRESS, live.url), accepted[name])
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    store.custom_models.add(account.id, "Retail Product Detector", Kind.DETECTION)
    page = requests.get(f"{live.url}/v1/models", headers=headers, timeout=PATIENCE_S).json()
    predefined, custom = REPLIES["models.list"]["models"]
    assert {**page, "models": []}.keys() == REPLIES["models.list"].keys()
    for each in page["models"]:
        printed = custom if each["custom"] else predefined
        own = frozenset(("classes", "base_model"))
        trained = {name: value for name, value in printed.items() if name != "metrics"}
        assert_like(each, trained, each["id"], own)


def test_an_error_is_as_printed(live: Live, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    sent = {"image": PICTURE, "confidence": 2}
    refused = requests.post(
        f"{live.url}/v1/detect", headers=headers, json=sent, timeout=PATIENCE_S
    ).json()
    printed = REPLIES["error"]
    assert_like(refused, printed, "error")
    for name in ("code", "message", "status"):
        assert refused["error"][name] == printed["error"][name]
    for name in ("confidence", "0", "1", "2"):
        assert name in refused["error"]["details"]
    assert len(refused["error"]["request_id"]) == len(printed["error"]["request_id"])


def test_a_fault_is_reported_in_the_vendors_format(
    live: Live, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("of an unexpected kind")

    monkeypatch.setattr(recognition, "detect_objects", fail)
    headers = {"Authorization": f"Bearer {key}"}
    reply = requests.post(
        f"{live.url}/v1/detect", headers=headers, json={"image": PICTURE}, timeout=PATIENCE_S
    )
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (500, "internal_error")
    assert "unexpected" not in reply.text
    assert "X-RateLimit-Limit" in reply.headers


def test_defaults_are_those_of_the_document() -> None:
    said = "\n".join(sentence["said"] for sentence in DOCUMENT["sentences"])
    declared = {
        name: field.default
        for operation in ("detect", "classify", "ocr", "models.list")
        for name, field in next(
            each for each in dialect.endpoints if each.name == operation
        ).params.model_fields.items()
    }
    pattern = r'(?:^|\. )(\w+), \w+, [^"\n]*?\.? ?Default: "?([\w.]*\w)"?'
    named = re.findall(pattern, said, re.MULTILINE)
    assert len(named) == 10
    for name, value in named:
        if name != "model":  # there are two
            assert str(declared[name]).lower() == value, name


def test_every_sentence_of_the_document_has_a_test() -> None:
    assert len(DOCUMENT["sentences"]) == 33
    sources = [path.read_text() for path in (ROOT / "tests").glob("test_techsolut*.py")]
    there = {
        name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)
    }
    for sentence in DOCUMENT["sentences"]:
        assert sentence["tests"]
        assert set(sentence["tests"]) <= there, sentence["said"]
