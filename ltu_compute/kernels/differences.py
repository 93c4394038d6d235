"""What differs between two shots of the same thing.

The second image is aligned with the first, its light is fitted to the first's, and what is left is
compared within the reach of what alignment, noise and clipping cannot tell, both ways: a pixel
counts as different when it lies beyond the range of the other image's neighbourhood.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, align, align_still, refined
from ltu_compute.kernels.highlights import highlight_mask
from ltu_compute.kernels.homography import (
    inverse,
    map_points,
    overlap_mask,
    rescale_homography,
    scale_at_centre,
    size_of,
)
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.near_alignment import align_near
from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.reduction import brightest_channel, reduced, reduced_size
from ltu_compute.kernels.surface import Bend, find_bend
from ltu_compute.kernels.tracking import Target, tracked_corners
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Matrix, Points, Size, Vertices

Floats = NDArray[np.float32]

MAX_RESOLUTION = 900
"""Largest longest side, in px, at which images are compared."""

ASPECT_TOLERANCE = 0.01
"""By how much, relatively, the aspect ratios of images compared as they lie may differ."""

_REFERENCE_SIZE = 400  # lengths below are in px of an image of this longest side
_DELTA_E_PER_THRESHOLD = 8.0
_SHARPNESS = 0.15  # share of the local contrast by which a pixel may exceed the range
_SHARPNESS_AT_CLIPPING = 0.5
_HALO = 0.35  # share of the strongest nearby below which a difference is the other's halo
_LIGHT_POWER = (0.7, 1.45)  # what another camera or lamp does to the tones
_LIGHT_GAIN = 4.0  # by which it brightens or darkens, at the most
_SETTLED = 1e-4  # change of a coefficient, in the logarithm of light, that nobody sees
_LIGHT_AGREEMENT = 0.55  # share of the image that a change of light must explain, to 15 %
_LOOSE_PX = 1.0  # residual at which another alignment is tried, and one at which none bends
_FLAT_PX = 0.4
_NOISE_FLOOR = 1.0  # ΔE that any camera's noise may reach
_HIGHLIGHT_STEP = 0.04  # of the longest side: how far a highlight moves between two shots
_MERGED_GAP = 12  # fragments no farther apart are one difference
_SCALES = (0.5, 1.2, 2.5)  # sigmas at which the images are compared
_FINER = 1.5  # times the reference size, from where on the finest scale is that of the pixels
_FOCUS_SIGMAS = (0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)


@dataclass(frozen=True)
class ComparisonSettings:
    """What counts as a difference.

    Attributes
    ----------
    threshold : float
        Colour difference that counts, in units of 8 ΔE (CIE76, 100 between black and white); 0 or
        more. The higher, the fewer differences. A difference also holds its surroundings of more
        than half of that.
    smooth : float
        Smoothing of the difference map, 0 or more: a Gaussian of sigma 2.5 · ``smooth`` px of the
        compared image. The higher, the more small differences are erased.
    margin : int
        Border that is not compared, in px of the original image 1.
    resolution : int
        Longest side, in px, at which the images are compared, 16 to 900. Smaller images are not
        enlarged.
    use_hsv : bool
        Compare hue, saturation and value instead of CIE Lab.
    weight : float
        Factor of all strengths and so of the score; 0 or more.
    min_area_percent : float
        Differences of a smaller share of image 1 are dropped, in percent.
    edge_tolerance : float
        Displacement that is no difference, in px compared; 0 or more. It is widened where the
        alignment's residual says that the surface is not flat.
    """

    threshold: float = 0.6
    smooth: float = 0.2
    margin: int = 0
    resolution: int = 400
    use_hsv: bool = False
    weight: float = 1.0
    min_area_percent: float = 0.0
    edge_tolerance: float = 1.0

    def __post_init__(self) -> None:
        numbers = (
            self.threshold,
            self.smooth,
            self.margin,
            self.weight,
            self.min_area_percent,
            self.edge_tolerance,
        )
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("settings must be finite and not negative")
        if not 16 <= self.resolution <= MAX_RESOLUTION:
            raise ValueError(f"resolution must be from 16 to {MAX_RESOLUTION}")


_BORDERS = ComparisonSettings(margin=10, edge_tolerance=2.0)

PRESETS: Mapping[int, ComparisonSettings] = MappingProxyType(
    {
        1: ComparisonSettings(),
        2: _BORDERS,
        3: replace(_BORDERS, smooth=0.8),
        4: replace(_BORDERS, smooth=0.8, min_area_percent=0.05),
        5: replace(_BORDERS, smooth=0.4, min_area_percent=0.05),
    }
)
"""Settings by number: 1 fine differences, 2 less noise on borders, 3 and smoothed, 4 and without
small differences, 5 as 4 but smoothed less."""


@dataclass(frozen=True, eq=False)
class Spot:
    """Where a difference lies on one of the images, in px of the original.

    Attributes
    ----------
    box : Box
        Smallest upright rectangle that holds it.
    circle_center : tuple of float
        x, y of the centre of the smallest circle around its outline.
    circle_radius : float
        Radius of that circle.
    vertices : ndarray of int32, shape (N, 2)
        Its outline, relative to the corner of the box; the last connects with the first.
    """

    box: Box
    circle_center: tuple[float, float]
    circle_radius: float
    vertices: Vertices


@dataclass(frozen=True, eq=False)
class Difference:
    """One thing that differs.

    Attributes
    ----------
    on1, on2 : Spot
        Where it lies on image 1 and image 2.
    area_percent : float
        Its share of image 1, in percent.
    strength : float
        Mean difference over its area: 100 is that between black and white (CIE76 ΔE), times the
        weight.
    """

    on1: Spot
    on2: Spot
    area_percent: float
    strength: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two images, and what was compared.

    Attributes
    ----------
    aligned : bool
        Whether the images were aligned; otherwise they were compared as they lie.
    alignment : Alignment or None
        How they were aligned, in px of the reduced images given.
    residual_px : float
        Median distance that the homography leaves between tracked corners, in px compared; NaN
        where nothing was tracked.
    bend_px : float
        How far the surface bends from flat at the most, in px compared; 0 where no bend was found.
        Differences lie where the bend has them, `matrix1to2` is the flat part.
    matrix1to2 : ndarray of float64, shape (3, 3)
        Maps px of the original image 1 to px of the original image 2.
    differences : tuple of Difference
        Largest first.
    score : float
        Sum over all differences of ``area_percent`` · ``strength``; 0 when nothing differs.
    compared_percent : float
        Share of image 1 that was compared, in percent: what image 2 shows too, without margin and
        what the region of interest excludes. 0 when nothing was left to compare.
    reference : ndarray of uint8, shape (H, W, 3)
        Image 1 as it was compared.
    aligned_image : ndarray of uint8, shape (H, W, 3)
        Image 2 as image 1 sees it; black outside.
    corrected_image : ndarray of uint8, shape (H, W, 3)
        The same in the light of image 1.
    difference_map : ndarray of float32, shape (H, W)
        Difference of each pixel beyond what misregistration and noise explain, ΔE; 0 where nothing
        was compared.
    """

    aligned: bool
    alignment: Alignment | None
    residual_px: float
    bend_px: float
    matrix1to2: Matrix
    differences: tuple[Difference, ...]
    score: float
    compared_percent: float
    reference: Bgr = field(repr=False)
    aligned_image: Bgr = field(repr=False)
    corrected_image: Bgr = field(repr=False)
    difference_map: Floats = field(repr=False)


