"""Compare images at full resolution, tile by tile."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Planes
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences.areas import Area, overlap
from ltu_compute.kernels.differences.copies import align_copies
from ltu_compute.kernels.differences.describing import described, overview_map
from ltu_compute.kernels.differences.difference_map import registration_slack
from ltu_compute.kernels.differences.filtering import REFERENCE_SIZE
from ltu_compute.kernels.differences.light import Light, fit_light
from ltu_compute.kernels.differences.merging import joined
from ltu_compute.kernels.differences.registration import (
    View,
    find_alignment,
    find_bend_of,
)
from ltu_compute.kernels.differences.relief import (
    Relief,
    described_parts,
    enlarged,
    find_relief,
    is_in_surroundings,
    made_exact,
    only,
    parallax_of,
)
from ltu_compute.kernels.differences.results import Comparison, ReliefPart
from ltu_compute.kernels.differences.sampling import Sampler
from ltu_compute.kernels.differences.screening import grown
from ltu_compute.kernels.differences.settings import ComparisonSettings
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.differences.steering import (
    motions,
    region_and_rim,
    region_within,
    steering_region,
)
from ltu_compute.kernels.differences.steps import (
    asked_area,
    choose_planes,
    highlight_boxes,
    matrix_of,
    moved_highlights,
)
from ltu_compute.kernels.differences.tiled import Finest, areas_that_differ, displaced
from ltu_compute.kernels.differences.tolerance import Learnt
from ltu_compute.kernels.highlights import ALL_FADES
from ltu_compute.kernels.homography import (
    corners_of,
    inverse,
    map_points,
    rescale_homography,
    scale_at_centre,
    size_of,
)
from ltu_compute.kernels.resizing import (
    first_channel,
    gray_of,
    is_colourless,
    longest_for,
    reduced,
    roughly_reduced,
)
from ltu_compute.kernels.surface import Bend
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Matrix, Size

_OVERVIEW_PX = 1024  # longest side, px, up to 3:1, at which fine comparisons are aligned
_PATCHED_PX = 512  # px, longest side of the image on which places of patches are chosen
_LIGHT_SIZE = 400  # longest side, px, at which their light is fitted
_RIM_PX = 3  # px at the rim of the shared area: the reach of interpolation
_ROUGH_REACH = 12  # px of the overview: farthest displacement of a patch beyond the matrix
_NEARLY_FULL = 1.4  # times the overview; larger images are measured again at full size
# Share of the frame; a larger part holds several of the 12 x 12 patches, which have measured it.
# It may be a board that moved in its panel.
_MEASURED_BY_PATCHES = 6 / 144
_LEFT_BY_RELIEF = 0.5  # of a part's differences in the plane: the most that may remain


def overview_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image as reduced for the alignment of a fine comparison."""
    return roughly_reduced(image, longest_for(size_of(image), _OVERVIEW_PX))


