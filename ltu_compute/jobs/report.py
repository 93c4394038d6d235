"""The report of a batch: one file that opens without a network.

The results are written into it as they are read, a line each, and the page draws only the rows
that are in view. Close-ups are embedded for the worst shots as far as `EMBEDDED_BYTES` goes; those
of the others are files beside the report.
"""

import base64
import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ltu_compute.jobs.inspection import Verdict
from ltu_compute.jobs.ledger import NEW, Ledger, Row
from ltu_compute.jobs.limits import Placement
from ltu_compute.jobs.pictures import MAX_CLOSEUPS
from ltu_compute.store.job_records import Job
from ltu_compute.store.jobs import Jobs

NAME = "report.html"
EMBEDDED_BYTES = 12 << 20  # of close-ups as base64: a file that still opens at once
MOST_EMBEDDED = 4000  # shots with close-ups in the file
INSIDE = "#"  # name of close-ups that are no file: in the report, or nowhere
PAGE = 500  # results of a job that are read at a time
PAGE_BYTES = 8 << 20  # of them together
ORDER = (Verdict.NG, Verdict.ERROR, Verdict.OK)  # as the page numbers verdicts


class _Closeups(NamedTuple):
    """Close-ups that may be embedded; the largest are the worst."""

    score: float
    number: int
    file: str


def write(ledger: Ledger, *, about: str = "", tolerance: bytes = b"") -> Path:
    """Write the report of the results in a ledger's folder, and return its path.

    Parameters
    ----------
    ledger : Ledger
        Settled: its results are in order.
    about : str
        The limits, in words.
    tolerance : bytes
        PNG that shows a learnt tolerance; b"" for none.
    """

    def closeups(_: int, row: Row) -> bytes:
        file = ledger.folder / row["closeups"]
        return file.read_bytes() if file.exists() else b""

    path = ledger.folder / NAME
    aside = path.with_name(NAME + NEW)
    with aside.open("wb") as file:
        file.writelines(
            _report(lambda: (row for _, row in ledger.rows()), about, closeups, tolerance)
        )
    aside.replace(path)
    return path


def of_job(jobs: Jobs, job: Job, *, about: str = "", tolerance: bytes = b"") -> bytes:
    """Return the report of the results that a job has so far.

    Parameters
    ----------
    jobs : Jobs
        The queue.
    job : Job
        An inspection.
    about : str
        The limits, in words.
    tolerance : bytes
        PNG that shows a learnt tolerance; b"" for none.
    """
    positions: list[int] = []

    def rows() -> Iterator[Row]:
        positions.clear()
        while found := jobs.results(
            job.id, offset=len(positions), limit=PAGE, most_bytes=PAGE_BYTES
        ):
            for each in found:
                positions.append(each.position)
                row: Row = orjson.loads(each.content)
                embedded = row["verdict"] == Verdict.NG
                yield row | {"closeups": INSIDE if embedded else None}

    def closeups(number: int, _: Row) -> bytes:
        return jobs.attachment(job.id, positions[number]) or b""

    return b"".join(_report(rows, about, closeups, tolerance))


def _report(
    rows: Callable[[], Iterable[Row]],
    about: str,
    closeups: Callable[[int, Row], bytes],
    tolerance: bytes = b"",
) -> Iterator[bytes]:
    """Yield the report piece by piece.

    Parameters
    ----------
    rows : callable
        Returns the results; called twice.
    about : str
        The limits, in words.
    closeups : callable
        Number and result to the close-ups; b"" where there are none.
    tolerance : bytes
        PNG that shows a learnt tolerance; b"" for none.
    """
    template = resources.files("ltu_compute.jobs").joinpath("report.html").read_text("utf-8")
    head, rest = template.split("{{about}}")
    middle, rest = rest.split("{{rows}}")
    after, tail = rest.split("{{closeups}}")
    references: dict[str, int] = {}
    columns: dict[str, None] = {}
    worst: list[_Closeups] = []
    for number, row in enumerate(rows()):
        references.setdefault(row["reference"], len(references))
        columns.update(dict.fromkeys(row.get("table") or {}))
        if row.get("closeups"):
            score = math.inf if row["score"] is None else row["score"]
            found = _Closeups(score, -number, row["closeups"])
            if len(worst) < MOST_EMBEDDED:
                heapq.heappush(worst, found)
            else:
                heapq.heappushpop(worst, found)
    named = {
        "when": datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        "limits": about,
        "references": list(references),
        "columns": list(columns),
        "tolerance": base64.b64encode(tolerance).decode(),
    }
    yield head.encode() + _in_script(named) + middle.encode()
    yield from _lines(rows(), references, tuple(columns))
    yield after.encode()
    room = EMBEDDED_BYTES
    for each in sorted(worst, reverse=True):
        content = base64.b64encode(closeups(-each.number, {"closeups": each.file}))
        room -= len(content)
        if room < 0:
            break
        if content:
            yield b'<script type="text/plain" id="c%d">%b</script>\n' % (-each.number, content)
    yield tail.encode()


def _lines(
    rows: Iterable[Row], references: dict[str, int], columns: tuple[str, ...]
) -> Iterator[bytes]:
    separator = b"[\n"
    for number, row in enumerate(rows):
        table = row.get("table") or {}
        found = [
            [_rounded(each["area_percent"]), _rounded(each["strength"])]
            for each in row["differences"][:MAX_CLOSEUPS]
        ] or [[None, None]]  # no difference to show: the whole pictures
        closeups = row.get("closeups")
        yield separator + _in_script(
            [
                ORDER.index(Verdict(row["verdict"])),
                row["shot"],
                references[row["reference"]],
                row["count"],
                _rounded(row["area_percent"]),
                _rounded(row["max_strength"]),
                _rounded(row["score"]),
                row["seconds"],
                row["reason"],
                [number, closeups] if closeups else None,
                row.get("annotated"),
                found if closeups else [],
                [table.get(name, "") for name in columns],
                [_rounded(row.get(name)) for name in Placement._fields],
            ]
        )
        separator = b",\n"
    yield b"\n]" if separator == b",\n" else b"[]"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _in_script(value: Any) -> bytes:
    """Return JSON that ends no script element and begins no comment in HTML."""
    return orjson.dumps(value).replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
