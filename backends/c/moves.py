"""Ops that move elements: walks over two arrays side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbnnc.backends.c.program import Buffer, Phase
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import Held, Walk, row_major, runs, same_order, stored
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.shape import Concat, Gather, InsertZeros, Pad, Slice, Transpose, UpsampleNearest

_MOVES = {"uint8_t": "qb_move", "float": "qb_move_reals", "int32_t": "qb_move_sums"}
Strides = Sequence[int]


def walk(scope: Scope, phase: Phase, sizes: Strides, source: Held, target: Held) -> None:
    """Copy all elements of a shape."""
    _copy(scope, phase, Walk(tuple(sizes), source.strides, target.strides), source, target)


def _copy(scope: Scope, phase: Phase, how: Walk, source: Held, target: Held) -> None:
    if scope.program.members == 1:  # members share their steps, not their records
        source, target = _from(source, how.source_start), _from(target, how.target_start)
        how = replace(how, source_start=0, target_start=0)
    record = scope.program.record("qb_walk", how.fields())
    scope.step(phase, _MOVES[source.ctype], record, source, target)


def _from(held: Held, start: int) -> Held:
    return replace(held, text=f"{held.text} + {start}") if start else held


def reshape(node: Node, scope: Scope) -> None:
    """The same elements under another shape: none moves unless an image is on either side."""
    (x,), y = node.inputs, node.output
    source, phase = scope.held(x), scope.phase(y)
    before, after = x.type.shape, y.type.shape
    plain, wanted = row_major(before), row_major(after)
    if len(before) == 3 and len(after) == 1 and scope.feeds_linear_layers(y):
        scope.hold(y, replace(source, strides=wanted, image=before))
        return
    if _same_pixels(before, after) and same_order(before, source.strides, stored(before)):
        scope.hold(y, replace(source, strides=stored(after)))
        return
    if not same_order(before, source.strides, plain):
        flat = Held("{}", plain, source.ctype, Buffer(source.ctype, x.type.size))
        walk(scope, phase, before, source, flat)
        source = flat
    target_strides = stored(after) if source.ctype != "float" else wanted
    if same_order(after, target_strides, wanted):
        scope.hold(y, replace(source, strides=target_strides))
    else:
        target = scope.make(y)
        walk(scope, phase, after, replace(source, strides=wanted), target)


def _same_pixels(before: Strides, after: Strides) -> bool:
    """Whether both are images of as many channels, whose pixels lie in one order."""
    return len(before) == len(after) == 3 and before[0] == after[0]


def move(node: Node, scope: Scope) -> None:
    """Emit the walks of one op that moves elements."""
    (x,), y = node.inputs, node.output
    source, phase = scope.held(x), scope.phase(y)
    target = scope.make_real(y) if source.ctype == "float" else scope.make(y)
    shape, last = x.type.shape, len(x.type.shape) - 1
    match node.op:
        case Transpose(permutation=permutation):
            taken = tuple(source.strides[axis] for axis in permutation)
            walk(scope, phase, y.type.shape, replace(source, strides=taken), target)
        case Slice(axis=axis, start=start, stop=stop, step=step):
            first = slice(start, stop, step).indices(shape[axis])[0]
            strides = _with(source.strides, axis, step)
            how = Walk(y.type.shape, strides, target.strides, first * source.strides[axis])
            _copy(scope, phase, how, source, target)
        case Gather(axis=axis, indices=indices):
            _gather(scope, node, axis, indices, source, target)
        case Pad(padding=(top, left, _, _)):
            _fill(scope, node, target)
            start = top * target.strides[-2] + left * target.strides[-1]
            how = Walk(shape, source.strides, target.strides, 0, start)
            _copy(scope, phase, how, source, target)
        case InsertZeros(stride=(down, right)):
            _fill(scope, node, target)
            spread = _with(_with(target.strides, last - 1, down), last, right)
            _copy(scope, phase, Walk(shape, source.strides, spread), source, target)
        case UpsampleNearest(factors=(down, right)):
            sizes = (*shape[:-2], shape[-2], down, shape[-1], right)
            taken = (*source.strides[:-1], 0, source.strides[-1], 0)
            height, width = target.strides[-2:]
            put = (*target.strides[:-2], height * down, height, width * right, width)
            _copy(scope, phase, Walk(sizes, taken, put), source, target)
        case _:
            raise ValueError("this op")


def concat(node: Node, op: Concat, scope: Scope) -> None:
    """Copy the inputs one after the other."""
    phase, y = scope.phase(node.output), node.output
    first = scope.held(node.inputs[0])
    target = scope.make_real(y) if first.ctype == "float" else scope.make(y)
    start = 0
    for value in node.inputs:
        source = scope.held(value)
        how = Walk(
            value.type.shape, source.strides, target.strides, 0, start * target.strides[op.axis]
        )
        _copy(scope, phase, how, source, target)
        start += value.type.shape[op.axis]


def _gather(
    scope: Scope, node: Node, axis: int, indices: Sequence[int], source: Held, target: Held
) -> None:
    shape, done = list(node.output.type.shape), 0
    # Members of an ensemble have the same steps, whatever their indices are.
    alone = scope.program.members == 1
    for first, step, count in runs(indices) if alone else ((i, 0, 1) for i in indices):
        shape[axis] = count
        how = Walk(
            tuple(shape),
            _with(source.strides, axis, step),
            target.strides,
            first * source.strides[axis],
            done * target.strides[axis],
        )
        _copy(scope, scope.phase(node.output), how, source, target)
        done += count


def _fill(scope: Scope, node: Node, target: Held) -> None:
    """Set all elements to zero, or to the code of zero."""
    phase, size = scope.phase(node.output), node.output.type.size
    quant = node.output.type.quant
    if target.ctype == "float":
        scope.step(phase, "qb_fill_reals", target, size)
    elif target.ctype == "uint8_t":
        zero = scope.program.number(quant.per_tensor[1] if quant is not None else 0)
        scope.step(phase, "qb_fill", target, size, zero)
    else:
        raise ValueError("zeros among accumulators")


def _with(strides: Strides, axis: int, factor: int) -> tuple[int, ...]:
    return (*strides[:axis], strides[axis] * factor, *strides[axis + 1 :])
