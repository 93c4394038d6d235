"""Algebra of homographies."""

import numpy as np

from ltu_compute.kernels.types import Matrix


def inverse(matrix: Matrix) -> Matrix:
    """Return the homography that leads back.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Homography, invertible.

    Returns
    -------
    inverse : ndarray of float64, shape (3, 3)
        Its matrix inverse, not scaled: ``matrix @ inverse`` is the identity itself and not a
        multiple of it.

    Raises
    ------
    ValueError
        If the matrix has no inverse.
    """
    try:
        return np.linalg.inv(matrix).astype(np.float64)
    except np.linalg.LinAlgError:
        raise ValueError("the matrix is singular") from None
