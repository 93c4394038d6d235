"""Techsolut's data sets: pictures with labels or boxes, one by one or in archives."""

import base64
import io
import json
import struct
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask

from ltu_compute.dialects.techsolut import sent_images
from ltu_compute.operations import annotations
from ltu_compute.operations import data_sets as operations
from ltu_compute.settings import Settings
from ltu_compute.store import data_sets as store
from ltu_compute.store.data_sets import Kind
from ltu_compute.web.service import service_of
from tests.support.applications import api_key, application
from tests.support.client import USERNAME

Ask = Callable[..., Any]
MAX_BYTES = 100_000


def picture(level: int, width: int = 60, height: int = 40) -> bytes:
    """Return a plain picture, as PNG; another level, another file."""
    return bytes(cv2.imencode(".png", np.full((height, width, 3), level, np.uint8))[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("datasets"),
        models_dir=tmp_path_factory.mktemp("models"),
        max_upload_bytes=MAX_BYTES,
        data_set_images_per_account=1000,
    )
    with application(settings) as app:
        yield app


def asks(served: Flask, username: str) -> Ask:
    key = api_key(served, username)

    def ask(method: str, path: str, status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        answer = served.test_client().open("/v1" + path, method=method, headers=headers, **given)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        assert answer.status_code == status, answer.text
        return answer.json

    return ask


@pytest.fixture(scope="module")
def ask(served: Flask) -> Ask:
    return asks(served, USERNAME)


def created(ask: Ask, kind: str, classes: Any = ()) -> str:
    made = ask("POST", "/datasets", 201, json={"name": "Parts", "type": kind, "classes": classes})
    return f"/datasets/{made['id']}"


def files(*contents: bytes, name: str = "file") -> dict[str, Any]:
    return {name: [(io.BytesIO(c), f"{number}.png") for number, c in enumerate(contents)]}


def box(x1: float, y1: float, x2: float, y2: float, name: str = "bolt") -> dict[str, Any]:
    return {"class": name, "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}}


BOX = box(4, 8, 30.5, 20)


def test_a_data_set_from_beginning_to_end(ask: Ask) -> None:
    place = created(ask, "classification", "ok, bad")
    sent = files(picture(1), picture(2), picture(3))
    added = ask("POST", f"{place}/images", 201, data={**sent, "label": ["ok", "ok", "BAD"]})
    assert added["added"] == 3
    assert [each["label"] for each in added["images"]] == ["ok", "ok", "bad"]
    assert added["dataset"]["image_count"] == 3
    found = ask("GET", place)
    assert [(c["name"], c["images"]) for c in found["class_counts"]] == [("ok", 2), ("bad", 1)]
    assert (found["type"], found["classes"]) == ("classification", ["ok", "bad"])
    first, second = ask("GET", f"{place}/images?limit=2")["images"]
    assert first == added["images"][0]
    assert ask("GET", f"{place}/images?offset=2")["images"] == added["images"][2:]
    assert list(first) == ["id", "filename", "width", "height", "bytes", "created_at", "label"]
    deleted = ask("DELETE", f"{place}/images/{second['id']}")
    assert deleted == {"id": second["id"], "deleted": True}
    assert ask("GET", f"{place}/images")["total"] == 2
    assert found["id"] in [each["id"] for each in ask("GET", "/datasets")["datasets"]]
    ask("DELETE", place)
    assert "does not exist" in ask("GET", place, 404)["error"]["details"]


@pytest.mark.parametrize(
    ("count", "annotations", "boxes"),
    [
        pytest.param(1, [json.dumps([BOX])], [1], id="one"),
        pytest.param(1, ["[]"], [0], id="nothing in it"),
        pytest.param(1, [], [None], id="nobody has looked"),
        pytest.param(2, [json.dumps([BOX, BOX]), "[]"], [2, 0], id="one each"),
        pytest.param(2, [json.dumps([[BOX], [BOX, BOX]])], [1, 2], id="a list of lists"),
        pytest.param(2, ["null", "[]"], [None, 0], id="null"),
    ],
)
def test_boxes_of_files(
    ask: Ask, count: int, annotations: list[str], boxes: list[int | None]
) -> None:
    place = created(ask, "detection")
    sent = files(*(picture(level) for level in range(count)))
    added = ask("POST", f"{place}/images", 201, data={**sent, "annotations": annotations})
    found = [each["annotations"] for each in added["images"]]
    assert [None if each is None else len(each) for each in found] == boxes
    assert all(each == BOX for one in found for each in one or ())


def test_a_picture_that_comes_again_keeps_what_is_not_given(ask: Ask) -> None:
    one = files(picture(1))
    place = created(ask, "detection")
    listed = []
    for more in ({"annotations": json.dumps([BOX])}, {}, {"annotations": "[]"}, {}):
        ask("POST", f"{place}/images", 201, data={**files(picture(1)), **more})
        (kept,) = ask("GET", f"{place}/images")["images"]
        listed.append(kept["annotations"])
    ask("POST", f"{place}/images", 201, data={**one, "annotations": "null"})
    assert listed == [[BOX], [BOX], [], []]
    assert ask("GET", f"{place}/images")["images"][0]["annotations"] is None
    place = created(ask, "classification")
    sent = {"file": [base64.b64encode(picture(1)).decode()]}
    for more, label in (({"label": "ok"}, "ok"), ({}, "ok"), ({"label": []}, None)):
        added = ask("POST", f"{place}/images", 201, json=sent | more)
        assert [each["label"] for each in added["images"]] == [label]
        assert ask("GET", f"{place}/images")["images"] == added["images"]


def test_the_file_of_a_picture(served: Flask, ask: Ask) -> None:
    place = created(ask, "detection")
    photo = bytes(cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1])
    added = ask("POST", f"{place}/images", 201, data=files(picture(1), photo))["images"]
    account = service_of(served).store.accounts.by_name(USERNAME)
    assert account is not None
    key = service_of(served).store.api_keys.add(account.id, now=time.time())[1]
    client = served.test_client()
    for one, content, kind in zip(added, (picture(1), photo), ("png", "jpeg"), strict=True):
        path = f"/v1{place}/images/{one['id']}"
        answer = client.get(path, headers={"Authorization": f"Bearer {key}"})
        assert (answer.data, answer.content_type) == (content, f"image/{kind}")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    asks(served, "stranger")("GET", f"{place}/images/{added[0]['id']}", 404)
    ask("GET", f"{place}/images/img_none", 404)


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("detection", {"annotations": "[{"}, "annotations: received '[{', which is not JSON"),
        ("detection", {"annotations": '[{"class": "a"}]'}, "at 0.box: Field required"),
        ("detection", {"annotations": json.dumps([box(4, 8, 99, 20)])}, "0 <= x1 < x2 <= 60"),
        ("detection", {"annotations": json.dumps([box(9, 8, 4, 20)])}, "received the box 9, 8, 4"),
        ("detection", {"annotations": json.dumps([box(9, 8, 9.9, 20)])}, "sides of 1 px or more"),
        ("detection", {"annotations": '[{"class": "a", "box": {"x1": 1}}]'}, "at 0.box.y1: Field"),
        ("detection", {"annotations": ["[]", "[]"]}, "received 2 lists for 1 files"),
        ("detection", {"label": "a"}, "label: the data set is for detection"),
        ("classification", {"annotations": "[]"}, "annotations: the data set is for class"),
        ("classification", {"label": ["a", "b"]}, "received 2 for 1 files"),
        ("classification", {"label": "x" * 101}, "label: "),
    ],
)
def test_wrong_requests_are_refused_and_store_nothing(
    ask: Ask, kind: str, more: dict[str, Any], words: str
) -> None:
    place = created(ask, kind)
    refused = ask("POST", f"{place}/images", 400, data={**files(picture(1)), **more})
    assert words in refused["error"]["details"]
    assert ask("GET", place)["image_count"] == 0


