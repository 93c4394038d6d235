"""Every operation as a command, made from its declaration."""

import base64
import json
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import orjson
from typing_extensions import is_typeddict

from ltu_compute.cli.group import folded
from ltu_compute.cli.summaries import summary
from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import ServiceError
from ltu_compute.image import Image
from ltu_compute.jobs import pictures
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.prepared_recipes import FoundRecipe, PreparedRecipe
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.kernels.types import Box
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import load
from ltu_compute.web.binding import Limits, bind, is_address, local_wire
from ltu_compute.web.dialect import Dialect, Exchange, Head
from ltu_compute.web.endpoint import Endpoint, ImageField

RECIPE = "recipe"  # a parameter that is a file here
RECIPE_FILE = "Recipe with reference, regions, settings and limits: name only the shot."
PICTURE = {"encoding", "format", "value"}  # the keys of a picture within a reply
AS_JSON = "Print the reply as JSON, as where the output is no terminal."
ANNOTATED = "File for the shot with a numbered box around each difference (JPEG)."
ANNOTATED_IMAGE = "image2"  # where the boxes belong
SAVE = "Folder for the pictures; the reply then names their files instead of holding them."


def _operation(dialect: Dialect, endpoint: Endpoint) -> click.Command:
    """Return an endpoint as a command that takes image files, or addresses, and its parameters."""

    def run(
        save: Path | None = None,
        annotated: Path | None = None,
        *,
        as_json: bool = False,
        **given: Any,
    ) -> None:
        sources = {image.name: given.pop(folded(image.name)) for image in endpoint.images}
        shelf = _shelf(endpoint, sources, given.get(RECIPE))
        named = {p.name: p.opts[0].lstrip("-") for p in click.get_current_context().command.params}
        values = {named[name]: [value] for name, value in given.items() if value is not None}
        body = _computed(dialect, endpoint, sources, values, shelf)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            body["result"] = _saved(body["result"], save, "")
        if annotated is not None:
            _annotate(sources[ANNOTATED_IMAGE], body, annotated)
        if as_json or not sys.stdout.isatty():
            click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        else:
            click.echo("\n".join(summary(endpoint.name, body)))

    text = f"{endpoint.summary}\n\n{endpoint.description}"
    return click.Command(endpoint.name, params=_options(endpoint), callback=run, help=text)


def _options(endpoint: Endpoint) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    for image in endpoint.images:
        if image.required:
            argument = click.Argument(
                [folded(image.name)], metavar=image.name.upper(), required=not _by_recipe(endpoint)
            )
            options.append(argument)
        else:
            names = [f"--{image.name}", f"--{image.name.replace('_', '-')}", folded(image.name)]
            options.append(click.Option(names, help=image.description, metavar="FILE"))
    properties = endpoint.params.model_json_schema().get("properties", {})
    for name, declared in properties.items():
        names = list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}", name]))
        meaning, default = declared.get("description", ""), declared.get("default", "")
        if default not in ("", None):
            meaning = f"{meaning} [default: {default}]"
        if name == RECIPE and _by_recipe(endpoint):
            options.append(click.Option(names, help=RECIPE_FILE, metavar="FILE"))
        else:
            options.append(click.Option(names, help=meaning, metavar="VALUE"))
    if _returns_pictures(endpoint.result):
        folder = click.Path(path_type=Path, file_okay=False)
        options.append(click.Option(["--save"], type=folder, help=SAVE))
    options.append(click.Option(["--json", "as_json"], is_flag=True, help=AS_JSON))
    if endpoint.name == "differences":
        file = click.Path(path_type=Path, dir_okay=False)
        options.append(click.Option(["--annotated"], type=file, help=ANNOTATED))
    return options


def _by_recipe(endpoint: Endpoint) -> bool:
    """Return whether an operation may be asked for by a recipe."""
    return RECIPE in {image.unless for image in endpoint.images if isinstance(image, ImageField)}


def _shelf(endpoint: Endpoint, sources: dict[str, str | None], file: str | None) -> RecipeShelf:
    """Return the recipe in a file; the only picture beside it is the shot, not the reference."""
    if not _by_recipe(endpoint):
        return RecipeShelf()
    first, second = (image.name for image in endpoint.images if image.required)
    if file is not None and sources[second] is None:
        sources[first], sources[second] = None, sources[first]
    for name in (first, second):
        if sources[name] is None and (name == second or file is None):
            raise click.UsageError(f"Missing argument '{name.upper()}'.")
    if file is None:
        return RecipeShelf()
    path, current = Path(file), load()
    try:
        recipe = recipes.load(path)
        source = recipes.reference_of(recipe, path.parent, current.max_upload_bytes)
        content = source.content or b""
        reference = Image.from_bytes(content, max_pixels=current.max_pixels, name=source.name)
        tolerance = recipes.tolerance_of(recipe, path.parent)
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    return RecipeShelf(file=FoundRecipe(PreparedRecipe.of(recipe, reference, tolerance), None))


