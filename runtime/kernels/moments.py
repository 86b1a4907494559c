"""Mean and variance over the samples, as Head computes them, for small arrays.

For these numpy's calls would take longer than the arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import types

SIGNATURE = types.void(types.float32[:, ::1], types.float32[:, ::1])


def moments(samples, made):
    """Write the mean and the variance of samples [L, n] to made [2 or more, n].

    Sums are float64, in the order of the samples. `qbnnc.runtime.compilation` compiles this
    function.
    """
    count = np.float64(len(samples))
    for n in range(samples.shape[1]):
        mean = np.float64(samples[0, n])
        for s in range(1, len(samples)):
            mean += np.float64(samples[s, n])
        mean /= count
        deviation = np.float64(samples[0, n]) - mean
        variance = deviation * deviation
        for s in range(1, len(samples)):
            deviation = np.float64(samples[s, n]) - mean
            variance += deviation * deviation
        made[0, n] = np.float32(mean)
        for i in range(1, len(made)):
            made[i, n] = np.float32(variance / count)
