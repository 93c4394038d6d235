"""``fic_settings`` and presets of "differences": their declarations and how they are read."""

import ast
import dataclasses
import re
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ltu_compute.kernels import differences as kernel
from ltu_compute.web.endpoint import plain_number
from ltu_compute.web.resolution import Resolution


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):  # which would pass for 0 or 1
        raise ValueError("allowed is a number")  # noqa: TRY004  (what pydantic understands)
    return plain_number(value)


def _as_understood(schema: dict[str, Any]) -> None:
    """Say in the schema that numbers may be texts, and that null means: not given."""
    for declared in schema["properties"].values():
        kind = declared.pop("type", "integer")
        text = [] if kind == "array" else ["string"]
        declared["type"] = list(dict.fromkeys([kind, *text, "null"]))


NotBool = BeforeValidator(_no_truth_value)


MAX_POLYGONS = 100
MAX_POLYGON_VERTICES = 1000

Coordinate = Annotated[float, Field(strict=True, ge=-100_000, le=100_000)]  # px; no text, no truth
Outline = Annotated[
    tuple[tuple[Coordinate, Coordinate], ...],
    Field(min_length=3, max_length=MAX_POLYGON_VERTICES),
]
Polygons = tuple[Outline, ...]
POLYGONS_ALLOWED: dict[str, Any] = {
    "x-allowed": f"a list of at most {MAX_POLYGONS} polygons, each of 3 to {MAX_POLYGON_VERTICES} "
    "pairs [x, y]"
}


class FicSettings(BaseModel):
    """Settings of the comparison; those that are given override the preset's."""

    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, json_schema_extra=_as_understood
    )

    threshold: Annotated[float, NotBool] = Field(
        0.6, ge=0, le=100, description="Strength from which a difference counts; higher: fewer."
    )
    smooth: Annotated[float, NotBool] = Field(
        0.2, ge=0, le=100, description="Smoothing; the higher, the more small ones are erased."
    )
    margin: Annotated[int, NotBool] = Field(
        0, ge=0, le=65535, description="Border of image 1 that is not compared, in its px."
    )
    resolution: Annotated[Resolution, NotBool] = Field(
        400,
        description="Longest side at which images are compared, in px, or full: that of the images "
        "themselves. Beyond 900, which the vendor allows, they are compared tile by tile. auto: "
        "full if the shots hardly moved, else 400.",
    )
    behaviors: str = Field(
        "RGB",
        json_schema_extra={"x-options": ["RGB", "HSV"]},
        description="HSV: compare in HSV. Any other value: as without.",
    )
    weight: Annotated[float, NotBool] = Field(
        1, ge=0, le=1000, description="Factor on the strength of differences, and so on the score."
    )
    include: Polygons = Field(
        (),
        max_length=MAX_POLYGONS,
        json_schema_extra=POLYGONS_ALLOWED,
        description="Polygons, as lists of [x, y] in px of image 1: only the area in one of them "
        "is compared, and aligned where the rest moved differently.",
    )
    exclude: Polygons = Field(
        (),
        max_length=MAX_POLYGONS,
        json_schema_extra=POLYGONS_ALLOWED,
        description="Polygons in which nothing is compared.",
    )


def settings_object(value: Any) -> Any:
    """Return the settings that a text holds: JSON, or the same in single quotes."""
    given = _parsed(value) if isinstance(value, str) else value
    if not isinstance(given, dict):
        return given
    return {name: item for name, item in given.items() if item is not None}  # null: not given


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    if len(text) > MAX_LITERAL or _OTHER_BASE.search(text):
        raise ValueError(f"which is not a JSON object ({reason})")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise ValueError(f"which is not a JSON object ({reason})") from None


_OTHER_BASE = re.compile("0[xXoObB]")  # such a number may have more digits than Python prints
MAX_LITERAL = 4 << 10  # characters of settings in single quotes: Python's parser is slow

SHARED = {  # settings that the kernel names alike
    "threshold",
    "smooth",
    "margin",
    "resolution",
    "weight",
    "include",
    "exclude",
}
PRESETS = {
    1: "fine, detailed differences",
    2: "less noise on borders",
    3: "less noise on borders, differences smoothed",
    4: "less noise on borders, differences smoothed, small differences masked",
    5: "less noise on borders, differences smoothed less than by 4, small differences masked",
}
PURPOSES = {  # from benchmarks/README.md and the part of fixtures/images, whose digit is .0025 %
    1: ("strict", "Every change counts, such as a wrong digit or a fine scratch."),
    2: ("firm", "Edges may be off by 2 px compared. A wrong digit still counts."),
    5: ("medium", "Specks and fine scratches do not count, nor does a wrong digit."),
    3: ("soft", "Dust and grain do not count, nor does a wrong digit or a fine scratch."),
    4: ("relaxed", "Only large changes count. A wrong digit or a fine scratch is missed."),
}
"""Name and use of each preset, the most sensitive first."""


def changed(preset: kernel.ComparisonSettings, given: FicSettings) -> kernel.ComparisonSettings:
    """Return a preset, overridden by the settings that were given."""
    values = {name: getattr(given, name) for name in given.model_fields_set & SHARED}
    if "behaviors" in given.model_fields_set:
        values["use_hsv"] = given.behaviors.strip().upper() == "HSV"
    return dataclasses.replace(preset, **values)


def wire_settings(settings: kernel.ComparisonSettings) -> dict[str, Any]:
    """Return settings under the names that ``fic_settings`` has for them."""
    named = dataclasses.asdict(settings)
    del named["include"], named["exclude"], named["strictness"]  # of one part, not of a preset
    return named | {"behaviors": "HSV" if named.pop("use_hsv") else "RGB"}
