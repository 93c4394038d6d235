"""Chapter "Compare images": distance, differences, alignmentMatrix.

One chapter of the vendor's document is one module: most of it declares parameters and replies.
"""

import ast
import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    DIFFERENCES,
    DISTANCE,
    STANDARD,
    BoundingBox,
    Info,
    LtuParams,
    Picture,
    Remark,
    Reply,
    Vertex,
    bounding_box,
    dialect,
    mask_picture,
    picture,
    remark,
    simplified_to,
    single,
    singles,
    vertices,
)
from ltu_compute.errors import BadParameters, Problem
from ltu_compute.image import Image
from ltu_compute.jobs import inspection
from ltu_compute.jobs.prepared_recipes import FoundRecipe
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.kernels import differences as kernel
from ltu_compute.kernels.alignment import Motion
from ltu_compute.kernels.contours import simplified
from ltu_compute.kernels.homography import inverse, warp_onto
from ltu_compute.kernels.types import Box, Matrix, Size
from ltu_compute.operations import comparison
from ltu_compute.web.endpoint import Flag, ImageField, plain_number
from ltu_compute.web.resolution import Resolution

# ---------------------------------------------------------------------------- distance

MATCH = 1.0  # below: the vendor's "match"
SIMILAR = 1.8  # up to: its "similarity"; it leaves 1.8 to 2 open, we call that no match


class Scores(TypedDict):
    """Parts of the distance of matching pictures."""

    boxCoveredSurface: float
    boxPointsRatio: float
    boxPointsRatioHomography: float
    matchStrength: float
    matchStrengthWithoutWeighting: float


class MatchedImage(TypedDict):
    """One of the two pictures, and the part of it that the other shows."""

    area: Annotated[float, Field(description="Share of the picture that the box covers.")]
    resizedDimensions: Annotated[list[int], Field(description="Width and height compared, px.")]
    originalDimensions: Annotated[list[int], Field(description="Width and height sent, px.")]
    matchingBox: Annotated[
        list[list[float]],
        Field(description="Corners from the top left, clockwise, in shares of width and height."),
    ]


class DistanceResult(TypedDict):
    """See `distance`."""

    distance: float
    scores: Scores
    query: MatchedImage
    reference: MatchedImage


class Hashes(TypedDict):
    """Perceptual hashes (pHash) of the pictures: 16 hexadecimal digits each."""

    reference: str
    query: str
    differing_bits: Annotated[int, Field(description="Of 64; some 32 where nothing is alike.")]


class DistanceInfo(Info):
    """See `distance`."""

    distance: float
    decision: Literal["Match", "Similar", "No match"]
    hashes: Hashes


@dialect.operation(
    "distance",
    layout=DISTANCE,
    images=(
        ImageField("refImage", "The reference.", also=("image", 0)),
        ImageField("queryImage", "The image compared with it.", also=("image", 1)),
    ),
)
def distance(reference: Image, query: Image) -> Reply[DistanceResult, DistanceInfo]:
    """Return how far two images are from each other.

    0: the same; below 1: a match, one shows what the other shows; 1 to 1.8: similar in colours
    and shapes; above: nothing in common. Two parts named `image` are understood as well.
    """
    measured = comparison.distance(reference, query)
    found = measured.found
    value = single(found.distance)
    decision: Literal["Match", "Similar", "No match"] = (
        "Match" if value < MATCH else "Similar" if value <= single(SIMILAR) else "No match"
    )
    hashes: Hashes = {
        "reference": str(measured.reference_hash),
        "query": str(measured.query_hash),
        "differing_bits": int(measured.reference_hash - measured.query_hash),
    }
    result: DistanceResult = {
        "distance": value,
        "scores": {
            "boxCoveredSurface": single(found.box_covered_surface),
            "boxPointsRatio": single(found.box_points_ratio),
            "boxPointsRatioHomography": single(found.box_points_ratio_homography),
            "matchStrength": single(found.match_strength),
            "matchStrengthWithoutWeighting": single(found.match_strength_without_weighting),
        },
        "query": _matched(query, measured.query_size, found.box2),
        "reference": _matched(reference, measured.reference_size, found.box1),
    }
    return Reply(
        result,
        {"distance": value, "decision": decision, "hashes": hashes},
        message=f"Decision from distance calculation: {decision}",
    )


