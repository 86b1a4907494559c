"""Products of tensors whose batch is not the first axis: matmul and its kin, as einsum.

Each axis has a letter. The letter of the axis that holds the batch is put in front, and extents
that are merged with the batch get letters of their own. So the equation is that of the batch-first
forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_letters
from typing import TypeAlias, cast

import torch
from torch import fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.constant_folding import are_equal
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.layouts.layout import (
    Layout,
    is_activation,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.layouts.scratch import Given, given_nodes, made
from qbnnc.frontend.convert.tracked import Activation, Constant, Result, Tracked
from qbnnc.frontend.program.random_ops import op_name

Run: TypeAlias = Callable[[Call], Result]

_PAIRS = {
    "matmul": ("self", "other"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
}
_SUMS = {"baddbmm": ("batch1", "batch2"), "addmm": ("mat1", "mat2")}
PRODUCTS = frozenset({"einsum", *_PAIRS, *_SUMS})


@dataclass(frozen=True, slots=True)
class _Factor:
    node: fx.Node
    tracked: object
    letters: str

    @property
    def layout(self) -> Layout:
        return layout_of(cast(Tracked, self.tracked))

    @property
    def shape(self) -> Shape:
        return tuple(self.node.meta["val"].shape)


def product(call: Call, run: Run) -> Result:
    """The product of factors of any layout, or the sum of it and a term."""
    name, nodes = op_name(call.node), given_nodes(call)
    if name in _SUMS:
        return _with_term(call, run)
    if name == "einsum":
        operands = cast("Sequence[object]", call.arguments["tensors"])
        given = cast("Sequence[fx.Node]", nodes["tensors"])
        ranks = [len(node.meta["val"].shape) for node in given]
        letters, out = _equation(str(call.arguments["equation"]).replace(" ", ""), ranks)
    else:
        operands = [call.arguments[each] for each in _PAIRS[name]]
        given = [cast(fx.Node, nodes[each]) for each in _PAIRS[name]]
        letters, out = _matrices([len(node.meta["val"].shape) for node in given])
    factors = [_Factor(*each) for each in zip(given, operands, letters, strict=True)]
    return _product(call, run, factors, out)


def _equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand, and of the result; "..." stands for letters of its own."""
    left, arrow, out = equation.partition("->")
    parts = left.split(",")
    hidden = [
        rank - len(part) + 3 if "..." in part else 0
        for part, rank in zip(parts, ranks, strict=True)
    ]
    free = [c for c in ascii_letters if c not in equation][: max(hidden)]
    letters = [
        part.replace("...", "".join(free[len(free) - count :]))
        for part, count in zip(parts, hidden, strict=True)
    ]
    shown = left.replace("...", "")
    once = sorted(c for c in {*shown} - {","} if shown.count(c) == 1)
    whole = out if arrow else ("..." if any(hidden) else "") + "".join(once)
    return letters, whole.replace("...", "".join(free))


