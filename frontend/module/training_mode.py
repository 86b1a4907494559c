"""The training mode that a user means by `dropout`, set on the module itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.spectral_norm import SpectralNorm

from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords

Dropout: TypeAlias = Literal["active", "off"]
_DROPOUT = re.compile(r"(feature_)?(alpha_)?dropout([123]d)?_?")


@contextmanager
def training_mode(
    module: nn.Module, dropout: Dropout | None, *, innermost: bool = False
) -> Iterator[None]:
    """Call `train()` ("active") or `eval()` ("off") on all parts of the module; None: on none.

    Normalisation layers stay in their mode. Every mode is put back, and so is all that a `train()`
    of the user's own changes. `innermost`: only modules without children change their mode.
    """
    if dropout is None:
        yield
        return
    before = [(child, child.training) for child in module.modules()]
    own = [child for child, _ in before if type(child).train is not nn.Module.train]
    own = [child for child in own if not innermost or not any(child.children())]
    saved = Snapshot.of(module) if own else None
    try:
        for child in own:
            child.train(dropout == "active")
        for child, training in before:
            kept = is_normalisation(child) or (innermost and any(child.children()))
            child.training = training if kept else dropout == "active"
        yield
    finally:
        if saved is not None:
            saved.restore()
        for child, training in before:
            child.training = training


class WithoutDropout(FunctionMode):
    """Every dropout call gives its input, `training=True` written out or not: dropout="off"."""

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        if _DROPOUT.fullmatch(getattr(function, "__name__", "")):
            return args[0] if args else kwargs["input"]
        return function(*args, **kwargs)


def is_normalisation(module: nn.Module) -> bool:
    """Whether a layer, torch's or the user's, only normalises.

    A layer with a normalised weight counts too: in training mode it would change its estimate.
    """
    if isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm):
        return True
    if any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()):
        return True
    return "norm" in type(module).__name__.lower() and not any(module.children())
