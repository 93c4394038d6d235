"""Accuracy of the installed recognition models, on labelled photographs that none was fitted to.

    python -m benchmarks.accuracy.models WITHOUT --set NAME PICTURES ANNOTATIONS [--set ...]
        [--shown PICTURES] [--models FOLDER] [--write]

* ``--shown PICTURES``: the pictures of BSDS500, ``BSDS500/data/images`` of github.com/BIDS/BSDS500;
  ``bsds500.txt`` lists what they show.
* ``NAME``: of a set of photographs, as the report calls it; ``PICTURES``: their folder;
  ``ANNOTATIONS``: their objects, COCO's JSON, or text: a line with a picture's name and then a line
  per object (class, left, top, right, bottom). The figures in the README are of two sets. PASCAL
  VOC: 534 of the 1,907 pictures of PASCAL VOC 2007 that github.com/BernieChen96/ImageClassification
  holds, drawn by a seed until 150 show each class; `training.fusion` may have seen one in eight of
  them. COCO: the pictures of COCO's validation
  set 2017 that github.com/zzowenzz/COCO_Tiny, Obmutescence/COCO-MINI and enginbozaba/tiny_coco
  hold.
* ``WITHOUT``: a folder of pictures on which nothing lives and nothing drives.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import orjson

from benchmarks import report
from ltu_compute.admission.allocation import keep_memory
from ltu_compute.kernels.object_detection import CLASSES, DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.operations.recognition import WORKING_SIZE
from ltu_compute.recognisers import labels, objects
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.onnx.manifest import coco_mids, open_images_names
from ltu_compute.recognisers.onnx.session import Bounds

LARGE = 0.1  # share of a picture
LEAST_AREA = 32 * 32  # px of an object that must be found: COCO's border of small ones
LIVING_AND_DRIVING = slice(0, 9), slice(14, 24)  # of COCO's classes: person to boat, animals
TIMED = 10  # pictures that are timed, of 2 MP
REPEATED = 2  # runs of each, of which the shorter one counts


BSDS500 = Path(__file__).with_name("bsds500.txt")
LEAST_PICTURES = 10  # that show a class whose recall is reported

INTRODUCTION = (
    "Photographs that no model was fitted to, and the seven weights to one in eight at most: "
    "PASCAL VOC 2007, whose annotations name five classes, and the validation set of COCO 2017, "
    "by which the detectors' authors have chosen among their models. A class counts as found on a "
    "picture where an object of 32 x 32 px or more is, and from a score of 0.5 on; all 80 classes "
    "are asked for. Large: where "
    "the object has a tenth of the picture or "
    f"more. Classes on fewer than {LEAST_PICTURES} pictures of a set are counted together."
)


class Truth(NamedTuple):
    """An object that is on a picture: class as COCO calls it, and its sides in px.

    `single` is False of a crowd, which is neither to be found nor absent.
    """

    name: str
    left: int
    top: int
    right: int
    bottom: int
    single: bool = True

    @property
    def area(self) -> int:
        """In px."""
        return (self.right - self.left) * (self.bottom - self.top)


def read_annotations(path: Path) -> dict[str, list[Truth]]:
    """Return what is on each picture, by the picture's name."""
    if path.suffix == ".json":
        return _of_coco(orjson.loads(path.read_bytes()))
    found: dict[str, list[Truth]] = {}
    current: list[Truth] = []
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) == 5:
            left, top, right, bottom = map(int, fields[1:])
            current.append(Truth(fields[0], left, top, right, bottom))
        elif fields and not fields[0].isdigit():
            current = found.setdefault(fields[0], [])
    return found


