"""Recipes: all that an inspection of one part needs, in one file.

A recipe names its reference picture with its hash, regions, settings, limits and scale. It is made
by hand, by ``ltu-compute recipe make`` or by a page; ``inspect``, ``differences`` and the service
read it. Its format has a version and a JSON Schema; see docs/recipes.md.
"""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ltu_compute.errors import BadParameters, Problem
from ltu_compute.image import Image
from ltu_compute.image.png import altering_chunk
from ltu_compute.jobs.inspection import Source, file_content
from ltu_compute.jobs.limits import Limits, PlacementLimits, RegionLimits
from ltu_compute.kernels.differences import (
    AUTO,
    MAX_FINE_RESOLUTION,
    MAX_RESOLUTION,
    OWN_PRESETS,
    PRESETS,
    ComparisonSettings,
)
from ltu_compute.operations import teaching
from ltu_compute.operations.analysis import object_polygon
from ltu_compute.operations.choices import MASK_ALGORITHM, MaskAlgorithm
from ltu_compute.operations.teaching import LEAST_SHOTS, MOST_SHOTS, Method, Taught
from ltu_compute.spelling import nearest

VERSION = 1
SCHEMA_ID = "urn:ltu-compute:recipe:1"
LARGEST = 72 << 20  # bytes of a recipe file: a picture of 50 MB as text, and the rest
MOST_REGIONS = 100
MOST_VERTICES = 1000  # of a region
LEAST_CROSS_PX2 = 1.0  # px²: twice the area of half a pixel
NAME_LENGTH = 255  # characters
SHOWN = 80  # characters of a wrong value that an error repeats

Name = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=NAME_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
    ),
]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Coordinate = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]
Corner = tuple[Coordinate, Coordinate]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


def _whole(value: Any) -> Any:
    """Return 5 for 5.0, which is an integer by JSON Schema; true is none."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Count = Annotated[int, Field(ge=0, le=10**9), WHOLE]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _given(name: str, kind: str) -> dict[str, Any]:
    """Return the schema of an object in which a key has a value of a type."""
    return {"required": [name], "properties": {name: {"type": kind}}}


def _not_given(*names: str) -> dict[str, Any]:
    """Return the schema of an object that lacks keys, or has null for them."""
    return {"properties": {name: {"type": "null"} for name in names}}


class Picture(_Model):
    """A picture: beside the recipe, or within it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [_given("path", "string"), _given("data", "string")]}
    )

    path: str | None = Field(
        None, min_length=1, max_length=4096, description="File, relative to the recipe's folder."
    )
    data: str | None = Field(None, min_length=1, description="The file itself, base64.")
    sha256: Sha256 = Field(description="Of the file, hexadecimal.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "Picture":
        if (self.path is None) == (self.data is None):
            raise ValueError("give either path or data")
        return self


class DifferenceLimits(_Model):
    """Limits of the differences of a good shot; null: no limit."""

    max_count: Count | None = Field(None, description="Differences.")
    max_area_percent: Amount | None = Field(
        None, description="Area of all differences together, in percent of the reference."
    )
    max_area_mm2: Amount | None = Field(None, description="The same in mm²; needs px_per_mm.")
    max_strength: Amount | None = Field(
        None, description="Strength of the strongest difference; 100 is black against white."
    )

    @property
    def is_none(self) -> bool:
        """Whether no difference is limited."""
        return all(getattr(self, name) is None for name in DifferenceLimits.model_fields)


class RecipeLimits(DifferenceLimits):
    """Limits of a good shot; null: no limit."""

    max_displacement_px: Amount | None = Field(
        None,
        description="Displacement of the middle of the reference, or of its regions, in px of the "
        "reference.",
    )
    max_displacement_mm: Amount | None = Field(None, description="The same in mm; needs px_per_mm.")
    max_turn_degrees: Annotated[float, Field(ge=0, le=180)] | None = Field(
        None, description="Turn, either way."
    )
    max_scale_percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="By how much the part may be larger or smaller than on the reference."
    )


