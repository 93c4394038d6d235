"""Chapter "Get image infos": heatMap, colorPalette, objectMaskDetection, contours, edges."""

from typing import Annotated, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    HEAT_MAP,
    STANDARD,
    Contour,
    Info,
    LtuParams,
    Picture,
    Reply,
    contour,
    dialect,
    mask_picture,
    picture,
    remark,
    simplified_to,
)
from ltu_compute.image import Image
from ltu_compute.kernels.object_mask import COLOR_CHANNELS
from ltu_compute.operations import analysis
from ltu_compute.operations.choices import MaskAlgorithm
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.web.endpoint import Flag

MAX_THICKNESS = 65535  # px: beyond the largest side that an image may have
SIGNATURE = 72004000  # the vendor's constant, see fixtures/vendor/replies.json


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Upper = BeforeValidator(_upper)


class HeatMapResult(TypedDict):
    """See `heat_map`."""

    heatmap: Picture


class HeatMapInfo(Info):
    """See `heat_map`."""

    signature: int


@dialect.operation("heatMap", label="heatmap", layout=HEAT_MAP)
def heat_map(image: Image) -> Reply[HeatMapResult, HeatMapInfo]:
    """Show where the points are that matching would use.

    The density of the keypoints as a colour picture, from blue (none) to red (most), at the size
    that `distance` works at: at most 512 px on the longest side.
    """
    density = analysis.heat_map(image)
    return Reply({"heatmap": picture(density)}, {"signature": SIGNATURE})


class ColorPaletteParams(LtuParams):
    """See `color_palette`."""

    count: int = Field(8, ge=1, le=32, description="How many colours, at the most.")


class ColorPaletteResult(TypedDict):
    """See `color_palette`."""

    colors: Annotated[
        list[Annotated[list[int], Field(min_length=4, max_length=4)]],
        Field(description="Red, green, blue (0 to 255) and share in percent; largest first."),
    ]


class ColorPaletteInfo(Info):
    """See `color_palette`."""

    count: int
    format: str


@dialect.operation("colorPalette", layout=STANDARD)
def color_palette(
    image: Image, params: ColorPaletteParams
) -> Reply[ColorPaletteResult, ColorPaletteInfo]:
    """Find the most prevalent colours and their shares.

    Shares are whole percentages that sum to 100; colours that look alike are merged.
    """
    palette = analysis.color_palette(image, count=params.count)
    colors = [[c.red, c.green, c.blue, c.percent] for c in palette]
    return Reply(
        {"colors": colors},
        {"count": len(colors), "format": "RGB%"},
        message=f"Found {len(colors)} colors",
    )


Algorithm = Literal["SOBEL", "BINNING", "OTSU_BIN_THRESHOLD", "SALIENT"]
_ALGORITHMS: dict[str, MaskAlgorithm] = {
    "SOBEL": "sobel",
    "BINNING": "quantization",
    "OTSU_BIN_THRESHOLD": "otsu",
}
ColorSpace = Literal["RGB", "G", "HSV", "XYZ", "YRB", "LAB", "LUV", "YUV", "HLS"]

# The wire's names of spaces and channels, by those of the kernel.
_SPACES = {"G": "GRAY", "YRB": "YCrCb"}
_CHANNELS = {"GRAY": "G", "Cr": "R", "Cb": "B"}
_BRIGHTNESS = {"RGB": "G", "HSV": "V", "LAB": "L", "LUV": "L", "HLS": "L"}  # elsewhere Y or G


def _wire_channels(space: str) -> dict[str, str]:
    """Return the channels of a colour space: the wire's letters, and the kernel's names."""
    names = COLOR_CHANNELS[_SPACES.get(space, space)]
    return {_CHANNELS.get(name, name): name for name in names}


class ObjectMaskDetectionParams(LtuParams):
    """See `object_mask_detection`."""

    algorithm: Annotated[Algorithm, Upper] = Field(
        "OTSU_BIN_THRESHOLD",
        description="SOBEL: closed borders of the grey picture. BINNING: what differs from the "
        "flat colours at the picture's border. OTSU_BIN_THRESHOLD: one channel, split in two. "
        "SALIENT (not the vendor's): what stands out to the eye, by the model `salient`.",
    )
    color_space: Annotated[ColorSpace, Upper] = Field(
        "HSV",
        description="Colour space of OTSU_BIN_THRESHOLD; G is grey, YRB is YCrCb.",
    )
    channel: Annotated[str, Upper] = Field(
        "",
        max_length=1,
        description="Channel of the colour space for OTSU_BIN_THRESHOLD, a letter of its name; "
        "empty: the one of brightness (V for HSV). Cr and Cb of YRB are R and B.",
        json_schema_extra={
            "x-allowed": "a letter of the colour space",
            "x-options-by": {
                "color_space": {space: [*_wire_channels(space)] for space in get_args(ColorSpace)}
            },
        },
    )
    only_biggest: Flag = Field(
        True, description="Keep the biggest object only; False: all of them."
    )

    @field_validator("channel")
    @classmethod
    def _is_of_the_space(cls, channel: str, info: ValidationInfo) -> str:
        space = info.data.get("color_space")  # none where it is wrong itself
        if channel and space and channel not in _wire_channels(space):
            raise ValueError(f"allowed for {space}: {', '.join(_wire_channels(space))}")
        return channel

    @property
    def used_channel(self) -> str:
        """The channel that will be looked at: the one given, or that of brightness."""
        space = self.color_space
        return self.channel or _BRIGHTNESS.get(space, "Y" if "Y" in space else "G")


