"""Comparison of two images: distance, differences, alignment."""

import math
from dataclasses import dataclass

from ltu_compute.errors import BadParameters, ImagesDoNotMatch, NotEnoughContent, Problem
from ltu_compute.image import Image, alike
from ltu_compute.image.hashing import PerceptualHash, perceptual_hash
from ltu_compute.kernels import alignment
from ltu_compute.kernels.alignment import Alignment
from ltu_compute.kernels.differences import Comparison, ComparisonSettings
from ltu_compute.kernels.differences import compare as compared
from ltu_compute.kernels.distance import ImageDistance, image_distance
from ltu_compute.kernels.keypoints import WORKING_SIZE, detect_keypoints, detect_orb_keypoints
from ltu_compute.kernels.types import Size

REGION_TOLERANCE = 0.03  # relative: a reduced mask is rounded to whole px
MIN_KEYPOINTS = 8  # twice what a homography is determined by
PLENTY = 100  # ORB keypoints; ORB finds fewer than SIFT, so an image that has them is not empty


@dataclass(frozen=True)
class MeasuredDistance:
    """How far two images are from each other, and the sizes they were compared at.

    Attributes
    ----------
    found : ImageDistance
        The distance and what it consists of; boxes in px of the compared sizes.
    reference_size, query_size : Size
        Width and height at which the images were compared, px.
    reference_hash, query_hash : PerceptualHash
        Their perceptual hashes; see `image.hashing`.
    """

    found: ImageDistance
    reference_size: Size
    query_size: Size
    reference_hash: PerceptualHash
    query_hash: PerceptualHash


def distance(reference: Image, query: Image) -> MeasuredDistance:
    """Measure how far two images are from each other; see `kernels.distance`."""
    reference, query = alike(reference, query)
    longest = _common_size(reference, query)
    first, second = reference.fit(longest), query.fit(longest)
    return MeasuredDistance(
        image_distance(first, second),
        reference.fitted(longest),
        query.fitted(longest),
        perceptual_hash(first),
        perceptual_hash(second),
    )


def _common_size(*images: Image) -> int:
    """Return the longest side to compare at, px: where one comes out a little smaller, all do.

    A shot must not seem farther from its reference because one of them is a PNG.
    """
    reduced = (image for image in images if max(image.size) > WORKING_SIZE)
    return min((max(image.fitted(WORKING_SIZE)) for image in reduced), default=WORKING_SIZE)


def differences(
    reference: Image, shot: Image, settings: ComparisonSettings, *, region: Image | None = None
) -> Comparison:
    """Find what differs between two images; see `kernels.differences`.

    Parameters
    ----------
    reference, shot : Image
        Image 1 and image 2.
    settings : ComparisonSettings
        How they are compared.
    region : Image, optional
        Mask of the reference: where it is 0, nothing is compared.

    Raises
    ------
    BadParameters
        The region's aspect ratio is not that of the reference.
    ImagesDoNotMatch
        Nothing in common was found, and the images cannot be compared as they lie.
    NotEnoughContent
        Region, margin and framing leave nothing to compare.
    """
    _check_region(reference, region)
    reference, shot = alike(reference, shot)
    comparison = compared(
        reference.fit(settings.working_size(reference.size)),
        shot.fit(settings.working_size(shot.size)),
        settings,
        size1=reference.size,
        size2=shot.size,
        roi1=None if region is None else region.mask(),
    )
    if comparison is None:
        raise ImagesDoNotMatch(
            f"{reference.name} and {shot.name} show nothing in common that could be aligned, and "
            "they differ in aspect so that they cannot be compared as they lie",
            parameter=shot.name,
        )
    if comparison.compared_percent == 0:
        excluded_by = "margin or the common part" if region is None else region.name
        if settings.include or settings.exclude:
            excluded_by = "include, exclude, margin or the common part"
        raise NotEnoughContent(
            f"nothing is left to compare: {excluded_by} excludes everything",
            parameter=(region or reference).name,
        )
    return comparison


def _check_region(reference: Image, region: Image | None) -> None:
    """Refuse a region of another shape: stretched, it would exclude other parts."""
    if region is None:
        return
    ratio = region.width * reference.height / (region.height * reference.width)
    if abs(math.log(ratio)) > REGION_TOLERANCE:
        raise BadParameters(
            Problem(
                region.name,
                f"{region.name}: {region.width} x {region.height} px; its aspect ratio must be "
                f"that of {reference.name} ({reference.width} x {reference.height} px)",
            )
        )


def align(image1: Image, image2: Image, *, resolution: int) -> Alignment:
    """Compute the homography that maps image 1 onto image 2; see `kernels.alignment`.

    Parameters
    ----------
    image1, image2 : Image
        The pair.
    resolution : int
        Longest side at which keypoints are found, px.

    Returns
    -------
    Alignment
        In px of the original images; the centre of the first pixel is (0, 0).

    Raises
    ------
    NotEnoughContent
        One of the images is too empty to be aligned with any.
    ImagesDoNotMatch
        No trustworthy alignment was found.
    """
    image1, image2 = alike(image1, image2)
    longest = max(resolution, alignment.REFINEMENT_SIZE)
    gray1, gray2 = image1.fit_gray(longest), image2.fit_gray(longest)
    found = alignment.align_exactly(gray1, gray2, longest=resolution)
    if found is None:
        _check_content(image1, resolution)
        _check_content(image2, resolution)
        raise ImagesDoNotMatch(
            f"{image1.name} and {image2.name} do not match: no trustworthy alignment was found",
            parameter=image2.name,
        )
    return alignment.rescaled(
        found,
        from_sizes=(image1.fitted(longest), image2.fitted(longest)),
        to_sizes=(image1.size, image2.size),
    )


def _check_content(image: Image, resolution: int) -> None:
    """Refuse an image that is too empty to be aligned with any."""
    gray = image.fit_gray(resolution)
    if len(detect_orb_keypoints(gray)) >= PLENTY:  # takes a tenth of the time of the next look
        return
    found = len(detect_keypoints(gray))
    if found < MIN_KEYPOINTS:
        raise NotEnoughContent(
            f"{image.name}: too empty to be aligned: {found} keypoints, {MIN_KEYPOINTS} are needed",
            parameter=image.name,
        )
