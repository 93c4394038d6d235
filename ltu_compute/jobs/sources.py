"""Sources of a batch: a folder, a pattern, two folders by name, or a table."""

import csv
import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ltu_compute.errors import BadParameters, Problem
from ltu_compute.jobs.inspection import URL_SCHEMES, is_folder

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".gif"}
# Other pictures: named as errors rather than passed over without a word.
UNREADABLE_SUFFIXES = {".bmp", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2"}


@dataclass(frozen=True)
class Pair:
    """A shot and the reference that it is compared with: paths or addresses.

    Attributes
    ----------
    table : mapping
        Further columns, which go through to the results.
    """

    reference: str
    shot: str
    table: Mapping[str, str] = field(default_factory=dict)


def shots_of(names: Sequence[str]) -> list[str]:
    """Return the shots of names: files, addresses, folders (with their files) or patterns.

    Raises
    ------
    BadParameters
        Where a folder or a pattern holds no picture.
    """
    found: list[str] = []
    for name in names:
        if name.startswith(URL_SCHEMES):
            found.append(name)
        elif is_folder(name):
            found += _in_folder(name)
        elif glob.has_magic(name) and not Path(name).exists():
            matches = sorted(path for path in _matches(name) if _is_picture(path))
            if not matches:
                raise _missing("shots", f"no picture matches {name}")
            found += matches
        else:
            found.append(name)
    return found


def pairs_by_name(references: str, shots: str) -> list[Pair]:
    """Return the pictures of two folders that have the same path in them, whatever their suffix.

    A shot without a reference is paired with the path that its reference would have, so that it
    is reported as an error.

    Raises
    ------
    BadParameters
        Where one is no folder, or has no picture.
    """
    for name, folder in (("references", references), ("shots", shots)):
        if not is_folder(folder):
            raise _missing(name, f"{folder} is not a folder")
    by_stem: dict[str, str] = {}
    for path in _in_folder(references):
        by_stem.setdefault(_stem(path, references), path)
    return [
        Pair(
            by_stem.get(_stem(shot, shots), str(Path(references) / Path(shot).relative_to(shots))),
            shot,
        )
        for shot in _in_folder(shots)
    ]


class Table(Collection[Pair]):
    """The pairs that a CSV file lists; it is read anew each time, line by line.

    Parameters
    ----------
    path : Path
        A file in UTF-8 with a header that has the columns ``reference`` and ``shot``. Paths are
        relative to its folder.

    Raises
    ------
    BadParameters
        Without these columns, or without a line below them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            header = next(csv.reader(file), [])
        self.columns = tuple(name for name in header if name not in {"reference", "shot"})
        for name in ("reference", "shot"):
            if name not in header:
                raise _missing("table", f"{path}: its header has no column {name!r}")
        self._count = sum(1 for _ in self)
        if not self._count:
            raise _missing("table", f"{path}: no pairs")

    def __contains__(self, pair: object) -> bool:
        return any(pair == each for each in self)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Pair]:
        with self._open() as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                reference, shot = row.get("reference"), row.get("shot")
                if not reference or not shot:
                    raise _missing("table", f"{self._path}: row {number} lacks reference or shot")
                own = {name: row.get(name) or "" for name in self.columns}
                yield Pair(self._resolved(reference), self._resolved(shot), own)

    def _resolved(self, name: str) -> str:
        if name.startswith(URL_SCHEMES):
            return name
        return os.path.normpath(self._path.parent / name)

    def _open(self) -> TextIO:
        try:
            return self._path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")
        except OSError as error:
            raise _missing("table", f"{self._path}: {error.strerror}") from None


def _matches(pattern: str) -> list[str]:
    # Not Path.glob: a pattern may be absolute, or begin with "..".
    return glob.glob(pattern, recursive=True)  # noqa: PTH207


def _in_folder(folder: str) -> list[str]:
    found = sorted(
        str(Path(parent) / name)
        for parent, _, names in os.walk(folder)
        for name in names
        if _is_picture(name) and not name.startswith(".")
        if not any(part.startswith(".") for part in Path(parent).relative_to(folder).parts)
    )
    if not found:
        raise _missing("shots", f"{folder} has no pictures")
    return found


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES | UNREADABLE_SUFFIXES


def _stem(path: str, folder: str) -> str:
    return str(Path(path).relative_to(folder).with_suffix(""))


def _missing(parameter: str, message: str) -> BadParameters:
    return BadParameters(Problem(parameter, f"{parameter}: {message}"))
