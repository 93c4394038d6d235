"""TensorFlow.js graph models as ONNX: those operators that the catalogue's models use.

Source: a graph model is TensorFlow's GraphDef as JSON; the operators are those of
tensorflow.org/api_docs/python/tf/raw_ops.
"""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import orjson

from ltu_compute.recognisers.install.graph import Graph, same_pads
from ltu_compute.recognisers.install.tfjs import Array, Json, weights_of

NHWC = (0, 2, 3, 1)
"""Order of a picture's axes in TensorFlow, as places in NCHW, the order of ONNX."""

COLOURS = 3  # channels of a picture

FREE_SIDES = ("height", "width")
"""Names of the sides of a picture that may have any size."""


@dataclass(frozen=True)
class _Value:
    """A tensor of the TensorFlow graph, and the ONNX tensor that it is made from.

    Transposes and zeros around a picture are not written where they occur: they are noted here,
    and the next node takes them up. Nearly all of them cancel out.

    Attributes
    ----------
    name : str
        Of the ONNX tensor.
    shape : tuple of int
        Of the TensorFlow tensor, without its padding.
    order : tuple of int
        Axis of the ONNX tensor that each axis of the TensorFlow tensor is.
    padding : tuple of (int, int)
        What is still to be put before and after each axis.
    filling : float
        What it is filled with.
    """

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = ()
    filling: float = 0.0

    @property
    def padded(self) -> bool:
        """Whether there is anything to be put around it."""
        return any(before or after for before, after in self.padding)


Finish = Callable[[Graph, Mapping[str, str]], None]
"""Takes the graph and the tensors of its outputs by their new names."""


