"""From a picture to a model's input, and from its outputs to labels and boxes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.resizing import shrunk
from ltu_compute.kernels.types import Bgr, Size
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.session import ModelError, Outputs

MAX_CANDIDATES = 1000  # boxes of a picture that suppression looks at, the best ones

NANODET_STRIDES = (8, 16, 32)  # px
YOLOX_STRIDES = (8, 16, 32)  # px
MAX_LOGARITHM = 10.0  # of a box's side in cells, beyond any picture
NANODET_BINS = 11  # distances from 0 to 10 strides

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Place of a picture in a model's input: x' = x · scale_x + left, y' = y · scale_y + top.

    `size` is that of the input: width and height, in px.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float
    size: tuple[int, int]

    def back(self, boxes: Floats) -> Floats:
        """Return boxes (N, 4) of left, top, right, bottom in px of the picture."""
        offset = np.array([self.left, self.top] * 2)
        original: Floats = (boxes - offset) / np.array([self.scale_x, self.scale_y] * 2)
        return original


@dataclass(frozen=True)
class Detections:
    """Boxes found.

    Attributes
    ----------
    boxes : ndarray of float64, shape (N, 4)
        Left, top, right, bottom in px of the model's input.
    classes : ndarray of int64, shape (N,)
        Index of the label.
    scores : ndarray of float64, shape (N,)
        0 to 1.
    """

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats

    def at(self, index: NDArray[Any]) -> "Detections":
        """Return some of them."""
        return Detections(self.boxes[index], self.classes[index], self.scores[index])


def placed(image: Bgr, manifest: Manifest, side: int | None = None) -> tuple[Bgr, Placement]:
    """Return a picture at the size of a model's input, and its place in it.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.
    manifest : Manifest
        Size, and whether to letterbox, stretch or crop.
    side : int, optional
        Longest side of the input, in px, in place of the manifest's, where that has a `multiple`.
    """
    rows, columns = image.shape[:2]
    width, height = size = _size_for(columns, rows, manifest, side)
    if manifest.resize == "stretch":
        placement = Placement(width / columns, height / rows, 0, 0, size)
        return _resized(image, width, height), placement
    if manifest.resize == "crop":
        scale = max(width / columns, height / rows)
        part_width = min(columns, max(1, round(width / scale)))
        part_height = min(rows, max(1, round(height / scale)))
        x, y = (columns - part_width) // 2, (rows - part_height) // 2
        part = image[y : y + part_height, x : x + part_width]
        scale_x, scale_y = width / part_width, height / part_height
        placement = Placement(scale_x, scale_y, -x * scale_x, -y * scale_y, size)
        return _resized(part, width, height), placement
    scale = min(width / columns, height / rows)
    inner_width = min(width, max(1, round(columns * scale)))
    inner_height = min(height, max(1, round(rows * scale)))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    if manifest.input.align == "corner":
        left = top = 0
    bars = np.broadcast_to(np.asarray(manifest.input.padding, np.uint8), 3)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = bars[::-1] if manifest.input.channels == "RGB" else bars
    inner = _resized(image, inner_width, inner_height)
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas, Placement(inner_width / columns, inner_height / rows, left, top, size)


def _size_for(columns: int, rows: int, manifest: Manifest, side: int | None) -> tuple[int, int]:
    """Return width and height of the input for a picture."""
    width, height = manifest.input.size
    multiple = manifest.input.multiple
    if multiple is None:
        return width, height
    if side is not None:
        width = height = -(-side // multiple) * multiple
    scale = min(width / columns, height / rows)
    inner = max(1, round(columns * scale)), max(1, round(rows * scale))
    fitted_width, fitted_height = (-(-each // multiple) * multiple for each in inner)
    return min(width, fitted_width), min(height, fitted_height)


def _resized(image: Bgr, width: int, height: int) -> Bgr:
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    if width <= columns and height <= rows:
        return shrunk(image, Size(width, height))
    resized: Bgr = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


def tensor(canvas: Bgr, manifest: Manifest, dtype: str) -> NDArray[Any]:
    """Return a picture of the input's size as the tensor that the model takes.

    Parameters
    ----------
    canvas : ndarray of uint8, shape (height, width, 3)
        From `placed`.
    manifest : Manifest
        Layout, channels and normalisation.
    dtype : {"float32", "float16", "uint8"}
        Element type; uint8 takes the grey levels as they are.
    """
    declared = manifest.input
    pixels: NDArray[Any] = canvas
    if declared.channels == "RGB":
        pixels = canvas[:, :, ::-1]
    elif declared.channels == "GRAY":
        pixels = cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    if dtype != "uint8":
        mean, std = np.array(declared.mean, np.float32), np.array(declared.std, np.float32)
        levels = pixels.astype(np.float32)  # C order; a new array, which the rest works in
        levels *= np.float32(declared.scale)
        levels -= mean
        levels /= std
        pixels = levels.astype(dtype, copy=False)
    if declared.layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[np.newaxis])


def probabilities(outputs: Outputs, manifest: Manifest) -> Floats:
    """Return the probability of every label, shape (N,): the first output, through softmax.

    Raises
    ------
    ModelError
        The output does not hold a finite number a label, or no probabilities where it should.
    """
    name, output = next(iter(outputs.items()))
    count = len(manifest.classes)
    values = output.astype(np.float64).ravel()
    if values.size != count or output.ndim == 0 or max(output.shape) != count:
        raise ModelError(f"its output {name} is {_of(output)}, not one number for {count} labels")
    _finite(name, values)
    if manifest.logits:
        exponents = np.exp(values - values.max())
        softmax: Floats = exponents / exponents.sum()
        return softmax
    if values.min() < 0 or values.max() > 1:
        raise ModelError(f"its output {name} holds no probabilities; set logits: true")
    return values


def detections(
    outputs: Outputs,
    manifest: Manifest,
    least: float | None = None,
    size: tuple[int, int] | None = None,
) -> Detections:
    """Return the boxes of a detector's outputs, best first, without duplicates.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        Of the model.
    manifest : Manifest
        Says how they are read.
    least : float, optional
        Score from which boxes are given. Default: the manifest's.
    size : tuple of int, optional
        Width and height of the input, in px. Default: the manifest's.

    Raises
    ------
    ModelError
        The outputs are not of the form that the decoder reads.
    """
    decode = DECODERS[manifest.read_as]
    threshold = manifest.threshold if least is None else least
    found = decode(outputs, _Asked(manifest, threshold, size or manifest.input.size))
    left, top, right, bottom = found.boxes.T
    sound = (found.scores >= threshold) & (right > left) & (bottom > top)
    kept = found.at(np.flatnonzero(sound))
    best = np.argsort(-kept.scores, kind="stable")[:MAX_CANDIDATES]
    return suppressed(kept.at(best), manifest.max_overlap)


class _Asked(NamedTuple):
    """Arguments of a decoder besides the outputs."""

    manifest: Manifest
    threshold: float
    size: tuple[int, int]


def _yolov8(outputs: Outputs, asked: _Asked) -> Detections:
    """Read (1, 4 + classes, N): centre x, y, width, height in px, and a score a class.

    Source: the export of Ultralytics YOLOv8 (its detection head without NMS).
    """
    name, output = next(iter(outputs.items()))
    rows = 4 + len(asked.manifest.classes)
    if output.ndim != 3 or output.shape[0] != 1 or rows not in output.shape[1:]:
        raise ModelError(
            f"its output {name} is {_of(output)}, not 1 x {rows} x N: 4 and "
            f"{len(asked.manifest.classes)} labels"
        )
    predictions = output[0].astype(np.float64)
    if predictions.shape[0] != rows:
        predictions = predictions.T
    _finite(name, predictions)
    x, y, width, height = predictions[:4]
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    scores = predictions[4:]
    classes = scores.argmax(axis=0)
    best = scores[classes, np.arange(scores.shape[1])]
    return Detections(boxes, classes.astype(np.int64), np.clip(best, 0, 1))


def _nanodet(outputs: Outputs, asked: _Asked) -> Detections:
    """Read ``scores_S`` (1, N, classes) and ``boxes_S`` (1, N, 4 · 11) for strides S of 8 to 32 px.

    N is the number of the cells of a grid, row by row. A side of a box is as many strides from its
    cell's centre as the mean of a distribution over 0 to 10 says.

    Source: X. Li et al., "Generalized focal loss", NeurIPS 2020; NanoDet's head
    (github.com/RangiLyu/nanodet, ``nanodet_head.py``).
    """
    count = len(asked.manifest.classes)
    width, height = asked.size
    found = []
    for stride in NANODET_STRIDES:
        names = [f"scores_{stride}", f"boxes_{stride}"]
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ModelError(f"it has no output {', '.join(missing)}; it has {', '.join(outputs)}")
        rows, columns = -(-height // stride), -(-width // stride)
        cells = rows * columns
        scores, sides = (outputs[name].astype(np.float64) for name in names)
        if scores.shape != (1, cells, count) or sides.shape != (1, cells, 4 * NANODET_BINS):
            shapes = ", ".join(f"{name} is {_of(outputs[name])}" for name in names)
            raise ModelError(
                f"its outputs do not hold {cells} cells of {count} scores and 4 x {NANODET_BINS} "
                f"numbers: {shapes}"
            )
        for name, values in zip(names, (scores, sides), strict=True):
            _finite(name, values)
        classes = scores[0].argmax(axis=1)
        best = scores[0][np.arange(cells), classes]
        likely = np.flatnonzero(best >= asked.threshold)  # the rest is not worth its softmax
        logits = sides[0, likely].reshape(-1, 4, NANODET_BINS)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        distances = stride * (weights @ np.arange(NANODET_BINS))
        centres = stride * (np.stack([likely % columns, likely // columns], axis=1) + 0.5)
        boxes = np.hstack([centres - distances[:, :2], centres + distances[:, 2:]])
        found.append(Detections(boxes, classes[likely].astype(np.int64), best[likely]))
    return Detections(
        np.concatenate([each.boxes for each in found]),
        np.concatenate([each.classes for each in found]),
        np.clip(np.concatenate([each.scores for each in found]), 0, 1),
    )


def _yolox(outputs: Outputs, asked: _Asked) -> Detections:
    """Read (1, N, 5 + classes): of each cell of the grids of 8, 16 and 32 px, one after the other.

    The centre's offset in cells, the logarithms of width and height in cells, the score of an
    object, and a score a class.

    Source: Z. Ge et al., "YOLOX", 2021, and ``demo_postprocess`` of its repository.
    """
    name, output = next(iter(outputs.items()))
    width, height = asked.size
    grids = [(height // stride, width // stride, stride) for stride in YOLOX_STRIDES]
    count = sum(rows * columns for rows, columns, _ in grids)
    expected = (1, count, 5 + len(asked.manifest.classes))
    if output.shape != expected:
        shape = " x ".join(map(str, expected))
        raise ModelError(f"its output {name} is {_of(output)}, not {shape}")
    found = output[0].astype(np.float64)
    _finite(name, found)
    corners = np.concatenate(
        [np.mgrid[:rows, :columns].reshape(2, -1).T[:, ::-1] for rows, columns, _ in grids]
    )
    strides = np.concatenate([np.full(rows * columns, stride) for rows, columns, stride in grids])
    centres = (found[:, :2] + corners) * strides[:, np.newaxis]
    halves = np.exp(np.minimum(found[:, 2:4], MAX_LOGARITHM)) * strides[:, np.newaxis] / 2
    scores = found[:, 4:5] * found[:, 5:]
    classes = scores.argmax(axis=1)
    best = scores[np.arange(count), classes]
    boxes = np.hstack([centres - halves, centres + halves])
    return Detections(boxes, classes.astype(np.int64), np.clip(best, 0, 1))


def values(outputs: Outputs) -> Floats:
    """Return the first output of a model.

    Raises
    ------
    ModelError
        It holds numbers that are none.
    """
    name, output = next(iter(outputs.items()))
    found: Floats = output.astype(np.float64)
    _finite(name, found)
    return found


def _ssd(outputs: Outputs, asked: _Asked) -> Detections:
    """Read boxes, classes and scores that a detector gives as three outputs.

    Source: the exports of TensorFlow's object detection API (yxyx, shares, classes from 1) and
    of torchvision (xyxy, px).
    """
    declared = asked.manifest.outputs
    names = (declared.boxes, declared.classes, declared.scores)
    missing = [name for name in names if name not in outputs]
    if missing:
        raise ModelError(f"it has no output {', '.join(missing)}; it has {', '.join(outputs)}")
    boxes, classes, scores = (
        output[0] if output.ndim > axes and output.shape[0] == 1 else output
        for output, axes in zip((outputs[name] for name in names), (2, 1, 1), strict=True)
    )
    count = len(boxes) if boxes.ndim else 0
    if boxes.shape != (count, 4) or classes.shape != (count,) or scores.shape != (count,):
        shapes = ", ".join(f"{name} is {_of(outputs[name])}" for name in names)
        raise ModelError(f"its outputs are not N boxes, classes and scores: {shapes}")
    corners = boxes.astype(np.float64)
    _finite(declared.boxes, corners)
    _finite(declared.scores, scores)
    if declared.box_order == "yxyx":
        corners = corners[:, [1, 0, 3, 2]]
    if declared.normalized:
        corners = corners * np.array(asked.size * 2)
    _finite(declared.classes, classes)
    numbers = classes.astype(np.int64) - declared.first_class
    known = np.flatnonzero((numbers >= 0) & (numbers < len(asked.manifest.classes)))
    values = np.clip(scores.astype(np.float64), 0, 1)
    return Detections(corners, numbers, values).at(known)


DECODERS: dict[str, Callable[[Outputs, _Asked], Detections]] = {
    "yolov8": _yolov8,
    "yolox": _yolox,
    "nanodet": _nanodet,
    "ssd": _ssd,
}


def suppressed(found: Detections, max_overlap: float) -> Detections:
    """Return detections without those that a better one of the same class covers.

    Greedy non-maximum suppression.

    Parameters
    ----------
    found : Detections
        Best first.
    max_overlap : float
        Intersection over union above which the worse one goes.
    """
    left, top, right, bottom = found.boxes.T
    areas = (right - left) * (bottom - top)
    alive = np.ones(len(areas), bool)
    for i in range(len(areas)):
        if not alive[i]:
            continue
        width = np.minimum(right[i], right) - np.maximum(left[i], left)
        height = np.minimum(bottom[i], bottom) - np.maximum(top[i], top)
        common = np.maximum(width, 0) * np.maximum(height, 0)
        overlaps = common > max_overlap * (areas[i] + areas - common)
        worse = overlaps & (found.classes == found.classes[i])
        worse[: i + 1] = False
        alive &= ~worse
    return found.at(np.flatnonzero(alive))


def _finite(name: str, values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise ModelError(f"its output {name} holds numbers that are none (NaN or infinite)")


def _of(output: NDArray[Any]) -> str:
    return " x ".join(map(str, output.shape)) or "a single number"