def compare_finely(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    sizes: tuple[Size, Size],
    roi1: Mask | None,
    learnt: Learnt | None,
    specimens: bool,
) -> Comparison | None:
    """Compare at full resolution, tile by tile; see `comparison.compare`.

    The pictures of the result are reduced to 400 px.
    """
    given1, given2 = size_of(image1), size_of(image2)
    pair = _aligned(image1, image2, roi1, learnt=learnt, specimens=specimens)
    alignment, copies, smalls = pair.planes.alignment, pair.copies, pair.sizes
    matrix = matrix_of(alignment, sizes, smalls)
    if matrix is None:
        return None
    bend = None if copies else find_bend_of(pair.gray1, pair.target, alignment)
    overview = _overview(pair, matrix, bend, roi1)
    over = size_of(overview.picture)

    # Without colour, one channel is compared: the same differences in a third of the time. What
    # was learnt is of three.
    if learnt is None and is_colourless(image1) and is_colourless(image2):
        image1, image2 = first_channel(image1), first_channel(image2)
    shown = scale_at_centre(matrix, smalls[0]) * max(smalls[0]) * max(given2) / max(smalls[1])
    limit = min(max(given1), settings.working_size(given1))
    reference = reduced(image1, round(np.clip(shown, 32, limit)))
    frame = size_of(reference)
    sampler = Sampler(
        image2,
        rescale_homography(matrix, from_sizes=smalls, to_sizes=(frame, given2)),
        frame,
        bend,
        max(given2) / max(smalls[1]),
    )
    px2 = scale_at_centre(sampler.matrix, frame)  # px of image 2 per px compared
    remaining = bend or alignment
    overview_px = max(given2) / max(smalls[1]) / px2  # px compared per px of the reduced image 2
    residual = 0.0 if remaining is None else remaining.residual_px * overview_px
    if not copies:
        patched = (pair.small1 if frame == given1 else overview_of(reference), pair.small2)
        moved_apart = _moved_apart(roi1, pair.planes)
        sampler = _with_displacement(
            patched, (reference, sampler), overview.view, overview.highlit, moved_apart
        )
    compared = _compared_mask(sampler, overview.view, overview.highlit)
    if settings.margin or roi1 is not None:
        asked = asked_area(frame, margin=settings.margin, size1=sizes[0], roi1=roi1)
        compared &= asked.view(np.uint8) * 255
    slack = registration_slack(residual / max(frame)) * min(1.0, max(frame) / REFERENCE_SIZE)

    def found_in(sampler: Sampler, compared: Mask) -> list[Area]:
        return areas_that_differ(
            reference,
            sampler,
            overview.light,
            compared,
            settings,
            slack_px=slack,
            learnt=learnt,
            copies=copies and frame == given1,
        )

    seen = _Seen(sampler, compared, found_in(sampler, compared))
    standing: Relief | None = None
    if seen.areas and not copies:
        standing = _relief(pair, overview, roi1, sampler)
        standing, seen = _seen_with(standing, over, reference, seen, found_in)
    relief: tuple[ReliefPart, ...] = ()
    if standing is not None:
        relief = described_parts(standing, overview.view.onto2, over, sizes, smalls[1])
    matrix1to2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=sizes)
    least = settings.min_area_percent / 100 * frame.width * frame.height
    differences = described(
        [area for area in joined(seen.areas) if area.pixels >= least],
        Finest(reference, seen.sampler, overview.light, seen.compared),
        settings,
        sizes,
    )
    return Comparison(
        aligned=alignment is not None,
        alignment=alignment,
        residual_px=float("nan") if alignment is None else alignment.residual_px * overview_px,
        bend_px=0.0 if bend is None else bend.largest_px * overview_px,
        **motions(pair.planes, matrix1to2, roi1, reduced_sizes=smalls, sizes=sizes),
        matrix1to2=matrix1to2,
        relief=relief,
        differences=differences,
        score=float(sum(d.area_percent * d.strength for d in differences)),
        compared_percent=100.0 * cv2.countNonZero(seen.compared) / seen.compared.size,
        resolution=max(frame),
        offered=max(sizes[0]),
        reference=overview.picture,
        aligned_image=overview.aligned_image,
        corrected_image=overview.corrected,
        difference_map=overview_map(seen.areas, frame, over),
        highlights=highlight_boxes(overview.highlit, sizes[0]),
    )


class _Pair(NamedTuple):
    """The images as reduced for their alignment, and how they are aligned."""

    small1: Bgr
    small2: Bgr
    gray1: Gray
    target: Target  # of image 2
    planes: Planes
    copies: bool  # digital copies; see `copies`

    @property
    def sizes(self) -> tuple[Size, Size]:
        """Sizes of the reduced images, px."""
        return size_of(self.small1), size_of(self.small2)


class _Overview(NamedTuple):
    """Light, highlights and the shared scene, measured on a small reference: they vary slowly."""

    picture: Bgr  # image 1, the other pictures are of its size
    view: View
    aligned_image: Bgr
    corrected: Bgr  # in the light of image 1
    light: Light | None
    highlit: NDArray[np.bool_]  # moved highlights
    shared: NDArray[np.bool_]  # where both show the scene, off these