def test_files_that_are_no_pictures_are_refused(ask: Ask) -> None:
    place = created(ask, "detection")
    ask("POST", f"{place}/images", 400, data=files(picture(1), b"text"))
    whole = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (40, 60, 3)))[1]
    cut = bytes(whole)[:600]
    ask("POST", f"{place}/images", 400, data=files(cut))
    assert ask("POST", f"{place}/images", 400, data={})["error"]["details"].startswith("file: ")
    ask("POST", f"{place}/images", 413, data=files(b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES)))
    assert ask("GET", place)["image_count"] == 0


@pytest.mark.parametrize("kind", ["detection", "classification"])
def test_classes_are_renamed_exchanged_and_merged(ask: Ask, kind: str) -> None:
    """Sides of boxes, and all else, stay as they are."""
    place = created(ask, kind, ["bolt", "nut", "pin"])
    names = ("bolt", "nut", "pin")
    for level, name in enumerate(names):
        label = {"label": name}
        boxes = {"annotations": json.dumps([BOX | {"class": name}, BOX | {"class": "pin"}])}
        more = label if kind == "classification" else boxes
        ask("POST", f"{place}/images", 201, data={**files(picture(level)), **more})

    def shown() -> list[str]:
        listed = ask("GET", f"{place}/images")["images"]
        if kind == "classification":
            return [each["label"] for each in listed]
        assert all(box["box"] == BOX["box"] for each in listed for box in each["annotations"])
        assert {each["annotations"][1]["class"] for each in listed} <= {"pin", "Nut"}
        return [each["annotations"][0]["class"] for each in listed]

    changed = ask("PATCH", place, json={"rename": {"bolt": "nut", "NUT": "bolt"}, "name": "New"})
    assert (changed["name"], changed["classes"]) == ("New", ["nut", "bolt", "pin"])
    assert shown() == ["nut", "bolt", "pin"]
    refused = ask("PATCH", place, 400, json={"rename": {"pin": "Nut"}})["error"]["details"]
    assert "'nut' and 'pin' would both be 'Nut'" in refused
    merged = ask("PATCH", place, data={"rename": '{"pin": "Nut", "nut": "Nut"}', "merge": "true"})
    assert [each["name"] for each in merged["class_counts"]] == ["Nut", "bolt"]
    assert sum(each["images"] for each in merged["class_counts"]) in (3, 4)
    assert shown() == ["Nut", "bolt", "Nut"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"rename": {"screw": "x"}}, "rename: received 'screw', the data set has 'bolt'"),
        ({"rename": {"bolt": "x", "BOLT": "y"}}, "are the same name"),
        ({"rename": {"bolt": " "}}, "rename: ' ' is not 1 to 100 printable characters"),
        ({"rename": {"bolt": "x" * 101}}, "allowed are up to 100 characters"),
        ({"rename": {"bolt": 5}}, "rename.bolt: received 5, allowed is a text"),
        ({"rename": ["bolt"]}, "rename: "),
        ({"rename": "{"}, "which is not a JSON object"),
        ({"name": " x"}, "name: ' x' begins or ends with a blank"),
        ({}, "name or rename is required"),
    ],
)
def test_a_change_that_means_nothing_changes_nothing(
    ask: Ask, sent: dict[str, Any], words: str
) -> None:
    place = created(ask, "detection", ["bolt"])
    before = ask("GET", place)
    assert words in ask("PATCH", place, 400, json=sent)["error"]["details"]
    assert ask("GET", place) == before


