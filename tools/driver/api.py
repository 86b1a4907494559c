"""The public API: save a trained network, compile it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.emission import check_outputs, write_artefacts
from qbnnc.extras import require
from qbnnc.ir import format
from qbnnc.ir.errors import InputError, UserError
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.passes.calibrate import Calibration, Observer
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Scales, WeightScheme
from qbnnc.passes.pipeline import Options, Watch, quantise_model, relabel
from qbnnc.sources import (
    FEW_ROWS,
    Dropout,
    SourceOptions,
    calibration_of,
    float_model,
    read_source,
    read_trained,
    with_calibration,
)
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from torch import Tensor, nn

Path_: TypeAlias = str | os.PathLike[str]
E = TypeVar("E", bound=Enum)


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
    quantise_outputs: bool = False,
    mask_sharing: str | None = None,
    layers: Mapping[str, str] | None = None,
    observer: str = Observer.MINMAX.value,
    calibration_passes: int = 8,
    calibration_seed: int = 0,
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
    typical inputs. `samples`: L (default 20; 1 where nothing is random), of an ensemble the draws
    of each member. `task`: "raw", "classification" or "regression". An INTEGER source is only
    written in other formats, so that options about its making are refused.

    Raises UserError: the text says where, what is wrong and what to do. Nothing is written then.
    """
    paths = check_outputs([outputs] if isinstance(outputs, str | os.PathLike) else outputs)
    quantisation = Quantisation(
        Bits() if bits is None else Bits.parse(bits),
        _choice(WeightScheme, weights or WeightScheme.CHANNEL_SYMMETRIC.value),
        _choice(Scales, scales or Scales.FREE.value),
        quantise_outputs,
        _choice(MaskSharing, mask_sharing or MaskSharing.ROW.value),
        {layer: Bits.parse(its) for layer, its in (layers or {}).items()},
    )
    options = Options(
        quantisation,
        samples,
        None if task is None else _choice(Task, task),
        Calibration(_choice(Observer, observer), calibration_passes, calibration_seed),
    )
    reading = SourceOptions(model, model_args or {}, dropout, trust_pickle)
    trained = _read(source, calibration, reading)
    if trained.stage is Stage.INTEGER:
        making: dict[str, object] = {
            "scales": scales,
            "mask_sharing": mask_sharing,
            "layers": layers or None,
        }
        making |= {"bits": bits, "weights": weights, "calibration": calibration}
        _refuse_remaking(making | {"quantise_outputs": quantise_outputs or None})
        compiled = relabel(trained, options)
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


def _read(source: object, rows: ArrayLike | None, options: SourceOptions) -> Model:
    if isinstance(source, Model):
        return source if rows is None else with_calibration(source, rows)
    paths = [source] if isinstance(source, str | os.PathLike) else source
    if isinstance(paths, Sequence) and all(isinstance(p, str | os.PathLike) for p in paths):
        return read_source(paths, None if rows is None else np.asarray(rows), options)
    if rows is None:
        raise InputError("a module is compiled with calibration=x, 100 or more typical inputs")
    return read_trained(source, rows, options.dropout)  # type: ignore[arg-type]


def _refuse_remaking(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name}: the file is compiled already, and its integers stay as they are; "
                "compile the trained model again to change them"
            )


def _choice(kind: type[E], value: str) -> E:
    """The member of an enum by its value; UserError that lists them."""
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise UserError(f"{value!r} is not one of: {choices}") from None