def _aligned(
    image1: Bgr, image2: Bgr, roi1: Mask | None, *, learnt: Learnt | None, specimens: bool
) -> _Pair:
    """Reduce both images, and choose what is aligned."""
    small1, small2 = overview_of(image1), overview_of(image2)
    gray1, gray2 = gray_pair(small1, small2)
    target = Target(gray2)
    # Nothing is displaced or lit anew on a digital copy, except what was changed.
    copy = None if learnt is not None else align_copies(image1, image2, gray1, gray2)
    if copy is not None:
        return _Pair(small1, small2, gray1, target, Planes(copy, "image"), copies=True)
    found = align_settled(gray1, gray2) or find_alignment(gray1, target)
    planes = choose_planes(
        gray1, target, found, steering_region(roi1, size_of(small1)), specimens=specimens
    )
    return _Pair(small1, small2, gray1, target, planes, copies=False)


def _moved_apart(roi1: Mask | None, planes: Planes) -> Mask | None:
    """Return the region of interest if it moved in another way than the rest."""
    return roi1 if planes.followed == "region" or not planes.rest_agrees else None


def _overview(pair: _Pair, matrix: Matrix, bend: Bend | None, roi1: Mask | None) -> _Overview:
    """Measure light and highlights. Copies have none that differ, except what was changed."""
    picture = reduced(pair.small1, _LIGHT_SIZE)
    over, reduced2 = size_of(picture), size_of(pair.small2)
    onto2 = rescale_homography(matrix, from_sizes=pair.sizes, to_sizes=(over, reduced2))
    view = View(onto2, bend, over, reduced2)
    aligned_image = view.of(pair.small2)
    highlit = np.zeros((over.height, over.width), np.bool_)
    if not pair.copies:
        highlit = moved_highlights(pair.small1, pair.small2, view, ALL_FADES)
    shared = view.shared() & ~highlit
    moved_apart = _moved_apart(roi1, pair.planes)
    if moved_apart is not None:
        shared &= region_and_rim(moved_apart, over)
    light, corrected = None, aligned_image
    if not pair.copies:
        light, corrected = fit_light(picture, aligned_image, shared)
    return _Overview(picture, view, aligned_image, corrected, light, highlit, shared)


def _relief(pair: _Pair, overview: _Overview, roi1: Mask | None, sampler: Sampler) -> Relief | None:
    """Return the parts above the plane that no patch has measured; None if there are none."""
    region1 = steering_region(roi1, size_of(pair.small1))
    parallax = parallax_of(pair.gray1, pair.target, pair.planes.alignment, overview.view, region1)
    if parallax is None:
        return None
    found = find_relief(overview.picture, overview.aligned_image, overview.shared, parallax)
    return found and _without_measured(found, size_of(overview.picture), sampler)


def _without_measured(relief: Relief, over: Size, sampler: Sampler) -> Relief | None:
    """Return a relief without the large parts whose displacement patches have measured already.

    Parameters
    ----------
    relief : Relief
        In px of the overview.
    over : Size
        Size of the overview.
    sampler : Sampler
        Mapping from the frame to the shot, as measured.

    Returns
    -------
    Relief or None
        None if no part is left.
    """
    factor = max(sampler.frame) / max(over)
    kept = []
    for part in relief.parts:
        x, y, width, height = part.box
        own = factor * np.array(part.displacement)
        known = np.zeros(2)
        if sampler.displacement is not None:
            middle = factor * np.array([[x + width / 2, y + height / 2]]) - 0.5
            known = sampler.displacement.at(middle)[0]
        is_large = width * height >= _MEASURED_BY_PATCHES * over.width * over.height
        if not (is_large and np.linalg.norm(own - known) < 0.5 * np.linalg.norm(own)):
            kept.append(part)
    return only(relief, kept)


class _Seen(NamedTuple):
    """A way to map a shot, where it can be compared then, and its differences."""

    sampler: Sampler
    compared: Mask
    areas: list[Area]


