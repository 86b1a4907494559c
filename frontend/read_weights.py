"""Weights in files to graphs.

The network is traced once, and every set of weights is swapped in. If loading changes more than
weights, the network is traced for every set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from qbnnc.frontend.convert import convert_with_draws
from qbnnc.frontend.distribution import Reference
from qbnnc.frontend.ensemble import Member
from qbnnc.frontend.files.detect_format import FileKind
from qbnnc.frontend.files.model_factory import as_module, build
from qbnnc.frontend.files.stored_weights import load_weights, read_stored, state_dicts
from qbnnc.frontend.files.weight_names import StateDict
from qbnnc.frontend.module.example_inputs import Example, Prepared, prepared, refuse_several
from qbnnc.frontend.module.several_inputs import in_users_names as names_of_module
from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.module.wrappers import unwrapped
from qbnnc.frontend.objects import Posterior, in_users_names, is_object, members_of
from qbnnc.frontend.objects.loading import load_state
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
    example: Example | None
    dropout: Dropout | None
    trust_pickle: bool
    member_axis: int | None = None
    _module: nn.Module | None = field(default=None, init=False)
    _taking: Prepared | None = field(default=None, init=False)
    _traced: Traced | None = field(default=None, init=False)
    _beside: Snapshot | None = field(default=None, init=False)

    def read(self, path: Path, kind: FileKind) -> Iterator[Member]:
        """Yield a member for every set of weights in the file."""
        stored = read_stored(path, kind, trust_pickle=self.trust_pickle)
        if (whole := members_of(stored)) is not None:
            yield from (self._whole(each, path) for each in whole)
            return
        if self._module is None and self.factory is not None:
            built = build(self.factory, self.model_args)
            if is_object(built):
                yield from self._objects(built, stored, path)
                return
            self._module = unwrapped(as_module(built, self.factory))
        found = state_dicts(stored, path)
        for number, weights in enumerate(found):
            name = path.name if len(found) == 1 else f"{path.name}[{number}]"
            yield self._member(weights, path, name)

    def _whole(self, member: nn.Module | Posterior, path: Path) -> Member:
        """A member that needs no weights from elsewhere."""
        if isinstance(member, nn.Module):
            given = self._given(member, path)
            traced = self._trace(given)
            return Member(path.name, traced.graph, Reference(given.module, traced, self.dropout))
        refuse_several(member.module, self.example)
        with in_users_names(member):
            traced = self._trace(self._given(member.module, path))
        reference = Reference(
            member.module, traced, self.dropout, draw=member.draw, told=member.told
        )
        return Member(path.name, traced.graph, reference)

    def _objects(self, built: object, stored: object, path: Path) -> Iterator[Member]:
        """Yield the members of a library's object that gets its state from a file."""
        load_state(built, stored, path)
        for member in members_of(built) or []:
            yield self._whole(member, path)

    def _member(self, weights: StateDict, path: Path, name: str) -> Member:
        if self._module is None:
            raise NoNetworkError(
                "holds weights without the network they belong to",
                path,
                remedy="pass `model='package.module:factory'`, the function or class that builds "
                "it",
            )
        module, place = self._module, path if name == path.name else path.with_name(name)

        def load() -> None:
            load_weights(module, weights, place)

        load()
        if self._taking is None:
            self._taking = self._given(module, path)
        whole = self._taking.module
        traced = self._as_loaded(self._taking, name)
        return Member(name, traced.graph, Reference(whole, traced, self.dropout, load, name=name))

    def _as_loaded(self, given: Prepared, name: str) -> Traced:
        """The module traced with its present weights."""
        module = given.module
        if self._traced is None or self._beside is None:
            self._traced = self._trace(given)
            self._beside = _beside_weights(module)
            return self._traced
        derived = self._beside.changed(_beside_weights(module))
        if derived or not _loads_alone(module):
            return self._trace(given)
        return _swapped(self._traced, module, name, self.member_axis)

    def _given(self, module: nn.Module, path: Path) -> Prepared:
        """The module as one of one tensor, with the example rows."""
        if self.example is None:
            raise FileError(
                "is traced with example rows, and none are given",
                path,
                remedy="pass calibration data (`calibration=...`)",
            )
        return prepared(module, self.example)

    def _trace(self, given: Prepared) -> Traced:
        with names_of_module(given.module):
            rows = rows_for(given.module, given.rows)
            return trace_for_any_batch(given.module, rows, self.dropout, self.member_axis)


def _swapped(traced: Traced, module: nn.Module, name: str, member_axis: int | None) -> Traced:
    """The traced program with the present weights of `module`."""
    try:
        tensors = _tensors(module)
        converted = convert_with_draws(traced.functional, tensors, traced.inputs, member_axis)
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
