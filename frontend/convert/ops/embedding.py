"""Rows of tables by ids: embeddings, indexed tables and one-hot vectors."""

from __future__ import annotations

from math import prod
from typing import NoReturn, cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ids import as_function
from qbnnc.frontend.convert.ops import attention_masks, element_moves
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Chosen,
    Constant,
    Filled,
    IdFunction,
    Noise,
    Tracked,
    Transposed,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Embedding, Reshape, Slice
from qbnnc.support import limits

_MOST_TABLES = 256  # of one call: a table for each run of positions whose ids mean the same
_MOST_ONE_HOT = 4096  # the table of one-hot vectors has this many rows and columns


def embedding(call: Call) -> Tracked:
    """embedding(weight, indices): padding_idx has no part in a forward pass."""
    return rows_of_table(call, call.tracked("weight"), call.tracked("indices"))


def rows_of_table(call: Call, table: Tracked, ids: Tracked) -> Tracked:
    """table[ids], for a constant table [V, ...] and ids of the input, or that all rows repeat."""
    if not isinstance(table, Constant):
        _refuse_table(call, table)
    if isinstance(ids, Filled):
        places = ids.tensor([1, *map(int, ids.shape[1:])]).to(torch.int64)
        return Filled(call.shape(), None, table.tensor[places[0]])
    rows = table.tensor.detach().to(torch.float32)
    first = Activation(ids.value) if isinstance(ids, Transposed) else ids
    looked_up = read(call, first, rows.reshape(len(rows), -1))
    shape = (*looked_up.type.shape[:-1], *rows.shape[1:])
    value = reshaped(call, looked_up, shape, "shape")
    return Transposed(value, ids.batch) if isinstance(ids, Transposed) else Activation(value)


def read(call: Call, ids: Tracked, table: Tensor) -> Value:
    """The rows of a table [V, D] for ids [*S], or for a function of these: [*S, D]."""
    found = as_function(call, ids)
    if found is None:
        call.fail(
            "looks up a table by numbers that are computed, or not by the network's input",
            "give ids as the input, of an integer type, and change them in no other way than "
            "by moving, comparing or adding constants",
        )
    ids_value, members = found
    if members is None:
        return _read_all(call, ids_value, table)
    return _read_runs(call, ids_value, members, table)


def _read_all(call: Call, ids: Value, table: Tensor, suffix: str = "") -> Value:
    limits_of(call, table)
    constant = call.constant(f"table{suffix}", table)
    return step(call, suffix, Embedding(), ids, constant)


def limits_of(call: Call, table: Tensor) -> None:
    """CompileError for a table of more rows than ids can name."""
    try:
        limits.VOCABULARY.check(len(table))
    except ValueError as error:
        call.fail(str(error), "ids are exact in float32 up to there")


def _read_runs(call: Call, ids: Value, members: Tensor, table: Tensor) -> Value:
    """Rows by functions of ids: members [W, *S] holds the row of the table for each id.

    Runs of positions where the function is the same share a table of their own.
    """
    shape, size = ids.type.shape, prod(ids.type.shape)
    rows = members.reshape(len(members), size).to(torch.int64)
    starts = [0] + [i for i in range(1, size) if not bool((rows[:, i] == rows[:, i - 1]).all())]
    if len(starts) > _MOST_TABLES:
        call.fail(
            f"reads a table by {len(starts)} functions of ids, one for each place",
            f"only {_MOST_TABLES} are supported: use fewer",
        )
    ends, parts = [*starts[1:], size], list[Value]()
    flat = reshaped(call, ids, (size,), "ids") if len(starts) > 1 else ids
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        of_run = _composed(call, rows[:, start], table)
        suffix = "" if len(starts) == 1 else f"part{number}"
        run = flat if len(starts) == 1 else step(call, f"ids{number}", Slice(0, start, end), flat)
        parts.append(_read_all(call, run, of_run, suffix))
    if len(parts) == 1:
        return parts[0]
    whole = step(call, "parts", Concat(0), *parts)
    return step(call, "", Reshape((*shape, table.shape[1])), whole)


def _composed(call: Call, rows: Tensor, table: Tensor) -> Tensor:
    """The table that ids read directly: those up to the first that leads out of `table`."""
    inside = (rows >= 0) & (rows < len(table))
    count = len(rows) if bool(inside.all()) else int(inside.to(torch.int8).argmin())
    if count == 0:
        call.fail("reads rows that the table does not have, for every id", "check what is added")
    return table[rows[:count]]


def _refuse_table(call: Call, table: Tracked) -> NoReturn:
    match table:
        case Noise():
            call.fail(
                "reads a table whose weights are random (sampled, or words dropped for all rows)",
                "give the table fixed weights and sample those of the layers after it, or drop "
                "words by a mask on what is read: dropout of embedding(ids) with one number a word",
            )
        case Chosen():
            call.fail(
                "reads one of several tables, chosen by a random number",
                "make a network of each table and compile a list of these: an ensemble",
            )
        case _:
            call.fail(
                "reads a table that is computed from the input", "only constant tables are read"
            )


def one_hot(call: Call) -> Tracked:
    """one_hot(ids, count): rows of the identity."""
    count = call.integer("num_classes")
    if not 1 <= count <= _MOST_ONE_HOT:
        call.fail(
            f"makes one-hot vectors of {count} numbers",
            f"give a number from 1 to {_MOST_ONE_HOT}, or use nn.Embedding",
        )
    return Activation(read(call, call.tracked("self"), torch.eye(count)))


def index(call: Call) -> Tracked:
    """table[ids], or a move of elements by constant places."""
    table = call.tracked("self")
    indices = cast("list[Tracked | None]", call.arguments["indices"])
    by_ids = isinstance(indices[0], AnyActivation | IdFunction) if indices else False
    if isinstance(table, AnyActivation) or not by_ids or len(indices) != 1:
        return element_moves.moved(call)
    assert indices[0] is not None
    return rows_of_table(call, table, indices[0])


def activation_of(call: Call, function: IdFunction) -> Value:
    """A function of ids as numbers of its own: a table of one column."""
    size = prod(function.ids.type.shape)
    members = attention_masks.readable(call, function.members.to(torch.float32))
    numbers = members.reshape(len(members), size)
    if bool((numbers == numbers[:, :1]).all()):
        value = _read_all(call, function.ids, numbers[:, :1])
        return reshaped(call, value, function.ids.type.shape, "numbers")
    call.fail(
        "computes numbers from ids in another way at each place",
        "compute the same at all places, or look up a table by the result",
    )


def bag_not_supported(call: Call) -> Tracked:
    """EmbeddingBag in a program that was exported by others: its rows are one long list."""
    call.fail(
        "sums bags of rows that offsets divide",
        "give the network's module instead of its program, with ids [batch, T] and no offsets; or "
        "write embedding(ids).sum(1)",
    )


def renormalised(call: Call) -> Tracked:
    call.fail(
        "changes its table in each call (max_norm)",
        "set max_norm=None, after the rows are scaled: weight.data.renorm_(2, 0, max_norm)",
    )


RULES: Rules = {
    "embedding": embedding,
    "_embedding_bag": bag_not_supported,
    "_embedding_bag_forward_only": bag_not_supported,
    "embedding_bag": bag_not_supported,
    "embedding_renorm": renormalised,
    "embedding_renorm_": renormalised,
    "index": index,
    "one_hot": one_hot,
}
