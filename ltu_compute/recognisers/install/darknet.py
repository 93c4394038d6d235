"""YOLOv4-tiny as ONNX, from a weights file of Darknet.

Source: A. Bochkovskiy et al., "Scaled-YOLOv4", CVPR 2021, and ``cfg/yolov4-tiny.cfg`` of
github.com/AlexeyAB/darknet; the file's form is that of ``load_convolutional_weights`` and the
boxes are those of ``get_yolo_box`` there.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltu_compute.recognisers.install.graph import Graph, folded

CLASSES = 80
ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))  # px
COARSE, FINE = (3, 4, 5), (1, 2, 3)  # anchors of the grids of 32 and 16 px
SCALE_XY = 1.05
SLOPE = 0.1  # of the leaky ReLU
EPSILON = 1e-5  # of batch normalisation
HEADER = struct.Struct("<3iq")  # version, and pictures seen

Array = NDArray[Any]


class _Network:
    """The graph, and the file that its weights are taken from, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._values: Array = np.frombuffer(content, "<f4", offset=HEADER.size)
        self._position = 0
        self.graph = Graph("yolov4-tiny", "image", (1, 3, "height", "width"))

    def _next(self, *shape: int) -> Array:
        count = int(np.prod(shape))
        values = self._values[self._position : self._position + count]
        if values.size != count:
            raise ValueError("the weights are cut off")
        self._position += count
        return values.reshape(shape)

    def conv(self, x: str, shape: tuple[int, int], *, size: int = 3, stride: int = 1) -> str:
        """Add a convolution with its normalisation and activation; shape is (in, out)."""
        inner, outer = shape
        offset, scale, mean, variance = self._next(4, outer)
        kernels = self._next(outer, inner, size, size)
        weights, bias = folded(kernels, (scale, offset, mean, variance), EPSILON)
        pads = (size // 2,) * 4
        y = self.graph.conv(x, weights, bias, stride=stride, pads=pads)
        return self.graph.add("LeakyRelu", y, alpha=SLOPE)

    def block(self, x: str, channels: int) -> tuple[str, str]:
        """Add a cross-stage block; return what goes on, and what the fine grid takes."""
        half = channels // 2
        x = self.conv(x, (channels, channels))
        sizes = self.graph.constant([half, half], np.int64)
        _, part = self.graph.add_many("Split", [x, sizes], 2, axis=1)
        first = self.conv(part, (half, half))
        second = self.conv(first, (half, half))
        joined = self.graph.add("Concat", second, first, axis=1)
        end = self.conv(joined, (channels, channels), size=1)
        both = self.graph.add("Concat", x, end, axis=1)
        return self.graph.add("MaxPool", both, kernel_shape=[2, 2], strides=[2, 2]), end

    def head(self, x: str, channels: int, stride: int, anchors: tuple[int, ...]) -> str:
        """Add the boxes of a grid: (1, 4 + classes, anchors · cells)."""
        graph, count = self.graph, len(anchors)
        outer = count * (5 + CLASSES)
        bias = self._next(outer)
        y = graph.conv(x, self._next(outer, channels, 1, 1), bias)
        shape = graph.constant([1, count, 5 + CLASSES, -1], np.int64)
        parts = graph.constant([2, 2, 1, CLASSES], np.int64)
        found = graph.add("Reshape", y, shape)
        centre, size, object_, classes = graph.add_many("Split", [found, parts], 4, axis=2)
        channel = [graph.constant([number], np.int64) for number in (0, 1, 1)]
        cells = graph.add("Slice", y, *channel)
        cells = graph.add("Sigmoid", cells)  # finite
        line = graph.constant([1, 1, 1, -1], np.int64)
        grids = [graph.add("Reshape", graph.counted(cells, axis), line) for axis in (3, 2)]
        corner = graph.add("Concat", *grids, axis=2)
        corner = graph.add("Mul", corner, graph.constant(float(stride)))
        corner = graph.add("Add", corner, graph.constant(stride * (1 - SCALE_XY) / 2))
        scaled = graph.add("Mul", graph.add("Sigmoid", centre), graph.constant(SCALE_XY * stride))
        centre = graph.add("Add", scaled, corner)
        sides = np.array([ANCHORS[anchor] for anchor in anchors])[np.newaxis, :, :, np.newaxis]
        size = graph.add("Mul", graph.add("Exp", size), graph.constant(sides))
        scores = graph.add("Mul", graph.add("Sigmoid", object_), graph.add("Sigmoid", classes))
        boxes = graph.add("Concat", centre, size, scores, axis=2)
        turned = graph.add("Transpose", boxes, perm=[0, 2, 1, 3])
        flat = graph.constant([1, 4 + CLASSES, -1], np.int64)
        return graph.add("Reshape", turned, flat)

    def finish(self) -> None:
        """Make sure that all weights are used."""
        if self._position != self._values.size:
            raise ValueError(f"there are {self._values.size - self._position} numbers too many")


def onnx_of(content: bytes) -> bytes:
    """Return the network as ONNX.

    Its input ``image`` is (1, 3, H, W), RGB, 0 to 1, where H and W are multiples of 32 px. Its
    output ``boxes`` is (1, 84, N): centre x, y, width, height in px of the input, and the scores of
    COCO's 80 classes.

    Parameters
    ----------
    content : bytes
        ``yolov4-tiny.weights``.

    Raises
    ------
    ValueError
        The file has another number of weights.
    """
    network = _Network(content)
    graph = network.graph
    x = network.conv("image", (3, 32), stride=2)
    x = network.conv(x, (32, 64), stride=2)
    x, _ = network.block(x, 64)
    x, _ = network.block(x, 128)
    x, fine = network.block(x, 256)
    x = network.conv(x, (512, 512))
    x = network.conv(x, (512, 256), size=1)
    coarse = network.head(network.conv(x, (256, 512)), 512, 32, COARSE)
    x = network.conv(x, (256, 128), size=1)
    factors = graph.constant([1.0, 1.0, 2.0, 2.0])
    x = graph.add("Resize", x, "", factors, mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
    x = graph.add("Concat", x, fine, axis=1)
    fine = network.head(network.conv(x, (384, 256)), 256, 16, FINE)
    network.finish()
    graph.add("Concat", coarse, fine, name="boxes", axis=2)
    graph.output("boxes", (1, 4 + CLASSES, "cells"))
    return graph.content()
