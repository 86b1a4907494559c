"""Recurrent layers and cells, unrolled over the steps of the traced sequence.

torch reads a sequence as [B, T, F] (batch_first) or [T, B, F]. A row is [T, F] here. Each layer
takes the steps of the one below as they are, and only sequences that the network reads as a whole
are joined. A program has one length T: the runtime refuses others, as it does other images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.recurrent_cells import Cell, State, States, cell_of
from qbnnc.frontend.convert.ops.recurrent_parameters import Parameters
from qbnnc.frontend.convert.ops.shapes import placed, step
from qbnnc.frontend.convert.ops.split_and_concat import along_first
from qbnnc.frontend.convert.tracked import (
    Activation,
    Constant,
    DropoutMask,
    Filled,
    Result,
    Tracked,
    Transposed,
)
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Reshape, Slice
from qbnnc.support.limits import NODES, OPERANDS

_OPS_PER_STEP = 24  # of a GRU, as integers


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """How torch lays out a layer's tensors."""

    layers: int
    directions: int
    batch_first: bool


def layer(call: Call) -> Result:
    """nn.LSTM, nn.GRU or nn.RNN: (output, h), and c of an LSTM."""
    _check_supported(call)
    layout = _Layout(
        call.integer("num_layers"), 1 + call.flag("bidirectional"), call.flag("batch_first")
    )
    steps, states, last = _steps(call, layout), _first_states(call, layout), list[States]()
    _check_length(call, len(steps), layout)
    for number, each in enumerate(_cells(call, layout)):
        if number % layout.directions == 0:
            below, found = steps, list[list[Value]]()
        after, ended = _run(each, below, states[number], backwards=number % layout.directions == 1)
        found.append(after)
        last.append(ended)
        if len(found) == layout.directions:
            steps = [_side_by_side(call, parts) for parts in zip(*found, strict=True)]
    output = placed(call, along_first(call, "output", steps), 0 if layout.batch_first else 1)
    return (output, *(_last(call, kind, last) for kind in range(len(last[0]))))


def _run(
    cell: Cell, steps: Sequence[Value], states: States, *, backwards: bool
) -> tuple[list[Value], States]:
    """h after each step, in the order of the steps, and the states after the last one."""
    found = list[Value]()
    for x in reversed(steps) if backwards else steps:
        states = cell.step(x, states)
        found.append(states[0])
    return found[::-1] if backwards else found, states


def cell(call: Call) -> Result:
    """nn.LSTMCell, nn.GRUCell or nn.RNNCell: h, or (h, c)."""
    names = ("w_ih", "w_hh", "b_ih", "b_hh")
    given = Parameters(*(cast(Tracked, call.arguments[name]) for name in names))
    states = tuple(_state_of_cell(call, each) for each in _listed(call))
    ended = cell_of(op_name(call.node), call, given).step(call.row("input"), states)
    made = tuple(Activation(each) for each in ended)
    return made if len(made) > 1 else made[0]


def _check_supported(call: Call) -> None:
    overload = str(getattr(call.node.target, "_overloadname", ""))
    if overload == "data":
        call.fail(
            "reads a packed sequence, whose rows differ in length, and that does not compile",
            "pad the rows to one length, and give the layer the tensor [batch, T, features]",
        )
    if call.flag("train") and call.number("dropout") > 0 and call.integer("num_layers") > 1:
        call.fail(
            "has dropout between its layers in a program that this version did not trace",
            "save the network again, or write layers of one layer each with nn.Dropout between",
        )


