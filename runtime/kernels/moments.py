"""Mean and variance over the samples, as Head computes them, for small arrays.

For these numpy's calls would take longer than the arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import types

from qbnnc.runtime.kernels.addressing import reals

SIGNATURE = types.int64(*[types.int64] * 6)


def moments(samples_at, count, size, made_at, rows, made_size):
    """Write the mean and the variance of samples [count, size] to made [rows, size].

    There are two rows or more. Both arrays are float32, C-contiguous, and given by address.

    Sums are float64, in the order of the samples. `qbnnc.runtime.compilation` compiles this
    function.
    """
    samples, made = reals(samples_at), reals(made_at)
    for n in range(size):
        mean = np.float64(samples[n])
        for s in range(1, count):
            mean += np.float64(samples[s * size + n])
        mean /= np.float64(count)
        deviation = np.float64(samples[n]) - mean
        variance = deviation * deviation
        for s in range(1, count):
            deviation = np.float64(samples[s * size + n]) - mean
            variance += deviation * deviation
        made[n] = np.float32(mean)
        for i in range(1, rows):
            made[i * made_size + n] = np.float32(variance / np.float64(count))
    return 0
