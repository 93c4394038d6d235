"""Accuracy of `differences`: whether defects are found, and nothing else, where they are.

Run as ``python -m benchmarks.accuracy.differences --set benchmark --pairs 60 --seed 2026``.
"""

import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks import report
from benchmarks.accuracy import peers
from benchmarks.accuracy.composed import COMPOSED
from benchmarks.accuracy.pairs import (
    CURVE_DIAMETERS,
    KINDS,
    LEVELS,
    LONGEST,
    STRAINS,
    Defect,
    Pair,
    Rect,
    bounds,
    composed_pair,
    decoded,
    disc_pair,
    photograph_pair,
    strained_pair,
)
from ltu_compute.image import Image
from ltu_compute.kernels.differences import MAX_RESOLUTION, PRESETS, ComparisonSettings, compare
from ltu_compute.kernels.types import Bgr, Box, Mask, Size

CONTRASTS = (6.0, 10.0, 20.0, 40.0)
"""Colour differences (CIE76) of the discs by which the smallest defect is measured."""

OURS = "ltu-compute, preset 1"
_FINEST = f"ltu-compute, preset 1 at {MAX_RESOLUTION} px"
_ORB = "ORB, MAGSAC, absdiff"

_PAD = 0.01  # share of the longest side by which a defect's box is widened before it is scored
_LARGEST = 12  # a box that is that many times as large as a defect does not show it
_FRAGMENTS = 3  # boxes that may show one defect
_WORST = 20


class Found(NamedTuple):
    """A reported difference: its boxes on both images."""

    on1: Rect
    on2: Rect


@dataclass(frozen=True)
class Score:
    """What a method made of a pair.

    Attributes
    ----------
    reported, false : int
        Boxes, and those of them that show no defect.
    hits : tuple of (str, bool)
        For each defect, its kind and whether it was found.
    errors1, errors2 : tuple of float
        For each defect found, by how much the worst edge of its box is off on image 1 and 2, as a
        share of the longest side.
    """

    reported: int
    false: int
    hits: tuple[tuple[str, bool], ...] = ()
    errors1: tuple[float, ...] = ()
    errors2: tuple[float, ...] = ()

    @property
    def defects(self) -> int:
        """How many defects there are in truth."""
        return len(self.hits)

    @property
    def found(self) -> int:
        """How many of them were found."""
        return sum(found for _, found in self.hits)


def score(pair: Pair, boxes: Sequence[Found]) -> Score:
    """Score what was reported on a pair.

    A defect is found when a box on image 2 covers a quarter of the defect's box, or lies in it by
    half; the defect's box is widened by 1 % of the longest side first. The box must also meet the
    defect's own box, on both images. A box is false when it meets no defect, when it is larger
    than 12 times each defect that it meets, or when three others show the defect already.
    """
    longest = max(pair.size)
    truth = [_widened(bounds(defect.on2), _PAD * longest) for defect in pair.defects]
    shown: list[list[Found]] = [[] for _ in truth]
    met = [0] * len(truth)
    false = 0
    for box in boxes:
        right = False
        for number, place in enumerate(truth):
            common = _area(_common(box.on2, place))
            if common <= 0 or _area(box.on2) > _LARGEST * _area(place):
                continue
            met[number] += 1
            right |= met[number] <= _FRAGMENTS
            there = common >= 0.25 * _area(place) or common >= 0.5 * _area(box.on2)
            if there and _meets(box, pair.defects[number]):
                shown[number].append(box)
        false += not right
    errors1, errors2 = [], []
    for defect, candidates in zip(pair.defects, shown, strict=True):
        if candidates:
            on1, on2 = bounds(defect.on1), bounds(defect.on2)
            best = max(candidates, key=lambda box: _overlap(box.on2, on2))
            errors1.append(_edge_error(best.on1, on1) / longest)
            errors2.append(_edge_error(best.on2, on2) / longest)
    hits = tuple(
        (defect.kind, bool(candidates))
        for defect, candidates in zip(pair.defects, shown, strict=True)
    )
    return Score(len(boxes), false, hits, tuple(errors1), tuple(errors2))


def _meets(box: Found, defect: Defect) -> bool:
    """Tell whether a box meets a defect's own box on both images."""
    pairs = ((box.on1, bounds(defect.on1)), (box.on2, bounds(defect.on2)))
    return all(_area(_common(found, truth)) > 0 for found, truth in pairs)


def _widened(rect: Rect, pad: float) -> Rect:
    return Rect(rect.left - pad, rect.top - pad, rect.right + pad, rect.bottom + pad)


def _common(one: Rect, other: Rect) -> Rect:
    return Rect(
        max(one.left, other.left),
        max(one.top, other.top),
        min(one.right, other.right),
        min(one.bottom, other.bottom),
    )


