"""Anything that can be compiled, as a Model: a module, an exported program, weights, a .qbnn."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model, Provenance
from qbnnc.loading.recorded_names import renamed
from qbnnc.passes.head.assign_head import name_outputs
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.extras import require
from qbnnc.support.files import read_bytes
from qbnnc.support.inputs import as_integer, evenly_spaced
from qbnnc.support.several_inputs import Arrays, as_example
from qbnnc.support.text import counted
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from qbnnc.frontend import Source
    from qbnnc.frontend.distribution import Reference

Dropout: TypeAlias = Literal["active", "off"]

MOST_ROWS = 512
FEW_ROWS = 100
_FEW_TO_CHOOSE_BY = 200
_ROWS = "the calibration data"


class CalibrationWarning(UserWarning):
    """Data, to calibrate with or to choose by, that work, but are less than one would wish."""


class Reading(TypedDict):
    """The options for reading a network as the functions of `qbnnc` take them, by keyword."""

    model: str | None
    model_args: Mapping[str, object]
    dropout: Dropout | None
    trust_pickle: bool
    output_names: str | None
    member_axis: int | None


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options for reading a network. `outputs` are names; () gives none.

    `member_axis` is the axis of outputs that holds the members of an ensemble inside one module.
    """

    factory: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    dropout: Dropout | None = None
    trust_pickle: bool = False
    outputs: tuple[str, ...] = ()
    member_axis: int | None = None

    @staticmethod
    def of(
        model: str | None = None,
        model_args: Mapping[str, object] | None = None,
        dropout: Dropout | None = None,
        trust_pickle: bool = False,
        output_names: str | Sequence[str] | None = None,
        member_axis: int | None = None,
    ) -> SourceOptions:
        """The options as the functions of `qbnnc` take them."""
        names = names_from(output_names)
        axis = None if member_axis is None else as_integer(member_axis, "`member_axis`")
        return SourceOptions(model, model_args or {}, dropout, trust_pickle, names, axis)

    def given(self) -> list[str]:
        """The names of those that only a file that torch reads has a use for, if they are given."""
        values = {
            "model": self.factory,
            "model_args": self.arguments or None,
            "dropout": self.dropout,
            "member_axis": self.member_axis,
        }
        return [name for name, value in values.items() if value is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A Model that was read, with the module behind each member; a .qbnn or a Model has none.

    `checked` says how a saved program was compared with its module.
    """

    model: Model
    references: tuple[Reference, ...] = ()
    checked: str = ""


def names_from(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """ "mean, variance" -> ("mean", "variance"); () of None. UserError for an empty name.

    >>> names_from("mean, variance")
    ('mean', 'variance')
    """
    if text is None:
        return ()
    given: object = text.split(",") if isinstance(text, str) else text
    parts = list(given) if isinstance(given, Sequence) else []
    if not isinstance(given, Sequence) or not all(isinstance(part, str) for part in parts):
        raise UserError("give names, as in 'mean, variance'", place=f"`output_names` {text!r}")
    names = tuple(part.strip() for part in parts)
    if not names or not all(names) or len({*names}) < len(names):
        raise UserError(
            "give a name of its own for each output", place=f"`output_names` {','.join(names)!r}"
        )
    return names


def read(source: object, rows: Arrays | None, options: SourceOptions) -> Model:
    """The Model of whatever a user hands in: a Model, a file or several, or a module.

    Several files, or a folder of them, are the members of an ensemble. A compiled .qbnn gives an
    INTEGER Model. `rows` [N, *shape] are calibration data, which go before those in a file.
    """
    return read_trained(source, rows, options).model


def read_trained(source: object, rows: Arrays | None, options: SourceOptions) -> Trained:
    """The same Model, and the modules that it was made of, to compare it with."""
    trained = _read(source, rows, options)
    model = with_calibration(trained.model, rows)
    return replace(trained, model=renamed(model, options.outputs) if options.outputs else model)


def _read(source: object, rows: Arrays | None, options: SourceOptions) -> Trained:
    if options.dropout not in (None, "active", "off"):
        raise UserError("choose one of active, off", place=f"`dropout` {options.dropout!r}")
    if (known := known_model(source)) is not None:
        return Trained(known)
    paths = [source] if isinstance(source, str | os.PathLike) else source
    if isinstance(paths, Sequence) and all(isinstance(p, str | os.PathLike) for p in paths):
        return _read_files(paths, rows, options)
    return _read_modules(source, rows, options)


def _read_files(
    paths: Sequence[str | os.PathLike[str]], rows: Arrays | None, options: SourceOptions
) -> Trained:
    files = [Path(path) for path in paths]
    if not files:
        raise InputError("no file is named", place="the source", remedy="name one or more")
    if len(files) == 1 and not files[0].is_dir() and format.is_model(read_bytes(files[0])):
        _refuse_for_qbnn(files[0], options)
        return Trained(format.load(files[0]))
    require("torch", what=f"reading {files[0].name}")
    from qbnnc.frontend import read_file

    source = read_file(
        files[0] if len(files) == 1 else files,
        factory=options.factory,
        model_args=options.arguments,
        example=None if rows is None else as_example(rows, _ROWS),
        dropout=options.dropout,
        trust_pickle=options.trust_pickle,
        member_axis=options.member_axis,
    )
    return Trained(model_of(source), source.references, source.checked)


def _read_modules(source: object, rows: Arrays | None, options: SourceOptions) -> Trained:
    require("torch", what="compiling a module")
    from torch import nn

    from qbnnc.frontend import members_of, read_modules

    modules = members_of(source)
    if modules is None:
        raise InputError(
            f"a {type(source).__name__} cannot be compiled",
            place="the source",
            remedy="give a torch.nn.Module or a list of them, a file, or several files; which "
            "objects of libraries compile, docs/how-to/posteriors-of-libraries.md lists",
        )
    if rows is None:
        what = (
            "a module is"
            if isinstance(modules[0], nn.Module)
            else "an object holds no inputs: it is"
        )
        raise InputError(f"{what} compiled with calibration=x, 100 or more typical inputs")
    example = as_example(rows, _ROWS)
    traced = read_modules(
        modules, example, dropout=options.dropout, member_axis=options.member_axis
    )
    return Trained(model_of(traced), traced.references)


def known_model(source: object) -> Model | None:
    """The Model that this is: itself, or what a module of `prepare_qat` is by now; else None.

    Several of them in a list are the members of an ensemble; CompileError if they are not alike.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, list | tuple) and source:
        models = [model for one in source if (model := known_model(one)) is not None]
        if models and len(models) < len(source):
            raise InputError(
                "a list that holds more than fine-tuned members",
                place="the source",
                remedy="give these alone",
            )
        return _ensemble(models) if models else None
    if sys.modules.get("torch") is None:  # then it is no module either
        return None
    from qbnnc.backends.torch import Simulation

    return source.model() if isinstance(source, Simulation) else None


