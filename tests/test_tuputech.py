"""Tuputech's interface: signatures, the envelope, tasks, every code of its table.

``fixtures/vendor/tuputech.yaml`` has the document's sentences, each with the tests here that show
it, and its samples. What the document leaves open is as its SDKs send and read it.
"""

import base64
import io
import json
import shlex
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cv2
import numpy as np
import PIL.Image
import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from flask import Flask
from urllib3 import encode_multipart_formdata

from ltu_compute.app import create_app
from ltu_compute.auth import signing_keys
from ltu_compute.auth.signatures import WrongSignature, public_key_pem, verify
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.cli import main
from ltu_compute.dialects.tuputech import dialect, tasks
from ltu_compute.dialects.tuputech.interface import enveloped, replied, written
from ltu_compute.dialects.tuputech.recognition import _reply
from ltu_compute.dialects.tuputech.tasks import PORNOGRAPHY, MappedTask, Rated
from ltu_compute.errors import Busy, FetchFailed, ServiceError, Unavailable, WrongSetting
from ltu_compute.image import Image
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.unsafe import UnsafeContent
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Rate, Settings
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Exchange, Head
from ltu_compute.web.service import service_of
from ltu_compute.web.wire import Wire
from tests.support.client import FIXTURES, IMAGES, PASSWORD, USERNAME
from tests.support.onnx_models import BOXES, COLOURS, colours, install, yolo
from tests.support.timing import PATIENCE_S, until
from tests.support.tuputech_sdks import (
    SDKS,
    Sdk,
    Sent,
    java_base64,
    newer_document,
    python_base64,
)
from tests.support.unread import unread
from tests.support.unsafe_models import install_unsafe, picture

CLIENT = "5d3a0000000000000000c0de"
VIOLENCE = "5e1d70adeec2874f7318dc52"
MOST_BYTES = 1 << 20  # of an image: what the document advises
FIRE = "a" * 24
ONE_TASK = "- {{id: aaaaaaaaaaaaaaaaaaaaaaaa, name: a, model: m, labels: {}}}\n"
TABLE = [  # an operator's; what the second and the third ask for is not there
    {
        "id": FIRE,
        "name": "fire",
        "model": "fires",
        "labels": ["green", "red"],
        "review_below": 0.5,
    },
    {"id": "b" * 24, "name": "smoke", "model": "smokes", "labels": ["no", "yes"]},
    {"id": "c" * 24, "name": "flood", "model": "fires", "labels": ["green", "wet"]},
    {"id": "d" * 24, "name": "blood", "model": "objects", "labels": ["no", "yes"]},
]
DOCUMENT = yaml.load((FIXTURES / "vendor" / "tuputech.yaml").read_text(), yaml.CSafeLoader)
CLIENT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PICTURES = {
    "http://pictures.example/red.png": picture("red"),
    "http://pictures.example/ü.png": picture("green"),
}


class Pictures(Fetcher):
    """Serves some addresses; nothing leaves this machine."""

    referers: list[str]

    def fetch(self, url: str, *, name: str = "image", referer: str = "") -> bytes:
        self.referers.append(referer)
        if url not in PICTURES:
            raise FetchFailed(f"{name}: nothing at {url}", parameter=name)
        return PICTURES[url]