def test_another_account_s_data_set_does_not_exist(served: Flask, ask: Ask) -> None:
    place = created(ask, "detection")
    added = ask("POST", f"{place}/images", 201, data=files(picture(1)))["images"][0]
    stranger = asks(served, "stranger")
    for method, path in (
        ("GET", place),
        ("DELETE", place),
        ("GET", f"{place}/images"),
        ("DELETE", f"{place}/images/{added['id']}"),
    ):
        stranger(method, path, 404)
    stranger("POST", f"{place}/images", 404, data=files(picture(2)))
    stranger("PATCH", place, 404, json={"name": "mine"})
    assert stranger("GET", "/datasets")["total"] == 0
    assert ask("GET", place)["image_count"] == 1


def test_a_full_store_is_told(served: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    place = created(ask, "detection")
    data_sets = service_of(served).store.data_sets
    monkeypatch.setattr(data_sets, "limits", type(data_sets.limits)(images=10**6, bytes=1))
    refused = ask("POST", f"{place}/images", 403, data=files(picture(1)))["error"]
    assert refused["code"] == "forbidden"
    assert "LTU_COMPUTE_DATA_SET_BYTES_PER_ACCOUNT" in refused["details"]


# --------------------------------------------------------------------------- archives


def archive(entries: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return packed.getvalue()


COCO = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
    "categories": [{"id": 3, "name": "bolt"}],
    "annotations": [{"image_id": 7, "category_id": 3, "bbox": [4, 8, 26.5, 12]}],
}
A, B, C = (picture(level) for level in (11, 12, 13))
# Of 60 x 40 px: centre (30, 20), 15 x 10 px.
YOLO_TEXT = "0 0.5 0.5 0.25 0.25\n"
CENTRED = box(22.5, 15, 37.5, 25)


@pytest.mark.parametrize(
    ("kind", "entries", "expected"),
    [
        pytest.param(
            "detection",
            {"a.png": A, "sub/b.png": B, "c.png": C, "annotations.json": json.dumps(COCO)},
            {"a.png": [BOX], "b.png": [], "c.png": None},
            id="coco",
        ),
        pytest.param(
            "detection",
            {
                "train/images/a.png": A,
                "train/images/b.png": B,
                "train/labels/a.txt": YOLO_TEXT,
                "data.yaml": "names: [bolt]\n",
            },
            {"a.png": [CENTRED], "b.png": []},
            id="yolo",
        ),
        pytest.param(
            "detection",
            {"a.png": A, "a.txt": YOLO_TEXT, "classes.txt": "bolt\n"},
            {"a.png": [CENTRED]},
            id="yolo beside",
        ),
        pytest.param("detection", {"a.png": A}, {"a.png": None}, id="pictures alone"),
        pytest.param(
            "classification",
            {"x/ok/a.png": A, "x/bad/b.png": B, "c.png": C},
            {"a.png": "ok", "b.png": "bad", "c.png": None},
            id="folders",
        ),
        pytest.param(
            "classification",
            {"x\\ok\\a.png": A, "x\\bad\\b.png": B},
            {"a.png": "ok", "b.png": "bad"},
            id="folders with backslashes",
        ),
    ],
)
def test_an_archive(
    ask: Ask, kind: str, entries: dict[str, bytes | str], expected: dict[str, Any]
) -> None:
    place = created(ask, kind)
    sent = archive(entries | {"__MACOSX/._a.png": b"", "notes.md": b"", "inner.zip": b"PK"})
    added = ask("POST", f"{place}/images", 201, data=files(sent))
    key = "label" if kind == "classification" else "annotations"
    assert {each["filename"]: each[key] for each in added["images"]} == expected
    assert added["skipped"] == ["notes.md", "inner.zip"]
    assert added["unlabelled"] == [name for name, found in expected.items() if found is None]


def coco(**changed: Any) -> str:
    return json.dumps(COCO | changed)


@pytest.mark.parametrize(
    ("entries", "status", "words"),
    [
        ({"a.md": b"x"}, 400, "holds no JPEG, PNG or GIF"),
        ({"a.png": A, "c.json": "{"}, 400, "'c.json' is not JSON"),
        ({"a.png": A, "c.json": "{}"}, 400, "'c.json' is not COCO's JSON"),
        ({"a.png": A, "c.json": coco(categories=[])}, 400, "KeyError: 3"),
        ({"a.png": A, "c.json": coco(images=[{"id": 7, "file_name": None}])}, 400, "name None"),
        ({"a.png": A, "c.json": coco(images=[{"id": 1.7, "file_name": "a"}])}, 400, "id 1.7"),
        ({"a.png": A, "c.json": coco(images=2 * COCO["images"])}, 400, "have the same id"),
        (
            {"a.png": A, "c.json": coco(categories=2 * COCO["categories"])},
            400,
            "two categories have the same id",
        ),
        ({"a.png": A, "a.txt": "0 .5 .5 .01 .5", "classes.txt": "a"}, 400, "sides of 1 px"),
        (
            {"a.png": A, "c.json": coco(annotations=[{"image_id": 7, "category_id": 3}])},
            400,
            "KeyError: 'bbox'",
        ),
        (
            {
                "a.png": A,
                "c.json": coco(
                    annotations=[{"image_id": 7, "category_id": 3, "bbox": [0, 0, 999, 9]}]
                ),
            },
            400,
            "annotations: received the box 0, 0, 999, 9",
        ),
        ({"a.png": A, "a.txt": "0 1 2\n", "classes.txt": "a"}, 400, "'a.txt', line 1"),
        ({"a.png": A, "a.txt": "4 .5 .5 .1 .1\n", "classes.txt": "a"}, 400, "no class 4"),
        ({"a.png": A, "a.txt": YOLO_TEXT, "data.yaml": "names: *x"}, 400, "is not YAML"),
        ({"a.png": A[:40]}, 400, "file: a.png"),
        ({"a.png": bytes(MAX_BYTES + 1)}, 413, f"a file may have ({MAX_BYTES} bytes)"),
        ({f"{i}.png": bytes(MAX_BYTES) for i in range(3)}, 413, "all files together (200000)"),
        ({f"{i}.txt": b"" for i in range(11)}, 413, "has 11 entries, allowed are 10"),
    ],
)
def test_an_archive_that_cannot_be_used(
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    entries: dict[str, bytes | str],
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(operations, "ARCHIVE_ENTRIES", 10)
    place = created(ask, "detection")
    refused = ask("POST", f"{place}/images", status, data=files(archive(entries)))
    assert words in refused["error"]["details"]
    assert ask("GET", place)["image_count"] == 0


YOLO = {"a.png": A, "a.txt": 3 * YOLO_TEXT, "classes.txt": "bolt"}
THREE = [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]}] * 3


