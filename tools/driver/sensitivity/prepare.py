"""From what a user gives to a bench: networks, data and options that fit each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.choices import whole
from qbnnc.evaluation.data import LabelledData, fit
from qbnnc.evaluation.inputs import Labelled, Path_, read_confusion, read_labelled
from qbnnc.evaluation.score import TargetUnits
from qbnnc.ir.errors import InputError, UserError
from qbnnc.ir.inputs import as_integer
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.passes.heads import fitted_by_targets
from qbnnc.passes.pipeline import Options, check_calibration
from qbnnc.sensitivity.bench import Bench
from qbnnc.sensitivity.compiling import Compiler
from qbnnc.sources import calibration_of
from qbnnc.sweep.prepare import task_of


@dataclass(frozen=True, slots=True)
class Setting:
    """On what and how networks are measured, as the user gave it.

    `data` are "FILE.npz[:XKEY,YKEY]" or (x, y), of which `rows`, evenly spaced, are used (None:
    all); `ood` is "FILE[:KEY]" or x; `units` are those of a regression's targets.
    """

    data: Labelled
    ood: Path_ | ArrayLike | None = None
    seeds: Sequence[int] = (0,)
    rows: int | None = None
    units: TargetUnits = field(default_factory=TargetUnits)


def bench_of(model: Model, name: str, setting: Setting, options: Options) -> Bench:
    """A FLOAT Model, with its calibration rows, ready to be compiled at many bits and measured.

    UserError, with the place, where anything does not fit.
    """
    if model.stage is not Stage.FLOAT:
        raise UserError(
            f"{name}: quantised already ({model.provenance.bits}); give the float network"
        )
    setting.units.check()
    seeds = _seeds(setting.seeds)
    chosen = None if options.task is None else options.task.value
    task = task_of(chosen, {name: model})
    model = fitted_by_targets(model)
    shape, output = model.graph.input.type.shape, model.graph.outputs[0].type.shape
    data = fit(read_labelled(setting.data, "the data"), shape, output, task)
    ood = read_confusion(setting.ood, shape)
    rows = check_calibration(model, calibration_of(model))
    compiler = Compiler.of(model, rows, replace(options, task=task))
    return Bench(model, task, compiler, _some(data, setting.rows), ood, seeds, setting.units)


def place_of(source: object) -> str:
    """What errors call a network: its file, or the first of several, as it was given."""
    first = source[0] if isinstance(source, list | tuple) and source else source
    return os.fspath(first) if isinstance(first, str | os.PathLike) else title_of(source)


def title_of(source: object) -> str:
    """What rows call a network: a file's name, without its folders and suffix."""
    first = source[0] if isinstance(source, list | tuple) and source else source
    if isinstance(first, str | os.PathLike):
        stem = os.path.splitext(os.path.basename(os.path.abspath(first)))[0]
        return stem or os.fspath(first)
    return "the model" if isinstance(source, Model) else type(source).__name__


def _seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(dict.fromkeys(as_integer(seed, "--seed") for seed in seeds))
    if not chosen:
        raise InputError("--seed: give one or more")
    return chosen


def _some(data: LabelledData, rows: int | None) -> LabelledData:
    if rows is None or whole("--rows", rows, 1) >= len(data):
        return data
    kept = np.linspace(0, len(data) - 1, rows).round().astype(np.int64)
    return LabelledData(data.x[kept], data.y[kept])
