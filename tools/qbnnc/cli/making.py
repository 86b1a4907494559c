"""Options that decide the integers: --bits, --weights, --calibration, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import click

from qbnnc.options import Making
from qbnnc.passes.calibrate import Observer
from qbnnc.passes.options import MaskSharing, Rounding, Scales, WeightScheme
from qbnnc.support.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])


def bits_option(function: F) -> F:
    """--bits wNaM."""
    return click.option(
        "--bits",
        metavar="wNaM",
        help="Bits of weights and activations; compile takes auto too.  [default: w8a7]",
    )(function)


def making_options(function: F) -> F:
    """Everything else in `qbnnc.options.Making`; a command takes them as `**making`."""
    for option in (
        click.option(
            "--bias-correction/--no-bias-correction",
            default=None,
            help="Move biases so that layers keep their means.  [default: by bits]",
        ),
        click.option(
            "--rounding",
            type=click.Choice([r.value for r in Rounding]),
            help="Codes nearest to the weights, or fitted to what layers give.  [default: by bits]",
        ),
        click.option("--calibration-seed", type=int, help="[default: 0]"),
        click.option(
            "--calibration-passes", type=click.IntRange(min=1), help="Draws observed.  [default: 8]"
        ),
        click.option(
            "--calibration",
            "observer",
            type=click.Choice([o.value for o in Observer]),
            help="How ranges are observed.  [default: by bits, mse at few and minmax at many]",
        ),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            metavar="NAME=wNaM",
            help="Other bits for one layer; repeat for several.",
        ),
        click.option(
            "--mask-sharing",
            type=click.Choice([m.value for m in MaskSharing]),
            help="Dropout masks of every row, or one for the batch.  [default: row]",
        ),
        click.option(
            "--quantise-output", is_flag=True, help="Quantise what leaves the network too."
        ),
        click.option(
            "--input-bits",
            type=click.IntRange(2, 8),
            help="Bits of the network's input.  [default: those of activations, at least 7]",
        ),
        click.option(
            "--scales",
            type=click.Choice([s.value for s in Scales]),
            help="Any scale, or powers of two: shifts.  [default: free]",
        ),
        click.option(
            "--weights",
            type=click.Choice([w.value for w in WeightScheme]),
            help="Granularity of weight scales.  [default: channel-symmetric]",
        ),
    ):
        function = option(function)
    return function


def making_of(given: Mapping[str, object]) -> Making:
    """What these options gave to a command, by the names of its parameters; only what was given.

    UserError for a wrong --layer.
    """
    chosen = {name: given[name] for name in Making.__annotations__ if name in given}
    layers = chosen.get("layers")
    assert isinstance(layers, tuple)
    chosen["layers"] = parse_layers(layers) or None
    chosen["quantise_output"] = chosen.get("quantise_output") or None
    return cast(Making, {name: value for name, value in chosen.items() if value is not None})


def parse_layers(texts: tuple[str, ...]) -> dict[str, str]:
    """ "conv1=w8a8" -> {"conv1": "w8a8"}.

    >>> parse_layers(("conv1=w8a8", "layers.0.fc=w4a4"))
    {'conv1': 'w8a8', 'layers.0.fc': 'w4a4'}
    """
    pairs = [text.partition("=") for text in texts]
    for text, (layer, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not layer:
            raise UserError(f"--layer {text!r}: write NAME=wNaM, such as conv1=w8a8")
    return {layer: bits for layer, _, bits in pairs}
