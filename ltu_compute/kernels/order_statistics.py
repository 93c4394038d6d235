"""Medians and percentiles of many values: NumPy's, in less time.

Only the two values around the position are looked for. NumPy 2 does so with the vector instructions
of the processor: for some ten thousand values, two to seven times as fast as sorting them all.
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


def percentile(values: NDArray[np.number[Any]], percent: float) -> float:
    """Return a percentile, interpolated between the two nearest values.

    Parameters
    ----------
    values : ndarray of numbers, of any shape
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
    position = percent / 100 * (values.size - 1)
    below = math.floor(position)
    above = min(below + 1, values.size - 1)
    ordered = np.partition(values, (below, above), axis=None)
    low, high = float(ordered[below]), float(ordered[above])
    return low + (high - low) * (position - below)
