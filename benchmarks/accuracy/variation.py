"""Accuracy of `teach`: false alarms on good parts and defects found, by one reference and by five.

Run as ``python -m benchmarks.accuracy.variation --set benchmark --pairs 1 --seed 2026``.
"""

import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2

from benchmarks import report
from benchmarks.accuracy import composed
from benchmarks.accuracy.differences import Found, Score, score
from benchmarks.accuracy.pairs import Pair, Rect
from benchmarks.accuracy.specimens import KINDS, part
from ltu_compute.errors import ServiceError
from ltu_compute.image import Image
from ltu_compute.kernels.differences import PRESETS
from ltu_compute.kernels.types import Box
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference, differences

GOOD_SHOTS = 5
"""Good shots that teach, the reference among them."""

JUDGED = 4
"""Good shots of a part that are judged, and shots with defects."""

LEVELS = ("still", "shift")
SETTINGS = PRESETS[1]
METHODS = ("one reference", "five good shots")


class Task(NamedTuple):
    """A part to measure."""

    kind: str
    level: str
    number: int
    asked: report.Options


@dataclass(frozen=True)
class Measured:
    """Scores of a part by method: of its good shots and of its bad ones."""

    task: Task
    good: dict[str, list[Score]]
    bad: dict[str, list[Score]]
    learnt: int


def measure(task: Task) -> Measured:
    """Teach a part, and judge other specimens of it."""
    asked = task.asked
    drawn = part(
        asked.chosen,
        task.kind,
        task.level,
        task.number,
        asked.seed,
        good=GOOD_SHOTS - 1 + JUDGED,
        bad=JUDGED,
    )
    reference = _image(drawn.good[0].image1)
    shots = [_image(pair.image2) for pair in drawn.good[: GOOD_SHOTS - 1]]
    taught = teaching.teach(len(shots), lambda n: shots[n], SETTINGS, reference=reference)
    good: dict[str, list[Score]] = defaultdict(list)
    bad: dict[str, list[Score]] = defaultdict(list)
    for method, tolerance in zip(METHODS, (None, taught.tolerance), strict=True):
        for pair in drawn.good[GOOD_SHOTS - 1 :]:
            good[method].append(score(pair, reported(pair, tolerance)))
        for pair in drawn.bad:
            bad[method].append(score(pair, reported(pair, tolerance)))
    return Measured(task, dict(good), dict(bad), taught.good_shots)


def reported(pair: Pair, tolerance: teaching.Lesson | None) -> list[Found]:
    """Compare as the service does; images that it refuses show nothing."""
    prepared = PreparedReference(_image(pair.image1), tolerance=tolerance)
    try:
        found = differences(prepared, _image(pair.image2), SETTINGS)
    except ServiceError:
        return []
    return [Found(_rect(d.on1.box), _rect(d.on2.box)) for d in found.differences]


def _rect(box: Box) -> Rect:
    left, top = box.x - 0.5, box.y - 0.5
    return Rect(left, top, left + box.width, top + box.height)


def _image(content: bytes) -> Image:
    return Image.from_bytes(content, max_pixels=10**8)


def rows(groups: Iterable[tuple[str, list[Measured]]]) -> str:
    """Return the table: a row for each group and method."""
    head = (
        "parts",
        "method",
        "good shots",
        "false alarms a good shot",
        "good shots with one",
        "recall",
        "false boxes a bad shot",
    )
    lines: list[tuple[object, ...]] = []
    for name, own in groups:
        for method in METHODS:
            good = [each for one in own for each in one.good[method]]
            bad = [each for one in own for each in one.bad[method]]
            lines.append(
                (
                    name,
                    method,
                    len(good),
                    sum(each.reported for each in good) / len(good),
                    sum(each.reported > 0 for each in good) / len(good),
                    sum(each.found for each in bad) / sum(each.defects for each in bad),
                    sum(each.false for each in bad) / len(bad),
                )
            )
    return report.table(head, lines)


def section(asked: report.Options, groups: Iterable[tuple[str, list[Measured]]]) -> str:
    """Return the section of the README."""
    return f"""## Variation of good parts

`teach` on drawn parts of which no two specimens are alike: highlights of a glossy part move by up
to 5 % of the width and differ by 40 % in size; the print of a label is displaced by 3 px, spreads
by 1.2 px and is 10 % paler; a perforated plate is brushed, and its holes are up to 5 px wider; a
plain part is brushed more coarsely, and a soft reflection wanders over a third of it. Shots have
{composed.WIDTH} px and differ as on the levels `still` and `shift` [above](#differences). Five good
shots, the reference among them, are compared with that reference alone at preset 1, on
{JUDGED} other good shots and {JUDGED} with one to three defects of each part. Parts of
each kind and level: {asked.pairs}.

{rows(groups)}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and publish."""
    asked = report.options("Accuracy of teach.", pairs=1, arguments=arguments)
    tasks = [
        Task(kind, level, number, asked)
        for kind in KINDS
        for level in LEVELS
        for number in range(asked.pairs)
    ]
    with multiprocessing.get_context("spawn").Pool(asked.jobs, _one_thread) as pool:
        several = []
        for one in pool.imap(measure, tasks):
            several.append(one)
            print(f"\r{len(several)}/{len(tasks)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    groups = [
        (f"{kind}, {level}", [m for m in several if (m.task.kind, m.task.level) == (kind, level)])
        for kind in KINDS
        for level in LEVELS
    ]
    text = section(asked, [*groups, ("all", several)])
    report.publish("variation", text, asked)


def _one_thread() -> None:
    cv2.setNumThreads(1)


if __name__ == "__main__":
    main()
