"""How the elements of a random tensor are arranged: what was drawn, and where its elements went.

An op that only moves elements (reshape, expand, slice, ...) is not followed by rules. It is run on
the numbers of the elements, for a batch of a size of our choice; where each number ends says which
element of the draw masks what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.support.errors import CompileError

Shape: TypeAlias = tuple["int | torch.SymInt", ...]  # as torch has it, batch included


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """The result `item` (None: the only one) of an op that moves elements of `Drawn`s."""

    target: torch._ops.OpOverload
    arguments: Mapping[str, object]
    item: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Elements that `source` draws in `shape`, row-major; `moved` says how they lie now."""

    source: fx.Node
    shape: Shape
    moved: Moved | None = None

    def places(self, batch: int) -> Tensor:
        """The number of the drawn element at each place, i64, for a batch of this size."""
        if self.moved is None:
            shape = [concrete(extent, batch) for extent in self.shape]
            return torch.arange(prod(shape)).reshape(shape)
        arguments = {name: _plain(v, batch) for name, v in self.moved.arguments.items()}
        made = self.moved.target(**arguments)
        return cast(Tensor, made if self.moved.item is None else made[self.moved.item])

    def stages(self, batch: int) -> Iterator[tuple[int, ...]]:
        """The shapes it has had, the last first."""
        yield tuple(self.places(batch).shape)
        if self.moved is not None:
            for each in _drawn_among(self.moved.arguments):
                yield from each.stages(batch)


def joined(arguments: Mapping[str, object]) -> Drawn | None:
    """The draw that an op's arguments are elements of; None if there are several."""
    found = list(_drawn_among(arguments))
    same = found and all(each.source is found[0].source for each in found)
    return found[0] if same else None


def concrete(extent: int | torch.SymInt, batch: int) -> int:
    """An extent for a batch of this size; CompileError if it depends on anything else."""
    if isinstance(extent, int):
        return extent
    expression = extent.node.expr
    value = expression.subs(dict.fromkeys(expression.free_symbols, batch))
    if not value.is_integer or len(expression.free_symbols) > 1:
        raise CompileError(f"a mask has the size {extent}, which is not the batch's", "the network")
    return int(value)


def _drawn_among(arguments: Mapping[str, object]) -> Iterator[Drawn]:
    for value in arguments.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Drawn):
                yield item


def _plain(value: object, batch: int) -> object:
    match value:
        case Drawn():
            return value.places(batch).contiguous()  # copies that the program made vanish
        case torch.SymInt():
            return concrete(value, batch)
        case list():
            return [_plain(item, batch) for item in value]
        case _:
            return value
