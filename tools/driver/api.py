"""The public API: save a trained network, compile it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from numpy.typing import ArrayLike

from qbnnc.choices import choice, whole
from qbnnc.emission import check_outputs, write_artefacts
from qbnnc.extras import require
from qbnnc.ir import format
from qbnnc.ir.errors import FileError, UserError
from qbnnc.ir.head import Task
from qbnnc.ir.inputs import as_integer
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.passes.calibrate import Calibration, Observer
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Scales, WeightScheme
from qbnnc.passes.pipeline import Options, Watch, lower_model, quantise_model, relabel
from qbnnc.sources import (
    FEW_ROWS,
    Dropout,
    SourceOptions,
    calibration_of,
    float_model,
    read,
    with_calibration,
)
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from torch import Tensor, nn

Path_: TypeAlias = str | os.PathLike[str]


class CalibrationWarning(UserWarning):
    """Calibration data that works, but is less than one would wish."""


def save(
    module: nn.Module,
    path: Path_,
    example_inputs: Tensor | Sequence[Tensor],
    *,
    calibration: ArrayLike | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Save a trained network so that it can be compiled without its Python code.

    With the suffix .qbnn a FLOAT Model, which compiles without torch; otherwise a torch.export
    archive. `example_inputs` is one tensor [batch, ...] (or a tuple of one); up to 512 rows of
    `calibration` [N, ...] travel with it. `dropout`: "active" or "off" for dropout modules that
    eval() switched off. Raises UserError, and writes nothing, if the network cannot be compiled.
    """
    require("torch", what="qbnnc.save")
    if Path(path).suffix == ".onnx":
        raise FileError("save writes .pt or .qbnn; to get ONNX use qbnnc.compile", path)
    from qbnnc.frontend import read_module, save_program

    if Path(path).suffix == ".qbnn":
        model = float_model((read_module(module, example_inputs, dropout=dropout),), None)
        format.save(model if calibration is None else with_calibration(model, calibration), path)
        return
    if calibration is not None:
        graph = read_module(module, example_inputs, dropout=dropout)
        calibration = with_calibration(float_model((graph,), None), calibration).calibration
    save_program(module, os.fspath(path), example_inputs, calibration=calibration, dropout=dropout)


def compile(
    source: nn.Module | Path_ | Sequence[Path_] | Model,
    outputs: Path_ | Sequence[Path_],
    *,
    bits: str | None = None,
    calibration: ArrayLike | None = None,
    samples: int | None = None,
    task: str | None = None,
    weights: str | None = None,
    scales: str | None = None,
    quantise_output: bool | None = None,
    mask_sharing: str | None = None,
    layers: Mapping[str, str] | None = None,
    observer: str | None = None,
    calibration_passes: int | None = None,
    calibration_seed: int | None = None,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    watch: Watch | None = None,
) -> Model:
    """Compile a network to the artefacts `outputs` (suffix .onnx or .qbnn); returns the Model.

    `source`: a module, a file (see README: exported program, weights with `model`, .qbnn), a Model,
    or the members of an ensemble: several files, or a folder of them. `bits` "w8a7" (default):
    weights and activations, 2..8 each; `layers` gives layers bits of their own. `weights`,
    `scales`, `mask_sharing`: see qbnnc.passes.options. `calibration` [N, *shape]: 100 or more
    typical inputs, of which 512, evenly spaced, are used; `observer` "minmax" (default) or "ema".
    `samples`: L (default 20; 1 where nothing is random), of an ensemble the draws of each member.
    `task`: "raw", "classification" or "regression". A compiled .qbnn is only written in other
    formats, with other samples or another task: options about its making are refused. So are they
    for a fine-tuned one, whose ranges are decided.

    Raises UserError: the text says where, what is wrong and what to do. Nothing is written then.
    """
    paths = check_outputs([outputs] if isinstance(outputs, str | os.PathLike) else outputs)
    making: dict[str, object] = {
        "--bits": bits,
        "--weights": weights,
        "--scales": scales,
        "--quantise-output": quantise_output,
        "--mask-sharing": mask_sharing,
        "--layer": layers or None,
        "--calib": calibration,
        "--calibration": observer,
        "--calibration-passes": calibration_passes,
        "--calibration-seed": calibration_seed,
    }
    quantisation = Quantisation(
        Bits.parse("w8a7" if bits is None else bits),
        choice("--weights", WeightScheme, weights or WeightScheme.CHANNEL_SYMMETRIC.value),
        choice("--scales", Scales, scales or Scales.FREE.value),
        bool(quantise_output),
        choice("--mask-sharing", MaskSharing, mask_sharing or MaskSharing.ROW.value),
        {layer: Bits.parse(its) for layer, its in (layers or {}).items()},
    )
    how = Calibration(
        choice("--calibration", Observer, observer or Observer.MINMAX.value),
        whole("--calibration-passes", 8 if calibration_passes is None else calibration_passes, 1),
        as_integer(calibration_seed or 0, "--calibration-seed"),
    )
    options = Options(
        quantisation,
        None if samples is None else whole("--samples", samples, 1),
        None if task is None else choice("--task", Task, task),
        how,
    )
    reading = SourceOptions(model, model_args or {}, dropout, trust_pickle)
    trained = read(source, calibration, reading)
    if trained.stage is not Stage.FLOAT:
        _refuse_remaking(making, trained.stage)
        compiled = relabel(trained, options)
        if compiled.stage is Stage.SIMULATED:
            compiled = lower_model(compiled, watch)
    else:
        rows = calibration_of(trained)
        if len(rows) < FEW_ROWS:
            warnings.warn(
                f"{len(rows)} calibration rows are few: with less than {FEW_ROWS} the ranges are "
                "uncertain and accuracy may suffer",
                CalibrationWarning,
                stacklevel=2,
            )
        compiled = quantise_model(trained, rows, options, version=COMPILER, watch=watch)
    write_artefacts(compiled, paths)
    return compiled


def _refuse_remaking(given: Mapping[str, object], stage: Stage) -> None:
    done = "compiled" if stage is Stage.INTEGER else "fine-tuned"
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name}: the file is {done} already, and its integers stay as they are; "
                "compile the trained model again to change them"
            )
