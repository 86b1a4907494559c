"""Options of quantisation: bits, scales, ranges and rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import click

from qbnnc.cli.common import options
from qbnnc.passes.options import CompileOptions, MaskSharing, Rounding, Scales, WeightScheme
from qbnnc.passes.ranges.calibrate import Observer
from qbnnc.support.errors import UserError

bits_option = click.option(
    "--bits",
    metavar="wNaM",
    help="Use N bits for weights and M for activations; compile takes auto too.  [default: w8a7]",
)
"""--bits wNaM."""

quantisation_options = options(
    click.option(
        "--weights",
        type=click.Choice([w.value for w in WeightScheme]),
        help="Choose the granularity of weight scales.  [default: channel-symmetric; "
        "channel-affine for weights of 3 bits or less]",
    ),
    click.option(
        "--scales",
        type=click.Choice([s.value for s in Scales]),
        help="Allow any scale, or powers of two, which are shifts.  [default: free]",
    ),
    click.option(
        "--input-bits",
        type=click.IntRange(2, 8),
        metavar="N",
        help="Use so many bits for the network's input.  [default: 8]",
    ),
    click.option(
        "--outer-bits",
        type=click.IntRange(2, 8),
        metavar="N",
        help="Use so many bits for the activations of the first and the last hidden layer.  "
        "[default: 8 if others have 6 or less]",
    ),
    click.option(
        "--residual-bits",
        type=click.IntRange(2, 8),
        metavar="N",
        help="Use so many bits for residual sums, what they add and what is concatenated.  "
        "[default: those of activations, at least 7; 8 if only sums and norms read them]",
    ),
    click.option(
        "--quantise-output", is_flag=True, help="Quantise the outputs of the network too."
    ),
    click.option(
        "--mask-sharing",
        type=click.Choice([m.value for m in MaskSharing]),
        help="Draw dropout masks for every row, or one for the batch.  [default: row]",
    ),
    click.option(
        "--layer",
        "layers",
        multiple=True,
        metavar="NAME=wNaM",
        help="Use other bits for one layer; repeat for several.",
    ),
    click.option(
        "--calibration",
        "observer",
        type=click.Choice([o.value for o in Observer]),
        help="Choose the observer of ranges.  [default: mse; minmax for weights of 5 bits or more]",
    ),
    click.option(
        "--stretch",
        type=click.FloatRange(1, 10),
        metavar="X",
        help="Let mse also see rows that are so many times as far from the mean; 1 is none.  "
        "[default: 1.5]",
    ),
    click.option(
        "--equalise/--no-equalise",
        default=None,
        help="Bring channels that share a scale to similar ranges, which changes no output of the "
        "float network.  [default: on]",
    ),
    click.option(
        "--calibration-passes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Observe so many samples.  [default: 8]",
    ),
    click.option(
        "--calibration-seed",
        type=int,
        metavar="N",
        help="Observe samples of this seed.  [default: 0]",
    ),
    click.option(
        "--rounding",
        type=click.Choice([r.value for r in Rounding]),
        help="Round weights to the nearest value, or fit them to the layers' outputs.  "
        "[default: by bits]",
    ),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=None,
        help="Move biases so that layers keep their means.  [default: by bits]",
    ),
)
"""All other `qbnnc.options.CompileOptions`; a command takes them as `**compile_options`."""


def chosen_options(given: Mapping[str, object]) -> CompileOptions:
    """The compile options that were given to a command, by name.

    UserError for a wrong --layer.
    """
    chosen = {name: given[name] for name in CompileOptions.__annotations__ if name in given}
    layers = chosen.get("layers")
    assert isinstance(layers, tuple)
    chosen["layers"] = parse_layers(layers) or None
    chosen["quantise_output"] = chosen.get("quantise_output") or None
    return cast(
        CompileOptions, {name: value for name, value in chosen.items() if value is not None}
    )


def parse_layers(texts: tuple[str, ...]) -> dict[str, str]:
    """ "conv1=w8a8" -> {"conv1": "w8a8"}.

    >>> parse_layers(("conv1=w8a8", "layers.0.fc=w4a4"))
    {'conv1': 'w8a8', 'layers.0.fc': 'w4a4'}
    """
    pairs = [text.partition("=") for text in texts]
    for text, (layer, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not layer:
            raise UserError("write NAME=wNaM, such as conv1=w8a8", place=f"--layer {text!r}")
    return {layer: bits for layer, _, bits in pairs}
