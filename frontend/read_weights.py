"""Weights in files to graphs.

The network is traced once, and every set of weights is swapped in. If loading changes more than
weights, the network is traced for every set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.convert import convert_with_draws
from qbnnc.frontend.distribution import Reference
from qbnnc.frontend.ensemble import Member
from qbnnc.frontend.files.detect_format import FileKind
from qbnnc.frontend.files.model_factory import build_module
from qbnnc.frontend.files.stored_weights import load_weights, read_stored, state_dicts
from qbnnc.frontend.files.weight_names import StateDict
from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.module.wrappers import unwrapped
from qbnnc.frontend.trace.any_batch import Traced, trace_for_any_batch
from qbnnc.frontend.trial_runs.example_rows import rows_for
from qbnnc.support.errors import CompileError, FileError

_LOADING = ("load_state_dict", "set_extra_state", "_load_from_state_dict")


class NoNetworkError(FileError):
    """A file of weights for which no factory of their network is given."""


@dataclass(slots=True)
class WeightReader:
    """Reads files of weights for the network of one factory; see `read.read_file`."""

    factory: str | None
    model_args: Mapping[str, object]
    example: NDArray[np.generic] | None
    dropout: Dropout | None
    trust_pickle: bool
    _module: nn.Module | None = field(default=None, init=False)
    _traced: Traced | None = field(default=None, init=False)
    _beside: Snapshot | None = field(default=None, init=False)

    def read(self, path: Path, kind: FileKind) -> Iterator[Member]:
        """Yield a member for every set of weights in the file."""
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
            self._module = unwrapped(self._built(path))
        module, place = self._module, path if name == path.name else path.with_name(name)

        def load() -> None:
            load_weights(module, weights, place)

        load()
        traced = self._as_loaded(module, path, name)
        return Member(name, traced.graph, Reference(module, traced, self.dropout, load, name=name))

    def _as_loaded(self, module: nn.Module, path: Path, name: str) -> Traced:
        """The module traced with its present weights."""
        if self._traced is None or self._beside is None:
            self._traced = self._trace(module, path)
            self._beside = _beside_weights(module)
            return self._traced
        derived = self._beside.changed(_beside_weights(module))
        if derived or not _loads_alone(module):
            return self._trace(module, path)
        return _swapped(self._traced, module, name)

    def _built(self, path: Path) -> nn.Module:
        if self.factory is None:
            raise NoNetworkError(
                "holds weights without the network they belong to",
                path,
                remedy="pass `model='package.module:factory'`, the function or class that builds "
                "it",
            )
        return build_module(self.factory, self.model_args)

    def _trace(self, module: nn.Module, path: Path) -> Traced:
        if self.example is None:
            raise FileError(
                "is traced with example rows, and none are given",
                path,
                remedy="pass calibration data (`calibration=...`)",
            )
        return trace_for_any_batch(module, rows_for(module, self.example), self.dropout)


def _swapped(traced: Traced, module: nn.Module, name: str) -> Traced:
    """The traced program with the present weights of `module`."""
    try:
        converted = convert_with_draws(traced.functional, _tensors(module))
        return replace(traced, graph=converted.graph, draws=converted.draws)
    except CompileError as error:
        raise CompileError(f"{error.message} (in {name})", error.place, error.remedy) from error


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    parameters = dict[str, Tensor](module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def _loads_alone(module: nn.Module) -> bool:
    """Whether torch's own loading is all that runs when weights are loaded."""
    return not any(
        each._load_state_dict_pre_hooks
        or each._load_state_dict_post_hooks
        or (
            not type(each).__module__.startswith("torch.nn.")
            and any(getattr(type(each), n) is not getattr(nn.Module, n) for n in _LOADING)
        )
        for each in module.modules()
    )


def _beside_weights(module: nn.Module) -> Snapshot:
    """The state beside parameters and buffers, which may be derived from weights."""
    return Snapshot.of(module, weights=False)
