"""Modules that are not supported: kinds that cannot be called, odd tensors, and layers by name.

A layer that is not supported is told by its name, instead of its smallest ops.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy

from qbnnc.frontend.program.nodes import live
from qbnnc.frontend.program.predictions import predicted
from qbnnc.support.errors import CompileError, Loc

_QUANTISED = (
    *("torch.ao.nn.quantized", "torch.ao.nn.intrinsic", "torch.ao.nn.qat", "torch.nn.quantized"),
    *("torch.ao.quantization.fake_quantize", "torch.ao.quantization.observer"),
    *("torch.ao.quantization.stubs", "torchao."),
)


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
            kind = type(child).__name__
            message = f"{kind}: is quantised already"
            _not_supported(name or kind, message, "pass the float network that it was made of")
        held = [*child._parameters.items(), *child._buffers.items()]
        for key, tensor in held:
            if tensor is not None:
                _check_tensor(f"{name}.{key}".removeprefix("."), tensor)


def _check_tensor(name: str, tensor: Tensor) -> None:
    if tensor.is_quantized:
        _not_supported(name, "is a quantised tensor", "pass the float network that it was made of")
    if tensor.device.type == "meta":
        _not_supported(name, "has no values (it is on the meta device)", "load the trained weights")
    if tensor.device.type != "cpu":
        _not_supported(name, f"is on the device {tensor.device}", "pass module.cpu()")
    if tensor.layout != torch.strided:
        _not_supported(name, "is a sparse tensor", "make it dense with .to_dense()")
    if tensor.is_complex():
        _not_supported(name, "is complex", "write its real and imaginary part as two real tensors")


def _not_supported(name: str, message: str, advice: str) -> NoReturn:
    raise CompileError(f"{message}, and that does not compile", name, remedy=advice)


def check_layers(module: nn.Module, used: Collection[nn.Module]) -> None:
    """Raise CompileError for a layer among those `used` that is not supported."""
    for name, child in module.named_modules():
        kind = _kind(child)
        if kind and child in used:
            _unsupported_layer(name, child, kind)


def check_program_layers(module: nn.Module, program: ExportedProgram) -> None:
    """Raise CompileError for such a layer that the outputs of `program` depend on."""
    kinds = {name: kind for name, child in module.named_modules() if (kind := _kind(child))}
    if not kinds:
        return
    for node in live(program, predicted(program)):
        stack = node.meta.get("nn_module_stack") or {}
        for path in (str(entry[0]) for entry in stack.values()):
            if path in kinds:
                _unsupported_layer(path, module.get_submodule(path), kinds[path])


def _kind(layer: nn.Module) -> str:
    """The kind of a layer without integer form, as the message's subject; "" for other layers."""
    match layer:
        case nn.Embedding() | nn.EmbeddingBag() if layer.max_norm is not None:
            return "tables that each call changes (max_norm) have"
        case _:
            return ""


def _unsupported_layer(name: str, layer: nn.Module, kind: str) -> NoReturn:
    remedy = "linear layers, convolutions, batch norm, pooling and dropout compile"
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        remedy = "set max_norm=None, after the rows are scaled: weight.data.renorm_(2, 0, max_norm)"
    raise CompileError(
        f"{type(layer).__name__}: {kind} no integer form here",
        Loc(name or type(layer).__name__),
        remedy=remedy,
    )
