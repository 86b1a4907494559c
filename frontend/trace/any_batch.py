"""Traced programs, and the check that the size of the batch does not enter the computation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from qbnnc.frontend.convert import DrawSource, convert_with_draws
from qbnnc.frontend.convert.draw_sources import Converted
from qbnnc.frontend.convert.member_axes import MemberAxes
from qbnnc.frontend.module.several_inputs import entries_of
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.module.unsupported_modules import check_kind
from qbnnc.frontend.module.wrappers import in_its_type, unwrapped
from qbnnc.frontend.program.nodes import batch_of, the_input
from qbnnc.frontend.trace.dropout_mode import trace_in_mode
from qbnnc.frontend.trace.export import at_least_two_rows, functionalise
from qbnnc.ir.graph import Graph
from qbnnc.support.errors import CompileError, InputError
from qbnnc.support.several_inputs import Entries


@dataclass(frozen=True, slots=True)
class Traced:
    """A module as a program in torch's training IR, and as a FLOAT graph for any batch.

    `graph` was converted from the program `functional`. `inputs` are the several inputs that a row
    of it holds. Its nodes `draws` draw the numbers of each stream, and its nodes `signs` draw the
    signs of Flipout. Outputs with `members` have their axis in front of a row's own in `graph`,
    which is that of all members.
    """

    program: ExportedProgram
    functional: ExportedProgram
    graph: Graph
    draws: tuple[DrawSource, ...]
    signs: frozenset[fx.Node] = frozenset()
    inputs: Entries = ()
    members: MemberAxes | None = None

    @staticmethod
    def of(
        program: ExportedProgram, functional: ExportedProgram, made: Converted, inputs: Entries
    ) -> Traced:
        """The traced form of a program from its conversion."""
        return Traced(program, functional, made.graph, made.draws, made.signs, inputs, made.members)


def trace_for_any_batch(
    module: nn.Module, example: Tensor, dropout: Dropout | None, member_axis: int | None = None
) -> Traced:
    """Trace and convert the module, and check that the size of the batch does not matter.

    `member_axis` is the axis of outputs that holds members (see convert.member_axes).

    If torch.export insists on the example's batch size, `x / len(x)` has become `x / 2`, which
    looks like a constant. So one row more must give the same graph. CompileError: it does not.
    Raises also what trace_in_mode and convert raise.
    """
    module = unwrapped(module)
    check_kind(module)
    example = in_its_type(module, example)
    program = trace_in_mode(module, example, dropout)
    functional = functionalise(program)
    inputs = entries_of(module)
    converted = convert_with_draws(functional, inputs=inputs, member_axis=member_axis)
    traced = Traced.of(program, functional, converted, inputs)
    if not isinstance(batch_of(the_input(program)), int):
        return traced
    rows = at_least_two_rows(example)
    longer = _if_any(module, torch.cat([rows, rows[:1]]), dropout, member_axis)
    if longer is not None and not _same(traced.graph, longer):
        raise CompileError(
            "the size of the batch enters the computation, so that a row's prediction "
            "would depend on the other rows",
            type(module).__name__,
            remedy="remove len(x), x.shape[0] and x.size(0) from the arithmetic",
        )
    return traced


def _if_any(
    module: nn.Module, example: Tensor, dropout: Dropout | None, member_axis: int | None
) -> Graph | None:
    """The graph of another batch; None if the module takes no other, as `view(4, 800)` does."""
    try:
        program = functionalise(trace_in_mode(module, example, dropout))
        inputs = entries_of(module)
        return convert_with_draws(program, inputs=inputs, member_axis=member_axis).graph
    except (CompileError, InputError):
        return None


def _same(a: Graph, b: Graph) -> bool:
    arrays = zip(a.constants.values(), b.constants.values(), strict=False)
    return str(a) == str(b) and all(np.array_equal(x, y) for x, y in arrays)
