"""Modules of several inputs, as modules of one: their tensors one after another in a row.

Everything else in `frontend` knows one tensor [rows, ...]. The user's module is called with the
arguments that its user gave as an example: positional, by keyword, or in dicts, tuples and lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from qbnnc.frontend.module.wrappers import unwrapped
from qbnnc.frontend.program.locations import NETWORK
from qbnnc.frontend.program.nodes import the_inputs
from qbnnc.support.errors import CompileError, InputError, Loc
from qbnnc.support.several_inputs import MOST_WHOLE, Entries, Entry, described

Leaf: TypeAlias = "Tensor | NDArray[np.generic]"
Example: TypeAlias = "Leaf | Sequence[Leaf] | Mapping[str, object]"
_PLACE = "example inputs"
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Arguments:
    """The arguments of a call: their structure, the entries of the row, and the element types.

    `types` has None for real numbers, which stay as the row has them.
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


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A module of one tensor, and example rows for it."""

    module: nn.Module
    rows: Leaf


def entries_of(module: nn.Module) -> Entries:
    """The inputs that a module's rows hold; () of one that takes its tensor as it is."""
    return module.arguments.entries if isinstance(module, SeveralInputs) else ()


def shown_example(module: nn.Module, example: Tensor) -> str:
    """The shape of example inputs, as the user gave them."""
    if entries := entries_of(module):
        return described(entries).replace("batch", str(len(example)))
    return str(list(example.shape))


def prepared(module: nn.Module, example: Example) -> Prepared:
    """A module that takes one tensor, and rows of the example for it.

    One tensor, or a list or tuple of one, stays as it is. InputError for what is no tensor, has
    another number of rows, or does not fit forward.
    """
    module = unwrapped(module)
    if not is_several(module, example):
        one = example[0] if isinstance(example, list | tuple) and len(example) == 1 else example
        assert not isinstance(one, Mapping)
        return Prepared(module, one if isinstance(one, Tensor) else np.asarray(one))
    arguments, rows = _packed(module, example)
    name = type(module).__name__
    kind = type(name, (SeveralInputs,), {"__qualname__": type(module).__qualname__})
    return Prepared(kind(module, arguments), rows)


def is_several(module: nn.Module, example: object) -> bool:
    """Whether an example is a dict, or a tuple or list of several tensors.

    A list of tensors of one shape is a batch of rows, unless forward needs several arguments.
    """
    if isinstance(example, Mapping):
        return True
    if not isinstance(example, list | tuple) or len(example) < 2:
        return False
    if any(isinstance(each, Mapping) for each in example):
        return True
    if not all(isinstance(each, Tensor | np.ndarray) for each in example):
        return False
    if isinstance(example, tuple) or _needed(unwrapped(module)) > 1:
        return True
    return len({tuple(each.shape) for each in example}) > 1


def refuse_several(module: nn.Module, example: object) -> None:
    """Raise InputError for several inputs of a library's object, which takes one tensor."""
    if is_several(module, example):
        raise InputError(
            "several inputs for an object of a library, which draws weights of a network of one",
            place=_PLACE,
            remedy="wrap its network in a module that takes one tensor and cuts it into the others",
        )