def public_pem() -> str:
    return public_key_pem(
        CLIENT_KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    install_unsafe(folder)
    install(folder, "fires", colours(), COLOURS)
    install(folder, "objects", yolo([(16, 16, 16, 24, 0.9, 0)]), BOXES)
    return folder


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    data = tmp_path_factory.mktemp("tuputech")
    table = data / "tasks.yaml"
    table.write_text(yaml.safe_dump(TABLE))
    settings = Settings(
        data_dir=data, models_dir=models, tuputech_tasks=table, max_upload_bytes=MOST_BYTES
    )
    store = prepare(settings)
    account = store.accounts.add(USERNAME, PASSWORD)
    store.signing_clients.add(account.id, public_pem(), client_id=CLIENT, now=time.time())
    fetcher = Pictures(settings)
    fetcher.referers = []
    app = create_app(settings, fetcher=fetcher)
    yield app
    service_of(app).recognisers.models.close()
    service_of(app).store.close()
    store.close()


def signature(text: str) -> str:
    return base64.b64encode(
        CLIENT_KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    ).decode()


_count = iter(range(10**6))


def unused() -> str:
    """Return a nonce that no other request had."""
    return f"0.{next(_count)}"


def sign(timestamp: str, nonce: str) -> str:
    return signature(f"{CLIENT},{timestamp},{nonce}")


def server_key(app: Flask) -> str:
    return KeyRing(service_of(app).settings.reply_keys_dir).active.public_pem


def signed(timestamp: str = "", nonce: str = "", client: str = CLIENT) -> dict[str, str]:
    timestamp = timestamp or str(time.time())
    nonce = nonce or unused()
    return {
        "timestamp": timestamp,
        "nonce": nonce,
        "signature": signature(f"{client},{timestamp},{nonce}"),
    }


def opened(app: Flask, answer: Any) -> Any:
    """Return what the envelope holds, its signature checked as the SDKs check it."""
    answer.request.environ["wsgi.input"].close()
    assert answer.status_code == 200, answer.text
    assert answer.data.isascii()
    envelope = json.loads(answer.data)
    assert all(isinstance(value, str) for value in envelope.values())
    verify(server_key(app), envelope["json"], envelope["signature"])
    return json.loads(envelope["json"])


Ask = Callable[..., Any]


@pytest.fixture
def ask(served: Flask) -> Ask:
    def ask(form: Any = None, *, client: str = CLIENT, sign: Any = None, **more: Any) -> Any:
        body = (signed(client=client) if sign is None else sign) | (form or {})
        answer = served.test_client().post(f"/v3/recognition/{client}", data=body, **more)
        return opened(served, answer)

    return ask


def file(colour: str = "green", name: str = "shot.png", suffix: str = ".png") -> Any:
    return io.BytesIO(picture(colour, suffix)), name


# ------------------------------------------------------------------------------- answers


def test_a_picture_of_each_label(ask: Ask) -> None:
    for colour, label in (("red", 0), ("blue", 1), ("green", 2)):
        reply = ask({"image": file(colour), "task": PORNOGRAPHY})
        assert reply["code"] == 0
        assert reply["message"] == "success"
        task = reply[PORNOGRAPHY]
        (entry,) = task["fileList"]
        assert entry["label"] == label
        assert entry["rate"] >= 0.89
        assert entry["review"] is False
        assert task["statistic"] == [int(label == n) for n in range(3)]
        assert task["reviewCount"] == 0


def test_a_picture_that_the_models_disagree_about_is_for_review(ask: Ask) -> None:
    task = ask({"image": file("orange"), "task": PORNOGRAPHY})[PORNOGRAPHY]
    assert task["fileList"][0]["review"] is True
    assert task["reviewCount"] == 1


@pytest.mark.parametrize(
    ("first", "second", "suggestive", "label", "review"),
    [
        (0.9, 0.9, 0.05, 0, False),
        (0.6, 0.6, 0.0, 0, True),  # near the border, although both agree
        (0.66, 0.66, 0.0, 0, False),
        (0.9, 0.1, 0.0, 2, True),  # they disagree
        (0.1, 0.1, 0.8, 1, False),
        (0.1, 0.1, 0.55, 1, True),
        (0.1, 0.1, 0.4, 2, True),
        (0.1, 0.1, 0.3, 2, False),
    ],
)
def test_disagreement_and_borderline_scores_are_for_review(
    monkeypatch: pytest.MonkeyPatch,
    first: float,
    second: float,
    suggestive: float,
    label: int,
    review: bool,
) -> None:
    said = UnsafeContent(first, second, suggestive)
    monkeypatch.setattr(tasks, "unsafe_content", lambda *_: said)
    nothing: Any = None
    rated = tasks.Pornography().rate(nothing, nothing)
    assert (rated.label, rated.review) == (label, review)


def test_the_reply_has_the_nonce_as_a_text_and_the_time_in_milliseconds(ask: Ask) -> None:
    reply = ask({"image": file()}, sign=signed(nonce="0.1527317095951506"))
    assert reply["nonce"] == "0.1527317095951506"
    assert abs(reply["timestamp"] / 1000 - time.time()) < 60


# ------------------------------------------------------------------------ the vendor's SDKs


def judged(app: Flask, sdk: Sdk, sent: Sent) -> Any:
    """Return what an SDK makes of the reply to what it sent, signature checked."""
    answer = app.test_client().post(
        f"/v3/recognition{sent.path}", data=sent.body, headers=sent.headers
    )
    assert answer.status_code == 200
    text = sdk.reads(answer.data)
    verify(server_key(app), text, json.loads(answer.data)["signature"])
    return json.loads(text)


@pytest.mark.parametrize("name", SDKS)
def test_files_of_each_sdk(served: Flask, name: str) -> None:
    images = [("/home/user/rot é.png", picture("red")), ("/home/user/b.png", picture("green"))]
    nonce = f"{SDKS[name].nonce}{next(_count)}"
    sent = SDKS[name].sends(
        *(CLIENT, sign, time.time(), images),
        nonce=nonce,
        tag=["room1"],
        task=[PORNOGRAPHY],
        uid=["u-7"],
        CID=["c"],
        sequenceId=["s"],
        time=["7378413559323844974"],
    )
    reply = judged(served, SDKS[name], sent)
    assert reply["code"] == 0, reply
    assert reply["nonce"] == nonce
    assert "ignored" not in reply
    first, second = reply[PORNOGRAPHY]["fileList"]
    assert (first["label"], second["label"]) == (0, 2)
    assert first["name"].endswith("rot é.png")
    has_tags = "tag" in (*SDKS[name].order, *SDKS[name].trailing)
    assert [first.get("tag"), second.get("tag")] == (["room1"] * 2 if has_tags else [None] * 2)
    whole = name in ("Python", "Java")
    assert first["name"] == ("/home/user/rot é.png" if whole else "rot é.png"), "as it was sent"


@pytest.mark.parametrize("name", SDKS)
def test_addresses_of_each_sdk(served: Flask, name: str) -> None:
    addresses = list(PICTURES)
    nonce = f"{SDKS[name].nonce}{next(_count)}"
    sent = SDKS[name].sends(CLIENT, sign, time.time(), addresses, nonce=nonce, tag=["r1", "r2"])
    entries = judged(served, SDKS[name], sent)[PORNOGRAPHY]["fileList"]
    assert [e["name"] for e in entries] == addresses
    assert [e["label"] for e in entries] == [0, 2]


@pytest.mark.parametrize(
    ("sdk", "writes"), [("Python", python_base64), ("Java", java_base64)], ids=["Python", "Java"]
)
def test_base64_of_the_sdks_that_send_it(
    served: Flask, sdk: str, writes: Callable[..., Sent]
) -> None:
    images = [picture("red"), picture("green")]
    nonce = f"0.4{next(_count)}"
    reply = judged(served, SDKS[sdk], writes(CLIENT, sign, time.time(), nonce, images))
    assert reply["code"] == 0, reply
    assert reply["nonce"] == nonce
    entries = reply[PORNOGRAPHY]["fileList"]
    assert [(e["label"], e["tag"]) for e in entries] == [(0, "one"), (2, "one")]


@pytest.mark.parametrize("nonce", ["0.00005123", "5.123e-05", "0.5127", "1.50", "3720363822"])
def test_addresses_in_json_with_numbers_as_they_are_written(served: Flask, nonce: str) -> None:
    """As the vendor's document has it since 2023; a text that holds the name disturbs nothing."""
    sent = newer_document(CLIENT, sign, time.time(), nonce, PICTURES)
    sent = sent._replace(body=sent.body[:-1] + b', "uid": "\\"nonce\\": 0.5"}')
    reply = judged(served, SDKS["Node"], sent)
    assert reply["code"] == 0, reply
    assert reply["nonce"] == nonce
    assert "ignored" not in reply
    assert [e["label"] for e in reply[PORNOGRAPHY]["fileList"]] == [0, 2]


def test_a_file_with_a_name_that_only_escapes_can_write(served: Flask) -> None:
    for sdk in (SDKS["Java"], SDKS["C++"]):
        name = 'a "b" \\ c.png' if sdk is SDKS["C++"] else "a 'b' c.png"
        sent = sdk.sends(CLIENT, sign, time.time(), [(name, picture("red"))], nonce=unused())
        (entry,) = judged(served, sdk, sent)[PORNOGRAPHY]["fileList"]
        assert entry["name"].startswith("a ")


def test_errors_of_each_sdk(served: Flask) -> None:
    for sdk in SDKS.values():
        sent = sdk.sends(CLIENT, sign, time.time(), [("x.png", b"none")], nonce=unused())
        assert judged(served, sdk, sent)["code"] == 14


# A reply of the vendor's own service and its key, which is in every SDK: a public Spring demo has
# them. The first task is of faces, which no task here is.
VENDORS_KEY = b"""-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDyZneSY2eGnhKrArxaT6zswVH9
/EKz+CLD+38kJigWj5UaRB6dDUK9BR6YIv0M9vVQZED2650tVhS3BeX04vEFhThn
NrJguVPidufFpEh3AgdYDzOQxi06AN+CGzOXPaigTurBxZDIbdU+zmtr6a8bIBBj
WQ4v2JR/BA6gVHV5TwIDAQAB
-----END PUBLIC KEY-----
"""
GENUINE = (FIXTURES / "vendor" / "tuputech-reply.json").read_bytes()


def test_the_genuine_reply_is_verified_and_written_alike() -> None:
    envelope = json.loads(GENUINE)
    text, signed = envelope["json"], envelope["signature"]
    key = public_key_pem(VENDORS_KEY)
    verify(key, text, signed)
    with pytest.raises(WrongSignature):
        verify(key, text.replace("false", "true", 1), signed)
    assert written(json.loads(text)) == text
    for ascii_only in (True, False):
        assert enveloped(text, signed, ascii_only=ascii_only) == GENUINE
    for sdk in SDKS.values():
        assert sdk.reads(GENUINE) == text


def test_a_reply_with_what_the_genuine_one_says_is_the_same_byte_for_byte(
    served: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = json.loads(json.loads(GENUINE)["json"])
    of_faces = "59101e2540f7575536ab3144"
    ratings = {
        task_id: (task["fileList"][0], len(task["statistic"]))
        for task_id, task in genuine.items()
        if isinstance(task, dict) and task_id != of_faces
    }
    assert len(ratings) == 3
    tasks = [
        Rating(task_id, ("",) * labels, Rated(entry["label"], entry["rate"], entry["review"]))
        for task_id, (entry, labels) in ratings.items()
    ]
    monkeypatch.setattr(time, "time_ns", lambda: genuine["timestamp"] * 1_000_000)
    image = Image.from_bytes(picture("red"), max_pixels=10**6)
    received = [ReceivedImage(entry["name"], image) for entry, _ in list(ratings.values())[:1]]
    recognisers = service_of(served).recognisers
    result = {task.id: _reply(task, received, [], recognisers) for task in tasks}
    wire = Wire({"nonce": [genuine["nonce"]]})
    exchange = Exchange(Head("POST", "/", {}), dialect, wire=wire)
    ours = written(replied(exchange, result))
    del genuine[of_faces]
    assert ours == written(genuine)


@dataclass(frozen=True)
class Rating:
    """A task that says the same of every image."""

    id: str
    labels: tuple[str, ...]
    rated: Rated

    name: str = "rating"

    def hindrance(self, _: Recognisers) -> str:
        return ""

    def rate(self, *_: Any) -> Rated:
        return self.rated


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(lambda t: str(int(t)), id="seconds"),
        pytest.param(str, id="seconds with a fraction"),
        pytest.param(lambda t: str(int(1000 * t)), id="milliseconds"),
        pytest.param(lambda t: f"{1000 * t:.3f}", id="milliseconds with a fraction"),
    ],
)
def test_accepted_spellings_of_a_timestamp(ask: Ask, spelt: Callable[[float], str]) -> None:
    assert ask({"image": file()}, sign=signed(spelt(time.time())))["code"] == 0


