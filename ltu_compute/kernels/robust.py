"""Robust statistics: weights and quantiles that a few wild values do not move."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

DEVIATIONS_PER_MAD: Final = 1.4826  # of a normal distribution; MAD: median absolute deviation
_TUKEY: Final = 4.685  # deviations; values beyond are ignored: 95 % efficiency (Huber 1981)


def biweight(residual: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return Tukey's weights of residuals: 1 at 0, falling to 0 at 4.685 deviations.

    Parameters
    ----------
    residual : ndarray of float64, of any shape
        Signed or not, in any unit.
    scale : float
        Standard deviation of the residuals that are to count, in the same unit, above 0.

    Returns
    -------
    ndarray of float64, of the same shape
        0 to 1.

    References
    ----------
    A. E. Beaton, J. W. Tukey, "The fitting of power series, meaning polynomials, illustrated on
    band-spectroscopic data", Technometrics 16(2), 1974.
    """
    distance = residual / (_TUKEY * scale)
    inside = 1 - distance * distance
    inside[inside < 0] = 0
    return inside * inside


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value below which half of the weight is."""
    return weighted_quantile(values, weights, 0.5)


def weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> float:
    """Return the value below which a share of the weight is.

    Parameters
    ----------
    values, weights : ndarray of float64, shape (N,)
        At least one value; weights of 0 or more, not all 0.
    share : float
        0 to 1.
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] * share)])
