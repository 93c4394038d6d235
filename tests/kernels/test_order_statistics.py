"""Order statistics, against NumPy's."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.kernels.order_statistics import median, percentile

RNG = np.random.default_rng(5)
VALUES = {
    "one": np.array([3.5]),
    "two": np.array([4.0, 1.0]),
    "ties": np.array([2, 2, 2, 7, 7], np.float32),
    "odd": RNG.normal(size=4001).astype(np.float32),
    "even, of two axes": RNG.normal(size=(40, 50)),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("percent", [0, 2, 10, 50, 75, 98.5, 100])
def test_percentile_and_median_equal_those_of_numpy(
    values: NDArray[np.floating[Any]], percent: float
) -> None:
    before = values.copy()
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-6)
    assert median(values) == pytest.approx(np.median(values), rel=1e-6)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "percent"), [(np.zeros(0), 50), (np.ones(3), -1), (np.ones(3), 101)]
)
def test_empty_arrays_and_wrong_percents_are_rejected(
    values: NDArray[np.float64], percent: float
) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)
