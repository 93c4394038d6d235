"""Lengths of vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def lengths(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
    """Return the lengths of vectors.

    OpenCV's ``magnitude`` rounds some pixels differently from call to call: the result depends on
    where in memory the arrays are.

    Parameters
    ----------
    x, y : ndarray of float32, of equal shapes
        Components, in any unit.

    Returns
    -------
    ndarray of float32, of the same shape
        In that unit.
    """
    square = x * x
    square += y * y
    return np.asarray(np.sqrt(square, out=square), np.float32)


def norms(vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the lengths of vectors of two or three components: NumPy's norm, in a fifth of time.

    Parameters
    ----------
    vectors : ndarray of floats, shape (..., C)
        The vectors, in any unit.

    Returns
    -------
    ndarray of the same type, shape (...)
        In that unit.
    """
    first, *others = np.moveaxis(vectors, -1, 0)
    square = first * first
    for each in others:
        square += each * each
    return np.asarray(np.sqrt(square, out=square))
