"""Accuracy of `differences` on DeepPCB: public pairs of binarised boards with boxes by people.

Run as ``python -m benchmarks.accuracy.boards FOLDER --write``, where the folder is ``PCBData`` of
https://github.com/tangsanli5201/DeepPCB. The pictures are for research: they are read, never kept.

Thresholds were set on pairs of ``trainval.txt`` and on the groups of `LOOKED_AT`; all other pairs
of ``test.txt`` report, and nobody has looked at them. The whole of ``test.txt`` is measured, too,
as published results are. A box counts where it overlaps a person's box of its own by more than .33
(intersection over union), grown by 10 px, for people draw wider.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from ltu_compute.kernels.differences import FULL, PRESETS, compare
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Bgr

LOOKED_AT = ("group12100", "group12300", "group13000", "group90100")
"""Groups of the test set whose false boxes were looked at: the first and the last were chosen by
lot, the other two because most false boxes were theirs."""

JOINED = ((2, 6), (3, 3), (6, 1))
"""How many boards a side are joined to one, and how many such pairs are measured."""

_GROWN = 10.0  # px
_LEAST_OVERLAP = 0.33
_SIDE = 640  # px of a board
_SETTINGS = replace(PRESETS[1], resolution=FULL)

Boxes = NDArray[np.float64]  # a row each: left, top, right, bottom


class Pair(NamedTuple):
    """A board, a shot of it, and where people say that it differs."""

    reference: Bgr
    shot: Bgr
    truth: Boxes


class Counts(NamedTuple):
    """Boxes that are right, boxes reported, boxes in truth, those touched, and touching none."""

    right: int
    reported: int
    there: int
    touched: int
    false: int


def names(folder: Path) -> list[tuple[str, str]]:
    """Return the pairs of the test set: names of picture and truth."""
    lines = (line.split() for line in (folder / "test.txt").read_text().splitlines())
    return [(line[0], line[1]) for line in lines]


def unseen(listed: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that nobody has looked at."""
    return [each for each in listed if each[0].split("/")[0] not in LOOKED_AT]


def pair(folder: Path, picture: str, truth: str) -> Pair:
    """Read a pair."""
    stem = picture.removesuffix(".jpg")
    pictures = [cv2.imread(str(folder / f"{stem}_{which}.jpg")) for which in ("temp", "test")]
    reference, shot = (np.asarray(each, np.uint8) for each in pictures)
    rows = (folder / truth).read_text().replace(",", " ").splitlines()
    boxes = np.array([row.split()[:4] for row in rows], np.float64).reshape(-1, 4)
    return Pair(reference, shot, boxes)


def joined(folder: Path, side: int, count: int) -> Iterator[Pair]:
    """Yield boards laid side by side, `side` in a row, drawn by lot."""
    listed, rng = unseen(names(folder)), np.random.default_rng(21)
    for _ in range(count):
        grid = [
            [pair(folder, *listed[rng.integers(len(listed))]) for _ in range(side)]
            for _ in range(side)
        ]
        truth = [
            each.truth + _SIDE * np.array([x, y, x, y])
            for y, row in enumerate(grid)
            for x, each in enumerate(row)
        ]
        reference = np.vstack([np.hstack([each.reference for each in row]) for row in grid])
        shot = np.vstack([np.hstack([each.shot for each in row]) for row in grid])
        yield Pair(reference, shot, np.concatenate(truth))


def found(each: Pair) -> Boxes:
    """Return the boxes of the differences on the shot."""
    sizes = size_of(each.reference), size_of(each.shot)
    compared = compare(each.reference, each.shot, _SETTINGS, size1=sizes[0], size2=sizes[1])
    listed = () if compared is None else compared.differences
    boxes = [(d.on2.box.x, d.on2.box.y, d.on2.box.width, d.on2.box.height) for d in listed]
    places = np.array(boxes, np.float64).reshape(-1, 4)
    places[:, 2:] += places[:, :2]
    return places


def score(boxes: Boxes, truth: Boxes) -> Counts:
    """Assign boxes to people's, the best first."""
    overlaps = _overlaps(boxes + _GROWN * np.array([-1, -1, 1, 1]), truth)
    free = overlaps.copy()
    right = 0
    while free.size and free.max() > _LEAST_OVERLAP:
        row, column = np.unravel_index(int(free.argmax()), free.shape)
        free[row, :], free[:, column] = 0, 0
        right += 1
    touching = _overlaps(boxes, truth) > 0
    touched = int(touching.any(axis=0).sum())
    return Counts(
        right, len(boxes), len(truth), touched, len(boxes) - int(touching.any(axis=1).sum())
    )


def _overlaps(one: Boxes, other: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union of each with each."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (one, other)]
    return np.asarray(common / (areas[0][:, None] + areas[1][None] - common), np.float64)


def row(name: str, counts: Sequence[Counts]) -> tuple[object, ...]:
    """Return a row of the table."""
    total = Counts(*(sum(column) for column in zip(*counts, strict=True)))
    precision, recall = total.right / max(1, total.reported), total.right / max(1, total.there)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    touched, false = total.touched / max(1, total.there), total.false / max(1, total.reported)
    return (name, len(counts), precision, recall, f1, touched, false)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the table, and write it where that is asked for."""
    folder = Path(arguments[0])
    asked = report.options("DeepPCB's boards", pairs=1000, arguments=arguments[1:])
    cv2.setNumThreads(1)
    listed = names(folder)[: asked.pairs]
    counted = {}
    for each in listed:
        seen = pair(folder, *each)
        counted[each] = score(found(seen), seen.truth)
    rows = [
        row("640 px", [counted[each] for each in unseen(listed)]),
        row("640 px, the whole test set", list(counted.values())),
    ]
    print(*rows, sep="\n", flush=True)
    for side, count in JOINED:
        pairs = joined(folder, side, count)
        counts = [score(found(each), each.truth) for each in pairs]
        rows.append(row(f"joined, {side * _SIDE} px", counts))
        print(rows[-1], flush=True)
    head = ["boards", "pairs", "precision", "recall", "F1", "touched", "false boxes"]
    report.publish(
        "boards",
        "## Public boards\n\n"
        "DeepPCB's pairs of binarised boards with boxes by people, at full resolution with preset "
        "1. Nobody looked at the groups of the test set that are measured; the row of the whole "
        "test set also has the others. A box is right if it overlaps a person's by more than .33 "
        "(intersection over union), grown by 10 px. *Touched* is the share of the defects that a "
        "box touches; *false boxes* touch none. Joined boards lie side by side in one picture.\n\n"
        f"{report.table(head, rows)}\n",
        asked,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
