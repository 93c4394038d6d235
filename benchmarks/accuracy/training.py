"""Accuracy of trained classifiers and detectors, on pictures that were drawn after the training's.

    python -m benchmarks.accuracy.training [--set tuning|benchmark] [--write] [--boards FOLDER]

Models are those of ``LTU_COMPUTE_MODELS_DIR``, where ``labels`` must be installed. `--boards` adds
DeepPCB, real boards with six classes of defects: `FOLDER` is ``PCBData`` of
https://github.com/tangsanli5201/DeepPCB. Its pictures are for research: they are read, never kept.
"""

import argparse
import hashlib
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.accuracy import drawn_sets
from benchmarks.accuracy.drawn_sets import FAMILIES, Family
from ltu_compute.image import Image
from ltu_compute.kernels.learning import matching
from ltu_compute.kernels.types import Bgr
from ltu_compute.operations import training
from ltu_compute.recognisers.custom import backbone
from ltu_compute.recognisers.custom.models import LoadedNetwork
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.settings import Settings
from ltu_compute.store.custom_models import CustomModel, Status, Trained
from ltu_compute.store.data_sets import Box, DataSet, DataSetImage, Kind

BOXES = 30  # learnt from, a quarter of them held out; and as many in pictures to measure on
PICTURES = 20  # of each class that a classifier learns from, and as many to measure on
REPEATS = 3  # trainings of each drawn detector, on other pictures
THRESHOLD = 0.25  # confidence that requests have as their default
BOARDS, TESTED_BOARDS = 60, 40  # of DeepPCB
DEFECTS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
MAX_PIXELS = 10**7

INTRODUCTION = (
    f"Each detector learns from {BOXES} boxes of a drawn class, among shapes that have a part of it"
    f" each, and is measured on {BOXES} others; each row is the sum of {REPEATS} trainings on other"
    f" pictures. Boxes count from a confidence of {THRESHOLD} on, the default of requests. Each"
    f" classifier learns from {PICTURES} pictures of a class and {PICTURES} of a shape like it, and"
    f" is measured on as many. Times are of one processor."
)


class Labelled(NamedTuple):
    """A picture with boxes, and their classes or that of the whole picture."""

    picture: Bgr
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


class Album:
    """A data set in memory.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes.
    kind : Kind
        Of the models that are trained on it.
    """

    def __init__(self, classes: Sequence[str], kind: Kind) -> None:
        self._classes = tuple(classes)
        self._kind = kind
        self._files: dict[str, bytes] = {}
        self._images: list[DataSetImage] = []

    def add(self, each: Labelled) -> None:
        """Add a picture."""
        content = cv2.imencode(".png", each.picture)[1].tobytes()
        digest = hashlib.sha256(content).hexdigest()
        self._files[digest] = content
        height, width = each.picture.shape[:2]
        names = [self._classes[number] for number in each.classes.tolist()]
        detects = self._kind == Kind.DETECTION
        boxes = tuple(
            Box(name, *sides) for name, sides in zip(names, each.boxes.tolist(), strict=False)
        )
        self._images.append(
            DataSetImage(
                id=digest,
                data_set_id="set",
                name=digest,
                sha256=digest,
                width=width,
                height=height,
                bytes=len(content),
                label=None if detects else names[0],
                boxes=boxes if detects else None,
                created_at=0.0,
            )
        )

    def trained(self, network: backbone.Backbone) -> tuple[LoadedNetwork, float]:
        """Return a model that was trained on the pictures, and the processor time, s."""
        kind = self._kind
        model = CustomModel(
            "model", "account", "name", kind, "", "", (), Status.CREATED, 0, {}, "", None, 0, 0
        )
        data_set = DataSet("set", "account", "name", kind, self._classes, True, 0, 0, 0, 0)
        began = time.process_time()
        found: Trained = training.train(
            model, data_set, self._images, self._files.__getitem__, network, max_pixels=MAX_PIXELS
        )
        seconds = time.process_time() - began
        manifest = Manifest.from_mapping(orjson.loads(found.manifest))
        return LoadedNetwork("trained", manifest, lambda: found.content), seconds


class Tally(NamedTuple):
    """What a detector has found in pictures, picture by picture, and what is there."""

    found: list[matching.Found]
    truths: list[tuple[NDArray[np.float64], NDArray[np.int64]]]

    def row(self, name: str, classes: int, seconds: float) -> tuple[Any, ...]:
        """Return a row of the table."""
        each = [matching.matched(self.found, self.truths, label) for label in range(classes)]
        given, right = np.sum([one.counts(THRESHOLD) for one in each], axis=0).tolist()
        there = sum(one.there for one in each)
        average = float(np.mean([one.average_precision for one in each if one.there]))
        false = (given - right) / len(self.found)
        return name, f"{right} / {there}", false, average, len(self.found), round(seconds)