def _matched(image: Image, compared: Size, box: Box) -> MatchedImage:
    left, top = box.x, box.y
    right, bottom = box.x + box.width, box.y + box.height
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {
        "area": box.width * box.height / (compared.width * compared.height),
        "resizedDimensions": list(compared),
        "originalDimensions": list(image.size),
        "matchingBox": [singles((x / compared.width, y / compared.height)) for x, y in corners],
    }


# ------------------------------------------------------------------------- differences

SHOT = ImageField("image2", "The shot that is compared with it.")
PAIR = (ImageField("image1", "The reference."), SHOT)
REGION = ImageField(
    "image1_roi",
    "Mask of image 1: where it is 0, nothing is compared. Where the rest moved differently, the "
    "alignment is that of what the mask includes.",
    required=False,
)


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


def _settings_object(value: Any) -> Any:
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

BYTE = r"\s*(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\s*"
OPAQUE = 255

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

MOST_RECIPE_TEXT = 60_000  # characters of a recipe within a request
MASKS_PER_IMAGE = 2  # times the image's pixels, that the masks on it may have together
SMALL = 0.75  # share of the resolution asked for below which the reply says so
VENDOR_PX = 400  # the vendor's resolution of comparisons
NOT_FLAT_PX = 0.5  # compared at 400 px, more at more; flat surfaces leave some 0.05

MaskType = Literal["binary", "contours", "none"]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class DifferencesParams(LtuParams):
    """See `differences`."""

    preset: int = Field(
        1,
        ge=1,
        le=5,
        description=". ".join(f"{number}: {meaning}" for number, meaning in PRESETS.items()) + ".",
    )
    fic_settings: Annotated[FicSettings, BeforeValidator(_settings_object)] = Field(
        default_factory=FicSettings,
        description="Settings, as a JSON object, that override those of the preset: threshold, "
        "smooth, margin, resolution, behaviors, weight.",
        json_schema_extra={"example": {}},  # a form that sent all defaults would undo the preset
    )
    transform: Flag = Field(False, description="Return the matrices that align the images.")
    mask_type: Annotated[MaskType, BeforeValidator(_lower)] = Field(
        "none", description="Picture of each difference: its area, its outline or none."
    )
    mask_thickness: int = Field(2, ge=1, le=100, description="Width of outlines, in px.")
    mask_color: str = Field(
        "0,0,255,255",
        pattern=f"^({BYTE}(,{BYTE}){{2,3}})?$",
        description="Colour of outlines: blue,green,red or blue,green,red,opacity, each 0 to 255.",
        json_schema_extra={
            "x-allowed": "blue,green,red or blue,green,red,opacity, each 0 to 255",
            "x-format": "bgr",
        },
    )
    vertices: Flag = Field(True, description="Return the outlines' vertices.")
    output_format: Literal["json"] = Field("json", description="Form of the reply.")
    recipe: str = Field(
        "",
        max_length=MOST_RECIPE_TEXT,
        description="Name of a stored recipe, or a recipe as JSON, instead of preset, "
        "fic_settings and image1_roi. Without image1, the recipe's reference is image 1; an image1 "
        "that is sent must be that file. Not in the vendor's document.",
    )

    @property
    def color_bgra(self) -> tuple[int, int, int, int]:
        """The colour of outlines: blue, green, red, opacity."""
        blue, green, red, opacity = (*map(int, self.mask_color.split(",")), OPAQUE)[:4]
        return blue, green, red, opacity

    @property
    def unknown_names(self) -> list[str]:
        """Names within ``fic_settings`` that mean nothing."""
        return _unknown(self.fic_settings)

    def settings(self) -> kernel.ComparisonSettings:
        """Return the preset, changed by what ``fic_settings`` says."""
        return _changed(kernel.PRESETS[self.preset], self.fic_settings)


def _unknown(given: FicSettings) -> list[str]:
    return [f"fic_settings.{name}" for name in given.model_extra or ()]


def _changed(preset: kernel.ComparisonSettings, given: FicSettings) -> kernel.ComparisonSettings:
    changed = {name: getattr(given, name) for name in given.model_fields_set & SHARED}
    if "behaviors" in given.model_fields_set:
        changed["use_hsv"] = given.behaviors.strip().upper() == "HSV"
    return dataclasses.replace(preset, **changed)


class Center(TypedDict):
    """A point, in px."""

    x: float
    y: float


class EnclosingCircle(TypedDict):
    """The smallest circle around a difference, in px of the original image."""

    radius: float
    center: Center


