"""The public API: save a trained network, compile it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Unpack

from numpy.typing import ArrayLike

from qbnnc.emission import check_outputs, write_artefacts
from qbnnc.extras import require
from qbnnc.ir import format
from qbnnc.ir.errors import FileError, InputError, UserError
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.making import Making, given_options, options_from
from qbnnc.passes.pipeline import Watch, lower_model, quantise_model, relabel
from qbnnc.sources import (
    Dropout,
    SourceOptions,
    calibration_of,
    float_model,
    known_model,
    read,
    warn_of_few,
    with_calibration,
)
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from torch import Tensor, nn

Path_: TypeAlias = str | os.PathLike[str]


def save(
    module: nn.Module | Model | Sequence[nn.Module | Model],
    path: Path_,
    example_inputs: Tensor | Sequence[Tensor] | None = None,
    *,
    calibration: ArrayLike | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Save a trained or fine-tuned network so that it can be compiled without its Python code.

    With the suffix .qbnn a FLOAT Model, which compiles without torch; otherwise a torch.export
    archive. `example_inputs` is one tensor [batch, ...] (or a tuple of one); up to 512 rows of
    `calibration` [N, ...] travel with it. `dropout`: "active" or "off" for dropout modules that
    eval() switched off. What `prepare_qat` or `finetune` gave, or another Model, needs a .qbnn, and
    no example. Raises UserError, and writes nothing, if the network cannot be compiled.
    """
    if (known := known_model(module)) is not None:
        _save_model(known if calibration is None else with_calibration(known, calibration), path)
        return
    require("torch", what="qbnnc.save")
    if Path(path).suffix == ".onnx":
        raise FileError("save writes .pt or .qbnn; to get ONNX use qbnnc.compile", path)
    if isinstance(module, Model | Sequence):
        raise InputError("module: a list that holds more than fine-tuned members; save one by one")
    if example_inputs is None:
        raise InputError("example_inputs: a module needs a batch to be traced with")
    from qbnnc.frontend import read_module, save_program

    if Path(path).suffix == ".qbnn":
        model = float_model((read_module(module, example_inputs, dropout=dropout),), None)
        format.save(model if calibration is None else with_calibration(model, calibration), path)
        return
    if calibration is not None:
        graph = read_module(module, example_inputs, dropout=dropout)
        calibration = with_calibration(float_model((graph,), None), calibration).calibration
    save_program(module, os.fspath(path), example_inputs, calibration=calibration, dropout=dropout)


def _save_model(model: Model, path: Path_) -> None:
    if Path(path).suffix != ".qbnn":
        raise FileError("a fine-tuned network is saved as .qbnn: give a name that ends so", path)
    format.save(model, path)


def compile(
    source: nn.Module | Model | Path_ | Sequence[nn.Module | Model | Path_],
    outputs: Path_ | Sequence[Path_],
    *,
    calibration: ArrayLike | None = None,
    samples: int | None = None,
    task: str | None = None,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    watch: Watch | None = None,
    **making: Unpack[Making],
) -> Model:
    """Compile a network to the artefacts `outputs` (suffix .onnx or .qbnn); returns the Model.

    `source`: a module, a file (see README: exported program, weights with `model`, .qbnn), a Model,
    what `prepare_qat` gave, or the members of an ensemble: several files, or a folder of them.
    `making`: bits and all else that decides the integers, see qbnnc.making.Making. `calibration`
    [N, *shape]: 100 or more typical inputs, of which 512, evenly spaced, are used. `samples`: L
    (default 20; 1 where nothing is random), of an ensemble the draws of each member. `task`:
    "raw", "classification" or "regression". A compiled .qbnn is only written in other formats, with
    other samples or another task: options about its making are refused. So are they for a
    fine-tuned one, whose ranges are decided.

    Raises UserError: the text says where, what is wrong and what to do. Nothing is written then.
    """
    paths = check_outputs([outputs] if isinstance(outputs, str | os.PathLike) else outputs)
    options = options_from(making, samples, task)
    reading = SourceOptions(model, model_args or {}, dropout, trust_pickle)
    trained = read(source, calibration, reading)
    if trained.stage is not Stage.FLOAT:
        given = given_options(making) + ["--calib"] * (calibration is not None)
        _refuse_remaking(given, trained.stage)
        compiled = relabel(trained, options)
        if compiled.stage is Stage.SIMULATED:
            compiled = lower_model(compiled, watch)
    else:
        rows = calibration_of(trained)
        warn_of_few(len(rows))
        compiled = quantise_model(trained, rows, options, version=COMPILER, watch=watch)
    write_artefacts(compiled, paths)
    return compiled


def _refuse_remaking(given: Sequence[str], stage: Stage) -> None:
    done = "compiled" if stage is Stage.INTEGER else "fine-tuned"
    if given:
        raise UserError(
            f"the source: {done} already, and its integers stay as they are; leave {given[0]} out, "
            "or compile the trained model again"
        )
