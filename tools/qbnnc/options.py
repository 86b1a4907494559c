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
    weights, outer_bits = given.get("weights"), given.get("outer_bits")
    residual_bits, layers = given.get("residual_bits"), given.get("layers") or {}
    return Quantisation(
        Bits.parse(given.get("bits") or bits),
        None if weights is None else choice("weights", WeightScheme, weights),
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
        None if outer_bits is None else whole("outer_bits", outer_bits, 2, 8),
        given.get("equalise") is not False,
        None if residual_bits is None else whole("residual_bits", residual_bits, 2, 8),
    )


_LARGEST_STRETCH = 10.0


def _calibration(given: CompileOptions) -> Calibration:
    observer, passes = given.get("observer"), given.get("calibration_passes")
    return Calibration(
        None if observer is None else choice("observer", Observer, observer),
        whole("calibration_passes", 8 if passes is None else passes, 1),
        as_integer(given.get("calibration_seed") or 0, "`calibration_seed`"),
        stretch=_stretch(given.get("stretch")),
    )


def _stretch(given: float | None) -> float:
    factor = 1.5 if given is None else float(given)
    if not 1 <= factor <= _LARGEST_STRETCH:
        raise UserError(f"give 1 to {_LARGEST_STRETCH:g}", place=f"`stretch` {given}")
    return factor


def given_options(given: CompileOptions) -> list[str]:
    """The names of the options that were given."""
    return [name for name, value in given.items() if value is not None and value != {}]
