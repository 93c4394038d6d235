"""EfficientNet-Lite0 as ONNX, from the weights of a PyTorch file.

Source: M. Tan, Q. Le, "EfficientNet", ICML 2019; the Lite variants of
github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: no squeeze-and-excitation,
ReLU6, stem and head of one width for all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ltu_compute.recognisers.install.graph import Graph, folded, same_pads
from ltu_compute.recognisers.install.pickles import tensors

SIDE = 224  # px
CLASSES = 1000
FEATURES = 1280
EPSILON = 1e-3  # of batch normalisation


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


class _Network:
    """The graph, and the weights that it takes from the file."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self.graph = Graph("efficientnet-lite0", "image", (1, 3, SIDE, SIDE))
        self.side = SIDE

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

    def block(self, x: str, name: str, *, expansion: int, stride: int, residual: bool) -> str:
        """Add an inverted bottleneck (M. Sandler et al., "MobileNetV2", CVPR 2018)."""
        y = x
        if expansion != 1:
            y = self.graph.relu6(self.conv(y, f"{name}._expand_conv", f"{name}._bn0"))
        y = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        y = self.conv(self.graph.relu6(y), f"{name}._project_conv", f"{name}._bn2")
        return self.graph.add("Add", x, y) if residual else y

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
    try:
        return _network(tensors(content))
    except KeyError as error:
        raise ValueError(f"it lacks the tensor {error}") from None


def _network(weights: Mapping[str, NDArray[Any]]) -> bytes:
    network = _Network(weights)
    graph = network.graph
    x = graph.relu6(network.conv("image", "_conv_stem", "_bn0", stride=2))
    number = 0
    for stage in STAGES:
        for block in range(stage.blocks):
            x = network.block(
                x,
                f"_blocks.{number}",
                expansion=stage.expansion,
                stride=1 if block else stage.stride,
                residual=block > 0,
            )
            number += 1
    x = graph.relu6(network.conv(x, "_conv_head", "_bn1"))
    pooled = graph.add("GlobalAveragePool", x)
    features = graph.add("Flatten", pooled, name="features", axis=1)
    network.dense(features, "_fc")
    graph.output("logits", (1, CLASSES))
    graph.output("features", (1, FEATURES))
    return graph.content()
