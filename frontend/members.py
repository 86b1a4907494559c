"""Weights in files to graphs: the network is traced once, and every set of weights swapped in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.batch import Traced, trace_for_any_batch
from qbnnc.frontend.convert import convert_with_draws
from qbnnc.frontend.distribution import Reference
from qbnnc.frontend.ensemble import Member
from qbnnc.frontend.examples import example_rows
from qbnnc.frontend.factory import build_module
from qbnnc.frontend.modes import Dropout
from qbnnc.frontend.sniff import FileKind
from qbnnc.frontend.weights import StateDict, load_weights, read_stored, state_dicts
from qbnnc.ir.errors import CompileError, FileError


@dataclass(slots=True)
class WeightReader:
    """Reads files of weights for the network of one factory; see read.read_file."""

    factory: str | None
    model_args: Mapping[str, object]
    example: NDArray[np.generic] | None
    dropout: Dropout | None
    trust_pickle: bool
    _module: nn.Module | None = field(default=None, init=False)
    _traced: Traced | None = field(default=None, init=False)

    def read(self, path: Path, kind: FileKind) -> Iterator[Member]:
        """Every set of weights in a file."""
        stored = read_stored(path, kind, trust_pickle=self.trust_pickle)
        if isinstance(stored, nn.Module):
            traced = self._trace(stored, path)
            yield Member(path.name, traced.graph, Reference(stored, traced, self.dropout))
            return
        found = state_dicts(stored, path)
        for number, weights in enumerate(found):
            name = path.name if len(found) == 1 else f"{path.name}[{number}]"
            yield self._member(weights, path, name)

    def _member(self, weights: StateDict, path: Path, name: str) -> Member:
        if self._module is None:
            self._module = self._built(path)
        module, place = self._module, path if name == path.name else path.with_name(name)

        def load() -> None:
            load_weights(module, weights, place)

        load()
        if self._traced is None or not _is_swappable(module):
            traced = self._trace(module, path)
            self._traced = traced if self._traced is None else self._traced
        else:
            traced = _swapped(self._traced, module, name)
        reference = Reference(module, traced, self.dropout, load, name=name)
        return Member(name, traced.graph, reference)

    def _built(self, path: Path) -> nn.Module:
        if self.factory is None:
            raise FileError(
                "holds weights without the network they belong to; pass --model "
                "package.module:factory, the function or class that builds it",
                path,
            )
        return build_module(self.factory, self.model_args)

    def _trace(self, module: nn.Module, path: Path) -> Traced:
        if self.example is None:
            raise FileError(
                "is traced with example rows, and none are given; pass calibration data "
                "(--calib FILE[:KEY])",
                path,
            )
        return trace_for_any_batch(module, example_rows(self.example), self.dropout)


def _swapped(traced: Traced, module: nn.Module, name: str) -> Traced:
    """The program's graph with the weights that `module` has now."""
    try:
        converted = convert_with_draws(traced.functional, _tensors(module))
        return replace(traced, graph=converted.graph, draws=converted.draws)
    except CompileError as error:
        message = str(error).removeprefix(f"{error.loc}: ")
        raise CompileError(f"{message} (in {name})", error.loc) from error


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    parameters = dict[str, Tensor](module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def _is_swappable(module: nn.Module) -> bool:
    """Whether loading weights changes tensors only, so that the trace stays what it is."""
    return not any(
        not type(each).__module__.startswith("torch.nn.")
        and (
            type(each).set_extra_state is not nn.Module.set_extra_state
            or type(each)._load_from_state_dict is not nn.Module._load_from_state_dict
        )
        for each in module.modules()
    )
