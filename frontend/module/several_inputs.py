"""Modules of several inputs, as modules of one: their tensors one after another in a row.

Everything else in `frontend` knows one tensor [rows, ...]. The user's module is called with the
arguments that its user gave as an example: positional, by keyword, or in dicts, tuples and lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from qbnnc.frontend.program.locations import NETWORK
from qbnnc.frontend.program.nodes import the_inputs
from qbnnc.support.errors import CompileError, InputError, Loc
from qbnnc.support.several_inputs import Entries, Entry, described

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Arguments:
    """The arguments of a call: their structure, the entries of the row, and the element types.

    `types` has None for real numbers, which stay as the row has them. Booleans are 0 and 1 there.
    """

    structure: pytree.TreeSpec
    entries: Entries
    types: tuple[torch.dtype | None, ...]

    def of(self, row: Tensor) -> tuple[Sequence[object], Mapping[str, object]]:
        """Positional and keyword arguments for rows [rows, N], or [rows, *shape] of one input."""
        parts = (self._part(row, *each) for each in zip(self.entries, self.types, strict=True))
        args, kwargs = pytree.tree_unflatten(list(parts), self.structure)
        return args, kwargs

    def _part(self, row: Tensor, entry: Entry, dtype: torch.dtype | None) -> Tensor:
        part = row
        if len(self.entries) > 1:
            part = row[:, entry.start : entry.stop]
            if len(entry.shape) != 1:
                part = part.reshape(row.shape[0], *entry.shape)
        return part if dtype is None else part.to(dtype)


class SeveralInputs(nn.Module):
    """A module that takes rows, and calls the user's module with the arguments that they hold."""

    def __init__(self, network: nn.Module, arguments: Arguments) -> None:
        super().__init__()
        self.training = network.training
        self.add_module(NETWORK, network)
        self.arguments = arguments

    @property
    def network(self) -> nn.Module:
        """The user's module."""
        return self.get_submodule(NETWORK)

    def forward(self, row: Tensor) -> object:
        args, kwargs = self.arguments.of(row)
        return self.get_submodule(NETWORK)(*args, **kwargs)


def entries_of(module: nn.Module) -> Entries:
    """The inputs that a module's rows hold; () of one that takes its tensor as it is."""
    return module.arguments.entries if isinstance(module, SeveralInputs) else ()


def shown_example(module: nn.Module, example: Tensor) -> str:
    """The shape of example inputs, as the user gave them."""
    if entries := entries_of(module):
        return described(entries).replace("batch", str(len(example)))
    return str(list(example.shape))


def of_program(program: ExportedProgram, module: nn.Module) -> SeveralInputs | None:
    """The module of a program of several inputs, as one of rows; None for a program of one."""
    sources = the_inputs(program)
    if len(sources) == 1:
        return None
    entries, types, start = list[Entry](), list[torch.dtype | None](), 0
    for node in sources:
        value: Tensor = node.meta["val"]
        whole = value.dtype in WHOLE
        entries.append(Entry(node.name, tuple(map(int, value.shape[1:])), start, whole))
        types.append(cast_to(value))
        start = entries[-1].stop
    structure = program.call_spec.in_spec
    assert structure is not None  # torch.export writes it always
    return SeveralInputs(module, Arguments(structure, tuple(entries), tuple(types)))


def cast_to(tensor: Tensor) -> torch.dtype | None:
    """The type that forward is given an input in; None for that of the row."""
    return tensor.dtype if tensor.dtype in (*WHOLE, torch.bool) else None


@contextmanager
def in_users_names(module: nn.Module) -> Iterator[None]:
    """Let errors name the places of the user's module, and not of the module around it."""
    if not isinstance(module, SeveralInputs):
        yield
        return
    prefix = f"{NETWORK}."
    try:
        yield
    except (CompileError, InputError) as error:
        place = error.place
        if isinstance(place, Loc):
            raise type(error)(
                error.message.replace(prefix, ""),
                Loc(place.module.replace(prefix, ""), place.source),
                error.remedy,
            ) from error
        where = str(place).replace(prefix, "")
        raise type(error)(error.message.replace(prefix, ""), where, error.remedy) from error
