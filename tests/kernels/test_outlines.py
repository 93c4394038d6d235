"""Outlines of differences, and their bound."""

import numpy as np
import pytest

from ltu_compute.kernels.differences.regions import MOST_VERTICES, outline_of


@pytest.mark.parametrize(("teeth", "coarser"), [(40, False), (1200, True)])
def test_a_comb_of_many_teeth_has_a_coarser_outline(teeth: int, coarser: bool) -> None:
    comb = np.zeros((40, 2 * teeth), bool)
    comb[:, ::2] = True
    comb[:4] = True
    outline = outline_of(comb)
    assert len(outline) <= MOST_VERTICES
    assert (len(outline) < 3 * teeth) == coarser
    assert outline.min() >= -1
    assert outline.max() <= 2 * teeth