def compare(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    size1: Size,
    size2: Size,
    roi1: Mask | None = None,
) -> Comparison | None:
    """Find what differs between two images.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        The images, reduced to a longest side of ``max(512, 2 * settings.resolution)`` where they
        are larger: fine patterns that were reduced twice would differ by their aliases.
    settings : ComparisonSettings
        What counts as a difference.
    size1, size2 : Size
        Sizes of the original images; results are in their px.
    roi1 : ndarray of uint8, shape (H, W), optional
        Region of interest on image 1, of any size: what is 0 is not compared.

    Returns
    -------
    Comparison or None
        None where the images could not be aligned and differ in aspect ratio.

    Raises
    ------
    ValueError
        If an image is not a colour image of 8 bits or is empty.
    """
    for image in (image1, image2):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError("images must be uint8 arrays of shape (H, W, 3)")
    reduced1, reduced2 = size_of(image1), size_of(image2)
    gray1 = np.asarray(cv2.cvtColor(image1, cv2.COLOR_BGR2GRAY), np.uint8)
    gray2 = np.asarray(cv2.cvtColor(image2, cv2.COLOR_BGR2GRAY), np.uint8)
    target = Target(gray2)
    alignment = _alignment(gray1, target)
    if alignment is not None:
        matrix = alignment.matrix
    elif _same_aspect(size1, size2):
        matrix = _scaling(reduced1, reduced2)
    else:
        return None
    matrix1to2 = rescale_homography(
        matrix, from_sizes=(reduced1, reduced2), to_sizes=(size1, size2)
    )

    # Image 2 may be the smaller one: nothing is compared that it does not show.
    shown = scale_at_centre(matrix, reduced1) * max(reduced1)
    reference = reduced(image1, round(np.clip(shown, 32, settings.resolution)))
    frame = size_of(reference)
    to_image2 = rescale_homography(
        matrix, from_sizes=(reduced1, reduced2), to_sizes=(frame, reduced2)
    )
    view = _View(to_image2, _bend(gray1, target, alignment), frame, reduced2)
    aligned_image = view.of(image2)
    shared = view.shared() & ~_highlit(image1, image2, view)
    # Light, focus and noise are told by all that both show; margin and region only exclude.
    corrected = _in_light_of(reference, aligned_image, shared)
    remaining = view.bend or alignment
    px2 = scale_at_centre(to_image2, frame)  # of image 2 to a px compared
    residual = 0.0 if remaining is None else remaining.residual_px / px2
    play = _play(residual / max(frame))
    difference_map = _difference_map(
        reference, aligned_image, corrected, shared, settings, play=play
    )
    compared = shared & _asked(frame, margin=settings.margin, size1=size1, roi1=roi1)
    difference_map *= compared
    differences = _differences(difference_map, compared, settings, view, (size1, size2))
    return Comparison(
        aligned=alignment is not None,
        alignment=alignment,
        residual_px=float("nan") if alignment is None else alignment.residual_px / px2,
        bend_px=0.0 if view.bend is None else view.bend.largest_px / px2,
        matrix1to2=matrix1to2,
        differences=differences,
        score=float(sum(d.area_percent * d.strength for d in differences)),
        compared_percent=100.0 * float(np.count_nonzero(compared)) / compared.size,
        reference=reference,
        aligned_image=aligned_image,
        corrected_image=corrected,
        difference_map=difference_map,
    )