def _ensemble(models: Sequence[Model]) -> Model:
    members = tuple(member for model in models for member in model.members)
    joined = replace(models[0], members=members)
    joined.check()
    return joined


def _refuse_for_qbnn(path: Path, options: SourceOptions) -> None:
    for name in options.given():
        raise FileError(
            f"`{name}` is for what torch reads; a .qbnn is a network already",
            path,
            remedy="leave it out",
        )


def model_of(source: Source) -> Model:
    """The FLOAT Model of what the front end has read, with the names of its outputs."""
    model = float_model(source.graphs, source.calibration)
    provenance = replace(model.provenance, left_out="; ".join(source.left_out))
    model = replace(model, head=Head(Task.RAW, source.names), provenance=provenance)
    return name_outputs(model, source.stated) if source.stated else model


def float_model(members: tuple[Graph, ...], rows: NDArray[np.float32] | None) -> Model:
    """A FLOAT Model, before anything about integers is decided."""
    model = Model(members, Head(Task.RAW), 1, Provenance(COMPILER), rows)
    model.check()
    return model


def with_calibration(model: Model, rows: Arrays | None) -> Model:
    """The model with these calibration rows; at most 512, evenly spaced, are kept.

    None leaves the model as it is. InputError if rows do not fit the network.
    """
    if rows is None:
        return model
    batch = rows_taken_by(model.graph).of(rows, _ROWS)
    if len(batch) > MOST_ROWS:
        batch = batch[evenly_spaced(len(batch), MOST_ROWS)]
    return replace(model, calibration=batch)


def warn_of_noisy_choice(rows: int, stacklevel: int = 3) -> None:
    """CalibrationWarning if bits are chosen by fewer rows than one would wish."""
    if rows < _FEW_TO_CHOOSE_BY:
        warnings.warn(
            f"{_few(rows, 'row', ' to choose bits by')}: with less than {_FEW_TO_CHOOSE_BY} the "
            "choice is noisy, and on other data the metric may be over the budget",
            CalibrationWarning,
            stacklevel=stacklevel,
        )


def warn_of_few(rows: int, stacklevel: int = 3) -> None:
    """CalibrationWarning if there are fewer calibration rows than one would wish."""
    if 0 < rows < FEW_ROWS:  # none at all is an error
        warnings.warn(
            f"{_few(rows, 'calibration row')}: with less than {FEW_ROWS} the ranges are uncertain "
            "and accuracy may suffer",
            CalibrationWarning,
            stacklevel=stacklevel,
        )


def _few(count: int, noun: str, what_for: str = "") -> str:
    return f"{counted(count, noun)}{what_for} {'is' if count == 1 else 'are'} few"