def _of_coco(content: dict[str, Any]) -> dict[str, list[Truth]]:
    """Return the same of COCO's annotations: cocodataset.org/#format-data."""
    files = {image["id"]: image["file_name"] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[str, list[Truth]] = {name: [] for name in files.values()}
    for each in content["annotations"]:
        left, top, width, height = (round(side) for side in each["bbox"])
        truth = Truth(
            names[each["category_id"]],
            left,
            top,
            left + width,
            top + height,
            single=not each["iscrowd"],
        )
        found[files[each["image_id"]]].append(truth)
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
    parser.add_argument("without", type=Path)
    names = ("NAME", "PICTURES", "ANNOTATIONS")
    parser.add_argument(
        "--set", dest="sets", nargs=3, action="append", required=True, metavar=names
    )
    parser.add_argument("--shown", type=Path)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    keep_memory()  # as the service's processes do
    models = installed(given.models)
    text = "\n\n".join(
        (
            "## Recognition models",
            INTRODUCTION,
            *(
                _classes(name, models, Path(folder), read_annotations(Path(annotations)))
                for name, folder, annotations in given.sets
            ),
            *([_shown(models, given.shown)] if given.shown else []),
            _without(models, given.without),
            _times(models, Path(given.sets[0][1])),
        )
    )
    asked = report.options("", arguments=["--write"] if given.write else [])
    report.publish("models", text, asked)


def _classes(title: str, models: Models, folder: Path, truths: dict[str, list[Truth]]) -> str:
    names = sorted({truth.name for each in truths.values() for truth in each})
    shown = {mid: name for name, mid in coco_mids().items()}
    found: dict[str, list[DetectedObject]] = {}
    areas: dict[str, int] = {}
    wanted = {open_images_names()[mid] for mid in coco_mids().values()}  # as requests ask
    for name, image in pictures(folder):
        if name in truths:
            areas[name] = image.shape[0] * image.shape[1]
            found[name] = list(
                objects.detect(image, models, classes=wanted, release_slot=nullcontext)
            )
    rows = [
        _row(name, truths, found, areas, {mid for mid, own in shown.items() if own == name})
        for name in names
    ]
    often = [row for row in rows if row.there >= LEAST_PICTURES]
    seldom = [row for row in rows if row.there < LEAST_PICTURES]
    rest = []
    if seldom:
        sums = np.sum([row[1:] for row in seldom], axis=0).tolist()
        rest = [Row(f"{len(seldom)} others", *sums)]
    listed = sorted(often, key=lambda row: -row.there) + rest
    lines = [
        f"| {row.name} | {_share(row.hits, row.there)} | {_share(row.large_hits, row.large)} "
        f"| {row.wrong} |"
        for row in listed
    ]
    wrong = sum(row.wrong for row in rows)
    head = "| class | found | large ones | boxes on pictures without it |\n|---|---|---|---|\n"
    return (
        f"### Objects: {title}\n\n{len(found)} pictures; boxes on pictures without their class, by "
        f"the annotations: {wrong}, {wrong / max(len(found), 1):.2f} a picture.\n\n"
        + head
        + "\n".join(lines)
    )


class Row(NamedTuple):
    """How well a class is found: on so many pictures it is there, and found; boxes where not."""

    name: str
    there: int
    hits: int
    large: int
    large_hits: int
    wrong: int


def _row(
    name: str,
    truths: dict[str, list[Truth]],
    found: dict[str, list[DetectedObject]],
    areas: dict[str, int],
    mids: set[str],
) -> Row:
    of_it = {p: [t for t in truths[p] if t.name == name] for p in found}
    boxes = {p: sum(o.mid in mids for o in each) for p, each in found.items()}
    sizes = {p: max((t.area for t in of_it[p] if t.single), default=0) for p in found}
    there = [p for p in found if sizes[p] > LEAST_AREA]
    large = [p for p in there if sizes[p] >= LARGE * areas[p]]
    return Row(
        name,
        len(there),
        sum(boxes[p] > 0 for p in there),
        len(large),
        sum(boxes[p] > 0 for p in large),
        sum(boxes[p] for p in found if not of_it[p]),
    )


def _shown(models: Models, folder: Path) -> str:
    """Report how often a class is found on the pictures of BSDS500 that show it."""
    paths = {path.stem: path for path in folder.rglob("*.jpg")}
    lines = []
    for line in BSDS500.read_text().splitlines():
        name, colon, numbers = line.partition(": ")
        if not colon or line.startswith("#"):
            continue
        found = [
            any(each.mid == coco_mids()[name] for each in _seen(models, paths[number]))
            for number in numbers.split()
        ]
        lines.append((len(found), f"| {name} | {_share(sum(found), len(found))} |"))
    rows = [row for _, row in sorted(lines, key=lambda each: -each[0])]
    return (
        "### Objects: BSDS500\n\nPictures that show a class, as seen by eye; the rules for animals "
        "were set on some of them, and the networks on none.\n\n| class | found |\n|---|---|\n"
        + "\n".join(rows)
    )


def _seen(models: Models, path: Path) -> tuple[DetectedObject, ...]:
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path} is no picture")
    wanted = {open_images_names()[mid] for mid in coco_mids().values()}
    picture = np.asarray(image, np.uint8)
    return objects.detect(picture, models, classes=wanted, release_slot=nullcontext)


def _share(part: int, whole: int) -> str:
    return f"{part} / {whole} = {part / whole:.2f}" if whole else "0 / 0"


def _without(models: Models, folder: Path) -> str:
    coco = list(coco_mids().values())
    living = {mid for part in LIVING_AND_DRIVING for mid in coco[part]}
    wanted = set(objects.known_classes(models)) - (
        CLASSES.keys() - {objects.PLATE, "Person", "Cat"}
    )
    count, boxes, others = 0, [], 0
    for name, image in pictures(folder):
        count += 1
        for each in objects.detect(image, models, classes=wanted, release_slot=nullcontext):
            if each.mid in living or each.name == objects.PLATE:
                boxes.append(f"{each.name} {each.score:.2f} ({name})")
            else:
                others += 1
    named = f": {'; '.join(boxes)}" if boxes else ""
    return (
        "### Pictures without objects\n\n"
        f"On {count} fixtures, pages, parts, boards and textures: {len(boxes)} boxes of living "
        f"things, vehicles and plates{named}; {others} boxes of other things."
    )


def _times(models: Models, folder: Path) -> str:
    lines = ["| operation | with models, ms | without, ms |", "|---|---|---|"]
    for name in ("objectDetection", "classification"):
        medians = []
        for chosen in (models, models.none()):
            times = []
            for _, image in pictures(folder):
                large = cv2.resize(image, (WORKING_SIZE, WORKING_SIZE * 3 // 4))
                run = labels.classify if name == "classification" else objects.detect
                twice = []
                for _ in range(REPEATED):
                    started = time.process_time()
                    run(np.asarray(large, np.uint8), chosen, release_slot=nullcontext)
                    twice.append(time.process_time() - started)
                times.append(min(twice))
                if len(times) > TIMED:
                    break
            medians.append(1000 * statistics.median(times[1:]))
        lines.append(f"| {name} | {medians[0]:.0f} | {medians[1]:.0f} |")
    return (
        "### Processor time\n\nOf one core, on pictures of 1600 x 1200 px, decoding aside. Other "
        "work beside it lengthens the times.\n\n" + "\n".join(lines)
    )


if __name__ == "__main__":
    main()