def _check_length(call: Call, length: int, layout: _Layout) -> None:
    """CompileError for a sequence that is too long to be unrolled."""
    most = min(OPERANDS.most, NODES.most // (_OPS_PER_STEP * layout.layers * layout.directions))
    if length > most:
        call.fail(
            f"is unrolled over {length} steps, and at most {most} of this layer compile (a "
            f"network has at most {NODES.most} ops)",
            "give it shorter windows of the sequence, or fewer steps (a strided nn.Conv1d before)",
        )


def _steps(call: Call, layout: _Layout) -> list[Value]:
    """x_t [F] of each step, or [..., F] if sequences of a row run side by side."""
    tracked = call.tracked("input")
    batch = tracked.batch if isinstance(tracked, Transposed) else 0
    x = tracked.value if isinstance(tracked, Transposed) else call.row("input")
    if batch != (0 if layout.batch_first else 1) or len(x.type.shape) < 2:
        axis = 1 if layout.batch_first else 0
        call.fail(
            f"takes axis {axis} of its input for time, and the batch is axis {batch} of "
            f"{len(x.type.shape) + 1}",
            "give it [batch, T, features] and say batch_first=True, or wrap a network that takes "
            "time first: net(x.transpose(0, 1))",
        )
    return list(call.context.steps_of(x) or _taken_apart(call, x))


def _taken_apart(call: Call, x: Value) -> Iterator[Value]:
    for number in range(x.type.shape[0]):
        yield at(call, "x", x, number)


def at(call: Call, name: str, x: Value, number: int) -> Value:
    """Element `number` [F] along the first axis of x [T, F]."""
    if (known := call.context.steps_of(x)) is not None:
        return known[number]
    whole = x.type.shape[0] == 1
    taken = x if whole else step(call, name, Slice(0, number, number + 1, 1), x)
    return step(call, name, Reshape(x.type.shape[1:]), taken)


def _cells(call: Call, layout: _Layout) -> Iterator[Cell]:
    """Yield the cell of each layer and direction, in torch's order."""
    params, biased = _params(call), call.flag("has_biases")
    count = len(params) // (layout.layers * layout.directions)
    projected = count > (4 if biased else 2)
    for start in range(0, len(params), count):
        own = params[start : start + count]
        b_ih, b_hh = own[2:4] if biased else (None, None)
        w_hr = own[-1] if projected else None
        yield cell_of(op_name(call.node), call, Parameters(own[0], own[1], b_ih, b_hh, w_hr))


def _first_states(call: Call, layout: _Layout) -> list[States]:
    """The states before the first step, of each layer and direction."""
    kinds = [_states_of(call, each, layout) for each in _listed(call)]
    return list(zip(*kinds, strict=True))


def _states_of(call: Call, tracked: Tracked, layout: _Layout) -> list[State]:
    count = layout.layers * layout.directions
    if _is_zero(tracked):
        return [None] * count
    if isinstance(tracked, Filled) and tracked.number is not None:
        return [torch.full([int(tracked.shape[-1])], tracked.number)] * count
    if isinstance(tracked, Constant) and tracked.tensor.ndim == 3:
        first = tracked.tensor[:, :1].detach().float()
        if bool((tracked.tensor == first).all()):
            return list(first[:, 0])
    if isinstance(tracked, Transposed) and tracked.batch == 1:
        return [at(call, "start", tracked.value, number) for number in range(count)]
    _refuse_start(call, tracked)
    return []


def _state_of_cell(call: Call, tracked: Tracked) -> State:
    if _is_zero(tracked):
        return None
    match tracked:
        case Filled(row=Tensor() as row):
            return row.detach().float()
        case Filled(shape, number) if number is not None:
            return torch.full([int(shape[-1])], number)
        case Constant(tensor) if tensor.ndim and bool(
            (tensor == tensor[:1]).all() or tensor.ndim < 2
        ):
            return tensor.detach().float().reshape(-1, tensor.shape[-1])[0]
        case Constant() | Filled():
            _refuse_start(call, tracked)
    return call.context.value(tracked, call)


def _refuse_start(call: Call, tracked: Tracked) -> None:
    if isinstance(tracked, Constant | Filled):
        call.fail(
            "starts from constants that are not the same for each row of the batch",
            "give it states [layers, 1, hidden] that are expanded over the batch, or compute them "
            "from the input",
        )
    call.fail(
        "starts from states whose axes are not [layers, batch, hidden], or that are random",
        "leave the states out, or compute them from the input with the batch as axis 1",
    )


def _is_zero(tracked: Tracked) -> bool:
    match tracked:
        case Filled(number=number):
            return number == 0
        case Constant(tensor):
            return not bool(tensor.any())
        case DropoutMask(scale=scale):  # zeros under a mask
            return scale == 0
        case _:
            return False


def _side_by_side(call: Call, parts: Sequence[Value]) -> Value:
    """h of both directions, one behind the other."""
    axis = len(parts[0].type.shape) - 1
    return parts[0] if len(parts) == 1 else step(call, "both", Concat(axis), *parts)


def _last(call: Call, kind: int, states: Sequence[States]) -> Tracked:
    """The last states [layers*directions, batch, H] of one kind."""
    found = [cast(Value, each[kind]) for each in states]
    return placed(call, along_first(call, "hc"[kind], found), 1)


def _params(call: Call) -> list[Tracked]:
    return cast("list[Tracked]", call.arguments["params"])


def _listed(call: Call) -> list[Tracked]:
    """The states that a call is given, h and perhaps c."""
    given = call.arguments["hx"]
    return given if isinstance(given, list) else [cast(Tracked, given)]


_NAMES = ("lstm", "gru", "rnn_tanh", "rnn_relu")
RULES: Rules = {
    **dict.fromkeys(_NAMES, layer),
    **dict.fromkeys([f"{name}_cell" for name in _NAMES], cell),
}