def region_mask(spot: Spot) -> Mask:
    """Return the area of a difference: 255 within its outline, of the size of its box."""
    mask = np.zeros((spot.box.height, spot.box.width), np.uint8)
    cv2.fillPoly(mask, [spot.vertices.reshape(-1, 1, 2)], 255)
    return mask


def outline_picture(
    spot: Spot, color_bgra: tuple[int, int, int, int], thickness: int
) -> NDArray[np.uint8]:
    """Draw the closed outline of a difference.

    Parameters
    ----------
    spot : Spot
        The difference on one of the images.
    color_bgra : tuple of int
        Blue, green, red and opacity of the line, 0 to 255.
    thickness : int
        Width of the line, in px, 1 or more; what leaves the box is cut off.

    Returns
    -------
    ndarray of uint8, shape (H, W, 4)
        BGRA picture of the size of the box, transparent black off the line.
    """
    picture = np.zeros((spot.box.height, spot.box.width, 4), np.uint8)
    outline = [spot.vertices.reshape(-1, 1, 2)]
    cv2.polylines(picture, outline, isClosed=True, color=color_bgra, thickness=thickness)
    return picture


# --- alignment ---------------------------------------------------------------------------------


def _alignment(gray1: Gray, target: Target) -> Alignment | None:
    """Align the images, in px of the arrays given."""
    gray2 = target.gray
    size1, size2 = size_of(gray1), size_of(gray2)
    alike = _same_aspect(size1, size2)
    if alike:
        onto1 = target
        if size1 != size2:
            resized = cv2.resize(gray2, size1, interpolation=cv2.INTER_AREA)
            onto1 = Target(np.asarray(resized, np.uint8))
        still = align_still(gray1, onto1)
        if still is not None:
            scaling = _scaling(size1, size2)
            points2 = map_points(still.inlier_points1, scaling).astype(np.float32)
            return replace(still, matrix=scaling, inlier_points2=points2)
    found = _by_keypoints(gray1, target)
    if alike and (found is None or found.residual_px > _LOOSE_PX):
        near = align_near(gray1, gray2)
        # Pixels alone could be made to agree with anything: what is tracked must lie flat, too.
        flat = near is not None and not near.residual_px > _LOOSE_PX
        if near and flat and (found is None or near.residual_px < 0.5 * found.residual_px):
            return near
    return found


def _by_keypoints(gray1: Gray, target: Target) -> Alignment | None:
    gray2 = target.gray
    size1, size2 = size_of(gray1), size_of(gray2)
    small1, small2 = reduced(gray1, WORKING_SIZE), reduced(gray2, WORKING_SIZE)
    alignment = align(small1, small2)
    if alignment is None:
        return None
    matrix = rescale_homography(
        alignment.matrix, from_sizes=(size_of(small1), size_of(small2)), to_sizes=(size1, size2)
    )
    alignment = replace(alignment, matrix=matrix)
    if size_of(small1) == size1 and size_of(small2) == size2:
        return alignment
    return refined(alignment, gray1, gray2, target=target)


def _same_aspect(size1: Size, size2: Size) -> bool:
    ratio = (size1.width * size2.height) / (size1.height * size2.width)
    return bool(abs(np.log(ratio)) <= ASPECT_TOLERANCE)


def _scaling(size1: Size, size2: Size) -> Matrix:
    """Matrix between two images that lie on each other edge to edge."""
    return rescale_homography(np.eye(3), from_sizes=(size1, size1), to_sizes=(size1, size2))


def _bend(gray1: Gray, target: Target, alignment: Alignment | None) -> Bend | None:
    """How the surface bends beyond its homography, in px of image 2."""
    if alignment is None or alignment.method == "near" or not alignment.residual_px > _FLAT_PX:
        return None
    start, end = tracked_corners(alignment.matrix, gray1, target)
    return find_bend(start, end, target.size)


