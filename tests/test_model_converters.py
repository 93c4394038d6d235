"""Converters to ONNX, on small networks that are computed here once more, by hand."""

import base64
import collections
import io
import pickle
import struct
from typing import Any

import numpy as np
import onnx
import onnxruntime
import orjson
import pytest
from numpy.typing import NDArray

from ltu_compute.recognisers.install import (
    copied,
    darknet,
    efficientnet,
    nsfwjs,
    pickles,
    tfjs_graph,
)
from ltu_compute.recognisers.install.graph import Graph, folded, same_pads
from ltu_compute.recognisers.install.tfjs import weights_of
from tests.support import onnx_models as made

Array = NDArray[Any]


def ran(content: bytes, image: Array) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def convolved(image: Array, kernels: Array, stride: int) -> Array:
    """Return a convolution without padding, image and result (rows, columns, channels)."""
    height, width, _, count = kernels.shape
    rows = (image.shape[0] - height) // stride + 1
    columns = (image.shape[1] - width) // stride + 1
    result = np.empty((rows, columns, count))
    for i in range(rows):
        for j in range(columns):
            part = image[i * stride : i * stride + height, j * stride : j * stride + width]
            result[i, j] = np.tensordot(part, kernels, 3)
    return result


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (0, 1)),
        (112, 3, 1, (1, 1)),
        (7, 5, 1, (2, 2)),
        (5, 1, 2, (0, 0)),
        (6, 2, 4, (0, 0)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    """Against the rule of TensorFlow's documentation."""
    assert same_pads(size, kernel, stride) == pads


def test_a_folded_normalisation_changes_nothing() -> None:
    draw = np.random.default_rng(1)
    weights, x = draw.normal(size=(4, 3, 1, 1)), draw.normal(size=3)
    scale, offset, mean = draw.normal(size=(3, 4))
    variance = draw.uniform(0.1, 2, 4)
    plain = weights[:, :, 0, 0] @ x
    expected = (plain - mean) / np.sqrt(variance + 0.001) * scale + offset
    kernels, bias = folded(weights, (scale, offset, mean, variance), 0.001)
    assert kernels[:, :, 0, 0] @ x + bias == pytest.approx(expected, rel=1e-5)


def test_the_same_calls_give_the_same_bytes() -> None:
    def content() -> bytes:
        graph = Graph("g", "image", (1, 2))
        graph.add("Mul", "image", graph.constant(2.0), name="twice")
        graph.output("twice", (1, 2))
        return graph.content()

    assert content() == content()
    assert ran(content(), np.array([[1, 3]], np.float32))["twice"].tolist() == [[2, 6]]


# --------------------------------------------------------------------------- TensorFlow.js


def test_weights_are_read_as_they_were_stored() -> None:
    manifest = [
        {"weights": [{"name": "plain", "shape": [2], "dtype": "float32"}]},
        {
            "weights": [
                {"name": "half", "shape": [1, 2], "dtype": "float32",
                 "quantization": {"dtype": "float16", "original_dtype": "float32"}},
                {"name": "bytes", "shape": [3], "dtype": "float32",
                 "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1}},
                {"name": "whole", "shape": [], "dtype": "int32"},
            ]
        },
    ]  # fmt: skip
    content = struct.pack("<2f2e3Bi", 1.5, -2, 0.25, 3, 0, 2, 255, 7)
    found = weights_of(manifest, content)
    assert {name: values.tolist() for name, values in found.items()} == {
        "plain": [1.5, -2],
        "half": [[0.25, 3]],
        "bytes": [-1, 0, 126.5],
        "whole": 7,
    }
    with pytest.raises(ValueError, match="cut off"):
        weights_of(manifest, content[:-1])
    with pytest.raises(ValueError, match="1 bytes behind the weights"):
        weights_of(manifest, content + b"0")


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def ints(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


CONV = {"data_format": text("NHWC"), "dilations": ints(1, 1, 1, 1)}


class Topology:
    """A graph model that is written node by node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: dict[str, Array] = {}
        self.node("image", "Placeholder")

    def node(self, name: str, op: str, *inputs: str | Array, **attr: Any) -> str:
        names = []
        for number, given in enumerate(inputs):
            if isinstance(given, str):
                names.append(given)
            else:
                names.append(f"{name}/{number}")
                self.weights[names[-1]] = given
                self.nodes.append({"name": names[-1], "op": "Const"})
        self.nodes.append({"name": name, "op": op, "input": names, "attr": attr})
        return name

    def onnx(self, shape: tuple[int, ...], outputs: dict[str, str]) -> bytes:
        kinds = {"f": "float32", "i": "int32"}
        specs = [
            {"name": name, "shape": list(values.shape), "dtype": kinds[values.dtype.kind]}
            for name, values in self.weights.items()
        ]
        size = {"tensorShape": {"dim": [{"size": str(side)} for side in shape]}}
        model = {
            "signature": {"inputs": {"image:0": size}, "outputs": dict(outputs)},
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"weights": specs}],
        }
        content = b"".join(
            values.astype("<f4" if values.dtype.kind == "f" else "<i4").tobytes()
            for values in self.weights.values()
        )
        return tfjs_graph.graph_model(orjson.dumps(model), content, outputs)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def test_a_graph_model() -> None:
    """Every operator once or more, transposed to and fro as ONNX's exporter to TensorFlow does."""
    draw = np.random.default_rng(2)
    first, second = draw.normal(size=(3, 3, 2, 4)), draw.normal(size=(1, 1, 4, 6))
    bias = draw.normal(size=4)
    model = Topology()
    padded = model.node("pad", "Pad", "image", np.array([[0, 0], [0, 0], [1, 1], [1, 1]]))
    rows = model.node("t1", "Transpose", padded, whole(0, 2, 3, 1))
    model.node("c1", "Conv2D", rows, first, padding=text("VALID"), strides=ints(1, 2, 2, 1), **CONV)
    model.node("b1", "AddV2", "c1", bias)
    model.node("l1", "LeakyRelu", "b1", alpha={"f": 0.1})
    around = np.array([[0, 0], [1, 1], [1, 1], [0, 0]])
    model.node("p2", "PadV2", "l1", around, np.array(-np.inf, np.float32))
    model.node(
        "m1", "MaxPool", "p2", ksize=ints(1, 3, 3, 1), strides=ints(1, 2, 2, 1),
        padding=text("VALID"), data_format=text("NHWC"),
    )  # fmt: skip
    model.node("r1", "ResizeBilinear", "m1", whole(4, 4), half_pixel_centers={"b": True})
    model.node("sum", "AddV2", "r1", "l1")
    model.node(
        "c2", "Conv2D", "sum", second, padding=text("SAME"), strides=ints(1, 1, 1, 1), **CONV
    )
    model.node("cat", "ConcatV2", "c2", "sum", np.array(3))
    split = model.node("split", "SplitV", "cat", whole(3, 7), np.array(-1))
    model.node("s1", "Sigmoid", split)
    shape = model.node("shape", "AddV2", whole(0, -8), whole(1, 7))
    model.node("out1", "Reshape", "s1", np.array([1, 16, 3]))
    model.node("flat", "Transpose", f"{split}:1", whole(0, 3, 1, 2))
    model.node("out2", "Reshape", "flat", shape)

    image = draw.normal(size=(1, 2, 7, 7)).astype(np.float32)
    network = model.onnx(image.shape, {"out1": "one", "out2": "two"})
    kinds = [node.op_type for node in onnx.load_from_string(network).graph.node]
    assert kinds.count("Transpose") == 1  # before the first reshape; all others cancel out
    assert "Pad" not in kinds

    x = np.pad(image[0].transpose(1, 2, 0), ((1, 1), (1, 1), (0, 0)))
    y = convolved(x, first, 2) + bias
    y = np.where(y > 0, y, 0.1 * y)
    z = np.pad(y, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.array([[z[i : i + 3, j : j + 3].max((0, 1)) for j in (0, 2)] for i in (0, 2)])
    mix = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])  # half-pixel centres, 2 to 4
    total = np.einsum("ia,jb,abc->ijc", mix, mix, pooled) + y
    joined = np.concatenate([convolved(total, second, 1), total], axis=2)
    found = ran(network, image)
    one = 1 / (1 + np.exp(-joined[:, :, :3].reshape(1, 16, 3)))
    assert found["one"] == pytest.approx(one, abs=1e-5)
    two = joined[:, :, 3:].transpose(2, 0, 1).reshape(1, -1)
    assert found["two"] == pytest.approx(two, abs=1e-5)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (("x", "Softplus", "image"), "the operator Softplus, which is not known here"),
        (("x", "Identity", "nothing"), "not a graph model that is known here"),
    ],
)
def test_other_graph_models_are_refused(node: tuple[str, ...], words: str) -> None:
    model = Topology()
    model.node(*node)
    with pytest.raises(ValueError, match=words):
        model.onnx((1, 2), {"x": "x"})
    with pytest.raises(ValueError, match="unexpected"):
        tfjs_graph.graph_model(b"else", b"", {})


