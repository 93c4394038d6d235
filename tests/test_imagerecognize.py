"""ImageRecognize's interface: the document's samples, every status, quota and cache.

``fixtures/vendor/imagerecognize.yaml`` has the document's sentences, each with the tests here that
show it, and its samples.
"""

import base64
import io
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from flask import Flask
from urllib3 import encode_multipart_formdata

from ltu_compute.app import create_app
from ltu_compute.cli import main
from ltu_compute.dialects.imagerecognize import dialect
from ltu_compute.dialects.imagerecognize.recognition import _RECOGNIZERS
from ltu_compute.errors import (
    Busy,
    ServiceError,
    TooManyRequests,
    Unavailable,
    UnreadableImage,
)
from ltu_compute.jobs.runner import Runner, runners_for
from ltu_compute.kernels.types import Size
from ltu_compute.operations import people
from ltu_compute.recognisers.faces import Face
from ltu_compute.settings import Settings
from ltu_compute.store import KeptResult, Store, tables
from ltu_compute.store.results import KEPT_EACH, KEPT_S, LARGEST
from ltu_compute.web.service import service_of
from tests.support.applications import api_key, application
from tests.support.client import FIXTURES, IMAGES, PASSWORD, USERNAME
from tests.support.onnx_models import BOXES, install, yolo
from tests.support.timing import PATIENCE_S
from tests.support.unread import unread
from tests.support.unsafe_models import install_unsafe, picture

Ask = Callable[..., Any]
OBJECTS = {"type": "objects", "max_labels": "10", "min_confidence": "30"}
DOCUMENT = yaml.load((FIXTURES / "vendor" / "imagerecognize.yaml").read_text(), yaml.CSafeLoader)


