"""Many inspections: on this machine's processors or on a cluster, with results on disk.

>>> from ltu_compute.jobs.batch import run
>>> from ltu_compute.jobs.inspection import Options
>>> from ltu_compute.jobs.sources import Pair
>>> run([Pair("reference.jpg", "shot.jpg")], Options()).verdicts  # doctest: +SKIP
{<Verdict.OK: 'OK'>: 0, <Verdict.NG: 'NG'>: 1, <Verdict.ERROR: 'ERROR'>: 0}
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ltu_compute.image import Image
from ltu_compute.jobs import report
from ltu_compute.jobs.inspection import (
    Inspection,
    Inspector,
    Known,
    NotComputed,
    Options,
    Outcome,
    Source,
    Task,
    Verdict,
    failed,
    readable,
    record,
)
from ltu_compute.jobs.ledger import Ledger, Row
from ltu_compute.jobs.limits import limits_in_words
from ltu_compute.jobs.process import Failed, Pool
from ltu_compute.jobs.sources import Pair
from ltu_compute.operations import teaching

ANNOTATED, CLOSEUPS = "annotated", "closeups"  # folders of pictures
STEM_LENGTH = 60  # characters of a shot's name in the name of its pictures

Build = Callable[[], Callable[[Task], Outcome]]


class Engine(Protocol):
    """Computes tasks: processes on this machine, or a cluster."""

    def map(self, tasks: Iterator[Task]) -> Iterator[tuple[int, Outcome | Failed]]:
        """Yield the position and outcome of each task as it ends."""


@dataclass(frozen=True)
class Summary:
    """Result of a batch.

    Attributes
    ----------
    verdicts : mapping
        How many shots have each verdict, those of an earlier run included.
    kept : int
        How many results of an earlier run still held.
    seconds : float
        What the run took.
    """

    verdicts: Mapping[Verdict, int]
    kept: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many shots there were."""
        return sum(self.verdicts.values())

    @property
    def exit_status(self) -> int:
        """0: all OK, 1: some NG, 2: some ERROR."""
        if self.verdicts[Verdict.ERROR]:
            return 2
        return 1 if self.verdicts[Verdict.NG] else 0


@dataclass(frozen=True)
class Output:
    """Where the results of a batch go.

    Attributes
    ----------
    folder : Path
        Gets ``results.jsonl``, ``results.csv``, ``report.html`` and pictures.
    resume : bool
        Go on with the results that are there: only what is missing, or whose files changed.
    columns : tuple of str
        Further columns of the table, from `Pair.table`.
    on_full : callable
        Called when the disk is full, before each wait.
    """

    folder: Path
    resume: bool = False
    columns: tuple[str, ...] = ()
    on_full: Callable[[OSError], None] = field(default=lambda _: None)


def run(
    pairs: Collection[Pair],
    options: Options,
    *,
    region: str | None = None,
    reference: bytes | None = None,
    output: Output | None = None,
    processes: int | None = None,
    engine: AbstractContextManager[Engine] | None = None,
    on_row: Callable[[Row], None] = lambda _: None,
) -> Summary:
    """Inspect many shots.

    Parameters
    ----------
    pairs : collection of Pair
        What is inspected; iterated over twice at most, never copied.
    options : Options
        How shots are compared and judged.
    region : str, optional
        Mask of the references: where it is 0, nothing is compared.
    reference : bytes, optional
        File of the reference of all pairs, such as a recipe holds it. Default: each pair's is read.
    output : Output, optional
        Where results go. Default: only to `on_row`.
    processes : int, optional
        Worker processes. Default: one a processor.
    engine : context manager of Engine, optional
        What computes. Default: processes on this machine.
    on_row : callable
        Called with each result as it ends, as it is written: the fields of `Inspection`, and
        ``table``, ``annotated``, ``closeups``, ``options_sha256``, ``finished_at``.

    Returns
    -------
    Summary
        Broken, huge and missing files count as ERROR; they do not end the run.

    Raises
    ------
    ResultsExist, FolderInUse, NoResults, DiskFull
        See `ledger`.
    """
    started = time.monotonic()
    counts = dict.fromkeys(Verdict, 0)
    kept = 0
    ledger = None
    if output is not None:
        columns = map(readable, output.columns)
        ledger = Ledger(output.folder, columns, resume=output.resume, on_full=output.on_full)
    with ledger or nullcontext():
        if engine is None:
            most = min(processes or available_processors(), max(1, len(pairs)))
            engine = Pool(builder(options), most)
        earlier = _Earlier(ledger, options)
        mask = Source(region) if region is not None else None
        # Tasks are generated a few ahead of their outcomes; their pairs are needed until then.
        pending: dict[int, tuple[Pair, int]] = {}

        def tasks() -> Iterator[Task]:
            for position, pair in enumerate(pairs):
                offset, known = earlier.find(pair)
                pending[position] = pair, offset
                yield Task(Source(pair.reference, reference), Source(pair.shot), mask, known)

        with engine as computing:
            for position, outcome in computing.map(tasks()):
                pair, offset = pending.pop(position)
                if isinstance(outcome, Outcome) and outcome.inspection is None:
                    kept += 1
                    assert ledger is not None  # noqa: S101  (it has the earlier results)
                    ledger.keep(position, offset)
                    row = ledger.row(offset)
                else:
                    row = _row(pair, options, outcome, ledger)
                    if ledger is not None:
                        ledger.append(position, row)
                counts[Verdict(row["verdict"])] += 1
                on_row(row)
        summary = Summary(counts, kept, time.monotonic() - started)
        if ledger is not None:
            ledger.settle()
            report.write(
                ledger,
                about=limits_in_words(options.limits),
                tolerance=_shown_tolerance(options, reference),
            )
    return summary


