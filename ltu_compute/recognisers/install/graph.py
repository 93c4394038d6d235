"""A small writer of ONNX graphs for networks that are rebuilt from their weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

OPSET = 17
IR_VERSION = 8  # of the file format; what opset 17 was published with
PRODUCER = "ltu-compute"

Array = NDArray[Any]
Pads = tuple[int, int, int, int]
"""Rows above, columns to the left, rows below, columns to the right."""

_KINDS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
}


class Graph:
    """A graph that is written node by node; the same calls give the same bytes.

    Parameters
    ----------
    name : str
        Written into the file.
    input_name : str
        Name of the only input, a float32 tensor.
    shape : sequence of int or str
        Its shape; a name is a size that is free.
    """

    def __init__(self, name: str, input_name: str, shape: Sequence[int | str]) -> None:
        self._name = name
        self._input = helper.make_tensor_value_info(input_name, TensorProto.FLOAT, list(shape))
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant; equal ones share one tensor."""
        # Not ascontiguousarray, which makes a scalar an array of one.
        array = np.array(values, dtype, order="C")
        content = array.tobytes()
        key = array.dtype.str, array.shape, content
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            self._constants[key] = name
            kind = _KINDS[array.dtype]
            self._tensors.append(helper.make_tensor(name, kind, array.shape, content, raw=True))
        return self._constants[key]

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.add_many(operator, inputs, 1, names=(name,), **attributes)[0]

    def add_many(
        self,
        operator: str,
        inputs: Sequence[str],
        count: int,
        *,
        names: Sequence[str] = (),
        **attributes: Any,
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        own = [f"n{len(self._nodes)}_{i}" for i in range(count)]
        outputs = [given or made for given, made in zip(names or own, own, strict=True)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def conv(
        self,
        x: str,
        weights: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        pads: Pads = (0, 0, 0, 0),
        groups: int = 1,
    ) -> str:
        """Add a convolution.

        Parameters
        ----------
        x : str
            Its input, NCHW.
        weights : ndarray, shape (out, in / groups, height, width)
            Its kernels.
        bias : ndarray, shape (out,), optional
            Default: none.
        stride : int
            In px, both ways.
        pads : tuple of int
            Zeros around the picture.
        groups : int
            1, or as many as there are channels for a depthwise one.
        """
        inputs = [x, self.constant(weights)]
        if bias is not None:
            inputs.append(self.constant(bias))
        return self.add(
            "Conv",
            *inputs,
            kernel_shape=list(weights.shape[2:]),
            strides=[stride, stride],
            pads=list(pads),
            group=groups,
        )

    def relu6(self, x: str) -> str:
        """Add a limit to 0 and 6."""
        return self.add("Clip", x, self.constant(0.0), self.constant(6.0))

    def counted(self, x: str, axis: int) -> str:
        """Add the numbers 0, 1, 2... along an axis of a tensor, in its shape.

        Its values must be finite; what they are is of no account.
        """
        ones = self.add("Add", self.add("Mul", x, self.constant(0.0)), self.constant(1.0))
        return self.add("CumSum", ones, self.constant(axis, np.int64), exclusive=1)

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        """Declare an output; a float32 tensor."""
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        self._outputs.append(value)

    def content(self) -> bytes:
        """Return the file's content, after a check of the whole graph."""
        graph = helper.make_graph(
            self._nodes, self._name, [self._input], self._outputs, self._tensors
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
        )
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" zeros before and after a side of a picture.

    Source: tensorflow.org/api_docs/python/tf/nn, "Notes on padding".
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def folded(weights: Array, norm: Sequence[Array], epsilon: float) -> tuple[Array, Array]:
    """Return weights and bias of a convolution that has taken up its batch normalisation.

    Parameters
    ----------
    weights : ndarray, shape (out, in, height, width)
        Of the convolution, which has no bias.
    norm : sequence of four ndarrays, shape (out,)
        Scale, offset, mean and variance: (x - mean) / sqrt(variance + epsilon) · scale + offset.
    epsilon : float
        The constant in it.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015, section 3.1.
    """
    scale, offset, mean, variance = (values.astype(np.float64) for values in norm)
    factor = scale / np.sqrt(variance + epsilon)
    kernels = weights.astype(np.float64) * factor[:, np.newaxis, np.newaxis, np.newaxis]
    return kernels.astype(np.float32), (offset - mean * factor).astype(np.float32)
