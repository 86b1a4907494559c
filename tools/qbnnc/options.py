"""What decides the integers of a network, as users give it, in Python and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from qbnnc.ir.head import Task
from qbnnc.passes.calibrate import Calibration, Observer
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Rounding, Scales, WeightScheme
from qbnnc.passes.pipeline import Options
from qbnnc.support import limits
from qbnnc.support.errors import UserError
from qbnnc.support.inputs import as_integer, choice, whole


class Making(TypedDict, total=False):
    """Keyword arguments of everything that quantises; None is the default.

    `bits` "w8a7": weights and activations, 2..8 each; `layers` gives layers bits of their own,
    `input_bits` the network's input. `weights`, `scales`, `quantise_output`, `mask_sharing`: see
    qbnnc.passes.options. `observer` "minmax", "ema" or "mse", `rounding` "nearest" or "fitted",
    `bias_correction`: by bits unless they are given (docs/semantics.md, "How ranges and codes are
    chosen"). Ranges are observed over `calibration_passes` draws at `calibration_seed`.
    """

    bits: str | None
    weights: str | None
    scales: str | None
    input_bits: int | None
    quantise_output: bool | None
    mask_sharing: str | None
    layers: Mapping[str, str] | None
    observer: str | None
    rounding: str | None
    bias_correction: bool | None
    calibration_passes: int | None
    calibration_seed: int | None


_OPTION_NAMES = {"layers": "--layer", "observer": "--calibration"}


def options_from(
    making: Making, samples: int | None = None, task: str | None = None, bits: str = "w8a7"
) -> Options:
    """The pipeline's options; UserError for a choice that is none. `bits` is their default."""
    if unknown := making.keys() - Making.__annotations__.keys():
        known = ", ".join(Making.__annotations__)
        raise UserError(f"{min(unknown)}: there is no such option; there are {known}")
    return Options(
        quantisation_from(making, bits),
        None if samples is None else whole("--samples", samples, 1, limits.DRAWS.most),
        None if task is None else choice("--task", Task, task),
        _calibration(making),
    )


def quantisation_from(making: Making, bits: str = "w8a7") -> Quantisation:
    """Bits, scales, schemes; UserError for a choice that is none."""
    rounding, input_bits = making.get("rounding"), making.get("input_bits")
    layers = making.get("layers") or {}
    return Quantisation(
        Bits.parse(making.get("bits") or bits),
        choice("--weights", WeightScheme, making.get("weights") or _DEFAULT_WEIGHTS),
        choice("--scales", Scales, making.get("scales") or Scales.FREE.value),
        bool(making.get("quantise_output")),
        choice("--mask-sharing", MaskSharing, making.get("mask_sharing") or MaskSharing.ROW.value),
        {layer: Bits.parse(its) for layer, its in layers.items()},
        None if input_bits is None else whole("--input-bits", input_bits, 2, 8),
        None if rounding is None else choice("--rounding", Rounding, rounding),
        making.get("bias_correction"),
    )


_DEFAULT_WEIGHTS = WeightScheme.CHANNEL_SYMMETRIC.value


def _calibration(making: Making) -> Calibration:
    observer, passes = making.get("observer"), making.get("calibration_passes")
    return Calibration(
        None if observer is None else choice("--calibration", Observer, observer),
        whole("--calibration-passes", 8 if passes is None else passes, 1),
        as_integer(making.get("calibration_seed") or 0, "--calibration-seed"),
    )


def given_options(making: Making) -> list[str]:
    """The names on the command line of what was given."""
    given = [name for name, value in making.items() if value is not None and value != {}]
    return [_OPTION_NAMES.get(name, f"--{name.replace('_', '-')}") for name in given]
