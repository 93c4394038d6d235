"""Operation "differences": the places where two images differ."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.difference_settings import (
    PRESETS,
    FicSettings,
    changed,
    settings_object,
)
from ltu_compute.dialects.ltu.interface import (
    DIFFERENCES,
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
    vertices,
)
from ltu_compute.dialects.ltu.pairs import REGION, SHOT, Flat, flat_pair, known
from ltu_compute.errors import BadParameters, Problem
from ltu_compute.image import Image
from ltu_compute.jobs.limits import broken_limits, placement_of
from ltu_compute.jobs.prepared_recipes import FoundRecipe
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.kernels import differences as kernel
from ltu_compute.kernels.alignment import Motion
from ltu_compute.kernels.contours import simplified
from ltu_compute.kernels.types import Box
from ltu_compute.operations import comparison
from ltu_compute.web.endpoint import Flag, ImageField

BYTE = r"\s*(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\s*"
OPAQUE = 255

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
    fic_settings: Annotated[FicSettings, BeforeValidator(settings_object)] = Field(
        default_factory=FicSettings,
        description="Settings, as a JSON object, that override those of the preset: threshold, "
        "smooth, margin, resolution, behaviors, weight, include, exclude.",
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

    def settings(self) -> kernel.ComparisonSettings:
        """Return the preset, changed by what ``fic_settings`` says."""
        return changed(kernel.PRESETS[self.preset], self.fic_settings)


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

    method: Annotated[str, Field(description="still, orb, sift, near, tracking, shape or none.")]
    inliers: Annotated[int, Field(description="Keypoints that agree with the matrix.")]
    residual_px: Residual
    bend_px: Annotated[
        float, Field(description="How far the surface bends from flat, in px compared; 0: flat.")
    ]
    followed: Annotated[
        Literal["image", "region", "subject", "none"],
        Field(
            description="Subject of the alignment: the whole image, or the region of interest "
            "where that moved differently, or the part before a plain background."
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
    highlights: NotRequired[
        Annotated[
            list[BoundingBox],
            Field(
                description="Highlights that both images show, there or nearby: reflections that "
                "hide the surface. Their places on image 1 were not compared. At most 100, largest "
                "first; absent if there are none."
            ),
        ]
    ]
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
        judged = _verdict(by, compared, image2)
    else:
        if image1 is None:
            raise AssertionError("no request passes without image1 and recipe")
        settings = params.settings()
        compared = comparison.differences(image1, image2, settings, region=image1_roi)
    on1, note1 = _differences([d.on1 for d in compared.differences], compared, params, image1)
    on2, note2 = _differences([d.on2 for d in compared.differences], compared, params, image2)
    result: DifferencesResult = {"diffOnImage1": on1, "diffOnImage2": on2}
    if params.transform:
        result["matOn1"], result["matOn2"] = flat_pair(compared.matrix1to2)
    found = compared.alignment
    info: DifferencesInfo = {
        "count": len(compared.differences),
        "compared": compared.compared_percent / 100,
        "alignment": {
            "method": found.method if found else "none",
            "inliers": found.inliers if found else 0,
            "residual_px": known(compared.residual_px),
            "bend_px": compared.bend_px,
            "followed": compared.followed,
            **_motion(compared.motion),
            "relief": [_relief(part) for part in compared.relief],
            "other": None if compared.other_motion is None else _motion(compared.other_motion),
        },
    }
    if compared.highlights:
        info["highlights"] = [_bounding_box(box) for box in compared.highlights]
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


def _verdict(found: FoundRecipe, compared: kernel.Comparison, shot: Image) -> RecipeVerdict:
    """Judge a comparison by the limits of its recipe."""
    placement = placement_of(compared, found.ready.reference.image.size, shot.size)
    reason = broken_limits(compared, found.ready.limits, placement)
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
    right, down = part.displacement
    return {
        "boundingBox": _bounding_box(part.box),
        "displacement_x_px": right,
        "displacement_y_px": down,
    }


def _bounding_box(box: Box) -> BoundingBox:
    x, y, width, height = box
    return {"x": x, "y": y, "width": width, "height": height}


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
            "margin": known(found.margin),
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