class _GraphModel:
    """Writes a graph model's nodes into an ONNX graph, one method an operator."""

    def __init__(self, model: Json, weights: Mapping[str, Array], *, free: bool) -> None:
        self._nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        used = [_source(name) for node in self._nodes.values() for name in node.get("input", [])]
        self._uses = Counter(used)
        self._users = {name: node for node in self._nodes.values() for name in _sources(node)}
        self._weights = weights
        self._found: dict[str, _Value | Array] = {}
        signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
        [given] = signature["inputs"].values()
        self._input_shape = tuple(int(d["size"]) for d in given["tensorShape"]["dim"])
        self._outputs = [_source(name) for name in signature["outputs"]]
        self._free = free
        shape: list[int | str] = list(self._input_shape)
        if free:
            rows = 2 if shape[1] == COLOURS else 1
            shape[rows : rows + 2] = FREE_SIDES
        self.graph = Graph("graph-model", "image", shape)

    def content(self, names: Mapping[str, str], finish: Finish | None) -> bytes:
        """Return the ONNX file; its outputs are named anew, or written by `finish`."""
        for node in self._in_order():
            inputs = [self._input(name) for name in node.get("input", [])]
            if node["name"] in self._found:
                continue  # taken up by the node before it
            method = getattr(self, f"_{node['op'].strip('_').lower()}", None)
            if method is None:
                raise ValueError(f"it has the operator {node['op']}, which is not known here")
            method(node, *inputs)
        if finish is not None:
            found = {name: self._value(self._found[source]) for source, name in names.items()}
            finish(self.graph, {name: self._plain(value) for name, value in found.items()})
            return self.graph.content()
        for source, name in names.items():
            value = self._value(self._found[source])
            self.graph.add("Identity", self._plain(value), name=name)
            shape: list[int | str] = list(value.shape)
            if self._free:
                shape[1] = f"{name}_cells"
            self.graph.output(name, shape)
        return self.graph.content()

    def _in_order(self) -> list[Json]:
        """Return the nodes that the outputs need, each behind its inputs."""
        ordered: dict[str, Json] = {}
        waiting = [(name, False) for name in reversed(self._outputs)]
        while waiting:
            name, ready = waiting.pop()
            if name in ordered:
                continue
            node = self._nodes[name]
            if ready:
                ordered[name] = node
            else:
                waiting.append((name, True))
                waiting += [(source, False) for source in reversed(_sources(node))]
        return list(ordered.values())

    def _input(self, name: str) -> _Value | Array:
        source, _, number = name.partition(":")
        return self._found[f"{source}:{number}" if int(number or 0) else source]

    def _value(self, found: _Value | Array) -> _Value:
        if isinstance(found, _Value):
            return found
        axes = tuple(range(found.ndim))
        name = self.graph.constant(found, np.float32 if found.dtype.kind == "f" else np.int64)
        return _Value(name, found.shape, axes)

    def _ordered(self, value: _Value, order: tuple[int, ...], *, padded: bool = True) -> str:
        """Return the name of a tensor with axes in a certain order, its padding written out."""
        name = value.name
        if value.padded and padded:
            rank = len(value.shape)
            pads = np.zeros((2, rank), np.int64)
            for axis, around in zip(value.order, value.padding, strict=True):
                pads[:, axis] = around
            constants = self.graph.constant(pads.ravel(), np.int64)
            name = self.graph.add("Pad", name, constants, self.graph.constant(value.filling))
        if value.order != order:
            # The axis of the TensorFlow tensor at each place, and where the ONNX tensor has it.
            inverse = np.argsort(order)
            name = self.graph.add("Transpose", name, perm=[value.order[axis] for axis in inverse])
        return name

    def _filled(self, x: _Value) -> _Value:
        """Return a tensor with its padding written out."""
        if not x.padded:
            return x
        return replace(x, name=self._ordered(x, x.order), shape=_grown(x), padding=())

    def _plain(self, value: _Value) -> str:
        return self._ordered(value, tuple(range(len(value.shape))))

    def _keep(self, node: Json, value: _Value | Array) -> None:
        self._found[node["name"]] = value

    # One method an operator, named as TensorFlow has it; inputs as its reference lists them.

    def _placeholder(self, node: Json) -> None:
        axes = tuple(range(len(self._input_shape)))
        self._keep(node, _Value("image", self._input_shape, axes))

    def _const(self, node: Json) -> None:
        self._keep(node, self._weights[node["name"]])

    def _identity(self, node: Json, x: _Value | Array) -> None:
        self._keep(node, x)

    def _sparsetodense(
        self, node: Json, at: Array, shape: Array, values: Array, rest: Array
    ) -> None:
        dense = np.full(shape.astype(int), rest, values.dtype)
        for place, value in zip(at, np.broadcast_to(values, len(at)), strict=True):
            dense[tuple(np.atleast_1d(place))] = value
        self._keep(node, dense)

    def _transpose(self, node: Json, x: _Value | Array, axes: Array) -> None:
        if not isinstance(x, _Value):
            self._keep(node, x.transpose(axes))
            return
        perm = axes.tolist()
        changed = replace(
            x,
            shape=tuple(x.shape[axis] for axis in perm),
            order=tuple(x.order[axis] for axis in perm),
            padding=tuple(x.padding[axis] for axis in perm) if x.padding else (),
        )
        self._keep(node, changed)

    def _pad(self, node: Json, x: _Value, around: Array, filling: Any = 0.0) -> None:
        if x.padded:
            x = replace(x, name=self._ordered(x, x.order), padding=())
        padding = tuple((int(before), int(after)) for before, after in around)
        self._keep(node, replace(x, padding=padding, filling=float(filling)))

    _padv2 = _pad

    def _conv2d(self, node: Json, x: _Value, kernels: Array) -> None:
        bias, name = self._bias_behind(node, kernels.shape[3])
        y = self._convolved(node, x, kernels.transpose(3, 2, 0, 1), bias)
        self._found[node["name"]] = self._found[name] = y

    def _depthwiseconv2dnative(self, node: Json, x: _Value, kernels: Array) -> None:
        if kernels.shape[3] != 1:
            raise ValueError(f"{node['name']} gives several channels for one")
        bias, name = self._bias_behind(node, kernels.shape[2])
        y = self._convolved(node, x, kernels.transpose(2, 3, 0, 1), bias)
        self._found[node["name"]] = self._found[name] = y

    def _fusedconv2d(self, node: Json, x: _Value, kernels: Array, bias: Array) -> None:
        fused = [base64.b64decode(each) for each in node["attr"]["fused_ops"]["list"]["s"]]
        if fused not in ([b"BiasAdd"], [b"BiasAdd", b"Relu"]):
            raise ValueError(f"{node['name']} fuses {fused!r}, which is not known here")
        self._keep(node, self._convolved(node, x, kernels.transpose(3, 2, 0, 1), bias))
        if b"Relu" in fused:
            self._relu(node, self._value(self._found[node["name"]]))

    def _convolved(self, node: Json, x: _Value, kernels: Array, bias: Array | None) -> _Value:
        """Add a convolution of (out, in / groups, height, width) kernels."""
        _only(node, data_format=b"NHWC", dilations=[1, 1, 1, 1])
        stride = _ints(node, "strides")[1]
        outer, inner, rows, columns = kernels.shape
        free = x.padded and x.filling == 0 and x.padding[0] == x.padding[3] == (0, 0)
        (top, bottom), (left, right) = x.padding[1:3] if free else ((0, 0), (0, 0))
        if x.padded and not free:
            x = replace(x, name=self._ordered(x, NHWC), shape=_grown(x), padding=(), order=NHWC)
        height, width = x.shape[1] + top + bottom, x.shape[2] + left + right
        if _text(node, "padding") == b"SAME":
            more, less = same_pads(height, rows, stride), same_pads(width, columns, stride)
            top, bottom, left, right = (
                top + more[0],
                bottom + more[1],
                left + less[0],
                right + less[1],
            )
            height, width = height + sum(more), width + sum(less)
        y = self.graph.conv(
            self._ordered(x, NHWC, padded=False),
            kernels,
            bias,
            stride=stride,
            pads=(top, left, bottom, right),
            groups=x.shape[3] // inner,
        )
        shape = (x.shape[0], (height - rows) // stride + 1, (width - columns) // stride + 1, outer)
        return _Value(y, shape, NHWC)

    def _bias_behind(self, node: Json, channels: int) -> tuple[Array | None, str]:
        """Return what is added to a convolution's output and to nothing else, and where."""
        user = self._users.get(node["name"])
        if self._uses[node["name"]] == 1 and user and user["op"] in ("Add", "AddV2", "BiasAdd"):
            other = [name for name in _sources(user) if name != node["name"]]
            bias = self._found.get(other[0]) if other else None
            if other and bias is None and self._nodes[other[0]]["op"] == "Const":
                bias = self._weights[other[0]]
            if isinstance(bias, np.ndarray) and bias.shape == (channels,):
                return bias, user["name"]
        return None, node["name"]

    def _add(self, node: Json, x: _Value | Array, y: _Value | Array) -> None:
        if not isinstance(x, _Value) and not isinstance(y, _Value):
            self._keep(node, x + y)
            return
        x, y = (self._filled(self._value(each)) for each in (x, y))
        if x.shape != y.shape:
            raise ValueError(f"{node['name']} adds tensors of different shapes")
        name = self.graph.add("Add", x.name, self._ordered(y, x.order))
        self._keep(node, _Value(name, x.shape, x.order))

    _addv2 = _add

    def _leakyrelu(self, node: Json, x: _Value) -> None:
        slope = float(np.float32(node["attr"]["alpha"]["f"]))
        self._pointwise(node, x, "LeakyRelu", alpha=slope)

    def _relu(self, node: Json, x: _Value) -> None:
        self._pointwise(node, x, "Relu")

    def _sigmoid(self, node: Json, x: _Value) -> None:
        self._pointwise(node, x, "Sigmoid")

    def _pointwise(self, node: Json, x: _Value, operator: str, **attributes: Any) -> None:
        name = self.graph.add(operator, self._ordered(x, x.order), **attributes)
        self._keep(node, _Value(name, _grown(x), x.order))

    def _maxpool(self, node: Json, x: _Value) -> None:
        _only(node, data_format=b"NHWC")
        [_, rows, columns, _], stride = _ints(node, "ksize"), _ints(node, "strides")[1]
        if _text(node, "padding") == b"SAME" and any(
            sum(same_pads(side, size, stride))
            for side, size in zip(_grown(x)[1:3], (rows, columns), strict=True)
        ):
            raise ValueError(f"{node['name']} pools beyond the picture's border")
        # ONNX leaves out what is beyond a picture's border, as the least of all numbers does.
        least = x.padded and x.filling <= np.finfo(np.float32).min
        (top, bottom), (left, right) = x.padding[1:3] if least else ((0, 0), (0, 0))
        name = self.graph.add(
            "MaxPool",
            self._ordered(x, NHWC, padded=not least),
            kernel_shape=[rows, columns],
            strides=[stride, stride],
            pads=[top, left, bottom, right],
        )
        count, height, width, channels = _grown(x)
        shape = count, (height - rows) // stride + 1, (width - columns) // stride + 1, channels
        self._keep(node, _Value(name, shape, NHWC))

    def _resizebilinear(self, node: Json, x: _Value, size: Array) -> None:
        if not node["attr"]["half_pixel_centers"]["b"]:
            raise ValueError(f"{node['name']} enlarges without half-pixel centres")
        height, width = size.tolist()
        count, rows, columns, channels = x.shape
        sides = ((height, rows), (width, columns))
        if self._free and any(max(side) % min(side) for side in sides):
            raise ValueError(f"{node['name']} resizes by neither a whole number nor one over it")
        factors = self.graph.constant([1.0, 1.0, height / rows, width / columns])
        sizes = self.graph.constant([count, channels, height, width], np.int64)
        name = self.graph.add(
            "Resize",
            self._ordered(x, NHWC),
            "",
            *((factors,) if self._free else ("", sizes)),
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
        self._keep(node, _Value(name, (count, height, width, channels), NHWC))

    def _concatv2(self, node: Json, *given: _Value | Array) -> None:
        *parts, axis = given
        values = [self._value(part) for part in parts]
        first = values[0]
        place = int(np.asarray(axis)) % len(first.shape)
        names = [self._ordered(value, first.order) for value in values]
        name = self.graph.add("Concat", *names, axis=first.order[place])
        shape = list(_grown(first))
        shape[place] = sum(_grown(value)[place] for value in values)
        self._keep(node, _Value(name, tuple(shape), first.order))

    def _splitv(self, node: Json, x: _Value | Array, sizes: Array, axis: Array) -> None:
        place = int(axis) % len(x.shape)
        parts: Sequence[_Value | Array]
        if isinstance(x, _Value):
            names = self.graph.add_many(
                "Split",
                [self._ordered(x, x.order), self.graph.constant(sizes, np.int64)],
                len(sizes),
                axis=x.order[place],
            )
            shapes = [(*x.shape[:place], int(s), *x.shape[place + 1 :]) for s in sizes]
            parts = [_Value(n, s, x.order) for n, s in zip(names, shapes, strict=True)]
        else:
            parts = np.split(x, np.cumsum(sizes)[:-1].tolist(), place)
        for number, part in enumerate(parts):
            self._found[f"{node['name']}:{number}" if number else node["name"]] = part

    def _reshape(self, node: Json, x: _Value | Array, shape: Array) -> None:
        if not isinstance(x, _Value):
            self._keep(node, x.reshape(shape.tolist()))
            return
        sides = shape.tolist()
        rest = prod(_grown(x)) // prod(side for side in sides if side != -1)
        full = tuple(rest if side == -1 else side for side in sides)
        given = full
        if self._free:  # how many cells there are depends on the picture
            if len(full) != 3 or full[0] != 1 or len(x.shape) != 4:
                raise ValueError(f"{node['name']} makes {full}, which is not of cells and channels")
            given = (1, full[1], -1) if full[1] == x.shape[1] else (1, -1, full[2])
        name = self.graph.add("Reshape", self._plain(x), self.graph.constant(given, np.int64))
        self._keep(node, _Value(name, full, tuple(range(len(full)))))


def _source(name: str) -> str:
    return name.partition(":")[0]


def _sources(node: Json) -> list[str]:
    return [_source(name) for name in node.get("input", [])]


def _grown(x: _Value) -> tuple[int, ...]:
    """Return a tensor's shape with its padding."""
    if not x.padding:
        return x.shape
    return tuple(side + sum(around) for side, around in zip(x.shape, x.padding, strict=True))


def _text(node: Json, attribute: str) -> bytes:
    return base64.b64decode(node["attr"][attribute]["s"])


def _ints(node: Json, attribute: str) -> list[int]:
    return [int(number) for number in node["attr"][attribute]["list"]["i"]]


def _only(node: Json, **allowed: bytes | list[int]) -> None:
    """Refuse a node whose attributes are others than those that are written here."""
    for name, value in allowed.items():
        found = _text(node, name) if isinstance(value, bytes) else _ints(node, name)
        if found != value:
            raise ValueError(f"{node['name']} has {name} {found!r}, which is not known here")


def graph_model(
    topology: bytes,
    weights: bytes,
    outputs: Mapping[str, str],
    finish: Finish | None = None,
    *,
    free: bool = False,
) -> bytes:
    """Return a graph model as ONNX.

    Parameters
    ----------
    topology, weights : bytes
        Its ``.json`` and ``.bin``.
    outputs : mapping of str to str
        Names of its outputs as the file has them, and as they are to be called.
    finish : callable, optional
        Goes on with the graph behind the outputs and declares those of the file: a `Finish`.
    free : bool
        Whether the picture's sides are left free: any multiples of the coarsest grid's stride. The
        model must be of convolutions alone, with outputs of (1, cells, channels).

    Raises
    ------
    ValueError
        It is no such model, or has operators that none of the catalogue's models has.
    """
    try:
        model = orjson.loads(topology)
        stored = weights_of(model["weightsManifest"], weights)
        return _GraphModel(model, stored, free=free).content(outputs, finish)
    except (KeyError, TypeError, IndexError, StopIteration) as error:
        raise ValueError(f"it is not a graph model that is known here: {error!r}") from None
