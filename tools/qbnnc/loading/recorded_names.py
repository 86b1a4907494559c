"""Names of a trained network's outputs, as artefacts of it record them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import MEAN, role_of
from qbnnc.ir.types import Stage
from qbnnc.passes.head.assign_head import name_outputs
from qbnnc.passes.recorded_options import recorded_names, with_names
from qbnnc.support.errors import UserError


def named_as_compiled(model: Model, artefacts: Sequence[Model]) -> Model:
    """The FLOAT model with the names that artefacts of such outputs record.

    1. Names that its user has stated hold.
    2. Names that give it outputs of other shapes than the artefact's belong to another network.
    3. UserError if artefacts record names of several orders: nothing is guessed.
    """
    if model.stage is not Stage.FLOAT or (model.head.stated and model.head.outputs):
        return model
    found: dict[tuple[str, ...], Model] = {}
    for artefact in artefacts:
        names = recorded_names(artefact.provenance.options)
        if names and names not in found and (named := _named(model, artefact, names)) is not None:
            found[names] = named
    if len(found) > 1:
        first, second = (",".join(names) for names in [*found][:2])
        raise UserError(
            f"one artefact was compiled with outputs {first}, another with {second}",
            place="`output_names`",
            remedy=f"say `output_names='{first}'` or the other",
        )
    return next(iter(found.values()), model)


def renamed(model: Model, names: tuple[str, ...]) -> Model:
    """The model with the names that its user states, and with what it records of them.

    A compiled regression has its mean first, wherever the trained network has it. Its record keeps
    the trained network's order, under the new names. UserError if the two are to change places and
    there is no record to keep right.
    """
    made = name_outputs(model, names)
    pair = model.head.task is Task.REGRESSION and len(model.graph.outputs) == 2
    if model.stage is Stage.FLOAT or not pair:
        return made
    recorded = recorded_names(model.provenance.options)
    if not recorded and role_of(names[1]) == MEAN:
        raise UserError(
            "compiled already, and it does not record which of its outputs is which of the "
            "trained network's",
            place=f"`output_names` {','.join(names)}",
            remedy="compile the trained model with these names",
        )
    if not recorded:
        return made
    kept = names[::-1] if MEAN in map(role_of, recorded[1:]) else names
    options = with_names(made.provenance.options, kept)
    return replace(made, provenance=replace(made.provenance, options=options))


def _named(model: Model, artefact: Model, names: tuple[str, ...]) -> Model | None:
    """The model with these names; None if they do not fit its outputs, or these the artefact's."""
    try:
        named = name_outputs(model, names)
    except UserError:
        return None
    return named if _shapes(named) == _shapes(artefact) else None


def _shapes(model: Model) -> list[tuple[int, ...]]:
    """The shapes of the outputs, whatever their order: a head may put the mean first."""
    return sorted(value.type.shape for value in model.graph.outputs)
