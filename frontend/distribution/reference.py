"""The reference of a check: the trained module or program, ready to be called repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qbnnc.frontend.distribution.supplied_draws import UnmatchedDraw
from qbnnc.frontend.module.snapshot import untouched
from qbnnc.frontend.module.training_mode import Dropout, WithoutDropout, training_mode
from qbnnc.frontend.module.wrappers import not_compiled
from qbnnc.frontend.program.nodes import batch_of, the_input, the_inputs
from qbnnc.frontend.program.output_names import plain as as_plain
from qbnnc.frontend.program.predictions import returned
from qbnnc.frontend.trace.any_batch import Traced
from qbnnc.frontend.trial_runs.watched_call import other_generators_kept
from qbnnc.support.errors import InputError

Call = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A module in the mode that its user named, or a saved program, with its traced form.

    `load` puts a member's weights into the module if several members share one. `name` is the
    member's in messages. `draw` gives the outputs under a sample of the user's own object, if the
    module was made of one; `told` describes that object. `member` is the number of the member,
    where the module is an ensemble by itself.
    """

    module: nn.Module
    traced: Traced
    dropout: Dropout | None = None
    load: Callable[[], None] | None = None
    is_program: bool = False
    name: str = ""
    draw: Callable[[Tensor], object] | None = None
    told: str = ""
    member: int | None = None

    def rows(self, x: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """`count` evenly spaced rows of x, or as many as the program's fixed batch has."""
        batch = batch_of(the_input(self.traced.program))
        wanted = batch if isinstance(batch, int) else count
        chosen = np.linspace(0, len(x) - 1, wanted).round().astype(np.int64)
        return np.ascontiguousarray(x[chosen])

    @property
    def tolerance(self) -> float:
        """The tolerance for equal outputs, as a share of the largest; it depends on the dtype."""
        value: Tensor = the_input(self.traced.program).meta["val"]
        half = value.dtype in (torch.float16, torch.bfloat16)
        return 32 * torch.finfo(value.dtype).eps if half else 1e-4

    def input(self, x: NDArray[np.float32]) -> Tensor:
        """The rows in the element type that the module was traced with."""
        first, *more = the_inputs(self.traced.program)
        value: Tensor = first.meta["val"]
        return torch.from_numpy(x).to(torch.float32 if more else value.dtype)

    @contextmanager
    def opened(self, *, own_draws: bool = False, plain: bool = False) -> Iterator[Call]:
        """Yield a function that calls the module, and returns a tensor for each graph output.

        With `own_draws` it draws from the user's own object instead, if there is one. `plain` calls
        switch dropout off by the modes of layers alone, as eval() does: a dropout that forward
        says to be active stays so.

        State is not restored between calls. Attributes, buffers, modes and generators are put back
        at the end.
        """
        if self.load is not None:
            self.load()
        predictions = returned(self.traced.functional).predictions
        forward = self.draw if own_draws and self.draw is not None else self.module

        def call(x: Tensor) -> list[Tensor]:
            try:
                leaves = pytree.tree_leaves(as_plain(forward(x)))
            except UnmatchedDraw:
                raise
            except Exception as error:  # whatever the user's forward raises
                raise InputError(
                    f"forward fails on {len(x)} calibration rows ({error})",
                    place=type(self.module).__name__,
                    remedy="give rows that the network takes",
                ) from error
            return [
                _rows_of(self._of_member(leaves[p.position], number), len(x), p.constant)
                for number, p in enumerate(predictions)
            ]

        with other_generators_kept(), untouched(self.module), not_compiled(), torch.no_grad():
            if self.is_program:
                yield call
            else:
                whole = self.dropout == "off" and not plain
                off = WithoutDropout() if whole else nullcontext()
                with training_mode(self.module, self.dropout), off:
                    yield call

    def _of_member(self, output: Tensor, number: int) -> Tensor:
        """The member's part of an output of its module."""
        members = self.traced.members
        axis = None if members is None or self.member is None else members.axes[number]
        return output if axis is None or self.member is None else output.select(axis, self.member)


def _rows_of(output: Tensor, rows: int, constant: bool) -> Tensor:
    """An output with the batch's axis; a parameter is repeated for all rows."""
    whole = not constant or (output.ndim > 0 and len(output) == rows)
    return output if whole else output.expand(rows, *output.shape)
