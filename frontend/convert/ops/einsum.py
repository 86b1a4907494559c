"""einsum, matmul and their kin, written as letters: axes with one letter are the same."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import cast

import torch

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.constant_folding import are_equal
from qbnnc.frontend.convert.ops.arithmetic import operand, product
from qbnnc.frontend.convert.ops.arithmetic import summed as total
from qbnnc.frontend.convert.ops.contraction_order import next_pair
from qbnnc.frontend.convert.ops.contractions import (
    Letters,
    of_activations,
    summed,
    with_constant,
)
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Chosen,
    Constant,
    Filled,
    Noise,
    Tracked,
)

_BATCH = 1 << 62  # stands for the extent of the batch; no constant has such an axis


def einsum(call: Call) -> Tracked:
    operands = cast("list[Tracked]", call.arguments["tensors"])
    return _product(call, operands, *_equation(call, str(call.arguments["equation"]), operands))


def matmul(call: Call) -> Tracked:
    """x @ y; axes before the last two are paired, and a bias may be added later."""
    return _matmul(call, _operands(call, "self", "other", "mat2", "vec"))


def baddbmm(call: Call) -> Tracked:
    """beta * self + alpha * (batch1 @ batch2); nothing is added if beta is 0."""
    alpha, beta = (
        Constant(torch.tensor(call.number(name), dtype=torch.float64)) for name in ("alpha", "beta")
    )
    multiplied = _matmul(call, _operands(call, "batch1", "batch2"))
    multiplied = product(call, multiplied, alpha) if alpha.tensor != 1 else multiplied
    if beta.tensor == 0:
        return multiplied
    added = operand(call, "self")
    added = Constant(added.tensor * beta.tensor) if isinstance(added, Constant) else added
    if not isinstance(added, Constant) and beta.tensor != 1:
        added = product(call, added, beta)
    return total(call, multiplied, added, 1.0)


def _matmul(call: Call, operands: Sequence[Tracked]) -> Tracked:
    left, right = (len(_shape(call, operand)) for operand in operands)
    row, inner_, column = "x", "y", "z"
    pairs = ascii_letters[: max(left, right, 2) - 2]
    ends = (row + inner_ if left > 1 else inner_, inner_ + column if right > 1 else inner_)
    letters = [
        pairs[max(0, len(pairs) - max(0, rank - 2)) :] + end
        for rank, end in zip((left, right), ends, strict=True)
    ]
    out = pairs + (row if left > 1 else "") + (column if right > 1 else "")
    return _product(call, operands, letters, out)


def tensordot(call: Call) -> Tracked:
    operands = _operands(call, "self", "other")
    left, right = (len(_shape(call, operand)) for operand in operands)
    pairs = (cast("Sequence[int]", call.arguments[f"dims_{name}"]) for name in ("self", "other"))
    a, b = list(ascii_letters[:left]), list(ascii_letters[left : left + right])
    for mine, other in zip(*pairs, strict=True):
        b[other] = a[mine]
    out = [c for c in a if c not in b] + [c for c in b if c not in a]
    return _product(call, operands, ["".join(a), "".join(b)], "".join(out))


def inner(call: Call) -> Tracked:
    """The product over the last axes of both."""
    operands = _operands(call, "self", "other")
    left, right = (len(_shape(call, operand)) for operand in operands)
    last, a, b = (
        ascii_letters[0],
        ascii_letters[1:left],
        ascii_letters[left : left + right - 1],
    )
    return _product(call, operands, [a + last, b + last], a + b)


def vecdot(call: Call) -> Tracked:
    """The product over one axis of both, whose other axes broadcast."""
    operands = _operands(call, "x", "y")
    ranks = [len(_shape(call, operand)) for operand in operands]
    every = ascii_letters[: max(ranks)]
    letters = [every[len(every) - rank :] for rank in ranks]
    contracted = every[call.integer("dim")]
    return _product(call, operands, letters, every.replace(contracted, ""))


def _operands(call: Call, *names: str) -> list[Tracked]:
    return [call.tracked(name) for name in names if name in call.arguments]


def _product(
    call: Call, operands: Sequence[Tracked], letters: Sequence[Letters], out: Letters
) -> Tracked:
    """The sum of products that the letters tell; the batch comes first in each activation."""
    call.row_shape()
    operands, letters = _for_one_row(operands, letters)
    letters = _ones_apart(call, operands, letters, out)
    pairs = list(zip(operands, letters, strict=True))
    rows = [(v, own) for v, own in pairs if isinstance(v, AnyActivation)]
    constants = [(v, own) for v, own in pairs if not isinstance(v, AnyActivation)]
    _check(call, rows, constants, out)
    if len(rows) > 1 and len(pairs) > 2:
        return _two_at_a_time(call, operands, letters, out)
    values = [(call.context.value(v, call), own[1:]) for v, own in rows]
    match values, constants:
        case [(x, of_x)], []:
            return Activation(summed(call, x, of_x, out[1:]))
        case [(x, of_x)], [_, *_]:
            weight, of_w = _weight(call, constants)
            return with_constant(call, x, of_x, weight, of_w, out[1:])
        case [(a, of_a), (b, of_b)], []:
            return of_activations(call, (a, of_a), (b, of_b), out[1:])
    call.fail("multiplies nothing that is computed from the input")


def _two_at_a_time(
    call: Call, operands: Sequence[Tracked], letters: Sequence[Letters], out: Letters
) -> Tracked:
    """The product of two operands, and then of that with the others."""
    extents = dict[str, int]()
    for own, each in zip(letters, operands, strict=True):
        extents |= dict(zip(own, _shape(call, each), strict=True))
    rows = [isinstance(each, AnyActivation) for each in operands]
    first, second, made = next_pair(letters, rows, out, extents)
    chosen, left = (first, second), [i for i in range(len(rows)) if i not in (first, second)]
    both = _product(call, [operands[i] for i in chosen], [letters[i] for i in chosen], made)
    return _product(
        call, [both, *(operands[i] for i in left)], [made, *(letters[i] for i in left)], out
    )


def _for_one_row(
    operands: Sequence[Tracked], letters: Sequence[Letters]
) -> tuple[list[Tracked], list[Letters]]:
    """Numbers that all rows repeat, such as learned queries, as a constant without the batch."""
    pairs = list(zip(operands, letters, strict=True))
    batch = next((own[:1] for each, own in pairs if isinstance(each, AnyActivation)), "")
    made, left = list[Tracked](), list[Letters]()
    for each, own in pairs:
        row = _common_row(each) if own[:1] == batch else None
        made.append(each if row is None else Constant(row))
        left.append(own if row is None else own[1:])
    return made, left


def _common_row(operand: Tracked) -> torch.Tensor | None:
    """The row that all rows of numbers are equal to, if there is one."""
    match operand:
        case Filled(shape, number, row) if number is not None or row is not None:
            return operand.tensor([1, *(int(extent) for extent in shape[1:])])[0]
        case Constant(tensor) if tensor.ndim and are_equal(tensor):
            return tensor[0]
    return None


def _check(
    call: Call,
    rows: Sequence[tuple[Tracked, Letters]],
    constants: Sequence[tuple[Tracked, Letters]],
    out: Letters,
) -> None:
    batch = rows[0][1][:1]
    if any(own[:1] != batch for _, own in rows) or out[:1] != batch:
        call.fail("pairs the batch with another axis", "every row must be predicted by itself")
    if any(batch in own for _, own in constants):
        call.fail(
            "pairs the batch with an axis of a constant",
            "every row must be treated alike; wrap a network that takes [members, batch, ...]: "
            "net(x.expand(members, -1, -1))",
        )
    if any(len(set(own)) != len(own) for _, own in (*rows, *constants)):
        call.fail("takes a diagonal", "every axis of a tensor must have a letter of its own")


def _ones_apart(
    call: Call, operands: Sequence[Tracked], letters: Sequence[Letters], out: Letters
) -> list[Letters]:
    """Give an axis of 1 that broadcasts with a longer one a letter of its own."""
    shapes = [_shape(call, operand) for operand in operands]
    longest = dict[str, int]()
    for own, shape in zip(letters, shapes, strict=True):
        for c, extent in zip(own, shape, strict=True):
            longest[c] = max(extent, longest.get(c, 1))
    free = iter(c for c in ascii_letters if c not in longest and c not in out)
    return [
        "".join(
            next(free) if extent == 1 < longest[c] else c
            for c, extent in zip(own, shape, strict=True)
        )
        for own, shape in zip(letters, shapes, strict=True)
    ]


def _weight(call: Call, constants: Sequence[tuple[Tracked, Letters]]) -> tuple[Weight, Letters]:
    """The constant; if there are several, their product over all their letters."""
    match constants:
        case [(Noise() as noise, of_w)]:
            return call.probed(noise, "weight"), of_w
        case [(Chosen(members, source, per_row=False), of_w)]:
            return Weight.chosen(source, members), of_w
        case [(Constant(tensor), of_w)]:
            return Weight(tensor.detach().to(torch.float32)), of_w
    tensors = [tracked.tensor for tracked, _ in constants if isinstance(tracked, Constant)]
    if len(tensors) != len(constants):
        call.fail("multiplies by something that is neither constant nor one sampled weight")
    every = "".join(dict.fromkeys("".join(own for _, own in constants)))
    equation = ",".join(own for _, own in constants) + "->" + every
    double = [tensor.detach().to(torch.float64) for tensor in tensors]
    return Weight(torch.einsum(equation, *double).to(torch.float32)), every


def _shape(call: Call, operand: Tracked) -> tuple[int, ...]:
    match operand:
        case Constant(tensor):
            return tuple(tensor.shape)
        case Chosen(members, _, per_row=False):
            return tuple(members.shape[1:])
        case Chosen():
            call.fail(
                "multiplies by a weight that is chosen for each row of the batch",
                "choose one for all rows: torch.randint(count, (1,))",
            )
        case _ if isinstance(operand, AnyActivation):
            return _BATCH, *call.context.value(operand, call).type.shape
        case Filled(shape):
            return tuple(_extent(n) for n in shape)
        case Noise() as noise:
            return tuple(_extent(n) for n in noise.shape)
        case _:
            call.fail("contracts a random mask", "multiply by it instead")


def _extent(extent: int | torch.SymInt) -> int:
    return extent if isinstance(extent, int) else _BATCH


def _equation(
    call: Call, equation: str, operands: Sequence[Tracked]
) -> tuple[list[Letters], Letters]:
    """The letters of each operand and of the result, with "..." spelt out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [c for c in ascii_letters if c not in equation]
    ranks = [len(_shape(call, operand)) for operand in operands]
    hidden = [r - len(t) + 3 if "..." in t else 0 for r, t in zip(ranks, terms, strict=True)]
    outer = "".join(free[: max(hidden)])
    letters = [
        term.replace("...", outer[len(outer) - count :])
        for term, count in zip(terms, hidden, strict=True)
    ]
    if arrow:
        return letters, right.replace("...", outer)
    plain = "".join(terms).replace(".", "")
    return letters, outer + "".join(sorted(c for c in set(plain) if plain.count(c) == 1))


RULES: Rules = {
    "baddbmm": baddbmm,
    "bmm": matmul,
    "einsum": einsum,
    "inner": inner,
    "linalg_vecdot": vecdot,
    "matmul": matmul,
    "mm": matmul,
    "mv": matmul,
    "tensordot": tensordot,
}
