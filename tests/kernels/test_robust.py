"""Robust statistics, against values known by hand."""

import numpy as np
import pytest

from ltu_compute.kernels.robust import biweight, weighted_median, weighted_quantile

VALUES = np.array([30.0, 10.0, 20.0])


@pytest.mark.parametrize(
    ("deviations", "weight"),
    # (1 - (r / 4.685)^2)^2, and 0 beyond: Beaton & Tukey 1974.
    [(0, 1), (4.685 / 2, 0.5625), (-4.685 / 2, 0.5625), (4.685, 0), (100, 0)],
)
def test_biweight_falls_from_1_to_0(deviations: float, weight: float) -> None:
    assert biweight(np.array([deviations * 0.2]), 0.2) == pytest.approx([weight], abs=1e-12)


@pytest.mark.parametrize(
    ("weights", "median"), [((1, 1, 1), 20), ((5, 1, 1), 30), ((0, 1, 0), 10), ((1, 5, 1), 10)]
)
def test_weighted_median_is_where_half_of_the_weight_is(
    weights: tuple[float, float, float], median: float
) -> None:
    assert weighted_median(VALUES, np.array(weights, np.float64)) == median


@pytest.mark.parametrize(("share", "value"), [(0.1, 10), (0.5, 20), (0.9, 30), (1, 30)])
def test_weighted_quantile_with_equal_weights(share: float, value: float) -> None:
    assert weighted_quantile(VALUES, np.ones(3), share) == value
