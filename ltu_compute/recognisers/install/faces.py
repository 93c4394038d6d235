"""The networks for faces as ONNX: a detector, BlazeFace; face-api's 68 points and embedding.

The package face-api holds weights and, in TypeScript, the networks that take them; they are written
down anew here. Source: github.com/vladmandic/face-api, ``src/faceLandmarkNet`` and
``src/faceRecognitionNet``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from ltu_compute.recognisers.install.graph import Graph, same_pads
from ltu_compute.recognisers.install.tfjs import Array, weights_of
from ltu_compute.recognisers.install.tfjs_graph import graph_model

POINTS_SIDE, EMBEDDING_SIDE = 112, 150  # px of the inputs
GRIDS = ((16, 2), (32, 6))  # of the detector: px a cell, boxes a cell
POINTS = 68
FEATURES = 128

Weights = Mapping[str, Array]


class _Network:
    """A graph whose pictures are squares, and the weights it is made of."""

    def __init__(self, name: str, side: int, weights: Weights) -> None:
        self.graph = Graph(name, "image", (1, 3, side, side))
        self.weights = weights

    def conv(
        self,
        x: str,
        kernels: Array,
        bias: Array | None,
        side: int,
        *,
        stride: int = 1,
        same: bool = True,
    ) -> tuple[str, int]:
        """Add a convolution of (height, width, in, out) kernels; return it and its side in px.

        Kernels of (height, width, in, 1) where the last axis is one are depthwise.
        """
        size, depthwise = kernels.shape[0], kernels.shape[3] == 1
        before, after = same_pads(side, size, stride) if same else (0, 0)
        y = self.graph.conv(
            x,
            kernels.transpose(2, 3, 0, 1) if depthwise else kernels.transpose(3, 2, 0, 1),
            bias,
            stride=stride,
            pads=(before, before, after, after),
            groups=kernels.shape[2] if depthwise else 1,
        )
        return y, (side + before + after - size) // stride + 1

    def relu(self, x: str) -> str:
        """Add a limit to nought and more."""
        return self.graph.add("Relu", x)


def _of(content: Callable[[Weights], bytes], manifest: bytes, weights: bytes) -> bytes:
    try:
        return content(weights_of(orjson.loads(manifest), weights))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"it does not hold the weights that are known here: {error!r}") from None


# --------------------------------------------------------------------------------- detector


def detector_of(topology: bytes, weights: bytes) -> bytes:
    """Return the detector as ONNX: BlazeFace, for faces that are 16 px wide and wider.

    Its input ``image`` is (1, H, W, 3), RGB, level / 127.5 - 1, where H and W are multiples of
    32 px. Its outputs are ``detection_boxes`` (1, N, 4): top, left, bottom, right in px;
    ``detection_scores`` (1, N): 0 to 1; ``detection_classes`` (1, N): nought.

    Parameters
    ----------
    topology, weights : bytes
        ``blazeface.json`` and ``blazeface.bin``: a TensorFlow.js graph model.

    Raises
    ------
    ValueError
        They hold something else.

    References
    ----------
    V. Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", CVPR
    Workshop on Computer Vision for AR and VR, 2019. Anchors: MediaPipe,
    ``face_detection_back_desktop_live`` (strides 16 and 32, 2 and 6 boxes a cell, of size 1).
    """
    outputs = {
        "Identity": "fine_scores",
        "Identity_1": "coarse_scores",
        "Identity_2": "fine_boxes",
        "Identity_3": "coarse_boxes",
    }
    return graph_model(topology, weights, outputs, _boxes, free=True)


def _boxes(graph: Graph, found: Mapping[str, str]) -> None:
    """Decode boxes: x, y of the middle from that of the cell, width, height, in px; then points."""
    centres = graph.add("Concat", *(_centres(graph, *each) for each in GRIDS), axis=1)
    boxes = graph.add("Concat", found["fine_boxes"], found["coarse_boxes"], axis=1)
    sizes = graph.constant([2, 2, 12], np.int64)
    middle, extent, _ = graph.add_many("Split", [boxes, sizes], 3, axis=2)
    middle = graph.add("Add", middle, centres)
    half = graph.add("Mul", extent, graph.constant(0.5))
    corners = graph.add("Sub", middle, half), graph.add("Add", middle, half)
    xyxy = graph.add("Concat", *corners, axis=2)
    order = graph.constant([1, 0, 3, 2], np.int64)
    graph.add("Gather", xyxy, order, name="detection_boxes", axis=2)
    logits = graph.add("Concat", found["fine_scores"], found["coarse_scores"], axis=1)
    flat = graph.constant([1, -1], np.int64)
    scores = graph.add("Reshape", graph.add("Sigmoid", logits), flat, name="detection_scores")
    graph.add("Mul", scores, graph.constant(0.0), name="detection_classes")
    graph.output("detection_boxes", (1, "boxes", 4))
    graph.output("detection_classes", (1, "boxes"))
    graph.output("detection_scores", (1, "boxes"))


def _centres(graph: Graph, stride: int, boxes: int) -> str:
    """Add x, y of the middles of a grid's cells, row by row, as often as each has boxes."""
    integers = [[0, 0, 0], [1 << 30, 1 << 30, 1], [1, 2, 3], [stride, stride, 1]]
    cells = graph.add("Slice", "image", *(graph.constant(each, np.int64) for each in integers))
    columns, rows = graph.counted(cells, 2), graph.counted(cells, 1)
    repeated = graph.add("Concat", *([columns, rows] * boxes), axis=3)
    places = graph.add("Reshape", repeated, graph.constant([1, -1, 2], np.int64))
    scaled = graph.add("Mul", places, graph.constant(float(stride)))
    return graph.add("Add", scaled, graph.constant(stride / 2))


