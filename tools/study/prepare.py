"""Reading a study: networks that fit each other, and data that fit the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from numpy.typing import ArrayLike

from qbnnc.evaluation.data import RawData, as_inputs, fit, has_labels
from qbnnc.evaluation.reading import Path_, read_ood
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.loading.sources import SourceOptions, read, with_calibration
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.options import Bits
from qbnnc.passes.pipeline import check_layers
from qbnnc.study.settings import Settings, Study
from qbnnc.support.errors import UserError
from qbnnc.support.inputs import choice


@dataclass(frozen=True, slots=True)
class Network:
    """A source that `qbnnc.compile` takes (module, file, folder, Model), and how to read it."""

    source: object
    options: SourceOptions = field(default_factory=SourceOptions)


def read_models(networks: Mapping[str, object], training: RawData) -> dict[str, Model]:
    """Read the FLOAT Models, without calibration rows; UserError if their shapes differ."""
    if not networks:
        raise UserError("a sweep needs one network or more")
    models: dict[str, Model] = {}
    for name, given in networks.items():
        network = given if isinstance(given, Network) else Network(given)
        model = read(network.source, training.x, network.options)
        if model.stage is not Stage.FLOAT:
            raise UserError(
                f"quantised already ({model.provenance.bits})",
                name,
                "a sweep begins with the float network",
            )
        models[name] = fitted_by_targets(replace(model, calibration=None))
        shapes, others = (_shapes(m) for m in (model, next(iter(models.values()))))
        if shapes != others:
            raise UserError(
                f"from {shapes}, and {next(iter(models))} is from {others}: networks that are "
                "compared take and give the same",
                name,
                "sweep them one by one",
            )
    return models


def _shapes(model: Model) -> str:
    outputs = ", ".join(str(list(v.type.shape)) for v in model.graph.outputs)
    return f"{list(model.graph.input.type.shape)} to {outputs}"


def task_of(task: str | None, models: Mapping[str, Model]) -> Task:
    """The task that the user asks for, or that of the networks; UserError if neither says."""
    known = {m.head.task for m in models.values()} - {Task.RAW}
    if all(_classifies(model) for model in models.values()):
        known.add(Task.CLASSIFICATION)
    if task is None and len(known) != 1:
        raise UserError("the networks do not say", "`task`", "give classification or regression")
    chosen = known.pop() if task is None else choice("task", Task, task)
    if chosen is Task.RAW:
        raise UserError(
            "a sweep needs metrics", "`task='raw'`", "choose classification or regression"
        )
    for model in models.values():
        with_head(fitted_by_targets(model), chosen)
    return chosen


def _classifies(model: Model) -> bool:
    return with_head(model, None).head.task is Task.CLASSIFICATION


def check_options(
    models: Mapping[str, Model], settings: Settings, bits: Bits, *, qat: bool
) -> None:
    """Raise UserError for an unknown choice, and for a layer or a loss that a network lacks."""
    for name, model in models.items():
        quantisation = settings.options(bits, model).quantisation
        try:
            check_layers(model, quantisation)
            if qat:
                settings.tuning.check(model)
        except UserError as error:
            raise (error.within(name) if len(models) > 1 else error) from None


def study_of(
    models: Mapping[str, Model],
    training: RawData,
    testing: RawData,
    ood: Path_ | ArrayLike | None,
    settings: Settings,
) -> Study:
    """Pack everything that a worker needs; InputError where data and networks do not fit."""
    first = next(iter(models.values()))
    shape, output = first.graph.input.type.shape, first.graph.outputs[0].type.shape
    inputs = as_inputs(training.x, shape, training.x_name)
    calibration = with_calibration(first, inputs).calibration
    assert calibration is not None
    labelled = fit(training, shape, output, settings.task) if has_labels(training) else None
    return Study(
        {name: format.to_bytes(model) for name, model in models.items()},
        calibration,
        inputs,
        None if labelled is None else labelled.y,
        fit(testing, shape, output, settings.task),
        read_ood(ood, shape),
        settings,
    )


def shifted_bits(model: Model, bits: Sequence[Bits]) -> Bits:
    """The most bits, at which images are shifted; UserError if there are no images."""
    shape = model.graph.input.type.shape
    if len(shape) != 3:
        raise UserError(
            f"images are shifted, and the networks take {list(shape)}", "`shifts`", "leave it out"
        )
    return max(bits, key=lambda b: (b.weights + b.activations, b.weights))