class Difference(TypedDict):
    """One difference, on one of the images; entry n of either list is the same one."""

    boundingBox: BoundingBox
    enclosingCircle: EnclosingCircle
    relativeVertices: NotRequired[list[Vertex]]
    mask: NotRequired[Picture]
    area_percent: Annotated[float, Field(description="Its share of image 1, in percent.")]
    strength: Annotated[float, Field(description="How strongly it differs.")]
    kind: Annotated[
        Literal["missing", "extra", "changed"],
        Field(
            description="missing: only image 1 shows something there that stands out. extra: only "
            "image 2 does. changed: both do, or neither."
        ),
    ]
    delta_e: Annotated[
        float, Field(description="Mean colour difference over it, CIEDE2000, in one light.")
    ]
    border_px: Annotated[
        float, Field(description="Over how many px of image 1 it fades into its surroundings.")
    ]
    margin: Annotated[
        float | None,
        Field(description="Its greatest strength over the threshold; null where that is 0."),
    ]


Flat = Annotated[
    list[float],
    Field(min_length=9, max_length=9, description="3 x 3, row after row, in original px."),
]


class DifferencesResult(TypedDict):
    """See `differences`."""

    diffOnImage1: list[Difference]
    diffOnImage2: list[Difference]
    matOn1: NotRequired[Flat]
    matOn2: NotRequired[Flat]


Residual = Annotated[
    float | None,
    Field(description="Distance that remains between corners of both, in px compared; median."),
]


class MotionInfo(TypedDict):
    """Motion of the content of image 1 in image 2, from edge to edge."""

    displacement_x_px: Annotated[float, Field(description="To the right, in px of image 2.")]
    displacement_y_px: Annotated[float, Field(description="Down, in px of image 2.")]
    turn_degrees: Annotated[float, Field(description="Clockwise, -180 to 180.")]
    scale: Annotated[float, Field(description="Length in image 2 of 1 px of image 1, in px.")]


class ReliefInfo(TypedDict):
    """A part above the plane that is the same, seen from elsewhere."""

    boundingBox: BoundingBox
    displacement_x_px: Annotated[float, Field(description="To the right, in px of image 2.")]
    displacement_y_px: Annotated[float, Field(description="Down, in px of image 2.")]


class AlignmentInfo(MotionInfo):
    """How the images were aligned, and the motion of the middle of image 1.

    With a region of interest, the middle is that of the region.
    """

    method: Annotated[str, Field(description="still, orb, sift, near, tracking or none.")]
    inliers: Annotated[int, Field(description="Keypoints that agree with the matrix.")]
    residual_px: Residual
    bend_px: Annotated[
        float, Field(description="How far the surface bends from flat, in px compared; 0: flat.")
    ]
    followed: Annotated[
        Literal["image", "region", "none"],
        Field(
            description="Subject of the alignment: the whole image, or the region of interest "
            "where that moved differently."
        ),
    ]
    relief: Annotated[
        list[ReliefInfo],
        Field(
            description="Parts on image 1 above the plane: displaced as seen from "
            "elsewhere, and no differences. At most 100, largest first."
        ),
    ]
    other: Annotated[
        MotionInfo | None,
        Field(description="Motion of another part, which moved differently and was not followed."),
    ]


class RecipeVerdict(TypedDict):
    """Verdict on image 2 by the limits of a recipe."""

    name: Annotated[str, Field(description="Of the recipe.")]
    version: NotRequired[Annotated[int, Field(description="Of the stored recipe.")]]
    verdict: Literal["OK", "NG"]
    reason: Annotated[str, Field(description="Which limits are broken; empty for OK.")]


class DifferencesInfo(Info):
    """See `differences`."""

    recipe: NotRequired[RecipeVerdict]
    count: int
    compared: Annotated[float, Field(description="Share of image 1 that was compared, 0 to 1.")]
    alignment: AlignmentInfo


