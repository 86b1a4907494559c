"""Names of weights: the prefixes that trainers and wrappers put before them are taken off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from qbnnc.support.errors import FileError, SourceWarning

StateDict: TypeAlias = Mapping[str, Tensor]

_COUNTER = "n_averaged"  # a buffer of torch.optim.swa_utils.AveragedModel
_COMPILED = "_orig_mod."  # torch.compile puts it before the names of any part
_SHOWN = 4


def as_named_in(ours: StateDict, weights: StateDict, path: Path) -> StateDict:
    """The weights by the names of the network `ours`, if only a prefix keeps them apart.

    Any prefix under which the file holds the network is taken off: "module." of DataParallel,
    "_orig_mod." of torch.compile, "model." or "net." of a Lightning module. SourceWarning tells
    what was taken off and left out. FileError: the file holds the network under two prefixes.
    """
    if _fits(ours, weights):
        return weights
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    if _fits(ours, plain):
        _say(path, [_COMPILED], [])
        return plain
    found = [prefix for prefix in _prefixes(plain) if _fits(ours, _under(prefix, plain))]
    if len(found) > 1:
        raise FileError(
            f"holds the network {len(found)} times (under {', '.join(found)})",
            path,
            remedy="save the one that is meant in a file of its own",
        )
    if not found:
        return weights
    (prefix,) = found
    left_out = [name for name in plain if not name.startswith(prefix) and name != _COUNTER]
    _say(
        path, [prefix] + [_COMPILED] * (len(plain) > 0 and plain.keys() != weights.keys()), left_out
    )
    return _under(prefix, plain)


def _fits(ours: StateDict, weights: StateDict) -> bool:
    """Whether the weights have exactly the names and shapes of the network."""
    return ours.keys() == weights.keys() and all(
        weights[name].shape == tensor.shape for name, tensor in ours.items()
    )


def _prefixes(weights: StateDict) -> list[str]:
    """Every prefix of a name that ends with a dot, the shortest first."""
    parts = (name.split(".") for name in weights)
    found = (".".join(each[:i]) + "." for each in parts for i in range(1, len(each)))
    return sorted(dict.fromkeys(found), key=lambda prefix: (prefix.count("."), prefix))


def _under(prefix: str, weights: StateDict) -> StateDict:
    return {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}


def _say(path: Path, prefixes: list[str], left_out: list[str]) -> None:
    taken = " and ".join(repr(prefix) for prefix in prefixes)
    more = f" and {len(left_out) - _SHOWN} more" * (len(left_out) > _SHOWN)
    without = f"; left out: {', '.join(left_out[:_SHOWN])}{more}" if left_out else ""
    warnings.warn(
        f"{path}: {taken} is taken off the names of the weights{without}",
        SourceWarning,
        stacklevel=2,
    )
