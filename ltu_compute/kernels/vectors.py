"""Lengths of vectors that are stored as two arrays."""

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
