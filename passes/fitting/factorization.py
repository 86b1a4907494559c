"""Cholesky factors and inverses of triangles, with the same bits on every machine.

LAPACK's results depend on its blocks, its threads and the CPU. Here a block of columns is computed
element by element, and the rest by `ir.products`, which is exact in every order of its sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.products import product

Float64 = NDArray[np.float64]
_BLOCK = 48  # columns: half of the time goes to each of the two parts
_SLICES = 2  # about 40 bits below the largest number of a row


def cholesky(matrix: Float64) -> Float64:
    """Return the lower triangle L [K, K] with L L^T = `matrix`, which is symmetric.

    Raises LinAlgError if `matrix` is not positive definite.
    """
    left, size = np.tril(matrix), len(matrix)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        panel = left[start:, start:stop]
        for k in range(stop - start):
            pivot = panel[k, k]
            if not pivot > 0:
                raise np.linalg.LinAlgError("the matrix is not positive definite")
            panel[k:, k] /= np.sqrt(pivot)
            panel[k + 1 :, k + 1 :] -= panel[k + 1 :, k : k + 1] * panel[k + 1 : stop - start, k]
        below = panel[stop - start :]
        left[stop:, stop:] -= product(below, below.T, _SLICES)
    return np.tril(left)


def inverse_of_lower(lower: Float64) -> Float64:
    """Return the inverse of a lower triangle [K, K] without zeros on its diagonal."""
    inverse, size = np.zeros_like(lower), len(lower)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        right = np.zeros((stop - start, stop))
        if start:
            right[:, :start] = -product(lower[start:stop, :start], inverse[:start, :start], _SLICES)
        right[:, start:] = np.eye(stop - start)
        for k in range(stop - start):
            right[k] /= lower[start + k, start + k]
            right[k + 1 :] -= lower[start + k + 1 : stop, start + k, None] * right[k]
        inverse[start:stop, :stop] = right
    return inverse