def test_the_documents_curl_samples(served: Flask, serve: Any, tmp_path: Path) -> None:
    for number in ("", "_0", "_1"):
        (tmp_path / f"your_image_file_path_or_url{number}").write_bytes(picture("red"))
    live = serve(served)
    codes = []
    for sample in DOCUMENT["samples"]:
        fresh = signed()
        text = sample["text"].replace("http://api.open.tuputech.com", live.url)
        text = text.replace("your_secret_id", CLIENT).replace("1553249299", fresh["timestamp"])
        text = text.replace("0.04708760756305974", fresh["nonce"])
        text = text.replace("your_signature", fresh["signature"])
        command = [*shlex.split(text.replace("\\\n", " ")), "-sS"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE_S
        )
        reply = json.loads(json.loads(done.stdout)["json"])
        codes.append(reply["code"])
        if sample["name"] in ("one image", "one task"):
            assert reply[PORNOGRAPHY]["fileList"][0]["name"] == "your_image_file_path_or_url"
        if sample["name"] == "several images":
            assert reply[PORNOGRAPHY]["statistic"] == [2, 0, 0]
    assert codes == [0, 0, 0, 7]  # violence has no model here
    assert VIOLENCE in reply["message"]


def test_the_referer_of_downloads(ask: Ask, served: Flask) -> None:
    sent = {"image": next(iter(PICTURES)), "referer": "http://site.example/"}
    assert ask(sent)["code"] == 0
    fetcher: Any = service_of(served).fetcher
    assert fetcher.referers[-1] == "http://site.example/"
    refused = ask({"image": file(), "referer": "x\r\nHost: evil"})
    assert refused["code"] == 15
    assert refused["message"].endswith(", allowed is printable ASCII without blanks")


