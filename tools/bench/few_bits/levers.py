"""The levers: named sets of compile options, switched on one by one.

A lever keeps what the levers before it have set. An option that it sets to None goes back to its
default. So the last lever of PTQ is the default itself, and a new lever costs one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

import qbnnc
from qbnnc.ir.model import Model
from qbnnc.options import options_from
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.passes.pipeline import lower_model, quantise_model
from tools.bench.few_bits.data import Floats

ACTIVATIONS = "as activations"  # the value of an option that is so many bits


@dataclass(frozen=True, slots=True)
class Lever:
    """A row of the table, and the options that it changes."""

    name: str
    title: str
    changes: Mapping[str, object] = field(default_factory=dict)


LEVERS = (
    Lever(
        "nearest",
        "minimum and maximum, nearest",
        {
            "observer": "minmax",
            "rounding": "nearest",
            "bias_correction": False,
            "input_bits": ACTIVATIONS,
            "outer_bits": ACTIVATIONS,
            "residual_bits": ACTIVATIONS,
            "weights": "channel-symmetric",
            "equalise": False,
            "stretch": 1.0,
        },
    ),
    Lever("mse", "ranges of least squared error", {"observer": None}),
    Lever(
        "fitted", "weights fitted, biases corrected", {"rounding": None, "bias_correction": None}
    ),
    Lever("input", "input of 8 bits", {"input_bits": None}),
    Lever("residual", "residual sums and joined values of 7 bits or more", {"residual_bits": None}),
    Lever("equalised", "channels equalised", {"equalise": None}),
    Lever("stretched", "ranges of stretched rows too", {"stretch": None}),
    Lever("affine", "affine weights at 3 bits or less", {"weights": None}),
    Lever("default", "first and last hidden layer at 8 bits: the default", {"outer_bits": None}),
)
DEFAULT, TUNED = LEVERS[-1].name, "fine-tuned"
# for networks that take long to compile
FEW_LEVERS = "nearest", "mse", "fitted", "input", "residual", DEFAULT


def compiled(
    model: Model,
    bits: str,
    lever: str,
    x_train: Floats,
    y_train: NDArray[np.generic] | None,
) -> Model:
    """The INTEGER Model of a FLOAT one with a lever and all levers before it."""
    if lever == TUNED:
        rows = x_train if y_train is None else (x_train, y_train)
        return lower_model(qbnnc.finetune(model, rows, bits=bits))
    assert model.calibration is not None
    return quantise_model(model, model.calibration, options_from(_options(bits, lever)))


def _options(bits: str, lever: str) -> CompileOptions:
    given: dict[str, object] = {"bits": bits}
    for each in LEVERS:
        given |= each.changes
        if each.name == lever:
            break
    activations = Bits.parse(bits).activations
    chosen = {k: activations if value == ACTIVATIONS else value for k, value in given.items()}
    return cast(CompileOptions, chosen)


def check_levers() -> None:
    """Stop unless the last lever is the default: every option has gone back to it."""
    set_still = [
        name for name, value in _options("w8a7", DEFAULT).items() if value and name != "bits"
    ]
    if set_still:
        raise SystemExit(f"the last lever is not the default: it sets {', '.join(set_still)}")
