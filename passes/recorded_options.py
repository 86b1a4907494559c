"""The options of a compile as text, which an artefact keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import cast

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import MEAN, role_of
from qbnnc.passes.options import Bits, CompileOptions, Quantisation
from qbnnc.passes.ranges.calibrate import Calibration

_QUANTISATION = {
    "weights": "weights",
    "scales": "scales",
    "input_bits": "input_bits",
    "outer_bits": "outer_bits",
    "residual_bits": "residual_bits",
    "outputs": "quantise_output",
    "mask_sharing": "mask_sharing",
    "rounding": "rounding",
    "bias_correction": "bias_correction",
    "equalise": "equalise",
    "layers": "layers",
}
_CALIBRATION = {
    "observer": "observer",
    "passes": "calibration_passes",
    "seed": "calibration_seed",
    "stretch": "stretch",
}


_NAMES = "output_names"


def recorded_options(
    quantisation: Quantisation, calibration: Calibration, names: Sequence[str] = ()
) -> str:
    """The `CompileOptions` as JSON: the bits, and what differs from the defaults.

    `names` are those that the user stated for the outputs, in their order.

    >>> recorded_options(Quantisation(Bits(4, 6), equalise=False), Calibration(passes=2))
    '{"bits": "w4a6", "calibration_passes": 2, "equalise": false}'
    """
    usual, usual_calibration = Quantisation(), Calibration()
    chosen: dict[str, object] = {"bits": str(quantisation.bits)}
    for field, option in _QUANTISATION.items():
        if (value := getattr(quantisation, field)) != getattr(usual, field):
            chosen[option] = _plain(value)
    for field, option in _CALIBRATION.items():
        if (value := getattr(calibration, field)) != getattr(usual_calibration, field):
            chosen[option] = _plain(value)
    return with_names(json.dumps(chosen, sort_keys=True), names)


def with_names(text: str, names: Sequence[str]) -> str:
    """Such a text with the names that the user stated; the same text if there are none.

    >>> with_names('{"bits": "w8a7"}', ["log_var", "mean"])
    '{"bits": "w8a7", "output_names": ["log_var", "mean"]}'
    """
    if not names:
        return text
    chosen = json.loads(text) if text else {}
    return json.dumps({**chosen, _NAMES: list(names)}, sort_keys=True)


def read_recorded(text: str) -> CompileOptions:
    """The options of such a text; none of an artefact that keeps none."""
    made: CompileOptions = json.loads(text) if text else {}
    return cast("CompileOptions", {key: value for key, value in made.items() if key != _NAMES})


def recorded_names(text: str) -> tuple[str, ...]:
    """The names of the outputs in such a text, in the order of the trained network's outputs.

    >>> recorded_names('{"bits": "w8a7", "output_names": ["log_var", "mean"]}')
    ('log_var', 'mean')
    """
    return tuple(json.loads(text).get(_NAMES, ())) if text else ()


def as_trained(model: Model) -> Model:
    """A regression's outputs as the trained network gives them, if the artefact records how."""
    names = recorded_names(model.provenance.options)
    if model.head.task is not Task.REGRESSION or len(names) != len(model.graph.outputs):
        return model
    order = (1, 0) if MEAN in map(role_of, names[1:]) else range(len(names))
    members = tuple(
        replace(member, outputs=tuple(member.outputs[i] for i in order)) for member in model.members
    )
    return replace(model, members=members, head=Head(Task.RAW, names, stated=True))


def names_to_record(model: Model) -> tuple[str, ...]:
    """The names of the outputs before a head puts the mean first, if an artefact records them.

    It records those that the user has stated, and those of a module whose mean is not the first.
    """
    names = model.head.outputs
    return names if model.head.stated or MEAN in map(role_of, names[1:]) else ()


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case Bits():
            return str(value)
        case dict():
            return {layer: str(bits) for layer, bits in value.items()}
        case _:
            return value
