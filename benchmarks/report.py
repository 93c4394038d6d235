"""Where results go: each benchmark is one section of `benchmarks/README.md`.

A benchmark reads its `options`, measures, and calls `publish`, which tells the conditions, too.
Failures are shown as a `contact_sheet`.
"""

import argparse
import datetime as dt
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from benchmarks.accuracy.photographs import SOURCES, Set
from ltu_compute.kernels.types import Bgr, Size

README = Path(__file__).parent / "README.md"

TILE = Size(480, 320)
"""Room for a picture on a contact sheet, in px."""

_PREAMBLE = """# Benchmarks

Written by the benchmarks themselves (`--write`): each section by the module it names.
Thresholds were set on the photographs of the set `tuning`; the figures to trust are those of the
set `benchmark`, which shares none with it.
"""


@dataclass(frozen=True)
class Options:
    """What a benchmark is asked to do.

    Attributes
    ----------
    chosen : str
        The set of photographs: ``"tuning"`` or ``"benchmark"``.
    pairs : int
        How many pairs to measure; of each group, where a benchmark has groups.
    seed : int
        Everything random follows from it.
    jobs : int
        Processes at the same time; results do not depend on it.
    save : Path or None
        Folder for pictures of the failures.
    write : bool
        Whether the result goes into `benchmarks/README.md`, too.
    peers : bool
        Whether peers are measured on the same pairs.
    rows : tuple of str
        Which parts of the benchmark are run, where it has parts.
    """

    chosen: Set
    pairs: int
    seed: int
    jobs: int
    save: Path | None
    write: bool
    peers: bool
    rows: tuple[str, ...] = ()


def options(
    description: str,
    *,
    pairs: int = 60,
    seed: int = 2026,
    rows: Sequence[str] = (),
    arguments: Sequence[str] | None = None,
) -> Options:
    """Return what the command line asks for; `pairs` and `seed` are the defaults.

    Parameters
    ----------
    description : str
        What the benchmark measures, for ``--help``.
    pairs, seed : int
        Defaults.
    rows : sequence of str
        Parts that may be chosen with ``--rows``. Default: the benchmark has none.
    arguments : sequence of str, optional
        Read these instead of the command line.

    Raises
    ------
    SystemExit
        If the command line is wrong, with a message for its user.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--set", dest="chosen", choices=list(SOURCES), default="benchmark")
    parser.add_argument("--pairs", type=_positive, default=pairs, help="pairs to measure")
    parser.add_argument("--seed", type=int, default=seed, help="of everything random")
    parser.add_argument("--jobs", type=_positive, default=1, help="processes at the same time")
    parser.add_argument("--save", type=Path, help="folder for pictures of the failures")
    parser.add_argument("--write", action="store_true", help=f"write into {README.name}, too")
    parser.add_argument(
        "--without-peers", dest="peers", action="store_false", help="measure this project alone"
    )
    if rows:
        parser.add_argument(
            "--rows", nargs="+", choices=rows, default=list(rows), help="parts to measure"
        )
    given = parser.parse_args(arguments)
    chosen = tuple(given.rows) if rows else ()
    if given.write and set(chosen) != set(rows):
        parser.error("--write replaces the whole section: it takes all --rows")
    return Options(
        chosen=cast("Set", given.chosen),
        pairs=given.pairs,
        seed=given.seed,
        jobs=given.jobs,
        save=given.save,
        write=given.write,
        peers=given.peers,
        rows=chosen,
    )


def publish(
    name: str,
    text: str,
    options: Options,
    *,
    peers: Iterable[str] = (),
    versions: Mapping[str, str] | None = None,
    readme: Path = README,
) -> str:
    """Print a result with its conditions, and write it where that is asked for.

    Parameters
    ----------
    name : str
        Of the benchmark: that of its module.
    text : str
        Markdown; starts with a heading of the second level.
    options : Options
        How the benchmark was run.
    peers : iterable of str
        Installed Python packages that took part; their versions are listed.
    versions : mapping of str to str, optional
        What else took part, with its version.
    readme : Path
        The file to write to.

    Returns
    -------
    str
        The section.
    """
    heading, _, body = text.strip().partition("\n")
    section = f"{heading}\n\n{conditions(options, peers, versions or {})}\n\n{body.strip()}"
    print(section)
    if options.write:
        before = readme.read_text("utf-8") if readme.exists() else _PREAMBLE
        readme.write_text(with_section(before, name, section), "utf-8")
    return section


def conditions(options: Options, peers: Iterable[str], versions: Mapping[str, str]) -> str:
    """Tell when, on what, with which versions, photographs and seed a result came about."""
    software = {
        "Python": platform.python_version(),
        **{package: version(package) for package in ("opencv-python-headless", "numpy", *peers)},
        **versions,
    }
    return (
        f"{machine()}, jobs {options.jobs}; "
        + ", ".join(f"{package} {number}" for package, number in software.items())
        + f". Photographs `{options.chosen}`, pairs {options.pairs}, seed {options.seed}."
    )


def machine() -> str:
    """Tell when and on what a result came about."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return f"{today}, {os.cpu_count()} cores of {_processor()}"


