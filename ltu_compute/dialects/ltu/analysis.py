"""Chapter "Analyse images": imageQuality."""

from typing import Annotated

from pydantic import AliasChoices, Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    STANDARD,
    Info,
    LtuParams,
    Picture,
    Reply,
    dialect,
    mask_picture,
    picture,
)
from ltu_compute.image import Image, transport
from ltu_compute.kernels.blur import Verdict, verdict_of
from ltu_compute.kernels.image_quality import histogram_picture
from ltu_compute.operations import analysis

# The vendor's scales: its samples are exact to 16 digits (fixtures/vendor/replies.json).
VAL_SCALE = 1000
SML_SCALE = 150


class ImageQualityParams(LtuParams):
    """See `image_quality`."""

    bins: int = Field(255, ge=2, le=256, description="Bins of the luminance histogram.")
    tolerance: float = Field(
        0.1,
        ge=0,
        le=1,
        validation_alias=AliasChoices("tolerance", "tolerence"),
        description="Share of the luminance range at its dark end that counts as underexposed, "
        "and at its bright end as overexposed. Also understood: tolerence.",
    )


class Brightness(TypedDict):
    """How light is spread; luminance is 0 to 255."""

    under_per: Annotated[float, Field(description="Underexposed pixels, in percent.")]
    under_mask: Picture
    over_per: Annotated[float, Field(description="Overexposed pixels, in percent.")]
    over_mask: Picture
    l_hist: Annotated[
        str,
        Field(description="Histogram: base64 of a byte a bin, scaled so that the largest is 255."),
    ]
    l_mean: float
    l_std: float
    l_hist_image: Picture


class Sharpness(TypedDict):
    """How much detail there is; larger is sharper."""

    val: Annotated[float, Field(description="Variance of the Laplacian's absolute values.")]
    sml: Annotated[float, Field(description="Mean of the modified Laplacian.")]
    val_norm: Annotated[float, Field(description="val / 1000")]
    sml_norm: Annotated[float, Field(description="sml / 150")]
    blur: Annotated[
        float | None,
        Field(
            description="Blur of the picture seen at 512 px, 0 (sharp) to 1: the same at every "
            "resolution from there. null where the picture is flat."
        ),
    ]
    verdict: Annotated[
        Verdict, Field(description="sharp: blur below 0.42. soft: below 0.52. flat: no blur known.")
    ]


class ImageQualityResult(TypedDict):
    """See `image_quality`."""

    encoding: str
    brightness: Brightness
    sharpness: Sharpness
    noise: Annotated[str, Field(description="Always empty, as the vendor's.")]
    noise_sigma: Annotated[float, Field(description="Standard deviation of the noise, 0 to 255.")]


class ImageQualityInfo(Info):
    """See `image_quality`."""

    description: str


@dialect.operation("imageQuality", label="quality", layout=STANDARD)
def image_quality(
    image: Image, params: ImageQualityParams
) -> Reply[ImageQualityResult, ImageQualityInfo]:
    """Measure exposure, sharpness and noise."""
    quality = analysis.image_quality(image, bins=params.bins, tolerance=params.tolerance)
    brightness: Brightness = {
        "under_per": quality.under_percent,
        "under_mask": mask_picture(quality.under_mask),
        "over_per": quality.over_percent,
        "over_mask": mask_picture(quality.over_mask),
        "l_hist": transport.base64_text(quality.histogram.tobytes()),
        "l_mean": quality.luminance_mean,
        "l_std": quality.luminance_std,
        "l_hist_image": picture(histogram_picture(quality.histogram)),
    }
    blur = analysis.blur(image)
    sharpness: Sharpness = {
        "val": quality.laplacian_variance,
        "sml": quality.modified_laplacian,
        "val_norm": quality.laplacian_variance / VAL_SCALE,
        "sml_norm": quality.modified_laplacian / SML_SCALE,
        "blur": blur,
        "verdict": verdict_of(blur),
    }
    result: ImageQualityResult = {
        "encoding": "OK",
        "brightness": brightness,
        "sharpness": sharpness,
        "noise": "",
        "noise_sigma": quality.noise_sigma,
    }
    return Reply(result, {"description": ""})