def sample(name: str) -> str:
    """Return a sample of the document."""
    return next(str(each["text"]) for each in DOCUMENT["samples"] if each["name"] == name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    data = tmp_path_factory.mktemp("imagerecognize")
    models = tmp_path_factory.mktemp("models")
    install_unsafe(models)
    # Two persons and a bolt: centre x, centre y, width, height, scores of person and bolt.
    boxes = [(16, 16, 16, 24, 0.9, 0), (48, 16, 16, 24, 0.8, 0), (32, 50, 10, 10, 0, 0.6)]
    install(models, "objects", yolo(boxes), BOXES)
    settings = Settings(data_dir=data, models_dir=models, max_upload_bytes=1 << 20)
    with application(settings) as app:
        yield app


@pytest.fixture
def key(served: Flask) -> str:
    """A key of its own for each test, good for five answers."""
    return api_key(served, quota=5)


@pytest.fixture
def ask(served: Flask, key: str) -> Ask:
    def ask(path: str = "/api/v2/", method: str = "POST", **form: Any) -> Any:
        sent = {"apikey": key} | form
        sent = {name: value for name, value in sent.items() if value is not None}
        where = {"query_string": sent} if method == "GET" else {"data": sent}
        answer = served.test_client().open(path, method=method, **where)
        answer.request.environ["wsgi.input"].close()
        assert answer.content_type == "text/html; charset=UTF-8"
        body = json.loads(answer.text)
        assert body["status"] == answer.status_code
        return body

    return ask


def file(content: bytes = b"", name: str = "image.jpg") -> Any:
    return io.BytesIO(content or picture("green")), name


# ------------------------------------------------------------------------------- answers


def test_objects_are_grouped_by_name_with_all_their_places(ask: Ask) -> None:
    body = ask(**OBJECTS, file=file())
    assert list(body) == ["status", "message", "data"]
    assert body["message"] == "Success"
    data = body["data"]
    assert list(data) == ["error", "type", "objects", "quota", "note"]
    assert (data["error"], data["type"], data["quota"]) == (0, "objects", 4)
    person, bolt = data["objects"]
    assert (person["name"], bolt["name"]) == ("Person", "bolt")
    assert (len(person["coordinates"]), len(bolt["coordinates"])) == (2, 1)
    assert person["confidence"] == pytest.approx(90, abs=0.5)
    for place in person["coordinates"]:
        assert list(place) == ["x", "y", "width", "height"]
        assert all(0 <= v <= 1 and round(v, 2) == v for v in place.values())


def test_least_confidence_and_most_labels(ask: Ask) -> None:
    names = [
        o["name"] for o in ask(**OBJECTS | {"min_confidence": "70"}, file=file())["data"]["objects"]
    ]
    assert names == ["Person"]
    assert len(ask(**OBJECTS | {"max_labels": "1"}, file=file())["data"]["objects"]) == 1


def test_unsafe_content(ask: Ask) -> None:
    found = ask(type="nsfw", nsfw_min_confidence="50", file=file(picture("red")))["data"]["objects"]
    assert [o["name"] for o in found] == ["Explicit"]
    assert found[0]["coordinates"] == [{"x": 0, "y": 0, "width": 1, "height": 1}]
    assert ask(type="nsfw", nsfw_min_confidence="50", file=file())["data"]["objects"] == []


def test_text_is_lines_and_words(ask: Ask) -> None:
    label = (IMAGES / "label.png").read_bytes()
    found = ask(type="detect_text", file=file(label))["data"]["objects"]
    lines = [o for o in found if o["name"] == "LINE"]
    words = [o for o in found if o["name"] == "WORD"]
    assert lines
    assert len(words) >= len(lines)
    assert " ".join(w["text"] for w in words) == " ".join(line["text"] for line in lines)


def test_faces_without_their_model_say_how_to_install_it(ask: Ask) -> None:
    body = ask(type="detect_faces", file=file())
    assert body["status"] == 503
    command = "ltu-compute models install faces face-points face-embedding"
    assert body["status_message"].endswith(
        f"no model for faces is installed; to install it: {command}"
    )
    assert list(body) == ["status", "status_message", "data"]
    assert body["data"] is None


def test_models_that_would_have_answered_too_are_named(ask: Ask) -> None:
    data = ask(**OBJECTS, file=file())["data"]
    assert data["note"] == (
        "not installed: objects-second, labels; to install: "
        "ltu-compute models install objects-second labels"
    )
    assert "note" not in ask(type="nsfw", nsfw_min_confidence="0", file=file())["data"]


# ------------------------------------------------------------------------------- clients


def test_the_documents_python_sample(
    served: Flask,
    serve: Any,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.jpg").write_bytes(picture("green", ".jpg"))
    live = serve(served)
    text = sample("Python")
    text = text.replace("https://imagerecognize.com", live.url).replace("YOUR-API-KEY", key)
    exec(compile(text, "sample", "exec"), {})
    printed, parsed = capsys.readouterr().out.splitlines()
    assert str(json.loads(printed)) == parsed
    assert json.loads(printed)["message"] == "Success"
    # the same without the slash at the end, which no redirect must add
    sent = {"apikey": key, "type": "detect_text"}
    reply = requests.post(
        f"{live.url}/api/v2",
        data=sent,
        files={"file": picture("green")},
        timeout=PATIENCE_S,
        allow_redirects=False,
    )
    assert reply.status_code == 200


def test_the_form_of_the_documents_page(served: Flask, key: str) -> None:
    """What a browser sends for the page's FormData; the page parses the reply's text itself."""
    form = sample("HTML/Javascript")
    names = re.findall(r"form_data\.append\('(\w+)', ([^)]+)\)", form)
    assert [name for name, _ in names] == [
        "type", "file", "apikey", "min_confidence", "max_labels",
    ]  # fmt: skip
    given = {"file_obj": ("image.png", picture("green"), "image/png"), "APIKEY": key}
    fields = [(name, given.get(value, value.strip("'"))) for name, value in names]
    body, kind = encode_multipart_formdata(
        fields, boundary="----WebKitFormBoundary38Nh2PBHpWDuAlHp"
    )
    answer = served.test_client().post("/api/v2/", data=body, content_type=kind)
    assert answer.content_type == "text/html; charset=UTF-8", "else jQuery would parse it, too"
    assert json.loads(answer.text)["data"]["type"] == "objects"


def test_the_page_may_be_on_another_origin(served: Flask, key: str) -> None:
    """A form needs no preflight: the header lets the page read the reply, the error too."""
    page = "https://page.example"
    settings = service_of(served).settings.model_copy(update={"cors_origins": (page,)})
    shared = create_app(settings)
    for app, allowed in ((shared, page), (served, None)):
        for secret, status in ((key, 200), ("x", 401)):
            sent = {"apikey": secret, "type": "cache"}
            answer = app.test_client().post("/api/v2/", data=sent, headers={"Origin": page})
            assert answer.status_code == status
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    service_of(shared).recognisers.models.close()
    service_of(shared).store.close()


def test_a_public_client_that_begins_with_an_empty_line(served: Flask, key: str) -> None:
    """An app in Swift: a line break before the first boundary, and a name without quotes."""
    boundary = "------WebKitFormBoundary38Nh2PBHpWDuAlHp"
    parts = [
        f'Content-Disposition: form-data; name="apikey"\r\n\r\n{key}'.encode(),
        b'Content-Disposition: form-data; name="type"\r\n\r\ndetect_text',
        b'Content-Disposition: form-data; name=file; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + picture("green"),
    ]
    line = f"\r\n--{boundary}".encode()
    body = b"".join(line + b"\r\n" + part for part in parts) + line + b"--\r\n"
    kind = f"multipart/form-data; boundary={boundary}"
    answer = served.test_client().post("/api/v2/", data=body, content_type=kind)
    assert json.loads(answer.text)["message"] == "Success"


def test_curl(served: Flask, serve: Any, key: str) -> None:
    curl = [
        "curl",
        "-sS",
        "-F",
        f"apikey={key}",
        "-F",
        "type=cache",
        f"{serve(served).url}/api/v2/",
    ]
    printed = subprocess.run(curl, capture_output=True, check=True, timeout=PATIENCE_S).stdout
    assert json.loads(printed)["data"]["objects"] == []


def test_key_and_type_in_the_query(served: Flask, key: str) -> None:
    address = f"/api/v2/?apikey={key}&type=detect_text"
    answer = served.test_client().post(address, data={"file": file()})
    assert json.loads(answer.text)["message"] == "Success"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg"])
@pytest.mark.parametrize("name", ["file", "photo.jpeg", "x", "C:\\a b\\ü.gif"])
def test_a_file_of_whatever_name(served: Flask, suffix: str, name: str) -> None:
    """The format is read from the content, not from the name."""
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    secret = str(store.api_keys.add(account.id, now=time.time())[1])
    sent = {"apikey": secret, "type": "cache", "file": file(picture("green", suffix), name)}
    assert served.test_client().post("/api/v2/", data=sent).status_code == 200


# ------------------------------------------------------------------------------ statuses


@pytest.mark.parametrize(
    ("status", "words", "form"),
    [
        pytest.param(400, "APIkey missing", {"apikey": None, "type": "objects"}, id="no key"),
        pytest.param(401, "APIkey invalid", {"apikey": "x", "type": "objects"}, id="wrong key"),
        pytest.param(412, "Invalid file", OBJECTS | {"file": "cut off"}, id="cut off"),
        pytest.param(413, "Image size too large", OBJECTS | {"file": "large"}, id="large"),
        pytest.param(415, "Invalid file format", OBJECTS | {"file": "gif"}, id="GIF"),
        pytest.param(420, "Invalid type", {"type": "animals", "file": "good"}, id="type"),
        pytest.param(420, "Invalid type", {"file": "good"}, id="no type"),
        pytest.param(430, "file: an image is required", OBJECTS, id="no file"),
    ],
)
def test_statuses(ask: Ask, status: int, words: str, form: dict[str, Any]) -> None:
    files = {
        "good": picture("green"),
        "cut off": picture("green")[:60],
        "large": bytes(1 << 21),
        "gif": b"GIF89a" + bytes(40),
    }
    sent = dict(form)
    if sent.get("file") in files:
        sent["file"] = file(files[sent["file"]])
    body = ask(**sent)
    assert body["status"] == status, body
    message = body["status_message"]
    assert message.startswith(words) if status == 430 else message == words
    assert list(body)[:3] == ["status", "status_message", "data"]
    assert body["data"] is None


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *(("objects", "max_labels", v) for v in (None, "0", "-1", "1.5", "x", "9" * 30)),
        *(("objects", "min_confidence", v) for v in (None, "-1", "101", "50.5", "x")),
        *(("nsfw", "nsfw_min_confidence", v) for v in (None, "-1", "101", "50.5", "x")),
    ],
)
def test_numbers_that_a_type_takes(ask: Ask, kind: str, name: str, value: str | None) -> None:
    good = OBJECTS if kind == "objects" else {"type": "nsfw", "nsfw_min_confidence": "50"}
    body = ask(**good | {name: value}, file=file())
    if name == "max_labels" and value == "9" * 30:  # a number above 0, however large
        assert body["status"] == 200
        return
    assert body["status"] == 430
    message = body["status_message"]
    if value:
        assert message.startswith(f"{name}: received {value!r}, allowed is a whole number from ")
    else:
        assert message == f"{name}: required for type {kind}"
    for bound in ("0", "100") if "confidence" in name else ("1",):
        assert ask(**good | {name: bound}, file=file())["status"] in (200, 402)