@dialect.operation(
    "differences",
    layout=DIFFERENCES,
    aliases=("imagesDifferences",),
    images=(
        ImageField("image1", "The reference; a recipe has its own.", unless="recipe"),
        SHOT,
        REGION,
    ),
)
def differences(
    image1: Image | None,
    image2: Image,
    image1_roi: Image | None,
    params: DifferencesParams,
    shelf: RecipeShelf,
) -> Reply[DifferencesResult, DifferencesInfo]:
    """Find the differences between two images.

    The images may differ in size, framing, rotation, perspective and light: they are aligned
    first, and only what both show is compared. Boxes, circles and vertices are in pixels of each
    original image. `GET differences/presets` lists the numbers of the presets.

    `strength` is by how much a difference exceeds what misregistration and noise explain, the mean
    over its area, in ΔE (100: black against white), times `weight`. `details.score` is the sum of
    area_percent · strength over all differences: 0 when nothing differs. `threshold` counts in
    units of 8 ΔE of the smoothed difference of a pixel.

    A `recipe` has its own reference, region, settings and limits: the images are compared by it,
    and `info.recipe` has the verdict.
    """
    judged: RecipeVerdict | None = None
    if params.recipe:
        _check_left_out(params, image1_roi)
        by = shelf.find(params.recipe, image1)
        image1, settings = by.ready.reference.image, by.ready.settings
        compared = comparison.differences(by.ready.reference, image2, settings)
        judged = _verdict(by, compared)
    else:
        if image1 is None:
            raise AssertionError("no request passes without image1 and recipe")
        settings = params.settings()
        compared = comparison.differences(image1, image2, settings, region=image1_roi)
    on1, note1 = _differences([d.on1 for d in compared.differences], compared, params, image1)
    on2, note2 = _differences([d.on2 for d in compared.differences], compared, params, image2)
    result: DifferencesResult = {"diffOnImage1": on1, "diffOnImage2": on2}
    if params.transform:
        result["matOn1"], result["matOn2"] = _flat_pair(compared.matrix1to2)
    found = compared.alignment
    info: DifferencesInfo = {
        "count": len(compared.differences),
        "compared": compared.compared_percent / 100,
        "alignment": {
            "method": found.method if found else "none",
            "inliers": found.inliers if found else 0,
            "residual_px": _known(compared.residual_px),
            "bend_px": compared.bend_px,
            "followed": compared.followed,
            **_motion(compared.motion),
            "relief": [_relief(part) for part in compared.relief],
            "other": None if compared.other_motion is None else _motion(compared.other_motion),
        },
    }
    if judged is not None:
        info["recipe"] = judged
    remarks = _reservations(compared, settings) + (note1 or note2)
    if remarks:
        info["remarks"] = remarks
    return Reply(
        result,
        info,
        message=" ".join(each["message"] for each in remarks),
        score=single(compared.score),
    )


def _check_left_out(params: DifferencesParams, region: Image | None) -> None:
    """Refuse what a recipe has an answer of its own to."""
    given = sorted({"preset", "fic_settings"} & params.model_fields_set)
    if region is not None:
        given.append(region.name)
    if given:
        raise BadParameters(
            *(Problem(name, f"{name}: leave it out; the recipe has its own") for name in given)
        )


def _verdict(found: FoundRecipe, compared: kernel.Comparison) -> RecipeVerdict:
    """Judge a comparison by the limits of its recipe."""
    reason = inspection.judged(compared, found.ready.limits)
    verdict: RecipeVerdict = {
        "name": found.ready.recipe.name,
        "verdict": "NG" if reason else "OK",
        "reason": reason,
    }
    if found.version is not None:
        verdict["version"] = found.version
    return verdict


def _reservations(compared: kernel.Comparison, settings: kernel.ComparisonSettings) -> list[Remark]:
    """Return why the differences may be more than changes."""
    asked = settings.resolution
    if isinstance(asked, int) and compared.resolution < SMALL * min(asked, compared.offered):
        return [
            remark(
                "few-pixels",
                "image2 has too few pixels to be compared at {asked} px: compared at {used} px.",
                asked=asked,
                used=compared.resolution,
            )
        ]
    found = []
    most = kernel.MOST_DIFFERENCES
    if len(compared.differences) >= most:
        message = "The largest {most} differences are listed; there may be more."
        found.append(remark("cut", message, most=most))
    if not compared.aligned:
        message = "The images could not be aligned and were compared unaligned."
        found.append(remark("unaligned", message))
    if found:
        return found
    if compared.relief:
        return [
            remark(
                "not-flat",
                "The scene is not flat: {parts} parts are seen from elsewhere and were compared "
                "at their own places.",
                parts=len(compared.relief),
            )
        ]
    if compared.residual_px > NOT_FLAT_PX * max(1, compared.resolution / VENDOR_PX):
        return [
            remark(
                "parallax",
                "One homography does not explain the pair: the surface is not flat, or parts of "
                "it moved. Differences may be parallax.",
            )
        ]
    if compared.other_motion is not None:
        message = "Two parts of the images moved differently: the alignment follows {followed}."
        region = compared.followed == "region"
        followed = "image1_roi" if region else "the larger part"
        code = "two-motions-region" if region else "two-motions"
        return [remark(code, message, followed=followed)]
    return []


