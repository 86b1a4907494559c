"""Products of real matrices that have the same bits with every BLAS, CPU and number of threads.

A BLAS adds in an order of its own, so floating-point sums differ between machines. Sums of small
integers do not: float64 holds every integer up to 2^53. Therefore both operands become integers,
relative to the largest number of a row or column, and one exact product is taken.

Source: Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using
fast routines of matrix multiplication and its applications", Numerical Algorithms 59, 2012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array

Float64 = NDArray[np.float64]
_MANTISSA = 53  # bits of a float64
_LEAST_EXPONENT = -900  # smaller numbers count as 0, and so every scale is finite


def product(a: Array, b: Array, slices: int = 1) -> Float64:
    """Return a [..., M, K] @ b [..., K, N] as float64.

    With one slice a number keeps (53 - log2 K) / 2 bits below the largest of its row of `a` or its
    column of `b`: 21 bits for K = 1,000. Each further slice keeps as many more, and `slices` need
    slices (slices + 1) / 2 products. Infinities and NaN give what numpy gives.
    """
    left, right = (np.asarray(each, np.float64) for each in (a, b))
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        plain: Float64 = left @ right
        return plain
    bits = (_MANTISSA - left.shape[-1].bit_length()) // 2
    of_rows, rows = _integers(left, bits, slices, axis=-1)
    of_columns, columns = _integers(right, bits, slices, axis=-2)
    total = np.zeros(1)  # added first, so that no zero is negative
    for order in reversed(range(slices)):
        parts = [rows[i] @ columns[order - i] for i in range(order + 1)]
        for part in parts:
            total = total + part
        total = total * 2.0**-bits if order else total
    scale = np.ldexp(1.0, of_rows - bits) * np.ldexp(1.0, of_columns - bits)
    scaled: Float64 = total * scale
    return scaled


def float32_product(a: Array, b: Array) -> Array:
    """Return `product` of float32 operands as float32: about as exact as a BLAS is."""
    return product(a, b).astype(np.float32)


def _integers(
    real: Float64, bits: int, slices: int, axis: int
) -> tuple[NDArray[np.int32], list[Float64]]:
    """Split numbers into integers of at most 2^bits, the coarsest first, and return exponents.

    The number is about 2^(exponent - bits) times the sum of 2^(-bits i) integers[i].
    """
    largest = np.max(np.abs(real), axis=axis, keepdims=True, initial=0.0)
    exponent = np.maximum(np.frexp(largest)[1], _LEAST_EXPONENT)
    left, found = real * np.ldexp(1.0, bits - exponent), list[Float64]()
    for _ in range(slices):
        found.append(np.rint(left))
        left = (left - found[-1]) * 2.0**bits
    return exponent, found