@pytest.mark.parametrize(
    ("status", "words", "body", "kind"),
    [
        (413, "Request too large", b"a=1&" * 5000, "application/x-www-form-urlencoded"),
        (413, "Request too large", b'{"a": ' + b"[]," * 50_000 + b"1}", "application/json"),
        (415, "Invalid content type", b"apikey=x", "text/plain"),
    ],
    ids=["fields", "brackets", "text"],
)
def test_bodies_that_are_not_read(
    served: Flask, status: int, words: str, body: bytes, kind: str
) -> None:
    """The body is at fault, so messages about pictures would mislead."""
    answer = served.test_client().post("/api/v2/", data=body, content_type=kind)
    reply = json.loads(answer.text)
    assert (reply["status"], reply["status_message"]) == (status, words)
    assert reply["details"].startswith("body: received" if status == 413 else "Content-Type: ")


def test_an_empty_file(served: Flask, key: str) -> None:
    body, kind = encode_multipart_formdata(
        [*OBJECTS.items(), ("apikey", key), ("file", ("a", b""))]
    )
    reply = json.loads(served.test_client().post("/api/v2/", data=body, content_type=kind).text)
    assert (reply["status"], reply["details"]) == (412, "file: the file is empty")


def test_json_is_utf_8(served: Flask) -> None:
    body = json.dumps({"apikey": "x"}).encode("utf-16")
    answer = served.test_client().post("/api/v2/", data=body, content_type="application/json")
    reply = json.loads(answer.text)
    assert reply["status"] == 430
    assert reply["status_message"].startswith("the body is not JSON: it must be UTF-8")


