"""Refine a homography and let the pixels decide about it."""

import numpy as np

from ltu_compute.kernels.alignment.agreement import MIN_AGREEMENT, block_agreement
from ltu_compute.kernels.alignment.matches import Matches
from ltu_compute.kernels.alignment.pair import Pair
from ltu_compute.kernels.alignment.precision import expected_error_px
from ltu_compute.kernels.alignment.refinement import expected_error_of, track
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.homography import is_plausible
from ltu_compute.kernels.types import Matrix

MANY_INLIERS = 20  # matches; with so many, chance is ruled out
MIN_AGREEMENT_FEW = 0.9  # least correlation of blocks if only few keypoints agree
_MIN_SHARE = 0.15  # least share of textured blocks that are alike, with many inliers
_MIN_SHARE_FEW = 0.5  # with fewer
_MANY_TRACKS = 40  # corners that a matrix explains; with so many, chance is ruled out, too
_MIN_SHARE_TRACKED = 0.3  # least share of textured blocks that are alike, with many tracks


def min_share_of(inliers: int) -> float:
    """Return the least share of textured blocks that must be alike, for a number of inliers.

    With many, the larger part of the image may have changed.
    """
    return _MIN_SHARE if inliers >= MANY_INLIERS else _MIN_SHARE_FEW


def verified(
    pair: Pair,
    matrix: Matrix,
    inliers: Matches,
    *,
    min_agreement: float = MIN_AGREEMENT,
    min_share: float = _MIN_SHARE_FEW,
) -> Alignment | None:
    """Refine a matrix and return it if the pixels agree under it and determine it."""
    size1, size2 = pair.size1, pair.size2
    followed = 0
    tracked = track(matrix, pair.gray1, pair.target, region1=pair.region1)
    if tracked is not None and is_plausible(tracked.matrix, size1, size2):
        matrix, residual_px = tracked.matrix, tracked.residual_px
        expected = expected_error_of(tracked, pair.gray2, size1)
        followed = tracked.explained
    else:  # nothing to track: the keypoints decide
        residual_px = float("nan")
        isotropic = np.broadcast_to(np.eye(2), (len(inliers[1]), 2, 2))
        expected = expected_error_px(matrix, inliers[1], isotropic, 1.5, sizes=(size1, size2))
    agreement = block_agreement(matrix, pair.gray1, pair.gray2, pair.region1)
    if followed >= _MANY_TRACKS:
        min_share = min(min_share, _MIN_SHARE_TRACKED)
    if agreement.median < min_agreement and agreement.share < min_share:
        return None
    if expected > pair.max_expected * max(size2):
        return None
    return Alignment(
        matrix=matrix,
        inliers=len(inliers[0]),
        matches=len(inliers[0]),
        residual_px=residual_px,
        method="sift",
        agreement=agreement.median,
        expected_error_px=expected,
        inlier_points1=inliers[0],
        inlier_points2=inliers[1],
    )
