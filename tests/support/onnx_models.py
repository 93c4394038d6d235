"""Tiny ONNX models whose answers are known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT = TensorProto.FLOAT

COLOURS: dict[str, Any] = {
    "task": "classification",
    "input": {"size": [4, 2]},
    "labels": ["red", "green", "blue"],
    "decoder": "softmax",
}
BOXES: dict[str, Any] = {
    "task": "detection",
    "input": {"size": [64, 64]},
    "labels": ["person", {"name": "bolt", "mid": "/m/bolt"}],
    "decoder": "yolov8",
}


def model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str],
    *,
    shape: Sequence[int | str] = (1, 3, 64, 64),
    kind: int = FLOAT,
    constants: dict[str, Any] | None = None,
    opset: int = OPSET,
    more_inputs: Sequence[onnx.ValueInfoProto] = (),
    output_kind: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", kind, shape), *more_inputs],
        [helper.make_tensor_value_info(name, output_kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def colours(*, shape: Sequence[int | str] = (1, 3, 2, 4), **more: Any) -> onnx.ModelProto:
    """Gives the mean of every channel."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    mean = node("ReduceMean", "image", "scores", axes=axes, keepdims=0)
    return model([mean], ["scores"], shape=shape, **more)


def weighted(
    weights: Sequence[Sequence[float]], offsets: Sequence[float], size: int = 4
) -> onnx.ModelProto:
    """Gives sums of the means of red, green and blue, 0 to 1: a row of weights for each class."""
    nodes = [
        node("ReduceMean", "image", "mean", axes=[2, 3], keepdims=0),
        node("Gemm", "mean weights offsets", "scores"),
    ]
    constants = {
        "weights": np.array(weights, np.float32).T,
        "offsets": np.array(offsets, np.float32),
    }
    return model(nodes, ["scores"], shape=(1, 3, size, size), constants=constants)


def constant(
    values: dict[str, Any], *, shape: Sequence[int | str] = (1, 3, 64, 64)
) -> onnx.ModelProto:
    """Gives the same outputs whatever it sees."""
    nodes, constants = [], {}
    for name, value in values.items():
        nodes.append(node("Add", f"{name}_value nought", name))
        constants[f"{name}_value"] = np.asarray(value, np.float32)
    nodes.insert(0, node("Mul", "mean zero", "nought"))
    nodes.insert(0, node("ReduceMean", "image", "mean", keepdims=0))
    constants["zero"] = np.float32(0)
    return model(nodes, list(values), shape=shape, constants=constants)


def yolo(boxes: Sequence[Sequence[float]], *, transposed: bool = False) -> onnx.ModelProto:
    """Gives boxes of centre x, centre y, width, height and a score a class."""
    output = np.array(boxes, np.float32).T[np.newaxis]
    return constant({"output0": output.transpose(0, 2, 1) if transposed else output})


def spinning() -> onnx.ModelProto:
    """Counts to 10^12 on white pictures, and not at all on darker ones; then as `colours`."""
    body = helper.make_graph(
        [node("Identity", "go", "go_on"), node("Add", "total one", "next")],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("total", FLOAT, [1, 3]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, [1, 3]),
        ],
    )
    nodes = [
        node("ReduceMean", "image", "scores_", axes=[2, 3], keepdims=0),
        node("ReduceMin", "scores_", "least", keepdims=0),
        node("GreaterOrEqual", "least almost", "white"),
        node("Cast", "white", "factor", to=TensorProto.INT64),
        node("Mul", "factor many", "trips"),
        node("Loop", "trips yes scores_", "scores", body=body),
    ]
    constants = {
        "almost": np.float32(0.99),
        "many": np.int64(10**12),
        "yes": np.bool_(True),
        "one": np.float32(0),
    }
    return model(nodes, ["scores"], shape=(1, 3, 2, 4), constants=constants)


def greedy(gigabytes: int) -> onnx.ModelProto:
    """Wants a tensor of so many gigabytes."""
    nodes = [
        node("Shape", "image", "sides"),
        node("Mul", "sides factors", "larger"),
        node("Expand", "image larger", "huge"),
        node("ReduceMean", "huge", "scores", axes=[0, 2, 3], keepdims=0),
    ]
    count = gigabytes * 2**30 // (3 * 8 * 4)
    constants = {"factors": np.array([count, 1, 1, 1], np.int64)}
    return model(nodes, ["scores"], shape=("n", 3, 2, 4), constants=constants)


def install(folder: Path, name: str, network: onnx.ModelProto | bytes, manifest: Any) -> Path:
    """Write a model's folder and return it."""
    place = folder / name
    place.mkdir(parents=True)
    content = network if isinstance(network, bytes) else network.SerializeToString()
    (place / "model.onnx").write_bytes(content)
    (place / "model.yaml").write_text(
        manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
    )
    return place
