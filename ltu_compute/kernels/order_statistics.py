"""Medians and percentiles of many values: NumPy's, in less time.

NumPy sorts with the vector instructions of the processor and selects without them: for some ten
thousand values of 32 bits, sorting them all is twice as fast as looking for those in the middle.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[np.floating[Any]]) -> float:
    """Return the median.

    Parameters
    ----------
    values : ndarray of floats, of any shape
        At least one; none is NaN.
    """
    return percentile(values, 50)


def percentile(values: NDArray[np.floating[Any]], percent: float) -> float:
    """Return a percentile, interpolated between the two nearest values.

    Parameters
    ----------
    values : ndarray of floats, of any shape
        At least one; none is NaN.
    percent : float
        0 to 100.

    Raises
    ------
    ValueError
        If there are no values, or `percent` is out of range.
    """
    if not values.size or not 0 <= percent <= 100:
        raise ValueError("a percentile needs values, and a number from 0 to 100")
    ordered = np.sort(values, axis=None)
    position = percent / 100 * (ordered.size - 1)
    below = math.floor(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    return low + (high - low) * (position - below)
