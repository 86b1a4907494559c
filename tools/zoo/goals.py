"""The goals of fidelity at w8a7, for every network of the zoo."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from tools.zoo.compiling import Fidelity

MORE_ERROR = 0.01  # share of the classes that are wrong, beyond the float network's
KL = 0.005  # nats, of the predictive distributions, a mean over the rows
MORE_RMSE = 1.02  # of the float network's
LEAST_STD, MOST_STD = 0.95, 1.05  # of a regression's mean standard deviation in float
LEAST_SPREAD, MOST_SPREAD = 0.9, 1.1  # of the deviation over samples in float


def missed(found: Fidelity, *, classes: bool) -> Iterator[str]:
    """Yield the names of the goals that a network misses."""
    if classes:
        if not found.error <= found.reference + MORE_ERROR:
            yield "error"
        if not found.kl <= KL:
            yield "KL"
    else:
        if not found.error <= MORE_RMSE * found.reference:
            yield "error"
        if not LEAST_STD <= found.std <= MOST_STD:
            yield "std"
    if not (isnan(found.spread) or LEAST_SPREAD <= found.spread <= MOST_SPREAD):
        yield "spread"
