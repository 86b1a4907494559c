"""One of several constants, by a random number: snapshots, BatchEnsemble, Masksembles.

A random number 0..count-1 is tracked as `Chosen`, whose members are these numbers. Ops on it and
on constants are run once for each member, so that values[i] and one-hot vectors need no rule. Where
it meets an activation it is a weight or bias, or a factor, or a term.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.noise import noise
from qbnnc.frontend.convert.ops.affine import ONE, affine
from qbnnc.frontend.convert.ops.linear import dense
from qbnnc.frontend.convert.ops.sampled_vectors import channelwise, plus
from qbnnc.frontend.convert.ops.shapes import pairwise, together
from qbnnc.frontend.convert.sampled_weights.weights import Choosing, Weight
from qbnnc.frontend.convert.tracked import (
    Activation,
    Chosen,
    Constant,
    Filled,
    Product,
    Result,
    Tracked,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, Multiply
from qbnnc.support import limits

_MOST_ELEMENTS = 1 << 28  # of all members together


def random_number(call: Call) -> Tracked:
    """randint: one number for all rows, or one for each row; noise in any other shape."""
    low, high = call.arguments.get("low") or 0, call.arguments["high"]
    if not isinstance(low, int) or not isinstance(high, int):
        return noise(call)
    return _number(call, low, high - low)


def random_integers(call: Call) -> Tracked:
    """tensor.random_(from, to)."""
    low, high = call.arguments.get("from") or 0, call.arguments.get("to")
    if not isinstance(low, int) or not isinstance(high, int):
        return noise(call)
    return _number(call, low, high - low)


def multinomial(call: Call) -> Tracked:
    """One number of several that are equally probable."""
    weights = call.tracked("self")
    if not isinstance(weights, Constant) or weights.tensor.ndim > 2:
        return noise(call)
    one = weights.tensor.numel() == weights.tensor.shape[-1] and call.integer("num_samples") == 1
    if not one or number_of(weights.tensor) is None:
        call.fail(
            "draws from several numbers that are not equally probable",
            "draw with torch.randint, and repeat a member to make it more probable",
        )
    return _number(call, 0, weights.tensor.shape[-1])


def _number(call: Call, low: int, count: int) -> Tracked:
    shape = call.shape()
    per_row = bool(shape and call.context.is_batch(shape[0]))
    single = all(extent == 1 for extent in shape[per_row:])
    if not single or not limits.CHOICES.least <= count <= limits.CHOICES.most:
        return noise(call)
    members = torch.arange(low, low + count).reshape(count, *[1] * len(shape))
    return Chosen(members, call.node, per_row)


def is_chosen(inputs: list[Tracked]) -> bool:
    """Whether an op computes from choices and constants alone."""
    known = all(isinstance(each, Chosen | Constant | Filled) for each in inputs)
    return known and any(isinstance(each, Chosen) for each in inputs)


def chosen(call: Call, inputs: list[Tracked]) -> Result:
    """The result of an op for each member; CompileError for two random numbers."""
    choices = [each for each in inputs if isinstance(each, Chosen)]
    first = choices[0]
    if any(each.source is not first.source for each in choices):
        call.fail(
            "computes from two random numbers that choose constants",
            "choose everything by one number, or combine what they choose with activations",
        )
    with torch.no_grad():
        results = [_run(call, member) for member in range(first.count)]
    if not isinstance(results[0], tuple):
        return _stacked(call, first, cast("list[Tensor]", results))
    columns = zip(*cast("list[tuple[Tensor, ...]]", results), strict=True)
    return tuple(_stacked(call, first, list(column)) for column in columns)


def _stacked(call: Call, first: Chosen, results: list[Tensor]) -> Chosen:
    if len(results) * results[0].numel() > _MOST_ELEMENTS:
        call.fail("makes constants to choose from that are larger than a model may hold")
    if first.per_row and (not results[0].ndim or results[0].shape[0] != 1):
        call.fail(
            "moves the axis of the batch of what is chosen for each row",
            "keep the batch as the first axis",
        )
    return Chosen(torch.stack(results), first.source, first.per_row)


def _run(call: Call, member: int) -> Tensor | tuple[Tensor, ...]:
    """The op on one member; the batch has one row."""
    target = cast(torch._ops.OpOverload, call.node.target)
    kinds = {argument.name: str(argument.type) for argument in target._schema.arguments}
    arguments = {
        name: _plain(call, value, member, number="int" in kinds[name])
        for name, value in call.arguments.items()
    }
    result = target(**arguments)
    if isinstance(result, bool | int | float):
        return torch.tensor(result)
    return cast(
        "Tensor | tuple[Tensor, ...]", tuple(result) if isinstance(result, list) else result
    )


def _plain(call: Call, value: object, member: int, *, number: bool) -> object:
    match value:
        case Chosen(members):
            return members[member].item() if number else members[member].contiguous()
        case Constant(tensor):
            return tensor
        case Filled(shape):
            return value.tensor([1 if call.context.is_batch(n) else int(n) for n in shape])
        case torch.SymInt() if call.context.is_batch(value):
            return 1
        case list():
            return [_plain(call, item, member, number=number) for item in value]
        case _:
            return value


def as_activation(call: Call, choice: Chosen) -> Value | None:
    """The chosen constant as a row; None if it is not known which axis is the batch."""
    if choice.per_row or (choice.members.ndim > 2 and choice.members.shape[1] == 1):
        return _emitted(call, choice, choice.members[:, 0])
    return None


def product(call: Call, x: Tracked, choice: Chosen) -> Tracked:
    """x times the chosen constant."""
    value = call.context.value(x, call)
    members = _of_rows(call, choice, value)
    if not choice.per_row and _is_by_channel(members, value):
        return Activation(channelwise(call, value, Weight.chosen(choice.source, members), None))
    factor = _emitted(call, choice, members)
    together(call, "multiplies", value, factor)
    return Activation(call.emit(Multiply(), value, factor))


def total(call: Call, x: Tracked, choice: Chosen, factor: float = 1.0) -> Tracked:
    """x plus factor times the chosen constant."""
    scaled = Chosen(choice.members * factor, choice.source, choice.per_row)
    if isinstance(x, Product) and not choice.per_row:
        bias = Weight.chosen(choice.source, scaled.members.flatten(1))
        if bias.shape == x.weight.shape[:1] == choice.members.shape[-1:]:
            return Activation(dense(call.context, x.place, x.x, x.weight, bias))
    value = call.context.value(x, call)
    members = _of_rows(call, scaled, value)
    if not choice.per_row and _is_by_channel(members, value):
        return Activation(plus(call, value, Weight.chosen(choice.source, members)))
    term = _emitted(call, scaled, members)
    return pairwise(call, Add(), "adds", value, term)


def difference(call: Call, choice: Chosen, x: Tracked, factor: float) -> Tracked:
    """The chosen constant plus factor times x."""
    return total(call, x if factor == 1 else affine(call, x, scale=ONE * factor), choice)


def inverse(choice: Chosen) -> Chosen:
    """1 / the chosen constant."""
    return Chosen(1 / choice.members.double(), choice.source, choice.per_row)


def normalised(call: Call, x: Value, stats: dict[str, Tracked], eps: float) -> Activation:
    """Batch normalisation with statistics, or scale and shift, that are chosen."""
    choices = [each for each in stats.values() if isinstance(each, Chosen)]
    first = choices[0]
    if any(each.source is not first.source or each.per_row for each in choices):
        call.fail("normalises by what several random numbers choose", "choose all by one number")
    mean, var, scale, shift = (
        _members(call, stats[name], first) for name in ("mean", "var", "weight", "bias")
    )
    factor = scale / torch.sqrt(var + eps)
    row = (first.count, -1, *[1] * (len(x.type.shape) - 1))
    both = (factor.reshape(row), (shift - mean * factor).reshape(row))
    return Activation(channelwise(call, x, *(Weight.chosen(first.source, m) for m in both)))


def _members(call: Call, value: Tracked, like: Chosen) -> Tensor:
    if isinstance(value, Chosen):
        return value.members.double().reshape(like.count, -1)
    assert isinstance(value, Constant)
    return value.tensor.double().expand(like.count, -1)


def _is_by_channel(members: Tensor, x: Value) -> bool:
    """Whether members [count, *row] have one number for each channel (axis 0) of x."""
    channels, *rest = members.shape[1:]
    return channels == x.type.shape[0] and all(n == 1 for n in rest)


def _of_rows(call: Call, choice: Chosen, x: Value) -> Tensor:
    """The members as rows that broadcast with x: [count, *row]."""
    members, rank = choice.members, len(x.type.shape)
    if choice.per_row or (members.ndim == rank + 2 and members.shape[1] == 1):
        members = members[:, 0]
    row = tuple(members.shape[1:])
    if choice.per_row:
        if len(row) != rank:
            call.fail(
                f"combines rows of shape {list(x.type.shape)} with chosen ones of {list(row)}",
                "give both the same number of axes",
            )
        return members
    if len(row) > rank:
        call.fail(
            f"combines chosen constants of shape {list(row)} with rows of {list(x.type.shape)}",
            "a chosen constant must broadcast to one row",
        )
    return members.reshape(choice.count, *[1] * (rank - len(row)), *row)


def _emitted(call: Call, choice: Chosen, members: Tensor) -> Value:
    name = f"{call.place().name}.chosen"
    choosing = Choosing(choice.source, members)
    return call.context.choice(choosing, name, call.place(), per_row=choice.per_row)


DRAWING_RULES: Rules = {
    "multinomial": multinomial,
    "randint": random_number,
    "randint_like": random_number,
    "random": random_integers,
}
