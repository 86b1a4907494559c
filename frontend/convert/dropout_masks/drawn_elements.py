"""Drawn elements: the draw of a random tensor, and the places that its elements have moved to.

An op that only moves elements (reshape, expand, slice, ...) needs no rule. It is run on the numbers
of the elements, for a batch of a size of our choice. The place of each number in the result tells
which element of the draw is there.
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
    """A result of an op that moves drawn elements: number `item`, None if there is only one."""

    target: torch._ops.OpOverload
    arguments: Mapping[str, object]
    item: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Elements that `source` draws in `shape`, row-major; `moved` tells their arrangement now."""

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
        """Yield the shapes that the tensor has had, the last first."""
        yield tuple(self.places(batch).shape)
        if self.moved is not None:
            for each in _drawn_among(self.moved.arguments):
                yield from each.stages(batch)


def joined(arguments: Mapping[str, object]) -> Drawn | None:
    """The one draw of which an op's arguments are elements; None if there are several."""
    found = list(_drawn_among(arguments))
    same = found and all(each.source is found[0].source for each in found)
    return found[0] if same else None


def concrete(extent: int | torch.SymInt, batch: int) -> int:
    """The extent for a batch of this size; CompileError if it depends on anything else."""
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
