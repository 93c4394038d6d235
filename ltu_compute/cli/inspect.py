"""``ltu-compute inspect``: many shots, a verdict for each."""

import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ltu_compute.cli.limits import LIMITS, limit_options
from ltu_compute.cli.resources import Misuse
from ltu_compute.errors import ServiceError
from ltu_compute.settings import Settings, load

if TYPE_CHECKING:
    from ltu_compute.jobs.batch import Summary
    from ltu_compute.jobs.inspection import Options
    from ltu_compute.jobs.sources import Pair

INTERRUPTED = 128 + signal.SIGINT
CHECKED = 1000  # pairs that --dry-run prints at most


@click.command()
@click.argument("names", nargs=-1, metavar="[REFERENCE] [SHOTS]...")
@click.option("--pairs", is_flag=True, help="Two folders: references and shots, paired by name.")
@click.option(
    "--table",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file with the columns reference and shot: paths, relative to the file, or URLs. "
    "Other columns go through to the results.",
)
@click.option("--preset", type=click.IntRange(1, 5), default=1, show_default=True)
@click.option(
    "--fic-settings",
    metavar="JSON",
    help="Settings that override the preset's. Preset 1 has the resolution auto here.",
)
@click.option("--region", metavar="FILE", help="Mask of the reference: 0 is not compared.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Recipe with reference, regions, settings and limits: name only shots.",
)
@limit_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for results.csv, results.jsonl, report.html and pictures.",
)
@click.option("--resume", is_flag=True, help="Do only what --out lacks, or whose files changed.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. Default: one a processor.")
@click.option("--dask", metavar="ADDRESS", help="Compute on a Dask cluster: tcp://HOST:8786.")
@click.option("--dry-run", is_flag=True, help="List what would be inspected, and stop.")
@click.option("--quiet", is_flag=True, help="No progress bar, and no line for each bad shot.")
def inspect(names: tuple[str, ...], **given: Any) -> None:
    """Compare many shots with their references, and give a verdict for each.

    \b
    ltu-compute inspect reference.jpg shots/           folders, files, patterns
    ltu-compute inspect --pairs references/ shots/     two folders, by name
    ltu-compute inspect --table pairs.csv              columns reference, shot
    ltu-compute inspect --recipe recipe.json shots/    its reference and limits

    A shot is OK, NG (beyond a limit) or ERROR (could not be compared). Exit status: 0 when all
    are OK, 1 when some are NG, 2 when some are ERROR or the command is wrong.
    """  # noqa: D301  (click reads the character that \b stands for)
    from ltu_compute.jobs.sources import Table

    try:
        if given["recipe"] is not None:
            found, options, given["content"] = _by_recipe(names, given["recipe"], load())
        else:
            found = _pairs(names, by_name=given["pairs"], table=given["table"])
            options = _options(given, load())
        region = _region(given["region"])
        if given["dry_run"]:
            _list(found, options)
            return
        if given["resume"] and given["out"] is None:
            raise click.UsageError("--resume needs --out, the folder to go on with")
        columns = found.columns if isinstance(found, Table) else ()
        summary = _run(found, options, columns, region, given)
    except ServiceError as error:
        raise Misuse(str(error)) from error
    raise SystemExit(summary.exit_status)


def _pairs(names: tuple[str, ...], *, by_name: bool, table: Path | None) -> "Collection[Pair]":
    from ltu_compute.jobs.inspection import is_folder
    from ltu_compute.jobs.sources import Pair, Table, pairs_by_name, shots_of

    if table is not None:
        if names or by_name:
            raise click.UsageError("--table has the pairs: name no reference, shots or --pairs")
        return Table(table)
    if by_name:
        if len(names) != 2:
            raise click.UsageError("--pairs takes two folders: references and shots")
        return pairs_by_name(*names)
    if len(names) < 2:
        raise click.UsageError("name a reference and the shots, or use --pairs or --table")
    reference, *shots = names
    if is_folder(reference):
        raise click.UsageError(f"{reference} is a folder; with two folders, use --pairs")
    return [Pair(reference, shot) for shot in shots_of(shots)]


# Options that a recipe has an answer of its own to.
_OF_RECIPES = (
    "pairs",
    "table",
    "preset",
    "fic_settings",
    "region",
    *LIMITS,
)


