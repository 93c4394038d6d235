"""Lengths of vectors."""

import numpy as np
import pytest

from ltu_compute.kernels.vectors import lengths, norms


def test_lengths_of_pythagorean_triples() -> None:
    x = np.array([[3.0, -5.0], [8.0, 0.0]], np.float32)
    y = np.array([[4.0, 12.0], [-15.0, 0.0]], np.float32)
    assert lengths(x, y).tolist() == [[5.0, 13.0], [17.0, 0.0]]


@pytest.mark.parametrize("shape", [(37, 51), (1, 9), (33, 44)])
def test_lengths_do_not_depend_on_where_arrays_are(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).random((2, *shape), np.float32)
    found = set()
    for offset in range(0, 64, 4):  # addresses within a line of the cache
        memory = np.zeros(values.nbytes + 64, np.uint8)
        placed = np.ndarray(values.shape, np.float32, buffer=memory.data, offset=offset)
        placed[...] = values
        found.add(lengths(*placed).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(7, 5, 3), (300, 2), (0, 3)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_norms_are_those_of_numpy(shape: tuple[int, ...], kind: type) -> None:
    vectors = np.random.default_rng(2).normal(0, 20, shape).astype(kind)
    assert norms(vectors).dtype == kind
    np.testing.assert_array_equal(norms(vectors), np.linalg.norm(vectors, axis=-1))
