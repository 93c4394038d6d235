"""Align two images by what a region of the first shows.

A part that was placed again on a patterned mat has another homography than the mat. The whole
images' alignment follows the larger of them; a region says which of the two is meant.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment.agreement import MIN_AGREEMENT, block_agreement
from ltu_compute.kernels.alignment.matches import MIN_INLIERS
from ltu_compute.kernels.alignment.near import align_near
from ltu_compute.kernels.alignment.precision import MAX_EXPECTED_ERROR
from ltu_compute.kernels.alignment.refinement import expected_error_of, refined, track
from ltu_compute.kernels.alignment.result import Alignment, rescaled
from ltu_compute.kernels.alignment.search import align
from ltu_compute.kernels.alignment.tracking import Target, tracked_corners
from ltu_compute.kernels.homography import inverse, is_plausible, map_points, size_of
from ltu_compute.kernels.keypoints import WORKING_SIZE, Keypoints, detect_keypoints
from ltu_compute.kernels.types import Box, Gray, Mask, Matrix, Size

_HOLDS_PX = 0.25  # median shift of tracked corners, as of two shots of a camera that did not move
_HOLDS_RATIO = 1.2  # of the whole images' residual: surfaces are not all flat
_BETTER = 0.05  # of agreement, by which the region's own alignment must surpass that of the whole
_CLOSER = 0.5  # of that shift, which the region's own alignment may leave
_SMALLEST = 24  # px of the region's shorter side; less is no picture
_KEYPOINTS = 1000  # in an area as large as the region
_MOST_KEYPOINTS = 4000  # bounds the time of matching


def align_region(
    gray1: Gray,
    target: Target,
    region1: Mask,
    *,
    whole: Alignment | None,
    thorough: bool = True,
) -> Alignment | None:
    """Find the homography that maps what a region of image 1 shows onto image 2.

    Parameters
    ----------
    gray1 : ndarray of uint8, shape (H, W)
        Image 1.
    target : Target
        Image 2.
    region1 : ndarray of uint8, shape (H, W)
        255 within the region, 0 elsewhere; of the size of image 1.
    whole : Alignment or None
        The alignment of the whole images, in px of both, if there is one.
    thorough : bool
        Whether to look for faint keypoints too, and without keypoints: slower.

    Returns
    -------
    Alignment or None
        In px of the images; `whole` itself where the region agrees with it, and None where the
        region does not show where it is in image 2.
    """
    x, y, width, height = cv2.boundingRect(region1)
    if min(width, height) < _SMALLEST:
        return None
    box = Box(x, y, width, height)
    part = _Part(
        gray1=_cut(gray1, box),
        region1=_cut(region1, box),
        target=target,
        box=box,
        size1=size_of(gray1),
    )
    start = None if whole is None else whole.matrix @ part.origin
    least, off_px = MIN_AGREEMENT, np.inf
    if whole is not None and start is not None:
        agreement, off_px = part.agreement(start), _off_px(start, part)
        usual = whole.residual_px * _HOLDS_RATIO if np.isfinite(whole.residual_px) else 0.0
        if off_px <= max(_HOLDS_PX, usual) and agreement >= MIN_AGREEMENT:
            return whole
        least = max(least, agreement + _BETTER)
    for found in _proposals(start, part, thorough=thorough):
        checkpoint()
        # Less than a px is seen by corners, not by how much the blocks agree.
        closer = np.isfinite(off_px) and found.residual_px <= _CLOSER * off_px
        if found.agreement >= (MIN_AGREEMENT if closer else least):
            matrix = found.matrix @ inverse(part.origin)
            points1 = (found.inlier_points1 + np.array([x, y])).astype(np.float32)
            return replace(found, matrix=matrix / matrix[2, 2], inlier_points1=points1)
    return None


@dataclass(frozen=True, eq=False)
class _Part:
    """The box around a region of image 1, cut out, and image 2."""

    gray1: Gray
    region1: Mask
    target: Target
    box: Box  # in px of image 1
    size1: Size  # of image 1

    @property
    def gray2(self) -> Gray:
        return self.target.gray

    @property
    def sizes(self) -> tuple[Size, Size]:
        """Sizes of the box and of image 2, in px."""
        return size_of(self.gray1), self.target.size

    @property
    def origin(self) -> Matrix:
        """Maps px of the box to px of image 1."""
        return _shift(self.box.x, self.box.y)

    def agreement(self, matrix: Matrix) -> float:
        """Return how alike the region is, px of the box being mapped to px of image 2."""
        return block_agreement(matrix, self.gray1, self.gray2, self.region1).median


def _cut(image: Gray, box: Box) -> Gray:
    part = image[box.y : box.y + box.height, box.x : box.x + box.width]
    return np.ascontiguousarray(part)


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _off_px(matrix: Matrix, part: _Part) -> float:
    """Return the median distance of the region's corners from where a matrix puts them, px.

    Infinite where there are too few corners.
    """
    start, end = tracked_corners(matrix, part.gray1, part.target, region1=part.region1)
    if len(start) < 2 * MIN_INLIERS:
        return float("inf")
    return float(np.median(np.linalg.norm(end - start, axis=1)))


def _proposals(start: Matrix | None, part: _Part, *, thorough: bool) -> Iterator[Alignment]:
    """Yield alignments of the region, in px of the region's box, the cheapest to find first."""
    if start is not None:
        nearby = _tracked(start, part)
        if nearby is not None:
            yield nearby
    found = _by_keypoints(part, faint=False)
    if found is None and thorough:
        found = _by_keypoints(part, faint=True)
    if found is not None:
        exact = refined(found, part.gray1, part.gray2, target=part.target, region1=part.region1)
        if exact is not None:
            yield replace(exact, agreement=part.agreement(exact.matrix))
    near = _near(part) if thorough else None
    if near is not None:
        yield replace(near, agreement=part.agreement(near.matrix))


