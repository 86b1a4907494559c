"""A softmax inside a network: over the last axis, with what scales, shifts and masks its input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Affine, Op, Rearrangement, Reshape, ScaledSoftmax, Softmax, Transpose
from qbnnc.passes.fusion.affine_values import Scaling, shortest
from qbnnc.support.errors import CompileError

Float64 = NDArray[np.float64]

_FAR = -1e3  # of a bias below the greatest of its row: exp of it is 0, whatever the scores
_INFINITE = -1e30  # minus infinity, as the front end writes it, or the least float32


@dataclass(frozen=True, slots=True)
class ScaleSoftmax:
    """1. A softmax becomes a ScaledSoftmax over the last axis; another axis is transposed there and
       back. One that gives logarithms stays.
    2. It takes in an Affine that nothing else reads, with one positive scale: the scale becomes its
       factor, and the shift its bias. A shift that is the same in all of a row is left out.
    3. An element whose bias is 1000 or more below the greatest of its row is masked instead. Its
       scale does not matter, so that a filled mask is one of these.
    4. A reshape before it that keeps its axis, or a transpose, comes after it if nothing else reads
       it: the softmax stands next to what makes its scores. Transposes that meet become one.
    5. Declined, with an error, for a row of which every element is minus infinity, and for minus
       infinity that something else than a softmax reads.

    The oracle is the same to rounding.
    """

    name: str = "scale-softmax"

    def __call__(self, graph: Graph, /) -> Graph:
        found = {
            node.output: _scores(graph, node)
            for node in graph.nodes
            if isinstance(node.op, Softmax) and not node.op.log
        }
        now = dict[Value, Value]()

        def enter(value: Value, build: Builder) -> Value:
            now[graph.input] = value
            return value

        def rule(node: Node, build: Builder) -> Value:
            if (scores := found.get(node.output)) is not None:
                made = _emit(scores, now.get(scores.value, scores.value), node, build)
            else:
                made = build.emit(node.op, *node.inputs, loc=node.loc, name=node.output.name)
            now[node.output] = made
            return made

        scaled = rewrite(graph, rule, None, enter)
        for node in scaled.nodes:
            _refuse_infinity(node, scaled)
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """softmax(factor*value + bias) over an axis, and the moves that follow it, in order.

    `bias` has the shape of the value. Where it is far below others, its element takes no part.
    """

    value: Value
    axis: int
    factor: float = 1.0
    bias: Float64 | None = None
    moves: tuple[Rearrangement, ...] = ()


def _scores(graph: Graph, softmax: Node) -> _Scores:
    """What a softmax is computed from, by rules 2 and 4."""
    assert isinstance(softmax.op, Softmax)
    scores, reader = _Scores(softmax.inputs[0], softmax.op.axis), softmax
    producers = graph.producers()
    while (node := producers.get(scores.value)) is not None:
        if graph.only_reader(scores.value) is not reader:
            break
        if isinstance(node.op, Affine):
            before = _without_affine(scores, node, Scaling.of(node, graph.constants))
        else:
            before = _without_move(scores, node.op, node.inputs[0])
        if before is None:
            break
        scores, reader = before, node
    return scores


def _without_affine(scores: _Scores, node: Node, scaling: Scaling) -> _Scores | None:
    """Scores of what an Affine reads (rules 2 and 3); None unless it has one positive scale."""
    scale, shift = scaling.full
    bias = shift * scores.factor
    bias = bias if scores.bias is None else bias + scores.bias
    if (bias.max(axis=scores.axis) <= _INFINITE).any():
        raise CompileError(
            "masks every element of a row by minus infinity, and the softmax of it is NaN",
            node.loc,
            remedy="leave one element of each row, and mask what is computed from the row",
        )
    scales = np.unique(scale[_taking_part(bias, scores.axis)])
    if len(scales) != 1 or not scales[0] > 0:
        return None
    factor = scores.factor * float(scales[0])
    return _Scores(node.inputs[0], scores.axis, factor, bias, scores.moves)


def _without_move(scores: _Scores, op: Op, x: Value) -> _Scores | None:
    """Scores of what a move reads, which follows the softmax (rule 4); None if it must not."""
    axis = scores.axis
    match op:
        case Reshape():
            places = [i for i in range(len(x.type.shape)) if _same_axis(x, i, scores)]
            if not places:
                return None
            axis = places[0]
            bias = None if scores.bias is None else scores.bias.reshape(x.type.shape)
        case Transpose(permutation):
            axis, order = permutation[axis], np.argsort(permutation)
            bias = None if scores.bias is None else scores.bias.transpose(order)
        case _:
            return None
    return _Scores(x, axis, scores.factor, bias, (op, *scores.moves))


def _same_axis(x: Value, axis: int, scores: _Scores) -> bool:
    """Whether an axis of x before a reshape holds the rows of the softmax after it."""
    before, after = x.type.shape, scores.value.type.shape
    same = before[axis] == after[scores.axis] > 1
    return same and prod(before[:axis]) == prod(after[: scores.axis])


def _taking_part(bias: Float64, axis: int) -> NDArray[np.bool_]:
    part: NDArray[np.bool_] = bias - bias.max(axis=axis, keepdims=True) > _FAR
    return part


def _emit(scores: _Scores, x: Value, softmax: Node, build: Builder) -> Value:
    """The softmax over the last axis, its mask and bias, and the moves after it."""
    shape, axis = x.type.shape, scores.axis
    order = (*(i for i in range(len(shape)) if i != axis), axis)
    moves, before = list[Rearrangement](scores.moves), list[Rearrangement]()
    if axis != len(shape) - 1:
        before.append(Transpose(order))
        moves = _met(Transpose(tuple(int(i) for i in np.argsort(order))), moves)
    name, loc = softmax.output.name, softmax.loc
    for op in before:
        x = build.emit(op, x, loc=loc, name=f"{name}.turned")
    constants = [
        build.constant(f"{name}.{what}", array)
        for what, array in _constants(scores, order)
        if array is not None
    ]
    inner = f"{name}.rows" if moves else name
    x = build.emit(ScaledSoftmax(scores.factor), x, *constants, loc=loc, name=inner)
    for number, op in enumerate(moves, start=1):
        last = number == len(moves)
        x = build.emit(op, x, loc=loc, name=name if last else f"{name}.{number}")
    return x


def _met(first: Transpose, moves: list[Rearrangement]) -> list[Rearrangement]:
    """The moves behind a transpose; the transposes that meet it are one with it, or none."""
    permutation = first.permutation
    while moves and isinstance(moves[0], Transpose):
        permutation = tuple(permutation[i] for i in moves[0].permutation)
        moves = moves[1:]
    same = list(permutation) == sorted(permutation)
    return moves if same else [Transpose(permutation), *moves]


def _constants(
    scores: _Scores, order: tuple[int, ...]
) -> list[tuple[str, NDArray[np.uint8] | NDArray[np.float32] | None]]:
    """The mask and the bias of a softmax, as short as they can be; None for what it needs not."""
    if scores.bias is None:
        return []
    part = _taking_part(scores.bias, scores.axis)
    least = np.where(part, scores.bias, np.inf).min(axis=scores.axis, keepdims=True)
    greatest = scores.bias.max(axis=scores.axis, keepdims=True)
    bias, rank = np.where(part, scores.bias - greatest, 0.0).transpose(order), len(order)
    mask = shortest(part.astype(np.float64).transpose(order), rank)
    return [
        ("mask", None if part.all() else mask.astype(np.uint8)),
        ("bias", shortest(bias, rank).astype(np.float32) if (greatest > least).any() else None),
    ]


def _refuse_infinity(node: Node, graph: Graph) -> None:
    """Apply rule 5 to what no softmax has taken in."""
    if not isinstance(node.op, Affine):
        return
    if (graph.constants[node.inputs[2]] <= _INFINITE).any():
        raise CompileError(
            "sets elements to minus infinity, as a mask of attention does, and something else than "
            "one softmax reads them",
            node.loc,
            remedy="let nothing but that softmax read the masked scores",
        )
