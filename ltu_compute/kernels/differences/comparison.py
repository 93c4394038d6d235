"""Compare two shots of the same thing.

The second image is aligned with the first, and its light is fitted to the first's. Then pixels are
compared in both directions. A pixel differs when it exceeds the range of the other image's
neighbourhood by more than errors of alignment, noise and clipping explain.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, Planes, choose_plane
from ltu_compute.kernels.alignment.shape import choose_shape
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences.describing import described, overview_map
from ltu_compute.kernels.differences.difference_map import (
    measure,
    registration_slack,
    ringing_reach,
)
from ltu_compute.kernels.differences.filtering import REFERENCE_SIZE, Floats
from ltu_compute.kernels.differences.light import fit_light, in_light_of
from ltu_compute.kernels.differences.merging import joined
from ltu_compute.kernels.differences.polygons import polygons_mask
from ltu_compute.kernels.differences.regions import DELTA_E_PER_THRESHOLD, cut_out
from ltu_compute.kernels.differences.registration import (
    View,
    edge_to_edge,
    find_alignment,
    find_bend_of,
    same_aspect,
)
from ltu_compute.kernels.differences.relief import (
    Relief,
    described_parts,
    enlarged,
    find_relief,
    is_in_surroundings,
    made_exact,
    parallax_of,
    without_surroundings,
)
from ltu_compute.kernels.differences.results import Comparison, Difference, ReliefPart
from ltu_compute.kernels.differences.sampling import Sampler
from ltu_compute.kernels.differences.settings import (
    AUTO,
    FULL,
    PRESET_PX,
    ComparisonSettings,
)
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.differences.steering import (
    motions,
    region_and_rim,
    region_within,
    steering_region,
)
from ltu_compute.kernels.differences.tiled import Finest, areas_that_differ, displaced
from ltu_compute.kernels.differences.tolerance import Learnt, judges_of
from ltu_compute.kernels.highlights import ALL_FADES, VISIBLE_FADES, highlight_mask
from ltu_compute.kernels.homography import (
    corners_of,
    inverse,
    map_points,
    rescale_homography,
    scale_at_centre,
    size_of,
)
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import first_channel, is_colourless, reduced
from ltu_compute.kernels.types import Bgr, Gray, Mask, Size

_SMALLER_COPY = 0.75  # px of image 2 per px of image 1; below, image 2 is a smaller copy
_PIXELS_PER_PIXEL = 3  # px of a smaller copy per px compared, along a side: averages its aliases
_OVERVIEW = 1024  # longest side, px, at which fine comparisons are aligned
_LIGHT_SIZE = 400  # longest side, px, at which their light is fitted
_RIM_PX = 3  # px at the rim of the shared area: the reach of interpolation
_ROUGH_REACH = 12  # px of the overview: farthest displacement of a patch beyond the matrix
_NEARLY_FULL = 1.4  # times the overview; larger images are measured again at full size
# Share of the frame; a larger part holds several of the 12 x 12 patches, which have measured it.
# It is a board that moved in its panel, not a tall part.
_MEASURED_BY_PATCHES = 6 / 144
_HIGHLIGHT_STEP = 0.04  # of the longest side: how far a highlight moves between two shots


def compare(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    size1: Size,
    size2: Size,
    roi1: Mask | None = None,
    learnt: Learnt | None = None,
    specimens: bool = False,
) -> Comparison | None:
    """Find the differences between two images.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        The images, reduced to a longest side of ``settings.working_size`` where they are larger.
    settings : ComparisonSettings
        Threshold and other settings of the comparison.
    size1, size2 : Size
        Sizes of the original images; results are in px of the originals.
    roi1 : ndarray of uint8, shape (H, W), optional
        Region of interest on image 1, of any size. Places with 0 are not compared. They do not
        affect the alignment where the region moved differently.
    learnt : Learnt, optional
        What earlier good shots taught: a `Tolerance`, or a `Recorder` that notes more.
    specimens : bool
        Whether the images may show two specimens of a part, which are aligned by their shape where
        their surfaces disagree. So it is where something was learnt.

    Returns
    -------
    Comparison or None
        None if the images could not be aligned and differ in aspect ratio.

    Raises
    ------
    ValueError
        If an image is not a colour image of 8 bits or is empty.
    """
    specimens = specimens or learnt is not None
    image1, image2, settings = _decided(image1, image2, settings, learnt)
    roi1 = polygons_mask(size1, mask=roi1, include=settings.include, exclude=settings.exclude)
    compared = _compared_finely if settings.is_fine else _compared_whole
    return compared(
        image1,
        image2,
        settings,
        sizes=(size1, size2),
        roi1=roi1,
        learnt=learnt,
        specimens=specimens,
    )


def _compared_whole(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    sizes: tuple[Size, Size],
    roi1: Mask | None,
    learnt: Learnt | None,
    specimens: bool,
) -> Comparison | None:
    """Compare reduced images as a whole, at `MAX_RESOLUTION` at most."""
    size1, size2 = sizes
    smalls = reduced1, reduced2 = size_of(image1), size_of(image2)
    gray1, gray2 = gray_pair(image1, image2)
    target = Target(gray2)
    planes = _planes(
        gray1,
        target,
        find_alignment(gray1, target),
        steering_region(roi1, reduced1),
        specimens=specimens,
    )
    alignment = planes.alignment
    if alignment is not None:
        matrix = alignment.matrix
    elif same_aspect(size1, size2):
        matrix = edge_to_edge(reduced1, reduced2)
    else:
        return None
    matrix1to2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=sizes)

    shown = scale_at_centre(matrix, reduced1) * max(reduced1)
    small_copy = scale_at_centre(matrix1to2, size1) < _SMALLER_COPY
    reference = reduced(image1, _longest_side(shown, settings, small_copy=small_copy))
    frame = size_of(reference)
    to_image2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=(frame, reduced2))
    view = View(to_image2, find_bend_of(gray1, target, alignment), frame, reduced2)
    shown_by_both = view.shared() & ~_highlit(image1, image2, view)
    # Light, focus and noise are measured on the whole area that both images show, also outside
    # the region. But where a region moved on its own, everything else is displaced.
    if roi1 is not None and (planes.followed == "region" or not planes.rest_agrees):
        shown_by_both &= region_and_rim(roi1, frame)
    remaining = view.bend or alignment
    px2 = scale_at_centre(to_image2, frame)  # px of image 2 per px compared
    residual = 0.0 if remaining is None else remaining.residual_px / px2
    slack = registration_slack(residual / max(frame))
    ringing = ringing_reach(max(frame) / max(*size1, *size2))
    asked = _asked(frame, margin=settings.margin, size1=size1, roi1=roi1)

    def look(view: View, shared: NDArray[np.bool_]) -> _Look:
        aligned_image = view.of(image2)
        corrected = in_light_of(reference, aligned_image, shared)
        judges = judges_of(learnt, shared, settings.threshold * DELTA_E_PER_THRESHOLD)
        difference_map = measure(
            reference,
            aligned_image,
            corrected,
            shared,
            settings,
            slack=slack,
            ringing_px=ringing,
            judges=judges,
        )
        return _Look(aligned_image, corrected, difference_map * (shared & asked), shared & asked)

    def cut(seen: _Look, view: View) -> tuple[Difference, ...]:
        pictures = (reference, seen.corrected_image)
        return cut_out(
            seen.difference_map, seen.compared, settings, view, sizes=sizes, pictures=pictures
        )

    seen = look(view, shown_by_both)
    differences = cut(seen, view)
    relief: tuple[ReliefPart, ...] = ()
    if differences:
        # All differences may be parts above the plane.
        parallax = parallax_of(gray1, target, alignment, view, steering_region(roi1, reduced1))
        found = parallax and find_relief(reference, seen.aligned_image, shown_by_both, parallax)
        if found:
            relief = described_parts(found, view.onto2, frame, sizes, reduced2)
            view = replace(view, relief=found.displacement)
            seen = look(view, shown_by_both & view.shared() & ~found.hidden)
            level = 0.5 * settings.threshold * DELTA_E_PER_THRESHOLD
            seen = seen._replace(
                difference_map=without_surroundings(seen.difference_map, found, level)
            )
            differences = cut(seen, view)
    return Comparison(
        aligned=alignment is not None,
        alignment=alignment,
        residual_px=float("nan") if alignment is None else alignment.residual_px / px2,
        bend_px=0.0 if view.bend is None else view.bend.largest_px / px2,
        **motions(planes, matrix1to2, roi1, reduced_sizes=smalls, sizes=sizes),
        matrix1to2=matrix1to2,
        relief=relief,
        differences=differences,
        score=float(sum(d.area_percent * d.strength for d in differences)),
        compared_percent=100.0 * float(np.count_nonzero(seen.compared)) / seen.compared.size,
        resolution=max(frame),
        offered=max(size1),
        reference=reference,
        aligned_image=seen.aligned_image,
        corrected_image=seen.corrected_image,
        difference_map=seen.difference_map,
    )


def _planes(
    gray1: Gray,
    target: Target,
    whole: Alignment | None,
    region1: Mask | None,
    *,
    specimens: bool,
) -> Planes:
    """Choose the alignment to follow; of different specimens, perhaps that of their shape."""
    if specimens and whole is None:  # the shape is found in a fifth of the time
        planes = choose_shape(Planes(None, "none"), gray1, target.gray, region1)
        return planes if planes.alignment else choose_plane(gray1, target, whole, region1)
    planes = choose_plane(gray1, target, whole, region1)
    return choose_shape(planes, gray1, target.gray, region1) if specimens else planes


def _decided(
    image1: Bgr, image2: Bgr, settings: ComparisonSettings, learnt: Learnt | None
) -> tuple[Bgr, Bgr, ComparisonSettings]:
    """Check the images, and decide at which resolution they are compared if it is `AUTO`."""
    for image in (image1, image2):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError("images must be uint8 arrays of shape (H, W, 3)")
    if settings.resolution != AUTO:
        return image1, image2, settings
    grays = gray_pair(reduced(image1, _OVERVIEW), reduced(image2, _OVERVIEW))
    fine = learnt is not None or align_settled(*grays) is not None
    settings = replace(settings, resolution=FULL if fine else PRESET_PX)
    first, second = (
        reduced(each, settings.working_size(size_of(each))) for each in (image1, image2)
    )
    return first, second, settings


class _Look(NamedTuple):
    """Two images compared in the alignment of a view."""

    aligned_image: Bgr
    corrected_image: Bgr
    difference_map: Floats
    compared: NDArray[np.bool_]


def _longest_side(shown: float, settings: ComparisonSettings, *, small_copy: bool) -> int:
    """Return the size to compare at, px, if image 2 shows image 1 with `shown` px.

    Image 2 may be the smaller one: details that it cannot show are not compared.
    """
    if small_copy:
        shown /= _PIXELS_PER_PIXEL
    return round(float(np.clip(shown, 32, int(settings.resolution))))


def _compared_finely(  # noqa: PLR0915  (one step after the other)
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    sizes: tuple[Size, Size],
    roi1: Mask | None,
    learnt: Learnt | None,
    specimens: bool,
) -> Comparison | None:
    """Compare at full resolution, tile by tile; the pictures of the result are reduced."""
    size1, size2 = sizes
    given1, given2 = size_of(image1), size_of(image2)
    small1, small2 = reduced(image1, _OVERVIEW), reduced(image2, _OVERVIEW)
    gray1, gray2 = gray_pair(small1, small2)
    reduced1, reduced2 = size_of(small1), size_of(small2)
    target = Target(gray2)
    found = align_settled(gray1, gray2) or find_alignment(gray1, target)
    planes = _planes(gray1, target, found, steering_region(roi1, reduced1), specimens=specimens)
    alignment = planes.alignment
    if alignment is not None:
        matrix = alignment.matrix
    elif same_aspect(size1, size2):
        matrix = edge_to_edge(reduced1, reduced2)
    else:
        return None
    smalls = (reduced1, reduced2)
    bend = find_bend_of(gray1, target, alignment)

    # Light and highlights vary slowly and are measured on an overview.
    overview = reduced(small1, _LIGHT_SIZE)
    over = size_of(overview)
    view = View(
        rescale_homography(matrix, from_sizes=smalls, to_sizes=(over, reduced2)),
        bend,
        over,
        reduced2,
    )
    aligned_image = view.of(small2)
    highlit = _highlit(small1, small2, view, ALL_FADES)
    shared = view.shared() & ~highlit
    moved_apart = roi1 if planes.followed == "region" or not planes.rest_agrees else None
    if moved_apart is not None:
        shared &= region_and_rim(moved_apart, over)
    light, corrected = fit_light(overview, aligned_image, shared)

    # Without colour, one channel is compared: the same differences in a third of the time. What
    # was learnt is of three.
    if learnt is None and is_colourless(image1) and is_colourless(image2):
        image1, image2 = first_channel(image1), first_channel(image2)
    shown = scale_at_centre(matrix, reduced1) * max(reduced1) * max(given2) / max(reduced2)
    limit = min(max(given1), settings.working_size(given1))
    reference = reduced(image1, round(np.clip(shown, 32, limit)))
    frame = size_of(reference)
    sampler = Sampler(
        image2,
        rescale_homography(matrix, from_sizes=smalls, to_sizes=(frame, given2)),
        frame,
        bend,
        max(given2) / max(reduced2),
    )
    px2 = scale_at_centre(sampler.matrix, frame)  # px of image 2 per px compared
    remaining = bend or alignment
    overview_px = max(given2) / max(reduced2) / px2  # px compared per px of the reduced image 2
    residual = 0.0 if remaining is None else remaining.residual_px * overview_px
    sampler = _with_displacement((small1, small2), (reference, sampler), view, highlit, moved_apart)
    compared = _compared_mask(sampler, view, highlit)
    compared &= _asked(frame, margin=settings.margin, size1=size1, roi1=roi1).view(np.uint8) * 255
    slack = registration_slack(residual / max(frame)) * min(1.0, max(frame) / REFERENCE_SIZE)
    areas = areas_that_differ(
        reference, sampler, light, compared, settings, slack_px=slack, learnt=learnt
    )
    relief: tuple[ReliefPart, ...] = ()
    parallax = None
    if areas:
        region1 = steering_region(roi1, reduced1)
        parallax = parallax_of(gray1, target, alignment, view, region1)
    stands = parallax and find_relief(overview, aligned_image, shared, parallax)
    if stands and _largest_share(stands, over) < _MEASURED_BY_PATCHES:
        relief = described_parts(stands, view.onto2, over, sizes, reduced2)
        sampler = made_exact(stands, reference, sampler)
        compared[enlarged(stands.hidden, frame)] = 0
        areas = [
            area
            for area in areas_that_differ(
                reference, sampler, light, compared, settings, slack_px=slack, learnt=learnt
            )
            if not is_in_surroundings(area.place, area.mask, stands, frame)
        ]
    matrix1to2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=sizes)
    least = settings.min_area_percent / 100 * frame.width * frame.height
    differences = described(
        [area for area in joined(areas) if area.pixels >= least],
        Finest(reference, sampler, light, compared),
        settings,
        sizes,
    )
    return Comparison(
        aligned=alignment is not None,
        alignment=alignment,
        residual_px=float("nan") if alignment is None else alignment.residual_px * overview_px,
        bend_px=0.0 if bend is None else bend.largest_px * overview_px,
        **motions(planes, matrix1to2, roi1, reduced_sizes=smalls, sizes=sizes),
        matrix1to2=matrix1to2,
        relief=relief,
        differences=differences,
        score=float(sum(d.area_percent * d.strength for d in differences)),
        compared_percent=100.0 * cv2.countNonZero(compared) / compared.size,
        resolution=max(frame),
        offered=max(size1),
        reference=overview,
        aligned_image=aligned_image,
        corrected_image=corrected,
        difference_map=overview_map(areas, frame, over),
    )


def _largest_share(relief: Relief, frame: Size) -> float:
    """Return the share of the frame that the box of the largest part covers."""
    boxes = (part.box for part in relief.parts)
    return max((box.width * box.height for box in boxes), default=0) / (frame.width * frame.height)


def _with_displacement(
    smalls: tuple[Bgr, Bgr],
    full: tuple[Bgr, Sampler],
    view: View,
    highlit: NDArray[np.bool_],
    region: Mask | None,
) -> Sampler:
    """Measure the shot's displacement beyond its matrix: on reduced pictures, then in full.

    With a `region`, of any size, only patches within it are measured: the rest moved differently.
    """
    reference, sampler = full
    frame = sampler.frame
    small1 = reduced(reference, _OVERVIEW)
    factor = max(frame) / max(small1.shape)
    given2 = Size(sampler.image.shape[1], sampler.image.shape[0])
    small_size2 = size_of(smalls[1])
    rough = Sampler(
        smalls[1],
        rescale_homography(
            sampler.matrix, from_sizes=(frame, given2), to_sizes=(size_of(small1), small_size2)
        ),
        size_of(small1),
        sampler.bend,
    )

    def usable(shown: Sampler) -> Mask:
        mask = _compared_mask(shown, view, highlit)
        if region is not None:
            mask[~region_within(region, shown.frame)] = 0
        return mask

    found = displaced(small1, rough, usable(rough), _ROUGH_REACH)
    if found is not None:
        sampler = sampler.displaced(found.rescaled(factor))
    if factor < _NEARLY_FULL:
        return sampler
    finer = displaced(reference, sampler, usable(sampler), int(np.ceil(factor)) + 1)
    if finer is None:
        return sampler
    return sampler.displaced(finer if found is None else found.rescaled(factor).plus(finer))


def _compared_mask(sampler: Sampler, view: View, highlit: NDArray[np.bool_]) -> Mask:
    """Return where both images show the same scene, off rims and moved highlights: 255."""
    frame = sampler.frame
    mask = np.zeros((frame.height, frame.width), np.uint8)
    size2 = Size(sampler.image.shape[1], sampler.image.shape[0])
    outline = map_points(corners_of(size2), inverse(sampler.matrix))
    fixed = np.rint(np.clip(outline, -1e6, 1e6) * 16).astype(np.int32)
    if sampler.is_identity:
        mask[:] = 255
    else:
        cv2.fillConvexPoly(mask, fixed.reshape(-1, 1, 2), 255, shift=4)
        side = 2 * _RIM_PX + 1
        cv2.erode(mask, np.ones((side, side), np.uint8), mask, borderValue=255)
        if sampler.displacement is not None:
            side = 2 * int(np.ceil(sampler.displacement.largest_px)) + 3
            rim = cv2.BORDER_CONSTANT
            cv2.erode(mask, np.ones((side, side), np.uint8), mask, borderType=rim, borderValue=0)
    if sampler.bend is not None or highlit.any():
        known = (view.shared() if sampler.bend is not None else np.ones_like(highlit)) & ~highlit
        shown = known.astype(np.uint8) * 255
        mask &= cv2.resize(shown, frame, interpolation=cv2.INTER_NEAREST)
    return mask


@of_reference
def _asked(frame: Size, *, margin: int, size1: Size, roi1: Mask | None) -> NDArray[np.bool_]:
    """Return where a comparison is requested, in the frame of the compared image 1."""
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


def _highlit(
    image1: Bgr, image2: Bgr, view: View, fades: float = VISIBLE_FADES
) -> NDArray[np.bool_]:
    """Return where a highlight that moved hides the scene in either image, in the frame.

    A light that only one image shows is a difference: a lamp that was lit, a white drop.
    """
    none = np.zeros((view.frame.height, view.frame.width), bool)
    highlights1 = highlight_mask(image1, fades)
    if not highlights1.any():
        return none
    highlights2 = highlight_mask(image2, fades)
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
