"""A trained network, in memory or in files, to FLOAT graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.batch import trace_for_any_batch
from qbnnc.frontend.convert import convert
from qbnnc.frontend.ensemble import Member, Paths, check_same_network, files_of
from qbnnc.frontend.examples import Example, example_rows
from qbnnc.frontend.members import WeightReader
from qbnnc.frontend.modes import Dropout, set_dropout
from qbnnc.frontend.programs import load_program, write_program
from qbnnc.frontend.sniff import REFUSALS, FileKind, refuse, sniff
from qbnnc.frontend.tracing import functionalise
from qbnnc.ir.errors import FileError
from qbnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class Source:
    """A network, one graph a member, and the calibration rows [rows, ...] of its file."""

    graphs: tuple[Graph, ...]
    calibration: NDArray[np.float32] | None

    @property
    def graph(self) -> Graph:
        """The first member: all have its ops, shapes and names."""
        return self.graphs[0]


def read_module(
    module: nn.Module, example_inputs: Example, *, dropout: Dropout | None = None
) -> Graph:
    """The FLOAT graph of `module`, whose modes are its caller's and stay as they are.

    `example_inputs`: one tensor [batch, ...], or a tuple of one. `dropout`: see
    modes.trace_in_mode; needed if the module has dropout that eval() switched off.
    CompileError: the module cannot be compiled. InputError: it does not take the example.
    """
    return trace_for_any_batch(module, example_rows(example_inputs), dropout).graph


def read_file(
    path: Paths,
    *,
    factory: str | None = None,
    model_args: Mapping[str, object] | None = None,
    example: NDArray[np.generic] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
) -> Source:
    """The network in a file: an exported program, or weights for the network of `factory`.

    Several files, a folder of them, or a list of state_dicts in one file are an ensemble; its
    members are in the order of the files (by name, numbers as numbers, in a folder).
    `example` is rows [rows, ...] as the network takes them; a module needs them to be traced, a
    program does not. `trust_pickle` unpickles what torch.save wrote, be it a whole module, which
    runs code from the file.
    FileError, CompileError, InputError or factory.ModelError say what is wrong.
    """
    weights = WeightReader(factory, model_args or {}, example, dropout, trust_pickle)
    members = [member for file in files_of(path) for member in _members(file, weights)]
    check_same_network(members)
    rows = (m.calibration for m in members if m.calibration is not None)
    return Source(tuple(member.graph for member in members), next(rows, None))


def save_program(
    module: nn.Module,
    path: str | Path,
    example_inputs: Example,
    calibration: NDArray[np.generic] | Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Save `module` as an exported program that needs no Python code to be read.

    With up to 512 rows of `calibration` [rows, ...]. All that read_module refuses is refused here.
    """
    traced = trace_for_any_batch(module, example_rows(example_inputs), dropout)
    rows = None if calibration is None else np.asarray(calibration, np.float32)
    method = {"module": type(module).__qualname__, "dropout": dropout, "torch": torch.__version__}
    write_program(traced.program, Path(path), rows, method)


def _members(path: Path, weights: WeightReader) -> Iterator[Member]:
    match sniff(path):
        case FileKind.EXPORTED_PROGRAM:
            yield _program(path, weights.dropout)
        case FileKind.QBNN:
            raise FileError("is a compiled .qbnn already; run it, or compile it to ONNX", path)
        case FileKind() as kind if kind in REFUSALS and not (
            weights.trust_pickle and kind is FileKind.LEGACY_TORCH_SAVE
        ):
            raise refuse(path, kind)
        case kind:
            yield from weights.read(path, kind)


def _program(path: Path, dropout: Dropout | None) -> Member:
    stored = load_program(path)
    set_dropout(stored.program, dropout or stored.dropout)
    return Member(path.name, convert(functionalise(stored.program)), stored.calibration)