@dataclass(frozen=True, eq=False)
class _View:
    """How image 2 lies under the compared image 1: a homography, and where that bends, a bend.

    ``matrix`` maps px of the frame, the compared image 1, to px of image 2, which ``size2`` and
    ``bend`` are in, too.
    """

    matrix: Matrix
    bend: Bend | None
    frame: Size
    size2: Size

    def onto2(self, points: Points) -> NDArray[np.float64]:
        """Return where points of the frame lie on image 2."""
        places = map_points(points, self.matrix)
        return places if self.bend is None else places + self.bend.at(places)

    def of(self, image2: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Show image 2, or a mask of it, as the compared image 1 sees it."""
        if self.bend is None and np.allclose(self.matrix, _scaling(self.frame, self.size2)):
            flags = cv2.INTER_AREA if self.frame.width <= self.size2.width else cv2.INTER_CUBIC
            return np.asarray(cv2.resize(image2, self.frame, interpolation=flags), np.uint8)
        scale = scale_at_centre(self.matrix, self.frame)
        source = image2
        if scale > 1.02:
            sigma = 0.5 * np.sqrt(scale**2 - 1)
            source = np.asarray(cv2.GaussianBlur(image2, (0, 0), sigma), np.uint8)
        if self.bend is None:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen = cv2.warpPerspective(
                source, self.matrix, self.frame, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        else:
            seen = cv2.remap(
                source, self._places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return np.asarray(seen, np.uint8)

    def shared(self) -> NDArray[np.bool_]:
        """Where image 2 shows what the frame shows."""
        if self.bend is None:
            return overlap_mask(inverse(self.matrix), self.size2, self.frame) > 0
        limits = [self.size2.width - 1, self.size2.height - 1]
        places = self._places
        inside = np.all((places >= 0) & (places <= limits), axis=2)
        known = np.zeros((self.frame.height, self.frame.width), np.uint8)
        outline = np.rint(map_points(self.bend.known, inverse(self.matrix))).astype(np.int32)
        cv2.fillConvexPoly(known, outline.reshape(-1, 1, 2), 1)
        return np.asarray(inside & (known > 0), np.bool_)

    @cached_property
    def _places(self) -> Floats:
        """Where each pixel of the frame lies on image 2, shape (H, W, 2)."""
        columns, rows = np.meshgrid(np.arange(self.frame.width), np.arange(self.frame.height))
        points = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
        flat = map_points(points, self.matrix).reshape(self.frame.height, self.frame.width, 2)
        if self.bend is None:
            return flat.astype(np.float32)
        # A bend varies slowly: told on a coarse grid, interpolated in between.
        step = 8
        coarse = reduced_size(self.frame, max(self.frame) // step)
        centres = [
            (np.arange(count) + 0.5) * full / count - 0.5
            for count, full in zip(coarse, self.frame, strict=True)
        ]
        grid = np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, 2)
        bends = self.bend.at(map_points(grid, self.matrix)).reshape(coarse.height, coarse.width, 2)
        fine = cv2.resize(bends.astype(np.float32), self.frame, interpolation=cv2.INTER_CUBIC)
        return np.asarray(flat + fine, np.float32)


def _asked(frame: Size, *, margin: int, size1: Size, roi1: Mask | None) -> NDArray[np.bool_]:
    """Where a comparison is asked for, in the frame of the compared image 1."""
    x = margin * frame.width / size1.width
    y = margin * frame.height / size1.height
    columns = np.arange(frame.width) + 0.5
    rows = np.arange(frame.height) + 0.5
    asked = ((rows > y) & (rows < frame.height - y))[:, None] & (
        (columns > x) & (columns < frame.width - x)
    )
    if roi1 is not None:
        included = np.where(roi1 > 0, np.uint8(255), np.uint8(0))
        asked &= cv2.resize(included, frame, interpolation=cv2.INTER_AREA) > 127
    return np.asarray(asked, np.bool_)


def _highlit(image1: Bgr, image2: Bgr, view: _View) -> NDArray[np.bool_]:
    """Where a highlight that moved hides what either image shows, in the frame.

    A light that only one of them shows is a difference: a lamp that was lit, a white drop.
    """
    none = np.zeros((view.frame.height, view.frame.width), bool)
    highlights1 = highlight_mask(image1)
    if not highlights1.any():
        return none
    highlights2 = highlight_mask(image2)
    if not highlights2.any():
        return none
    on1 = cv2.resize(highlights1, view.frame, interpolation=cv2.INTER_AREA) > 0
    on2 = view.of(highlights2) > 0
    reach = round(_HIGHLIGHT_STEP * max(view.frame))
    hidden = np.zeros_like(on1)
    for one, other in ((on1, on2), (on2, on1)):
        away = (~other).astype(np.uint8)
        near = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
        _, labels = cv2.connectedComponents(one.astype(np.uint8))
        moved = np.unique(labels[near & one])
        hidden |= np.isin(labels, moved[moved > 0])
    return np.asarray(hidden, np.bool_)


# --- light -------------------------------------------------------------------------------------


def _in_light_of(reference: Bgr, other: Bgr, compared: NDArray[np.bool_]) -> Bgr:
    """Fit the light of one image to that of another, robustly against what differs.

    Each channel is fitted as a power of the other (gain and gamma) times a quadratic field over
    the image (a lamp moved), by iteratively reweighted least squares with Tukey's biweight in the
    logarithm; what remains is corrected by the median over large windows. Where the fit is not
    what light does, because most of the image shows something else, nothing is corrected.
    """
    if np.array_equal(reference, other):
        return other
    height, width = compared.shape
    step = max(1, max(height, width) // 100)
    soft1 = _blurred(reference, 1.5)
    soft2 = _blurred(other, 1.5)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    terms = np.broadcast_arrays(np.float32(1), x, y, x * x, x * y, y * y)
    sampled = compared[::step, ::step]
    logarithms = np.log(np.arange(256, dtype=np.float32) + 2)
    corrected = np.empty_like(soft2)
    for channel in range(3):
        source = soft2[::step, ::step, channel]
        target = soft1[::step, ::step, channel]
        usable = sampled & _unclipped(source) & _unclipped(target)
        wanted = np.log(target[usable] + 2)
        field_rows = (term[::step, ::step][usable] for term in terms)
        rows = np.stack([np.log(source[usable] + 2), *field_rows], axis=-1)
        coefficients = _robust_fit(rows, wanted)
        if not _is_light(coefficients, rows, wanted):
            return other
        power, constant, *slopes = coefficients
        light = power * cv2.LUT(other[..., channel], logarithms) + constant
        for slope, term in zip(slopes, (x, y, x * x, x * y, y * y), strict=True):
            light += slope * term
        corrected[..., channel] = np.exp(np.clip(light, -5, 6)) - 2
    known = _unclipped(soft1) & _unclipped(soft2) & compared[..., None]
    corrected += _local_offset(soft1 - _blurred(corrected, 1.5), known)
    return np.clip(np.rint(corrected), 0, 255).astype(np.uint8)


def _unclipped(values: Floats) -> NDArray[np.bool_]:
    return (values > 6) & (values < 249)


def _robust_fit(basis: Floats, wanted: Floats) -> Floats:
    """Coefficients of `basis`, shape (N, 7), for `wanted`; drawn to "no change" by a weak prior."""
    prior = np.zeros(basis.shape[1])
    prior[0] = 1.0
    if len(wanted) < 50:
        return prior.astype(np.float32)
    rows = basis.astype(np.float64)
    aim = wanted.astype(np.float64) - rows @ prior
    stiffness = np.diag([0.002, 1e-4, 0.005, 0.005, 0.01, 0.01, 0.01]) * len(aim)
    solution = np.zeros(len(prior))
    solution[1] = median(aim)
    # A level of grey weighs less in the dark.
    bright = np.exp(np.clip(wanted, 2.5, 5)).astype(np.float64)
    for _ in range(10):
        residual = aim - rows @ solution
        scale = max(1.4826 * median(np.abs(residual)), 0.01)
        weights = np.square(np.clip(1 - np.square(residual / (4.685 * scale)), 0, None))
        weights *= bright
        weights /= weights.mean() + 1e-12
        weighted = rows * weights[:, None]
        before = solution
        solution = np.linalg.solve(weighted.T @ rows + stiffness, weighted.T @ aim)
        if np.abs(solution - before).max() < _SETTLED:
            break
    return (prior + solution).astype(np.float32)


def _is_light(coefficients: Floats, basis: Floats, wanted: Floats) -> bool:
    """Tell whether a fit is a change of light, and explains most of the image."""
    if len(wanted) == 0:
        return True
    fitted = basis @ coefficients
    gain = percentile(np.abs(fitted - basis[:, 0]), 98)
    agreement = float(np.mean(np.abs(wanted - fitted) < 0.15))
    low, high = _LIGHT_POWER
    return bool(
        low <= coefficients[0] <= high
        and gain <= np.log(_LIGHT_GAIN)
        and agreement >= _LIGHT_AGREEMENT
    )


def _local_offset(residual: Floats, known: NDArray[np.bool_]) -> Floats:
    """Median of the residual in windows of a third of the image, at most 10 levels."""
    height, width = residual.shape[:2]
    longest = max(height, width)
    if min(height, width) < 48:
        return np.zeros_like(residual)
    size = (max(1, round(48 * width / longest)), max(1, round(48 * height / longest)))
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    bounded = np.clip(residual, -40, 40) * known
    coarse = cv2.resize(bounded, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 0.2)
    levels = np.clip(np.rint(coarse * 3 + 128), 0, 255).astype(np.uint8)
    median = (cv2.medianBlur(levels, 15).astype(np.float32) - 128) / 3
    smooth = _blurred(np.clip(median, -10, 10), 3)
    offset = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(offset, np.float32)


def _equally_sharp(
    first: Floats, second: Floats, compared: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Blur the sharper of two images until their fine detail is alike.

    Another focus, another lens, another size: none is a difference. The blur is the one under
    which the images differ least where either has detail, without the tenth of the pixels that
    differ most, so that a defect has no say.
    """
    luma1, luma2 = first[..., 0], second[..., 0]
    detail = np.maximum(np.abs(_detail(luma1)), np.abs(_detail(luma2)))
    if not compared.any():
        return first, second
    busy = compared & (detail >= percentile(detail[compared], 80)) & (detail > 1)
    if busy.sum() < 100:
        return first, second
    target1, target2 = luma1[busy], luma2[busy]
    best = _trimmed(target1 - target2)
    choice = (0.0, 0.0)
    for sigma in _FOCUS_SIGMAS:
        gaps = (
            (_trimmed(_blurred(luma1, sigma)[busy] - target2), (sigma, 0.0)),
            (_trimmed(target1 - _blurred(luma2, sigma)[busy]), (0.0, sigma)),
        )
        gap, sigmas = min(gaps)
        if gap >= best:
            break
        best, choice = gap, sigmas
    if choice[0]:
        first = _blurred(first, choice[0])
    if choice[1]:
        second = _blurred(second, choice[1])
    return first, second


def _blurred(values: Floats | Bgr, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), sigma), np.float32)


