"""Weights from disk into a network: state_dicts, checkpoints, safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qbnnc.frontend.files.detect_format import FileKind
from qbnnc.frontend.files.weight_names import StateDict, as_named_in
from qbnnc.frontend.module.state_values import same_tensor
from qbnnc.support.errors import FileError

_NAMES_IN_CHECKPOINTS = (
    "state_dict model_state_dict model net network weights state_dicts members ensemble".split()
)
_SHOWN = 4


def load_weights(module: nn.Module, weights: StateDict, path: Path) -> None:
    """Fill `module` in its own dtypes; FileError lists missing, unexpected and ill-shaped names."""
    ours = dict[str, Tensor](module.state_dict())
    weights = as_named_in(ours, weights, path)
    problems = _problems(ours, weights) or _untied(ours, weights)
    if problems:
        raise FileError(
            f"does not fit the network of `model` ({'; '.join(problems)})",
            path,
            remedy="check `model` and `model_args`",
        )
    module.load_state_dict(dict(weights), strict=True)


def _problems(ours: StateDict, weights: StateDict) -> list[str]:
    missing = [name for name in ours if name not in weights]
    unexpected = [name for name in weights if name not in ours]
    shapes = [
        f"{name} is {list(weights[name].shape)} in the file and {list(tensor.shape)} in the network"
        for name, tensor in ours.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    kinds = [f"{name} is {kind}" for name, tensor in weights.items() if (kind := _unusual(tensor))]
    found = {"missing": missing, "unexpected": unexpected, "shapes": shapes, "not plain": kinds}
    return [f"{what}: {_list(names)}" for what, names in found.items() if names]


def _unusual(tensor: Tensor) -> str:
    """The reason why a tensor's numbers cannot be copied; "" for a plain tensor."""
    if tensor.is_meta:
        return "without its numbers"
    if tensor.is_quantized:
        return "quantised"
    return "" if tensor.layout is torch.strided else "sparse"


def _untied(ours: StateDict, weights: StateDict) -> list[str]:
    """Names of one tensor in the network that are two in the file: one would be lost."""
    first = dict[tuple[object, ...], str]()
    for name, tensor in ours.items():
        place = tensor.data_ptr(), tensor.shape, tensor.stride()
        other = first.setdefault(place, name)
        if tensor.numel() and other != name and not same_tensor(weights[name], weights[other]):
            return [f"{other} and {name} are one tensor in the network, and two in the file"]
    return []


def read_stored(path: Path, kind: FileKind, *, trust_pickle: bool) -> object:
    """Read weights, a checkpoint around them, or (trusted) a whole module.

    Only `trust_pickle` allows unpickling, which RUNS CODE from the file. FileError: the file needs
    unpickling without it, or is damaged.
    """
    if kind is FileKind.SAFETENSORS:
        return _read_safetensors(path)
    return _read_trusted(path) if trust_pickle else _read_torch_save(path)


def _read_torch_save(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(
            "holds Python objects and not only tensors (a module saved whole, for one), "
            "and opening it runs code from the file",
            path,
            remedy="save torch.save(module.state_dict(), path) and pass "
            "`model='package.module:factory'`, or use qbnnc.save, or pass "
            "`trust_pickle=True` if you trust who made the file",
        ) from error
    except Exception as error:  # a damaged pickle makes torch's reader raise anything
        raise FileError(
            "is cut off or damaged", path, remedy="copy or download it again"
        ) from error


def _read_trusted(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling runs code from the file: it raises anything
        raise FileError(
            f"cannot be unpickled ({error})",
            path,
            remedy="its classes must be importable from here",
        ) from error


def _read_safetensors(path: Path) -> StateDict:
    try:
        return cast(StateDict, safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise FileError(
            f"is a damaged safetensors file ({error})", path, remedy="copy it again"
        ) from error


def state_dicts(stored: object, path: Path) -> list[StateDict]:
    """The weights in the result of read_stored: one state_dict, or a list (an ensemble).

    They are the result itself, or stand under one of the usual names of a checkpoint. FileError if
    there are none.
    """
    if isinstance(stored, Mapping) and not _is_state_dict(stored):
        for name in _NAMES_IN_CHECKPOINTS:
            if found := _as_members(stored.get(name)):
                return found
        raise FileError(
            f"is a checkpoint without weights that are recognised: it holds {_list(list(stored))}",
            path,
            remedy="save its state_dict in a file of its own",
        )
    if found := _as_members(stored):
        return found
    raise FileError(
        f"holds a {type(stored).__name__}, not weights", path, remedy="save a state_dict"
    )


def _as_members(value: object) -> list[StateDict]:
    """The state_dicts that `value` is; [] if it is none."""
    given = list(value) if isinstance(value, list | tuple) else [value]
    return cast("list[StateDict]", given) if all(map(_is_state_dict, given)) else []


def _is_state_dict(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
