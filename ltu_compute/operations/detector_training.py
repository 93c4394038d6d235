"""Training a detector: from pictures with boxes to heads, a threshold, and figures."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.errors import BadParameters, Problem
from ltu_compute.kernels.learning import detector, matching, parts
from ltu_compute.kernels.learning.detector import Heads, Layer, Scene, Truth
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.custom import export
from ltu_compute.recognisers.custom.backbone import Backbone, Runner
from ltu_compute.recognisers.custom.models import LoadedNetwork
from ltu_compute.recognisers.onnx import decoders
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.network import Network

SIDES = (320, 480, 640, 800)  # px of the input that there may be
OBJECT_SIDE = 80.0  # px of the input that four in five objects should have
SMALL_SHARE = 20.0  # percent of the objects that may be smaller
MOST_VIEWS = 4  # of each picture: other sizes and places of it
VIEWS = 120  # of all pictures together, unless there are more pictures
SCALES = (0.8, 1.2)  # of a picture in its further views
LEAST_SHOWN = 0.6  # share of a box that a view must show for the box to be learnt
GRAY = 114  # level beside a picture
FOLDS = 2  # parts of the pictures, each judged by heads that have not seen it
LEAST_LOGIT = -4.0  # of a cell whose box is looked at when thresholds are sought
THRESHOLD = 0.25  # score that the best threshold becomes: the default of requests
USUAL_THRESHOLD = 0.0  # logit, where none could be measured
MAX_OVERLAP = 0.3  # of two boxes of a class, intersection over union
COMPONENT_PICTURES = 40  # that the components are computed from
COMPONENT_CELLS = 400  # of each, anywhere, beside those that are learnt from
STORED_BYTES = 800 << 20  # of all views, as components; pictures beyond are not learnt from

Report = Callable[[float], None]


@dataclass(frozen=True)
class Example:
    """A picture with boxes.

    Attributes
    ----------
    digest : str
        Of its file.
    pixels : callable
        Returns it, BGR, so that its longest side has at most so many px.
    size : tuple of int
        Width and height that the boxes are in, px.
    truth : Truth
        What is in it.
    """

    digest: str
    pixels: Callable[[int], Bgr]
    size: tuple[int, int]
    truth: Truth


@dataclass(frozen=True)
class Detector:
    """A trained detector.

    Attributes
    ----------
    content : bytes
        ONNX.
    manifest : Manifest
        How pictures become its input.
    metrics : dict
        What was measured on pictures that were held out.
    """

    content: bytes
    manifest: Manifest
    metrics: dict[str, Any]


def train(
    examples: Sequence[Example],
    classes: Sequence[str],
    backbone: Backbone,
    measure: Callable[[Network, Example], matching.Found],
    report: Report,
) -> Detector:
    """Train a detector.

    Parameters
    ----------
    examples : sequence of Example
        Pictures, in an order that is always the same.
    classes : sequence of str
        Their names.
    backbone : Backbone
        What it is built on.
    measure : callable
        Returns what a detector finds in a picture, as it will answer.
    report : callable
        Is given the share that is done, 0 to 1.
    """
    labels = [example.truth.classes.tolist() for example in examples]
    held = parts.held_out_by_boxes([example.digest for example in examples], labels)
    learnt = [example for example, out in zip(examples, held, strict=True) if not out]
    tested = [example for example, out in zip(examples, held, strict=True) if out]
    trainer = _Trainer(learnt, len(classes), backbone, report)
    heads = trainer.heads()
    manifest = Manifest(
        task="detection",
        input=trainer.declared,
        labels=tuple(classes),
        decoder="yolov8",
        max_overlap=MAX_OVERLAP,
    )
    content = export.detector(backbone, trainer.side, heads)
    found = []
    network = LoadedNetwork("trained", manifest, lambda: content)
    for number, example in enumerate(tested):
        checkpoint()
        found.append(measure(network, example))
        report(0.9 + 0.1 * (number + 1) / len(tested))
    truths = [(example.truth.boxes, example.truth.classes) for example in tested]
    metrics = _metrics(found, truths, len(classes))
    metrics |= {"trained_images": trainer.pictures, "held_out_images": len(tested)}
    return Detector(content, manifest, metrics)


def _metrics(
    found: Sequence[matching.Found],
    truths: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]],
    classes: int,
) -> dict[str, Any]:
    each = [matching.matched(found, truths, label) for label in range(classes)]
    present = [one for one in each if one.there]
    given, right = np.sum([one.counts(THRESHOLD) for one in each], axis=0).tolist()
    there = sum(one.there for one in each)
    precision = right / given if given else 0.0
    return {
        "map": round(float(np.mean([one.average_precision for one in present])), 4),
        "precision": round(precision, 4),
        "recall": round(right / there, 4),
        "held_out_boxes": there,
    }


class _Trainer:
    """The state of one training."""

    def __init__(
        self, learnt: Sequence[Example], classes: int, backbone: Backbone, report: Report
    ) -> None:
        self._classes = classes
        self._report = report
        self.side = side_for(learnt)
        self.declared = backbone.input(self.side, "letterbox")
        self._runner = Runner(export.maps(backbone, self.side), self.declared)
        self._stride = export.STRIDES[0]
        room = STORED_BYTES // ((self.side // self._stride) ** 2 * detector.COMPONENTS * 2)
        views = min(VIEWS, room) // max(1, len(learnt))
        self._views = max(1, min(MOST_VIEWS, views))
        self._learnt = learnt[:room]
        used = self._learnt
        first = [int(e.truth.classes[0]) if len(e.truth.classes) else -1 for e in used]
        self._fold = parts.folds([e.digest for e in used], first, FOLDS)

    @property
    def pictures(self) -> int:
        """How many pictures are learnt from."""
        return len(self._learnt)

    def heads(self) -> Heads:
        """Return heads whose score 0.25 is where precision and recall are best."""
        reduction = detector.components(self._some_cells())
        scenes = self._scenes(reduction)
        found = []
        for fold in range(FOLDS):
            seen = [scene for own, views in scenes if own != fold for scene in views]
            heads = detector.fit_on(seen, self._classes, self._stride, reduction)
            self._report(0.5 + 0.13 * (fold + 1))
            if heads is not None:
                left_out = [views[0] for own, views in scenes if own == fold]
                found += [(self._found(scene, heads), scene.truth) for scene in left_out]
        everything = [scene for _, views in scenes for scene in views]
        fitted = detector.fit_on(everything, self._classes, self._stride, reduction)
        if fitted is None:
            raise BadParameters(
                Problem("dataset_id", "dataset_id: boxes of a class are too small to be learnt")
            )
        wanted = float(np.log(THRESHOLD / (1 - THRESHOLD)))
        return replace(fitted, offset=wanted - self._threshold(found))

    def _some_cells(self) -> NDArray[np.float32]:
        """Return cells of some pictures, as the maps have them."""
        found = []
        for number, example in enumerate(self._learnt[:COMPONENT_PICTURES]):
            checkpoint()
            canvas, truth = next(self._views_of(example, number))
            maps = self._maps(canvas)
            shape = (maps.shape[1], maps.shape[2])
            chosen = detector.chosen_cells(truth, shape, self._stride, [number])
            rng = np.random.default_rng([detector.SEED, number])
            others = rng.permutation(shape[0] * shape[1])[:COMPONENT_CELLS]
            chosen = np.concatenate([chosen, others])
            found.append(np.ascontiguousarray(maps.reshape(len(maps), -1)[:, chosen].T))
            self._report(0.1 * (number + 1) / len(self._learnt))
        return np.concatenate(found)

    def _scenes(self, reduction: Layer) -> list[tuple[int, list[Scene]]]:
        """Return the views of each picture, and the part that it belongs to."""
        found = []
        for number, (example, fold) in enumerate(zip(self._learnt, self._fold, strict=True)):
            views = []
            for canvas, truth in self._views_of(example, number):
                checkpoint()
                maps = self._maps(canvas)
                shape = (maps.shape[1], maps.shape[2])
                cells = np.ascontiguousarray(maps.reshape(len(maps), -1).T)
                views.append(Scene(reduction(cells).astype(np.float16), shape, truth))
            found.append((fold, views))
            self._report(0.1 + 0.4 * (number + 1) / len(self._learnt))
        return found

    def _found(self, scene: Scene, heads: Heads) -> matching.Found:
        cells = scene.seen.astype(np.float32)
        logits = detector.averaged(heads.logits(cells), scene.shape)
        boxes = detector.boxes_of(logits, heads.distances(cells), scene.shape, self._stride)
        best = logits.max(axis=1)
        chosen = np.flatnonzero(best >= LEAST_LOGIT)
        chosen = chosen[np.argsort(-best[chosen], kind="stable")[: decoders.MAX_CANDIDATES]]
        kinds = logits[chosen].argmax(axis=1).astype(np.int64)
        kept = decoders.suppressed(
            decoders.Detections(
                boxes[chosen].astype(np.float64), kinds, best[chosen].astype(np.float64)
            ),
            MAX_OVERLAP,
        )
        return matching.Found(kept.boxes, kept.classes, kept.scores)

    def _threshold(self, found: Sequence[tuple[matching.Found, Truth]]) -> float:
        """Return the logit at which precision and recall are best."""
        if not found:
            return USUAL_THRESHOLD
        boxes = [one for one, _ in found]
        truths = [(truth.boxes, truth.classes) for _, truth in found]
        matchings = [matching.matched(boxes, truths, label) for label in range(self._classes)]
        best = matching.best_threshold(matchings)
        return USUAL_THRESHOLD if best is None else best

    def _maps(self, canvas: Bgr) -> NDArray[np.float32]:
        (maps,) = self._runner.run(canvas)
        found: NDArray[np.float32] = maps[0]
        return found

    def _views_of(self, example: Example, number: int) -> Iterator[tuple[Bgr, Truth]]:
        """Yield a picture as it will be seen, and then at other sizes and places."""
        pixels = example.pixels(2 * self.side)
        rows, columns = pixels.shape[:2]
        fit = self.side / max(rows, columns)
        to_pixels = np.array([columns / example.size[0], rows / example.size[1]] * 2)
        boxes = example.truth.boxes * to_pixels
        for view in range(self._views):
            rng = np.random.default_rng([detector.SEED, number, view])
            scale = fit * (rng.uniform(*SCALES) if view else 1.0)
            width, height = max(1, round(columns * scale)), max(1, round(rows * scale))
            smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            seen = cv2.resize(pixels, (width, height), interpolation=smaller)
            room = (self.side - width, self.side - height)
            left, top = (
                int(rng.integers(min(0, free), max(0, free) + 1)) if view else free // 2
                for free in room
            )
            canvas = np.full((self.side, self.side, 3), GRAY, np.uint8)
            canvas[max(0, top) : top + height, max(0, left) : left + width] = seen[
                max(0, -top) : self.side - top, max(0, -left) : self.side - left
            ]
            moved = boxes * np.array([width / columns, height / rows] * 2)
            moved += np.array([left, top, left, top])
            yield canvas, _shown(moved, example.truth.classes, self.side)


def _shown(boxes: NDArray[np.float64], classes: NDArray[np.int64], side: int) -> Truth:
    """Return the boxes of which a view shows enough, cut to it."""
    cut = np.clip(boxes, 0, side)
    areas, shown = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, cut))
    kept = shown >= LEAST_SHOWN * areas
    return Truth(cut[kept], classes[kept])


def side_for(examples: Sequence[Example]) -> int:
    """Return the side of the input, px, at which most objects are large enough to be seen."""
    shares = [
        float(np.sqrt(np.prod(box[2:] - box[:2]))) / max(example.size)
        for example in examples
        for box in example.truth.boxes
    ]
    small = float(np.percentile(shares, SMALL_SHARE))
    return next((side for side in SIDES if side * small >= OBJECT_SIDE), SIDES[-1])


def few(counts: Counter[str], classes: Sequence[str]) -> list[str]:
    """Return warnings about classes that have few boxes."""
    return [
        f"{name!r} has {counts[name]} boxes; {detector.FEW_BOXES} or more give better detectors"
        for name in classes
        if counts[name] < detector.FEW_BOXES
    ]
