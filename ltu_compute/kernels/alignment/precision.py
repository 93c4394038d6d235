"""How exactly points determine a homography."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment.tracking import corner_scale, window_of
from ltu_compute.kernels.homography import corners_of, inverse, map_points, size_of
from ltu_compute.kernels.types import Gray, Matrix, Size

_MIN_CORNER = 0.03  # ratio of the structure tensor's eigenvalues; below, a point is on an edge
_INDEPENDENT_POINTS = 60  # more points add nothing: errors of neighbours are alike
_PLACES = 16  # along either side, at which the error is computed
MAX_EXPECTED_ERROR = 5 / 1600  # of the longest side


def expected_error_px(
    matrix: Matrix,
    points2: NDArray[np.float32],
    information: NDArray[np.float64],
    sigma_px: float,
    *,
    sizes: tuple[Size, Size],
) -> float:
    """Return the standard error of a fitted homography, the mean over what both images show.

    The covariance of the fit, carried over to the places (Hartley and Zisserman, Multiple View
    Geometry, 2nd ed., sections 5.1.3 and 5.2.3): large where the points crowd in a corner of what
    is shared, or fix the place only across an edge.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    points2 : ndarray of float32, shape (N, 2)
        Points it was fitted to, in px of image 2.
    information : ndarray of float64, shape (N, 2, 2)
        Of each point, inverse covariance in units of ``sigma_px ** -2``.
    sigma_px : float
        Standard deviation of a point in its best direction, in px of image 2.
    sizes : tuple of Size
        Sizes of image 1 and image 2.

    Returns
    -------
    float
        In px of image 2; infinite where the points do not determine a homography.
    """
    size1, size2 = sizes
    half = max(size2) / 2
    middle = (np.array(size2) - 1) / 2
    jacobians = _homography_jacobians((points2 - middle) / half)
    fisher = jacobians.reshape(-1, 8).T @ (information @ jacobians).reshape(-1, 8)
    fisher *= min(1.0, _INDEPENDENT_POINTS / max(1, len(points2)))
    values, vectors = np.linalg.eigh(fisher)
    if values[0] <= 1e-9 * max(values[-1], 1.0):
        return float("inf")
    places = _shared_places(matrix, size1, size2)
    if len(places) == 0:
        return float("inf")
    spread = _homography_jacobians((places - middle) / half) @ (vectors / np.sqrt(values))
    return float(sigma_px * np.sqrt((spread**2).sum(axis=(1, 2))).mean())


def information_at(gray: Gray, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how well places are fixed in either direction, (N, 2, 2): 1 across an edge, 0 along.

    The structure tensor over its greater eigenvalue. A gently curved edge counts as straight: a
    point on it may be anywhere along it.
    """
    factor = corner_scale(size_of(gray))
    if factor > 1:
        size = (gray.shape[1] // factor, gray.shape[0] // factor)
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    x, y = cv2.spatialGradient(smooth)
    window = window_of(size_of(gray))
    column, row = np.round(points.T / factor).astype(int)
    places = row.clip(0, gray.shape[0] - 1), column.clip(0, gray.shape[1] - 1)
    xx, xy, yy = (
        cv2.boxFilter(cv2.multiply(one, other, dtype=cv2.CV_32F), -1, (window, window))[places]
        for one, other in ((x, x), (x, y), (y, y))
    )
    tensors = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2).astype(np.float64)
    values, vectors = np.linalg.eigh(tensors)
    weights = values / np.maximum(values.max(axis=1, keepdims=True), 1e-12)
    weights = np.where(weights < _MIN_CORNER, 0, weights)
    information: NDArray[np.float64] = (vectors * weights[:, None]) @ vectors.transpose(0, 2, 1)
    return information


def _shared_places(matrix: Matrix, size1: Size, size2: Size) -> NDArray[np.float64]:
    """Return places, evenly spread over what both images show, in px of image 2, shape (N, 2)."""
    lowest, highest = np.zeros(2), np.array(size2) - 1.0
    for _ in range(2):
        x, y = (np.linspace(low, high, _PLACES) for low, high in zip(lowest, highest, strict=True))
        places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        origins = map_points(places, inverse(matrix))
        shared = ((origins >= 0) & (origins <= np.array(size1) - 1)).all(axis=1)
        if shared.sum() >= _PLACES:
            break
        # Little is shared: look at that closely.
        corners = map_points(corners_of(size1), matrix)
        lowest = np.clip(corners.min(axis=0), 0, np.array(size2) - 1)
        highest = np.clip(corners.max(axis=0), 0, np.array(size2) - 1)
    return places[shared]


def _homography_jacobians(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the derivatives of x, y by a homography's entries at the identity, (N, 2, 8)."""
    x, y = np.asarray(points, np.float64).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    along_x = np.stack([x, y, one, zero, zero, zero, -x * x, -x * y], axis=1)
    along_y = np.stack([zero, zero, zero, x, y, one, -x * y, -y * y], axis=1)
    return np.stack([along_x, along_y], axis=1)