def _detail(values: Floats) -> Floats:
    return values - _blurred(values, 1.0)


def _trimmed(residual: Floats) -> float:
    """Mean magnitude of the residual without its largest tenth."""
    magnitude = np.abs(residual)
    return float(magnitude[magnitude <= percentile(magnitude, 90)].mean())


# --- differences -------------------------------------------------------------------------------


def _difference_map(
    reference: Bgr,
    aligned_image: Bgr,
    corrected: Bgr,
    compared: NDArray[np.bool_],
    settings: ComparisonSettings,
    *,
    play: float,
) -> Floats:
    """Difference of each pixel beyond misregistration and noise, in ΔE.

    `play` is what the surface may be displaced by beyond its matrix, in px at 400 px longest side.
    """
    scale = max(compared.shape) / _REFERENCE_SIZE
    level = _with_doubt(reference, aligned_image, corrected)
    # What is not compared must not leak into what is.
    np.copyto(level, reference, where=~compared[..., None])
    first, second = _coordinates(reference, settings), _coordinates(level, settings)
    first, second = _equally_sharp(first, second, compared)
    brightest = cv2.max(*(brightest_channel(image) for image in (reference, aligned_image)))
    at_clipping = cv2.dilate(brightest, np.ones((5, 5), np.uint8)) >= 250
    softness = np.where(at_clipping, _SHARPNESS_AT_CLIPPING, _SHARPNESS).astype(np.float32)
    softness = np.asarray(cv2.merge([softness] * 3), np.float32)
    radius = settings.edge_tolerance + play * max(1.0, scale)
    difference_map = np.zeros(compared.shape, np.float32)
    sigmas = [sigma * scale for sigma in _SCALES]
    if scale > _FINER:
        sigmas.append(_SCALES[0])  # more pixels shall show smaller differences
    for sigma in sigmas:
        blurred1 = _blurred(first, sigma)
        blurred2 = _blurred(second, sigma)
        allowance = 2.5 * _noise(blurred1 - blurred2, compared)
        for one, other in ((blurred1, blurred2), (blurred2, blurred1)):
            beyond = _beyond_range(one, other, radius, allowance, softness)
            cv2.max(difference_map, beyond, difference_map)
    return difference_map * _beyond_rim(compared)


