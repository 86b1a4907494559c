"""Evaluating files, and models in memory, side by side on the same data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from numpy.typing import ArrayLike

from qbnnc.evaluation.data import (
    Floats,
    LabelledData,
    RawData,
    as_inputs,
    check_rows,
    fit,
    looks_like_labels,
)
from qbnnc.evaluation.measurable import check_measurable, measurable
from qbnnc.evaluation.reading import pair, read_ood, read_raw
from qbnnc.ir.head import Task, class_shape
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.loading.clipping import clipped_share
from qbnnc.loading.sources import MOST_ROWS, Dropout, SourceOptions
from qbnnc.passes.head.mean_and_variance import mean_and_variance_axis
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.inputs import as_integer, choice
from qbnnc.support.several_inputs import Arrays

if TYPE_CHECKING:
    from torch import nn

    from qbnnc.evaluation.predictors import FloatPredictor
    from qbnnc.evaluation.score import Scores
    from qbnnc.loading.artefacts import Predictor

Path_: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = "Path_ | Model | nn.Module"
Progress = Callable[[str, int, int], None]
FLOAT = "float32"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model's scores; `name` is its path, `bits` "w8a7", "w8a7 simulated" or "float32".

    `clipped` is the share of input values beyond the range of its calibration.
    """

    name: str
    method: str
    bits: str
    clipped: float
    scores: Scores