def _needed(module: nn.Module) -> int:
    """The number of arguments that forward cannot do without."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _packed(module: nn.Module, example: Example) -> tuple[Arguments, Tensor]:
    named, structure = pytree.tree_flatten_with_path(_call(module, example))
    tensors = {_name(module, path): leaf for path, leaf in named}
    if len(tensors) < len(named):
        raise InputError("two inputs have the same name", place=_PLACE, remedy="rename one")
    parts, entries, types, start = list[Tensor](), list[Entry](), list[torch.dtype | None](), 0
    for name, leaf in tensors.items():
        tensor = _tensor(name, leaf)
        if parts and len(tensor) != len(parts[0]):
            raise InputError(
                f"{len(tensor)} rows, and {entries[0].name!r} has {len(parts[0])}",
                place=f"{_PLACE} {name!r}",
                remedy="give each input as many rows",
            )
        whole = tensor.dtype in _WHOLE
        entries.append(Entry(name, tuple(tensor.shape[1:]), start, whole))
        types.append(tensor.dtype if whole else None)
        start = entries[-1].stop
        parts.append(tensor.to("cpu", torch.float32))
    return Arguments(structure, tuple(entries), tuple(types)), _row(parts)


def of_program(program: ExportedProgram, module: nn.Module) -> SeveralInputs | None:
    """The module of a program of several inputs, as one of rows; None for a program of one."""
    sources = the_inputs(program)
    if len(sources) == 1:
        return None
    entries, types, start = list[Entry](), list[torch.dtype | None](), 0
    for node in sources:
        value: Tensor = node.meta["val"]
        whole = value.dtype in _WHOLE
        entries.append(Entry(node.name, tuple(map(int, value.shape[1:])), start, whole))
        types.append(value.dtype if whole else None)
        start = entries[-1].stop
    structure = program.call_spec.in_spec
    assert structure is not None  # torch.export writes it always
    return SeveralInputs(module, Arguments(structure, tuple(entries), tuple(types)))


def _row(parts: Sequence[Tensor]) -> Tensor:
    """The rows [rows, N] of several tensors; one stays as it is."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)


def _call(module: nn.Module, example: Example) -> tuple[tuple[object, ...], dict[str, object]]:
    """The example as positional and keyword arguments of forward."""
    signature = inspect.signature(module.forward)

    def fits(*args: object, **kwargs: object) -> bool:
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    if isinstance(example, Mapping):
        given = {str(key): value for key, value in example.items()}
        if fits(**given):
            in_order = [name for name in signature.parameters if name in given]
            return (), {name: given[name] for name in dict.fromkeys([*in_order, *given])}
    else:
        several = tuple(example)
        if fits(*several):
            return several, {}
    if fits(example):
        return (dict(example) if isinstance(example, Mapping) else example,), {}
    shown = ", ".join(map(str, example)) if isinstance(example, Mapping) else f"{len(example)}"
    raise InputError(
        f"forward takes {signature}, and the example inputs are {shown}",
        place=type(module).__name__,
        remedy="give a dict of tensors by the names of its arguments, or a tuple in their order",
    )


def _name(module: nn.Module, path: Sequence[object]) -> str:
    """The name of a leaf: its argument's, and the keys on the way to it.

    The keys alone name what stands in one dict that is the only argument.
    """
    place, *keys = (_key(each) for each in path)
    if place == "1":
        return ".".join(keys)
    names = list(inspect.signature(module.forward).parameters.values())
    number = int(keys[0])
    last = names[min(number, len(names) - 1)]
    argument = last.name
    if last.kind is inspect.Parameter.VAR_POSITIONAL:
        argument = f"{last.name}_{number - names.index(last)}"
    if len(keys) == 1:
        return argument
    inside = ".".join(keys[1:])
    return inside if not inside[0].isdigit() else f"{argument}_{inside}"


def _key(entry: object) -> str:
    return str(getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", entry))))


def _tensor(name: str, leaf: object) -> Tensor:
    place = f"{_PLACE} {name!r}"
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub":
        single = leaf.astype(np.float32) if leaf.dtype.kind == "f" else leaf
        leaf = torch.from_numpy(np.array(single))
    if not isinstance(leaf, Tensor):
        raise InputError(
            f"a {type(leaf).__name__}, and inputs are tensors",
            place=place,
            remedy="set it in __init__, or give forward a default for it",
        )
    if leaf.dtype not in _WHOLE and not leaf.is_floating_point():
        raise InputError(
            f"the element type is {str(leaf.dtype).removeprefix('torch.')}",
            place=place,
            remedy="give float32, with 0 and 1 for False and True, or whole numbers",
        )
    if leaf.ndim < 1 or not len(leaf):
        raise InputError(
            f"shape {list(leaf.shape)} has no rows", place=place, remedy="give [batch, ...]"
        )
    if leaf.dtype in _WHOLE and int(leaf.abs().max()) > MOST_WHOLE:
        raise InputError(
            f"holds {int(leaf.abs().max())}, and whole numbers are exact up to 2^24",
            place=place,
            remedy="number the ids anew, from 0 on",
        )
    return leaf.detach()


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
