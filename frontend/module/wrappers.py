"""Wrappers around a network, and kinds of networks that cannot be traced."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from qbnnc.support.errors import CompileError, Loc, SourceWarning

_AROUND = {
    "OptimizedModule": "_orig_mod",
    **dict.fromkeys(
        "DataParallel DistributedDataParallel FullyShardedDataParallel AveragedModel "
        "DeepSpeedEngine".split(),
        "module",
    ),
}
_QUANTISED = (
    *("torch.ao.nn.quantized", "torch.ao.nn.intrinsic", "torch.ao.nn.qat", "torch.nn.quantized"),
    *("torch.ao.quantization.fake_quantize", "torch.ao.quantization.observer"),
    *("torch.ao.quantization.stubs", "torchao."),
)


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel, AveragedModel and their like."""
    inside = getattr(module, _AROUND.get(type(module).__name__, ""), None)
    return unwrapped(inside) if isinstance(inside, nn.Module) else module


@contextmanager
def not_compiled() -> Iterator[None]:
    """Run the parts that torch.compile wraps as they are written."""
    with torch.compiler.set_stance("force_eager"):
        yield


def check_kind(module: nn.Module) -> None:
    """Raise CompileError for a module that cannot be called: a list, a script, a lazy module."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        raise CompileError(
            "is a container without a forward",
            type(module).__name__,
            remedy="give the network that holds it, a Python list of the modules if they are the "
            "members of an ensemble, or nn.Sequential if they follow one another",
        )
    for name, child in module.named_modules():
        place = Loc(name or type(child).__name__)
        if isinstance(child, torch.jit.ScriptModule):
            raise CompileError(
                "is a TorchScript module, which cannot be traced",
                place,
                remedy="pass the Python module that was scripted",
            )
        if any(is_lazy(p) for p in [*child._parameters.values(), *child._buffers.values()]):
            raise CompileError(
                f"{type(child).__name__}: its weights are not made yet",
                place,
                remedy="call the network on a batch once, and load its trained weights",
            )


def check_tensors(module: nn.Module, used: Collection[nn.Module]) -> None:
    """Raise CompileError for quantised modules and unusual tensors among the modules `used`."""
    for name, child in module.named_modules():
        if child not in used:
            continue
        if type(child).__module__.startswith(_QUANTISED):
            _refuse(name or type(child).__name__, f"{type(child).__name__}: is quantised already",
                    "pass the float network that it was made of")  # fmt: skip
        held = [*child._parameters.items(), *child._buffers.items()]
        for key, tensor in held:
            if tensor is not None:
                _check_tensor(f"{name}.{key}".removeprefix("."), tensor)


def _check_tensor(name: str, tensor: Tensor) -> None:
    if tensor.is_quantized:
        _refuse(name, "is a quantised tensor", "pass the float network that it was made of")
    if tensor.device.type == "meta":
        _refuse(name, "has no values (it is on the meta device)", "load the trained weights")
    if tensor.device.type != "cpu":
        _refuse(name, f"is on the device {tensor.device}", "pass module.cpu()")
    if tensor.layout != torch.strided:
        _refuse(name, "is a sparse tensor", "make it dense with .to_dense()")
    if tensor.is_complex():
        _refuse(name, "is complex", "write its real and imaginary part as two real tensors")


def _refuse(name: str, message: str, advice: str) -> NoReturn:
    raise CompileError(f"{message}, and that does not compile", name, remedy=advice)


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
