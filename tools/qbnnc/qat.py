"""Quantisation-aware training for users: their own loop, or ours."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias, Unpack

from numpy.typing import ArrayLike

from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.loading.sources import Dropout, SourceOptions, read, with_calibration
from qbnnc.options import options_from
from qbnnc.passes.options import CompileOptions
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import calibration_of
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.extras import require
from qbnnc.support.inputs import choice, number, whole
from qbnnc.support.several_inputs import Arrays
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from qbnnc.backends.torch import Simulation
    from qbnnc.backends.torch.training import Training
    from qbnnc.backends.torch.training.tune import FineTuning, Labels, Rows
    from qbnnc.evaluation.data import RawData

Path_: TypeAlias = str | os.PathLike[str]
Labelled: TypeAlias = "Path_ | tuple[Arrays, ArrayLike] | Arrays"


def prepare_qat(
    module: nn.Module | Model,
    example_inputs: Tensor | ArrayLike | None = None,
    *,
    ranges: Literal["ema", "learned"] = "ema",
    decay: float = 0.1,
    train_sigma: bool = False,
    member: int | None = None,
    samples: int | None = None,
    task: str | None = None,
    dropout: Dropout | None = None,
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    **compile_options: Unpack[CompileOptions],
) -> Simulation:
    """The network with simulated quantisation, as a module for a training loop of your own.

    `example_inputs` [N, *shape]: 100 or more typical inputs; they give the ranges to begin with. A
    FLOAT Model has its own. The module's weights are copied, batch normalisation is folded. The
    result is on the module's device.
    `ranges` is "ema" or "learned". "ema" is a moving average of each batch's minimum and maximum.
    A new batch weighs `decay`, in (0, 1]. "learned" moves ranges by gradient. They move in
    train() until `.freeze_ranges()`. Then call `qbnnc.save(qat, "model.qbnn")`, or
    `qbnnc.compile(qat, ["model.onnx"])`. Prepare each `member` of an ensemble by itself, and give
    them the list. Raises UserError as `qbnnc.compile` does.
    """
    require("torch", what="qbnnc.prepare_qat")
    from torch import Tensor

    from qbnnc.backends.torch import Ranges, Simulation

    rows = example_inputs
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    how, weight = choice("ranges", Ranges, ranges), number("decay", decay)
    if not 0 < weight <= 1:
        raise UserError("must be above 0, and 1 at most", place=f"`decay` {weight:g}")
    reading = SourceOptions.of(dropout=dropout, output_names=output_names, member_axis=member_axis)
    module, device = _on_cpu(module)
    model = _member(_float_model(module, rows, reading), member)
    options = options_from(compile_options, samples, task)
    simulated = simulate_model(model, calibration_of(model), options, version=COMPILER)
    made = Simulation(simulated, ranges=how, decay=weight, train_sigma=train_sigma)
    return made.to(device)


def _on_cpu(source: nn.Module | Model) -> tuple[nn.Module | Model, torch.device]:
    """A module on the CPU, a copy if it is elsewhere; and the device where it is."""
    import torch

    if not isinstance(source, torch.nn.Module):
        return source, torch.device("cpu")
    used = {tensor.device for tensor in [*source.parameters(), *source.buffers()]}
    elsewhere = {device for device in used if device.type not in ("cpu", "meta")}
    if not elsewhere:
        return source, torch.device("cpu")
    return copy.deepcopy(source).cpu(), elsewhere.pop()


def _float_model(source: object, rows: Arrays | None, options: SourceOptions) -> Model:
    """The FLOAT Model that will be trained; UserError if it is lowered already."""
    model = read(source, rows, options)
    if model.stage is not Stage.FLOAT:
        done = "compiled" if model.stage is Stage.INTEGER else "fine-tuned"
        raise UserError(
            f"{done} already",
            place="the source",
            remedy="fine-tune the float network it was made of",
        )
    return model


def _member(model: Model, member: int | None) -> Model:
    """The Model of one member alone; of an ensemble somebody must say which."""
    count = len(model.members)
    if member is None and count > 1:
        raise InputError(
            f"the network is an ensemble of {count}",
            place="`member`",
            remedy=f"prepare each, with member=0 to member={count - 1}, and give the list to "
            "qbnnc.compile",
        )
    number = 0 if member is None else whole("member", member, 0, count - 1)
    return replace(model, members=(model.members[number],))


def finetune(
    source: nn.Module | Path_ | Sequence[Path_] | Model,
    data: Labelled,
    *,
    training: Training | None = None,
    validation: Labelled | None = None,
    calibration: Arrays | None = None,
    samples: int | None = None,
    task: str | None = None,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    device: str = "cpu",
    **compile_options: Unpack[CompileOptions],
) -> Model:
    """Fine-tune a network with simulated quantisation; returns the SIMULATED Model.

    `source` is what `qbnnc.compile` takes. `data`: "FILE.npz[:XKEY,YKEY]" or (x, y). x alone is
    enough for the loss "match", the default of `training` (a qbnnc.Training). It is the KL
    divergence from the float network if `task` is "classification" or the outputs are (mu, log
    variance), else the squared error. `validation` is like `data`; without it rows are held out.
    `calibration` [N, *shape] gives the ranges to begin with. Without it the rows in the model's
    file do, or else x. `device` is "cpu", "cuda", another that torch knows, or "auto": cuda where
    there is one. Raises UserError.
    """
    require("torch", what="qbnnc.finetune")
    from qbnnc.backends.torch.training import Training

    job = prepare_finetuning(
        source,
        data,
        options_from(compile_options, samples, task),
        Training() if training is None else training,
        validation=validation,
        calibration=calibration,
        reading=SourceOptions.of(
            model, model_args, dropout, trust_pickle, output_names, member_axis
        ),
        device=device,
    )
    job.run()
    return job.best


def prepare_finetuning(
    source: nn.Module | Path_ | Sequence[Path_] | Model,
    data: Labelled,
    options: Options,
    training: Training,
    *,
    validation: Labelled | None = None,
    calibration: Arrays | None = None,
    reading: SourceOptions,
    device: str = "cpu",
) -> FineTuning:
    """Read what a user names, files or arrays, into a fine-tuning that can run.

    The arguments are those of `qbnnc.finetune`. UserError for a network or data that do not fit.
    """
    require("torch", what="fine-tuning")
    from qbnnc.backends.torch.training.losses import check_loss, task_for
    from qbnnc.backends.torch.training.tune import FineTuning
    from qbnnc.evaluation.data import check_rows
    from qbnnc.evaluation.reading import read_training

    labels = training.loss.needs_labels
    given = read_training(data, labels=labels)
    check_rows(given)
    model = _float_model(source, given.x if calibration is None else calibration, reading)
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
        model, x, y, options, training, validation=held, version=COMPILER, device=_device(device)
    )


def _device(name: str) -> torch.device:
    """A device of torch that is there; "auto" is cuda where there is one, else cpu."""
    import torch

    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device("cuda" if len(there) > 1 else "cpu")
    place, remedy = f"`device` {name}", f"here there is {', '.join(there)}"
    try:
        device = torch.device(name)
    except RuntimeError:  # its text is a long list of devices that hardly anybody has
        raise UserError("no device of torch", place, remedy) from None
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError):  # of no use to a reader either
        raise UserError("cannot be used here", place, remedy) from None
    return device


def _fitted(raw: RawData, model: Model, options: Options) -> tuple[Rows, Labels | None]:
    from qbnnc.evaluation.data import as_inputs, fit, has_labels

    shape, output = model.graph.input.type.shape, model.graph.outputs[0].type.shape
    if not has_labels(raw) or options.task in (None, Task.RAW):
        return as_inputs(raw.x, shape, raw.x_name, model.inputs), None
    labelled = fit(raw, shape, output, options.task, model.inputs)
    return labelled.x, labelled.y
