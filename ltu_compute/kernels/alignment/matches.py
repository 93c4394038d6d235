"""Matches between two images, and whether a homography explains enough of them."""

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Matrix, Size

Matches: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]

MIN_HINT = 6  # inliers of a homography by which it is worth to match again
MIN_INLIERS = 8  # least inliers of a homography
_CHANCE, _CHANCE_SHARE = 5.9, 0.22  # inliers by chance, and share of visible matches: the paper's
_LEAST_SPREAD = 0.02  # of the longest side: least deviation of inliers across their main direction


def distinct(
    points1: NDArray[np.float32], points2: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop matches at the place of another, such as those of a keypoint with two directions."""
    _, first = np.unique(row_keys(np.round(np.hstack([points1, points2]))), return_index=True)
    first.sort()
    return points1[first], points2[first]


def count_places(points: NDArray[np.float32]) -> int:
    """Count points; those within the same 4 px count once."""
    return len(np.unique(row_keys(np.round(points / 4))))


def row_keys(rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return one whole number for each row of whole numbers: ordered as rows are, left first.

    NumPy finds equal numbers many times as fast as equal rows.
    """
    whole = rows.astype(np.int64)
    if not len(whole):
        return np.zeros(0, np.int64)
    whole -= whole.min(axis=0)
    extents = whole.max(axis=0) + 1
    weights = np.concatenate([np.cumprod(extents[:0:-1])[::-1], [1]])
    keys: NDArray[np.int64] = whole @ weights
    return keys


def fit_homography(
    points1: NDArray[np.float32], points2: NDArray[np.float32], *, threshold_px: float
) -> tuple[Matrix, NDArray[np.bool_]] | None:
    """Fit a homography to matches, some of them wrong, by MAGSAC++ (Barath et al., CVPR 2020).

    Parameters
    ----------
    points1, points2 : ndarray of float32, shapes (N, 2)
        Places of the matches, in px of image 1 and image 2.
    threshold_px : float
        Greatest distance of a match from its place under the matrix, in px of image 2.

    Returns
    -------
    tuple or None
        The matrix from image 1 to image 2, and which matches it explains, shape (N,). None if
        there are fewer than `MIN_HINT` matches, or none agree.
    """
    if len(points1) < MIN_HINT:
        return None
    matrix, mask = cv2.findHomography(
        points1, points2, cv2.USAC_MAGSAC, threshold_px, maxIters=5000, confidence=0.9999
    )
    if matrix is None or abs(matrix[2, 2]) < 1e-12:
        return None
    return np.asarray(matrix / matrix[2, 2], np.float64), mask.ravel().astype(bool)


def is_sufficient(
    matrix: Matrix,
    inliers: NDArray[np.bool_],
    points1: NDArray[np.float32],
    size1: Size,
    size2: Size,
) -> bool:
    """Return whether chance can be ruled out (Brown and Lowe, IJCV 2007, section 3.2).

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    inliers : ndarray of bool, shape (N,)
        Matches that it explains.
    points1 : ndarray of float32, shape (N, 2)
        Places of all matches, in px of image 1.
    size1, size2 : Size
        Sizes of the images.
    """
    count = int(inliers.sum())
    if count < MIN_INLIERS:
        return False
    mapped = map_points(points1, matrix)
    visible = ((mapped >= 0) & (mapped < [size2.width, size2.height])).all(axis=1)
    if count <= _CHANCE + _CHANCE_SHARE * max(int(visible.sum()), count):
        return False
    # Points on one line, or in one spot, do not determine a homography.
    across = np.sqrt(np.linalg.eigvalsh(np.cov(points1[inliers].T.astype(np.float64))))
    return bool(across[0] > _LEAST_SPREAD * max(size1))