def _area(rect: Rect) -> float:
    return max(0.0, rect.right - rect.left) * max(0.0, rect.bottom - rect.top)


def _overlap(one: Rect, other: Rect) -> float:
    """Intersection over union."""
    common = _area(_common(one, other))
    return common / (_area(one) + _area(other) - common)


def _edge_error(one: Rect, other: Rect) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


# --- methods -----------------------------------------------------------------------------------


def reported(pair: Pair, settings: ComparisonSettings) -> list[Found]:
    """Compare as the service does, from the files on; images that it refuses show nothing."""
    image1, image2 = (
        Image.from_bytes(content, max_pixels=10**8) for content in (pair.image1, pair.image2)
    )
    comparison = compare(
        image1.fit(settings.working_size(image1.size)),
        image2.fit(settings.working_size(image2.size)),
        settings,
        size1=image1.size,
        size2=image2.size,
    )
    if comparison is None:
        return []
    return [Found(_rect(d.on1.box), _rect(d.on2.box)) for d in comparison.differences]


def _rect(box: Box) -> Rect:
    """Edges of the pixels of a box."""
    left, top = box.x - 0.5, box.y - 0.5
    return Rect(left, top, left + box.width, top + box.height)


def _pixels(pair: Pair) -> tuple[Bgr, Bgr]:
    return decoded(pair.image1), decoded(pair.image2)


def _flagged_by(flag: Callable[[Bgr, Bgr], Mask], pair: Pair) -> list[Found]:
    """Report what a peer flags that compares images as they lie."""
    return [Found(_rect(box), _rect(box)) for box in peers.boxes(flag(*_pixels(pair)))]


def _flagged_by_orb(pair: Pair) -> list[Found]:
    """Report what differs in grey after alignment by ORB keypoints."""
    image1, image2 = _pixels(pair)
    matrix = peers.orb_homography(image1, image2)
    found = []
    for box in peers.boxes(peers.aligned_absdiff(image1, image2, matrix)):
        on1 = _rect(box)
        left, top, right, bottom = on1
        corners = np.array([[(left, top), (right, top), (right, bottom), (left, bottom)]])
        mapped = cv2.perspectiveTransform(corners, matrix)[0]
        found.append(Found(on1, Rect(*mapped.min(axis=0), *mapped.max(axis=0))))
    return found


METHODS: MappingProxyType[str, Callable[[Pair], list[Found]]] = MappingProxyType(
    {
        **{
            f"ltu-compute, preset {number}": partial(reported, settings=settings)
            for number, settings in PRESETS.items()
        },
        _FINEST: partial(reported, settings=replace(PRESETS[1], resolution=MAX_RESOLUTION)),
        _ORB: _flagged_by_orb,
        **{name: partial(_flagged_by, flag) for name, flag in peers.FLAGGING.items()},
    }
)
"""All that takes part, by name: each reports what differs between the images of a pair."""

_PRESETS = tuple(f"ltu-compute, preset {number}" for number in PRESETS)


# --- measuring ---------------------------------------------------------------------------------


class Task(NamedTuple):
    """One pair to measure: its group, its number there, how it is made, and by which methods."""

    group: str
    number: int
    make: Callable[[int], Pair]
    methods: tuple[str, ...]


class Measured(NamedTuple):
    """What the methods made of a pair."""

    task: Task
    scores: dict[str, Score]


