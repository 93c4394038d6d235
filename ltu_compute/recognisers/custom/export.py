"""Trained models as ONNX: the backbone, and the heads that were fitted behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ltu_compute.kernels.learning.classifier import Classifier
from ltu_compute.recognisers.custom.backbone import FEATURES, Backbone

PRODUCER = "ltu-compute"
SCORES = "scores"


class Extension:
    """Adds nodes behind a network.

    Parameters
    ----------
    model : ModelProto
        What is extended.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._count = 0

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
        self._count += 1
        return f"trained_{what}_{self._count}"


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
