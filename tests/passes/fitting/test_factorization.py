"""Cholesky factors and inverses of triangles: what they must satisfy, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.passes.fitting.factorization import cholesky, inverse_of_lower
from qbnnc.passes.fitting.rounding import Inverse

Float64 = NDArray[np.float64]
sizes = st.sampled_from([1, 2, 3, 47, 48, 49, 96, 97, 150])


def definite(seed: int, size: int) -> Float64:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * size, size)) * np.exp(rng.normal(size=size))
    made: Float64 = x.T @ x
    made += 0.01 * np.trace(made) / size * np.eye(size)
    return made


@given(st.integers(0, 2**32), sizes)
def test_cholesky(seed: int, size: int) -> None:
    matrix = definite(seed, size)
    lower = cholesky(matrix)
    np.testing.assert_array_equal(lower, np.tril(lower))
    assert (np.diag(lower) > 0).all()
    np.testing.assert_allclose(lower @ lower.T, matrix, atol=1e-9 * np.abs(matrix).max())


@given(st.integers(0, 2**32), sizes)
def test_inverse_of_lower(seed: int, size: int) -> None:
    lower = np.tril(np.random.default_rng(seed).normal(size=(size, size))) / size + np.eye(size)
    found = inverse_of_lower(lower)
    np.testing.assert_array_equal(found, np.tril(found))
    np.testing.assert_allclose(found @ lower, np.eye(size), atol=1e-9)


@given(st.integers(0, 2**32), sizes)
def test_inverse_in_the_order_of_a_falling_diagonal(seed: int, size: int) -> None:
    matrix = definite(seed, size)
    inverse = Inverse.of(matrix)
    assert (np.diff(np.diag(matrix)[inverse.order]) <= 0).all()
    np.testing.assert_array_equal(inverse.upper, np.triu(inverse.upper))
    right = np.random.default_rng(seed).normal(size=(size, 3))
    np.testing.assert_allclose(matrix @ inverse.times(right), right, atol=1e-7)


@pytest.mark.parametrize("size", [1, 2, 60])
@pytest.mark.parametrize("number", [0.0, -1.0, np.nan])
def test_a_matrix_that_is_not_definite(size: int, number: float) -> None:
    matrix = np.eye(size)
    matrix[-1, -1] = number
    with pytest.raises(np.linalg.LinAlgError):
        cholesky(matrix)