class Region(_Model):
    """A part of the reference."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["use"], "properties": {"use": {"const": "ignore"}}},
            "then": _not_given("limits"),
        }
    )

    name: Name
    use: Literal["include", "ignore"] = Field(
        "include",
        description="include: only the area of included regions is compared. ignore: the area "
        "is not compared.",
    )
    polygon: tuple[Corner, ...] = Field(
        min_length=3, max_length=MOST_VERTICES, description="Vertices x, y in px of the reference."
    )
    limits: DifferenceLimits | None = Field(
        None,
        description="Limits of the differences whose middle is in this region, instead of those "
        "of the recipe. An ignored region has none.",
    )

    @model_validator(mode="after")
    def _ignored_has_no_limits(self) -> "Region":
        if self.use == "ignore" and self.limits is not None:
            raise ValueError("an ignored region has no limits")
        return self

    @model_validator(mode="after")
    def _encloses_something(self) -> "Region":
        start = self.polygon[0]
        end = max(self.polygon, key=lambda corner: math.dist(start, corner))
        if max(abs(_cross(start, end, corner)) for corner in self.polygon) < LEAST_CROSS_PX2:
            raise ValueError("the corners are in one line and enclose nothing")
        return self


def _cross(start: Corner, end: Corner, corner: Corner) -> float:
    """Return twice the signed area of a triangle, px²."""
    (x, y), (end_x, end_y) = start, end
    return (end_x - x) * (corner[1] - y) - (end_y - y) * (corner[0] - x)


class RecipeSettings(_Model):
    """How shots are compared: a preset, changed by what is given."""

    preset: Annotated[int, Field(ge=1, le=5), WHOLE] = 1
    threshold: Annotated[float, Field(ge=0, le=100)] | None = None
    smooth: Annotated[float, Field(ge=0, le=100)] | None = None
    margin: Annotated[int, Field(ge=0, le=65535), WHOLE] | None = None
    resolution: (
        Annotated[int, Field(ge=32, le=MAX_FINE_RESOLUTION), WHOLE] | Literal["full", "auto"] | None
    ) = None
    use_hsv: bool | None = None
    min_area_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    edge_tolerance: Annotated[float, Field(ge=0, le=20)] | None = None
    strictness: Annotated[float, Field(ge=0.1, le=10)] | None = Field(
        None,
        description="Factor of how unlike good specimens a shot is; default: 1. The higher, the "
        "more defects are found, and the more good shots have differences.",
    )


def own_settings(preset: int) -> dict[str, Any]:
    """Return the settings of a new recipe: a preset, at the resolution of our own interfaces.

    The resolution is written down where it is not the preset's: a recipe without one is compared at
    that of its preset, as ever.
    """
    resolution = OWN_PRESETS[preset].resolution
    if resolution == PRESETS[preset].resolution:
        return {"preset": preset}
    return {"preset": preset, "resolution": resolution}


def object_region(reference: Image, algorithm: MaskAlgorithm = MASK_ALGORITHM) -> Region:
    """Return the region of a new recipe that holds the part, but no background.

    Raises
    ------
    NotEnoughContent
        No object stands out, or it fills the picture.
    """
    return Region(name="object", polygon=object_polygon(reference, algorithm=algorithm))


class LearntWith(_Model):
    """Settings that decide what is measured; with others, the tolerance does not hold."""

    resolution: Annotated[int, WHOLE] | Literal["full", "auto"]
    use_hsv: bool
    edge_tolerance: Annotated[float, Field(ge=0, le=20)]


class Tolerance(_Model):
    """Differences of good parts, learnt from several of them."""

    method: Method = Field(description="How it was learnt, and what the map means.")
    good_shots: Annotated[int, Field(ge=LEAST_SHOTS, le=MOST_SHOTS), WHOLE] = Field(
        description="Shots learnt, the reference among them."
    )
    reference_sha256: Sha256 = Field(description="Of the reference that it was learnt for.")
    learnt_with: LearntWith
    map: Picture = Field(
        description="variation-1: grey PNG of four maps of the whole reference, one below the "
        "other. Three are how much lighter, darker and of another chroma a shot may be, in 1/2.55 "
        "ΔE. The fourth is how far edges may be displaced, in 1/16 px of the map. specimens-1: PNG "
        "in colour of one map and up to 8 other good shots in place of the reference, one below "
        "the other. The map's blue channel is the least score of a difference there, in 1/16 "
        "doublings of 0.3: percent of the picture times ΔE. A difference counts, too, if its peak "
        "exceeds the red channel, in 1/2.55 ΔE. The green channel is the number of maps and shots. "
        "specimens-2: the same, but only the first value of the green channel is that number. The "
        "others are the usual distance of neighbourhoods there, in 1/64. specimens-3: the same, "
        "but the number is greater by 16, and the last map is the usual distance of patches there, "
        "in 1/16 ΔE. specimens-4: the same, but the number is greater by another 32, and the last "
        "map's green channel is the usual distance of features of a network, in 1/64. Its red "
        "channel begins with the SHA-256 of the network's file."
    )


class Recipe(_Model):
    """A recipe, version 1."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _given("px_per_mm", "number"),
                {
                    "properties": {
                        "limits": _not_given("max_area_mm2", "max_displacement_mm"),
                        "regions": {
                            "items": {"properties": {"limits": _not_given("max_area_mm2")}}
                        },
                    }
                },
            ]
        }
    )

    version: Annotated[Literal[1], WHOLE] = Field(description="Of the format.")
    name: Name
    reference: Picture
    settings: RecipeSettings = RecipeSettings()
    regions: tuple[Region, ...] = Field((), max_length=MOST_REGIONS)
    limits: RecipeLimits = Field(
        RecipeLimits(),
        description="Without any limit of differences, a good shot has no difference.",
    )
    px_per_mm: Annotated[float, Field(ge=1e-6, le=1e6)] | None = Field(
        None, description="Pixels of the reference per mm."
    )
    tolerance: Tolerance | None = Field(
        None, description="Variation of good shots; made by `ltu-compute teach`."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        limits = [self.limits, *(each.limits for each in self.regions if each.limits is not None)]
        if self.px_per_mm is None and any(each.max_area_mm2 is not None for each in limits):
            raise ValueError("max_area_mm2 needs px_per_mm")
        if self.px_per_mm is None and self.limits.max_displacement_mm is not None:
            raise ValueError("max_displacement_mm needs px_per_mm")
        names = [each.name for each in self.regions]
        if len(set(names)) < len(names):
            raise ValueError("two regions have the same name")
        learnt = self.tolerance
        if learnt is not None:
            if learnt.reference_sha256 != self.reference.sha256:
                raise ValueError("tolerance: learnt for another reference: teach again")
            if learnt.learnt_with != self.learning():
                raise ValueError("tolerance: learnt with other settings: teach again")
            if learnt.method != "variation-1" and self.comparison_settings().is_fine:
                raise ValueError(
                    f"tolerance: {learnt.method} is for a resolution of {MAX_RESOLUTION} px at most"
                )
        return self

    def learning(self) -> LearntWith:
        """Return the settings that decide what is measured."""
        found = self.comparison_settings()
        return LearntWith(
            resolution=found.resolution,
            use_hsv=found.use_hsv,
            edge_tolerance=found.edge_tolerance,
        )

    def comparison_settings(self) -> ComparisonSettings:
        """Return how shots are compared."""
        given = self.settings.model_dump(exclude_none=True)
        preset = PRESETS[given.pop("preset")]
        polygons: dict[str, list[Any]] = {"include": [], "ignore": []}
        for region in self.regions:
            polygons[region.use].append(region.polygon)
        return replace(
            preset,
            **given,
            include=tuple(polygons["include"]),
            exclude=tuple(polygons["ignore"]),
        )

    def judging(self, reference: Image) -> Limits:
        """Return by what shots are judged.

        Parameters
        ----------
        reference : Image
            The reference; areas in mm² are shares of it.
        """
        area_px = math.prod(reference.size)
        mm2 = None if self.px_per_mm is None else area_px / self.px_per_mm**2
        own = (
            self.limits.model_copy(update={"max_count": 0}) if self.limits.is_none else self.limits
        )
        regions = tuple(
            RegionLimits(
                region.name,
                region.polygon,
                region.limits.max_count,
                _percent(region.limits, mm2),
                region.limits.max_strength,
            )
            for region in self.regions
            if region.limits is not None
        )
        return Limits(
            own.max_count,
            _percent(own, mm2),
            own.max_strength,
            regions,
            mm2,
            PlacementLimits(
                self._displacement_px(), own.max_turn_degrees, own.max_scale_percent, self.px_per_mm
            ),
        )

    def _displacement_px(self) -> float | None:
        """Return the limit of the displacement in px, the stricter one of two."""
        given = [self.limits.max_displacement_px]
        if self.limits.max_displacement_mm is not None and self.px_per_mm is not None:
            given.append(self.limits.max_displacement_mm * self.px_per_mm)
        return min((each for each in given if each is not None), default=None)


def _percent(limits: DifferenceLimits, mm2: float | None) -> float | None:
    """Return the limit of the area in percent, the stricter one of two."""
    given = [limits.max_area_percent]
    if limits.max_area_mm2 is not None and mm2 is not None:
        given.append(100 * limits.max_area_mm2 / mm2)
    return min((each for each in given if each is not None), default=None)


def parsed(text: bytes | str, name: str = "recipe") -> Recipe:
    """Return the recipe that a text holds: JSON whose values have the types of the schema.

    Raises
    ------
    BadParameters
        Each problem, by its place in the file. A key that is there twice is one: which of two
        limits holds is not for the reader to guess.
    """
    found = _validated(lambda: Recipe.model_validate_json(text, strict=True), name)

    def once(members: list[tuple[str, Any]]) -> None:
        (key, count), *_ = [*Counter(key for key, _ in members).most_common(1), ("", 0)]
        if count > 1:
            raise BadParameters(Problem(name, f"{name}: the key {key} is there twice"))

    json.loads(text, object_pairs_hook=once)
    return found


def of(named: Mapping[str, Any], name: str = "recipe") -> Recipe:
    """Return the recipe that an object holds, as `parsed` does."""
    return parsed(orjson.dumps(named), name)


def _validated(read: Callable[[], Recipe], name: str) -> Recipe:
    try:
        return read()
    except ValidationError as error:
        found: dict[str, str] = {}
        for wrong in error.errors(include_url=False):
            # A value that may be of two types has a problem with each, which is no place.
            where = ".".join(str(part) for part in wrong["loc"] if "[" not in str(part))
            message = _message(wrong)
            if where in found:
                message = f"{found[where]} or {message.rpartition(ALLOWED)[2]}"
            found[where] = message
        problems = (
            f"{name}: {where}: {message}" if where else f"{name}: {message}"
            for where, message in found.items()
        )
        raise BadParameters(*(Problem(name, problem) for problem in problems)) from None


ALLOWED = ", allowed is "


def _message(wrong: ErrorDetails) -> str:
    """Return the value received and what is allowed, or what else is wrong."""
    if wrong["type"] == "extra_forbidden":
        return _unknown_key(wrong["loc"])
    allowed = wrong["msg"].removeprefix("Input should be ")
    if allowed == wrong["msg"]:
        return allowed.removeprefix("Value error, ")
    received = json.dumps(wrong["input"], ensure_ascii=False)
    shown = received if len(received) <= SHOWN else f"{received[:SHOWN]}…"
    return f"received {shown}{ALLOWED}{allowed}"


def _unknown_key(loc: tuple[int | str, ...]) -> str:
    """Return what is said of a key that the schema does not name: the one that is like it."""
    model: type[BaseModel] = Recipe
    for part in loc[:-1]:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    near = nearest(str(loc[-1]), model.model_fields)
    return f"no such key, did you mean {near}?" if near else "no such key"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, alone or several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def load(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises
    ------
    NotFound, TooManyBytes, UnreadableImage
        There is no such file, or it cannot be read.
    BadParameters
        It is not a recipe.
    """
    return parsed(file_content(str(path), LARGEST, "recipe"), str(path))


def reference_of(recipe: Recipe, folder: Path, max_bytes: int) -> Source:
    """Return the reference picture of a recipe, its hash checked.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    folder : Path
        Folder of the recipe.
    max_bytes : int
        Most bytes of a picture.

    Raises
    ------
    BadParameters
        The picture is not the one that the recipe was made with, or is not base64.
    NotFound, TooManyBytes, UnreadableImage
        There is no such picture, or it cannot be read.
    """
    given = recipe.reference
    if given.path is not None:
        path = str(folder / given.path)
        content = file_content(path, max_bytes, "reference")
        check_hash(recipe, content)
        return Source(path, content)
    content = _decoded(given.data or "", "reference.data")
    check_hash(recipe, content)
    return Source(f"reference of {recipe.name}", content)


def tolerance_of(recipe: Recipe, folder: Path) -> bytes | None:
    """Return the file of a recipe's tolerance, its hash and form checked; None: it has none.

    Raises
    ------
    BadParameters
        It is not the file that the recipe names, or no map of tolerances.
    NotFound, TooManyBytes, UnreadableImage
        There is no such file, or it cannot be read.
    """
    if recipe.tolerance is None:
        return None
    given = recipe.tolerance.map
    if given.path is not None:
        content = file_content(str(folder / given.path), teaching.MAP_BYTES, "tolerance")
    else:
        content = _decoded(given.data or "", "tolerance.map.data")
    check_tolerance(recipe, content)
    return content


def check_tolerance(recipe: Recipe, content: bytes) -> None:
    """Refuse a file that is not the tolerance that a recipe names.

    Raises
    ------
    BadParameters
        Its SHA-256 is another, or it is no map of tolerances.
    """
    if recipe.tolerance is None:
        raise _wrong("tolerance: the recipe names none")
    found = hashlib.sha256(content).hexdigest()
    if found != recipe.tolerance.map.sha256:
        raise _wrong(
            f"tolerance.map.sha256: {recipe.tolerance.map.sha256[:12]}… is not that of the map, "
            f"{found[:12]}…"
        )
    lesson = teaching.loaded(content, "tolerance.map")
    if chunk := altering_chunk(content):
        raise _wrong(f"tolerance.map: it has a chunk {chunk}, which would change its values")
    if teaching.method_of(lesson) != recipe.tolerance.method:
        raise _wrong(f"tolerance.map: not a map of {recipe.tolerance.method}")


def taught(recipe: Recipe, found: Taught) -> Recipe:
    """Return a recipe with what was learnt for its reference, the map within it.

    The resolution ``"auto"`` becomes the one that teaching decided.
    """
    if recipe.settings.resolution == AUTO:
        settings = recipe.settings.model_copy(update={"resolution": found.settings.resolution})
        recipe = recipe.model_copy(update={"settings": settings})
    content = teaching.dumped(found.tolerance)
    learnt = Tolerance(
        method=teaching.method_of(found.tolerance),
        good_shots=found.good_shots,
        reference_sha256=recipe.reference.sha256,
        learnt_with=recipe.learning(),
        map=Picture(
            data=base64.b64encode(content).decode(), sha256=hashlib.sha256(content).hexdigest()
        ),
    )
    return recipe.model_copy(update={"tolerance": learnt})


def check_hash(recipe: Recipe, content: bytes) -> None:
    """Refuse a picture that is not the one a recipe was made with.

    Raises
    ------
    BadParameters
        Its SHA-256 is another.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != recipe.reference.sha256:
        raise _wrong(
            f"reference.sha256: {recipe.reference.sha256[:12]}… is not that of the picture, "
            f"{found[:12]}…"
        )


def dumped(recipe: Recipe) -> bytes:
    """Return a recipe as a text, without what is not given."""
    named = recipe.model_dump(exclude_none=True, mode="json")
    return orjson.dumps(named, option=orjson.OPT_INDENT_2) + b"\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the format (draft 2020-12)."""
    described = Recipe.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **described,
        "title": "ltu-compute recipe, version 1",
    }


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, or signs beyond ASCII
        raise _wrong(f"{where}: not base64 ({error})") from None


def _wrong(message: str) -> BadParameters:
    return BadParameters(Problem("recipe", f"recipe: {message}"))
