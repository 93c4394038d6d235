"""Comparison of two images: distance, differences, alignment."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import thread_time

from imagehash import ImageHash

from ltu_compute.cancellation import limited
from ltu_compute.errors import (
    BadParameters,
    ImagesDoNotMatch,
    NotEnoughContent,
    Problem,
    TooManyDifferences,
)
from ltu_compute.image import Image, alike
from ltu_compute.image.hashing import perceptual_hash
from ltu_compute.kernels import alignment
from ltu_compute.kernels.alignment import Alignment
from ltu_compute.kernels.differences import (
    Comparison,
    ComparisonSettings,
    Learnt,
    Specimens,
    Tolerance,
)
from ltu_compute.kernels.differences import compare as compared
from ltu_compute.kernels.distance import ImageDistance, image_distance
from ltu_compute.kernels.keypoints import WORKING_SIZE, detect_keypoints, detect_orb_keypoints
from ltu_compute.kernels.prepared import PreparedReference as Kept
from ltu_compute.kernels.types import Bgr, Mask, Size

REGION_TOLERANCE = 0.03  # relative: a reduced mask is rounded to whole px
MIN_KEYPOINTS = 8  # twice what a homography is determined by
MOST_SECONDS = 60.0  # of processor time for one pair; 50 MP of a moved board take 7 s
_KEPT_SIZES = 2  # sizes, or readings of 16 bits, at which a prepared reference keeps its pixels
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
    reference_hash, query_hash : ImageHash
        Their perceptual hashes; see `image.hashing`.
    """

    found: ImageDistance
    reference_size: Size
    query_size: Size
    reference_hash: ImageHash
    query_hash: ImageHash


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


class PreparedReference:
    """A reference that many shots are compared with.

    It keeps what comparisons need of the reference alone: its pixels, and what alignment and
    differences compute of them. Answers are those that the image itself gives, bit for bit.
    Threads may share it.

    Parameters
    ----------
    image : Image
        The reference.
    region : Image, optional
        Mask of the reference: where it is 0, nothing is compared.
    tolerance : Tolerance or Specimens, optional
        What may differ from the reference.
    """

    def __init__(
        self,
        image: Image,
        region: Image | None = None,
        tolerance: Tolerance | Specimens | None = None,
    ) -> None:
        self.image = image
        self.region = region
        self.tolerance = tolerance
        self.kept = Kept()
        self._pixels: dict[tuple[int, int], Bgr] = {}  # by longest side and bits of a sample
        self._mask: Mask | None = None

    @property
    def bytes(self) -> int:
        """Bytes of memory that it takes, about."""
        files = len(self.image.content) + (len(self.region.content) if self.region else 0)
        pixels = sum(each.nbytes for each in self._pixels.values())
        tolerance = 0 if self.tolerance is None else self.tolerance.nbytes
        mask = 0 if self._mask is None else self._mask.nbytes
        return files + pixels + self.kept.bytes + mask + tolerance

    def fit(self, image: Image, longest: int) -> Bgr:
        """Return the pixels of the reference, read as `image` reads them; see `Image.fit`."""
        key = longest, image.sample_bits
        pixels = self._pixels.get(key)
        if pixels is None:
            if len(self._pixels) >= _KEPT_SIZES:
                self._pixels.clear()
            pixels = self._pixels.setdefault(key, image.fit(longest))
        return pixels

    def mask(self) -> Mask | None:
        """Return the mask, if there is one; see `Image.mask`."""
        if self._mask is None and self.region is not None:
            self._mask = self.region.mask()
        return self._mask


def differences(
    reference: Image | PreparedReference,
    shot: Image,
    settings: ComparisonSettings,
    *,
    region: Image | None = None,
    learnt: Learnt | None = None,
    specimens: bool = False,
    seconds: float | None = None,
) -> Comparison:
    """Find what differs between two images; see `kernels.differences`.

    Parameters
    ----------
    reference : Image or PreparedReference
        Image 1.
    shot : Image
        Image 2.
    settings : ComparisonSettings
        How they are compared.
    region : Image, optional
        Mask of the reference: where it is 0, nothing is compared. A prepared reference has its own.
    learnt : Learnt, optional
        What earlier good shots taught. Default: the prepared reference's tolerance.
    specimens : bool
        Whether the shot may show another specimen, to be aligned by its shape; so it is where
        something was learnt.
    seconds : float, optional
        Processor time that the comparison may take.

    Raises
    ------
    BadParameters
        The region's aspect ratio is not that of the reference.
    ImagesDoNotMatch
        Nothing in common was found, and the images cannot be compared without alignment.
    NotEnoughContent
        Region, margin and framing leave nothing to compare.
    TooManyDifferences
        The comparison takes more processor time than it may.
    """
    prepared = None
    if isinstance(reference, PreparedReference):
        if region is not None:
            raise ValueError("a prepared reference has its region")
        learnt = learnt or reference.tolerance
        prepared, region, reference = reference, reference.region, reference.image
    _check_region(reference, region)
    reference, shot = alike(reference, shot)
    longest = settings.working_size(reference.size)
    if prepared is not None:
        image1, roi1 = prepared.fit(reference, longest), prepared.mask()
    else:
        image1, roi1 = reference.fit(longest), None if region is None else region.mask()
    image2 = shot.fit(settings.working_size(shot.size))
    until = thread_time() + (MOST_SECONDS if seconds is None else seconds)

    def too_many() -> TooManyDifferences:
        return TooManyDifferences(
            f"{reference.name} and {shot.name} differ in too many places to compare them within "
            f"{MOST_SECONDS:g} s of processor time at {longest} px: ask for a lower resolution",
            parameter=shot.name,
        )

    with (
        nullcontext() if prepared is None else prepared.kept.in_use(image1, roi1),
        limited(lambda: thread_time() > until, too_many),
    ):
        comparison = compared(
            image1,
            image2,
            settings,
            size1=reference.size,
            size2=shot.size,
            roi1=roi1,
            learnt=learnt,
            specimens=specimens,
        )
    if comparison is None:
        raise ImagesDoNotMatch(
            f"{reference.name} and {shot.name} show nothing in common that could be aligned, and "
            "their aspect ratios or textures differ, so they cannot be compared without alignment",
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


def count_differences(
    reference: Image,
    shot: Image,
    variants: Sequence[ComparisonSettings],
    *,
    region: Image | None = None,
) -> list[int | None]:
    """Count the differences between two images, once for each of several settings.

    Parameters
    ----------
    reference, shot : Image
        The pair.
    variants : sequence of ComparisonSettings
        How they are compared. The part of the work that needs the reference alone is done once.
    region : Image, optional
        Mask of the reference: where it is 0, nothing is compared.

    Returns
    -------
    list of int or None
        By variant; None where its margin leaves nothing to compare.

    Raises
    ------
    ServiceError
        Those of `differences`; the processor time is that of one pair for all variants together.
    """
    prepared = PreparedReference(reference, region)
    until = thread_time() + MOST_SECONDS
    found: list[int | None] = []
    for settings in variants:
        left = max(0.0, until - thread_time())
        try:
            compared = differences(prepared, shot, settings, seconds=left)
        except NotEnoughContent:
            if not settings.margin:
                raise
            found.append(None)
        else:
            found.append(len(compared.differences))
    return found


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
