"""``ltu-compute teach``: make a recipe of several good shots."""

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ltu_compute.cli.limits import LIMITS, FiniteRange, limit_options, recipe_limits
from ltu_compute.cli.resources import Misuse
from ltu_compute.errors import NotInstalled, ServiceError
from ltu_compute.settings import Settings, load

if TYPE_CHECKING:
    from ltu_compute.image import Image
    from ltu_compute.jobs.recipe import Recipe
    from ltu_compute.kernels.differences.features import Network

FILE = click.Path(path_type=Path, dir_okay=False)

# Options that a recipe which is taught has an answer of its own to.
_OF_RECIPES = ("name", "preset", *LIMITS, "px_per_mm", "embed")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="SHOTS...")
@click.option("--out", type=FILE, required=True, help="The recipe's file.")
@click.option("--recipe", type=FILE, help="Recipe to teach: its reference, regions and settings.")
@click.option("--name", help="Default: that of the reference's file.")
@click.option("--preset", type=click.IntRange(1, 5), default=1, show_default=True)
@click.option(
    "--resolution", help="Longest side compared, px; full; auto. Default: that of `recipe make`."
)
@limit_options
@click.option("--px-per-mm", type=FiniteRange(0, min_open=True))
@click.option("--embed", is_flag=True, help="Put the reference into the recipe: one file for all.")
@click.option(
    "--keep-all", is_flag=True, help="Learn every shot, also one that differs from the others."
)
@click.option(
    "--features/--no-features",
    default=None,
    help="Whether to compare features of the model part-features, which every machine that "
    "inspects needs then, too. Default: if it is installed.",
)
@click.option("--map", "picture", type=FILE, help="File for a picture of what may differ (PNG).")
def teach(names: tuple[str, ...], **given: Any) -> None:
    """Learn from 2 to 50 good shots what may differ between good parts.

    \b
    ltu-compute teach good/ --out part.json                       a new recipe
    ltu-compute teach good/ --recipe part.json --out part.json    one with regions

    The most typical shot becomes the reference, unless --recipe has one. A shot that differs where
    no other one does is named and left out. Exit status: 0 when all shots were learnt, 1 when some
    were left out, 2 when nothing could be learnt.
    """  # noqa: D301  (click reads the character that \b stands for)
    from ltu_compute.jobs.sources import shots_of

    settings = load()
    try:
        shots = shots_of(list(names))
        if given["recipe"] is not None:
            status = _taught_again(shots, given, settings)
        else:
            status = _taught_anew(shots, given, settings)
    except ServiceError as error:
        raise Misuse(str(error)) from error
    except OSError as error:
        raise Misuse(f"{error.filename}: {error.strerror}") from error
    raise SystemExit(status)


def _taught_anew(shots: list[str], given: dict[str, Any], settings: Settings) -> int:
    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.operations import teaching

    resolution = given["resolution"]
    named: dict[str, Any] = {
        "version": recipes.VERSION,
        "name": given["name"] or "part",
        "reference": {"path": "reference", "sha256": "0" * 64},
        "settings": recipes.own_settings(given["preset"]),
        "limits": recipe_limits(given),
        "px_per_mm": given["px_per_mm"],
    }
    if resolution is not None:
        named["settings"]["resolution"] = int(resolution) if resolution.isdecimal() else resolution
    plan = recipes.of(named)
    found = teaching.teach(
        len(shots),
        lambda number: _image(shots[number], settings),
        plan.comparison_settings(),
        keep_all=given["keep_all"],
        network=_network(given["features"]),
    )
    if found.reference is None:
        raise AssertionError("no reference was chosen")
    chosen = Path(shots[found.reference])
    content = chosen.read_bytes()
    where: dict[str, str] = {"data": base64.b64encode(content).decode()}
    if not given["embed"]:
        where = {"path": os.path.relpath(chosen.resolve(), given["out"].resolve().parent)}
    named["reference"] = where | {"sha256": hashlib.sha256(content).hexdigest()}
    named["name"] = given["name"] or chosen.stem
    return _written(recipes.of(named), found, shots, given, _image(str(chosen), settings))


def _taught_again(shots: list[str], given: dict[str, Any], settings: Settings) -> int:
    from ltu_compute.image import Image
    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.operations import teaching

    context = click.get_current_context()
    asked = [
        f"--{name.replace('_', '-')}"
        for name in (*_OF_RECIPES, "resolution")
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if asked:
        raise click.UsageError(f"--recipe has its own: leave out {', '.join(asked)}")
    path: Path = given["recipe"]
    recipe = recipes.load(path).model_copy(update={"tolerance": None})
    source = recipes.reference_of(recipe, path.parent, settings.max_upload_bytes)
    reference = Image.from_bytes(
        source.content or b"", max_pixels=settings.max_pixels, name="reference"
    )
    found = teaching.teach(
        len(shots),
        lambda number: _image(shots[number], settings),
        recipe.comparison_settings(),
        reference=reference,
        keep_all=given["keep_all"],
        network=_network(given["features"]),
    )
    if recipe.reference.path is not None:
        whole = (path.parent / recipe.reference.path).resolve()
        moved = os.path.relpath(whole, given["out"].resolve().parent)
        named = recipe.reference.model_copy(update={"path": moved})
        recipe = recipe.model_copy(update={"reference": named})
    return _written(recipe, found, shots, given, reference)


def _written(
    recipe: "Recipe", found: Any, shots: list[str], given: dict[str, Any], reference: "Image"
) -> int:
    from ltu_compute.jobs import recipe as recipes
    from ltu_compute.operations import teaching

    given["out"].write_bytes(recipes.dumped(recipes.taught(recipe, found)))
    if given["picture"] is not None:
        given["picture"].write_bytes(teaching.picture(found.tolerance, reference))
    for number, reason in found.left_out:
        click.echo(f"left out {shots[number]}: {reason}", err=True)
    with_model = teaching.method_of(found.tolerance) == "specimens-4"
    ending = ", with the model part-features" if with_model else ""
    click.echo(
        f"{given['out']}: recipe {recipe.name!r}, taught by {found.good_shots} good shots{ending}"
    )
    return 1 if found.left_out else 0


def _network(wanted: bool | None) -> "Network | None":
    from ltu_compute.recognisers import part_features

    if wanted is False:
        return None
    found = part_features.installed()
    if wanted and found is None:
        raise NotInstalled(
            f"--features: the model {part_features.NAME} is not installed; run "
            f"`ltu-compute models install {part_features.NAME}`"
        )
    return found


def _image(name: str, settings: Settings) -> "Image":
    from ltu_compute.image import Image
    from ltu_compute.jobs.inspection import URL_SCHEMES, file_content

    if name.startswith(URL_SCHEMES):
        raise click.UsageError(f"{name}: good shots are files here")
    content = file_content(name, settings.max_upload_bytes, "shots")
    return Image.from_bytes(content, max_pixels=settings.max_pixels, name=name)
