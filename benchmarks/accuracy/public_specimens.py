"""Accuracy of `teach` on public sets of specimens with masks, such as those of MVTec AD.

Run as ``python -m benchmarks.accuracy.public_specimens --data FOLDER``. The folder has the layout
of MVTec AD, category by category: ``train/good``, ``test/good``, ``test/<defect>`` and
``ground_truth/<defect>/<number>_mask.png``. A file ``region.json`` in a category holds polygons in
px of its first training picture, which is the reference: the region of its recipe. No set is part
of this repository.
"""

import argparse
import datetime as dt
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import process_time
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from ltu_compute.errors import ServiceError
from ltu_compute.image import Image
from ltu_compute.kernels.differences import OWN_PRESETS, Comparison, ComparisonSettings
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference, differences
from ltu_compute.recognisers import part_features

GOOD_SHOTS = 5
"""Good shots that teach, the reference among them."""

METHODS = (
    "one reference",
    "one reference, by shape",
    "five good shots",
    "five good shots, features",
)
HALVES = {
    "tuned": "those of even numbers, on which constants were set",
    "unseen": "those of odd numbers, which set no limit",
}
"""Halves of the test pictures."""

MOST_SHARE = 0.2
"""Most false alarms that are asked for, as a share of those with one reference."""

MOST_LESS = 0.01
"""Most masks, as a share, that good shots may touch less than one reference does."""

_NEAR = 0.005  # of the longest side: a difference so near to a mask touches it


class Shot(NamedTuple):
    """A picture to judge, and the mask of its defects; None: not known, or none."""

    path: Path
    good: bool
    mask: NDArray[np.uint8] | None


@dataclass
class Counts:
    """What a method reports on the shots of a category."""

    good: int = 0
    alarms: int = 0
    alarmed: int = 0
    area: float = 0.0  # sum of the shares of good shots that are reported
    unaligned: int = 0  # good shots
    bad: int = 0
    flagged: int = 0
    defects: int = 0
    touched: int = 0
    seconds: float = 0.0
    by_defect: dict[str, list[bool]] = field(default_factory=dict)

    def add(self, shot: Shot, found: Comparison | None) -> None:
        """Count one shot; None: the service refused the pair, so that it is not the same thing."""
        outlines = [] if found is None else [d.on2 for d in found.differences]
        unaligned = found is None or not found.aligned
        if shot.good:
            self.good += 1
            self.alarms += max(len(outlines), int(unaligned))
            self.alarmed += bool(outlines) or unaligned
            self.area += 0 if found is None else sum(d.area_percent for d in found.differences)
            self.unaligned += unaligned
            return
        self.bad += 1
        flagged = bool(outlines) or unaligned
        self.flagged += flagged
        self.by_defect.setdefault(shot.path.parent.name, []).append(flagged)
        if shot.mask is None:
            return
        drawn = np.zeros(shot.mask.shape, np.uint8)
        for spot in outlines:
            corner = np.array([spot.box.x, spot.box.y])
            cv2.fillPoly(drawn, [(spot.vertices + corner).astype(np.int32)], 255)
        reach = 2 * round(_NEAR * max(drawn.shape)) + 1
        near = cv2.dilate(drawn, np.ones((reach, reach), np.uint8)) > 0
        count, labels = cv2.connectedComponents((shot.mask > 127).astype(np.uint8))
        self.defects += count - 1
        self.touched += len(set(np.unique(labels[near]).tolist()) - {0})


def measure(folder: Path, half: str, limit: int, settings: ComparisonSettings) -> list[Counts]:
    """Judge the shots of a category by each method."""
    train = sorted((folder / "train" / "good").iterdir())
    places = np.linspace(0, len(train) - 1, GOOD_SHOTS).round().astype(int)
    reference, *others = (_image(train[place]) for place in places)
    region = folder / "region.json"
    if region.exists():
        settings = replace(settings, include=tuple(json.loads(region.read_text())))
    network = part_features.installed()
    if network is None:
        raise SystemExit("run `ltu-compute models install part-features` first")
    taught, taught_features = (
        teaching.teach(
            len(others), lambda n: others[n], settings, reference=reference, network=each
        )
        for each in (None, network)
    )
    for number, reason in taught.left_out:
        print(f"{folder.name}: {others[number].name} left out: {reason}", file=sys.stderr)
    counts = [Counts() for _ in METHODS]
    for shot in _shots(folder, half, limit):
        ways = (
            (None, settings, False),
            (None, taught.settings, True),
            (taught.tolerance, taught.settings, True),
            (taught_features.tolerance, taught_features.settings, True),
        )
        for own, (tolerance, how, by_shape) in zip(counts, ways, strict=True):
            started = process_time()
            own.add(shot, compared(reference, tolerance, shot, how, specimens=by_shape))
            own.seconds += process_time() - started
    return counts


