"""Analysis of one image: quality, colours, keypoints, objects' masks and outlines, edges."""

from dataclasses import dataclass

import numpy as np

from ltu_compute.errors import NotEnoughContent, NotInstalled
from ltu_compute.image import Image
from ltu_compute.kernels import contours as contour_kernel
from ltu_compute.kernels import object_mask
from ltu_compute.kernels.blur import perceived_blur
from ltu_compute.kernels.color_palette import PaletteColor, dominant_colors
from ltu_compute.kernels.edges import canny_edges
from ltu_compute.kernels.heat_map import keypoint_heat_map
from ltu_compute.kernels.image_quality import ImageQuality
from ltu_compute.kernels.image_quality import image_quality as measured
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.types import Bgr, Mask, Region
from ltu_compute.operations.choices import MASK_ALGORITHM, MaskAlgorithm
from ltu_compute.recognisers.available import Recognisers

HUES = 180  # grey levels of a hue channel in OpenCV's 8-bit HSV and HLS
PALETTE_SIZE = 256  # px; colours and their shares do not change beyond (kernels.color_palette)

SALIENT = "salient"
"""The model of the catalogue that salient objects are found with."""

OBJECT_RIMS = (0.01, 0.02, 0.04, 0.08)
"""Distance of a region from its object, as a share of the longest side. A larger one is taken where
the outline has more vertices than anybody edits: gaps between teeth are closed."""
OBJECT_VERTICES = 200
OBJECT_MOST = 0.95  # share of the picture; a larger object leaves no background out


def image_quality(image: Image, *, bins: int, tolerance: float) -> ImageQuality:
    """Measure exposure, sharpness and noise at full size; see `kernels.image_quality`."""
    return measured(image.gray(), bins=bins, tolerance=tolerance)


def blur(image: Image) -> float | None:
    """Return how blurred an image is when it is seen whole; see `kernels.blur`."""
    return perceived_blur(image.gray())


def heat_map(image: Image) -> Bgr:
    """Return the density of keypoints as a picture, at most `WORKING_SIZE` px on its longest side.

    See `kernels.heat_map`.
    """
    return keypoint_heat_map(image.fit_gray(WORKING_SIZE))


def color_palette(image: Image, *, count: int) -> tuple[PaletteColor, ...]:
    """Return at most ``count`` prevalent colours, largest first; see `kernels.color_palette`."""
    return tuple(dominant_colors(image.fit(PALETTE_SIZE), count=count))


def object_mask_of(
    image: Image,
    *,
    algorithm: MaskAlgorithm,
    space: str = "HSV",
    channel: str = "V",
    only_biggest: bool = True,
) -> Mask:
    """Separate the object from the background.

    Parameters
    ----------
    image : Image
        The picture.
    algorithm : {"sobel", "quantization", "otsu"}
        Closed borders of the grey picture; what differs from the flat colours at the border; one
        channel, split in two.
    space, channel : str
        Colour space and channel for ``otsu``: names of `kernels.object_mask.COLOR_CHANNELS`.
    only_biggest : bool
        Keep the biggest object only.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Of the size of the image; True where the object is.

    Raises
    ------
    NotEnoughContent
        No object stands out: an empty mask would exclude everything from a comparison.
    """
    mask: Mask | None
    if algorithm == "sobel":
        mask = object_mask.sobel_object_mask(image.gray(), only_biggest=only_biggest)
    elif algorithm == "quantization":
        mask = object_mask.quantized_object_mask(image.full(), only_biggest=only_biggest)
    else:
        levels = (
            image.gray()
            if space == "GRAY"
            else object_mask.color_channel(image.full(), space, channel)
        )
        mask = object_mask.otsu_object_mask(
            levels, only_biggest=only_biggest, period=_period(space, channel)
        )
    if mask is None:
        raise NotEnoughContent(
            f"{image.name}: no object stands out from the background ({algorithm})",
            parameter=image.name,
        )
    return mask


