"""Detect whether the camera moved at all between two shots."""

import numpy as np

from ltu_compute.kernels.alignment.agreement import MIN_AGREEMENT, agreement_of
from ltu_compute.kernels.alignment.matches import MIN_INLIERS
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.tracking import Target, tracked_corners
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Gray

_STIRRED_PX = 1.0  # px; with a larger median shift, the camera moved
_STILL_PX = 0.2  # px, greatest median shift of corners of a camera that did not move
_STILL_FAR_PX = 0.5  # px, the same of the three quarters that moved least: a turn moves far corners
_LEAST_SPREAD = 0.3  # of the width: least extent of the corners, across and down
_STAYS_PX = 1.0  # px; a corner that moved farther is no inlier


def align_still(gray1: Gray, target: Target) -> Alignment | None:
    """Align two images of one size if their camera did not move.

    Parameters
    ----------
    gray1 : ndarray of uint8, shape (H, W)
        Image 1.
    target : Target
        Image 2, of equal size.

    Returns
    -------
    Alignment or None
        With the identity as its matrix where the tracked corners stay within a fifth of a pixel at
        the median. None where they move, or there are too few of them.
    """
    gray2 = target.gray
    if gray1.shape != gray2.shape:
        return None
    start, end = tracked_corners(np.eye(3), gray1, target, halvings=1, farthest_px=_STIRRED_PX)
    if len(start) < MIN_INLIERS * 2:
        return None
    shift = np.linalg.norm(end - start, axis=1)
    residual_px = float(np.median(shift))
    spread = start.max(axis=0) - start.min(axis=0)
    if (
        residual_px > _STILL_PX
        or np.percentile(shift, 75) > _STILL_FAR_PX
        or (spread < _LEAST_SPREAD * size_of(gray1)[0]).any()
    ):
        return None
    agreement = agreement_of(np.eye(3), gray1, gray2)
    if agreement < MIN_AGREEMENT:
        return None
    stays = shift < _STAYS_PX
    return Alignment(
        matrix=np.eye(3),
        inliers=int(stays.sum()),
        matches=len(start),
        residual_px=residual_px,
        method="still",
        agreement=agreement,
        expected_error_px=residual_px,
        inlier_points1=start[stays],
        inlier_points2=start[stays],
    )
