"""Outputs of forward: the containers that hold its tensors, and the names they have there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

from torch import nn
from torch.distributions import Distribution, Independent
from torch.utils import _pytree as pytree


def plain(output: object) -> object:
    """The outputs as dicts, tuples and lists; NamedTuples and dataclasses become dicts of fields.

    A torch distribution becomes a dict of its parameters: Normal has loc and scale. torch.export
    can trace these containers, and a saved program needs no class of the user's.
    """
    match output:
        case Mapping():
            return {str(key): plain(value) for key, value in output.items()}
        case tuple() if hasattr(output, "_asdict"):
            return {key: plain(value) for key, value in output._asdict().items()}
        case tuple() | list():
            return type(output)(plain(value) for value in output)
        case Independent():
            return plain(output.base_dist)
        case Distribution():
            return {k: v for k, v in vars(output).items() if k in output.arg_constraints} or output
        case _ if is_dataclass(output) and not isinstance(output, type):
            return {f.name: plain(getattr(output, f.name)) for f in fields(output)}
    return output


@contextmanager
def plain_outputs(module: nn.Module) -> Iterator[None]:
    """Make `module` return plain containers (see `plain`) until the end of the block."""
    hook = module.register_forward_hook(lambda _module, _inputs, output: plain(output))
    try:
        yield
    finally:
        hook.remove()


def leaf_names(spec: pytree.TreeSpec) -> list[str]:
    """The name of each leaf: the keys on the way to it, "head.mu"; "" if it has positions only."""
    return [name if named else "" for name, named in _leaves(spec, "", False)]


def _leaves(spec: pytree.TreeSpec, path: str, named: bool) -> Iterator[tuple[str, bool]]:
    if spec.is_leaf():
        yield path, named
        return
    keyed = spec.type is dict
    keys = spec.context if keyed else range(spec.num_children)
    for key, child in zip(keys, spec.children(), strict=True):
        yield from _leaves(child, f"{path}.{key}".removeprefix("."), named or keyed)