def evaluate_files(
    models: Source | Sequence[Source],
    data: Path_ | tuple[Arrays, ArrayLike],
    *,
    ood: Path_ | ArrayLike | None = None,
    task: str | None = None,
    seeds: Sequence[int] = (0,),
    samples: int | None = None,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    batch_size: int = 256,
    metrics: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Error, likelihood, calibration and uncertainty of `models` on labelled `data`.

    `models`: one or several compiled artefacts, modules, Models, or files that `qbnnc.compile`
    reads. The options `model`, `model_args`, `dropout`, `trust_pickle`, `output_names` and
    `member_axis` say how a float model is read. `data`: "FILE.npz[:XKEY,YKEY]" or (x [N, ...], y).
    Labels y are 0..K-1. Targets y are standardised as the network was trained; `target_mean` and
    `target_std` then give metrics in the user's units. `ood`: out-of-distribution inputs,
    "FILE.npz[:KEY]" or an array. `task`: for models that do not know theirs. `samples`: L of what
    is random; a float model has as many as the first artefact by default. Returns an Evaluation for
    each model, in order: see qbnnc.evaluation.score.Scores. `metrics` are names that must be among
    them, which is checked before the work. Beside a float model, the others are compared with it:
    see qbnnc.evaluation.fidelity.compared. Its own comparison is that of its seeds, if there are
    more. UserError says what is wrong, and with which file.
    """
    from qbnnc.evaluation.score import TargetUnits, check_task, evaluate

    sources = _several(models)
    raw = _raw(data)
    check_rows(raw)
    options = SourceOptions.of(model, model_args, dropout, trust_pickle, output_names, member_axis)
    wanted = None if task is None else choice("task", Task, task)
    predictors = _open(sources, raw, options, wanted)
    chosen = _task(task, predictors, raw)
    check_measurable(metrics, _measurable(predictors, chosen, ood is not None))
    numbers = [as_integer(seed, "`seeds`") for seed in seeds]
    TargetUnits(target_mean, target_std).check()
    evaluations = []
    for source, predictor in zip(sources, predictors, strict=True):
        its, name = predictor.model, _name(source)
        with _at(name):
            check_task(its, chosen)
        labelled, unknown = _fitted(raw, ood, its, chosen)
        with _at(name):
            scores = evaluate(
                predictor,
                labelled,
                task=chosen,
                seeds=numbers,
                samples=samples,
                ood=unknown,
                target_mean=target_mean,
                target_std=target_std,
                batch_size=batch_size,
                progress=None if progress is None else partial(progress, name),
            )
        clipped = clipped_share(its, labelled.x)
        evaluations.append(Evaluation(name, its.method, _bits(its), clipped, scores))
    return _compared(evaluations)


def _measurable(predictors: Sequence[Predictor], task: Task, ood: bool) -> tuple[str, ...]:
    """The metrics that all but a first float network will have."""
    floats = [p.model.stage is Stage.FLOAT for p in predictors]
    others = [p.model for p, is_float in zip(predictors, floats, strict=True) if not is_float]
    telling = [
        len(m.graph.outputs) > 1 or mean_and_variance_axis(m.graph) is not None for m in others
    ]
    return measurable(
        task,
        ood=ood,
        aleatoric=any(telling) or not others,
        compared=any(floats) and len(floats) > 1,
    )


def _compared(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Compare the others with the first float network, and its seeds with each other."""
    from qbnnc.evaluation.fidelity import with_fidelity, with_noise

    first = next((e for e in evaluations if e.bits == FLOAT), None)
    if first is None or len(evaluations) == 1:
        return evaluations
    return [
        replace(
            e, scores=with_noise(e.scores) if e is first else with_fidelity(e.scores, first.scores)
        )
        for e in evaluations
    ]


def _several(models: Source | Sequence[Source]) -> list[Source]:
    if not isinstance(models, Sequence) or isinstance(models, str):
        return [models]
    if not models:
        raise InputError("none is named", place="the models", remedy="give one or more")
    return list(models)


def _raw(data: Path_ | tuple[Arrays, ArrayLike]) -> RawData:
    if isinstance(data, str | os.PathLike):
        return read_raw(os.fspath(data))
    return pair(data, "the data", "x", "y")


def _open(
    sources: list[Source], raw: RawData, options: SourceOptions, task: Task | None
) -> list[Predictor]:
    """Compiled artefacts first: they tell the shape in which weights are traced, and L."""
    from qbnnc.evaluation.predictors import is_compiled, open_compiled, open_float

    opened: dict[int, Predictor] = {}
    for index, source in enumerate(sources):
        if is_compiled(source):
            opened[index] = open_compiled(source)
    if len(opened) == len(sources):
        _refuse_unused(options)
    first = next(iter(opened.values()), None)
    rows = _example(raw, None if first is None else first.model)
    drawn = next((p.samples for p in opened.values() if p.model.stochastic), None)
    wanted, compiled = None if task is Task.RAW else task, [p.model for p in opened.values()]
    for index, source in enumerate(sources):
        if index not in opened:
            with _at(_name(source)):
                made = open_float(source, rows, options, wanted, compiled)
            opened[index] = made if drawn is None else _with_samples(made, drawn)
    return [opened[index] for index in range(len(sources))]


def _example(raw: RawData, first: Model | None) -> Arrays:
    """Rows with which a module is traced, in the shape that a compiled network takes."""
    if isinstance(raw.x, Mapping):
        return {name: array[:MOST_ROWS] for name, array in raw.x.items()}
    shape = raw.x.shape[1:] if first is None else first.graph.input.type.shape
    return as_inputs(raw.x[:MOST_ROWS], shape, raw.x_name)


def _fitted(
    raw: RawData, ood: Path_ | ArrayLike | None, model: Model, task: Task
) -> tuple[LabelledData, Floats | None]:
    """The labelled data and the unknown inputs, as a model takes them."""
    shape, output = model.graph.input.type.shape, model.graph.outputs[0].type.shape
    labelled = fit(raw, shape, output, task, model.inputs)
    return labelled, read_ood(ood, shape, "ood", model.inputs)


def _refuse_unused(options: SourceOptions) -> None:
    for name in (*options.given(), *["output_names"] * bool(options.outputs)):
        raise UserError(
            "says how a float model is read, and all of these are compiled",
            place=f"`{name}`",
            remedy="name a float model too, or leave the option out",
        )


def _with_samples(predictor: FloatPredictor, samples: int) -> FloatPredictor:
    """With as many samples as what it is compared with, where its members divide them."""
    shared = predictor.model.stochastic and samples % len(predictor.model.members) == 0
    return replace(predictor, samples=samples) if shared else predictor


def _task(option: str | None, predictors: list[Predictor], raw: RawData) -> Task:
    """The option's, or the one that the models know; UserError that says how to give it."""
    if option is not None:
        return choice("task", Task, option)
    known = {p.model.head.task for p in predictors} - {Task.RAW}
    if len(known) == 1:
        return known.pop()
    if known:
        raise UserError(
            "some classify and some regress", place="the models", remedy="evaluate them apart"
        )
    outputs = [v.type.shape for v in predictors[0].model.graph.outputs]
    if len(outputs) == 1 and looks_like_labels(raw.y, outputs[0]):
        likely, why = (
            "classification",
            f"{raw.y_name} looks like labels of {class_shape(outputs[0])[0]} classes",
        )
    else:
        likely, why = "regression", f"{raw.y_name} does not look like labels"
    other = "regression" if likely == "classification" else "classification"
    raise UserError(
        "the models do not say what their outputs are",
        place="`task`",
        remedy=f"give `task='{likely}'` ({why}) or `task='{other}'`",
    )


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return type(source).__name__


def _bits(model: Model) -> str:
    if model.stage is Stage.FLOAT:
        return FLOAT
    return model.provenance.bits + " simulated" * (model.stage is Stage.SIMULATED)


@contextmanager
def _at(name: str) -> Iterator[None]:
    """Errors tell which of the models they are about."""
    try:
        yield
    except FileError:
        raise  # which tells its own path
    except UserError as error:
        if str(error.place) == name:
            raise
        raise error.within(name) from None