# ----------------------------------------------------------------------------------- points


def points_of(manifest: bytes, weights: bytes) -> bytes:
    """Return the network of the 68 points of a face as ONNX.

    Its input ``image`` is (1, 3, 112, 112), RGB, (level - mean) / 255. Its output ``points`` is
    (1, 136): x and y of each point as shares of the sides.

    Parameters
    ----------
    manifest, weights : bytes
        ``face_landmark_68_model-weights_manifest.json`` and ``face_landmark_68_model.bin``.

    Raises
    ------
    ValueError
        They hold something else.
    """
    return _of(_points, manifest, weights)


def _points(weights: Weights) -> bytes:
    net = _Network("face-points", POINTS_SIDE, weights)
    graph = net.graph

    def separable(x: str, name: str, side: int, stride: int = 1) -> tuple[str, int]:
        depthwise = weights[f"{name}/depthwise_filter"]
        y, side = net.conv(x, depthwise, None, side, stride=stride)
        return net.conv(y, weights[f"{name}/pointwise_filter"], weights[f"{name}/bias"], side)

    x, side = "image", POINTS_SIDE
    for block in range(4):
        name = f"dense{block}"
        if block == 0:
            filters, bias = weights[f"{name}/conv0/filters"], weights[f"{name}/conv0/bias"]
            x, side = net.conv(x, filters, bias, side, stride=2)
        else:
            x, side = separable(x, f"{name}/conv0", side, 2)
        # Each step adds to the sum of those before it; the next one takes what is positive.
        total = x = net.relu(x)
        for step in (1, 2, 3):
            y, side = separable(x, f"{name}/conv{step}", side)
            total = graph.add("Add", total, y)
            x = net.relu(total)
    pooled = graph.add("AveragePool", x, kernel_shape=[7, 7], strides=[2, 2])
    flat = graph.add("Flatten", pooled, axis=1)
    constants = [graph.constant(weights[f"fc/{part}"]) for part in ("weights", "bias")]
    graph.add("Gemm", flat, *constants, name="points")
    graph.output("points", (1, 2 * POINTS))
    return graph.content()


# -------------------------------------------------------------------------------- embedding


def embedding_of(manifest: bytes, weights: bytes) -> bytes:
    """Return the network that distinguishes faces as ONNX: dlib's residual network.

    Its input ``image`` is (1, 3, 150, 150), RGB, (level - mean) / 255. Its output ``embedding`` is
    (1, 128): faces of one person are near each other.

    Parameters
    ----------
    manifest, weights : bytes
        ``face_recognition_model-weights_manifest.json`` and ``face_recognition_model.bin``.

    Raises
    ------
    ValueError
        They hold something else.

    References
    ----------
    D. King, "High quality face recognition with deep metric learning", blog.dlib.net, 2017.
    K. He et al., "Deep residual learning for image recognition", CVPR 2016.
    """
    return _of(_embedding, manifest, weights)


def _embedding(weights: Weights) -> bytes:
    net = _Network("face-embedding", EMBEDDING_SIDE, weights)
    graph = net.graph

    def scaled(x: str, name: str, side: int, **options: Any) -> tuple[str, int]:
        """Add a convolution with the factors and offsets behind it."""
        factor = weights[f"{name}/scale/weights"]
        bias = weights[f"{name}/conv/bias"] * factor + weights[f"{name}/scale/biases"]
        return net.conv(x, weights[f"{name}/conv/filters"] * factor, bias, side, **options)

    def residual(x: str, name: str, side: int) -> str:
        y, _ = scaled(x, f"{name}/conv1", side)
        y, _ = scaled(net.relu(y), f"{name}/conv2", side)
        return net.relu(graph.add("Add", y, x))

    def halved(x: str, name: str, side: int) -> tuple[str, int]:
        """Add a residual block of half the side; zeros fill up what either way lacks."""
        y, inner = scaled(x, f"{name}/conv1", side, stride=2, same=False)
        y, inner = scaled(net.relu(y), f"{name}/conv2", inner)
        pooled = graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        _, _, before, after = weights[f"{name}/conv1/conv/filters"].shape
        pooled = padded(pooled, channels=after - before)
        y = padded(y, sides=side // 2 - inner)
        return net.relu(graph.add("Add", pooled, y)), side // 2

    def padded(x: str, *, channels: int = 0, sides: int = 0) -> str:
        if not channels and not sides:
            return x
        pads = [0, 0, 0, 0, 0, channels, sides, sides]
        return graph.add("Pad", x, graph.constant(pads, np.int64), graph.constant(0.0))

    x, side = scaled("image", "conv32_down", EMBEDDING_SIDE, stride=2, same=False)
    x = graph.add("MaxPool", net.relu(x), kernel_shape=[3, 3], strides=[2, 2])
    side = (side - 3) // 2 + 1
    for number in (1, 2, 3):
        x = residual(x, f"conv32_{number}", side)
    for width, blocks in ((64, 3), (128, 2), (256, 2)):
        x, side = halved(x, f"conv{width}_down", side)
        for number in range(1, blocks + 1):
            x = residual(x, f"conv{width}_{number}", side)
    x, _ = halved(x, "conv256_down_out", side)
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)
    graph.add("MatMul", flat, graph.constant(weights["fc"]), name="embedding")
    graph.output("embedding", (1, FEATURES))
    return graph.content()
