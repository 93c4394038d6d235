"""EfficientNet-Lite0 as ONNX, from the weights of a PyTorch file.

Source: M. Tan, Q. Le, "EfficientNet", ICML 2019; the Lite variants of
github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: no squeeze-and-excitation,
ReLU6, stem and head of one width for all.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ltu_compute.recognisers.install.graph import Graph, folded, same_pads
from ltu_compute.recognisers.install.pickles import tensors

SIDE = 224  # px
CLASSES = 1000
FEATURES = 1280
EPSILON = 1e-3  # of batch normalisation

MULTIPLE = 16
"""Sides, px, that the first half takes are multiples of it."""

FINE, COARSE = 5, 7
"""Numbers of the blocks whose maps the first half returns, 8 and 16 px a value."""

FINE_CHANNELS, COARSE_CHANNELS = 240, 80


class Stage(NamedTuple):
    """Blocks of one width: how many, kernel, stride of the first, expansion."""

    blocks: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 3, 1, 1),
    Stage(2, 3, 2, 6),
    Stage(2, 5, 2, 6),
    Stage(3, 3, 2, 6),
    Stage(3, 5, 1, 6),
    Stage(4, 5, 2, 6),
    Stage(1, 3, 1, 6),
)


class _Block(NamedTuple):
    """A block: its number, expansion and stride, and whether its input is added to its output."""

    number: int
    expansion: int
    stride: int
    residual: bool


class _Maps(NamedTuple):
    """Names of a block's output and of its expanded input."""

    output: str
    expanded: str


def _blocks() -> Iterator[_Block]:
    number = 0
    for stage in STAGES:
        for block in range(stage.blocks):
            stride = 1 if block else stage.stride
            yield _Block(number, stage.expansion, stride, residual=block > 0)
            number += 1


class _Network:
    """The graph, and the weights that it takes from the file."""

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], name: str, sides: tuple[int | str, int | str]
    ) -> None:
        self._weights = weights
        self.graph = Graph(name, "image", (1, 3, *sides))
        self.side = SIDE  # pads are those of every side that `MULTIPLE` divides

    def conv(self, x: str, conv: str, norm: str, *, stride: int = 1) -> str:
        """Add a convolution with its normalisation, depthwise where its name says so."""
        kernels = self._weights[f"{conv}.weight"]
        parts = ("weight", "bias", "running_mean", "running_var")
        values = [self._weights[f"{norm}.{part}"] for part in parts]
        kernels, bias = folded(kernels, values, EPSILON)
        before, after = same_pads(self.side, kernels.shape[2], stride)
        self.side = -(-self.side // stride)
        groups = kernels.shape[0] if kernels.shape[1] == 1 else 1
        pads = (before, before, after, after)
        return self.graph.conv(x, kernels, bias, stride=stride, pads=pads, groups=groups)

    def block(self, x: str, block: "_Block") -> _Maps:
        """Add an inverted bottleneck (M. Sandler et al., "MobileNetV2", CVPR 2018)."""
        name = f"_blocks.{block.number}"
        wide = x
        if block.expansion != 1:
            wide = self.graph.relu6(self.conv(x, f"{name}._expand_conv", f"{name}._bn0"))
        y = self.conv(wide, f"{name}._depthwise_conv", f"{name}._bn1", stride=block.stride)
        y = self.conv(self.graph.relu6(y), f"{name}._project_conv", f"{name}._bn2")
        return _Maps(self.graph.add("Add", x, y) if block.residual else y, wide)

    def dense(self, x: str, name: str) -> str:
        """Add a fully connected layer."""
        weights, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        constants = [self.graph.constant(values) for values in (weights, bias)]
        return self.graph.add("Gemm", x, *constants, name="logits", transB=1)


def onnx_of(content: bytes) -> bytes:
    """Return the network as ONNX.

    Its input ``image`` is (1, 3, 224, 224), RGB, (level - 127) / 128. Its outputs are ``logits``,
    (1, 1000), and ``features``, (1, 1280), what the logits are computed from.

    Parameters
    ----------
    content : bytes
        The PyTorch file ``efficientnet-lite0-57934424.pth``.

    Raises
    ------
    ValueError
        The file holds other tensors.
    """
    return _of(content, _network)


def maps_of(content: bytes) -> bytes:
    """Return the first half of the network as ONNX, for pictures of any size.

    Its input ``image`` is (1, 3, H, W), as that of `onnx_of`; `MULTIPLE` divides H and W. Its
    outputs are ``fine``, (1, 240, H / 8, W / 8), the expanded input of block `FINE`, and
    ``coarse``, (1, 80, H / 16, W / 16), the output of block `COARSE`.

    Parameters and errors are those of `onnx_of`.
    """
    return _of(content, _first_half)


def _of(content: bytes, made: Callable[[Mapping[str, NDArray[Any]]], bytes]) -> bytes:
    try:
        return made(tensors(content))
    except KeyError as error:
        raise ValueError(f"it lacks the tensor {error}") from None


def _network(weights: Mapping[str, NDArray[Any]]) -> bytes:
    network = _Network(weights, "efficientnet-lite0", (SIDE, SIDE))
    graph = network.graph
    x = graph.relu6(network.conv("image", "_conv_stem", "_bn0", stride=2))
    for block in _blocks():
        x = network.block(x, block).output
    x = graph.relu6(network.conv(x, "_conv_head", "_bn1"))
    pooled = graph.add("GlobalAveragePool", x)
    features = graph.add("Flatten", pooled, name="features", axis=1)
    network.dense(features, "_fc")
    graph.output("logits", (1, CLASSES))
    graph.output("features", (1, FEATURES))
    return graph.content()


def _first_half(weights: Mapping[str, NDArray[Any]]) -> bytes:
    network = _Network(weights, "efficientnet-lite0-maps", ("height", "width"))
    graph = network.graph
    x = graph.relu6(network.conv("image", "_conv_stem", "_bn0", stride=2))
    found = {}
    for block in _blocks():
        found[block.number] = network.block(x, block)
        x = found[block.number].output
        if block.number == COARSE:
            break
    graph.add("Identity", found[FINE].expanded, name="fine")
    graph.add("Identity", found[COARSE].output, name="coarse")
    graph.output("fine", (1, FINE_CHANNELS, "fine height", "fine width"))
    graph.output("coarse", (1, COARSE_CHANNELS, "coarse height", "coarse width"))
    return graph.content()