def compared(
    reference: Image,
    tolerance: teaching.Lesson | None,
    shot: Shot,
    settings: ComparisonSettings,
    *,
    specimens: bool,
) -> Comparison | None:
    """Compare as the service does."""
    prepared = PreparedReference(reference, tolerance=tolerance)
    try:
        return differences(prepared, _image(shot.path), settings, specimens=specimens)
    except ServiceError:
        return None


def _shots(folder: Path, half: str, limit: int) -> Iterator[Shot]:
    odd = half == "unseen"
    for kind in sorted((folder / "test").iterdir()):
        files = [each for each in sorted(kind.iterdir()) if _number(each) % 2 == odd]
        for path in files[:limit]:
            mask = folder / "ground_truth" / kind.name / f"{path.stem}_mask.png"
            read = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) if mask.exists() else None
            yield Shot(path, kind.name == "good", None if read is None else read.astype(np.uint8))


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.name)
    return int(found.group()) if found else 0


def _image(path: Path) -> Image:
    return Image.from_bytes(path.read_bytes(), max_pixels=10**8, name=path.name)


def rows(groups: Sequence[tuple[str, list[Counts]]]) -> str:
    """Return the table: a row for each category and method."""
    head = (
        "category",
        "method",
        "good parts",
        "false alarms a good part",
        "good parts with one",
        "of a good part reported, %",
        "bad parts",
        "of these NG",
        "masks",
        "touched",
    )
    lines: list[tuple[object, ...]] = []
    for name, several in groups:
        for method, own in zip(METHODS, several, strict=True):
            lines.append(
                (
                    name,
                    method,
                    own.good,
                    own.alarms / max(1, own.good),
                    own.alarmed / max(1, own.good),
                    own.area / max(1, own.good),
                    own.bad,
                    own.flagged / own.bad if own.bad else "",
                    own.defects,
                    own.touched / own.defects if own.defects else "",
                )
            )
    return report.table(head, lines)


def met(groups: Sequence[tuple[str, list[Counts]]]) -> str:
    """Return the table that says whether good shots teach as much as is asked for."""
    head = ("category", "method", "false alarms, share", "touched, more", "as asked")
    lines: list[tuple[object, ...]] = []
    for name, several in groups:
        first = several[0]
        for method, own in list(zip(METHODS, several, strict=True))[2:]:
            share = own.alarms / first.alarms if first.alarms else 0.0
            more = (own.touched - first.touched) / max(1, first.defects)
            holds = share <= MOST_SHARE and more >= -MOST_LESS
            lines.append((name, method, share, more, "yes" if holds else "**no**"))
    return report.table(head, lines)


def section(tables: tuple[str, str], half: str) -> str:
    """Return the section of the README, with the tables of `rows` and `asked`."""
    table, as_asked = tables
    return f"""## Specimens of public sets

{dt.datetime.now(dt.UTC).date().isoformat()}; opencv-python-headless {cv2.__version__},
numpy {np.__version__}.

`teach` on public sets of photographs of specimens, such as MVTec AD (Bergmann et al., IJCV 2021;
research use, no part of this repository). The reference is the first training picture, and four
others, evenly spread, are the good shots. Test pictures: {half}.
The recipe of the transistor has a region around body and leads, drawn by hand on the reference.
Where nothing aligns, a good part has one false alarm at least, and a bad one is NG. A mask is
touched if a difference is within {100 * _NEAR:g} % of the longest side of it. *By shape*: the one
reference is aligned as specimens are, which `differences` does not do without good shots.
*Features*: with the model `part-features`.

Sizes and reach of patches and features were chosen on all pictures of screw and transistor, and
limits on those of even numbers. Nothing was chosen on other categories.

{table}

Good shots are asked to leave {MOST_SHARE:g} of the false alarms with one reference, and to touch
{MOST_LESS:g} of the masks less at most:

{as_asked}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and publish."""
    parser = argparse.ArgumentParser(description="Accuracy of teach on public sets.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--categories", nargs="*", help="Default: all.")
    parser.add_argument("--half", choices=tuple(HALVES), default="tuned")
    parser.add_argument("--limit", type=int, default=10**6, help="Pictures of each kind.")
    parser.add_argument("--write", action="store_true", help="Write to benchmarks/README.md, too.")
    given = parser.parse_args(arguments)
    groups = []
    for folder in sorted(each for each in given.data.iterdir() if each.is_dir()):
        if given.categories and folder.name not in given.categories:
            continue
        counts = measure(folder, given.half, given.limit, OWN_PRESETS[1])
        groups.append((folder.name, counts))
        for method, own in zip(METHODS, counts, strict=True):
            found = {kind: f"{sum(each)}/{len(each)}" for kind, each in own.by_defect.items()}
            summary = f"{own.unaligned} good parts unaligned; {found}; {own.seconds:.0f} s"
            print(f"{folder.name}, {method}: {summary}", file=sys.stderr, flush=True)
    text = section((rows(groups), met(groups)), HALVES[given.half])
    print(text)
    if given.write:
        before = report.README.read_text("utf-8")
        report.README.write_text(report.with_section(before, "public_specimens", text), "utf-8")


if __name__ == "__main__":
    main()