@pytest.mark.parametrize(
    ("bound", "entries", "words"),
    [
        ((annotations, "ARCHIVE_BOXES", 2), YOLO, "more than 2 boxes"),
        (
            (annotations, "ARCHIVE_BOXES", 5),
            YOLO | {"b.png": B, "b.txt": 3 * YOLO_TEXT},
            "more than 5 boxes",
        ),
        (
            (annotations, "ARCHIVE_BOXES", 5),
            {"a.png": A, "c.json": coco(annotations=THREE), "d.json": coco(annotations=THREE)},
            "more than 5 boxes",
        ),
        (
            (annotations, "YAML_BYTES", 9),
            YOLO | {"a.yaml": "x: 1\n", "b.yml": "y: 2\n"},
            "YAML files have 10 bytes, allowed are 9",
        ),
        ((operations, "PICTURES_TOGETHER", 4799 / 50e6), {"a.png": A, "b.png": B}, "4800 pixels"),
    ],
)
def test_an_archive_is_bounded_by_what_it_becomes(
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    bound: tuple[Any, str, float],
    entries: dict[str, bytes | str],
    words: str,
) -> None:
    assert Settings().max_pixels == 50_000_000
    monkeypatch.setattr(*bound)
    place = created(ask, "detection")
    refused = ask("POST", f"{place}/images", 413, data=files(archive(entries)))
    assert words in refused["error"]["details"]
    assert ask("GET", place)["image_count"] == 0


