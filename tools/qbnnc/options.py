"""Options that decide the integers of a network, as users give them."""

from __future__ import annotations

from qbnnc.ir.head import Task
from qbnnc.passes.options import (
    Bits,
    CompileOptions,
    MaskSharing,
    Quantisation,
    Rounding,
    Scales,
    WeightScheme,
)
from qbnnc.passes.pipeline import Options
from qbnnc.passes.ranges.calibrate import Calibration, Observer
from qbnnc.support import limits
from qbnnc.support.errors import UserError
from qbnnc.support.inputs import as_integer, choice, whole


def options_from(
    given: CompileOptions,
    samples: int | None = None,
    task: str | None = None,
    bits: str = "w8a7",
) -> Options:
    """The pipeline's options; UserError for a choice that is none. `bits` is their default."""
    if unknown := given.keys() - CompileOptions.__annotations__.keys():
        known = ", ".join(CompileOptions.__annotations__)
        raise UserError("there is no such option", place=min(unknown), remedy=f"there are {known}")
    return Options(
        quantisation_from(given, bits),
        None if samples is None else whole("samples", samples, 1, limits.DRAWS.most),
        None if task is None else choice("task", Task, task),
        _calibration(given),
    )


def quantisation_from(given: CompileOptions, bits: str = "w8a7") -> Quantisation:
    """Bits, scales, schemes; UserError for a choice that is none."""
    rounding, input_bits = given.get("rounding"), given.get("input_bits")
    layers = given.get("layers") or {}
    return Quantisation(
        Bits.parse(given.get("bits") or bits),
        choice("weights", WeightScheme, given.get("weights") or _DEFAULT_WEIGHTS),
        choice("scales", Scales, given.get("scales") or Scales.FREE.value),
        bool(given.get("quantise_output")),
        choice(
            "mask_sharing",
            MaskSharing,
            given.get("mask_sharing") or MaskSharing.ROW.value,
        ),
        {layer: Bits.parse(its) for layer, its in layers.items()},
        None if input_bits is None else whole("input_bits", input_bits, 2, 8),
        None if rounding is None else choice("rounding", Rounding, rounding),
        given.get("bias_correction"),
    )


_DEFAULT_WEIGHTS = WeightScheme.CHANNEL_SYMMETRIC.value


def _calibration(given: CompileOptions) -> Calibration:
    observer, passes = given.get("observer"), given.get("calibration_passes")
    return Calibration(
        None if observer is None else choice("observer", Observer, observer),
        whole("calibration_passes", 8 if passes is None else passes, 1),
        as_integer(given.get("calibration_seed") or 0, "`calibration_seed`"),
    )


def given_options(given: CompileOptions) -> list[str]:
    """The names of the options that were given."""
    return [name for name, value in given.items() if value is not None and value != {}]