ObjectMaskDetectionResult = TypedDict("ObjectMaskDetectionResult", {"binary mask": Picture})


class ObjectMaskDetectionInfo(Info):
    """See `object_mask_detection`."""

    channel: str
    algorithm: str


@dialect.operation("objectMaskDetection", layout=STANDARD)
def object_mask_detection(
    image: Image, params: ObjectMaskDetectionParams, recognisers: Recognisers
) -> Reply[ObjectMaskDetectionResult, ObjectMaskDetectionInfo]:
    """Separate the object from the background.

    The mask has the size of the image: 255 is object, 0 background. The object is a filled
    region, brighter or darker than what surrounds it. A picture without one is an error, because
    an empty mask would exclude everything from a comparison.
    """
    letter = params.used_channel
    if params.algorithm == "SALIENT":
        mask = analysis.salient_mask_of(image, recognisers, only_biggest=params.only_biggest)
    else:
        mask = analysis.object_mask_of(
            image,
            algorithm=_ALGORITHMS[params.algorithm],
            space=_SPACES.get(params.color_space, params.color_space),
            channel=_wire_channels(params.color_space)[letter],
            only_biggest=params.only_biggest,
        )
    channel = {"SOBEL": "G", "BINNING": "RGB", "SALIENT": "RGB"}.get(params.algorithm, letter)
    return Reply(
        {"binary mask": mask_picture(mask)},
        {"channel": channel, "algorithm": params.algorithm},
        message=f"Succeded to detect object using channel {channel}",
    )


class ContoursParams(LtuParams):
    """See `contours`."""

    channel: Annotated[Literal["V", "S", "H"], Upper] = Field(
        "V", description="Channel of HSV in which objects differ from the background."
    )
    only_biggest: Flag = Field(False, description="Give the biggest contour only.")


class ContoursResult(TypedDict):
    """See `contours`."""

    contours: Annotated[list[Contour], Field(description="Largest first.")]


class ContoursInfo(Info):
    """See `contours`."""

    nbContours: int


@dialect.operation("contours", layout=STANDARD)
def contours(image: Image, params: ContoursParams) -> Reply[ContoursResult, ContoursInfo]:
    """Trace the outlines of the objects.

    Boxes are in pixels of the original image, vertices relative to their box.
    """
    found = analysis.contours(image, channel=params.channel, only_biggest=params.only_biggest)
    return Reply(
        {"contours": [contour(region) for region in found.regions]},
        {"nbContours": len(found.regions)},
        message=f"Got {len(found.regions)} contours{simplified_to(found.tolerance_px)}",
    )


class EdgesParams(LtuParams):
    """See `edges`."""

    threshold_min: float = Field(
        50, ge=0, le=500, description="Gradient from which a pixel continues a sure edge."
    )
    threshold_max: float = Field(
        100, ge=0, le=500, description="Gradient from which a pixel is a sure edge."
    )
    edge_thickness: int = Field(
        1,
        ge=1,
        le=MAX_THICKNESS,
        validation_alias=AliasChoices("edge_thickness", "edge_thicknesse"),
        description="Width of the edges drawn, in px. Also understood: edge_thicknesse.",
    )


class EdgesResult(TypedDict):
    """See `edges`."""

    edges: Picture


@dialect.operation("edges", layout=STANDARD)
def edges(image: Image, params: EdgesParams) -> Reply[EdgesResult, Info]:
    """Draw the edges of the image (Canny).

    Thresholds given in reverse, as in the vendor's sample, are swapped; `message` and
    `info.remarks` say so. The picture has the size of the image: 255 is edge.
    """
    mask = analysis.edges(
        image,
        low_threshold=params.threshold_min,
        high_threshold=params.threshold_max,
        thickness=params.edge_thickness,
    )
    message, info = "Edges found.", Info()
    if params.threshold_min > params.threshold_max:
        note = "threshold_min is greater than threshold_max: the two were swapped."
        message = f"{message} {note}"
        info["remarks"] = [remark("swapped", note)]
    return Reply({"edges": mask_picture(mask)}, info, message=message)
