"""Models of the operator's own: accepted, refused, bounded, and right."""

import csv
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2

from ltu_compute.admission.slots import Slots, State
from ltu_compute.app import create_app
from ltu_compute.cli import main
from ltu_compute.errors import BadParameters, Busy, ModelFailed
from ltu_compute.recognisers.onnx import Model, ModelQueue, Models, Rejected, decoders, worker
from ltu_compute.recognisers.onnx.manifest import Manifest, coco_mids
from ltu_compute.recognisers.onnx.session import Bounds, ModelError, Session
from ltu_compute.settings import Settings
from tests.support import onnx_models as made
from tests.support.client import IMAGES, Caller
from tests.support.pixels import flat
from tests.support.timing import PATIENCE_S, Clock, until

BOUNDS = Bounds(bytes=4 << 20, memory=1 << 30, seconds=10)
BRISK = Bounds(bytes=4 << 20, memory=1 << 30, seconds=2)

Image = np.ndarray[Any, np.dtype[np.uint8]]
WHITE = flat(255, 255, 255)


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Models]:
    found = Models([tmp_path], BOUNDS)
    yield found
    found.close()


def softmax(*values: float) -> list[float]:
    exponents = np.exp(values)
    return list(exponents / exponents.sum())


# ------------------------------------------------------------------------- preparation


@pytest.mark.parametrize(
    ("size", "resize", "image", "inner", "placement"),
    [
        # width x height of the input; of the picture; columns and rows it covers
        ((64, 64), "letterbox", (128, 64), (slice(0, 64), slice(16, 48)), (0.5, 0.5, 0, 16)),
        ((64, 64), "letterbox", (16, 32), (slice(16, 48), slice(0, 64)), (2, 2, 16, 0)),
        ((64, 32), "letterbox", (64, 32), (slice(0, 64), slice(0, 32)), (1, 1, 0, 0)),
        ((64, 64), "letterbox", (9, 1), (slice(0, 64), slice(28, 35)), (64 / 9, 7, 0, 28)),
        ((64, 64), "letterbox", (1000, 1), (slice(0, 64), slice(31, 32)), (0.064, 1, 0, 31)),
        ((64, 32), "stretch", (16, 16), (slice(0, 64), slice(0, 32)), (4, 2, 0, 0)),
        ((32, 32), "crop", (128, 64), (slice(0, 32), slice(0, 32)), (0.5, 0.5, -16, 0)),
        ((32, 64), "crop", (32, 32), (slice(0, 32), slice(0, 64)), (2, 2, -16, 0)),
        ((8, 8), "crop", (1, 1), (slice(0, 8), slice(0, 8)), (8, 8, 0, 0)),
    ],
)
def test_placement(
    size: tuple[int, int],
    resize: str,
    image: tuple[int, int],
    inner: tuple[slice, slice],
    placement: tuple[float, ...],
) -> None:
    manifest = Manifest.model_validate(
        {**made.BOXES, "input": {"size": size, "resize": resize}}, strict=False
    )
    width, height = image
    canvas, found = decoders.placed(flat(10, 20, 30, width, height), manifest)
    assert (found.scale_x, found.scale_y, found.left, found.top) == pytest.approx(placement)
    columns, rows = inner
    assert canvas.shape == (size[1], size[0], 3)
    assert (canvas[rows, columns] == (10, 20, 30)).all()
    bars = np.ones(canvas.shape[:2], bool)
    bars[rows, columns] = False
    assert (canvas[bars] == 114).all()


@pytest.mark.parametrize(
    ("image", "side", "size"),
    [
        ((1600, 1200), None, (416, 320)),  # 416 x 312 px
        ((1200, 1600), None, (320, 416)),
        ((500, 500), None, (416, 416)),
        ((1000, 10), None, (416, 32)),
        ((1600, 1200), 640, (640, 480)),
        ((1600, 1200), 100, (128, 96)),
    ],
)
def test_free_sides_hold_the_picture_and_hardly_more(
    image: tuple[int, int], side: int | None, size: tuple[int, int]
) -> None:
    given = {"size": (416, 416), "multiple": 32, "align": "corner"}
    manifest = Manifest.model_validate({**made.BOXES, "input": given}, strict=False)
    canvas, found = decoders.placed(flat(10, 20, 30, *image), manifest, side)
    assert canvas.shape[1::-1] == found.size == size
    assert found.scale_x == pytest.approx(max(size) / max(image))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": (416, 400), "multiple": 32}, "32 does not divide"),
        ({"size": (416, 416), "multiple": 32, "resize": "stretch"}, "allowed is letterbox"),
    ],
)
def test_sides_that_cannot_be_free(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Manifest.model_validate({**made.BOXES, "input": given}, strict=False)


def test_placement_and_back(models: Models) -> None:
    """A mark in a picture is where its place in the input is mapped back to."""
    picture = np.zeros((90, 200, 3), np.uint8)
    picture[40:60, 80:120] = 255
    for resize in ("letterbox", "stretch", "crop"):
        manifest = Manifest.model_validate(
            {**made.BOXES, "input": {"size": (100, 100), "resize": resize, "padding": 0}},
            strict=False,
        )
        canvas, placement = decoders.placed(picture, manifest)
        rows, columns = np.nonzero(canvas[:, :, 0] > 127)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)
        assert placement.back(box)[0] == pytest.approx([80, 40, 120, 60], abs=2)


