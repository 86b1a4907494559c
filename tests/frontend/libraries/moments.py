"""First and second moments of samples, pooled over what is independent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SAMPLES = 30_000
DEVIATION = 0.03  # relative
MEAN = 0.03  # of a standard deviation


def assert_same_moments(
    expected: Float64, found: Float64, *, deviation: float = DEVIATION, rounding: float = 0.0
) -> None:
    """Samples [N, B, E]: standard deviations are pooled over rows and elements (root mean square).

    Means are compared in units of a standard deviation, and their differences pooled, too: that of
    30,000 samples is off by .008 by chance. `rounding`: how far codes may move a mean.
    """
    sizes = [np.sqrt(samples.var(0).mean()) for samples in (expected, found)]
    ratio = sizes[1] / sizes[0]
    assert abs(ratio - 1) <= deviation, f"{ratio} times the standard deviation"
    apart = np.abs(found.mean(0) - expected.mean(0))
    shift = np.sqrt(np.square(np.maximum(apart - rounding, 0)).mean()) / sizes[0]
    assert shift <= MEAN, f"means apart by {shift} of a standard deviation"