def detected(network: LoadedNetwork, tested: Sequence[Labelled]) -> Tally:
    """Let a detector find what is in pictures, as it does in requests."""
    tally = Tally([], [])
    names = [label.name for label in network.manifest.classes]
    for each in tested:
        content = cv2.imencode(".png", each.picture)[1].tobytes()
        image = Image.from_bytes(content, max_pixels=MAX_PIXELS, name="image")
        pixels = image.fit(network.working_size)
        scale = each.picture.shape[1] / pixels.shape[1]
        objects = network.detect(pixels, least=training.LEAST_MEASURED)
        corners = [one.corners for one in objects]
        boxes = [[*found.min(axis=0), *found.max(axis=0)] for found in corners]
        tally.found.append(
            matching.Found(
                scale * np.array(boxes, np.float64).reshape(-1, 4),
                np.array([names.index(one.name) for one in objects], np.int64),
                np.array([one.score for one in objects], np.float64),
            )
        )
        tally.truths.append((each.boxes, each.classes))
    return tally


def drawn_detector(family: Family, number: int, seed: int, network: backbone.Backbone) -> Any:
    """Return a row of a drawn class."""
    whole, seconds = Tally([], []), 0.0
    for repeat in range(REPEATS):
        parts = [
            [
                Labelled(*scene, np.zeros(len(scene.boxes), np.int64))
                for scene in drawn_sets.scenes(
                    family, np.random.default_rng([seed, number, repeat, part]), BOXES
                )
            ]
            for part in range(2)
        ]
        album = Album([family.name], Kind.DETECTION)
        for each in parts[0]:
            album.add(each)
        found, used = album.trained(network)
        tally = detected(found, parts[1])
        print(*tally.row(f"{family.name} {repeat}", 1, used), sep=" | ", file=sys.stderr)
        whole.found.extend(tally.found)
        whole.truths.extend(tally.truths)
        seconds += used / REPEATS
    return whole.row(family.name, 1, seconds)


def drawn_classifier(family: Family, number: int, seed: int, network: backbone.Backbone) -> Any:
    """Return a row of a drawn class and the first shape that is like it."""
    none = np.zeros((0, 4))
    parts = [
        [
            Labelled(picture, none, np.array([label]))
            for picture, label in drawn_sets.labelled(
                family, np.random.default_rng([seed, number, part, 7]), PICTURES
            )
        ]
        for part in range(2)
    ]
    names = family.name, "like it"
    album = Album(names, Kind.CLASSIFICATION)
    for each in parts[0]:
        album.add(each)
    found, seconds = album.trained(network)
    answers = [found.classify(each.picture)[0].description for each in parts[1]]
    right = sum(
        answer == names[int(each.classes[0])]
        for answer, each in zip(answers, parts[1], strict=True)
    )
    return family.name, f"{right} / {len(answers)}", f"{seconds:.1f}"


def boards(folder: Path, listed: str, count: int) -> Iterator[Labelled]:
    """Yield boards of DeepPCB that a list names, drawn by lot."""
    lines = [line.split() for line in (folder / listed).read_text().splitlines() if line.strip()]
    for index in np.random.default_rng(3).permutation(len(lines))[:count]:
        picture, truth = lines[index]
        pixels = cv2.imread(str(folder / picture.replace(".jpg", "_test.jpg")))
        rows = (folder / truth).read_text().replace(",", " ").splitlines()
        read = np.array([row.split() for row in rows if row.strip()], np.float64).reshape(-1, 5)
        yield Labelled(np.asarray(pixels, np.uint8), read[:, :4], read[:, 4].astype(np.int64) - 1)


def real_boards(folder: Path, network: backbone.Backbone) -> Any:
    """Return the row of DeepPCB."""
    album = Album(DEFECTS, Kind.DETECTION)
    for each in boards(folder, "trainval.txt", BOARDS):
        album.add(each)
    found, seconds = album.trained(network)
    tally = detected(found, list(boards(folder, "test.txt", TESTED_BOARDS)))
    return tally.row(f"DeepPCB, {BOARDS} boards, 6 classes", len(DEFECTS), seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--boards", type=Path)
    own, rest = parser.parse_known_args(arguments)
    asked = report.options("Accuracy of trained models.", arguments=rest)
    cv2.setNumThreads(1)
    network = backbone.installed(Models.from_settings(Settings()))
    families = list(enumerate(FAMILIES[asked.chosen]))
    classifiers = [drawn_classifier(family, n, asked.seed, network) for n, family in families]
    detectors = [drawn_detector(family, n, asked.seed, network) for n, family in families]
    if own.boards:
        detectors.append(real_boards(own.boards, network))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    head = ("class", "found", "false a picture", "average precision", "pictures", "training, s")
    text = "\n\n".join(
        (
            "## Trained models",
            INTRODUCTION,
            "### Detectors",
            report.table(head, detectors),
            "### Classifiers",
            report.table(("class", "right", "training, s"), classifiers),
            f"Most memory of the process: {peak} MB.",
        )
    )
    report.publish("training", text, asked)


if __name__ == "__main__":
    main()
