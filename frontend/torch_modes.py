"""Torch's calls, intercepted: the two kinds of torch mode without their boilerplate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Arguments: TypeAlias = "tuple[object, ...]"
Keywords: TypeAlias = Mapping[str, object]
Function: TypeAlias = Callable[..., object]


_FUSED_ATTENTION = "_scaled_dot_product_"


class FunctionMode(TorchFunctionMode, ABC):
    """Intercepts calls of torch's Python functions, as the user's code makes them."""

    @abstractmethod
    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        """Return the result of the call; `function(*args, **kwargs)` is torch's own."""

    def __torch_function__(
        self,
        func: Function,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> object:
        return self.called(func, args, kwargs or {})


class RandomOpMode(TorchDispatchMode, ABC):
    """Intercepts the aten ops that draw random numbers; every other op runs as it is."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives it no types

    @abstractmethod
    def drawn(self, op: torch._ops.OpOverload, args: Arguments, kwargs: Keywords) -> object:
        """Return the result of the draw; `op(*args, **kwargs)` is torch's own."""

    def __torch_dispatch__(
        self,
        func: Function,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> object:
        given = kwargs or {}
        if isinstance(func, torch._ops.OpOverload) and draws(func):
            return self.drawn(func, args, given)
        return func(*args, **given)


def draws(op: torch._ops.OpOverload) -> bool:
    """Whether torch marks the op as one that draws random numbers, and it does on a CPU.

    Attention with dropout is made of other ops there, one of which draws.
    """
    fused = _FUSED_ATTENTION in op._schema.name
    return torch.Tag.nondeterministic_seeded in op.tags and not fused
