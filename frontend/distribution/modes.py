"""The mode that a user means by --dropout, set on the module itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from qbnnc.frontend.modes import Dropout


@contextmanager
def as_meant(module: nn.Module, dropout: Dropout | None) -> Iterator[None]:
    """The module as it is, or with `train()` ("active") or `eval()` ("off") on all its parts.

    Normalisation layers stay in their mode. Every mode is put back.
    """
    before = [(child, child.training) for child in module.modules()]
    try:
        if dropout is not None:
            for child, _ in before:
                child.training = child.training if is_normalisation(child) else dropout == "active"
        yield
    finally:
        for child, training in before:
            child.training = training


def is_normalisation(module: nn.Module) -> bool:
    """Whether this is a layer of torch's, or of the user's, that only normalises."""
    if isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm):
        return True
    return "norm" in type(module).__name__.lower() and not any(module.children())
