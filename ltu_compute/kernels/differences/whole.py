"""Compare reduced images as a whole."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Planes
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences.difference_map import (
    measure,
    registration_slack,
    ringing_reach,
)
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.light import in_light_of
from ltu_compute.kernels.differences.regions import cut_out
from ltu_compute.kernels.differences.registration import (
    View,
    find_alignment,
    find_bend_of,
)
from ltu_compute.kernels.differences.relief import (
    described_parts,
    find_relief,
    parallax_of,
    without_surroundings,
)
from ltu_compute.kernels.differences.results import Comparison, Difference, ReliefPart
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.differences.specimens import (
    Specimen,
    Specimens,
    measured_within,
    with_unlike,
)
from ltu_compute.kernels.differences.steering import motions, region_and_rim, steering_region
from ltu_compute.kernels.differences.steps import (
    asked_area,
    choose_planes,
    highlight_boxes,
    matrix_of,
    moved_highlights,
    planes_of_specimens,
)
from ltu_compute.kernels.differences.tolerance import Learnt, Recorder, judges_of
from ltu_compute.kernels.homography import rescale_homography, scale_at_centre, size_of
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Size

_SMALLER_COPY = 0.75  # px of image 2 per px of image 1; below, image 2 is a smaller copy
_PIXELS_PER_PIXEL = 3  # px of a smaller copy per px compared, along a side: averages its aliases


def compare_whole(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    sizes: tuple[Size, Size],
    roi1: Mask | None,
    learnt: Learnt | None,
    specimens: bool,
) -> Comparison | None:
    """Compare reduced images as a whole, at `MAX_RESOLUTION` at most; see `comparison.compare`."""
    size1, size2 = sizes
    smalls = reduced1, reduced2 = size_of(image1), size_of(image2)
    gray1, gray2 = gray_pair(image1, image2)
    target = Target(gray2)
    planes = _followed(gray1, target, roi1, learnt, specimens=specimens)
    alignment = planes.alignment
    matrix = matrix_of(alignment, sizes, (reduced1, reduced2))
    if matrix is None:
        return None
    matrix1to2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=sizes)

    shown = scale_at_centre(matrix, reduced1) * max(reduced1)
    small_copy = scale_at_centre(matrix1to2, size1) < _SMALLER_COPY
    reference = reduced(image1, _longest_side(shown, settings, small_copy=small_copy))
    frame = size_of(reference)
    to_image2 = rescale_homography(matrix, from_sizes=smalls, to_sizes=(frame, reduced2))
    view = View(to_image2, find_bend_of(gray1, target, alignment), frame, reduced2)
    highlit = moved_highlights(image1, image2, view)
    shown_by_both = view.shared() & ~highlit
    # Light, focus and noise are measured on the whole area that both images show, also outside
    # the region. But where a region moved on its own, everything else is displaced.
    if roi1 is not None and (planes.followed == "region" or not planes.rest_agrees):
        shown_by_both &= region_and_rim(roi1, frame)
    remaining = view.bend or alignment
    px2 = scale_at_centre(to_image2, frame)  # px of image 2 per px compared
    residual = 0.0 if remaining is None else remaining.residual_px / px2
    slack = 0.0 if isinstance(learnt, Specimens) else registration_slack(residual / max(frame))
    ringing = ringing_reach(max(frame) / max(*size1, *size2))
    asked = asked_area(frame, margin=settings.margin, size1=size1, roi1=roi1)

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
            everywhere=isinstance(learnt, Specimens),
        )
        compared = shared & asked
        seen = _Look(aligned_image, corrected, difference_map * compared, compared)
        return _among_specimens(learnt, reference, seen, shared, settings, ringing_px=ringing)

    def cut(seen: _Look, view: View) -> tuple[Difference, ...]:
        pictures = (reference, seen.corrected_image)
        usual = None
        if isinstance(learnt, Specimens):
            usual = learnt.usual_in(frame)._replace(unlikeness=seen.unlikeness)
        return cut_out(
            seen.difference_map,
            seen.compared,
            settings,
            view,
            sizes=sizes,
            pictures=pictures,
            usual=usual,
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
            seen = seen._replace(
                difference_map=without_surroundings(
                    seen.difference_map, found, _half_level(settings)
                )
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
        highlights=highlight_boxes(highlit, size1),
    )


def _followed(
    gray1: Gray, target: Target, roi1: Mask | None, learnt: Learnt | None, *, specimens: bool
) -> Planes:
    """Return the alignment to follow; known specimens are aligned by the shape that they share."""
    steering = steering_region(roi1, size_of(gray1))
    alike = learnt.alike if learnt else ()
    return planes_of_specimens(gray1, target.gray, steering, alike) or choose_planes(
        gray1, target, find_alignment(gray1, target), steering, specimens=specimens
    )


class _Look(NamedTuple):
    """Two images compared in the alignment of a view."""

    aligned_image: Bgr
    corrected_image: Bgr
    difference_map: Floats
    compared: NDArray[np.bool_]
    unlikeness: Floats | None = None


def _half_level(settings: ComparisonSettings) -> float:
    """Return the difference, ΔE, of the pixels around a difference that belong to it."""
    return 0.5 * settings.threshold * DELTA_E_PER_THRESHOLD


def _among_specimens(
    learnt: Learnt | None,
    reference: Bgr,
    seen: _Look,
    shared: NDArray[np.bool_],
    settings: ComparisonSettings,
    *,
    ringing_px: int,
) -> _Look:
    """Compare with other good specimens, too, if these were learnt; note one that is learnt."""
    if not isinstance(learnt, Recorder | Specimens):
        return seen
    own = np.where(shared[..., None], seen.corrected_image, reference)
    if isinstance(learnt, Recorder):
        learnt.specimen = Specimen(own, seen.compared, ringing_px)
        return seen

    def measured(picture: Bgr, place: Box) -> Floats:
        pictures = (picture, seen.aligned_image, seen.corrected_image)
        return measured_within(place, pictures, shared, settings, ringing_px=ringing_px)

    nearest = learnt.least(seen.difference_map, _half_level(settings), measured)
    unlikeness = learnt.unlikeness(reference, own)
    if unlikeness is not None:
        unlikeness *= np.float32(settings.strictness)
        nearest = with_unlike(nearest, unlikeness * seen.compared, 2 * _half_level(settings))
    return seen._replace(difference_map=nearest * seen.compared, unlikeness=unlikeness)


def _longest_side(shown: float, settings: ComparisonSettings, *, small_copy: bool) -> int:
    """Return the size to compare at, px, if image 2 shows image 1 with `shown` px.

    Image 2 may be the smaller one: details that it cannot show are not compared.
    """
    if small_copy:
        shown /= _PIXELS_PER_PIXEL
    return round(float(np.clip(shown, 32, int(settings.resolution))))