def test_a_picture_under_another_name(ask: Ask) -> None:
    message = ask(**OBJECTS, image=file())["status_message"]
    names = "'apikey', 'type', 'max_labels', 'min_confidence', 'image'"
    assert message.endswith(f"; received were {names}")


def test_everything_that_is_wrong_is_reported_at_once(ask: Ask) -> None:
    message = ask(type="objects", max_labels="0")["status_message"]
    assert re.findall(r"(\w+): ", message) == ["max_labels", "min_confidence"]


def test_the_largest_image(served: Flask, ask: Ask) -> None:
    assert Settings().max_upload_bytes == 50 << 20, "50Mb, as the document has it"
    limit = service_of(served).settings.max_upload_bytes
    padded = picture("green").ljust(limit, b"\0")
    assert ask(type="detect_text", file=file(padded))["status"] in (200, 412)
    over = ask(type="detect_text", file=file(padded + b"\0"))
    assert (over["status"], over["status_message"]) == (413, "Image size too large")
    assert over["details"] == f"file: received {limit + 1} bytes, allowed are {limit}"


@pytest.mark.parametrize("path", ["/api/v2/", "/api/v2"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_data(served: Flask, path: str, method: str) -> None:
    answer = served.test_client().open(path, method=method)
    assert answer.status_code == 300
    assert json.loads(answer.text) == {
        "status": 300,
        "status_message": "Invalid request, no data received",
        "data": None,
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (412, UnreadableImage("file: cannot be decoded")),
        (429, TooManyRequests("too many", retry_after=1)),
        (500, RuntimeError("x")),
        (503, Busy("no place")),
    ],
)
def test_statuses_beyond_a_users_faults(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, status: int, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setitem(_RECOGNIZERS, "detect_text", fail)
    body = ask(type="detect_text", file=file())
    assert (body["status"], body["data"]) == (status, None)
    assert ask(type="cache")["data"]["quota"] == 5, "an error costs nothing"


def test_other_paths_methods_and_cut_bodies_have_their_status(served: Flask, key: str) -> None:
    client = served.test_client()
    cut = {"data": b"apikey=x", "content_type": "application/x-www-form-urlencoded"}
    answers = {
        404: client.post(f"/api/v2/objects?apikey={key}"),
        405: client.put("/api/v2/"),
        408: client.post("/api/v2/", environ_overrides={"CONTENT_LENGTH": "1000"}, **cut),
    }
    for status, answer in answers.items():
        assert (answer.status_code, json.loads(answer.text)["status"]) == (status, status)


def test_nothing_is_read_of_who_has_a_wrong_key_in_the_query(served: Flask, key: str) -> None:
    client = served.test_client()
    kind = "multipart/form-data; boundary=b"
    answer = client.post(
        f"/api/v2/?apikey={key[:-1]}", environ_overrides=unread(), content_type=kind
    )
    assert (answer.status_code, json.loads(answer.text)["status_message"]) == (
        401,
        "APIkey invalid",
    )
    right = client.post(f"/api/v2/?apikey={key}", environ_overrides=unread(), content_type=kind)
    assert right.status_code == 500  # it was read


def test_get_is_for_the_cache_alone(ask: Ask) -> None:
    refused = ask(method="GET", **OBJECTS)
    assert (refused["status"], refused["status_message"]) == (420, "Invalid type")
    assert refused["details"] == "type: received 'objects', allowed is cache"
    assert ask(method="GET", type="objects")["status"] == 420, "not 430: no number would help"
    assert ask(method="GET")["status"] == 420
    assert ask(method="GET", type="cache", max_labels="0")["status"] == 200
    ask(**OBJECTS, file=file())
    assert len(ask(method="GET", type="cache")["data"]["results"]) == 1
    assert ask(method="PUT", type="cache")["status"] == 405


def test_the_cache_takes_no_computing_slot(
    served: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(*_: object) -> None:
        raise AssertionError("a slot was claimed")

    monkeypatch.setattr(type(service_of(served).slots), "claim", claim)
    assert ask(method="GET", type="cache")["status"] == 200
    assert ask(type="cache", file=file())["status"] == 200
    assert ask(**OBJECTS, file=file())["status"] == 500


def test_head_costs_nothing(served: Flask, key: str, ask: Ask) -> None:
    sent = {"apikey": key, "type": "detect_text", "file": base64.b64encode(picture("green"))}
    assert served.test_client().head("/api/v2/", query_string=sent).status_code == 420
    assert ask(type="cache")["data"]["quota"] == 5


def test_no_reply_has_markup_of_a_request(served: Flask, ask: Ask) -> None:
    for answer in (
        served.test_client().get("/api/v2/<h1>x<form action=//evil>&"),
        served.test_client().post("/api/v2/", data={"apikey": "<b>", "type": "<i>"}),
    ):
        assert b"<" not in answer.data
        assert b"&" not in answer.data
        assert json.loads(answer.text)["status"] == answer.status_code
        assert "form-action 'none'" in answer.headers["Content-Security-Policy"]
    assert ask(type="cache", **{"<h1>": "1"})["ignored"] == ["<h1>"]


def test_an_answer_that_cannot_be_kept_is_given(
    served: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(service_of(served).store.results, "keep", fail)
    assert ask(**OBJECTS, file=file())["data"]["quota"] == 4


def test_parameters_of_other_types_are_ignored(ask: Ask) -> None:
    body = ask(
        type="nsfw", nsfw_min_confidence="0", max_labels="x", min_confidence="-7", file=file()
    )
    assert body["status"] == 200
    assert "ignored" not in body
    assert ask(type="cache", tpyo="1")["ignored"] == ["tpyo"]


def test_every_sentence_of_the_document_has_a_test() -> None:
    assert len(DOCUMENT["sentences"]) == 40
    named = {name for sentence in DOCUMENT["sentences"] for name in sentence["tests"]}
    assert all(sentence["tests"] for sentence in DOCUMENT["sentences"])
    assert sorted(name for name in named if not callable(globals().get(name))) == []


def test_every_error_has_a_status() -> None:
    assert ServiceError in dialect.errors
    assert all(kind.meaning for kind in dialect.errors.values())


# ------------------------------------------------------------------------- quota, cache


def test_an_answer_costs_one_and_errors_and_the_cache_nothing(ask: Ask) -> None:
    assert ask(**OBJECTS, file=file())["data"]["quota"] == 4
    assert ask(**OBJECTS, file=file(b"x"))["status"] == 415
    assert ask(type="detect_faces", file=file())["status"] == 503
    assert ask(type="cache")["data"]["quota"] == 4
    for left in (3, 2, 1, 0):
        assert ask(**OBJECTS, file=file())["data"]["quota"] == left
    used_up = ask(**OBJECTS, file=file())
    assert used_up == {"status": 402, "status_message": "Quota limit reached", "data": None}
    assert ask(type="cache")["data"]["quota"] == 0


def test_the_cache_has_what_the_key_got_last_for_each_picture(ask: Ask) -> None:
    assert ask(type="cache")["data"]["objects"] == []
    green = ask(**OBJECTS, file=file())["data"]["objects"]
    ask(type="nsfw", nsfw_min_confidence="50", file=file(picture("red")))
    data = ask(type="cache")["data"]
    assert [each["type"] for each in data["results"]] == ["nsfw", "objects"]
    assert data["objects"] == data["results"][0]["objects"]
    of_one = ask(type="cache", file=file())["data"]
    assert of_one["objects"] == green
    assert len(of_one["results"]) == 1


def test_another_keys_results_are_not_shown(served: Flask, ask: Ask) -> None:
    ask(**OBJECTS, file=file())
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    other = str(store.api_keys.add(account.id, now=time.time(), quota=None)[1])
    data = ask(apikey=other, type="cache")["data"]
    assert (data["objects"], data["quota"]) == ([], -1)


def test_a_picture_has_one_result(store: Store) -> None:
    account = store.accounts.add(USERNAME, PASSWORD)
    key, _ = store.api_keys.add(account.id, now=time.time())
    now = time.time()
    for kind in ("objects", "nsfw"):
        assert store.results.keep(key.id, KeptResult("a", kind, "[]", now))
    assert [each.kind for each in store.results.kept(key.id, now)] == ["nsfw"]
    row = {"key_id": key.id, "picture": "a", "kind": "x", "text": "", "created_at": now}
    with pytest.raises(sa.exc.IntegrityError), store.database.transaction(writes=True) as writing:
        writing.execute(sa.insert(tables.results).values(row))


def test_results_go_without_anybody_asking(store: Store) -> None:
    account = store.accounts.add(USERNAME, PASSWORD)
    key, _ = store.api_keys.add(account.id, now=time.time())
    for age in (1, KEPT_S + 1):
        store.results.keep(key.id, KeptResult(f"{age}", "objects", "[]", time.time() - age))
    runner = runners_for(store, Settings(), compose={})[0]
    assert isinstance(runner, Runner)
    runner._purge()
    with store.database.transaction() as connection:
        assert connection.execute(sa.select(tables.results.c.picture)).scalars().all() == ["1"]


def test_results_are_bounded_and_go_after_an_hour(store: Store) -> None:
    account = store.accounts.add(USERNAME, PASSWORD)
    key = store.api_keys.add(account.id, now=0, quota=None)[0].id
    for number in range(KEPT_EACH + 5):
        assert store.results.keep(key, KeptResult(f"{number:064}", "objects", "[]", number))
    kept = store.results.kept(key, KEPT_EACH + 5)
    assert len(kept) == KEPT_EACH
    assert kept[0].picture == f"{KEPT_EACH + 4:064}"
    assert store.results.kept(key, KEPT_EACH + 4 + KEPT_S) == kept[:1]
    newest = kept[0].picture
    assert not store.results.keep(key, KeptResult(newest, "objects", "x" * (LARGEST + 1), 1))
    assert store.results.kept(key, KEPT_EACH + 5) == kept[1:], "an older one is not the last"
    store.api_keys.remove(key)
    assert store.results.kept(key, 0) == []


# --------------------------------------------------------------------------------- people


@pytest.fixture
def by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a whole picture be one face, and its mean colour the embedding."""

    def found(image: Any, _: Any) -> tuple[Any, tuple[Face, ...]]:
        pixels = image.full()
        rows, columns = pixels.shape[:2]
        corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], float)
        return pixels, (Face(corners, 0.9),)

    def embedding(pixels: Any, *_: Any) -> Any:
        vector = np.zeros(128, np.float32)
        vector[:3] = pixels.mean(axis=(0, 1)) / 255
        return vector

    monkeypatch.setattr(people, "_found", found)
    monkeypatch.setattr(people, "_embedding", embedding)


def test_people_who_are_enrolled_are_named_and_strangers_are_not(
    served: Flask, ask: Ask, by_colour: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = service_of(served).settings
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(settings.data_dir))
    photo = tmp_path / "ruby.png"
    photo.write_bytes(picture("red"))
    assert ask(type="celebrities", file=file(picture("red")))["data"]["objects"] == []
    run = CliRunner()
    added = run.invoke(main, ["people", "add", "Ruby Tuesday", str(photo)])
    assert added.exit_code == 0, added.output
    assert run.invoke(main, ["people", "list"]).output == "Ruby Tuesday\t1\n"
    (named,) = ask(type="celebrities", file=file(picture("red")))["data"]["objects"]
    assert named["name"] == "Ruby Tuesday"
    assert named["coordinates"] == [{"x": 0, "y": 0, "width": 1, "height": 1}]
    assert ask(type="celebrities", file=file(picture("blue")))["data"]["objects"] == []
    faces = ask(type="detect_faces", file=file(picture("blue")))["data"]["objects"]
    assert [(f["name"], f["confidence"]) for f in faces] == [("Face", 90.0)]
    assert run.invoke(main, ["people", "remove", "Ruby Tuesday"]).exit_code == 0
    assert service_of(served).store.people.all() == []
    assert ask(type="celebrities", file=file(picture("red")))["data"]["objects"] == []
    assert run.invoke(main, ["people", "remove", "Ruby Tuesday"]).exit_code == 1


def test_people_are_read_when_they_have_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    everybody = store.people.all
    monkeypatch.setattr(store.people, "all", lambda: reads.append(1) or everybody())

    def known() -> dict[str, float]:
        names, means = people._known(store.people)
        return {} if means is None else dict(zip(names, means[:, 0].tolist(), strict=True))

    def face(value: float) -> bytes:
        return np.full(128, value, "<f4").tobytes()

    assert (known(), known()) == ({}, {})
    store.people.add("Ruby", [face(1), face(3)])
    assert (known(), known()) == ({"Ruby": 2}, {"Ruby": 2})
    assert len(reads) == 2
    # Another one in the same row: SQLite gives the id of a row that was deleted last again.
    store.people.remove("Ruby")
    store.people.add("Jade", [face(5), face(5)])
    assert known() == {"Jade": 5}


def test_a_box_is_within_the_picture() -> None:
    from ltu_compute.dialects.imagerecognize.recognition import _box

    box = _box([(-5, -5), (205, -5), (205, 95), (-5, 95)], Size(200, 100))
    assert box == {"x": 0.0, "y": 0.0, "width": 1.0, "height": 0.95}
