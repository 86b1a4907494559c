"""Mean and variance over the samples: what Head computes, for arrays so small that calls count."""

from __future__ import annotations

import numpy as np
from numba import types

SIGNATURE = types.void(types.float32[:, ::1], types.float32[:, ::1])


def moments(samples, made):
    """samples [L, n] to made [2 or more, n]: the mean, then the variance, in float64, sums in the
    order of the samples.

    Jitted by `qbnnc.runtime.cache`.
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
