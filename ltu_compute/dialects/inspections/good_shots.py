"""Good shots of a stored recipe: add, list and delete them; teach the recipe by them."""

import base64
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.inspections.interface import iso_time
from ltu_compute.dialects.inspections.recipes import (
    NameParams,
    RecipeState,
    VersionParams,
    dialect,
    state,
    stripped,
)
from ltu_compute.errors import NotFound
from ltu_compute.image import Image
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.kinds import REFERENCE
from ltu_compute.operations import teaching
from ltu_compute.recognisers import part_features
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.recipes import GoodShot
from ltu_compute.web.dialect import Caller
from ltu_compute.web.endpoint import Flag, ImageField

Map = Annotated[
    str,
    Field(
        description="PNG as base64: the tolerance drawn on its reference. Red: may be lighter. "
        "Blue: darker. Green: of another chroma. Yellow: edges may be displaced. Magenta: "
        "specimens differ there."
    ),
]


class GoodShotParams(NameParams):
    """A good shot of a recipe."""

    id: str = Field(max_length=36, description="Id of the good shot.")


class TeachParams(NameParams):
    """See `teach`."""

    keep_all: Flag = Field(
        False, description="Learn every shot, also one that differs where no other one does."
    )


class GoodShotState(TypedDict):
    """A good shot that is stored."""

    id: str
    sha256: Annotated[str, Field(description="Of the picture, hexadecimal.")]
    bytes: Annotated[int, Field(description="Of the picture.")]
    created_at: Annotated[str, Field(description="ISO 8601, UTC.")]


class GoodShotList(TypedDict):
    """The good shots of a recipe, the first one first."""

    total: int
    good_shots: list[GoodShotState]


class LeftOutShot(TypedDict):
    """A good shot that was not learnt."""

    id: str
    reason: str


class TaughtRecipe(RecipeState):
    """The version of a recipe that was taught."""

    good_shots: Annotated[int, Field(description="Shots learnt, the reference among them.")]
    left_out: list[LeftOutShot]
    map: Map


class ToleranceState(TypedDict):
    """The tolerance of a recipe."""

    name: Annotated[str, Field(description="Of the recipe.")]
    version: Annotated[int, Field(description="Of the recipe.")]
    good_shots: Annotated[int, Field(description="Shots learnt, the reference among them.")]
    map: Map


@dialect.endpoint(
    "addGoodShot",
    paths=("/{name}/good-shots",),
    images=(ImageField("shot", "A shot of a good part."),),
    methods=("POST",),
    status=201,
)
def add_good_shot(shot: Image, params: NameParams, store: Store, caller: Caller) -> GoodShotState:
    """Add a good shot to a recipe.

    It changes nothing until the recipe is taught. A shot that is stored already is not stored
    again.
    """
    return _shot(store.recipes.add_good_shot(caller.account.id, params.name, shot.content))


@dialect.endpoint("goodShots", paths=("/{name}/good-shots",), methods=("GET",))
def good_shots(params: NameParams, store: Store, caller: Caller) -> GoodShotList:
    """List the good shots of a recipe."""
    found = store.recipes.good_shots(caller.account.id, params.name)
    return {"total": len(found), "good_shots": [_shot(each) for each in found]}


@dialect.endpoint("deleteGoodShot", paths=("/{name}/good-shots/{id}",), methods=("DELETE",))
def delete_good_shot(params: GoodShotParams, store: Store, caller: Caller) -> GoodShotList:
    """Delete a good shot of a recipe; return those that are left."""
    store.recipes.delete_good_shot(caller.account.id, params.name, params.id)
    found = store.recipes.good_shots(caller.account.id, params.name)
    return {"total": len(found), "good_shots": [_shot(each) for each in found]}


@dialect.endpoint("teach", paths=("/{name}/teach",), methods=("POST",), status=201, computes=True)
def teach(params: TeachParams, store: Store, caller: Caller, settings: Settings) -> TaughtRecipe:
    """Teach a recipe by its good shots: the next version, with a tolerance.

    The reference stays, and is a good shot, too. A shot that differs where no other one does is
    left out, with the reason. Where the model part-features is installed, specimens are compared by
    its features, too; shots are then inspected with it. 404 where the recipe was deleted or stored
    anew meanwhile.
    """
    account = caller.account.id
    current = store.recipes.get(account, params.name)
    recipe = recipes.parsed(current.text).model_copy(update={"tolerance": None})
    shots = store.recipes.good_shots(account, params.name)
    content = store.recipes.reference(current.id)
    reference = Image.from_bytes(content, max_pixels=settings.max_pixels, name=REFERENCE)

    def load(number: int) -> Image:
        picture = store.recipes.good_shot(account, params.name, shots[number].id)
        return Image.from_bytes(picture, max_pixels=settings.max_pixels, name="shot")

    found = teaching.teach(
        len(shots),
        load,
        recipe.comparison_settings(),
        reference=reference,
        keep_all=params.keep_all,
        network=part_features.installed(),
        most_seconds=teaching.MOST_SECONDS,
    )
    text = recipes.dumped(stripped(recipes.taught(recipe, found))).decode()
    learnt = teaching.dumped(found.tolerance)
    made = store.recipes.add(account, params.name, text, content, learnt, after=current.version)
    return {
        **state(made),
        "good_shots": found.good_shots,
        "left_out": [
            {"id": shots[number].id, "reason": reason} for number, reason in found.left_out
        ],
        "map": _drawn(learnt, reference),
    }


@dialect.endpoint("tolerance", paths=("/{name}/tolerance",), methods=("GET",), computes=True)
def tolerance(
    params: VersionParams, store: Store, caller: Caller, settings: Settings
) -> ToleranceState:
    """Return a picture of what good shots of a recipe may differ in."""
    found = store.recipes.get(caller.account.id, params.name, params.version)
    recipe, learnt = recipes.parsed(found.text), store.recipes.tolerance(found.id)
    if recipe.tolerance is None or learnt is None:
        raise NotFound(f"recipe {found.name!r} has no tolerance", parameter="name")
    content = store.recipes.reference(found.id)
    reference = Image.from_bytes(content, max_pixels=settings.max_pixels, name=REFERENCE)
    return {
        "name": found.name,
        "version": found.version,
        "good_shots": recipe.tolerance.good_shots,
        "map": _drawn(learnt, reference),
    }


def _drawn(learnt: bytes, reference: Image) -> str:
    return base64.b64encode(teaching.picture(teaching.loaded(learnt), reference)).decode()


def _shot(found: GoodShot) -> GoodShotState:
    return {
        "id": found.id,
        "sha256": found.sha256,
        "bytes": found.bytes,
        "created_at": iso_time(found.created_at),
    }