def _relief(part: kernel.ReliefPart) -> ReliefInfo:
    x, y, width, height = part.box
    right, down = part.displacement
    return {
        "boundingBox": {"x": x, "y": y, "width": width, "height": height},
        "displacement_x_px": right,
        "displacement_y_px": down,
    }


def _motion(motion: Motion) -> MotionInfo:
    return {
        "displacement_x_px": motion.x,
        "displacement_y_px": motion.y,
        "turn_degrees": motion.turn_degrees,
        "scale": motion.scale,
    }


def _differences(
    spots: Sequence[kernel.Spot],
    compared: kernel.Comparison,
    params: DifferencesParams,
    image: Image,
) -> tuple[list[Difference], list[Remark]]:
    """Return the differences on one of the images, and what had to be simplified or left out.

    Masks are pictures of boxes that may overlap, so that all together could have far more pixels
    than the image.
    """
    outlines, tolerance_px = simplified([spot.vertices for spot in spots])
    listed: list[Difference] = []
    left_px = MASKS_PER_IMAGE * image.width * image.height
    left_out = 0
    for spot, outline, found in zip(spots, outlines, compared.differences, strict=True):
        (x, y), radius = spot.circle_center, spot.circle_radius
        entry: dict[str, Any] = {
            "boundingBox": bounding_box(spot),
            "enclosingCircle": {
                "radius": single(radius),
                "center": {"x": single(x), "y": single(y)},
            },
        }
        if params.vertices:
            entry["relativeVertices"] = vertices(outline)
        if params.mask_type != "none":
            left_px -= spot.box.width * spot.box.height
            if left_px >= 0:
                entry["mask"] = _mask(spot, params)
            else:
                left_out += 1
        entry |= {
            "area_percent": found.area_percent,
            "strength": found.strength,
            "kind": found.kind,
            "delta_e": found.delta_e,
            "border_px": found.border_px,
            "margin": _known(found.margin),
        }
        listed.append(entry)  # type: ignore[arg-type]  # made key by key
    notes = []
    if params.vertices and tolerance_px:
        message = f"Outlines are{simplified_to(tolerance_px).removeprefix(',')}."
        notes.append(remark("simplified", message, px=math.ceil(tolerance_px)))
    if left_out:
        notes.append(
            remark(
                "masks-left-out",
                "The masks of {count} differences are left out: together they would have more than "
                f"{MASKS_PER_IMAGE} times the pixels of {image.name}.",
                count=left_out,
            )
        )
    return listed, notes


def _mask(spot: kernel.Spot, params: DifferencesParams) -> Picture:
    if params.mask_type == "binary":
        return mask_picture(kernel.region_mask(spot))
    return picture(kernel.outline_picture(spot, params.color_bgra, params.mask_thickness))


class Preset(TypedDict):
    """A preset and its numbers."""

    preset: int
    name: Annotated[str, Field(description="Our name of its sensitivity.")]
    description: Annotated[str, Field(description="The vendor's words.")]
    purpose: Annotated[str, Field(description="Its use: the changes that count.")]
    settings: dict[str, Any]
    own_settings: Annotated[
        dict[str, Any],
        Field(description="Settings that our own interfaces, such as the page, change."),
    ]


class PresetsResult(TypedDict):
    """See `presets`."""

    presets: Annotated[list[Preset], Field(description="The most sensitive first.")]


@dialect.operation(
    "differences/presets",
    label="presets",
    layout=STANDARD,
    images=(),
    methods=("GET",),
    public=True,
)
def presets() -> Reply[PresetsResult, Info]:
    """List the presets of `differences` and their numbers."""
    return Reply(
        {
            "presets": [
                {
                    "preset": number,
                    "name": name,
                    "description": PRESETS[number],
                    "purpose": purpose,
                    "settings": _wire_settings(kernel.PRESETS[number]),
                    "own_settings": {
                        name: value
                        for name, value in _wire_settings(kernel.OWN_PRESETS[number]).items()
                        if value != _wire_settings(kernel.PRESETS[number])[name]
                    },
                }
                for number, (name, purpose) in PURPOSES.items()
            ]
        },
        {},
    )


