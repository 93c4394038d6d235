"""Align shots that hardly moved: a fixed camera, a part that was put back.

Patches are found again near their old places, and a homography is fitted to them, with a prior of
no motion. That takes a fraction of the time of a search by keypoints. The homography does not
slide along tracks that look the same over some length.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, agreement_of
from ltu_compute.kernels.differences.displacement import (
    Grid,
    matchable,
    patches_found,
)
from ltu_compute.kernels.differences.sampling import crop
from ltu_compute.kernels.homography import is_plausible, map_points, rescale_homography, size_of
from ltu_compute.kernels.resizing import longest_for, reduced
from ltu_compute.kernels.robust import biweight, weighted_median, weighted_quantile
from ltu_compute.kernels.types import Box, Gray, Matrix, Size

_SIZE = 512  # px, longest side of the images in which patches are searched for, up to 3:1
_REACHES = (14, 4)  # px of `_SIZE`, greatest displacement of a patch: first pass, second pass
_FINER = 1.5  # times the size of a panel, at which it is aligned in a second attempt
_LEAST_PATCHES = 8
_AGREEING = 0.7  # share of what the patches show that must agree with the homography
_AGREEING_PX = 1.5  # px of `_SIZE`
_MIN_AGREEMENT = 0.6  # mean correlation of blocks, see `agreement_of`
_LEAST_SCALE_PX = 0.3  # px of `_SIZE`: least Rayleigh scale of the deviations of patches
_CERTAIN = 0.35  # quantile of the distances that gives Rayleigh's scale: patches sure to agree
_PRIOR = 2e-3  # weight of the prior of no motion, as a share of all patches' weight


def align_settled(gray1: Gray, gray2: Gray) -> Alignment | None:
    """Align two shots of equal size that hardly moved.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The shots, of equal size.

    Returns
    -------
    Alignment or None
        In px of the arrays given, exact to about a tenth of a px at 512 px longest side. None if
        the shots have moved farther, or too little of them agrees.
    """
    if gray1.shape != gray2.shape:
        return None
    longest = longest_for(size_of(gray1), _SIZE)
    found = _aligned_at(gray1, gray2, longest)
    if found is None and longest > _SIZE:
        # The parts of a panel look alike, the more so the fewer px they have.
        found = _aligned_at(gray1, gray2, round(_FINER * longest))
    return found


def _aligned_at(gray1: Gray, gray2: Gray, longest: int) -> Alignment | None:
    """Align two shots, reduced to a longest side in px; see `align_settled`."""
    small1, small2 = reduced(gray1, longest), reduced(gray2, longest)
    size = size_of(small1)
    if min(size) < 4 * _REACHES[0]:
        return None
    grid = Grid.over(size, small1)
    soft1 = matchable(small1)
    matrix = np.eye(3)
    for share in _REACHES:
        reach = round(share * longest / _SIZE)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpPerspective(
            small2, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        soft2 = matchable(np.asarray(seen, np.uint8))
        vectors, weights = patches_found(
            grid,
            lambda *place: crop(soft1, Box(*place)),
            lambda *place, soft2=soft2: crop(soft2, Box(*place)),
            None,
            reach,
        )
        known = weights.ravel() > 0
        if np.count_nonzero(known) < _LEAST_PATCHES:
            return None
        centres = grid.middles.reshape(-1, 2)
        places = map_points(centres + vectors.reshape(-1, 2), matrix)
        matrix, agree = _fitted(centres, places, weights.ravel().astype(np.float64), size)
    if _share(agree[known], centres[known], grid.patch) < _AGREEING or not is_plausible(
        matrix, size, size
    ):
        return None
    agreement = agreement_of(matrix, small1, small2)
    if not agreement >= _MIN_AGREEMENT:
        return None
    factor = max(gray1.shape) / max(small1.shape)
    inliers = known & agree
    residual = np.linalg.norm(map_points(centres, matrix) - places, axis=1)
    typical = factor * float(np.median(residual[known]))
    full = (size_of(gray1), size_of(gray2))
    rescaled = rescale_homography(matrix, from_sizes=(size, size), to_sizes=full)
    points = (centres[inliers] + 0.5) * factor - 0.5
    return Alignment(
        matrix=rescaled,
        inliers=int(np.count_nonzero(inliers)),
        matches=int(np.count_nonzero(known)),
        residual_px=typical,
        method="near",
        agreement=agreement,
        expected_error_px=typical,
        inlier_points1=points.astype(np.float32),
        inlier_points2=map_points(points, rescaled).astype(np.float32),
    )


def _share(agree: NDArray[np.bool_], middles: NDArray[np.float64], side: int) -> float:
    """Return which share of what patches show agrees; what several of them show counts once.

    Parameters
    ----------
    agree : ndarray of bool, shape (N,)
        Which patches agree.
    middles : ndarray of float64, shape (N, 2)
        Middles of the patches, in px.
    side : int
        Side of a patch, in px.
    """
    apart = np.abs(middles[:, None] - middles[None])
    common = np.clip(1 - apart / side, 0, None).prod(axis=2)  # of a patch's area; 1 with itself
    own = 1 / common.sum(axis=1)
    return float(own[agree].sum() / own.sum())


def _fitted(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    weights: NDArray[np.float64],
    size: Size,
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Return the homography from `start` to `end`, and which points agree.

    Reweighted least squares (Tukey) in coordinates from -1 to 1, linearised, with a prior of the
    identity: if all edges run in one direction, the image does not slide along them.
    """
    half = max(size) / 2
    middle = np.array([(size.width - 1) / 2, (size.height - 1) / 2])
    x, y = ((start - middle) / half).T
    u, v = ((end - middle) / half).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows_x = np.stack([x, y, one, zero, zero, zero, -x * u, -y * u], axis=1)
    rows_y = np.stack([zero, zero, zero, x, y, one, -x * v, -y * v], axis=1)
    identity = np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float64)
    total = weights.sum()
    # The longer a side, the better the slope along it is known: with the square of its length.
    along_x, along_y = np.square(np.array(size) / max(size))
    prior = [along_x, along_y, 0.1, along_x, along_y, 0.1, 4 * along_x, 4 * along_y]
    stiffness = _PRIOR * total * np.diag(prior)
    solution = identity.copy()
    pair = np.stack([rows_x, rows_y], axis=1)
    aim = np.stack([u, v], axis=1) - pair @ identity
    # Most patches may be in place and one piece displaced: it must not affect the others.
    moved = end - start
    middle_move = [weighted_median(moved[:, axis], weights) for axis in range(2)]
    distance = np.linalg.norm(moved - middle_move, axis=1)
    robust = _robust(distance, weights)
    for _ in range(15):
        weighted = pair * robust[:, None, None]
        normal = np.einsum("nij,nik->jk", weighted, pair) + stiffness
        change = np.linalg.solve(normal, np.einsum("nij,ni->j", weighted, aim))
        solution = identity + change
        distance = half * np.linalg.norm(aim - pair @ change, axis=1)
        robust = _robust(distance, weights)
    normalised = np.append(solution, 1.0).reshape(3, 3)
    into = np.array([[1 / half, 0, -middle[0] / half], [0, 1 / half, -middle[1] / half], [0, 0, 1]])
    matrix = np.linalg.inv(into) @ normalised @ into
    return matrix / matrix[2, 2], distance <= _AGREEING_PX


def _robust(distance: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reweight by distance, in px: Tukey's biweight."""
    near = weighted_quantile(distance, weights, _CERTAIN)
    scale = max(near / math.sqrt(-2 * math.log(1 - _CERTAIN)), _LEAST_SCALE_PX)
    return np.asarray(weights * biweight(distance, scale), np.float64)