def with_section(document: str, name: str, section: str) -> str:
    """Return a document with one section replaced, or added at its end.

    A section stands between the lines ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; what is
    outside of it stays as it is.

    Raises
    ------
    ValueError
        If the section's marks are not one begin and one end in this order.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{section.strip()}\n{end}"
    lines = document.splitlines()
    if begin not in lines and end not in lines:
        return f"{document.rstrip()}\n\n{block}\n".lstrip()
    if lines.count(begin) != 1 or lines.count(end) != 1 or lines.index(end) < lines.index(begin):
        raise ValueError(f"section {name!r} is not marked by one begin and one end")
    lines[lines.index(begin) : lines.index(end) + 1] = block.splitlines()
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; floats are shown with three decimals, nan as a dash.

    Raises
    ------
    ValueError
        If a row is longer or shorter than the head.
    """
    written = [tuple(_cell(value) for value in row) for row in rows]
    for row in written:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells under {len(head)} headings: {row}")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *written))


def contact_sheet(tiles: Sequence[tuple[str, Bgr]], columns: int = 4, tile: Size = TILE) -> Bgr:
    """Put pictures side by side, row by row, each with a line of text above it.

    Parameters
    ----------
    tiles : sequence of (str, ndarray of uint8 of shape (H, W, 3))
        Captions (ASCII: the font has no more) and pictures.
    columns : int
        Pictures in a row.
    tile : Size
        Room for each picture, in px; larger ones are reduced, none is enlarged.

    Returns
    -------
    ndarray of uint8, shape (rows * (tile.height + 20), columns * tile.width, 3)
        One row at least; grey where nothing is.
    """
    caption = 20
    rows = max(1, -(-len(tiles) // columns))
    sheet = np.full((rows * (tile.height + caption), columns * tile.width, 3), 96, np.uint8)
    for index, (text, picture) in enumerate(tiles):
        x = index % columns * tile.width
        y = index // columns * (tile.height + caption)
        height, width = picture.shape[:2]
        scale = min(1.0, tile.width / width, tile.height / height)
        reduced = cv2.resize(
            picture,
            (max(1, int(width * scale)), max(1, int(height * scale))),
            interpolation=cv2.INTER_AREA,
        )
        sheet[y + caption : y + caption + reduced.shape[0], x : x + reduced.shape[1]] = reduced
        line = sheet[y : y + caption, x : x + tile.width]
        line[:] = 255
        cv2.putText(line, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def save_contact_sheet(
    path: Path, tiles: Sequence[tuple[str, Bgr]], columns: int = 4, tile: Size = TILE
) -> None:
    """Write a contact sheet; the name's ending says the format, folders are made.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), contact_sheet(tiles, columns, tile)):
        raise OSError(f"{path} cannot be written")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "-" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def _processor() -> str:
    """Name of the processor, where the system tells."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", described.read_text("utf-8"), re.MULTILINE)
        if model:
            return model[1].strip()
    return platform.processor() or platform.machine()