class CountsParams(LtuParams):
    """See `counts`."""

    fic_settings: Annotated[FicSettings, BeforeValidator(_settings_object)] = Field(
        default_factory=FicSettings,
        description="Settings, as a JSON object, that override those of every preset, such as "
        "include and exclude.",
        json_schema_extra={"example": {}},
    )

    @property
    def unknown_names(self) -> list[str]:
        """Names within ``fic_settings`` that mean nothing."""
        return _unknown(self.fic_settings)


class PresetCount(TypedDict):
    """Number of differences that a preset finds."""

    preset: int
    name: Annotated[str, Field(description="Our name of its sensitivity.")]
    count: Annotated[
        int | None, Field(description="Differences; null where its margin leaves nothing.")
    ]


class CountsResult(TypedDict):
    """See `counts`."""

    counts: Annotated[list[PresetCount], Field(description="The most sensitive first.")]


@dialect.operation("differences/counts", label="counts", layout=STANDARD, images=(*PAIR, REGION))
def counts(
    image1: Image, image2: Image, image1_roi: Image | None, params: CountsParams
) -> Reply[CountsResult, Info]:
    """Count the differences that each preset of `differences` finds in a pair.

    It takes about as long as one request for each preset. `GET differences/presets` has the use
    of each, and the `own_settings` with which it is counted.
    """
    settings = [_changed(kernel.OWN_PRESETS[number], params.fic_settings) for number in PURPOSES]
    found = comparison.count_differences(image1, image2, settings, region=image1_roi)
    return Reply(
        {
            "counts": [
                {"preset": number, "name": name, "count": count}
                for (number, (name, _)), count in zip(PURPOSES.items(), found, strict=True)
            ]
        },
        {},
    )


def _wire_settings(settings: kernel.ComparisonSettings) -> dict[str, Any]:
    """Return settings under the names that ``fic_settings`` has for them."""
    named = dataclasses.asdict(settings)
    del named["include"], named["exclude"]  # of one part, not of a preset
    return named | {"behaviors": "HSV" if named.pop("use_hsv") else "RGB"}


# --------------------------------------------------------------------- alignmentMatrix


class AlignmentMatrixParams(LtuParams):
    """See `alignment_matrix`."""

    resolution: int = Field(
        512, ge=64, le=2048, description="Longest side at which keypoints are found, in px."
    )
    return_image: Flag = Field(False, description="Return image 1 warped onto image 2.")


class AlignmentMatrixResult(TypedDict):
    """See `alignment_matrix`."""

    matrix1: Annotated[Flat, Field(description="Maps image 1 to image 2; its last number is 1.")]
    matrix2: Annotated[Flat, Field(description="Maps image 2 to image 1: the inverse of matrix1.")]
    image: NotRequired[Picture]


class AlignmentMatrixInfo(Info):
    """See `alignment_matrix`."""

    method: Annotated[str, Field(description="By which keypoints: orb or sift.")]
    inliers: Annotated[int, Field(description="Keypoints that agree with the matrix.")]
    residual_px: Annotated[
        float | None,
        Field(description="Distance that remains between corners of both, px of image 2; median."),
    ]
    expected_error_px: Annotated[
        float | None,
        Field(description="Standard error of the matrix over what both show, px of image 2."),
    ]


@dialect.operation("alignmentMatrix", layout=STANDARD, aliases=("aligmentMatrix",), images=PAIR)
def alignment_matrix(
    image1: Image, image2: Image, params: AlignmentMatrixParams
) -> Reply[AlignmentMatrixResult, AlignmentMatrixInfo]:
    """Compute the matrices that align two images.

    Homographies between pixels of the original images; the centre of the first pixel is (0, 0).
    Images that do not match are an error.
    """
    found = comparison.align(image1, image2, resolution=params.resolution)
    matrix1, matrix2 = _flat_pair(found.matrix)
    result: AlignmentMatrixResult = {"matrix1": matrix1, "matrix2": matrix2}
    if params.return_image:
        result["image"] = picture(warp_onto(image1.full(), found.matrix, image2.size))
    return Reply(
        result,
        {
            "method": found.method,
            "inliers": found.inliers,
            "residual_px": _known(found.residual_px),
            "expected_error_px": _known(found.expected_error_px),
        },
        message="Alignment Matrices properly calculated",
    )


def _known(measure: float) -> float | None:
    """Return a measure of aligned images, if there was anything to measure it by."""
    return measure if math.isfinite(measure) else None


def _flat_pair(matrix: Matrix) -> tuple[list[float], list[float]]:
    """Return a matrix and its inverse, row after row."""
    return matrix.ravel().tolist(), inverse(matrix).ravel().tolist()
