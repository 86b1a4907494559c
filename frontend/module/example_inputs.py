"""Example inputs of any form: one tensor, or the arguments of a forward that takes several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qbnnc.frontend.module.several_inputs import WHOLE, Arguments, SeveralInputs, cast_to
from qbnnc.frontend.module.wrappers import unwrapped
from qbnnc.support.errors import InputError
from qbnnc.support.several_inputs import MOST_WHOLE, Entry

Leaf: TypeAlias = "Tensor | NDArray[np.generic]"
Example: TypeAlias = "Leaf | Sequence[Leaf] | Mapping[str, object]"
_PLACE = "example inputs"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A module of one tensor, and example rows for it."""

    module: nn.Module
    rows: Leaf


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
        whole = tensor.dtype in WHOLE
        entries.append(Entry(name, tuple(tensor.shape[1:]), start, whole))
        types.append(cast_to(tensor))
        start = entries[-1].stop
        parts.append(tensor.to("cpu", torch.float32))
    return Arguments(structure, tuple(entries), tuple(types)), _row(parts)


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
    if leaf.dtype not in (*WHOLE, torch.bool) and not leaf.is_floating_point():
        raise InputError(
            f"the element type is {str(leaf.dtype).removeprefix('torch.')}",
            place=place,
            remedy="give float32, booleans or whole numbers",
        )
    if leaf.ndim < 1 or not len(leaf):
        raise InputError(
            f"shape {list(leaf.shape)} has no rows", place=place, remedy="give [batch, ...]"
        )
    if leaf.dtype in WHOLE and int(leaf.abs().max()) > MOST_WHOLE:
        raise InputError(
            f"holds {int(leaf.abs().max())}, and whole numbers are exact up to 2^24",
            place=place,
            remedy="number the ids anew, from 0 on",
        )
    return leaf.detach()