@pytest.mark.parametrize(
    ("declared", "dtype", "shape", "values"),
    [
        ({}, "float32", (1, 3, 2, 4), (30 / 255, 20 / 255, 10 / 255)),
        ({"channels": "BGR"}, "float32", (1, 3, 2, 4), (10 / 255, 20 / 255, 30 / 255)),
        ({"layout": "NHWC"}, "float32", (1, 2, 4, 3), (30 / 255, 20 / 255, 10 / 255)),
        ({"scale": 1.0}, "float16", (1, 3, 2, 4), (30, 20, 10)),
        ({"scale": 1.0, "mean": (30.0, 10.0, 0.0), "std": (2.0, 5.0, 4.0)}, "float32",
         (1, 3, 2, 4), (0, 2, 2.5)),
        ({"scale": 1.0, "mean": (10.0,), "std": (10.0,)}, "float32", (1, 3, 2, 4), (2, 1, 0)),
        ({"layout": "NHWC"}, "uint8", (1, 2, 4, 3), (30, 20, 10)),
        # BT.601: 0.299 · 30 + 0.587 · 20 + 0.114 · 10 = 21.85
        ({"channels": "GRAY", "scale": 1.0}, "float32", (1, 1, 2, 4), (22,)),
    ],
)  # fmt: skip
def test_tensor(
    declared: dict[str, Any], dtype: str, shape: tuple[int, ...], values: tuple[float, ...]
) -> None:
    manifest = Manifest.model_validate(
        {**made.COLOURS, "input": {"size": (4, 2), **declared}}, strict=False
    )
    tensor = decoders.tensor(flat(10, 20, 30, 4, 2), manifest, dtype)
    assert (tensor.shape, tensor.dtype.name) == (shape, dtype)
    assert manifest.input.shape == shape
    assert tensor.flags.c_contiguous
    axis = 1 if manifest.input.layout == "NCHW" else 3
    means = tensor.astype(float).mean(axis=tuple({0, 1, 2, 3} - {axis}))
    assert means == pytest.approx(values, rel=1e-5)


# ----------------------------------------------------------------- non-maximum suppression

UNIT = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("boxes", "classes", "max_overlap", "kept"),
    [
        ([UNIT, UNIT], [0, 0], 0.5, [0]),
        ([UNIT, UNIT], [0, 1], 0.5, [0, 1]),
        # 10 x 10 moved by 5: intersection 50, union 150, overlap exactly 1/3
        ([UNIT, (5, 0, 15, 10)], [0, 0], 0.34, [0, 1]),
        ([UNIT, (5, 0, 15, 10)], [0, 0], 0.33, [0]),
        # a chain: the first removes the second, so that the third, which only it covers, stays
        ([UNIT, (4, 0, 14, 10), (8, 0, 18, 10)], [0, 0, 0], 0.3, [0, 2]),
        ([UNIT, (10, 0, 20, 10)], [0, 0], 0.0, [0, 1]),
        ([UNIT, (2, 2, 8, 8)], [0, 0], 0.35, [0]),
        ([UNIT, (2, 2, 8, 8)], [0, 0], 0.37, [0, 1]),
        ([], [], 0.5, []),
    ],
)
def test_suppression(
    boxes: list[tuple[int, ...]], classes: list[int], max_overlap: float, kept: list[int]
) -> None:
    scores = np.linspace(0.9, 0.1, len(boxes))
    found = decoders.Detections(
        np.array(boxes, float).reshape(-1, 4), np.array(classes, np.int64), scores
    )
    assert decoders.suppressed(found, max_overlap).scores.tolist() == scores[kept].tolist()


# ----------------------------------------------------------------------- classification


@pytest.mark.parametrize(
    ("declared", "shape", "kind"),
    [
        ({}, (1, 3, 2, 4), made.FLOAT),
        ({}, ("batch", 3, "rows", "columns"), made.FLOAT),
        ({"layout": "NHWC"}, (1, 2, 4, 3), made.FLOAT),
    ],
)
def test_a_classifier(
    models: Models, tmp_path: Path, declared: dict[str, Any], shape: Any, kind: int
) -> None:
    manifest = made.COLOURS | {"input": {"size": [4, 2]} | declared}
    made.install(tmp_path, "colours", made.colours(shape=shape, kind=kind), manifest)
    model = models.find("colours", "classification")
    labels = model.classify(flat(0, 102, 255))
    expected = softmax(1, 0.4, 0)
    assert [label.description for label in labels] == ["red", "green", "blue"]
    assert [label.score for label in labels] == pytest.approx(expected, abs=1e-6)
    assert [label.mid for label in labels] == ["", "", ""]
    assert model.classify(flat(0, 102, 255)) == labels
    assert model.classify(flat(0, 102, 255), max_results=1) == labels[:1]
    assert model.classify(flat(255, 0, 0))[0].description == "blue"
    assert model.opset == made.OPSET


def test_probabilities_are_taken_as_they_are(models: Models, tmp_path: Path) -> None:
    made.install(
        tmp_path, "colours", made.colours(), made.COLOURS | {"logits": False, "min_score": 0.3}
    )
    labels = models.find("colours", "classification").classify(flat(0, 102, 255))
    assert [(label.description, round(label.score, 6)) for label in labels] == [
        ("red", 1),
        ("green", 0.4),
    ]


# ---------------------------------------------------------------------------- detection

