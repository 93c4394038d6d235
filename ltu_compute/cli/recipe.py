"""``ltu-compute recipe``: make, check and show recipes."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ltu_compute.cli.limits import FiniteRange, limit_options, recipe_limits
from ltu_compute.errors import ServiceError
from ltu_compute.operations.choices import FOUND_BY, MASK_ALGORITHM, MaskAlgorithm
from ltu_compute.settings import load

if TYPE_CHECKING:
    from ltu_compute.image import Image
    from ltu_compute.jobs.recipe import Recipe

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def recipe() -> None:
    """Recipes: reference, regions, settings and limits of a part, in one file."""


@recipe.command()
@click.argument("reference", type=FILE)
@click.option("--out", type=FILE, required=True, help="The recipe's file.")
@click.option("--name", help="Default: that of the reference's file.")
@click.option("--preset", type=click.IntRange(1, 5), default=1, show_default=True)
@limit_options
@click.option("--px-per-mm", type=FiniteRange(0, min_open=True))
@click.option(
    "--object",
    "of_object",
    is_flag=True,
    help="Compare the part only: a region around the object is found, and can be edited.",
)
@click.option(
    "--object-by",
    type=click.Choice(get_args(MaskAlgorithm)),
    help=f"{FOUND_BY} Default: {MASK_ALGORITHM}.",
)
@click.option("--embed", is_flag=True, help="Put the picture into the recipe: one file for all.")
def make(reference: Path, out: Path, **given: Any) -> None:
    """Make a recipe for a reference picture."""
    import base64

    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.jobs.inspection import file_content

    if given["object_by"] and not given["of_object"]:
        raise click.UsageError("--object-by needs --object")
    settings = load()
    try:
        content = file_content(str(reference), settings.max_upload_bytes, "reference")
        image = _image(content, str(reference))
        regions = []
        if given["of_object"]:
            by = [given["object_by"]] if given["object_by"] else []
            regions.append(recipes.object_region(image, *by).model_dump())
        where: dict[str, str] = {"data": base64.b64encode(content).decode()}
        if not given["embed"]:
            where = {"path": os.path.relpath(reference.resolve(), out.resolve().parent)}
        made = recipes.of(
            {
                "version": recipes.VERSION,
                "name": given["name"] or reference.stem,
                "reference": where | {"sha256": hashlib.sha256(content).hexdigest()},
                "settings": recipes.own_settings(given["preset"]),
                "regions": regions,
                "limits": recipe_limits(given),
                "px_per_mm": given["px_per_mm"],
            }
        )
        out.write_bytes(recipes.dumped(made))
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from error
    click.echo(f"{out}: recipe {made.name!r}")


@recipe.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check a recipe and its reference picture; exit status 1 where something is wrong."""
    found, image = _loaded(file)
    width, height = image.size
    outside = [
        region.name
        for region in found.regions
        if not all(0 <= x <= width and 0 <= y <= height for x, y in region.polygon)
    ]
    if outside:
        names = ", ".join(map(repr, outside))
        raise click.ClickException(
            f"{file}: regions: {names} reach beyond the reference, {width} x {height} px"
        )
    click.echo(f"{file}: a valid recipe")


@recipe.command()
@click.argument("file", type=FILE)
@click.option("--map", "picture", type=FILE, help="File for a picture of its tolerance (PNG).")
def show(file: Path, picture: Path | None) -> None:
    """Say in a few lines what a recipe does."""
    from ltu_compute.jobs.limits import limits_in_words

    found, image = _loaded(file)
    limits = found.judging(image)
    where = found.reference.path or "in the recipe"
    given = found.settings.model_dump(exclude_none=True)
    lines = [
        f"{found.name} (format {found.version})",
        f"reference  {where}, {image.width} x {image.height} px, {found.reference.sha256[:12]}…",
        "settings   " + ", ".join(f"{name} {value}" for name, value in given.items()),
        f"limits     {limits_in_words(limits)}",
    ]
    if limits.mm2 is not None:
        lines.append(f"scale      {found.px_per_mm:g} px per mm, {limits.mm2:.4g} mm² in all")
    if found.tolerance is not None:
        needed = ", with the model part-features" * (found.tolerance.method == "specimens-4")
        lines.append(f"tolerance  taught by {found.tolerance.good_shots} good shots{needed}")
    if picture is not None:
        _draw(found, file, image, picture)
    for region in found.regions:
        own = next((each for each in limits.regions if each.name == region.name), None)
        words = "" if own is None else f": {_own(own, limits.mm2)}"
        lines.append(f"region     {region.name}, {region.use}, {len(region.polygon)} points{words}")
    click.echo("\n".join(lines))


def _draw(found: "Recipe", file: Path, reference: "Image", picture: Path) -> None:
    """Write a picture of a recipe's tolerance."""
    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.operations import teaching

    content = recipes.tolerance_of(found, file.parent)
    if content is None:
        raise click.ClickException(f"{file}: the recipe has no tolerance; see ltu-compute teach")
    try:
        picture.write_bytes(teaching.picture(teaching.loaded(content), reference))
    except OSError as error:
        raise click.ClickException(f"{picture}: {error.strerror}") from error


@recipe.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the format."""
    import json

    from ltu_compute.jobs.recipe import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


def _own(own: Any, mm2: float | None) -> str:
    from ltu_compute.jobs.limits import Limits, limits_in_words

    return limits_in_words(Limits(own.count, own.area_percent, own.strength, mm2=mm2))


def _loaded(file: Path) -> "tuple[Recipe, Image]":
    from ltu_compute.jobs import recipe as recipes

    settings = load()
    try:
        found = recipes.load(file)
        source = recipes.reference_of(found, file.parent, settings.max_upload_bytes)
        recipes.tolerance_of(found, file.parent)
        return found, _image(source.content or b"", source.name)
    except ServiceError as error:
        raise click.ClickException("\n".join(p.message for p in error.problems)) from error


def _image(content: bytes, name: str) -> "Image":
    from ltu_compute.image import Image

    return Image.from_bytes(content, max_pixels=load().max_pixels, name=name)
