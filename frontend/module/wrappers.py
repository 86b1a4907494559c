"""Wrappers around a network, and the element type that the network takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qbnnc.support.errors import SourceWarning

_AROUND = {
    "OptimizedModule": "_orig_mod",
    **dict.fromkeys(
        "DataParallel DistributedDataParallel FullyShardedDataParallel AveragedModel "
        "DeepSpeedEngine".split(),
        "module",
    ),
}


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel, AveragedModel and their like."""
    inside = getattr(module, _AROUND.get(type(module).__name__, ""), None)
    return unwrapped(inside) if isinstance(inside, nn.Module) else module


@contextmanager
def not_compiled() -> Iterator[None]:
    """Run the parts that torch.compile wraps as they are written."""
    with torch.compiler.set_stance("force_eager"):
        yield


def in_its_type(module: nn.Module, example: Tensor) -> Tensor:
    """The example in the element type of the module's weights, if they have one in common.

    SourceWarning if that type is not float32, as the graph computes in float32.
    """
    tensors = [*module.parameters(), *module.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(types) != 1 or not example.is_floating_point() or torch.float32 in types:
        return example
    (dtype,) = types
    warnings.warn(
        f"the weights of {type(module).__name__} are {str(dtype).removeprefix('torch.')}; they are "
        "compiled as float32",
        SourceWarning,
        stacklevel=2,
    )
    return example.to(dtype)
