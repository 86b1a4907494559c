"""Samples of a network that is not compiled: what its integers are compared with."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples

_ROWS = 64  # at a time: intermediate values are large


def float_samples(
    model: Model, x: NDArray[np.float32], samples: int, seed: int, first_row: int
) -> tuple[NDArray[np.float32], ...]:
    """The samples [L, B, *shape] of each output of a FLOAT or SIMULATED Model, for x [B, *shape].

    Its random numbers are those of a compiled model at this seed (docs/semantics.md, section 5).
    float32 arithmetic, by PyTorch where it is installed: other batches, and the oracle, may differ
    in the last bits.
    """
    parts = [
        _samples(model, x[start : start + _ROWS], samples, seed, first_row + start)
        for start in range(0, max(1, len(x)), _ROWS)
    ]
    return tuple(np.concatenate(column, axis=1) for column in zip(*parts, strict=True))


def _samples(
    model: Model, x: NDArray[np.float32], samples: int, seed: int, first_row: int
) -> tuple[NDArray[np.float32], ...]:
    if find_spec("torch") is None:
        return oracle_samples(model, x, samples=samples, seed=seed, first_row=first_row)
    from qbnnc.backends.torch import torch_samples

    return torch_samples(model, x, samples=samples, seed=seed, first_row=first_row)
