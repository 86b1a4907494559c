"""Example inputs, from whatever the user gives, to the few rows that tracing needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.ir.errors import InputError

Example: TypeAlias = Tensor | NDArray[np.generic] | Sequence[Tensor]

_EXAMPLE_ROWS = 2  # what tracing needs
_MANY_ROWS = 64  # so many are calibration data; fewer may be the one batch size a net is made for


def example_rows(given: Example) -> Tensor:
    """One tensor [batch, ...], 1 to _MANY_ROWS rows; numpy's float64 is taken for float32."""
    if isinstance(given, np.ndarray):
        single = given.astype(np.float32) if given.dtype == np.float64 else given
        given = torch.from_numpy(np.array(single))
    if not isinstance(given, Tensor):
        if len(given) != 1:
            raise InputError(
                f"example inputs: {len(given)} tensors; only networks of one input tensor are "
                "supported"
            )
        given = torch.as_tensor(given[0])
    if given.ndim < 1 or not len(given):
        raise InputError(
            f"example inputs: shape {list(given.shape)} has no rows; give [batch, ...]"
        )
    return given.detach()[: _EXAMPLE_ROWS if len(given) > _MANY_ROWS else None]