def test_pictures_that_come_together_are_bounded(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    place = created(ask, "classification")
    monkeypatch.setattr(operations, "PICTURES_TOGETHER", 2 * 60 * 40 / 50e6)
    ask("POST", f"{place}/images", 201, data=files(A, B))
    refused = ask("POST", f"{place}/images", 413, data=files(A, B, C))
    assert "7200 pixels in 3 pictures" in refused["error"]["details"]


def test_boxes_are_bounded_before_they_are_read(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_images, "MOST_TOKENS", 20)
    place = created(ask, "detection")
    sent = {**files(A), "annotations": ["[[],[],[]]", json.dumps([box(0, 0, 9, 9)] * 4)]}
    refused = ask("POST", f"{place}/images", 400, data=sent)
    assert "commas, brackets and braces, allowed are 20" in refused["error"]["details"]


def test_boxes_of_a_data_set_are_bounded(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    place = created(ask, "detection")
    boxes = json.dumps([box(0, 0, 9, 9)] * 2)
    size = 2 * len('["bolt",0.0,0.0,9.0,9.0]') + len("[,]")
    monkeypatch.setattr(store, "BOXES_BYTES", 2 * size)
    for content in (A, B, A):  # one picture again takes no more
        ask("POST", f"{place}/images", 201, data={**files(content), "annotations": boxes})
    refused = ask("POST", f"{place}/images", 403, data={**files(C), "annotations": boxes})
    assert f"would have {3 * size} bytes, allowed are {2 * size}" in refused["error"]["details"]
    refused = ask("PATCH", place, 403, json={"rename": {"bolt": "screw"}})
    assert f"would have {2 * size + 4} bytes" in refused["error"]["details"]
    assert ask("GET", place)["classes"] == ["bolt"]


def test_pictures_that_an_archive_lacks_are_listed(ask: Ask) -> None:
    place = created(ask, "detection")
    sent = archive({"a.png": A, "t.json": coco()})
    added = ask("POST", f"{place}/images", 201, data=files(sent))
    assert added["skipped"] == ["b.png (in t.json, not in the archive)"]


def test_names_of_pictures_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(PurePosixPath):
        def __new__(cls, *parts: Any) -> Any:
            made.append(parts)
            return super().__new__(cls, *parts)

    monkeypatch.setattr(annotations, "PurePosixPath", Counted)
    count = 100
    table = {
        "images": [{"id": i, "file_name": f"elsewhere/{i}.png"} for i in range(count)],
        "categories": [],
        "annotations": [],
    }
    entries = [(f"x/{i}.png", b"") for i in range(count)]
    found, _ = annotations.pictures_of(
        [*entries, ("t.json", json.dumps(table).encode())], Kind.DETECTION, [], "file"
    )
    assert [each.boxes for each in found] == [()] * count
    assert len(made) < 10 * count


def test_a_zip64_archive_is_refused_before_its_directory_is_read(ask: Ask) -> None:
    """The record at its end has other counts."""
    place = created(ask, "detection")
    sound = archive({"a.png": A})
    end = sound.rindex(b"PK\x05\x06")
    size = end - sound.index(b"PK\x01\x02")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, end - size)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    sent = sound[:end] + record + locator + sound[end:]
    with zipfile.ZipFile(io.BytesIO(sent)) as read:
        assert read.namelist() == ["a.png"]
    refused = ask("POST", f"{place}/images", 400, data=files(sent))
    assert "ZIP64" in refused["error"]["details"]


def test_an_archive_is_not_believed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory is counted before it is read, and its files as they are unpacked."""
    place = created(ask, "detection")
    sound = archive({"a.png": A})
    lying = bytearray(archive({"a.png": bytes(MAX_BYTES + 1)}))
    at = lying.rindex(b"PK\x01\x02") + 24
    assert struct.unpack_from("<L", lying, at) == (MAX_BYTES + 1,)
    struct.pack_into("<L", lying, at, 5)  # what it says that the file unpacks to
    broken = [bytes(lying), sound[:-30], sound[:60] + bytes(20) + sound[80:]]
    for content in broken:
        refused = ask("POST", f"{place}/images", 400, data=files(content))
        assert "not a zip archive that can be read" in refused["error"]["details"]
    monkeypatch.setattr(operations, "ARCHIVE_ENTRIES", 0)
    ask("POST", f"{place}/images", 413, data=files(sound))
    with_label = {**files(sound), "annotations": "[]"}
    assert (
        "an archive brings its own"
        in (ask("POST", f"{place}/images", 400, data=with_label)["error"]["details"])
    )