@pytest.mark.parametrize(
    ("script", "value"),
    [
        (b'{a:1,b_2:"c:d, {e:1}",$f:[!0,!1,null]}',
         {"a": 1, "b_2": "c:d, {e:1}", "$f": [True, False, None]}),
        (b"[.5,-.25,1.5,-2.5,1e-7,.1e-3]", [0.5, -0.25, 1.5, -2.5, 1e-7, 1e-4]),
        (b'{"quoted":"a\\"b:.5"}', {"quoted": 'a"b:.5'}),
    ],
)  # fmt: skip
def test_javascript_literals(script: bytes, value: Any) -> None:
    assert nsfwjs.json_of(script) == value


@pytest.mark.parametrize("script", [b"{a:b()}", b"{a:'b'}", b"function(){}"])
def test_javascript_that_is_no_literal(script: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        nsfwjs.json_of(script)


def layers_model() -> tuple[bytes, bytes, dict[str, Array]]:
    """Return the two modules of a small classifier, and its weights."""
    draw = np.random.default_rng(3)
    weights = {
        "conv/kernel": draw.normal(size=(3, 3, 3, 4)),
        **{f"n1/{p}": draw.uniform(0.5, 1.5, 4) for p in ("gamma", "beta", "moving_mean")},
        "n1/moving_variance": draw.uniform(0.5, 1.5, 4),
        "deep/depthwise_kernel": draw.normal(size=(3, 3, 4, 1)),
        **{f"n2/{p}": draw.uniform(0.5, 1.5, 4) for p in ("gamma", "beta", "moving_mean")},
        "n2/moving_variance": draw.uniform(0.5, 1.5, 4),
        "dense/kernel": draw.normal(size=(4, 2)),
        "dense/bias": draw.normal(size=2),
    }
    weights = {name: values.astype(np.float32) for name, values in weights.items()}
    norm = "epsilon:.001"
    plain = 'activation:"linear",use_bias:!1,strides:[2,2]'
    layers = [
        ("InputLayer", "in", "batch_input_shape:[null,8,8,3]", []),
        ("ZeroPadding2D", "pad", "padding:[[0,1],[0,1]]", ["in"]),
        ("Conv2D", "conv", f'padding:"valid",{plain}', ["pad"]),
        ("BatchNormalization", "n1", norm, ["conv"]),
        ("ReLU", "relu", "max_value:6,negative_slope:0,threshold:0", ["n1"]),
        ("DepthwiseConv2D", "deep", f'padding:"same",depth_multiplier:1,{plain.replace("2", "1")}',
         ["relu"]),
        ("BatchNormalization", "n2", norm, ["deep"]),
        ("Add", "add", "a:1", ["relu", "n2"]),
        ("AveragePooling2D", "mean", "pool_size:[4,4]", ["add"]),
        ("Flatten", "flat", "a:1", ["mean"]),
        ("Dropout", "drop", "rate:.5", ["flat"]),
        ("Dense", "dense", 'activation:"softmax"', ["drop"]),
    ]  # fmt: skip
    written = ",".join(
        f'{{class_name:"{kind}",name:"{name}",config:{{name:"{name}",{config}}},'
        f"inbound_nodes:[{[[source, 0, 0, {}] for source in sources]}]}}"
        for kind, name, config, sources in layers
    ).replace("'", '"')
    specs = ",".join(
        f'{{name:"{n}",shape:{list(v.shape)},dtype:"float32"}}' for n, v in weights.items()
    )
    topology = (
        "!function(e){e()}({1:[function(e,a,n){a.exports={modelTopology:{model_config:{config:"
        f"{{layers:[{written}]}}}}}},weightsManifest:[{{weights:[{specs}]}}]}}}},{{}}]}},{{}},[1])"
    )
    content = base64.b64encode(b"".join(v.tobytes() for v in weights.values())).decode()
    return topology.encode(), f'({{1:[function(){{h.exports="{content}"}}]}})'.encode(), weights


def test_a_layers_model() -> None:
    topology, modules, weights = layers_model()
    image = np.random.default_rng(4).uniform(size=(8, 8, 3)).astype(np.float32)

    def normal(x: Array, name: str) -> Array:
        values = (weights[f"{name}/{p}"] for p in ("gamma", "beta", "moving_mean"))
        scale, offset, mean = values
        return (x - mean) / np.sqrt(weights[f"{name}/moving_variance"] + 0.001) * scale + offset

    x = convolved(np.pad(image, ((0, 1), (0, 1), (0, 0))), weights["conv/kernel"], 2)
    x = np.clip(normal(x, "n1"), 0, 6)
    around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    kernels = weights["deep/depthwise_kernel"]
    planes = [convolved(around[:, :, [c]], kernels[:, :, [c]], 1)[:, :, 0] for c in range(4)]
    x += normal(np.stack(planes, axis=2), "n2")
    logits = x.mean((0, 1)) @ weights["dense/kernel"] + weights["dense/bias"]
    expected = np.exp(logits) / np.exp(logits).sum()
    network = nsfwjs.onnx_of(topology, modules)
    found = ran(network, image.transpose(2, 0, 1)[np.newaxis])
    assert found["scores"][0] == pytest.approx(expected, abs=1e-5)


def test_other_layers_models_are_refused() -> None:
    topology, modules, _ = layers_model()
    for wrong, words in (
        (topology.replace(b"Flatten", b"Permute"), "a layer Permute, not known here"),
        (topology.replace(b"max_value:6", b"max_value:1"), "relu is no ReLU6"),
        (topology.replace(b"dense/bias", b"dense/base"), "not a layers model that is known"),
        (topology.replace(b".exports", b".else"), "not a module that holds a model"),
    ):
        with pytest.raises(ValueError, match=words):
            nsfwjs.onnx_of(wrong, modules)


# ----------------------------------------------------------------------------- PyTorch files


class Kept:
    """A storage, which a file refers to by its key."""

    def __init__(self, key: str, values: Array) -> None:
        self.key, self.values = key, values


class Named:
    """What is written as a name, and perhaps a call of it."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


def written(objects: Any, storages: list[Kept]) -> bytes:
    """Return a file as PyTorch wrote it before version 1.6."""

    class Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]  (that of Python itself)
        def persistent_id(self, value: Any) -> Any:
            if not isinstance(value, Kept):
                return None
            kind = "FloatStorage" if value.values.dtype == np.float32 else "LongStorage"
            return "storage", Named("torch", kind), value.key, "cpu", value.values.size, None

        def save(self, value: Any, save_persistent_id: bool = True) -> None:
            if isinstance(value, Named):
                self.write(f"c{value.module}\n{value.name}\n".encode())
                if value.arguments:
                    self.save(value.arguments)
                    self.write(pickle.REDUCE)
                return
            super().save(value, save_persistent_id)

    file = io.BytesIO()
    for each in (pickles.MAGIC, pickles.PROTOCOL, {"little_endian": True}):
        pickle.dump(each, file, 2)
    Pickler(file, 2).dump(objects)
    pickle.dump([kept.key for kept in storages], file, 2)
    for kept in storages:
        file.write(struct.pack("<q", kept.values.size) + kept.values.tobytes())
    return file.getvalue()


def tensor(kept: Kept, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Named:
    arguments = (kept, offset, shape, strides, False, collections.OrderedDict())
    return Named("torch._utils", "_rebuild_tensor_v2", *arguments)


def test_tensors_of_a_file() -> None:
    floats, longs = Kept("1", np.arange(6, dtype=np.float32)), Kept("2", np.array([7, 8]))
    objects = {
        "rows": tensor(floats, 0, (2, 3), (3, 1)),
        "columns": tensor(floats, 0, (3, 2), (1, 3)),
        "rest": tensor(floats, 4, (2,), (1,)),
        "one": tensor(longs, 1, (), ()),
    }
    found = pickles.tensors(written(objects, [floats, longs]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "rows": [[0, 1, 2], [3, 4, 5]],
        "columns": [[0, 3], [1, 4], [2, 5]],
        "rest": [4, 5],
        "one": 8,
    }


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(5, (2,), (1,)), (0, (3,), (3,)), (0, (2, 2), (4, 2)), (1, (2,), (-1,)), (-1, (2,), (1,))],
)
def test_a_tensor_cannot_reach_beyond_its_storage(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    floats = Kept("1", np.arange(6, dtype=np.float32))
    with pytest.raises(ValueError, match="outside of its storage"):
        pickles.tensors(written({"x": tensor(floats, offset, shape, strides)}, [floats]))


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch", "load")]
)
def test_a_file_calls_nothing(module: str, name: str) -> None:
    content = written({"x": Named(module, name, "echo harm")}, [])
    with pytest.raises(ValueError, match=f"it names {module}.{name}"):
        pickles.tensors(content)


@pytest.mark.parametrize("content", [b"", b"else", pickle.dumps(1, 2), pickle.dumps([], 2) * 5])
def test_what_is_no_file_of_tensors(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a"):
        pickles.tensors(content)


def test_a_cut_file_of_tensors() -> None:
    floats = Kept("1", np.arange(6, dtype=np.float32))
    content = written({"x": tensor(floats, 0, (6,), (1,))}, [floats])
    with pytest.raises(ValueError, match=r"it is not|outside|buffer"):
        pickles.tensors(content[:-4])


# ------------------------------------------------------------------------------- Darknet


def test_a_darknet_file() -> None:
    """With weights of nought, every box lies in the middle of its cell and is as its anchor."""
    numbers = 6_062_814  # that the file of the weights has, from its size
    content = darknet.HEADER.pack(0, 2, 5, 0) + np.zeros(numbers, "<f4").tobytes()
    network = darknet.onnx_of(content)
    boxes = ran(network, np.zeros((1, 3, 320, 320), np.float32))["boxes"][0]
    assert boxes.shape == (84, 1500)
    assert boxes[4:] == pytest.approx(0.25)  # sigmoid(0) squared
    assert boxes[:4, 0] == pytest.approx((16, 16, 81, 82))
    assert boxes[:4, 99] == pytest.approx((304, 304, 81, 82))
    assert boxes[:4, 300] == pytest.approx((8, 8, 23, 27))
    assert boxes[:4, 1499] == pytest.approx((312, 312, 81, 82))
    boxes = ran(network, np.zeros((1, 3, 64, 96), np.float32))["boxes"][0]
    assert boxes.shape == (84, 3 * (2 * 3 + 4 * 6))  # its sides are free
    assert boxes[:4, 5] == pytest.approx((80, 48, 81, 82))
    assert boxes[:4, 18 + 23] == pytest.approx((88, 56, 23, 27))
    with pytest.raises(ValueError, match="cut off"):
        darknet.onnx_of(content[:-4])
    with pytest.raises(ValueError, match="1 numbers too many"):
        darknet.onnx_of(content + bytes(4))


# ------------------------------------------------------------------------------- ready files


def test_a_ready_file_is_checked() -> None:
    content = made.colours().SerializeToString()
    assert copied.onnx_of(content) is content
    with pytest.raises(ValueError, match="not an ONNX"):
        copied.onnx_of(b"else")


def drawn_weights() -> dict[str, Array]:
    """Return tensors of the shapes that the first eight blocks of EfficientNet-Lite0 have."""
    draw = np.random.default_rng(8)
    found: dict[str, Array] = {}

    def layer(conv: str, norm: str, *shape: int) -> None:
        size = np.sqrt(2 / np.prod(shape[1:]))
        found[f"{conv}.weight"] = draw.normal(0, size, shape).astype(np.float32)
        for part, level in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            found[f"{norm}.{part}"] = np.full(shape[0], level, np.float32)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    blocks = [(32, 16, 3), (16, 24, 3), (24, 24, 3), (24, 40, 5), (40, 40, 5)]
    blocks += [(40, 80, 3), (80, 80, 3), (80, 80, 3)]
    for number, (narrow, after, kernel) in enumerate(blocks):
        name, wide = f"_blocks.{number}", narrow * (6 if number else 1)
        if number:
            layer(f"{name}._expand_conv", f"{name}._bn0", wide, narrow, 1, 1)
        layer(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, kernel, kernel)
        layer(f"{name}._project_conv", f"{name}._bn2", after, wide, 1, 1)
    return found


def test_the_first_half_of_a_network_sees_pictures_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cell shows its place whatever the size: what is added to the right changes none far left.

    Pads are those of the declared size. They hold for every size that `MULTIPLE` divides.
    """
    monkeypatch.setattr(efficientnet, "tensors", lambda _: drawn_weights())
    content = efficientnet.maps_of(b"")
    picture = np.random.default_rng(9).normal(size=(1, 3, 64, 416)).astype(np.float32)
    narrow, wide = (ran(content, picture[..., :side]) for side in (208, 416))
    assert narrow["fine"].shape == (1, 240, 8, 26)
    assert narrow["coarse"].shape == (1, 80, 4, 13)
    assert wide["fine"].shape == (1, 240, 8, 52)
    for name in ("fine", "coarse"):
        assert np.allclose(narrow[name][..., :2], wide[name][..., :2], rtol=1e-3, atol=1e-4)
        assert np.ptp(narrow[name]) > 0.1


def test_a_file_without_a_tensor_of_the_network_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(efficientnet, "tensors", lambda _: {})
    with pytest.raises(ValueError, match=r"it lacks the tensor '_conv_stem\.weight'"):
        efficientnet.maps_of(b"")
