"""Accuracy of `differences` on drawn parts, by HTTP: boards, print, mats, sensors, sizes, lamps.

Run as ``python -m benchmarks.accuracy.drawn --write``; `drawn_parts` draws the pairs. Every pair is
sent with preset 1 at 400 px (the vendor's default), at 900 px (its maximum), at full resolution and
with the default of the project's own interfaces.
A defect is found where a box touches it, widened by 3 px. A box is false where it touches none.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks import report
from benchmarks.accuracy.drawn_parts import Case, Defect, families
from ltu_compute.kernels.types import Box
from ltu_compute.settings import Settings
from tests.support.applications import application
from tests.support.client import Caller, token_of

RESOLUTIONS: tuple[int | str, ...] = (400, 900, "full", "auto")
_LIFETIME_S = 86_400  # s of the token: longer than any run
_PAD = 3  # px by which a defect's box is widened
_SIZES = ((2, 3), (4, 6), (7, 14))  # px, of the defects of boards


class Found(NamedTuple):
    """What was made of a pair: for each defect whether it was found, and false boxes."""

    defects: tuple[tuple[Defect, bool], ...]
    false: int


@contextmanager
def _caller() -> Iterator[Caller]:
    with (
        tempfile.TemporaryDirectory() as folder,
        application(
            Settings(data_dir=Path(folder), rate_limit="100000/minute", token_lifetime=_LIFETIME_S)
        ) as app,
    ):
        client = app.test_client()
        yield Caller(client, token_of(client))


def boxes(caller: Caller, case: Case, resolution: int | str) -> list[Box]:
    """Return the boxes on the reference of what the service reports."""
    form: dict[str, Any] = {
        "image1": (BytesIO(case.reference), "reference"),
        "image2": (BytesIO(case.shot), "shot"),
        "preset": "1",
        "fic_settings": json.dumps({"resolution": resolution}),
    }
    if case.region is not None:
        form["image1_roi"] = (BytesIO(case.region), "region")
    answer = caller.post("differences", data=form)
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")
    places = [each["boundingBox"] for each in answer.json["result"]["diffOnImage1"]]
    return [Box(p["x"], p["y"], p["width"], p["height"]) for p in places]


def judged(case: Case, found: Sequence[Box]) -> Found:
    """Judge the boxes that were reported on a pair."""
    truth = [_widened(defect.box) for defect in case.defects]
    hits = tuple(
        (defect, any(_touch(place, box) for box in found))
        for defect, place in zip(case.defects, truth, strict=True)
    )
    return Found(hits, sum(not any(_touch(place, box) for place in truth) for box in found))


def _widened(box: Box) -> Box:
    return Box(box.x - _PAD, box.y - _PAD, box.width + 2 * _PAD, box.height + 2 * _PAD)


def _touch(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


Rows = dict[str, dict[int | str, list[Found]]]


def measured(asked: report.Options) -> Rows:
    """Send every pair at every resolution; return what was found, by family and resolution."""
    rows: Rows = {}
    with _caller() as caller:
        for name, drawn in families(asked.chosen).items():
            if asked.rows and name not in asked.rows:
                continue
            row = rows.setdefault(name, {resolution: [] for resolution in RESOLUTIONS})
            for number, case in enumerate(drawn()):
                for resolution, several in row.items():
                    found = boxes(caller, case, resolution)
                    several.append(judged(case, found))
                    if asked.save is not None and resolution == "full":
                        _save(asked.save / f"{name}-{number}.jpg", case, found)
            print(_line(name, row), flush=True)
    return rows


def _save(path: Path, case: Case, found: Sequence[Box]) -> None:
    """Write both shots: defects in blue, boxes in red."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shots = [
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        for file in (case.reference, case.shot)
    ]
    for color, places in (
        ((255, 0, 0), [_widened(defect.box) for defect in case.defects]),
        ((0, 0, 255), found),
    ):
        for x, y, width, height in places:
            cv2.rectangle(shots[0], (x, y), (x + width, y + height), color, 1)
    cv2.imwrite(str(path), shots[0])
    cv2.imwrite(str(path.with_suffix(".shot.jpg")), shots[1])


def _line(name: str, row: dict[int | str, list[Found]]) -> tuple[object, ...]:
    """Return a row of the table: found and false boxes at each resolution."""
    cells: list[object] = []
    for several in row.values():
        hits = [hit for each in several for _, hit in each.defects]
        cells.append(f"{sum(hits)} of {len(hits)}" if hits else "–")
        cells.append(f"{sum(each.false for each in several)}")
    pairs = len(next(iter(row.values())))
    return (name, pairs, *cells)


def _of_boards(rows: Rows) -> list[tuple[object, ...]]:
    """Return found defects of boards at full resolution, by kind and size."""
    counts: dict[str, list[list[int]]] = defaultdict(lambda: [[0, 0] for _ in _SIZES])
    for name, row in rows.items():
        if "board" not in name and "joined" not in name and "laid anew" not in name:
            continue
        for defect, hit in (d for each in row["full"] for d in each.defects):
            for column, (low, high) in enumerate(_SIZES):
                if low <= defect.size <= high:
                    counts[defect.kind][column][0] += hit
                    counts[defect.kind][column][1] += 1
    return [
        (kind, *(f"{hit} of {there}" if there else "–" for hit, there in several))
        for kind, several in counts.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write them."""
    asked = report.options("drawn parts", rows=list(families("benchmark")), arguments=arguments)
    cv2.setNumThreads(1)
    rows = measured(asked)
    head = ["pairs shot twice", "pairs"]
    for resolution in RESOLUTIONS:
        shown = resolution if isinstance(resolution, str) else f"{resolution} px"
        head += [f"found, {shown}", "false boxes"]
    sizes = [f"{low} to {high} px" for low, high in _SIZES]
    report.publish(
        "drawn",
        "## Drawn parts\n\n"
        "Pairs drawn with exact truth, sent by HTTP with preset 1. `auto` is the default of the "
        "page, `inspect` and recipes. Rows without defects have only false boxes. The defects of "
        "boards measure 2 to 14 px; edges of tracks are up to 1 px "
        "elsewhere.\n\n"
        f"{report.table(head, (_line(*row) for row in rows.items()))}\n\n"
        "Defects of boards found at full resolution, by size:\n\n"
        f"{report.table(['kind', *sizes], _of_boards(rows))}\n",
        asked,
    )


if __name__ == "__main__":
    main()