def _beyond_rim(compared: NDArray[np.bool_]) -> Mask:
    """Where resampling does not reach over the rim of what both show: 1, elsewhere 0."""
    return np.asarray(
        cv2.erode(
            compared.astype(np.uint8),
            np.ones((5, 5), np.uint8),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=1,
        ),
        np.uint8,
    )


def _smoothed(difference_map: Floats, compared: NDArray[np.bool_], smooth: float) -> Floats:
    """Erase what is small, and the halos that blurring leaves."""
    longest = max(compared.shape)
    smoothed = difference_map.copy()
    sigma = 2.5 * smooth
    if sigma > 0.05:
        smoothed = _blurred(difference_map, sigma) * _beyond_rim(compared)
    # What fades beside something much stronger is not part of it.
    reach = 2 * max(1, round(6 * longest / _REFERENCE_SIZE)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    smoothed[smoothed < _HALO * cv2.dilate(smoothed, kernel)] = 0
    return smoothed


def _play(residual: float) -> float:
    """Return by how much a surface that is not flat may be displaced beyond its matrix.

    Some times the median residual, given as a share of the longest side, less what is usual on
    flat surfaces; in px at 400 px longest side.
    """
    return max(0.0, 2.5 * residual * _REFERENCE_SIZE - 0.5) if np.isfinite(residual) else 0.0


def _with_doubt(reference: Bgr, aligned_image: Bgr, corrected: Bgr) -> Floats:
    """Give image 2 the benefit of the doubt where either image is clipped.

    A pixel that is blown out only says "at least as bright", a black one "at most". A pixel that
    was reduced from partly clipped ones, or that noise was cut off from, says so in part: doubt
    grows from a level of 225 to 250, and from 12 to 4.
    """
    levels = np.arange(256, dtype=np.float32)
    bright = np.clip((levels - 225) / 25, 0, 1)
    dark = np.clip((12 - levels) / 8, 0, 1)
    gap = cv2.subtract(reference, corrected, dtype=cv2.CV_32F)
    if_darker = cv2.max(cv2.LUT(aligned_image, bright), cv2.LUT(reference, dark))
    if_brighter = cv2.max(cv2.LUT(reference, bright), cv2.LUT(aligned_image, dark))
    doubt = np.where(gap > 0, if_darker, if_brighter)
    return np.asarray(cv2.add(doubt * gap, corrected, dtype=cv2.CV_32F), np.float32)


def _coordinates(image: Bgr | Floats, settings: ComparisonSettings) -> Floats:
    """Colours as points of a space in which distance is difference; black to white is 100."""
    unit = image.astype(np.float32) / 255
    if not settings.use_hsv:
        return np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2LAB), np.float32)
    hsv = np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2HSV), np.float32)
    # The HSV cone: hue runs in a circle and means nothing without saturation and value.
    angle = np.deg2rad(hsv[..., 0])
    chroma = hsv[..., 1] * hsv[..., 2]
    cone = np.stack([hsv[..., 2], chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    return np.asarray(100 * cone, np.float32)


def _noise(residual: Floats, compared: NDArray[np.bool_]) -> Floats:
    """Estimate the residual's standard deviation by channel, from the median deviation.

    Where most of the image differs, that would be the difference itself: it is bounded by what the
    quietest tenth of the image shows.
    """
    step = max(1, max(compared.shape) // 130)  # some 10,000 pixels say as much as all
    sampled = compared[::step, ::step]
    if not sampled.any():
        return np.zeros(3, np.float32)
    mean = cv2.blur(residual, (9, 9))
    square = cv2.blur(cv2.multiply(residual, residual), (9, 9))
    noise = np.zeros(3, np.float32)
    for channel in range(3):
        values, means, squares = (
            each[::step, ::step, channel][sampled] for each in (residual, mean, square)
        )
        deviation = 1.4826 * median(np.abs(values - np.float32(median(values))))
        quiet = math.sqrt(percentile(np.maximum(squares - means * means, 0), 10))
        noise[channel] = min(deviation, max(_NOISE_FLOOR, 3 * quiet))
    return noise


def _beyond_range(
    values: Floats, other: Floats, radius: float, allowance: Floats, softness: Floats
) -> Floats:
    """Return how far values lie beyond the range of the other image's neighbourhood."""
    low, high = _range(other, radius)
    # Sharpness differs from shot to shot: an edge or a point may be that much higher.
    beyond = cv2.max(cv2.subtract(low, values), cv2.subtract(values, high))
    beyond -= cv2.multiply(softness, cv2.subtract(high, low))
    beyond = cv2.subtract(beyond, (*allowance.tolist(), 0))
    cv2.max(beyond, 0, beyond)
    cv2.multiply(beyond, beyond, beyond)
    return np.asarray(cv2.sqrt(cv2.transform(beyond, np.ones((1, 3), np.float32))), np.float32)


def _range(values: Floats, radius: float) -> tuple[Floats, Floats]:
    """Least and greatest value within `radius` px, which need not be whole."""
    whole = int(radius)
    part = radius - whole
    low = high = values
    if whole:
        kernel = np.ones((2 * whole + 1, 2 * whole + 1), np.uint8)
        low = np.asarray(cv2.erode(values, kernel), np.float32)
        high = np.asarray(cv2.dilate(values, kernel), np.float32)
    if part > 0.01:
        kernel = np.ones((3, 3), np.uint8)
        low = low + part * (np.asarray(cv2.erode(low, kernel), np.float32) - low)
        high = high + part * (np.asarray(cv2.dilate(high, kernel), np.float32) - high)
    return low, high


def _differences(
    difference_map: Floats,
    compared: NDArray[np.bool_],
    settings: ComparisonSettings,
    view: _View,
    sizes: tuple[Size, Size],
) -> tuple[Difference, ...]:
    """Cut the difference map into differences, largest first.

    Smoothing decides what is a difference and where; its extent and strength are measured on the
    map as it was before, because smoothing spreads what is small.
    """
    level = settings.threshold * _DELTA_E_PER_THRESHOLD
    smoothed = _smoothed(difference_map, compared, settings.smooth)
    mask = _hysteresis(smoothed, 0.5 * level, level)
    gap = _MERGED_GAP * max(compared.shape) / _REFERENCE_SIZE
    reach = 2 * max(1, round(gap / 2)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    closed = cv2.bitwise_or(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel), mask)
    joined = _bridged(np.asarray(closed, np.uint8), gap)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    sharp = _smoothed(difference_map, compared, 0)
    sharp[sharp <= 0.5 * level] = 0
    extent = cv2.morphologyEx((sharp > 0).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    areas = np.bincount(labels[extent], minlength=count)
    sums = np.bincount(labels.ravel(), weights=sharp.ravel(), minlength=count)
    size1, size2 = sizes
    to_size1, to_size2 = _scaling(view.frame, size1), _scaling(view.size2, size2)
    found = []
    for label in range(1, count):
        x, y, width, height, _ = (int(v) for v in stats[label])
        area = int(areas[label])
        if area == 0:  # smoothing alone has put something here
            continue
        area_percent = 100.0 * area / compared.size
        if area_percent < settings.min_area_percent:
            continue
        outline = _outline(labels[y : y + height, x : x + width] == label) + np.array([x, y])
        found.append(
            Difference(
                on1=_spot(map_points(outline, to_size1), size1),
                on2=_spot(map_points(view.onto2(outline), to_size2), size2),
                area_percent=area_percent,
                strength=settings.weight * float(sums[label] / area),
            )
        )
    found.sort(key=lambda d: (-d.area_percent, d.on1.box))
    return tuple(found)


def _hysteresis(values: Floats, low: float, high: float) -> Mask:
    """Areas above `low` that somewhere rise above `high` (Canny, PAMI 1986)."""
    above = (values > low).astype(np.uint8)
    count, labels = cv2.connectedComponents(above, connectivity=8)
    peaks = np.zeros(count, bool)
    peaks[np.unique(labels[values > high])] = True
    peaks[0] = False
    mask: Mask = np.where(peaks[labels], np.uint8(255), np.uint8(0))
    return mask


def _bridged(mask: Mask, gap: float) -> Mask:
    """Join fragments no farther than `gap` px apart by the shortest lines: a minimum spanning tree.

    Closing alone joins what lies side by side, not the ends of a broken scratch.
    """
    count, fragments = cv2.connectedComponents(mask, connectivity=8)
    if count <= 2:
        return mask
    distance, places = cv2.distanceTransformWithLabels(
        255 - mask, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(mask)
    labels = places[rows, columns]  # each pixel of the mask has one of its own
    at = np.zeros((int(places.max()) + 1, 2), np.int64)
    at[labels] = np.stack([columns, rows], axis=1)
    owners = np.zeros(len(at), np.int32)
    owners[labels] = fragments[rows, columns]
    owner = owners[places]  # the fragment that is nearest
    edges = []
    for one, other in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        meet = (owner[one] != owner[other]) & (distance[one] + distance[other] <= gap)
        edges.append(np.hstack([at[places[one][meet]], at[places[other][meet]]]))
    ends = np.concatenate(edges)
    lengths = np.hypot(ends[:, 0] - ends[:, 2], ends[:, 1] - ends[:, 3])
    bridged = mask.copy()
    root = np.arange(count)
    for index in np.lexsort((*ends.T, lengths)):
        x1, y1, x2, y2 = (int(v) for v in ends[index])
        first, second = root[fragments[y1, x1]], root[fragments[y2, x2]]
        if lengths[index] > gap or first == second:
            continue
        root[root == second] = first
        cv2.line(bridged, (x1, y1), (x2, y2), 255)
    return bridged


def _outline(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Outline of a connected region, around its pixels' areas rather than through their centres."""
    factor = 4
    fine = cv2.resize(
        region.astype(np.uint8), None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST
    )
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contour = max(contours, key=cv2.contourArea)
    contour = cv2.approxPolyDP(contour, 1.5, closed=True).reshape(-1, 2)
    return np.asarray((contour + 0.5) / factor - 0.5, np.float64)


def _spot(outline: NDArray[np.float64], size: Size) -> Spot:
    """Describe an outline in px of an image, cut at the image's edges."""
    limits = [size.width - 1, size.height - 1]
    rounded = np.clip(np.rint(outline), 0, limits).astype(np.int32)
    changed = np.any(rounded != np.roll(rounded, 1, axis=0), axis=1)
    vertices = rounded[changed] if changed.any() else rounded[:1]
    (x, y), radius = cv2.minEnclosingCircle(vertices.reshape(-1, 1, 2))
    corner = vertices.min(axis=0)
    extent = vertices.max(axis=0) - corner + 1
    box = Box(int(corner[0]), int(corner[1]), int(extent[0]), int(extent[1]))
    return Spot(box, (float(x), float(y)), float(radius), vertices - corner)