def test_every_sentence_of_the_document_has_a_test() -> None:
    assert len(DOCUMENT["sentences"]) == 24
    named = {name for sentence in DOCUMENT["sentences"] for name in sentence["tests"]}
    assert all(sentence["tests"] for sentence in DOCUMENT["sentences"])
    assert sorted(name for name in named if not callable(globals().get(name))) == []


# -------------------------------------------------------------------------------- images


def broken_pixels(suffix: str) -> bytes:
    """Return a file whose container is whole, and whose pixels cannot be read."""
    pixels = np.random.default_rng(7).integers(0, 255, (48, 48, 3), np.uint8)
    content = bytearray(cv2.imencode(suffix, pixels)[1].tobytes())
    if suffix == ".png":
        start = content.index(b"IDAT") + 4
        length = int.from_bytes(content[start - 8 : start - 4], "big")
        content[start : start + length] = b"\xff" * length
        checksum = zlib.crc32(bytes(content[start - 4 : start + length]))
        content[start + length : start + length + 4] = checksum.to_bytes(4, "big")
    elif suffix == ".jpg":
        return bytes(content[: len(content) // 3] + b"\xff\xd9")
    elif suffix == ".webp":
        start = content.index(b"VP8") + 24
        content[start:] = b"\xff" * (len(content) - start)
    else:
        content[8:2000] = b"\xff" * 1992  # strips come before the directory
    return bytes(content)


def test_a_broken_image_costs_the_others_nothing_and_tags_go_on(ask: Ask) -> None:
    images = [
        file("red", "a.png"),
        (io.BytesIO(b"no picture"), "b.png"),
        file("blue", "c.jpg", ".jpg"),
    ]
    reply = ask({"image": images, "tag": ["one", "two"], "task": PORNOGRAPHY})
    first, second, third = reply[PORNOGRAPHY]["fileList"]
    assert [e["tag"] for e in (first, second, third)] == ["one", "two", "two"]
    assert "label" not in second
    assert "image" in second["error"]
    assert reply[PORNOGRAPHY]["statistic"] == [1, 1, 0]


def test_tags_stay_with_their_images(ask: Ask, served: Flask) -> None:
    """A file field that was left empty, or an empty address, is no image, but has a tag."""
    red, green = PICTURES
    tags = ["one", "two", "three"]
    reply = ask({"image": [red, "", green], "tag": tags, "task": PORNOGRAPHY})
    assert [e["tag"] for e in reply[PORNOGRAPHY]["fileList"]] == ["one", "three"]
    images = [("a.png", picture("red")), ("", b""), ("c.png", picture("blue"))]
    fields: list[Any] = [*signed().items(), *(("image", each) for each in images)]
    body, kind = encode_multipart_formdata(fields + [("tag", each) for each in tags])
    answer = served.test_client().post(f"/v3/recognition/{CLIENT}", data=body, content_type=kind)
    entries = opened(served, answer)[PORNOGRAPHY]["fileList"]
    assert [e["tag"] for e in entries] == ["one", "three"]


def test_pixels_that_cannot_be_read_cost_the_others_nothing(ask: Ask) -> None:
    images = [file("red"), (io.BytesIO(broken_pixels(".png")), "broken.png")]
    task = ask({"image": images, "task": PORNOGRAPHY})[PORNOGRAPHY]
    assert task["statistic"] == [1, 0, 0]
    assert "error" in task["fileList"][1]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp"])
def test_pixels_of_all_images_that_cannot_be_read_are_an_error(ask: Ask, suffix: str) -> None:
    broken = broken_pixels(suffix)
    Image.from_bytes(broken, max_pixels=10**6, formats=dialect.formats)  # its structure is whole
    reply = ask({"image": [(io.BytesIO(broken), name) for name in "ab"]})
    assert reply["code"] == 14, reply
    assert "image" in reply["message"]
    assert PORNOGRAPHY not in reply


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp"])
def test_the_documents_formats(ask: Ask, suffix: str) -> None:
    reply = ask({"image": file("red", f"x{suffix}", suffix), "task": PORNOGRAPHY})
    assert reply[PORNOGRAPHY]["fileList"][0]["label"] == 0


def test_a_gif_is_refused_with_a_hint(ask: Ask) -> None:
    gif = (IMAGES.parent / "images" / "blank.png").read_bytes()
    gif = b"GIF89a" + gif[6:]
    reply = ask({"image": (io.BytesIO(gif), "x.gif")})
    assert reply["code"] == 14
    assert "GIF" in reply["message"]


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_a_file_hides_no_second_picture(ask: Ask, kind: str) -> None:
    """No task would examine further pages, or frames of an animation."""
    first, second = (PIL.Image.new("RGB", (16, 16), colour) for colour in ("lime", "red"))
    content = io.BytesIO()
    first.save(content, kind, save_all=True, append_images=[second])
    one = ask({"image": (io.BytesIO(content.getvalue()), "a")})
    assert one["code"] == 14
    assert one["message"] == f"image: received a {kind} of several pictures, allowed is one picture"
    both = [file("red"), (io.BytesIO(content.getvalue()), "b")]
    reply = ask({"image": both, "task": PORNOGRAPHY})
    assert "several pictures" in reply[PORNOGRAPHY]["fileList"][1]["error"]
    single = io.BytesIO()
    first.save(single, kind, save_all=True)
    assert ask({"image": (io.BytesIO(single.getvalue()), "c")})["code"] == 0


def test_an_operators_task(ask: Ask) -> None:
    reply = ask({"image": file("red"), "task": FIRE})
    (entry,) = reply[FIRE]["fileList"]
    assert entry["label"] == 1
    assert entry["review"] is False
    assert reply[FIRE]["statistic"] == [0, 1]
    both = ask({"image": file("red"), "task": [FIRE, PORNOGRAPHY]})
    assert list(both)[:2] == [FIRE, PORNOGRAPHY], "in the order that they were asked for"
    everything = ask({"image": file("red")})
    assert [name for name in everything if len(name) == 24] == [PORNOGRAPHY, FIRE]


def test_a_picture_that_no_mapped_label_is_sure_of_is_for_review(ask: Ask) -> None:
    """The model's third label, blue, is not in the table."""
    task = ask({"image": file("blue"), "task": FIRE})[FIRE]
    assert task["reviewCount"] == 1
    assert task["fileList"][0]["rate"] < 0.3


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("b", "its model smokes is not installed"),
        ("c", "its model fires has no label 'wet', but red, green, blue"),
        ("d", "model: received 'objects', which is for detection; installed for classification"),
    ],
)
def test_a_task_whose_model_does_not_fit_says_why(ask: Ask, task: str, words: str) -> None:
    reply = ask({"image": file(), "task": task * 24})
    assert reply["code"] == 7
    assert words in reply["message"]


