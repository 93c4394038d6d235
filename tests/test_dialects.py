"""The requests and replies that the vendor's document prints, against a running server."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask

from ltu_compute.app import create_app
from ltu_compute.dialects.ltu import dialect
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings
from tests.support.client import FIXTURES, IMAGES, PASSWORD, TOKEN_PATH, USERNAME, Live
from tests.support.timing import PATIENCE_S

VENDOR = FIXTURES / "vendor"
SAMPLES = yaml.load((VENDOR / "requests.yaml").read_text(), yaml.CSafeLoader)
REPLIES = {
    entry["operation"]: entry["reply"]
    for entry in json.loads((VENDOR / "replies.json").read_text())
}
REMOTE = {  # what the samples' addresses lead to here
    "Nobita.jpg": "chelsea.jpg",
    "my_image.jpeg": "coffee.jpg",
    "16-1.png": "part-reference.jpg",
    "16-2.png": "part-shot.jpg",
}


class RemoteImages(Fetcher):
    """Serves the addresses that the samples name from the fixtures; nothing leaves this machine."""

    def fetch(self, url: str, *, name: str = "image") -> bytes:  # noqa: ARG002  (as it is called)
        return (IMAGES / REMOTE[url.rpartition("/")[2]]).read_bytes()


@pytest.fixture(scope="module")
def vendor(app: Flask, settings: Settings, serve: Any) -> Live:
    """The service, with an account, at whose end the samples' remote images are."""
    live: Live = serve(create_app(settings, fetcher=RemoteImages(settings)))
    return live


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Local files that the samples name, and what stands for them here."""
    (tmp_path / "image.jpg").write_bytes((IMAGES / "chelsea.jpg").read_bytes())
    one, two = IMAGES / "part-reference.jpg", IMAGES / "part-shot.jpg"
    return {
        "/Users/Pictures/image1.jpg": str(one),
        "/Users/Pictures/image2.jpg": str(two),
        "/Users/Pictures/image.jpg": str(tmp_path / "image.jpg"),
        "/Users/Pictures/chanel-crayon.jpg": str(IMAGES / "label.png"),
        "/user/myimage.jpg": str(tmp_path / "image.jpg"),
        "./Nobita.jpg": str(tmp_path / "image.jpg"),
        "/path/to/image/file": str(tmp_path / "image.jpg"),
        "path": str(tmp_path),
        "path_img": str(tmp_path / "image.jpg"),
        "path_img1": str(one),
        "path_img2": str(two),
    }


@pytest.fixture
def session(vendor: Live) -> dict[str, str]:
    form = {
        "username": USERNAME,
        "password": PASSWORD,
        "grant_type": "password",
        "client_id": "ltu-api",
    }
    answer: dict[str, str] = requests.post(
        vendor.url + TOKEN_PATH, data=form, timeout=PATIENCE_S
    ).json()
    return answer


def repaired(sample: dict[str, Any]) -> str:
    text = str(sample["text"])
    for repair in sample["repair"]:
        text = text.replace(repair["find"], repair["replace"])
    return text


def localised(text: str, vendor: Live, files: dict[str, str], session: dict[str, str]) -> str:
    """Put this server's address, this session's token and these files into a sample."""
    text = text.replace("https://api.core.ltutech.com", vendor.url)
    text = text.replace("https://iam.dev.ltutech.com", vendor.url)
    for placeholder in ("{token}", "<TOKEN>"):
        text = text.replace(placeholder, session["access_token"])
    for name, path in files.items():
        if "/" in name:
            text = text.replace(name, path)
    return text


def by_curl(text: str, session: dict[str, str]) -> Any:
    environment = {
        "PATH": os.environ["PATH"],
        "TOKEN": session["access_token"],
        "REFRESH_TOKEN": session["refresh_token"],
        "USERNAME": USERNAME,
        "PASSWORD": PASSWORD.replace("&", "%26"),  # -d sends a value as it stands
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "-c", text.strip().replace("curl ", "curl -sS -m 60 ", 1)],
        env=environment,
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return json.loads(done.stdout)


def by_python(text: str, names: dict[str, str], session: dict[str, str]) -> Any:
    for variable, value in (
        ("$REFRESH_TOKEN", session["refresh_token"]),
        ("$USERNAME", USERNAME),
        ("$PASSWORD", PASSWORD),
    ):
        text = text.replace(variable, value)
    namespace: dict[str, Any] = dict(names)
    exec(compile(text, "sample", "exec"), namespace)
    answer = namespace["response"] if "response" in namespace else namespace["result"]
    return answer.json() if isinstance(answer, requests.Response) else answer


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a sample leaves its file open
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_the_document_s_samples(
    sample: dict[str, Any], vendor: Live, files: dict[str, str], session: dict[str, str]
) -> None:
    text = localised(repaired(sample), vendor, files, session)
    names = files | {"URL": f"{vendor.url}/v2/services/"}
    if sample["kind"] == "curl":
        answer = by_curl(text, session)
    else:
        answer = by_python(text, {name: names[name] for name in sample["names"]}, session)
    operation = sample["operation"]
    assert_like(answer, REPLIES[operation], operation)


OWN = {  # keys of ours, which stand after the vendor's
    "ignored",
    "code",
    "errors",
    "area_percent",
    "strength",
    "l_hist_image",
    "noise_sigma",
    "algorithm",
    "blur",
    "verdict",
    "remarks",
    "border_px",
    "delta_e",
    "hashes",
    "kind",
    "margin",
    "compared",
    "alignment",
    "method",
    "inliers",
    "residual_px",
    "expected_error_px",
    "matOn1",
    "matOn2",
    "mask",
    "info",
    "confidence",
    "vertices",
}


KEYED = ("areas", "words")  # by values, not by names


def assert_like(answer: Any, sample: Any, where: str) -> None:
    """Hold an answer against the printed one: keys, their order and spelling, and types."""
    if where.endswith(KEYED):
        assert isinstance(answer, dict), where
        samples = list(sample.values())
        for index, (key, item) in enumerate(answer.items()):
            assert_like(item, samples[min(index, len(samples) - 1)], f"{where}[{key}]")
    elif isinstance(sample, dict):
        assert isinstance(answer, dict), where
        ours = list(answer)
        vendors = [key for key in sample if key in answer or key not in OWN]
        assert ours[: len(vendors)] == vendors, f"{where}: {ours} against {list(sample)}"
        assert set(ours[len(vendors) :]) <= OWN, where
        for key in vendors:
            assert_like(answer[key], sample[key], f"{where}.{key}")
    elif isinstance(sample, list):
        assert isinstance(answer, list), where
        for item in answer if sample else []:
            assert_like(item, sample[0], f"{where}[]")
    elif isinstance(sample, float):
        assert isinstance(answer, int | float), where
    else:
        assert type(answer) is type(sample), f"{where}: {answer!r}"


def test_every_operation_has_samples() -> None:
    named = {sample["operation"] for sample in SAMPLES}
    theirs = {e.name for e in dialect.endpoints if e.images and e.name != "differences/counts"}
    assert named - {"token", "refresh"} == theirs


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("heatMap", {"name": "heatmap", "message": "", "info": {"signature": 72004000}}),
        ("edges", {"name": "edges", "message": "Edges found.", "info": {}}),
        ("imageQuality", {"name": "quality", "message": "", "info": {"description": ""}}),
        (
            "objectMaskDetection",
            {"name": "objectMaskDetection", "message": "Succeded to detect object using channel V"},
        ),
    ],
)
def test_words_of_the_samples(call: Any, operation: str, expected: dict[str, Any]) -> None:
    content = base64.b64encode((IMAGES / "object-dark.png").read_bytes()).decode()
    details = call.post(operation, data={"image": content}).json["details"]
    assert details | expected == details
    assert details["score"] == 0
    printed = REPLIES[operation]["details"]
    assert {key: printed[key] for key in expected if key != "info"} == {
        key: value for key, value in expected.items() if key != "info"
    }
