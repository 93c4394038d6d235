"""How alike two images are once they are aligned."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import overlap_mask, size_of, warp_mask_onto, warp_onto
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Gray, Mask, Matrix

MIN_AGREEMENT = 0.6  # correlation of blocks that are alike
_TEXTURE = 3.0  # levels: standard deviation of a block that is not blank
_FEWEST_BLOCKS = 4  # fewer say nothing about an image
_WHOLE = 254.0  # mean of a mask of 255 over a block that it holds whole, less rounding


def agreement_of(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """Return how alike the aligned images are: the median correlation of their textured blocks.

    Each block of a sixteenth of the shorter side is compared by zero-mean normalised
    cross-correlation. So other light does not count. By the median, a changed part does not either.

    Returns
    -------
    float
        -1 to 1; 0 where neither image has texture.
    """
    return block_agreement(matrix, gray1, gray2).median


class Agreement(NamedTuple):
    """How alike the textured blocks of aligned images are."""

    median: float  # of their correlations
    alike: int  # blocks
    share: float  # of blocks that are alike


class Blocks(NamedTuple):
    """Blocks of aligned images, on a grid over image 2; arrays of shape (rows, columns)."""

    side: int  # px; neighbours overlap by half of it
    correlation: NDArray[np.float32]
    deviation: NDArray[np.float32]  # the greater standard deviation, in levels
    whole: NDArray[np.bool_]  # both images show all of the block


def block_agreement(
    matrix: Matrix, gray1: Gray, gray2: Gray, region1: Mask | None = None
) -> Agreement:
    """Return how alike the blocks of the aligned images are, as `agreement_of` compares them.

    With `region1`, of the size of image 1, only blocks within it are compared.
    """
    blocks = blocks_of(matrix, gray1, gray2, region1)
    textured = blocks.whole & (blocks.deviation > _TEXTURE)
    if textured.sum() < _FEWEST_BLOCKS:
        return Agreement(0.0, 0, 0.0)
    correlations = blocks.correlation[textured]
    alike = correlations >= MIN_AGREEMENT
    return Agreement(float(np.median(correlations)), int(alike.sum()), float(alike.mean()))


def blocks_of(matrix: Matrix, gray1: Gray, gray2: Gray, region1: Mask | None = None) -> Blocks:
    """Compare aligned images block by block; with `region1`, only within that."""
    size2 = size_of(gray2)
    warped = warp_onto(gray1, matrix, size2)
    inside = overlap_mask(matrix, size_of(gray1), size2)
    if region1 is not None:
        inside &= warp_mask_onto(region1, matrix, size2)
    side = max(8, round(min(size2) / 16))
    half = side // 2
    correlation, deviation = local_correlation(
        _softened(warped), _softened(gray2), side, start=half, step=max(1, half)
    )
    share = cv2.blur(inside.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    grid = slice(half, None, max(1, half))
    return Blocks(side, correlation, deviation, share[grid, grid] > _WHOLE)


@of_reference
def _softened(gray: Gray) -> NDArray[np.float32]:
    """Return an image blurred slightly, which forgives the last half pixel."""
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.0), np.float32)


def local_correlation(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    side: int,
    *,
    start: int = 0,
    step: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correlate two images in windows around each pixel, or around those of a grid.

    Parameters
    ----------
    first, second : ndarray of float32, shapes (H, W)
        The images, in levels.
    side : int
        Side of the windows, in px.
    start, step : int
        First row and column of the grid, and the distance of its rows and columns, in px.

    Returns
    -------
    correlation : ndarray of float32, shape (H, W), or that of the grid
        Zero-mean normalised cross-correlation, -1 to 1.
    deviation : ndarray of float32, of the same shape
        The greater of both standard deviations, in levels.
    """
    (mean1, variance1), (mean2, variance2) = (
        _moments(each, side, start, step) for each in (first, second)
    )
    covariance = _means(cv2.multiply(first, second), side, start, step) - mean1 * mean2
    spread = np.sqrt(np.maximum(variance1 * variance2, np.float32(1)))
    return np.asarray(covariance / spread, np.float32), np.sqrt(np.maximum(variance1, variance2))


@of_reference
def _moments(
    values: NDArray[np.float32], side: int, start: int, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and variance in windows of `side` px around the pixels of a grid."""
    mean, square = (
        _means(each, side, start, step) for each in (values, cv2.multiply(values, values))
    )
    return mean, np.maximum(square - mean * mean, np.float32(0))


def _means(
    values: NDArray[np.floating[Any]], side: int, start: int, step: int
) -> NDArray[np.float32]:
    grid = slice(start, None, step)
    means: NDArray[np.float32] = np.ascontiguousarray(cv2.blur(values, (side, side))[grid, grid])
    return means
