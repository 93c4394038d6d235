"""Trained models as ONNX: the backbone, and the heads that were fitted behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ltu_compute.kernels.learning.classifier import Classifier
from ltu_compute.kernels.learning.detector import (
    BOX_SIDE,
    LEAST_WEIGHT,
    LOGIT_SIDE,
    MOST_LOGARITHM,
    Heads,
    Layer,
    centres,
)
from ltu_compute.recognisers.custom.backbone import FEATURES, Backbone

PRODUCER = "ltu-compute"
SCORES = "scores"
MAPS, OUTPUT = "maps", "output0"
STRIDES = (8, 16, 32)  # px of the maps that a detector sees, the first one's cells


class Extension:
    """Adds nodes behind a network.

    Parameters
    ----------
    model : ModelProto
        What is extended.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = self._name("constant")
        self._graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = name or self._name(operator.lower())
        node = onnx.helper.make_node(operator, list(inputs), [output], **attributes)
        self._graph.node.append(node)
        return output

    def _name(self, what: str) -> str:
        number = len(self._graph.node) + len(self._graph.initializer)
        return f"trained_{what}_{number}"


def classifier(backbone: Backbone, side: int, fitted: Classifier) -> bytes:
    """Return a classifier: the backbone's vector, and scores of the classes from it.

    Parameters
    ----------
    backbone : Backbone
        What the vectors are from.
    side : int
        Of its input, px.
    fitted : Classifier
        From such vectors to scores.
    """
    model = backbone.cut(side, [FEATURES])
    extension = Extension(model)
    weights = extension.constant(fitted.weights.astype(np.float32))
    offsets = extension.constant(fitted.offsets.astype(np.float32))
    extension.add("Gemm", FEATURES, weights, offsets, name=SCORES, transB=1)
    return content(model, {SCORES: (1, len(fitted.offsets))})


def content(model: onnx.ModelProto, outputs: Mapping[str, Sequence[int]]) -> bytes:
    """Return a network as a file, after a check of it; the same network gives the same bytes.

    Parameters
    ----------
    model : ModelProto
        The network.
    outputs : mapping of str to sequence of int
        Names and shapes of its outputs.
    """
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
        for name, shape in outputs.items()
    )
    model.producer_name = PRODUCER
    onnx.checker.check_model(model, full_check=True)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def maps(backbone: Backbone, side: int) -> onnx.ModelProto:
    """Return the network up to its maps: those of larger strides enlarged to the first's size."""
    names = backbone.maps(side, STRIDES)
    model = backbone.cut(side, names)
    extension = Extension(model)
    parts = [names[0]]
    for stride, name in zip(STRIDES[1:], names[1:], strict=True):
        factor = stride // STRIDES[0]
        scales = extension.constant(np.array([1, 1, factor, factor], np.float32))
        parts.append(
            extension.add(
                "Resize",
                name,
                "",
                scales,
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        )
    extension.add("Concat", *parts, name=MAPS, axis=1)
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(MAPS, onnx.TensorProto.FLOAT, None)
    )
    return model


def detector(backbone: Backbone, side: int, heads: Heads) -> bytes:
    """Return a detector: the backbone's maps, and the heads as convolutions of one px.

    Its output is that of a YOLOv8: (1, 4 + K, N), centre, sides and a score a class.
    """
    model = maps(backbone, side)
    extension = Extension(model)
    cells = side // STRIDES[0]
    count = heads.class_scores.weights.shape[1]

    def convolved(x: str, layer: Layer) -> str:
        weights = extension.constant(np.ascontiguousarray(layer.weights.T)[:, :, None, None])
        return extension.add("Conv", x, weights, extension.constant(layer.offsets))

    def flat(x: str, rows: int) -> str:
        return extension.add("Reshape", x, extension.constant(np.array([1, rows, cells**2])))

    def averaged(x: str, side: int) -> str:
        # Only cells that are there count.
        around = [side // 2] * 4
        return extension.add("AveragePool", x, kernel_shape=[side, side], pads=around)

    seen = convolved(MAPS, heads.reduction)
    hidden = extension.add("Relu", convolved(seen, heads.class_hidden))
    logits = averaged(convolved(hidden, heads.class_scores), LOGIT_SIDE)
    moved = extension.add("Add", logits, extension.constant(np.array(heads.offset, np.float32)))
    scores = flat(extension.add("Sigmoid", moved), count)
    hidden = extension.add("Relu", convolved(seen, heads.box_hidden))
    most = extension.constant(np.array(MOST_LOGARITHM, np.float32))
    logarithms = extension.add("Min", convolved(hidden, heads.box_sides), most)
    distances = extension.add("Exp", logarithms)
    # From distances to left, top, right and bottom of the cell's place: the sides of a box.
    signs = np.array([-1, -1, 1, 1], np.float32).reshape(1, 4, 1, 1)
    away = extension.add("Mul", distances, extension.constant(STRIDES[0] * signs))
    places = centres(cells, cells, STRIDES[0]).T.reshape(1, 2, cells, cells)
    here = extension.constant(np.concatenate([places, places], axis=1).astype(np.float32))
    sides = extension.add("Add", away, here)
    best = extension.add("ReduceMax", logits, axes=[1], keepdims=1)
    least = extension.constant(np.array(LEAST_WEIGHT, np.float32))
    weights = extension.add("Add", extension.add("Sigmoid", best), least)
    weighted = averaged(extension.add("Mul", weights, sides), BOX_SIDE)
    mean = flat(extension.add("Div", weighted, averaged(weights, BOX_SIDE)), 4)
    # Centre and sides, as a YOLOv8 gives them.
    turned = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]])
    boxes = extension.add("MatMul", extension.constant(turned.astype(np.float32)), mean)
    extension.add("Concat", boxes, scores, name=OUTPUT, axis=1)
    return content(model, {OUTPUT: (1, 4 + count, cells**2)})
