"""Accuracy of the installed recognition models, on labelled photographs that none was fitted to.

    python -m benchmarks.accuracy.models PICTURES ANNOTATIONS WITHOUT [--models FOLDER] [--write]

* ``PICTURES``: a folder of photographs, ``ANNOTATIONS``: their objects, a line with a picture's
  name and then a line per object (class, left, top, right, bottom). The figures in the README are
  of 244 pictures of PASCAL VOC 2007 that github.com/BernieChen96/ImageClassification holds, drawn
  by a seed among those that `training.fusion` has not seen.
* ``WITHOUT``: a folder of pictures on which nothing lives and nothing drives.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks import report
from ltu_compute.kernels.object_detection import CLASSES, DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.operations.recognition import WORKING_SIZE
from ltu_compute.recognisers import labels, objects
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.onnx.manifest import coco_mids, open_images_names
from ltu_compute.recognisers.onnx.session import Bounds

LEAST_AREA = 32 * 32  # px of an object that must be found: COCO's border of small ones
LIVING_AND_DRIVING = slice(0, 9), slice(14, 24)  # of COCO's classes: person to boat, animals
TIMED = 10  # pictures that are timed, of 2 MP


INTRODUCTION = (
    "Photographs of PASCAL VOC 2007 that no model and no weight was fitted to; its annotations "
    "name five classes. A class counts as found on a picture where an object of 32 x 32 px or "
    "more is, and from a score of 0.5 on."
)


class Truth(NamedTuple):
    """An object that is on a picture: class as COCO calls it, and its sides in px."""

    name: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """In px."""
        return (self.right - self.left) * (self.bottom - self.top)


def read_annotations(path: Path) -> dict[str, list[Truth]]:
    """Return what is on each picture, by the picture's name."""
    found: dict[str, list[Truth]] = {}
    current: list[Truth] = []
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) == 5:
            current.append(Truth(fields[0], *map(int, fields[1:])))
        elif fields and not fields[0].isdigit():
            current = found.setdefault(fields[0], [])
    return found


def installed(folder: Path) -> Models:
    """Return the models of a folder."""
    return Models([folder], Bounds(512 << 20, 2 << 30, 60.0))


def pictures(folder: Path) -> Iterator[tuple[str, Bgr]]:
    """Yield the pictures of a folder, at the size that the service looks at, and their names."""
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path))
        if image is None:
            continue
        scale = min(1.0, WORKING_SIZE / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield path.name, np.asarray(image, np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("pictures", "annotations", "without"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    models = installed(given.models)
    text = "\n\n".join(
        (
            "## Recognition models",
            INTRODUCTION,
            _classes(models, given.pictures, read_annotations(given.annotations)),
            _without(models, given.without),
            _times(models, given.pictures),
        )
    )
    asked = report.options("", arguments=["--write"] if given.write else [])
    report.publish("models", text, asked)


def _classes(models: Models, folder: Path, truths: dict[str, list[Truth]]) -> str:
    names = sorted({truth.name for each in truths.values() for truth in each})
    shown = {mid: name for name, mid in coco_mids().items()}
    found: dict[str, list[DetectedObject]] = {}
    wanted = {open_images_names()[coco_mids()[name]] for name in names}
    for name, image in pictures(folder):
        if name in truths:
            found[name] = list(objects.detect(image, models, classes=wanted, idle=nullcontext))
    lines = ["| class | found | false boxes on pictures without it |", "|---|---|---|"]
    for name in names:
        there = [p for p in found if any(t.name == name and t.area > LEAST_AREA for t in truths[p])]
        absent = [p for p in found if all(t.name != name for t in truths[p])]
        of_it = {p: [o for o in found[p] if shown[o.mid] == name] for p in found}
        hits = sum(bool(of_it[p]) for p in there)
        wrong = sum(len(of_it[p]) for p in absent)
        lines.append(
            f"| {name} | {hits} / {len(there)} = {hits / max(len(there), 1):.2f} "
            f"| {wrong} on {len(absent)} |"
        )
    return "### Objects\n\n" + "\n".join(lines)


def _without(models: Models, folder: Path) -> str:
    coco = list(coco_mids().values())
    living = {mid for part in LIVING_AND_DRIVING for mid in coco[part]}
    wanted = set(objects.known_classes(models)) - (
        CLASSES.keys() - {objects.PLATE, "Person", "Cat"}
    )
    count, boxes, others = 0, [], 0
    for name, image in pictures(folder):
        count += 1
        for each in objects.detect(image, models, classes=wanted, idle=nullcontext):
            if each.mid in living or each.name == objects.PLATE:
                boxes.append(f"{each.name} {each.score:.2f} ({name})")
            else:
                others += 1
    told = f": {'; '.join(boxes)}" if boxes else ""
    return (
        "### Pictures without objects\n\n"
        f"On {count} fixtures, pages, parts, boards and textures: {len(boxes)} boxes of living "
        f"things, vehicles and plates{told}; {others} boxes of other things."
    )


def _times(models: Models, folder: Path) -> str:
    lines = ["| operation | with models, ms | without, ms |", "|---|---|---|"]
    for name in ("objectDetection", "classification"):
        medians = []
        for chosen in (models, models.none()):
            times = []
            for _, image in pictures(folder):
                large = cv2.resize(image, (WORKING_SIZE, WORKING_SIZE * 3 // 4))
                started = time.process_time()
                if name == "classification":
                    labels.classify(np.asarray(large, np.uint8), chosen, idle=nullcontext)
                else:
                    objects.detect(np.asarray(large, np.uint8), chosen, idle=nullcontext)
                times.append(time.process_time() - started)
                if len(times) > TIMED:
                    break
            medians.append(1000 * statistics.median(times[1:]))
        lines.append(f"| {name} | {medians[0]:.0f} | {medians[1]:.0f} |")
    return (
        "### Processor time\n\nOf one core, on pictures of 1600 x 1200 px, decoding aside.\n\n"
        + "\n".join(lines)
    )


if __name__ == "__main__":
    main()
