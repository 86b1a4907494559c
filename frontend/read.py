"""A trained network, in memory or in a file, to a FLOAT graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.batch import trace_for_any_batch
from qbnnc.frontend.convert import convert
from qbnnc.frontend.factory import build_module
from qbnnc.frontend.modes import Dropout, set_dropout
from qbnnc.frontend.programs import load_program, write_program
from qbnnc.frontend.sniff import REFUSALS, FileKind, refuse, sniff
from qbnnc.frontend.tracing import functionalise
from qbnnc.frontend.weights import load_weights, read_stored
from qbnnc.ir.errors import FileError, InputError
from qbnnc.ir.graph import Graph

_EXAMPLE_ROWS = 2  # what tracing needs
_MANY_ROWS = 64  # so many are calibration data; fewer may be the one batch size a net is made for


@dataclass(frozen=True, slots=True)
class Source:
    """A network, and the calibration rows [rows, ...] that came with it in the file."""

    graph: Graph
    calibration: NDArray[np.float32] | None


def read_module(
    module: nn.Module,
    example_inputs: Tensor | NDArray[np.generic] | Sequence[Tensor],
    *,
    dropout: Dropout | None = None,
) -> Graph:
    """The FLOAT graph of `module`, whose modes are its caller's and stay as they are.

    `example_inputs`: one tensor [batch, ...], or a tuple of one. `dropout`: see
    modes.trace_in_mode; needed if the module has dropout that eval() switched off.
    CompileError: the module cannot be compiled. InputError: it does not take the example.
    """
    return trace_for_any_batch(module, _example(example_inputs), dropout).graph


def read_file(
    path: str | Path,
    *,
    factory: str | None = None,
    model_args: Mapping[str, object] | None = None,
    example: NDArray[np.generic] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
) -> Source:
    """The network in a file: an exported program, or weights for the network of `factory`.

    `example` is rows [rows, ...] as the network takes them; a module needs them to be traced, a
    program does not. `trust_pickle` unpickles what torch.save wrote, be it a whole module, which
    runs code from the file.
    FileError, CompileError, InputError or factory.ModelError say what is wrong.
    """
    path = Path(path)
    match sniff(path):
        case FileKind.EXPORTED_PROGRAM:
            stored = load_program(path)
            set_dropout(stored.program, dropout or stored.dropout)
            return Source(convert(functionalise(stored.program)), stored.calibration)
        case FileKind.QBNN:
            raise FileError("is a compiled .qbnn already; run it, or compile it to ONNX", path)
        case FileKind() as kind if kind in REFUSALS and not (trust_pickle and _is_legacy(kind)):
            raise refuse(path, kind)
        case kind:
            module = _module(path, kind, factory, model_args or {}, trust_pickle)
            return Source(read_module(module, _needed(example, path), dropout=dropout), None)


def save_program(
    module: nn.Module,
    path: str | Path,
    example_inputs: Tensor | NDArray[np.generic] | Sequence[Tensor],
    calibration: NDArray[np.generic] | Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Save `module` as an exported program that needs no Python code to be read.

    With up to 512 rows of `calibration` [rows, ...]. All that read_module refuses is refused here.
    """
    traced = trace_for_any_batch(module, _example(example_inputs), dropout)
    rows = None if calibration is None else np.asarray(calibration, np.float32)
    method = {"module": type(module).__qualname__, "dropout": dropout, "torch": torch.__version__}
    write_program(traced.program, Path(path), rows, method)


def _is_legacy(kind: FileKind) -> bool:
    return kind is FileKind.LEGACY_TORCH_SAVE


def _module(
    path: Path,
    kind: FileKind,
    factory: str | None,
    model_args: Mapping[str, object],
    trust_pickle: bool,
) -> nn.Module:
    loaded = read_stored(path, kind, trust_pickle=trust_pickle)
    if isinstance(loaded, nn.Module):
        return loaded
    if factory is None:
        raise FileError(
            "holds weights without the network they belong to; pass --model "
            "package.module:factory, the function or class that builds it",
            path,
        )
    module = build_module(factory, model_args)
    load_weights(module, loaded, path)
    return module


def _needed(example: NDArray[np.generic] | None, path: Path) -> NDArray[np.generic]:
    if example is None:
        raise FileError(
            "is traced with example rows, and none are given; pass calibration data "
            "(--calib FILE[:KEY])",
            path,
        )
    return example


def _example(given: Tensor | NDArray[np.generic] | Sequence[Tensor]) -> Tensor:
    """One tensor [batch, ...], 1 to _MANY_ROWS rows; numpy's float64 is taken for float32."""
    if isinstance(given, np.ndarray):
        single = given.astype(np.float32) if given.dtype == np.float64 else given
        given = torch.from_numpy(np.array(single))
    if not isinstance(given, Tensor):
        if len(given) != 1:
            raise InputError(
                f"example inputs: {len(given)} tensors; only networks of one input tensor are "
                "supported"
            )
        given = torch.as_tensor(given[0])
    if given.ndim < 1 or not len(given):
        raise InputError(
            f"example inputs: shape {list(given.shape)} has no rows; give [batch, ...]"
        )
    return given.detach()[: _EXAMPLE_ROWS if len(given) > _MANY_ROWS else None]
