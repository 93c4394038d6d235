"""Results of a batch on disk: a line for each shot as it ends, in order when all have ended.

``results.jsonl`` is the truth and ``results.csv`` is made from it. A line is written at once and
whole lines only count, so that a killed process loses what it was computing and nothing else. In
the end both files are written anew in the order of the shots, and take the place of the old ones.
"""

import csv
import fcntl
import io
import os
import re
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from ltu_compute.errors import Busy, ServiceError

RESULTS, TABLE = "results.jsonl", "results.csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters of a spreadsheet's formula
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
NEW = ".new"  # suffix of a file until it is whole
COLUMNS = (
    "shot",
    "reference",
    "verdict",
    "reason",
    "count",
    "area_percent",
    "max_strength",
    "score",
    "displacement_px",
    "turn_degrees",
    "scale_percent",
    "seconds",
)
DIGITS = 6  # significant ones of numbers in the table
RETRY_S = 1.0  # seconds between attempts to write on a full disk
PATIENCE_S = 600.0  # seconds to wait while the disk is full
BLOCK = 1 << 20  # bytes read or written at a time
_NOWHERE = -1

Row = dict[str, Any]


class FolderInUse(Busy):
    """Another run writes into the same folder."""


class ResultsExist(ServiceError):
    """The folder has results already, and the run is not to resume them."""


class NoResults(ServiceError):
    """The file of results has another content."""


class DiskFull(ServiceError):
    """The disk was full for longer than `PATIENCE_S`."""


class Ledger:
    """The results of a batch in a folder.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    extra : sequence of str
        Columns of the table beside `COLUMNS`, taken from a row's ``table``.
    resume : bool
        Go on with the results that the folder has; False: it must not have any.
    on_full : callable, optional
        Called when the disk is full, before each wait.
    sleep : callable
        Waits for seconds.

    Raises
    ------
    ResultsExist, FolderInUse
        See there.
    """

    def __init__(
        self,
        folder: Path,
        extra: Iterable[str] = (),
        *,
        resume: bool = False,
        on_full: Callable[[OSError], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        self._columns = (*COLUMNS, *(name for name in extra if name not in COLUMNS))
        self._on_full, self._sleep = on_full, sleep
        self._offsets = array("q")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RESULTS
        if path.exists() and path.stat().st_size and not resume:
            raise ResultsExist(
                f"{path} has results; --resume goes on with them, another --out begins anew"
            )
        # Unbuffered: what was written is out of this process.
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise FolderInUse(f"{folder}: another run writes there") from None
        self._table = (folder / TABLE).open("w+b", buffering=0)
        try:
            self._cut_torn_line()
            self._write(self._table, self._line(None))
            for _, row in self.rows():
                self._write(self._table, self._line(row))
        except BaseException:
            self.close()
            raise

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield the offset and the row of every line, in the order of the file."""
        with (self.folder / RESULTS).open("rb") as file:
            offset = 0
            for number, line in enumerate(file, 1):
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError:
                    row = None
                if not isinstance(row, dict) or not row.keys() >= {"shot", "reference", "verdict"}:
                    raise NoResults(f"{self.folder / RESULTS}: line {number} is not a result")
                yield offset, row
                offset += len(line)

    def row(self, offset: int) -> Row:
        """Return the row at an offset."""
        with (self.folder / RESULTS).open("rb") as file:
            file.seek(offset)
            row: Row = orjson.loads(file.readline())
            return row

    def append(self, position: int, row: Row) -> None:
        """Write a result.

        Parameters
        ----------
        position : int
            Where it belongs in the end.
        row : dict
            Can be written as JSON.
        """
        offset = os.fstat(self._file.fileno()).st_size
        self._write(self._file, orjson.dumps(row) + b"\n")
        self._write(self._table, self._line(row))
        self.keep(position, offset)

    def keep(self, position: int, offset: int) -> None:
        """Use the line at an offset as the result at a position."""
        if position >= len(self._offsets):
            missing = position + 1 - len(self._offsets)
            self._offsets.extend(array("q", [_NOWHERE]) * missing)
        self._offsets[position] = offset

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file into the folder: whole, or not at all."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        aside = path.with_name(path.name + NEW)
        with aside.open("w+b", buffering=0) as file:
            self._write(file, content)
        aside.replace(path)

    def settle(self) -> None:
        """Write both files anew, in order, without what is out of date."""
        aside, table = self.folder / (RESULTS + NEW), self.folder / (TABLE + NEW)
        with (
            (self.folder / RESULTS).open("rb") as old,
            aside.open("w+b", buffering=0) as new,
            table.open("w+b", buffering=0) as new_table,
        ):
            lines, cells = bytearray(), bytearray(self._line(None))
            for offset in self._offsets:
                if offset != _NOWHERE:
                    old.seek(offset)
                    line = old.readline()
                    lines += line
                    cells += self._line(orjson.loads(line))
                if len(lines) > BLOCK:
                    self._write(new, lines)
                    self._write(new_table, cells)
                    lines, cells = bytearray(), bytearray()
            self._write(new, lines)
            self._write(new_table, cells)
            os.fsync(new.fileno())
            os.fsync(new_table.fileno())
        table.replace(self.folder / TABLE)
        aside.replace(self.folder / RESULTS)

    def close(self) -> None:
        """Close the files, and let others write into the folder."""
        self._table.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut_torn_line(self) -> None:
        """Cut off a line that a killed process, or a full disk, left unfinished."""
        size = os.fstat(self._file.fileno()).st_size
        end = size
        while end > 0:
            start = max(0, end - BLOCK)
            self._file.seek(start)
            at = self._file.read(end - start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)

    def _write(self, file: Any, content: bytes | bytearray) -> None:
        """Write all of it; on a full disk, wait and write again from the beginning."""
        waited = 0.0
        start = file.seek(0, os.SEEK_END)
        while True:
            try:
                written = 0
                while written < len(content):
                    written += file.write(content[written:])
            except OSError as error:
                if waited >= PATIENCE_S:
                    file.truncate(start)
                    raise DiskFull(f"{self.folder}: {error.strerror}") from error
                file.truncate(start)
                file.seek(start)
                self._on_full(error)
                self._sleep(RETRY_S)
                waited += RETRY_S
            else:
                return

    def _line(self, row: Row | None) -> bytes:
        """Return a line of the table; its head for None."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")  # as RFC 4180 has it
        if row is None:
            writer.writerow(map(_cell, self._columns))
        else:
            own = row.get("table") or {}
            writer.writerow(
                [_cell(row[name] if name in row else own.get(name)) for name in self._columns]
            )
        return text.getvalue().encode()


def _cell(value: Any) -> str:
    """Return a cell of the table; a text that a spreadsheet would compute gets an apostrophe.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text