def _seen_with(
    relief: Relief | None,
    over: Size,
    reference: Bgr,
    plane: _Seen,
    found_in: Callable[[Sampler, Mask], list[Area]],
) -> tuple[Relief | None, _Seen]:
    """Compare with a relief; return the believed part of it, and the differences then.

    Parameters
    ----------
    relief : Relief or None
        In px of the overview.
    over : Size
        Size of the overview.
    reference : ndarray of uint8, shape (H, W, 3), or (H, W) without colour
        The frame.
    plane : _Seen
        The comparison without the relief.
    found_in : callable
        Returns the differences. Recorders note its last call.
    """
    if relief is None:
        return None, plane
    frame = plane.sampler.frame

    def raised_by(standing: Relief) -> _Seen:
        sampler, compared = made_exact(standing, reference, plane.sampler), plane.compared.copy()
        compared[enlarged(standing.hidden, frame)] = 0
        areas = [
            area
            for area in found_in(sampler, compared)
            if not is_in_surroundings(area.place, area.mask, standing, frame)
        ]
        return _Seen(sampler, compared, areas)

    seen = raised_by(relief)
    kept = _without_unexplained(relief, over, frame, (plane.areas, seen.areas))
    if kept is None:
        return None, plane._replace(areas=found_in(plane.sampler, plane.compared))
    return kept, seen if kept is relief else raised_by(kept)


def _without_unexplained(
    relief: Relief, over: Size, frame: Size, areas: tuple[list[Area], list[Area]]
) -> Relief | None:
    """Return a relief without parts whose displacement leaves most of their differences.

    All sides of a tall part are displaced alike. If something grew, one side fits where it is
    displaced to, and the others do not.

    Parameters
    ----------
    relief : Relief
        In px of the overview.
    over, frame : Size
        Sizes of the overview and of the frame.
    areas : tuple of list of Area
        Differences in the plane, and with the relief.

    Returns
    -------
    Relief or None
        None if no part is left.
    """
    factor = max(frame) / max(over)
    kept = []
    for part in relief.parts:
        margin = int(np.ceil(np.hypot(*part.displacement))) + 1
        x, y, width, height = (round(factor * value) for value in grown(part.box, margin))
        place = Box(x, y, width, height)
        before, after = (sum(_covered(area, place) for area in each) for each in areas)
        if after <= _LEFT_BY_RELIEF * before:
            kept.append(part)
    return only(relief, kept)


def _covered(area: Area, place: Box) -> int:
    """Return how many pixels of a rectangle an area covers."""
    common = overlap(area.place, place)
    return 0 if common is None else cv2.countNonZero(area.within(common))


def _with_displacement(
    smalls: tuple[Bgr, Bgr],
    full: tuple[Bgr, Sampler],
    view: View,
    highlit: NDArray[np.bool_],
    region: Mask | None,
) -> Sampler:
    """Measure the shot's displacement beyond its matrix: on reduced pictures, then in full.

    `smalls` are reference and shot as `overview_of` reduces them.
    With a `region`, of any size, only patches within it are measured: the rest moved differently.
    """
    reference, sampler = full
    frame = sampler.frame
    if reference.ndim == 2:
        smalls = (first_channel(smalls[0]), first_channel(smalls[1]))
    small1, small2 = smalls
    factor = max(frame) / max(small1.shape)
    given2 = Size(sampler.image.shape[1], sampler.image.shape[0])
    small_size2 = size_of(small2)
    rough = Sampler(
        small2,
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

    overview = reduced(gray_of(small1), _PATCHED_PX)
    found, parts = displaced(small1, rough, usable(rough), _ROUGH_REACH, overview)
    sampler = replace(sampler, moved=tuple(part.rescaled(factor) for part in parts))
    if found is not None:
        sampler = sampler.displaced(found.rescaled(factor))
    if factor < _NEARLY_FULL:
        return sampler
    reach = int(np.ceil(factor)) + 1
    finer, parts = displaced(reference, sampler, usable(sampler), reach, overview)
    sampler = replace(sampler, moved=sampler.moved + parts)
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