def measured(name: str, tasks: Sequence[Task], jobs: int) -> list[Measured]:
    """Measure pairs, `jobs` at the same time; in the order of the tasks. Report progress."""
    with multiprocessing.get_context("spawn").Pool(jobs, _one_thread) as pool:
        results = []
        for result in pool.imap(_measure, tasks):
            results.append(result)
            print(f"\r{name}: {len(results)}/{len(tasks)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return results


def _measure(task: Task) -> Measured:
    pair = task.make(task.number)
    return Measured(task, {name: score(pair, METHODS[name](pair)) for name in task.methods})


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _of_photographs(asked: report.Options) -> list[Task]:
    methods = (OURS, _ORB, *peers.FLAGGING) if asked.peers else (OURS,)
    return [
        Task(level, number, partial(_photographed, asked, level), methods)
        for level in LEVELS
        for number in range(asked.pairs)
    ]


def _of_composed(asked: report.Options) -> list[Task]:
    """As many pairs a level as of photographs, or the next more that the kinds divide."""
    methods = (OURS, _ORB) if asked.peers else (OURS,)
    return [
        Task(f"{kind}, {level}", number, partial(_composed, asked, kind, level), methods)
        for kind in COMPOSED
        for level in LEVELS
        for number in range(-(-asked.pairs // len(COMPOSED)))
    ]


def _of_strained(asked: report.Options) -> list[Task]:
    return [
        Task(kind, number, partial(_strained, asked, kind), _PRESETS)
        for kind in STRAINS
        for number in range(-(-asked.pairs // 5))
    ]


def _of_discs(asked: report.Options) -> list[Task]:
    return [
        Task(f"{delta_e:g}", number, partial(_with_discs, asked, delta_e), (OURS, _FINEST))
        for delta_e in CONTRASTS
        for number in range(-(-asked.pairs // 4))
    ]


def _photographed(asked: report.Options, level: str, number: int) -> Pair:
    return photograph_pair(asked.chosen, level, number, asked.seed)


def _composed(asked: report.Options, kind: str, level: str, number: int) -> Pair:
    return composed_pair(asked.chosen, kind, level, number, asked.seed)


def _strained(asked: report.Options, kind: str, number: int) -> Pair:
    return strained_pair(asked.chosen, kind, number, asked.seed)


def _with_discs(asked: report.Options, delta_e: float, number: int) -> Pair:
    return disc_pair(asked.chosen, delta_e, number, asked.seed)


# --- telling -----------------------------------------------------------------------------------

_HEAD = (
    "pairs of",
    "method",
    "F1",
    "recall",
    "precision",
    "no false box",
    "none where nothing differs",
    "boxes right on image 1",
    "on image 2",
    "edge off by, %: median",
    "95th percentile",
)


def summary(group: str, method: str, scores: Sequence[Score]) -> tuple[object, ...]:
    """Return a row of the table: what a method made of a group of pairs; nan where nothing was."""
    found = sum(one.found for one in scores)
    defects = sum(one.defects for one in scores)
    false = sum(one.false for one in scores)
    errors1 = np.array([error for one in scores for error in one.errors1])
    errors2 = np.array([error for one in scores for error in one.errors2])
    worst = 100 * np.maximum(errors1, errors2)
    clean = [one.false == 0 for one in scores]
    empty = [one.false == 0 for one in scores if not one.defects]
    return (
        group,
        method,
        _ratio(2 * found, found + defects + false),
        _ratio(found, defects),
        _ratio(found, found + false),
        _ratio(sum(clean), len(clean)),
        _ratio(sum(empty), len(empty)),
        _ratio(float(np.sum(errors1 <= _PAD)), len(errors1)),
        _ratio(float(np.sum(errors2 <= _PAD)), len(errors2)),
        f"{np.median(worst):.2f}" if len(worst) else "-",
        f"{np.percentile(worst, 95):.2f}" if len(worst) else "-",
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _grouped(
    several: Iterable[Measured], group: Callable[[Task], str]
) -> dict[tuple[str, str], list[Score]]:
    """Collect scores by group and method, both in the order in which they come."""
    grouped: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for one in several:
        for method, reached in one.scores.items():
            grouped[group(one.task), method].append(reached)
    return dict(grouped)


def _summaries(several: Iterable[Measured], *groups: Callable[[Task], str]) -> str:
    """One table of summaries: groups of pairs by any of several ways to group them."""
    listed = list(several)
    rows = [
        summary(*key, scores) for group in groups for key, scores in _grouped(listed, group).items()
    ]
    return report.table(_HEAD, rows)


def _recall_by_kind(several: Iterable[Measured]) -> str:
    """Recall of ours, a row a level, a column a kind of defect."""
    rows: list[tuple[object, ...]] = []
    for (level, method), scores in _grouped(several, _group).items():
        if method == OURS:
            rows.append((level, *(_recall(scores, kind) for kind in KINDS)))
    return report.table(("recall of", *KINDS), rows)


def _recall(scores: Iterable[Score], kind: str) -> float:
    hits = [found for one in scores for of, found in one.hits if of == kind]
    return _ratio(sum(hits), len(hits))


def _counts(several: Iterable[Measured]) -> str:
    """Differences reported, mean of the pairs; and defects found of those that there are."""
    grouped = _grouped(several, _group)
    rows: list[tuple[object, ...]] = []
    for strain in STRAINS:
        row: list[object] = [strain]
        for preset in _PRESETS:
            scores = grouped[strain, preset]
            row.append(f"{_ratio(sum(one.reported for one in scores), len(scores)):.1f}")
        truth = _ratio(sum(one.defects for one in scores), len(scores))
        rows.append((*row, f"{truth:.1f}"))
    return report.table(("pairs with", *(f"preset {n}" for n in PRESETS), "in truth"), rows)


def _curves(several: Iterable[Measured]) -> str:
    """Recall against diameter, a row for each resolution and contrast."""
    rows: list[tuple[object, ...]] = []
    grouped = _grouped(several, _group)
    for method, longest in ((OURS, PRESETS[1].resolution), (_FINEST, MAX_RESOLUTION)):
        for delta_e in CONTRASTS:
            scores = grouped[f"{delta_e:g}", method]
            recalls = [f"{_recall(scores, str(percent)):.2f}" for percent in CURVE_DIAMETERS]
            rows.append((f"{longest} px", f"{delta_e:g}", *recalls))
    head = ("resolution", "ΔE", *(f"{percent:g} %" for percent in CURVE_DIAMETERS))
    return report.table(head, rows)


def _group(task: Task) -> str:
    return task.group


def _subject_of(task: Task) -> str:
    return task.group.partition(", ")[0]


def _level_of(task: Task) -> str:
    return f"all composed, {task.group.partition(', ')[2]}"


def drawn(pair: Pair, boxes: Sequence[Found]) -> Bgr:
    """Show a pair side by side: defects in red, reported boxes in green."""
    sides = []
    for side, picture in enumerate(_pixels(pair)):
        for defect in pair.defects:
            outline = np.rint((defect.on1, defect.on2)[side]).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(picture, [outline], isClosed=True, color=(0, 0, 255), thickness=4)
        for box in boxes:
            left, top, right, bottom = (round(edge) for edge in box[side])
            cv2.rectangle(picture, (left, top), (right, bottom), (0, 255, 0), 4)
        sides.append(picture)
    return np.hstack(sides)


def worst(several: Iterable[Measured]) -> list[tuple[str, Bgr]]:
    """Draw the twenty pairs with most misses and false boxes, then those with the worst edges."""

    def badness(one: Measured) -> tuple[float, float]:
        ours = one.scores[OURS]
        return ours.defects - ours.found + ours.false, max((*ours.errors1, *ours.errors2, 0.0))

    tiles = []
    for one in sorted(several, key=badness, reverse=True)[:_WORST]:
        pair, ours = one.task.make(one.task.number), one.scores[OURS]
        text = f"{pair.name}: {ours.found}/{ours.defects} found, {ours.false} false"
        tiles.append((text, drawn(pair, METHODS[OURS](pair))))
    return tiles


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and publish."""
    asked = report.options("Accuracy of differences.", arguments=arguments)
    if asked.peers:
        peers.installed()
    photographed = measured("photographed", _of_photographs(asked), asked.jobs)
    composed = measured("composed", _of_composed(asked), asked.jobs)
    strained = measured("strained", _of_strained(asked), asked.jobs)
    discs = measured("discs", _of_discs(asked), asked.jobs)
    text = f"""## Differences

Pairs of {LONGEST} px with none to three defects each. The second shot is `still` (the same camera),
`shift` (put back: up to 3° and 3 % of scale, another lamp) or taken by `hand` (up to 10°, 8 % of
scale, perspective, uneven light, blur). F1, recall and precision count defects and boxes. *No false
box* is the share of pairs without one, *none where nothing differs* that of the pairs without a
defect. A box is *right* when no edge is off by more than 1 % of the longest side from the box of
what changed visibly. Peers flag pixels with their own defaults (absdiff: 30 of 255 in grey; after
alignment by ORB mean and deviation are made equal first), which become boxes in one way for all:
cells of a 400 px image that are flagged to 30 %, closed over 12 cells, from 12 cells on.

A defect is found when a box covers a quarter of its box, widened by 1 % of the longest side, or
lies in that by half, and meets the defect's own box on both images. Defects lie at least 16 % of
the side from the border and 30 px from each other, differ by ΔE 14 on average and cover 0.02 % of
the image at least: what is nearer, fainter or smaller is not in these figures.

{_summaries(photographed, _group)}

By kind of defect:

{_recall_by_kind(photographed)}

### Composed subjects

Parts without texture, polished parts whose highlights move between the shots, printed labels,
perforated plates, pages of text.

{_summaries(composed, _subject_of, _level_of)}

### Presets

Differences that each preset reports, mean of {-(-asked.pairs // 5)} pairs: on a bent surface
(`warp`: 0.3 to 1 % of misregistration at the most), with strips of up to 9 px along the image's
edges (`border`), discs of 0.2 to 0.5 % of the longest side (`dots`) and of 0.5 to 1.7 % (`specks`),
faint lines 0.4 % wide (`lines`), and three ordinary `defects`. In words: from 2 on there is less
noise on borders; 3 smooths, so that dots go; 4 masks what is small, so that specks go; 5 smooths
less, so that more lines stay.

{_counts(strained)}

### The smallest defect

Recall of discs by diameter, in percent of the longest side, on `shift`. Their L* is higher or lower
by ΔE, texture and hue are those of the photograph. Discs of each: {-(-asked.pairs // 4)}.

{_curves(discs)}
"""
    versions = peers.versions() if asked.peers else {}
    report.publish("differences", text, asked, peers=("scikit-image",), versions=versions)
    if asked.save is not None:
        path = asked.save / "differences-worst.png"
        tiles = worst([*photographed, *composed])
        report.save_contact_sheet(path, tiles, columns=2, tile=Size(960, 400))


if __name__ == "__main__":
    main()