# centre x, centre y, width, height in px of the 64 x 64 input; scores of person and bolt
PREDICTIONS = [
    (32, 32, 16, 8, 0.9, 0.1),
    (33, 32, 16, 8, 0.8, 0.1),  # the same object again
    (33, 32, 16, 8, 0.1, 0.7),  # another class in the same place
    (8, 32, 20, 40, 0.3, 0.2),  # beyond the picture's borders
    (50, 32, 4, 4, 0.2, 0.1),  # below the threshold
    (50, 50, 0, 4, 0.9, 0.1),  # empty
    (32, 4, 8, 4, 0.9, 0.1),  # in the letterbox's bar: not in the picture
]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_yolov8_shaped_detector(models: Models, tmp_path: Path, transposed: bool) -> None:
    made.install(tmp_path, "boxes", made.yolo(PREDICTIONS, transposed=transposed), made.BOXES)
    model = models.find("boxes", "detection")
    # 128 x 64 in a letterbox of 64 x 64: half as large, bars of 16 above and below
    found = model.detect(flat(0, 0, 0, 128, 64))
    assert [(o.name, o.mid, round(o.score, 4)) for o in found] == [
        ("person", "/m/01g317", 0.9),
        ("bolt", "/m/bolt", 0.7),
        ("person", "/m/01g317", 0.3),
    ]
    assert found[0].corners.tolist() == [[48, 24], [80, 24], [80, 40], [48, 40]]
    assert found[1].corners.tolist() == [[50, 24], [82, 24], [82, 40], [50, 40]]
    assert found[2].corners.tolist() == [[0, 0], [36, 0], [36, 64], [0, 64]]
    assert [o.score for o in model.detect(flat(0, 0, 0, 128, 64), max_results=1)] == [
        found[0].score
    ]
    assert [o.name for o in model.detect(flat(0, 0, 0, 128, 64), classes={"bolt"})] == ["bolt"]


@pytest.mark.parametrize(
    ("declared", "boxes", "batch"),
    [
        ({}, [(0.25, 0.5, 0.75, 1.0)], True),
        ({"box_order": "xyxy"}, [(0.5, 0.25, 1.0, 0.75)], True),
        ({"box_order": "xyxy", "normalized": False}, [(32, 16, 64, 48)], False),
    ],
)
def test_an_ssd_shaped_detector(
    models: Models, tmp_path: Path, declared: dict[str, Any], boxes: Any, batch: bool
) -> None:
    classes, scores = [2.0, 9, 0], [0.75, 0.9, 0.9]  # bolt, unknown, background
    values: dict[str, Any] = {
        "detection_boxes": boxes * 3,
        "detection_classes": classes,
        "detection_scores": scores,
    }
    network = made.constant({k: [v] for k, v in values.items()} if batch else values)
    manifest = made.BOXES | {"decoder": "ssd", "outputs": declared}
    made.install(tmp_path, "ssd", network, manifest)
    (found,) = models.find("ssd", "detection").detect(flat(0, 0, 0, 64, 64))
    assert (found.name, found.score) == ("bolt", 0.75)
    assert found.corners.tolist() == [[32, 16], [64, 16], [64, 48], [32, 48]]


def test_a_yolox_shaped_detector(models: Models, tmp_path: Path) -> None:
    """One box in the grid of 16 px, at its third row and second column, 32 x 16 px large."""
    output = np.zeros((1, 64 + 16 + 4, 7))
    output[0, 64 + 2 * 4 + 1] = (0.5, 0.25, np.log(2), np.log(1), 0.9, 0.2, 0.8)
    network = made.constant({"output": output})
    made.install(tmp_path, "boxes", network, made.BOXES | {"decoder": "yolox"})
    [found] = models.find("boxes", "detection").detect(flat(0, 0, 0, 64, 64))
    assert (found.name, round(found.score, 6)) == ("bolt", 0.72)
    assert found.corners[[0, 2]].ravel() == pytest.approx((8, 28, 40, 44))
    made.install(tmp_path, "others", made.constant({"o": output[:, 1:]}), made.BOXES | {
        "decoder": "yolox"
    })  # fmt: skip
    with pytest.raises(ModelFailed, match="its output o is 1 x 83 x 7, not 1 x 84 x 7"):
        Models([tmp_path], BOUNDS).find("others", "detection")


def test_ids_of_coco_have_their_names() -> None:
    labels = Manifest.from_mapping(made.BOXES | {"labels": "coco91"}).classes
    assert len(labels) == 90
    # Ids of COCO's annotations: person 1, stop sign 13, cat 17, toothbrush 90.
    named = {number: labels[number - 1].name for number in (1, 13, 17, 90)}
    assert named == {1: "person", 13: "stop sign", 17: "cat", 90: "toothbrush"}
    assert labels[11].mid == ""


def test_coco_names_have_their_mids() -> None:
    """Against Open Images' own class descriptions, some of the 80."""
    declared = {**made.BOXES, "input": {"size": (64, 64)}, "labels": "coco80"}
    manifest = Manifest.model_validate(declared, strict=False)
    assert len(manifest.classes) == 80
    named = {label.name: label.mid for label in manifest.classes}
    known = {"person": "/m/01g317", "cat": "/m/01yrx", "car": "/m/0k4j", "stop sign": "/m/02pv19"}
    assert named | known == named
    assert manifest.classes[0].name == "person"
    assert manifest.classes[79].name == "toothbrush"
    assert coco_mids()["traffic light"] == "/m/015qff"


# ------------------------------------------------------------------------------ refused