def _by_recipe(
    names: tuple[str, ...], path: Path, settings: Settings
) -> "tuple[Collection[Pair], Options, bytes | None]":
    """Return shots, options and the reference of a recipe."""
    from ltu_compute.image import Image
    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.jobs.inspection import Options
    from ltu_compute.jobs.sources import Pair, shots_of

    context = click.get_current_context()
    given = [
        f"--{name.replace('_', '-')}"
        for name in _OF_RECIPES
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(f"--recipe has its own: leave out {', '.join(given)}")
    if not names:
        raise click.UsageError("name the shots; the recipe has the reference")
    recipe = recipes.load(path)
    reference = recipes.reference_of(recipe, path.parent, settings.max_upload_bytes)
    content = reference.content or b""
    image = Image.from_bytes(content, max_pixels=settings.max_pixels, name="reference")
    options = Options(
        recipe.comparison_settings(),
        recipe.judging(image),
        settings.max_upload_bytes,
        settings.max_pixels,
        recipes.tolerance_of(recipe, path.parent),
    )
    return [Pair(reference.name, shot) for shot in shots_of(names)], options, content


def _options(given: Mapping[str, Any], settings: Settings) -> "Options":
    from pydantic import ValidationError

    from ltu_compute.dialects.ltu.differences import DifferencesParams
    from ltu_compute.jobs.inspection import Options
    from ltu_compute.jobs.limits import Limits, PlacementLimits
    from ltu_compute.kernels.differences import OWN_PRESETS

    named: dict[str, Any] = {"preset": given["preset"]}
    if given["fic_settings"] is not None:
        named["fic_settings"] = given["fic_settings"]
    try:
        params = DifferencesParams.model_validate(named)
        compared = params.settings()
        if "resolution" not in params.fic_settings.model_fields_set:
            compared = replace(compared, resolution=OWN_PRESETS[params.preset].resolution)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        raise click.UsageError(f"--fic-settings: {where}: {wrong['msg']}") from None
    if params.unknown_names:
        unknown = ", ".join(params.unknown_names)
        raise click.UsageError(f"--fic-settings: {unknown}: no such setting")
    area, strength = given["max_area"], given["max_strength"]
    count = given["max_count"]
    if count is None and area is None and strength is None:
        count = 0
    placement = PlacementLimits(given["max_displacement"], given["max_turn"], given["max_scale"])
    limits = Limits(count, area, strength, placement=placement)
    return Options(compared, limits, settings.max_upload_bytes, settings.max_pixels)


def _region(name: str | None) -> str | None:
    from ltu_compute.jobs.inspection import URL_SCHEMES

    if name is not None and not name.startswith(URL_SCHEMES) and not Path(name).is_file():
        raise click.UsageError(f"--region: {name} is not a file")
    return name


def _list(pairs: "Collection[Pair]", options: "Options") -> None:
    from ltu_compute.jobs.limits import limits_in_words

    for number, pair in enumerate(pairs):
        if number == CHECKED:
            click.echo(f"… and {len(pairs) - CHECKED} more")
            break
        click.echo(f"{pair.shot}\tagainst {pair.reference}")
    click.echo(f"{len(pairs)} shots. {limits_in_words(options.limits)}", err=True)


def _run(
    pairs: "Collection[Pair]",
    options: "Options",
    columns: tuple[str, ...],
    region: str | None,
    given: Mapping[str, Any],
) -> "Summary":
    from ltu_compute.jobs.batch import Output, run
    from ltu_compute.jobs.report import NAME

    quiet, out = bool(given["quiet"]), given["out"]
    engine = None
    if given["dask"]:
        from ltu_compute.jobs.cluster import Cluster

        engine = Cluster(given["dask"], options)
    with _progress(len(pairs), quiet=quiet) as (say, advance):

        def on_row(row: Mapping[str, Any]) -> None:
            if row["verdict"] != "OK" and not quiet:
                say(f"{row['verdict']:5} {row['shot']}: {row['reason']}")
            advance(row["verdict"])

        output = None
        if out is not None:
            full = f"{out}: the disk is full; waiting for room"
            output = Output(out, bool(given["resume"]), columns, lambda _: say(full))
        try:
            with _interruptible():
                summary = run(
                    pairs,
                    options,
                    region=region,
                    reference=given.get("content"),
                    output=output,
                    processes=given["jobs"],
                    engine=engine,
                    on_row=on_row,
                )
        except KeyboardInterrupt:
            again = "; --resume goes on" if out is not None else ""
            say(f"stopped{again}")
            raise SystemExit(INTERRUPTED) from None
    counts = {str(verdict): number for verdict, number in summary.verdicts.items()}
    kept = f", {summary.kept} from before" if summary.kept else ""
    rate = (summary.total - summary.kept) / max(summary.seconds, 1e-3)
    click.echo(
        f"{summary.total} shots: {counts['OK']} OK, {counts['NG']} NG, {counts['ERROR']} ERROR"
        f"{kept}; {summary.seconds:.1f} s, {rate:.1f} a second"
    )
    if out is not None:
        click.echo(f"report: {out / NAME}")
    return summary


@contextmanager
def _interruptible() -> Iterator[None]:
    """Stop on SIGTERM as on Ctrl-C: the processes are ended, and the folder is left usable."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(
    total: int, *, quiet: bool
) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Yield what prints a line and what counts a shot; a bar on a terminal, else lines only."""
    if quiet or not sys.stderr.isatty():
        yield (lambda text: click.echo(text, err=True)), (lambda _: None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bad]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, bad="", rate="")
        bad = {"NG": 0, "ERROR": 0}

        def advance(verdict: str) -> None:
            if verdict in bad:
                bad[verdict] += 1
            words = "  ".join(f"{number} {name}" for name, number in bad.items() if number)
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, bad=words, rate=f"{speed:.1f}/s" if speed else "")

        yield (lambda text: bar.console.print(text, markup=False, highlight=False)), advance
