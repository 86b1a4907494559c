"""From what a user names, files or arrays, to a fine-tuning that can run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from numpy.typing import ArrayLike

from qbnnc.backends.torch.training.losses import check_loss, task_for
from qbnnc.backends.torch.training.settings import Training
from qbnnc.backends.torch.training.tune import FineTuning, Labels, Rows
from qbnnc.evaluation.data import RawData, as_inputs, fit, has_labels, read_training
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.loading.sources import SourceOptions, float_source, with_calibration
from qbnnc.passes.pipeline import Options
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from torch import nn

Path_: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = "nn.Module | Path_ | Sequence[Path_] | Model"
Labelled: TypeAlias = "Path_ | tuple[ArrayLike, ArrayLike] | ArrayLike"


def prepare(
    source: Source,
    data: Labelled,
    options: Options,
    training: Training,
    *,
    validation: Labelled | None = None,
    calibration: ArrayLike | None = None,
    reading: SourceOptions,
    device: str = "cpu",
) -> FineTuning:
    """See `qbnnc.finetune`; UserError for a network or data that do not fit."""
    labels = training.loss.needs_labels
    given = read_training(data, labels=labels)
    as_inputs(given.x, given.x.shape[1:], given.x_name)
    model = float_source(source, given.x if calibration is None else calibration, reading)
    check_loss(training.loss, model)
    if options.task is None:
        options = replace(options, task=task_for(training.loss, model))
    x, y = _fitted(given, model, options)
    if calibration is None:
        model = with_calibration(model, x)
    held = None
    if validation is not None:
        held = _fitted(read_training(validation, labels=labels), model, options)
    return FineTuning(
        model, x, y, options, training, validation=held, version=COMPILER, device=device
    )


def _fitted(raw: RawData, model: Model, options: Options) -> tuple[Rows, Labels | None]:
    shape, output = model.graph.input.type.shape, model.graph.outputs[0].type.shape
    if not has_labels(raw) or options.task in (None, Task.RAW):
        return as_inputs(raw.x, shape, raw.x_name), None
    labelled = fit(raw, shape, output, options.task)
    return labelled.x, labelled.y
