"""Layers that are not supported, told by their names instead of their smallest ops."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from torch import nn
from torch.export import ExportedProgram
from torch.nn.modules.instancenorm import _InstanceNorm

from qbnnc.frontend.program.nodes import live
from qbnnc.frontend.program.predictions import predicted
from qbnnc.support.errors import CompileError, Loc


def check_layers(module: nn.Module, used: Collection[nn.Module]) -> None:
    """Raise CompileError for a layer among those `used` that is not supported."""
    for name, child in module.named_modules():
        kind = _kind(child)
        if kind and child in used:
            _refuse(name, child, kind)


def check_program_layers(module: nn.Module, program: ExportedProgram) -> None:
    """Raise CompileError for such a layer that the outputs of `program` depend on."""
    kinds = {name: kind for name, child in module.named_modules() if (kind := _kind(child))}
    if not kinds:
        return
    for node in live(program, predicted(program)):
        stack = node.meta.get("nn_module_stack") or {}
        for path in (str(entry[0]) for entry in stack.values()):
            if path in kinds:
                _refuse(path, module.get_submodule(path), kinds[path])


def _kind(layer: nn.Module) -> str:
    """The kind of a layer without integer form, as the message's subject; "" for other layers."""
    match layer:
        case nn.RNNBase() | nn.RNNCellBase():
            return "recurrent layers have"
        case nn.MultiheadAttention() | nn.Transformer() | nn.TransformerEncoderLayer():
            return "attention has"
        case nn.LayerNorm() | nn.GroupNorm() | _InstanceNorm() | nn.Embedding():
            return "normalisation by row and embeddings have"
        case _:
            return ""


def _refuse(name: str, layer: nn.Module, kind: str) -> NoReturn:
    raise CompileError(
        f"{type(layer).__name__}: {kind} no integer form here",
        Loc(name or type(layer).__name__),
        remedy="linear layers, convolutions, batch norm, pooling and dropout compile",
    )
