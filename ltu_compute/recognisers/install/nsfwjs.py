"""The classifier of nsfwjs as ONNX, from the JavaScript modules that its package holds.

It is a layers model of TensorFlow.js, MobileNetV2 in Keras' words, wrapped into two modules: one
whose only object is the topology, and one whose only string is the weights, as base64.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ltu_compute.recognisers.install.graph import Graph, Pads, folded, same_pads
from ltu_compute.recognisers.install.tfjs import Array, Json, weights_of

# Each file is one module in a bundle: function(require, module, exports){module.exports=...}.
TOPOLOGY = re.compile(rb"\.exports=(\{modelTopology:.*\})\},\{\}\]\},\{\},\[1\]\)", re.DOTALL)
WEIGHTS = re.compile(rb'\.exports="([A-Za-z0-9+/]+=*)"')
# A string, or what JavaScript writes otherwise than JSON: a name without quotes before its colon,
# true and false as !0 and !1, a number without its nought.
LITERAL = re.compile(
    rb'("(?:[^"\\]|\\.)*")|([{,])([A-Za-z_$][\w$]*)(?=:)|(!0)|(!1)|(?<![\w.])(-?)\.(?=\d)'
)


def json_of(script: bytes) -> Any:
    """Return the value of a JavaScript object literal.

    Names without quotes, ``!0``, ``!1`` and numbers such as ``.5`` are understood; anything else
    must be as in JSON.

    Raises
    ------
    ValueError
        It holds something else.
    """

    def written(found: re.Match[bytes]) -> bytes:
        text, before, name, true, false, sign = found.groups()
        if text is not None:
            return bytes(text)
        if name is not None:
            return bytes(before) + b'"' + bytes(name) + b'"'
        return b"true" if true else b"false" if false else bytes(sign) + b"0."

    return orjson.loads(LITERAL.sub(written, script))


@dataclass(frozen=True)
class _Value:
    """Output of a layer: an ONNX tensor of one picture.

    Attributes
    ----------
    name : str
        Of the tensor.
    shape : tuple of int
        Channels, rows, columns; or features.
    pads : tuple of int
        Zeros that are still to be put around it.
    """

    name: str
    shape: tuple[int, ...]
    pads: Pads = (0, 0, 0, 0)


class _Layers:
    """Writes a model's layers into an ONNX graph, one method a class of layers."""

    def __init__(self, layers: list[Json], weights: Mapping[str, Array]) -> None:
        self._layers = {layer["name"]: layer for layer in layers}
        self._weights = weights
        self._users: dict[str, list[str]] = {}
        for layer in layers:
            for source in _inputs(layer):
                self._users.setdefault(source, []).append(layer["name"])
        self._found: dict[str, _Value] = {}
        _, rows, columns, channels = layers[0]["config"]["batch_input_shape"]
        self._shape = channels, rows, columns
        self.graph = Graph("layers-model", "image", (1, *self._shape))

    def content(self) -> bytes:
        """Return the ONNX file; its output is called ``scores``."""
        last = _Value("", ())
        for name, layer in self._layers.items():
            if name not in self._found:  # else it was taken up by the layer before it
                method = getattr(self, f"_{layer['class_name'].lower()}", None)
                if method is None:
                    raise ValueError(f"it has a layer {layer['class_name']}, not known here")
                inputs = [self._found[source] for source in _inputs(layer)]
                self._found[name] = method(layer["config"], *inputs)
            last = self._found[name]
        self.graph.add("Identity", last.name, name="scores")
        self.graph.output("scores", (1, *last.shape))
        return self.graph.content()

    def _inputlayer(self, _config: Json) -> _Value:
        return _Value("image", self._shape)

    def _zeropadding2d(self, config: Json, x: _Value) -> _Value:
        (top, bottom), (left, right) = config["padding"]
        return replace(x, pads=(top, left, bottom, right))

    def _conv2d(self, config: Json, x: _Value) -> _Value:
        return self._convolution(config, x, self._weights[f"{config['name']}/kernel"], 1)

    def _depthwiseconv2d(self, config: Json, x: _Value) -> _Value:
        kernels = self._weights[f"{config['name']}/depthwise_kernel"]
        if config["depth_multiplier"] != 1:
            raise ValueError(f"{config['name']} multiplies channels")
        return self._convolution(config, x, kernels.transpose(0, 1, 3, 2), x.shape[0])

    def _convolution(self, config: Json, x: _Value, kernels: Array, groups: int) -> _Value:
        """Add a convolution with the normalisation that follows it."""
        name, [stride, _] = config["name"], config["strides"]
        plain = not config["use_bias"] and config["activation"] == "linear"
        [norm] = self._users[name]
        norm_config = self._layers[norm]["config"]
        if not plain or self._layers[norm]["class_name"] != "BatchNormalization":
            raise ValueError(f"{name} is no convolution that only a normalisation follows")
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        values = [self._weights[f"{norm}/{part}"] for part in parts]
        weights, bias = folded(kernels.transpose(3, 2, 0, 1), values, norm_config["epsilon"])
        top, left, bottom, right = x.pads
        _, rows, columns = x.shape
        height, width = kernels.shape[:2]
        if config["padding"] == "same":
            (top, bottom), (left, right) = (
                same_pads(rows, height, stride),
                same_pads(columns, width, stride),
            )
        pads = (top, left, bottom, right)
        y = self.graph.conv(x.name, weights, bias, stride=stride, pads=pads, groups=groups)
        shape = (
            len(weights),
            (rows + top + bottom - height) // stride + 1,
            (columns + left + right - width) // stride + 1,
        )
        self._found[norm] = _Value(y, shape)
        return self._found[norm]

    def _relu(self, config: Json, x: _Value) -> _Value:
        if config["max_value"] != 6 or config["negative_slope"] or config["threshold"]:
            raise ValueError(f"{config['name']} is no ReLU6")
        return replace(x, name=self.graph.relu6(x.name))

    def _add(self, _config: Json, x: _Value, y: _Value) -> _Value:
        return replace(x, name=self.graph.add("Add", x.name, y.name))

    def _averagepooling2d(self, config: Json, x: _Value) -> _Value:
        channels, *sides = x.shape
        if config["pool_size"] != sides:
            raise ValueError(f"{config['name']} pools a part of the picture")
        return _Value(self.graph.add("GlobalAveragePool", x.name), (channels, 1, 1))

    def _flatten(self, config: Json, x: _Value) -> _Value:
        if x.shape[1:] != (1, 1):
            raise ValueError(f"{config['name']} flattens a picture")
        return _Value(self.graph.add("Flatten", x.name, axis=1), x.shape[:1])

    def _dropout(self, _config: Json, x: _Value) -> _Value:
        return x  # only training drops

    def _dense(self, config: Json, x: _Value) -> _Value:
        name, activation = config["name"], config["activation"]
        kernel, bias = (self._weights[f"{name}/{part}"] for part in ("kernel", "bias"))
        y = self.graph.add("Gemm", x.name, self.graph.constant(kernel), self.graph.constant(bias))
        operator = {"relu": "Relu", "softmax": "Softmax"}[activation]
        return _Value(self.graph.add(operator, y), (len(bias),))


def _inputs(layer: Json) -> list[str]:
    """Return the names of the layers that a layer takes its inputs from."""
    return [source for node in layer["inbound_nodes"][:1] for source, *_ in node]


def onnx_of(topology: bytes, weights: bytes) -> bytes:
    """Return the classifier as ONNX.

    Its input ``image`` is (1, 3, 224, 224), RGB, 0 to 1. Its output ``scores`` is (1, 5): the
    probabilities of Drawing, Hentai, Neutral, Porn and Sexy.

    Parameters
    ----------
    topology, weights : bytes
        ``model.min.js`` and ``group1-shard1of1.min.js``.

    Raises
    ------
    ValueError
        They hold something else.
    """
    described, stored = TOPOLOGY.search(topology), WEIGHTS.search(weights)
    if described is None or stored is None:
        raise ValueError("it is not a module that holds a model")
    try:
        model = json_of(described[1])
        values = weights_of(model["weightsManifest"], base64.b64decode(stored[1], validate=True))
        layers = model["modelTopology"]["model_config"]["config"]["layers"]
        return _Layers(layers, values).content()
    except (KeyError, TypeError, IndexError, binascii.Error) as error:
        raise ValueError(f"it is not a layers model that is known here: {error!r}") from None