def test_tasks_are_listed_and_reported(
    served: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = service_of(served).settings
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(settings.models_dir))
    monkeypatch.setenv("LTU_COMPUTE_TUPUTECH_TASKS", str(settings.tuputech_tasks))
    listed = CliRunner().invoke(main, ["tuputech", "tasks"])
    rows = [line.split("\t") for line in listed.output.splitlines()]
    assert rows[0] == [PORNOGRAPHY, "pornography", "porn, sexy, normal", "ready"]
    assert rows[1] == [FIRE, "fire", "green, red", "ready"]
    assert rows[2][-1] == "its model smokes is not installed"
    dialect.check(settings, service_of(served).recognisers)
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 3
    assert warned[0] == f"task {'b' * 24} (smoke) is not run: its model smokes is not installed"


# --------------------------------------------------------------------------------- codes


@pytest.mark.parametrize(
    ("code", "words", "form", "wrong"),
    [
        pytest.param(1, "signature: required", {}, {"signature": ""}, id="no signature"),
        pytest.param(1, "signature: does not fit", {}, {"signature": "AA=="}, id="forged"),
        pytest.param(1, "signature: does not fit", {}, {"nonce": "another"}, id="another nonce"),
        pytest.param(3, "image: an image is required", {"image": ""}, {}, id="no image"),
        pytest.param(7, "violence", {"task": VIOLENCE}, {}, id="no model"),
        pytest.param(7, "there is no such task", {"task": "f" * 24}, {}, id="unknown task"),
        pytest.param(12, "timestamp: must be", {}, {"timestamp": ""}, id="no time"),
        pytest.param(12, "timestamp: must be", {}, {"timestamp": "soon"}, id="malformed time"),
        pytest.param(12, "s from the time here", {}, {"timestamp": "1553249299"}, id="late"),
        pytest.param(14, "image: not a JPEG", {"image": "broken"}, {}, id="no picture"),
        pytest.param(14, "image: not a JPEG", {"image": "all broken"}, {}, id="no pictures"),
        pytest.param(
            14, "nothing at", {"image": "http://pictures.example/none.png"}, {}, id="not found"
        ),
        pytest.param(14, "image: received", {"image": "large"}, {}, id="a large file"),
        pytest.param(15, "nonce: required", {}, {"nonce": ""}, id="no nonce"),
        pytest.param(
            15, "allowed are up to 1024 characters", {"tag": "x" * 2000}, {}, id="long tag"
        ),
        pytest.param(15, "allowed are up to 10 values", {"tag": ["x"] * 11}, {}, id="tags"),
        pytest.param(19, "image: received 11 images", {"image": "eleven"}, {}, id="eleven"),
    ],
)
def test_codes(
    ask: Ask, code: int, words: str, form: dict[str, Any], wrong: dict[str, str]
) -> None:
    images: dict[str, Callable[[], Any]] = {
        "broken": lambda: (io.BytesIO(b"GIF"), "x"),
        "all broken": lambda: [(io.BytesIO(b"GIF"), "x") for _ in range(3)],
        "eleven": lambda: [file() for _ in range(11)],
        "large": lambda: (io.BytesIO(picture("red").ljust(MOST_BYTES + 1, b"\0")), "x.png"),
    }
    sent = {"image": file()} | form
    if sent["image"] in images:
        sent["image"] = images[sent["image"]]()
    if not sent["image"]:
        del sent["image"]
    stamp = wrong.get("timestamp")
    made = signed() if stamp is None else signed(stamp or " ")
    given = {name: value for name, value in (made | wrong).items() if value}
    reply = ask(sent, sign=given)
    assert reply["code"] == code, reply
    assert words in reply["message"]


