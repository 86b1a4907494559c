"""Example inputs of any form, as one tensor of as many rows as the network takes."""

from __future__ import annotations

import warnings
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.module.snapshot import untouched
from qbnnc.frontend.module.unsupported_modules import check_kind
from qbnnc.frontend.module.wrappers import in_its_type, not_compiled, unwrapped
from qbnnc.frontend.trial_runs.calls import call
from qbnnc.frontend.trial_runs.watched_call import other_generators_kept
from qbnnc.support.errors import InputError, SourceWarning

Example: TypeAlias = Tensor | NDArray[np.generic]

_EXAMPLE_ROWS = 2  # tracing needs two
_MANY_ROWS = 64  # more are calibration data; fewer may be the one batch that a network takes
_BATCHES = (128, 256, 64, 32, 16, 8, 4, 512, 1024, 100, 50, 200, 10, 20, 25, 5, 3, 6, 12, 24, 48)


def rows_for(module: nn.Module, given: Example) -> Tensor:
    """Rows of the example, as many as the network takes; it may take one size of a batch only.

    Whole numbers are given as int64 where it does not take them as they are: ids.

    InputError: it takes none of the sizes that are tried, or one row only.
    """
    rows = example_rows(given)
    try:
        return _taken_rows(module, rows)
    except InputError as failure:
        if rows.dtype is torch.int64 or not _are_whole(rows):
            raise
        try:
            return _taken_rows(module, rows.to(torch.int64))
        except InputError:
            raise failure from None


def _are_whole(rows: Tensor) -> bool:
    """Whether these may be ids: whole numbers from 0 on."""
    numbers = rows.to(torch.float64)
    return bool(((numbers >= 0) & (numbers == numbers.floor())).all())


def _taken_rows(module: nn.Module, rows: Tensor) -> Tensor:
    """As many of the rows as the network takes."""
    usual = rows[:_EXAMPLE_ROWS] if len(rows) > _MANY_ROWS else rows
    module = unwrapped(module)
    check_kind(module)
    wanted = [len(usual), len(rows), _EXAMPLE_ROWS, *_BATCHES]
    sizes = [size for size in dict.fromkeys(wanted) if size <= max(len(rows), _EXAMPLE_ROWS)]
    failure: InputError | None = None
    for size in sizes:
        chosen = rows[:size] if size <= len(rows) else torch.cat([rows, rows])
        try:
            _try(module, chosen)
        except InputError as error:
            failure = failure or error
        else:
            return chosen
    assert failure is not None  # there is at least one size
    _check_takes_batches(module, rows[:1])
    raise failure


def _try(module: nn.Module, rows: Tensor) -> None:
    """Run the module on the rows; InputError if it does not take them."""
    with warnings.catch_warnings(), other_generators_kept(), untouched(module), not_compiled():
        warnings.simplefilter("ignore", SourceWarning)  # said when the network is traced
        call(module, in_its_type(module, rows), 0)


def _check_takes_batches(module: nn.Module, row: Tensor) -> None:
    """Raise InputError if the module takes exactly one row."""
    try:
        _try(module, row)
    except InputError:
        return
    raise InputError(
        "forward takes one row at a time, and fails on a batch of two",
        place=type(module).__name__,
        remedy="write it for any batch, as x.flatten(1) for x.view(1, -1) and x.shape[0] for a 1",
    )


def example_rows(given: Example) -> Tensor:
    """The example as one tensor [batch, ...]; numpy's float64 becomes float32."""
    if isinstance(given, np.ndarray):
        single = given.astype(np.float32) if given.dtype == np.float64 else given
        given = torch.from_numpy(np.array(single))
    if given.ndim < 1 or not len(given):
        raise InputError(
            f"shape {list(given.shape)} has no rows",
            place="example inputs",
            remedy="give [batch, ...]",
        )
    return given.detach()
