"""Recipes that live in the service: store, list, version, delete; inspect a shot by one."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.inspections.interface import (
    Displacement,
    InspectionsDialect,
    Scale,
    ShotDifference,
    Turn,
    iso_time,
)
from ltu_compute.errors import BadParameters, NotFound, Problem, ServiceError, StorageFull
from ltu_compute.image import Image
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.kinds import REFERENCE, TOLERANCE
from ltu_compute.jobs.prepared_recipes import PreparedRecipes, stored_recipe
from ltu_compute.operations.choices import FOUND_BY, MASK_ALGORITHM, MaskAlgorithm
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.recipes import MOST_RECIPES, StoredRecipe
from ltu_compute.web.dialect import Caller, ErrorKind
from ltu_compute.web.endpoint import Flag, ImageField, Params

MOST_TEXT = 60_000  # characters of a recipe that is sent


class RecipesDialect(InspectionsDialect):
    """As inspections."""

    name = "recipes"
    title = "Recipes"
    prefix = "/v1/recipes"
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = {
        **InspectionsDialect.errors,
        StorageFull: ErrorKind(403, "The account stores as many recipes as it may store."),
        NotFound: ErrorKind(404, "The account has no such recipe, or not of that version."),
    }


dialect = RecipesDialect()

RecipeName = Annotated[
    str, Field(max_length=recipes.NAME_LENGTH, description="Name of the recipe.")
]


class StoreParams(Params):
    """See `store_recipe`."""

    recipe: str = Field(
        max_length=MOST_TEXT,
        description="The recipe, as JSON by its schema; its picture is sent as `reference`.",
    )


class ListParams(Params):
    """A page of the list."""

    offset: int = Field(0, ge=0, le=10**9, description="How many to leave out.")
    limit: int = Field(100, ge=1, le=MOST_RECIPES, description="How many at most.")


class NameParams(Params):
    """A recipe."""

    name: RecipeName


class VersionParams(NameParams):
    """A version of a recipe."""

    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Version. Default: the current one."
    )


class GetParams(VersionParams):
    """See `recipe`."""

    embed: Flag = Field(
        False, description="Return the pictures, too, as `data` of reference and tolerance."
    )


class DeleteParams(NameParams):
    """See `delete`."""

    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Version to delete. Default: all of them."
    )


class RecipeState(TypedDict):
    """A version of a recipe that is stored."""

    name: str
    version: Annotated[int, Field(description="Of the recipe, 1 and up.")]
    bytes: Annotated[int, Field(description="Of the recipe and its picture.")]
    created_at: Annotated[str, Field(description="ISO 8601, UTC.")]


class WholeRecipe(RecipeState):
    """A version of a recipe, with the recipe itself."""

    recipe: Annotated[dict[str, Any], Field(description="By the schema of recipes.")]


class RecipeList(TypedDict):
    """A page of recipes."""

    total: int
    recipes: list[RecipeState]


class Deleted(TypedDict):
    """The number of deleted versions."""

    deleted: Annotated[int, Field(description="Versions.")]


class ObjectParams(Params):
    """See `object_region`."""

    algorithm: MaskAlgorithm = Field(MASK_ALGORITHM, description=FOUND_BY)


class ObjectRegion(TypedDict):
    """A region of a recipe."""

    name: str
    use: Literal["include", "ignore"]
    polygon: Annotated[
        list[list[float]], Field(description="Vertices x, y in px of the reference.")
    ]


class ShotVerdict(TypedDict):
    """The verdict on a shot."""

    name: Annotated[str, Field(description="Of the recipe.")]
    version: Annotated[int, Field(description="Of the recipe.")]
    verdict: Literal["OK", "NG"]
    reason: Annotated[str, Field(description="Which limits are broken; empty for OK.")]
    count: int | None
    area_percent: float | None
    area_mm2: NotRequired[Annotated[float, Field(description="Where the recipe has a scale.")]]
    max_strength: float | None
    score: float | None
    aligned: bool | None
    displacement_px: Displacement
    turn_degrees: Turn
    scale_percent: Scale
    differences: list[ShotDifference]


@dialect.endpoint(
    "store",
    paths=("",),
    images=(
        ImageField(REFERENCE, "The picture of a good part that the recipe is for."),
        ImageField(
            TOLERANCE,
            "The map of the recipe's tolerance, unless it is in the recipe, or that of the "
            "stored version.",
            required=False,
        ),
    ),
    methods=("POST",),
    status=201,
)
def store_recipe(
    reference: Image,
    tolerance: Image | None,
    params: StoreParams,
    store: Store,
    caller: Caller,
) -> RecipeState:
    """Store a recipe: the first version of its name, or the next one.

    The hash in the recipe must be that of the picture. `path` or `data` of the reference in the
    recipe are replaced.
    """
    found = recipes.parsed(params.recipe)
    recipes.check_hash(found, reference.content)
    learnt = _tolerance(found, tolerance, store, caller)
    picture = recipes.Picture(path=REFERENCE, sha256=found.reference.sha256)
    kept = stripped(found.model_copy(update={"reference": picture}))
    text = recipes.dumped(kept).decode()
    return state(store.recipes.add(caller.account.id, found.name, text, reference.content, learnt))


def stripped(recipe: recipes.Recipe) -> recipes.Recipe:
    """Return a recipe whose tolerance names its map instead of holding it."""
    if recipe.tolerance is None:
        return recipe
    named = recipes.Picture(path=TOLERANCE, sha256=recipe.tolerance.map.sha256)
    learnt = recipe.tolerance.model_copy(update={"map": named})
    return recipe.model_copy(update={"tolerance": learnt})


def _tolerance(
    recipe: recipes.Recipe, sent: Image | None, store: Store, caller: Caller
) -> bytes | None:
    """Return the map that a recipe names: sent, in the recipe, or that of the stored version."""
    if recipe.tolerance is None:
        if sent is not None:
            message = "tolerance: leave it out; the recipe names none"
            raise BadParameters(Problem(TOLERANCE, message))
        return None
    if sent is not None:
        recipes.check_tolerance(recipe, sent.content)
        return sent.content
    if recipe.tolerance.map.data is not None:
        return recipes.tolerance_of(recipe, Path())
    try:
        current = store.recipes.get(caller.account.id, recipe.name)
    except NotFound:
        current = None
    content = None if current is None else store.recipes.tolerance(current.id)
    if content is None:
        raise BadParameters(Problem(TOLERANCE, "tolerance: send the map that the recipe names"))
    recipes.check_tolerance(recipe, content)
    return content


@dialect.endpoint(
    "objectRegion",
    paths=("/regions/object",),
    images=(ImageField(REFERENCE, "The reference of a recipe that is to be made."),),
    methods=("POST",),
)
def object_region(reference: Image, params: ObjectParams) -> ObjectRegion:
    """Find the part on a reference, and return a region around it for a recipe.

    The region keeps 1 % of the longest side off the part's outline, or more where it would have
    more than 200 corners. 422 where no object stands out from the background, or it fills the
    picture.
    """
    found = recipes.object_region(reference, params.algorithm)
    polygon = [[x, y] for x, y in found.polygon]
    return {"name": found.name, "use": found.use, "polygon": polygon}


@dialect.endpoint("list", paths=("",), methods=("GET",))
def stored_recipes(params: ListParams, store: Store, caller: Caller) -> RecipeList:
    """List the recipes of the account by name, each in its current version."""
    total, found = store.recipes.page(caller.account.id, offset=params.offset, limit=params.limit)
    return {"total": total, "recipes": [state(each) for each in found]}


@dialect.endpoint("get", paths=("/{name}",), methods=("GET",), computes=True)
def recipe(params: GetParams, store: Store, caller: Caller) -> WholeRecipe:
    """Return a recipe."""
    found = store.recipes.get(caller.account.id, params.name, params.version)
    named: dict[str, Any] = orjson.loads(found.text)
    if params.embed:
        content = store.recipes.reference(found.id)
        named["reference"] = {
            "data": base64.b64encode(content).decode(),
            "sha256": named["reference"]["sha256"],
        }
        learnt = store.recipes.tolerance(found.id)
        if learnt is not None:
            named["tolerance"]["map"] = {
                "data": base64.b64encode(learnt).decode(),
                "sha256": named["tolerance"]["map"]["sha256"],
            }
    return {**state(found), "recipe": named}


@dialect.endpoint("versions", paths=("/{name}/versions",), methods=("GET",))
def versions(params: NameParams, store: Store, caller: Caller) -> RecipeList:
    """List the versions of a recipe, the newest first."""
    total, found = store.recipes.page(caller.account.id, name=params.name, limit=MOST_RECIPES)
    if not total:
        raise NotFound(f"there is no recipe {params.name[:80]!r}", parameter="name")
    return {"total": total, "recipes": [state(each) for each in found]}


@dialect.endpoint("delete", paths=("/{name}",), methods=("DELETE",))
def delete(params: DeleteParams, store: Store, caller: Caller) -> Deleted:
    """Delete a recipe with all its versions, or one of them."""
    return {"deleted": store.recipes.delete(caller.account.id, params.name, params.version)}


@dialect.endpoint(
    "inspect",
    paths=("/{name}/inspect",),
    images=(ImageField("shot", "A shot of the part."),),
    methods=("POST",),
)
def inspect(
    shot: Image,
    *,
    params: VersionParams,
    store: Store,
    caller: Caller,
    prepared: PreparedRecipes,
    settings: Settings,
) -> ShotVerdict:
    """Inspect a shot by a recipe: OK or NG, with the differences.

    NG where a limit of the recipe is broken, or nothing of the reference was found. The reference
    is decoded and measured once per process.
    """
    ready, version = stored_recipe(
        store, prepared, settings, caller.account.id, params.name, version=params.version
    )
    inspection = ready.inspect(shot, "shot")
    verdict: ShotVerdict = {
        "name": ready.recipe.name,
        "version": version or 0,
        "verdict": "NG" if inspection.reason else "OK",
        "reason": inspection.reason,
        "count": inspection.count,
        "area_percent": inspection.area_percent,
        "max_strength": inspection.max_strength,
        "score": inspection.score,
        "aligned": inspection.aligned,
        "displacement_px": inspection.displacement_px,
        "turn_degrees": inspection.turn_degrees,
        "scale_percent": inspection.scale_percent,
        "differences": [_difference(asdict(each)) for each in inspection.differences],
    }
    if ready.limits.mm2 is not None and inspection.area_percent is not None:
        verdict["area_mm2"] = inspection.area_percent / 100 * ready.limits.mm2
    return verdict


def _difference(named: dict[str, Any]) -> ShotDifference:
    return {
        "on_reference": list(named["on_reference"]),
        "on_shot": list(named["on_shot"]),
        "area_percent": named["area_percent"],
        "strength": named["strength"],
    }


def state(found: StoredRecipe) -> RecipeState:
    """Return what is said of a version that is stored."""
    return {
        "name": found.name,
        "version": found.version,
        "bytes": found.bytes,
        "created_at": iso_time(found.created_at),
    }