def _tracked(matrix: Matrix, part: _Part) -> Alignment | None:
    """Follow the region's corners from where another alignment puts them."""
    tracked = track(matrix, part.gray1, part.target, region1=part.region1)
    if tracked is None or not is_plausible(tracked.matrix, *part.sizes):
        return None
    expected = expected_error_of(tracked, part.gray2, part.sizes[0])
    if expected > MAX_EXPECTED_ERROR * max(part.target.size):
        return None
    return Alignment(
        matrix=tracked.matrix,
        inliers=len(tracked.points),
        matches=len(tracked.points),
        residual_px=tracked.residual_px,
        method="tracking",
        agreement=part.agreement(tracked.matrix),
        expected_error_px=expected,
        inlier_points1=map_points(tracked.points, inverse(tracked.matrix)).astype(np.float32),
        inlier_points2=tracked.points,
    )


def _by_keypoints(part: _Part, *, faint: bool) -> Alignment | None:
    """Look for the region anywhere in image 2, both at about the same scale."""
    size, size2 = part.sizes
    scale1 = min(1.0, WORKING_SIZE / max(size))
    scale2 = scale1 * max(part.size1) / max(size2)
    scale2 = min(1.0, scale2, 2 * WORKING_SIZE / max(size2))
    small1, small2 = _resized(part.gray1, scale1), _resized(part.gray2, scale2)
    smalls = size_of(small1), size_of(small2)
    nearest = cv2.resize(part.region1, smalls[0], interpolation=cv2.INTER_NEAREST)
    region = np.asarray(nearest, np.uint8)
    limit = min(_MOST_KEYPOINTS, round(_KEYPOINTS * max(1.0, small2.size / small1.size)))
    found = align(
        small1,
        small2,
        keypoints1=_within(detect_keypoints(small1, limit=_KEYPOINTS, faint=faint), region),
        keypoints2=detect_keypoints(small2, limit=limit, faint=faint),
        region1=region,
    )
    if found is None:
        return None
    return rescaled(found, from_sizes=smalls, to_sizes=part.sizes)


def _within(keypoints: Keypoints, region: Mask) -> Keypoints:
    column, row = np.round(keypoints.points.T).astype(int)
    rows, columns = region.shape
    return keypoints.only(region[row.clip(0, rows - 1), column.clip(0, columns - 1)] > 0)


def _resized(gray: Gray, scale: float) -> Gray:
    if scale >= 1:
        return gray
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _near(part: _Part) -> Alignment | None:
    """Try all alignments near the identity: image 2 is cut to the region's box."""
    x_scale, y_scale = np.array(part.target.size) / part.size1
    box = Box(
        round(part.box.x * x_scale),
        round(part.box.y * y_scale),
        round(part.box.width * x_scale),
        round(part.box.height * y_scale),
    )
    there = _cut(part.gray2, box)
    if min(there.shape) < _SMALLEST:
        return None
    found = align_near(part.gray1, there)
    return None if found is None else replace(found, matrix=_shift(box.x, box.y) @ found.matrix)
