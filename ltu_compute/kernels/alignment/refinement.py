"""Make an alignment exact to a fraction of a pixel by tracking corners."""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment.matches import MIN_INLIERS, fit_homography
from ltu_compute.kernels.alignment.precision import (
    MAX_EXPECTED_ERROR,
    expected_error_px,
    information_at,
)
from ltu_compute.kernels.alignment.result import Alignment, rescaled
from ltu_compute.kernels.alignment.tracking import Target, tracked_corners
from ltu_compute.kernels.homography import (
    is_plausible,
    map_points,
    rescale_homography,
    size_of,
)
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Mask, Matrix, Size

REFINEMENT_SIZE = 1600
"""Longest side, in px, of the images that an alignment is made exact on: more adds only time."""

_CLOSE_PX = 1.0  # px; tracking over less is exact, so one round is enough
_TRACKING_PX = 0.3  # px, least standard deviation assumed of a track


def at_full_size(
    alignment: Alignment, gray1: Gray, gray2: Gray, *, found_at: tuple[Size, Size]
) -> Alignment | None:
    """Rescale an alignment found on reduced images to the images themselves, and refine it.

    Parameters
    ----------
    alignment : Alignment
        In px of the reduced images.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, at full size; tracking reduces sides beyond 1600 px.
    found_at : tuple of Size
        Sizes of the reduced images.

    Returns
    -------
    Alignment or None
        In px of `gray1` and `gray2`, exact to a fraction of a pixel; None where the matrix does not
        hold at this size.
    """
    sizes = size_of(gray1), size_of(gray2)
    carried = rescaled(alignment, from_sizes=found_at, to_sizes=sizes)
    exact = refined(carried, gray1, gray2)
    if exact is None or exact.expected_error_px > MAX_EXPECTED_ERROR * max(sizes[1]):
        return None
    return exact


def refined(
    alignment: Alignment,
    gray1: Gray,
    gray2: Gray,
    *,
    target: Target | None = None,
    region1: Mask | None = None,
) -> Alignment | None:
    """Make an alignment exact to a fraction of a pixel by tracking corners.

    Parameters
    ----------
    alignment : Alignment
        In px of the arrays given, within some ten pixels.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images; sides beyond 1600 px are reduced for tracking.
    target : Target, optional
        Image 2 made ready for tracking, where it is that already.
    region1 : ndarray of uint8, shape (H, W), optional
        Of the size of image 1: only corners where it is 255 are tracked.

    Returns
    -------
    Alignment or None
        With its matrix and residual measured on these pixels, or as it was where there is nothing
        to track; None where the matrix does not hold.
    """
    sizes = size_of(gray1), size_of(gray2)
    small1, small2 = reduced(gray1, REFINEMENT_SIZE), reduced(gray2, REFINEMENT_SIZE)
    if target is None or target.gray is not small2:
        target = Target(small2)
    smalls = size_of(small1), size_of(small2)
    start = rescale_homography(alignment.matrix, from_sizes=sizes, to_sizes=smalls)
    region = None
    if region1 is not None:
        region = cv2.resize(region1, smalls[0], interpolation=cv2.INTER_NEAREST)
        region = np.asarray(region, np.uint8)
    # The alignment is near already: one halving reaches far enough.
    tracked = track(start, small1, target, halvings=1, region1=region)
    if tracked is None:
        return alignment
    matrix = rescale_homography(tracked.matrix, from_sizes=smalls, to_sizes=sizes)
    expected = expected_error_of(tracked, small2, smalls[0])
    if not is_plausible(matrix, *sizes) or expected > MAX_EXPECTED_ERROR * max(smalls[1]):
        return None
    scale = max(sizes[1]) / max(smalls[1])
    return replace(
        alignment,
        matrix=matrix,
        residual_px=scale * tracked.residual_px,
        expected_error_px=scale * expected,
    )


class Track(NamedTuple):
    """A matrix that tracked corners confirm."""

    matrix: Matrix
    residual_px: float  # median, in px of image 2
    points: NDArray[np.float32]  # that the matrix explains, in px of image 2
    explained: int = 0  # of the points; 0 if another matrix would explain them better


def track(
    matrix: Matrix,
    gray1: Gray,
    target: Target,
    *,
    halvings: int = 2,
    region1: Mask | None = None,
) -> Track | None:
    """Refine a matrix by tracked corners; None where there is nothing to track."""
    best: Track | None = None
    current, best_shift = matrix, np.inf
    for _ in range(3):
        start, end = tracked_corners(current, gray1, target, halvings=halvings, region1=region1)
        if len(start) < 2 * MIN_INLIERS:
            break
        shift = float(np.median(np.linalg.norm(end - start, axis=1)))
        if shift >= best_shift:  # the last correction made it worse
            break
        best, best_shift = Track(current, shift, end), shift
        correction = fit_homography(start, end, threshold_px=1.0)
        if correction is None or correction[1].sum() < 0.4 * len(start):
            break
        gap = np.linalg.norm(map_points(start, correction[0]) - end, axis=1)
        current = correction[0] @ current
        current = current / current[2, 2]
        if shift < _CLOSE_PX:
            # Tracking over less than a px is exact: another round would find the same.
            points = end[correction[1]]
            return Track(current, float(np.median(gap)), points, len(points))
    return best


def expected_error_of(tracked: Track, gray2: Gray, size1: Size) -> float:
    """Return the `expected_error_px` of a matrix that tracked corners confirm, px of image 2."""
    return expected_error_px(
        tracked.matrix,
        tracked.points,
        information_at(gray2, tracked.points),
        max(tracked.residual_px, _TRACKING_PX),
        sizes=(size1, size_of(gray2)),
    )
