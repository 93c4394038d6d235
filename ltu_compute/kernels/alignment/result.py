"""The alignment of one image with another, at any size of the images."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import map_points, rescale_homography, resizing
from ltu_compute.kernels.types import Matrix, Size


@dataclass(frozen=True, eq=False)
class Alignment:
    """Alignment of one image with another.

    Attributes
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2; ``matrix[2, 2] == 1``.
    inliers : int
        Matches, at different places, that the matrix explains.
    matches : int
        Matches that there were.
    residual_px : float
        Median distance, in px of image 2, between where the matrix puts a corner of image 1 and
        where it is seen in image 2. Large on surfaces that are not flat.
    method : str
        How it was found. ``"orb"`` or ``"sift"``: by keypoints. ``"still"``: the images are aligned
        as they are. ``"near"``: all alignments near the identity were tried, or those that differ
        by a symmetry of a pattern. ``"shape"``: edges of another specimen were aligned.
    agreement : float
        Median correlation of the textured blocks of the aligned images, -1 to 1.
    expected_error_px : float
        Standard error of the matrix in px of image 2, the mean over what both images show.
    inlier_points1, inlier_points2 : ndarray of float32, shape (N, 2)
        Places of the matches that the matrix explains, in px of either image.
    """

    matrix: Matrix
    inliers: int
    matches: int
    residual_px: float
    method: str
    agreement: float
    expected_error_px: float
    inlier_points1: NDArray[np.float32]
    inlier_points2: NDArray[np.float32]


def rescaled(
    alignment: Alignment, *, from_sizes: tuple[Size, Size], to_sizes: tuple[Size, Size]
) -> Alignment:
    """Carry an alignment over to other sizes of the same two images.

    Parameters
    ----------
    alignment : Alignment
        In px of images of `from_sizes`.
    from_sizes, to_sizes : tuple of Size
        Sizes of image 1 and image 2 that it speaks of, and those that the result shall speak of.
    """
    scale = max(to_sizes[1]) / max(from_sizes[1])
    into1 = resizing(from_sizes[0], to_sizes[0])
    into2 = resizing(from_sizes[1], to_sizes[1])
    return replace(
        alignment,
        matrix=rescale_homography(alignment.matrix, from_sizes=from_sizes, to_sizes=to_sizes),
        residual_px=alignment.residual_px * scale,
        expected_error_px=alignment.expected_error_px * scale,
        inlier_points1=map_points(alignment.inlier_points1, into1).astype(np.float32),
        inlier_points2=map_points(alignment.inlier_points2, into2).astype(np.float32),
    )