def _matrices(ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of x @ y, and of the result."""
    row, inner, column = "x", "y", "z"
    left, right = ranks
    pairs = ascii_letters[: max(left, right, 2) - 2]
    ends = (row + inner if left > 1 else inner, inner + column if right > 1 else inner)
    letters = [
        pairs[len(pairs) - max(0, rank - 2) :] + end for rank, end in zip(ranks, ends, strict=True)
    ]
    return letters, pairs + (row if left > 1 else "") + (column if right > 1 else "")


def _product(call: Call, run: Run, factors: Sequence[_Factor], out: str) -> Result:
    rows = [factor for factor in factors if is_activation(factor.tracked)]
    first = rows[0].layout
    batch = rows[0].letters[first.axis]
    for each in rows:
        same = (each.layout.before, each.layout.after) == (first.before, first.after)
        if each.letters[each.layout.axis] != batch or not same:
            call.fail("pairs the batch with another axis", "every row must be predicted by itself")
    if batch not in out:
        call.fail("sums over the rows of the batch", "every row must be predicted by itself")
    used = {*out, *(c for factor in factors for c in factor.letters)}
    free = iter(c for c in ascii_letters if c not in used)
    merged = "".join(next(free) for _ in first.merged)

    def in_front(letters: str, axis: int) -> str:
        return batch + letters[:axis] + merged + letters[axis + 1 :]

    equations, given = list[str](), list[object]()
    for factor in factors:
        letters, tracked, shape = factor.letters, factor.tracked, factor.shape
        if is_activation(tracked):
            tracked = Activation(value_of(call, cast(Tracked, tracked)))
            shape = factor.layout.batch_first(factor.shape, call.context.batch)
            letters = in_front(letters, factor.layout.axis)
        elif batch in letters:
            letters, tracked, shape = _without(call, factor, batch, first, merged)
        equations.append(letters)
        given.append(Given(factor.node, shape, tracked))
    layout = Layout(out.index(batch), first.before, first.after)
    whole = layout.batch_first(call.shape(), call.context.batch)
    equation = f"{','.join(equations)}->{in_front(out, layout.axis)}"
    einsum = torch.ops.aten.einsum.default
    done = run(made(call, einsum, {"equation": equation, "tensors": given}, whole))
    if layout == Layout():
        return done
    return laid(value_of(call, cast(Tracked, done)), layout)


def _without(
    call: Call, factor: _Factor, batch: str, of_rows: Layout, merged: str
) -> tuple[str, Tracked, Shape]:
    """A constant without an axis of 1 that meets the batch, or that all rows repeat."""
    axis = factor.letters.index(batch)
    own = Layout(axis, of_rows.before, of_rows.after)
    letters = (factor.letters[:axis], factor.letters[axis + 1 :])
    match factor.tracked:
        case Constant(tensor) if factor.shape[axis] == 1:
            one = tensor.squeeze(axis)
            return "".join(letters), Constant(one), tuple(one.shape)
        case Constant(tensor) if call.context.is_batch(tensor.shape[axis] // prod(own.merged)):
            rows = own.in_front(tensor)
            if are_equal(rows):
                return merged.join(letters), Constant(rows[0]), tuple(rows.shape[1:])
    call.fail(
        "pairs the batch with an axis of a constant",
        "every row must be treated alike; wrap a network that takes [members, batch, ...]: "
        "net(x.expand(members, -1, -1))",
    )


def _with_term(call: Call, run: Run) -> Result:
    """beta * self + alpha * (a @ b)."""
    nodes, names = given_nodes(call), _SUMS[op_name(call.node)]
    matmul = torch.ops.aten.matmul.default
    pair = [_whole(nodes[name], call.arguments[name]) for name in names]
    inner = made(call, matmul, dict(zip(("self", "other"), pair, strict=True)), call.shape())
    y: object = run(inner)
    if (alpha := call.number("alpha", 1.0)) != 1:
        y = run(_scaled(call, y, call.node, alpha, call.shape()))
    term: object = call.arguments["self"]
    shape = tuple(cast(fx.Node, nodes["self"]).meta["val"].shape)
    if (beta := call.number("beta", 1.0)) != 1:
        term = run(_scaled(call, term, cast(fx.Node, nodes["self"]), beta, shape))
    given = {
        "self": Given(call.node, call.shape(), y),
        "other": Given(cast(fx.Node, nodes["self"]), shape, term),
        "alpha": 1,
    }
    return run(made(call, torch.ops.aten.add.Tensor, given, call.shape()))


def _whole(node: object, tracked: object) -> Given:
    assert isinstance(node, fx.Node)
    return Given(node, tuple(node.meta["val"].shape), tracked)


def _scaled(call: Call, x: object, node: fx.Node, factor: float, shape: Shape) -> Call:
    given = {"self": Given(node, shape, x), "other": factor}
    return made(call, torch.ops.aten.mul.Tensor, given, shape)
