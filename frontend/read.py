"""A trained network, in memory or in files, to FLOAT graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.convert import convert_with_draws
from qbnnc.frontend.distribution import Reference
from qbnnc.frontend.ensemble import Member, Paths, check_same_network, files_of
from qbnnc.frontend.files.detect_format import NOT_READ, FileKind, detect_format, not_read
from qbnnc.frontend.files.exported_program import load_program, records_of, write_program
from qbnnc.frontend.members.split import split
from qbnnc.frontend.module.example_inputs import Example, prepared, refuse_several
from qbnnc.frontend.module.several_inputs import entries_of, of_program
from qbnnc.frontend.module.several_inputs import in_users_names as names_of_module
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.objects import Posterior, in_users_names
from qbnnc.frontend.read_weights import WeightReader
from qbnnc.frontend.torch_messages import quiet_torch
from qbnnc.frontend.trace.any_batch import Traced, trace_for_any_batch
from qbnnc.frontend.trace.attention import with_attention_spelt_out
from qbnnc.frontend.trace.dropout_mode import set_dropout
from qbnnc.frontend.trace.export import functionalise
from qbnnc.frontend.trace.recurrent_dropout import with_dropout_between
from qbnnc.frontend.trial_runs.example_rows import example_rows, rows_for
from qbnnc.ir.graph import Graph
from qbnnc.support.errors import CompileError, FileError


@dataclass(frozen=True, slots=True)
class Source:
    """A network, one member or several, and the calibration rows [rows, ...] of its file."""

    members: tuple[Member, ...]
    calibration: NDArray[np.float32] | None

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The FLOAT graph of each member."""
        return tuple(member.graph for member in self.members)

    @property
    def graph(self) -> Graph:
        """The graph of the first member; all have its ops, shapes and names."""
        return self.graphs[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs; empty if forward gives none."""
        return self.members[0].outputs.names

    @property
    def stated(self) -> tuple[str, ...]:
        """The names that the user gave when the program was saved."""
        return self.members[0].outputs.stated

    @property
    def left_out(self) -> tuple[str, ...]:
        """A description of each output that is no prediction."""
        return self.members[0].outputs.left_out

    @property
    def references(self) -> tuple[Reference, ...]:
        """The module or program that each member's graph was made of."""
        return tuple(member.reference for member in self.members)

    @property
    def checked(self) -> str:
        """The text that tells how the members were compared with their modules when saved."""
        texts = {member.checked for member in self.members}
        return texts.pop() if len(texts) == 1 else ""


def read_module(
    module: nn.Module, example_inputs: Example, *, dropout: Dropout | None = None
) -> Graph:
    """The FLOAT graph of `module`, whose modes are its caller's and stay as they are.

    `example_inputs` is one tensor [batch, ...], or several: a tuple of tensors, or a dict of them
    by the names of forward's arguments. `dropout` (see `trace.dropout_mode.trace_in_mode`) is
    needed if eval() has switched dropout off.
    CompileError: the module cannot be compiled. InputError: it does not take the example.
    """
    return _traced(module, example_inputs, dropout, "").graph


def read_modules(
    modules: Sequence[nn.Module | Posterior],
    example_inputs: Example,
    *,
    dropout: Dropout | None = None,
    member_axis: int | None = None,
) -> Source:
    """The members of an ensemble, or the one network, each beside its module; see read_module.

    A posterior is what `frontend.objects` makes of a library's object. A module may hold several
    members by itself, along `member_axis` of its outputs (see convert.member_axes).

    CompileError names the member. The members must be one network.
    """
    if len(modules) == 1:
        return Source(split(_traced(modules[0], example_inputs, dropout, "", member_axis)), None)
    members = list[Member]()
    for number, module in enumerate(modules):
        name = f"member {number}"
        try:
            members += split(_traced(module, example_inputs, dropout, name, member_axis))
        except CompileError as error:
            message = f"{error.message} (in {name})"
            raise CompileError(message, error.place, error.remedy) from error
    check_same_network(members)
    return Source(tuple(members), None)


def _traced(
    module: nn.Module | Posterior,
    example: Example,
    dropout: Dropout | None,
    name: str,
    member_axis: int | None = None,
) -> Member:
    if isinstance(module, Posterior):
        refuse_several(module.module, example)
        with in_users_names(module):
            member = _traced(module.module, example, dropout, name, member_axis)
        reference = replace(member.reference, draw=module.draw, told=module.told)
        return replace(member, reference=reference)
    given = prepared(module, example)
    with names_of_module(given.module):
        rows = rows_for(given.module, given.rows)
        traced = trace_for_any_batch(given.module, rows, dropout, member_axis)
    return Member(name, traced.graph, Reference(given.module, traced, dropout, name=name))


def example_array(module: nn.Module | Posterior, example: Example) -> NDArray[np.float32]:
    """The example as rows for the graph: [rows, *shape], or [rows, N] of several inputs."""
    inside = module.module if isinstance(module, Posterior) else module
    rows = example_rows(prepared(inside, example).rows)
    return np.asarray(rows.cpu().to(torch.float32).numpy())


def read_file(
    path: Paths,
    *,
    factory: str | None = None,
    model_args: Mapping[str, object] | None = None,
    example: Example | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    member_axis: int | None = None,
) -> Source:
    """The network in a file: an exported program, or weights for the network of `factory`.

    Several files, a folder of them, or a list of state_dicts in one file are an ensemble. Members
    are in the order of the files; in a folder by name, numbers as numbers. `example` holds rows
    [rows, ...] as the network takes them; a program does not need them. `trust_pickle` unpickles a
    file of torch.save, such as a whole module, which runs code from the file. `member_axis` is the
    axis of outputs that holds the members of an ensemble inside one network.
    Raises FileError, CompileError, InputError or ModelError.
    """
    weights = WeightReader(factory, model_args or {}, example, dropout, trust_pickle, member_axis)
    members = [
        each
        for file in files_of(path)
        for member in _members(file, weights)
        for each in split(member)
    ]
    check_same_network(members)
    rows = (m.calibration for m in members if m.calibration is not None)
    return Source(tuple(members), next(rows, None))


def save_program(
    module: nn.Module,
    path: str | Path,
    example_inputs: Example,
    calibration: NDArray[np.generic] | Tensor | None = None,
    dropout: Dropout | None = None,
    outputs: Sequence[str] = (),
) -> None:
    """Save `module` as an exported program; raises what read_module raises."""
    member = _traced(module, example_inputs, dropout, "")
    save_traced(member, path, calibration, outputs=outputs)


def save_traced(
    member: Member,
    path: str | Path,
    calibration: NDArray[np.generic] | Tensor | None = None,
    checked: str = "",
    outputs: Sequence[str] = (),
    member_axis: int | None = None,
) -> None:
    """Save one traced network as an exported program that needs no Python code to be read.

    The file also holds up to 512 rows of `calibration` [rows, ...], the text `checked` on the
    comparison with the module, the names of the `outputs`, and the axis of members in them.
    """
    reference = member.reference
    rows = None if calibration is None else np.asarray(calibration, np.float32)
    method: dict[str, object] = {
        "module": type(reference.module).__qualname__,
        "dropout": reference.dropout,
        "torch": torch.__version__,
        "distribution": checked,
    }
    method |= {"outputs": list(outputs)} if outputs else {}
    method |= {} if member_axis is None else {"member_axis": member_axis}
    method |= {"inputs": records_of(inputs)} if (inputs := reference.traced.inputs) else {}
    write_program(reference.traced.program, Path(path), rows, method)


def _members(path: Path, weights: WeightReader) -> Iterator[Member]:
    match detect_format(path):
        case FileKind.EXPORTED_PROGRAM:
            yield _program(path, weights.dropout, weights.member_axis)
        case FileKind.QBNN:
            raise FileError(
                "is a compiled .qbnn already", path, remedy="run it, or compile it to ONNX"
            )
        case FileKind() as kind if kind in NOT_READ and not (
            weights.trust_pickle and kind is FileKind.LEGACY_TORCH_SAVE
        ):
            raise not_read(path, kind)
        case kind:
            yield from weights.read(path, kind)


def _program(path: Path, dropout: Dropout | None, member_axis: int | None) -> Member:
    stored = load_program(path)
    if stored.dropout == "off" and dropout == "active":
        raise FileError(
            "was saved with dropout='off', and the noise is gone from it",
            path,
            remedy="save the network again with dropout='active'",
        )
    as_saved = stored.dropout == "active" and dropout != "off"
    chosen = dropout or stored.dropout
    with_dropout_between(stored.program)
    with_attention_spelt_out(stored.program)
    set_dropout(stored.program, None if as_saved else chosen, ask=not as_saved)
    functional = functionalise(stored.program)
    with quiet_torch():
        module: nn.Module = stored.program.module(check_guards=False)
    several = of_program(stored.program, module)
    module, inputs = (module, stored.inputs) if several is None else (several, entries_of(several))
    axis = stored.member_axis if member_axis is None else member_axis
    converted = convert_with_draws(functional, inputs=inputs, member_axis=axis)
    traced = Traced.of(stored.program, functional, converted, inputs)
    reference = Reference(module, traced, chosen, is_program=True)
    checked = stored.checked if chosen == stored.dropout else ""
    return Member(
        path.name, converted.graph, reference, stored.calibration, checked, stored.outputs
    )