def _shown_tolerance(options: Options, reference: bytes | None) -> bytes:
    """Return a picture of the learnt tolerance, b"" without one."""
    if options.tolerance is None or reference is None:
        return b""
    image = Image.from_bytes(reference, max_pixels=options.max_pixels, name="reference")
    return teaching.picture(teaching.loaded(options.tolerance), image)


def builder(options: Options) -> Build:
    """Return what builds an inspector in another process."""
    return partial(_inspect, options)


def _inspect(options: Options) -> Callable[[Task], Outcome]:
    return Inspector(options).inspect


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Earlier:
    """Results of an earlier run, by pair: where each is, and what it was made from."""

    def __init__(self, ledger: Ledger | None, options: Options) -> None:
        self._ledger = ledger
        self._offsets: dict[bytes, int] = {}
        if ledger is not None:
            for offset, row in ledger.rows():
                # By name only here; the files themselves are compared where they are read.
                if row.get("options_sha256") == options.digest:
                    self._offsets[_key(row["reference"], row["shot"])] = offset

    def find(self, pair: Pair) -> tuple[int, Known | None]:
        """Return where the result of a pair is, and the files it holds for; None: there is none."""
        offset = self._offsets.get(_key(pair.reference, pair.shot))
        if offset is None or self._ledger is None:
            return -1, None
        row = self._ledger.row(offset)
        pictures = [row[name] for name in (ANNOTATED, CLOSEUPS) if row.get(name)]
        if row.get("table") != _table(pair) or not all(
            (self._ledger.folder / picture).exists() for picture in pictures
        ):
            return -1, None
        return offset, Known(row["shot_sha256"], row["reference_sha256"], row["region_sha256"])


def _key(reference: str, shot: str) -> bytes:
    return hashlib.sha256(f"{readable(reference)}\0{readable(shot)}".encode()).digest()[:16]


def _row(
    pair: Pair, options: Options, outcome: Outcome | Failed, ledger: Ledger | None
) -> dict[str, Any]:
    if isinstance(outcome, Failed) or outcome.inspection is None:
        reason = outcome.reason if isinstance(outcome, Failed) else ""
        begun = Inspection(pair.shot, pair.reference, Verdict.ERROR)
        outcome = Outcome(failed(begun, reason, NotComputed.code))
    row = record(outcome.inspection) if outcome.inspection else {}
    named = {ANNOTATED: outcome.annotated, CLOSEUPS: outcome.closeups}
    file = f"{_file_stem(pair.shot)}-{_key(pair.reference, pair.shot).hex()[:10]}.jpg"
    for folder, content in named.items():
        row[folder] = None
        if content and ledger is not None:
            row[folder] = f"{folder}/{file}"
            ledger.write_file(row[folder], content)
    return row | {
        "table": _table(pair),
        "options_sha256": options.digest,
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _table(pair: Pair) -> dict[str, str]:
    return {readable(name): readable(value) for name, value in pair.table.items()}


def _file_stem(shot: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(shot.partition("?")[0]).stem).strip("-.")
    return stem[:STEM_LENGTH] or "shot"