def test_a_request_that_does_not_arrive_in_full(served: Flask) -> None:
    answer = served.test_client().post(
        f"/v3/recognition/{CLIENT}",
        environ_overrides={"CONTENT_LENGTH": "1000"},
        data=b"timestamp=1",
        content_type="application/x-www-form-urlencoded",
    )
    assert opened(served, answer)["code"] == 16


@pytest.mark.parametrize(
    ("error", "code"), [(Busy("no place"), 17), (Unavailable("no"), 100), (RuntimeError("x"), 100)]
)
def test_faults_of_the_service(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: Any) -> Rated:
        raise error

    monkeypatch.setattr(MappedTask, "rate", fail)
    assert ask({"image": file(), "task": "a" * 24})["code"] == code


def test_fifty_in_a_second(ask: Ask, served: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    limiter = service_of(served).rate_limiter
    monkeypatch.setattr(type(limiter), "count", lambda _, *given, **__: counted.append(given[1:]))
    assert ask({"image": file()})["code"] == 0
    assert counted == [(f"tuputech:{CLIENT}", Rate(50, 1))]


def test_files_and_addresses_are_not_mixed(served: Flask) -> None:
    form = signed() | {"image": [file()]}
    builder = [*form.items()]
    client = served.test_client()
    body = {**dict(builder), "image": [file()]}
    query = urlencode({"image": "http://pictures.example/red.png"})
    answer = client.post(f"/v3/recognition/{CLIENT}?{query}", data=body)
    reply = opened(served, answer)
    assert reply["code"] == 15
    assert "files and texts" in reply["message"]


def test_a_request_counts_once(ask: Ask) -> None:
    sign = signed()
    assert ask({"image": file()}, sign=sign)["code"] == 0
    again = ask({"image": file()}, sign=sign)
    assert again["code"] == 1
    assert "counted already" in again["message"]


def test_a_new_server_key_signs_whoever_made_it(
    served: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker and replica looks at the folder once a second."""
    monkeypatch.setattr(signing_keys, "CHECK_INTERVAL_S", 0)
    before = server_key(served)
    KeyRing(service_of(served).settings.reply_keys_dir).rotate()
    after = server_key(served)
    assert after != before
    answer = served.test_client().post(f"/v3/recognition/{CLIENT}", data=signed())
    envelope = json.loads(answer.data)
    verify(after, envelope["json"], envelope["signature"])
    with pytest.raises(WrongSignature):
        verify(before, envelope["json"], envelope["signature"])


def test_an_unknown_client_and_another_path(ask: Ask, served: Flask) -> None:
    assert ask({"image": file()}, client="5d3a0000000000000000dead")["code"] == 6
    nothing = opened(served, served.test_client().post("/v3/recognition/a/b"))
    assert nothing["code"] == 6
    wrong = opened(served, served.test_client().get(f"/v3/recognition/{CLIENT}"))
    assert wrong["code"] == 4


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/json"])
def test_nothing_is_read_of_who_is_no_client(served: Flask, kind: str) -> None:
    for client in ("5d3a0000000000000000dead", "x" * 300, "\0"):
        answer = served.test_client().post(
            f"/v3/recognition/{client}", environ_overrides=unread(), content_type=kind
        )
        assert opened(served, answer)["code"] == 6


def test_a_disabled_account(ask: Ask, served: Flask) -> None:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    store.accounts.set_enabled(account.id, False)
    try:
        assert ask({"image": file()})["code"] == 8
        answer = served.test_client().post(
            f"/v3/recognition/{CLIENT}",
            environ_overrides=unread(),
            content_type="multipart/form-data; boundary=b",
        )
        assert opened(served, answer)["code"] == 8
    finally:
        store.accounts.set_enabled(account.id, True)


def test_more_in_a_second_than_the_client_may(served: Flask, ask: Ask) -> None:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    client = "5d3a00000000000000000002"
    store.signing_clients.add(account.id, public_pem(), client_id=client, qps=1, now=time.time())
    until(lambda: ask({"tag": "x" * 2000}, client=client)["code"] == 17)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/plain", b"x"), ("application/x-www-form-urlencoded", b"a=1&" * 5000)],
)
def test_bodies_that_are_not_read(served: Flask, kind: str, body: bytes) -> None:
    path = f"/v3/recognition/{CLIENT}"
    answer = served.test_client().post(path, data=body, content_type=kind)
    assert opened(served, answer)["code"] == 15, "illegal parameter, not 14: no image is the cause"


def test_a_body_over_the_limit(served: Flask) -> None:
    limit = 2 * service_of(served).settings.max_upload_bytes
    answer = served.test_client().post(
        f"/v3/recognition/{CLIENT}",
        environ_overrides={"CONTENT_LENGTH": str(limit)},
        content_type="multipart/form-data; boundary=b",
    )
    assert opened(served, answer)["code"] == 14


def test_every_error_has_a_code() -> None:
    assert ServiceError in dialect.errors
    assert all(
        kind.status == 200 and isinstance(kind.code, int) for kind in dialect.errors.values()
    )


def test_without_models_no_task_is_run(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, models_dir=tmp_path / "none")
    store = prepare(settings)
    account = store.accounts.add(USERNAME, PASSWORD)
    store.signing_clients.add(account.id, public_pem(), client_id=CLIENT, now=time.time())
    app = create_app(settings)
    body = signed() | {"image": file()}
    reply = opened(app, app.test_client().post(f"/v3/recognition/{CLIENT}", data=body))
    assert reply["code"] == 13
    assert reply["message"] == (
        "no task can be run; pornography: its models are not installed; to install them: "
        "ltu-compute models install unsafe unsafe-second"
    )
    service_of(app).store.close()
    store.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- id: short\n", "task 1, id: String should match.*; task 1, name: Field required"),
        ("- 3\n", "task 1: Input should be a valid dictionary"),
        ("id: short\n", "the table: Input should be a valid list"),
        ("[", "cannot be read"),
        (ONE_TASK.format("[one]"), "labels"),
        (ONE_TASK.format("[one, two, one]"), "a label is there twice"),
        (ONE_TASK.format("[one, two]") * 2, "two tasks with the same id"),
        (ONE_TASK.format("[one, two]").replace("a" * 24, PORNOGRAPHY), "is built in"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / f"{abs(hash(text))}.yaml"
    path.write_text(text)
    settings = Settings(data_dir=tmp_path, models_dir=tmp_path, tuputech_tasks=path)
    with pytest.raises(WrongSetting, match=words):
        create_app(settings)