def object_polygon(
    image: Image, *, algorithm: MaskAlgorithm = MASK_ALGORITHM
) -> tuple[tuple[float, float], ...]:
    """Return a polygon around the biggest object, for a region of a recipe.

    The polygon keeps a distance from the object's outline, so that the edges of the part are
    compared, too; see `OBJECT_RIMS`.

    Parameters
    ----------
    image : Image
        The picture.
    algorithm : {"quantization", "sobel", "otsu"}
        See `object_mask_of`; ``otsu`` splits the brightness.

    Returns
    -------
    tuple of (float, float)
        Vertices in px of the image; the centre of the first pixel is (0, 0).

    Raises
    ------
    NotEnoughContent
        No object stands out, or it fills the picture.
    """
    mask = object_mask_of(image, algorithm=algorithm)
    if np.count_nonzero(mask) > OBJECT_MOST * mask.size:
        raise NotEnoughContent(
            f"{image.name}: the object fills the picture; there is no background to leave out",
            parameter=image.name,
        )
    for rim in OBJECT_RIMS:
        found = contour_kernel.polygon_around(mask, rim=rim, tolerance=rim / 2)
        if len(found) <= OBJECT_VERTICES:
            break
    return tuple((round(x, 1), round(y, 1)) for x, y in found.tolist())


def salient_mask_of(image: Image, recognisers: Recognisers, *, only_biggest: bool = True) -> Mask:
    """Separate the salient object from the background, by an installed model.

    Parameters
    ----------
    image : Image
        The picture.
    recognisers : Recognisers
        What is there to answer.
    only_biggest : bool
        Keep the biggest object only.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Of the size of the image; 255 where the object is.

    Raises
    ------
    NotInstalled
        The model is not there; the message says how to install it.
    ModelFailed, Busy
        The model failed, or had no turn.
    NotEnoughContent
        No object stands out.

    References
    ----------
    X. Qin et al., "U²-Net: going deeper with nested U-structure for salient object detection",
    Pattern Recognition 106, 2020.
    """
    model = recognisers.models.installed(SALIENT, "mask")
    if model is None:
        raise NotInstalled(
            f"algorithm: it needs the model {SALIENT}, which is not installed; "
            f"`ltu-compute models install {SALIENT}` installs it",
            parameter="algorithm",
        )
    side = max(model.manifest.input.size)
    likelihood = model.values(image.fit(2 * side), recognisers.release_slot)
    mask = object_mask.likely_object_mask(
        likelihood.reshape(likelihood.shape[-2:]), image.size, only_biggest=only_biggest
    )
    if mask is None:
        raise NotEnoughContent(
            f"{image.name}: no object stands out from the background ({SALIENT})",
            parameter=image.name,
        )
    return mask


@dataclass(frozen=True)
class TracedObjects:
    """The outlines of objects, largest first.

    Attributes
    ----------
    regions : tuple of Region
        Boxes in px of the image, vertices relative to their box; `MAX_VERTICES` at most.
    tolerance_px : float
        How far the outlines may be off, px; 0 unless they had to be simplified.
    """

    regions: tuple[Region, ...]
    tolerance_px: float


def contours(image: Image, *, channel: str, only_biggest: bool) -> TracedObjects:
    """Trace the outlines of objects in a channel of HSV; see `kernels.contours`."""
    levels = object_mask.color_channel(image.full(), "HSV", channel)
    outlines, traced_px = object_mask.otsu_object_outlines(
        levels, only_biggest=only_biggest, period=_period("HSV", channel)
    )
    found = contour_kernel.regions(outlines)
    fewer, simplified_px = contour_kernel.simplified([region.vertices for region in found])
    regions = (Region(region.box, kept) for region, kept in zip(found, fewer, strict=True))
    return TracedObjects(tuple(regions), traced_px + simplified_px)


def _period(space: str, channel: str) -> int | None:
    """Return the number of grey levels after which a channel starts anew: hue is a circle."""
    return HUES if channel == "H" and space in ("HSV", "HLS") else None


def edges(image: Image, *, low_threshold: float, high_threshold: float, thickness: int) -> Mask:
    """Draw the edges of the image at full size; see `kernels.edges`."""
    return canny_edges(
        image.gray(),
        low_threshold=low_threshold,
        high_threshold=high_threshold,
        thickness=thickness,
    )