def _annotate(shot: str | None, body: dict[str, Any], path: Path) -> None:
    """Write the shot with a numbered box around each difference."""
    if shot is None or shot == "-":
        raise click.UsageError(f"--annotated needs {ANNOTATED_IMAGE} as a file or an address")
    current = load()
    content = Fetcher(current).fetch(shot) if is_address(shot) else _content(shot)
    image = Image.from_bytes(content, max_pixels=current.max_pixels)
    boxes = [each["boundingBox"] for each in body["result"]["diffOnImage2"]]
    sides = ("x", "y", "width", "height")
    drawn = pictures.annotated(image, [Box(*(box[side] for side in sides)) for box in boxes])
    path.write_bytes(drawn)


def _returns_pictures(declared: Any) -> bool:
    """Return whether values of a type may contain a picture."""
    if is_typeddict(declared):
        fields = get_type_hints(declared)
        return fields.keys() == PICTURE or any(map(_returns_pictures, fields.values()))
    return any(map(_returns_pictures, get_args(declared)))


def _computed(
    dialect: Dialect,
    endpoint: Endpoint,
    sources: dict[str, str | None],
    values: dict[str, list[Any]],
    shelf: RecipeShelf,
) -> dict[str, Any]:
    """Return the reply of an operation, as the service would give it."""
    files = {}
    for name, source in sources.items():
        if source is None:
            continue
        if is_address(source):
            values[name] = [source]
        else:
            files[name] = _content(source)
    current = load()
    limits = Limits(current.max_upload_bytes, current.max_pixels, dialect.formats)
    wire = local_wire(values, files)
    bound = bind(endpoint, wire, fetch=Fetcher(current).fetch, limits=limits)
    exchange = Exchange(Head("POST", endpoint.path, {}), dialect, endpoint, wire)
    exchange.unused = bound.unused
    began = time.perf_counter()
    resources = {Recognisers: Recognisers.from_settings(current), RecipeShelf: shelf}
    result = endpoint.run(bound.images, bound.params, resources)
    exchange.seconds = time.perf_counter() - began
    body: dict[str, Any] = orjson.loads(dialect.answer(exchange, result).body)
    return body


def _saved(node: Any, folder: Path, path: str) -> Any:
    """Return a reply with the files of its pictures, which are written, in their places."""
    if isinstance(node, list):
        return [_saved(item, folder, f"{path}-{i}") for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if node.keys() == PICTURE:
        file = folder / f"{path.lstrip('-')}.{node['format'].rpartition('/')[2]}"
        file.write_bytes(base64.b64decode(node["value"]))
        return {"format": node["format"], "file": str(file)}
    parts = ((key, f"{path}-{key.replace(' ', '-')}", value) for key, value in node.items())
    return {key: _saved(value, folder, below) for key, below, value in parts}


def _content(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    if Path(source).is_dir():
        raise click.ClickException(
            f"{source} is a folder; `ltu-compute inspect` compares all pictures of one"
        )
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise click.ClickException(f"{source}: {error.strerror}") from None


@cache
def dialect_groups() -> dict[str, click.Group]:
    """Return a group of commands for each interface, by its name."""
    return {
        dialect.name: click.Group(
            dialect.name,
            commands={
                endpoint.name: _operation(dialect, endpoint)
                for endpoint in dialect.endpoints
                if _is_command(endpoint)
            },
            help=f"Operations of {dialect.title}, on files or addresses.",
        )
        for dialect in DIALECTS
        if any(map(_is_command, dialect.endpoints))
    }


def _is_command(endpoint: Endpoint) -> bool:
    """Return whether an endpoint needs nothing that only a running service has."""
    images = endpoint.images and all(isinstance(image, ImageField) for image in endpoint.images)
    named = "/" not in endpoint.name  # what is below another operation is no word of its own
    return bool(images) and named and set(endpoint.resources.values()) <= {Recognisers, RecipeShelf}


def short_forms() -> dict[str, click.Command]:
    """Return the operations of the first interface, which need no group."""
    return dict(next(iter(dialect_groups().values())).commands)