def external(location: str, *, nested: bool = False) -> onnx.ModelProto:
    """A model with a weight in another file, at the top or within a branch."""
    weight = numpy_helper.from_array(np.zeros((1, 3), np.float32), "weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "12")):
        weight.external_data.add(key=key, value=value)
    if not nested:
        network = made.model(
            [made.node("ReduceMean", "image", "mean", axes=[2, 3], keepdims=0),
             made.node("Add", "mean weight", "scores")],
            ["scores"], shape=(1, 3, 2, 4),
        )  # fmt: skip
        network.graph.initializer.append(weight)
        return network
    output = helper.make_tensor_value_info("scores_", made.FLOAT, [1, 3])
    branch = helper.make_graph([helper.make_node("Constant", [], ["scores_"], value=weight)],
                               "branch", [], [output])  # fmt: skip
    return made.model(
        [made.node("If", "yes", "scores", then_branch=branch, else_branch=branch)],
        ["scores"], shape=(1, 3, 2, 4), constants={"yes": np.bool_(True)},
    )  # fmt: skip


def with_function(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same, with its nodes within a function that nothing calls."""
    function = helper.make_function(
        "own", "F", ["a"], ["b"],
        [*network.graph.node, made.node("Identity", "a", "b")],
        [helper.make_opsetid("", made.OPSET)],
    )  # fmt: skip
    sound = made.colours()
    sound.functions.append(function)
    return sound


def named_external(network: onnx.ModelProto) -> onnx.ModelProto:
    """External by its entries alone: the location is what counts for the format, not for us."""
    network.graph.initializer[-1].ClearField("data_location")
    network.graph.initializer[-1].raw_data = bytes(12)
    return network


PERSON = {"name": "person"}
SECOND = [helper.make_tensor_value_info("second", made.FLOAT, [1])]
NOT_A_NUMBER = np.full((1, 6, 1), np.nan)

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "not-onnx": (b"GIF89a and more", made.COLOURS, "not an ONNX"),
    "empty": (b"", made.COLOURS, "not an ONNX"),
    "cut-off": (made.colours().SerializeToString()[:-9], made.COLOURS, "not an ONNX"),
    "too-large": (bytes((4 << 20) + 1), made.COLOURS, "over 4194304 bytes"),
    "opset-6": (made.colours(opset=6), made.COLOURS, "opset is 6, allowed is from 7 up"),
    "opset-999": (made.colours(opset=999), made.COLOURS, "ONNX Runtime does not take it"),
    "unknown-operator": (
        made.model([made.node("Clairvoyance", "image", "scores")], ["scores"]),
        made.BOXES,
        "ONNX Runtime does not take it",
    ),
    "external": (external("weights.bin"), made.COLOURS, "external data"),
    "external-passwd": (external("../../../etc/passwd"), made.COLOURS, "external data"),
    "external-memory": (external("*/_ORT_MEM_ADDR_/*"), made.COLOURS, "external data"),
    "external-nested": (external("w.bin", nested=True), made.COLOURS, "external data"),
    "external-function": (
        with_function(external("w.bin", nested=True)), made.COLOURS, "external data",
    ),
    "external-entries": (named_external(external("w.bin")), made.COLOURS, "external data"),
    "two-inputs": (made.colours(more_inputs=SECOND), made.COLOURS, "2 inputs"),
    "double-input": (
        made.colours(kind=TensorProto.DOUBLE, output_kind=TensorProto.DOUBLE),
        made.COLOURS,
        "tensor(double)",
    ),
    "other-size": (made.colours(shape=(1, 3, 4, 2)), made.COLOURS, "1 x 3 x 4 x 2"),
    "other-layout": (made.colours(shape=(1, 2, 4, 3)), made.COLOURS, "1 x 2 x 4 x 3"),
    "two-labels": (made.colours(), made.COLOURS | {"labels": ["a", "b"]}, "for 2 labels"),
    "no-probabilities": (
        made.colours(), made.COLOURS | {"logits": False, "input": {"size": [4, 2], "scale": 1.0}},
        "no probabilities",
    ),
    "yolo-labels": (made.yolo(PREDICTIONS), made.BOXES | {"labels": ["x"]}, "not 1 x 5 x N"),
    "yolo-nan": (made.constant({"output0": NOT_A_NUMBER}), made.BOXES, "NaN"),
    "ssd-outputs": (made.yolo(PREDICTIONS), made.BOXES | {"decoder": "ssd"}, "has no output"),
    "text-output": (
        made.model(
            [made.node("ReduceMean", "image", "mean", axes=[2, 3], keepdims=0),
             made.node("Cast", "mean", "scores", to=TensorProto.STRING)],
            ["scores"], shape=(1, 3, 2, 4), output_kind=TensorProto.STRING,
        ),
        made.COLOURS,
        "not an array of numbers",
    ),
    "greedy": (made.greedy(8), made.COLOURS, "it needs more memory than it may have"),
    "not-yaml": (made.colours(), "task: [", "not YAML"),
    "yaml-alias": (made.colours(), "a: &a [1, 2]\nb: [*a, *a]", "aliases"),
    "yaml-deep": (made.colours(), "[" * 600, "not YAML"),
    "yaml-list": (made.colours(), "- 1", "model.yaml: it:"),
    "yaml-large": (made.colours(), "#" * ((1 << 20) + 1), "over 1048576 bytes"),
    "yaml-object": (made.colours(), "task: !!python/name:os.system", "not YAML"),
    "no-labels": (made.colours(), made.COLOURS | {"labels": []}, "labels"),
    "boolean-label": (made.colours(), made.COLOURS | {"labels": [True]}, "labels.0"),
    "unknown-field": (made.colours(), made.COLOURS | {"lables": ["a"]}, "lables"),
    "unknown-task": (made.colours(), made.COLOURS | {"task": "segmentation"}, "task"),
    "other-decoder": (made.colours(), made.COLOURS | {"decoder": "yolov8"}, "decoder yolov8"),
    "size-as-text": (made.colours(), made.COLOURS | {"input": {"size": ["4", 2]}}, "input.size.0"),
    "huge-input": (made.colours(), made.COLOURS | {"input": {"size": [9999, 2]}}, "input.size.0"),
    "std-nought": (
        made.colours(), made.COLOURS | {"input": {"size": [4, 2], "std": [0.0]}}, "input.std.0",
    ),
    "two-means": (
        made.colours(), made.COLOURS | {"input": {"size": [4, 2], "mean": [0.0, 1.0]}}, "1 or 3",
    ),
    "a name": (made.colours(), made.COLOURS, "name must match"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_model_is_refused(models: Models, tmp_path: Path, name: str) -> None:
    network, manifest, words = REFUSED[name]
    place = made.install(tmp_path, name, network, manifest)
    (place / "weights.bin").write_bytes(bytes(12))
    (found,) = models.all()
    assert isinstance(found, Rejected)
    assert words in found.reason
    assert str(tmp_path) not in found.reason
    with pytest.raises(ModelFailed, match="is not usable"):
        models.find(name, "classification")


@pytest.mark.parametrize("missing", ["model.onnx", "model.yaml"])
def test_a_file_is_missing(models: Models, tmp_path: Path, missing: str) -> None:
    (made.install(tmp_path, "colours", made.colours(), made.COLOURS) / missing).unlink()
    (found,) = models.all()
    assert isinstance(found, Rejected)
    assert missing in found.reason


@pytest.mark.parametrize("name", ["model.onnx", "model.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_pipes_and_folders_are_not_opened(
    models: Models, tmp_path: Path, name: str, kind: str
) -> None:
    """A named pipe would wait for ever for somebody to write."""
    path = made.install(tmp_path, "colours", made.colours(), made.COLOURS) / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    (found,) = models.all()
    assert found == Rejected("colours", f"{name} is not a regular file")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(worker.Refused, match="over 4194304 bytes"):
        worker.content_of(path, 4 << 20)


REFUSED_BY = "ONNX Runtime does not take it: "
STATUS = "Non-zero status code returned while running"
FAILED = f"[ONNXRuntimeError] : 1 : FAIL : {STATUS}"
PLACE = "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 "
ALLOCATION = "void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
NO_MEMORY = "Failed to allocate memory for requested buffer of size 8589934592"
RESHAPING = "onnxruntime::ReshapeHelper::ReshapeHelper(bool) (input % size) == 0 was false. "


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            f"{FAILED} Expand node. Name:'' Status Message: {PLACE}{ALLOCATION}{NO_MEMORY}\n",
            "it needs more memory than it may have",
        ),
        ("std::bad_alloc", "it needs more memory than it may have"),
        (
            f"{FAILED} Reshape node. Status Message: {PLACE}{RESHAPING}The shape {{1,3}} is bad\n",
            f"{REFUSED_BY}{STATUS} Reshape node. Status Message: The shape {{1,3}} is bad",
        ),
        (f"[ONNXRuntimeError] : 1 : FAIL : {PLACE}It fails (so it says).",
         f"{REFUSED_BY}It fails (so it says)."),
        ("word " * 100, f"{REFUSED_BY}{'word ' * 59}…"),
        ("", f"{REFUSED_BY}RuntimeError"),
    ],
)  # fmt: skip
def test_reasons_are_for_people(words: str, reason: str) -> None:
    assert worker.reason_of(RuntimeError(words)) == reason


def test_sparse_weights_may_not_be_external_either() -> None:
    network = external("w.bin")
    weight = network.graph.initializer.pop()
    sparse = network.graph.sparse_initializer.add()
    sparse.values.CopyFrom(weight)
    with pytest.raises(worker.Refused, match="external data"):
        worker.refuse_external_data(memoryview(network.SerializeToString()))


def test_a_field_cannot_hide_behind_a_large_number() -> None:
    """A parser that drops the bits of a tag beyond 32 would see external_data here."""
    tag = (worker.EXTERNAL_DATA << 3 | 2) | 1 << 32
    digits = [tag >> 7 * place & 0x7F | 0x80 for place in range(4)]
    disguised = bytes([*digits, tag >> 28, 0])
    with pytest.raises(worker.Refused, match="too large"):
        worker.refuse_external_data(memoryview(disguised), "TensorProto")


def test_every_field_that_may_hold_a_tensor_is_known() -> None:
    """The table of fields against ONNX's own description of its messages."""

    def reaches(kind: Any, seen: frozenset[str] = frozenset()) -> bool:
        return kind.name == "TensorProto" or any(
            reaches(field.message_type, seen | {kind.name})
            for field in kind.fields
            if field.message_type and field.message_type.name not in seen | {kind.name}
        )

    def described(kind: Any, found: dict[str, dict[int, str]]) -> dict[str, dict[int, str]]:
        if kind.name not in found:
            inner = [field for field in kind.fields if field.message_type]
            leading = [field for field in inner if reaches(field.message_type)]
            found[kind.name] = {field.number: field.message_type.name for field in leading}
            for field in leading:
                described(field.message_type, found)
        return found

    assert described(onnx_ml_pb2.ModelProto.DESCRIPTOR, {}) == worker.FIELDS
    tensor = onnx_ml_pb2.TensorProto.DESCRIPTOR.fields_by_name
    assert tensor["external_data"].number == worker.EXTERNAL_DATA
    assert tensor["data_location"].number == worker.DATA_LOCATION
    assert onnx_ml_pb2.ModelProto.DESCRIPTOR.fields_by_name["opset_import"].number == 8


def test_without_onnx_runtime_the_reason_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(worker.Refused, match="pip install onnxruntime"):
        worker.load(made.colours().SerializeToString())


def test_a_session_keeps_no_copy_of_the_file() -> None:
    """ONNX Runtime's Python class would: as much memory again as the weights take."""
    content = made.colours().SerializeToString()
    before = sys.getrefcount(content)
    session, _ = worker.load(content)
    assert sys.getrefcount(content) == before
    assert session.get_inputs()


# ------------------------------------------------------------------------------ bounded


def test_a_model_that_never_ends_is_ended_and_starts_again(tmp_path: Path) -> None:
    """It loops on white pictures only, and not on the picture that it is tried on."""
    made.install(tmp_path, "spinning", made.spinning(), made.COLOURS)
    models = Models([tmp_path], BRISK)
    model = models.find("spinning", "classification")
    black = model.classify(flat(0, 0, 0))
    with pytest.raises(ModelFailed, match=r"spinning failed: it did not run within 2 s"):
        model.classify(WHITE)
    assert model.classify(flat(0, 0, 0)) == black
    models.close()


def white_pictures_wait(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let models run on white pictures only when the event that is returned is set."""
    released, run = threading.Event(), Session.run

    def wait_and_run(session: Session, tensor: np.ndarray[Any, Any]) -> Any:
        assert tensor.min() < 1 or released.wait(PATIENCE_S)
        return run(session, tensor)

    monkeypatch.setattr(Session, "run", wait_and_run)
    return released


def test_one_model_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever model: a second one waits for a moment only."""
    monkeypatch.setattr("ltu_compute.recognisers.onnx.PATIENCE_S", 0.1)
    for name in ("one", "other"):
        made.install(tmp_path, name, made.colours(), made.COLOURS)
    models = Models([tmp_path], BOUNDS)
    one, other = (models.find(name, "classification") for name in ("one", "other"))
    released = white_pictures_wait(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(one.classify, WHITE)
        until(lambda: models._turn.taken)
        with pytest.raises(Busy) as busy:
            other.classify(flat(0, 0, 255))
        assert busy.value.retry_after == BOUNDS.seconds
        released.set()
        assert hanging.result()
    assert other.classify(flat(0, 0, 255))
    models.close()


def test_turns_are_taken_by_one_at_a_time() -> None:
    turn = ModelQueue()
    running = []

    def run(seconds: float) -> int:
        with turn.take(seconds):
            running.append(None)
            time.sleep(0.001)
            together = len(running)
            running.pop()
        return together

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, [PATIENCE_S] * 40)) == [1] * 40
    assert not turn.taken


@pytest.mark.parametrize(
    ("turns", "seconds", "gets_it"),
    [([0.3] * 8, 10.0, True), ([0.3] * 8, 2.0, False), ([0.3, 2.1], 10.0, False)],
)
def test_waiting_requests_get_their_turn_while_turns_end(
    monkeypatch: pytest.MonkeyPatch, turns: list[float], seconds: float, gets_it: bool
) -> None:
    """Turns before it may take longer than `PATIENCE_S` together, but none of them alone."""
    clock, queue = Clock(0.0), ModelQueue()
    monkeypatch.setattr("ltu_compute.recognisers.onnx.time", SimpleNamespace(monotonic=clock))
    before = iter(turns)

    class Simulated:
        """A condition whose others take turns in the test's time."""

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

        def notify_all(self) -> None:
            pass

        def wait_for(self, is_met: Callable[[], bool], longest: float) -> bool:
            turn = next(before)
            clock.now += min(turn, longest)
            if turn > longest:
                return is_met()
            queue._ended += 1
            queue._taken = before.__length_hint__() > 0
            return is_met()

    monkeypatch.setattr(queue, "_changed", Simulated())
    queue._taken = True
    with nullcontext() if gets_it else pytest.raises(Busy), queue.take(seconds):
        assert clock.now == pytest.approx(sum(turns))
    assert clock.now <= seconds


def test_a_killed_model_is_reported_and_starts_again(models: Models, tmp_path: Path) -> None:
    made.install(tmp_path, "colours", made.colours(), made.COLOURS)
    model = models.find("colours", "classification")
    before = model.classify(flat(0, 0, 255))
    session = model._session
    assert session is not None
    os.kill(session._process.pid, 9)
    session._process.wait()
    assert model.classify(flat(0, 0, 255)) == before


@pytest.mark.parametrize(
    "changed",
    [
        made.colours(shape=("n", 3, 2, 4)).SerializeToString(),
        made.colours(opset=16).SerializeToString(),
        made.constant({"scores": [[1, 2, 3]]}, shape=(1, 3, 2, 4)).SerializeToString(),  # the same
        b"nothing",
    ],
)
@pytest.mark.parametrize("used", [False, True])
def test_a_model_that_was_changed_is_not_used(
    models: Models, tmp_path: Path, changed: bytes, used: bool
) -> None:
    """Neither at its first use nor when its process has to start again."""
    place = made.install(tmp_path, "colours", made.colours(), made.COLOURS)
    model = models.find("colours", "classification")
    if used:
        model.classify(flat(0, 0, 255))
    (place / "model.onnx").write_bytes(changed)
    if used:
        assert model.classify(flat(0, 0, 255))  # its process has what was checked
        model.close()
    with pytest.raises(ModelFailed, match="was changed since the service started; restart"):
        model.classify(flat(0, 0, 255))
    (place / "model.onnx").write_bytes(made.colours().SerializeToString())
    assert model.classify(flat(0, 0, 255))


def test_its_process_has_no_secrets_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTU_COMPUTE_GOOGLE_API_KEY", "secret-key")
    place = made.install(tmp_path, "colours", made.colours(), made.COLOURS)
    session = Session(place / "model.onnx", BOUNDS)
    state = Path(f"/proc/{session._process.pid}")
    assert b"secret-key" not in (state / "environ").read_bytes()
    assert not (state / "cwd").readlink().exists()
    assert not list((state / "cwd").iterdir())
    limits = (state / "limits").read_text()
    for name, value in (
        ("Max address space", BOUNDS.memory),
        ("Max file size", 0),
        ("Max core file size", 0),
    ):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line.removeprefix(name).split()[:2] == [str(value)] * 2
    session.close()
    assert not state.exists()
    assert not session.alive
    with pytest.raises(ModelError):
        session.run(np.zeros((1, 3, 2, 4), np.float32))


# --------------------------------------------------------------------------- the service


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    made.install(folder, "boxes", made.yolo(PREDICTIONS), made.BOXES)
    made.install(folder, "colours", made.colours(), made.COLOURS)
    made.install(folder, "broken", b"nothing", made.COLOURS)
    (folder / "README.txt").write_text("not a model")
    (folder / ".git").mkdir()
    return folder


@pytest.fixture(scope="module")
def application(app: Any, settings: Settings, shop: Path) -> Iterator[Any]:
    served = create_app(settings.model_copy(update={"models_dir": shop}))
    yield served
    served.extensions["ltu_compute"].recognisers.models.close()
    served.extensions["ltu_compute"].store.close()


@pytest.fixture
def client(application: Any, token: str) -> Caller:
    return Caller(application.test_client(), token)


def sent(name: str = "shapes.png", **more: str) -> dict[str, Any]:
    return {"image": (io.BytesIO((IMAGES / name).read_bytes()), name)} | more


def test_models_are_listed(client: Caller) -> None:
    answer = client.get("models")
    assert answer.status_code == 200
    result = answer.json["result"]
    size = {"layout": "NCHW", "channels": "RGB"}
    assert result["models"] == [
        {"name": "boxes", "own": True, "task": "detection", "decoder": "yolov8", "labels": 2,
         "input": {"width": 64, "height": 64, **size, "resize": "letterbox"}, "opset": 17},
        {"name": "colours", "own": True, "task": "classification", "decoder": "softmax",
         "labels": 3, "input": {"width": 4, "height": 2, **size, "resize": "crop"}, "opset": 17},
    ]  # fmt: skip
    assert [failed["name"] for failed in result["failed"]] == ["broken"]
    assert "not an ONNX" in result["failed"][0]["reason"]


def test_how_models_fare_is_logged_at_start(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ltu_compute")
    Models([shop], BOUNDS).report()
    assert "model boxes: detection" in caplog.text
    assert "model broken is not used: it is not an ONNX" in caplog.text
    Models([shop / "nowhere"], BOUNDS).report()
    assert "nowhere cannot be read: No such file" in caplog.text


def test_classification_by_a_model(client: Caller) -> None:
    red = cv2.imencode(".png", flat(0, 0, 255, 40, 20))[1].tobytes()
    answer = client.post(
        "classification", data={"image": (io.BytesIO(red), "red.png"), "model": "colours"}
    )
    body = answer.json
    assert list(body) == ["content", "message", "code", "info"]
    assert body["info"] == {"provider": "Local", "model": "colours", "scores": "the model's own"}
    labels = body["content"]["labelAnnotations"]
    assert [label["description"] for label in labels] == ["red", "green", "blue"]
    expected = np.float32(softmax(1, 0, 0)).tolist()
    assert [label["score"] for label in labels] == pytest.approx(expected, abs=1e-6)
    assert all(label["score"] == float(np.float32(label["score"])) for label in labels)


def test_object_detection_by_a_model(client: Caller) -> None:
    black = cv2.imencode(".png", flat(0, 0, 0, 1280, 640))[1].tobytes()

    def ask(**more: str) -> Any:
        image = (io.BytesIO(black), "black.png")
        answer = client.post("objectDetection", data={"image": image, "model": "boxes", **more})
        assert answer.status_code == 200, answer.text
        return answer.json["content"]["localizedObjectAnnotations"]

    found = ask()
    assert [o["name"] for o in found] == ["person", "bolt", "person"]
    assert found[0]["boundingPoly"]["normalizedVertices"] == [
        {"y": 0.375, "x": 0.375},
        {"y": 0.375, "x": 0.625},
        {"y": 0.625, "x": 0.625},
        {"y": 0.625, "x": 0.375},
    ]
    assert ask(classes="BOLT") == [found[1]]
    assert ask(classes="/m/bolt") == [found[1]]
    assert ask(max_results="2") == found[:2]
    assert ask(min_score="0.8") == found[:1]
    assert ask(min_score="0.1") == found  # the model's own threshold counts


@pytest.mark.parametrize(
    ("operation", "more", "status", "words"),
    [
        ("objectDetection", {"model": "nothing"}, 400, "installed for detection: boxes"),
        ("classification", {"model": "nothing"}, 400, "installed for classification: colours"),
        ("classification", {"model": "boxes"}, 400, "which is for detection; installed for"),
        ("classification", {"model": "../boxes"}, 400, "installed for classification: colours"),
        ("classification", {"model": "README.txt"}, 400, "installed for"),
        ("classification", {"model": "broken"}, 503, "broken is not usable: it is not an ONNX"),
        ("classification", {"model": "colours", "provider": "Google"}, 400, "not Google's"),
        ("objectDetection", {"model": "boxes", "classes": "nut"}, 400, "known: person, bolt"),
    ],
)
def test_a_request_with_a_wrong_model_is_refused(
    client: Caller, operation: str, more: dict[str, str], status: int, words: str
) -> None:
    answer = client.post(operation, data=sent(**more))
    assert answer.status_code == status
    assert words in answer.json["details"]["message"]
    assert answer.json["result"] == {}


def test_a_hanging_model_holds_no_slot(
    app: Any, settings: Settings, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other requests are answered while it hangs; requests for it are refused soon."""
    made.install(tmp_path, "colours", made.colours(), made.COLOURS)
    monkeypatch.setattr("ltu_compute.recognisers.onnx.PATIENCE_S", 0.1)
    more = {"models_dir": tmp_path, "model_timeout": 40.0, "slots": 1}
    served = create_app(settings.model_copy(update=more))
    services = served.extensions["ltu_compute"]
    assert services.slots.places == 1 + settings.queue_places
    white = cv2.imencode(".png", WHITE)[1].tobytes()

    def ask(operation: str, **more: str) -> Any:
        client = Caller(served.test_client(), token)
        return client.post(operation, data={"image": (io.BytesIO(white), "white.png")} | more)

    released = white_pictures_wait(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        hanging = pool.submit(ask, "classification", model="colours")
        until(lambda: services.recognisers.models._turn.taken)
        others = [pool.submit(ask, "classification", model="colours") for _ in range(2)]
        assert [ask("colorPalette").status_code for _ in range(4)] == [200] * 4
        refused = [other.result() for other in others]
        assert not hanging.done()
        released.set()
        assert hanging.result().status_code == 200
    for answer in refused:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) == 40
        assert "one runs at a time" in answer.json["details"]["message"]
    assert ask("colorPalette").status_code == 200
    assert services.slots.count(State.FREE) == services.slots.places
    services.recognisers.models.close()
    services.store.close()


def test_a_released_slot_is_reclaimed() -> None:
    slots = Slots(computing=1, waiting=1)
    with slots.claim() as first, first.slot_released(), slots.claim(), pytest.raises(Busy):
        slots.check()  # the place of the first stays taken
    with pytest.raises(ZeroDivisionError), slots.claim() as place, place.slot_released():
        1 / 0  # noqa: B018  (to raise is what it is for)
    with slots.claim():
        assert slots.count(State.COMPUTING) == 1
    assert slots.count(State.FREE) == 2


def test_without_models_the_list_is_empty(call: Caller) -> None:
    body = call.get("models").json
    result = body["result"]
    assert (result["models"], result["failed"]) == ([], [])
    assert "objects" in result["missing"]
    assert "ltu-compute models install" in body["details"]["info"]["note"]
    answer = call.post("classification", data=sent(model="colours"))
    assert answer.status_code == 400
    assert "installed for classification: none" in answer.json["details"]["message"]


def test_the_command_checks_them(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(shop))
    done = CliRunner().invoke(main, ["models"])
    lines = dict(line.split("\t") for line in done.output.splitlines())
    assert (lines["boxes"], lines["colours"]) == ("detection", "classification")
    assert lines["broken"].startswith("not usable: it is not an ONNX")
    assert done.exit_code == 1


def test_the_command_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed() -> tuple[int, str]:
        done = CliRunner().invoke(main, ["models"])
        return done.exit_code, done.output

    monkeypatch.delenv("LTU_COMPUTE_MODELS_DIR", raising=False)
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path / "data"))
    assert listed() == (0, f"no models in {tmp_path / 'data' / 'models'}\n")
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(tmp_path))
    assert listed() == (0, f"no models in {tmp_path}\n")
    for path, why in ((tmp_path / "none", "No such file"), (Path(__file__), "Not a directory")):
        monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(path))
        code, output = listed()
        assert code == 1
        assert f"{path} cannot be read: {why}" in output
        assert "no models" not in output


def test_the_command_runs_them(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTU_COMPUTE_MODELS_DIR", str(shop))
    arguments = ["object-detection", str(IMAGES / "shapes.png"), "--model", "boxes"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["content"]["localizedObjectAnnotations"]
    assert [o["name"] for o in found] == ["person", "bolt", "person"]


def test_finding_a_model_checks_no_other_one(shop: Path) -> None:
    models = Models([shop], BOUNDS)
    assert isinstance(models.find("colours", "classification"), Model)
    assert set(models._checked) == {"colours"}
    with pytest.raises(BadParameters):
        models.find("else", "classification")


def test_the_table_of_mids_is_whole() -> None:
    path = (
        Path(__file__).parent.parent / "ltu_compute" / "recognisers" / "onnx" / "coco80_to_mid.csv"
    )
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [int(row["coco_id"]) for row in rows] == list(range(80))
    assert len({row["coco"] for row in rows}) == 80
    assert all(row["mid"].startswith("/m/") for row in rows)
