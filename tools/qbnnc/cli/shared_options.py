"""Options that several commands share: reading a network, quantisation, drawing, output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import cast

import click

from qbnnc.cli.common import options
from qbnnc.loading.sources import Dropout, Reading
from qbnnc.passes.options import CompileOptions, MaskSharing, Rounding, Scales, WeightScheme
from qbnnc.passes.ranges.calibrate import Observer
from qbnnc.support.errors import UserError
from qbnnc.verification.distribution import DistributionCheck

input_option = click.option(
    "--input",
    "input_",
    required=True,
    metavar="FILE[:KEY]",
    help="Read the inputs, [batch, ...], from a .npy file, or from an array of an .npz file.",
)
"""--input FILE[:KEY]."""

drawing_options = options(
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="L",
        help="Draw so many Monte-Carlo samples; for an ensemble give a multiple of its "
        "members. [default: as compiled; .onnx: no more than that]",
    ),
    click.option(
        "--first-row",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Count rows from this number, for a batch that is split.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Compute so many rows at a time; this changes speed and memory, never the result.",
    ),
)
"""--samples, --first-row, --batch-size: which numbers are drawn, and how much at once."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
"""--json: the table as JSON."""

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
"""-q: say nothing but errors and warnings."""

verbose_option = click.option("-v", "--verbose", is_flag=True, help="Say more.")
"""-v: say more; show the traceback of an internal error."""

_model_options = options(
    click.option(
        "--model",
        "model",
        metavar="PKG.MODULE:FACTORY",
        help="Build the network of a file of weights with this code; the current folder "
        "is searched first.",
    ),
    click.option(
        "--model-args",
        multiple=True,
        metavar="KEY=VALUE,...",
        help="Give these arguments to --model; values are JSON.",
    ),
    click.option(
        "--dropout",
        type=click.Choice(["active", "off"]),
        help="Keep dropout that eval() switched off; or take the network without any dropout.",
    ),
    click.option(
        "--outputs",
        "output_names",
        metavar="NAME,...",
        help="Name the outputs. A regression has mean alone, or mean and one of these: "
        "log_var, variance, std, log_std. One output may hold both as halves.  "
        "[default: the names in a dict or NamedTuple]",
    ),
)


def model_options(function: Callable[..., int]) -> Callable[..., int]:
    """--model, --model-args, --dropout, --outputs: how the network in a file is read.

    The command gets them, with --trust-pickle, as one `reading`.
    """

    @wraps(function)
    def command(
        model: str | None,
        model_args: tuple[str, ...],
        dropout: Dropout | None,
        trust_pickle: bool,
        output_names: str | None,
        **others: object,
    ) -> int:
        reading = Reading(
            model=model,
            model_args=parse_arguments(model_args),
            dropout=dropout,
            trust_pickle=trust_pickle,
            output_names=output_names,
        )
        return function(reading=reading, **others)

    return _model_options(command)


trust_option = click.option(
    "--trust-pickle", is_flag=True, help="Open pickled modules: RUNS CODE from the file."
)
"""--trust-pickle."""


def parse_arguments(texts: tuple[str, ...]) -> dict[str, object]:
    """ "p=0.2,width=8" -> {"p": 0.2, "width": 8}; values are JSON.

    >>> parse_arguments(("p=0.2,sizes=[1,2]", 'name="x"'))
    {'p': 0.2, 'sizes': [1, 2], 'name': 'x'}
    """
    arguments: dict[str, object] = {}
    for text in texts:
        for part in re.split(r",(?=\s*\w+\s*=)", text):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not key.isidentifier():
                raise UserError("write key=value", place=f"--model-args {part!r}")
            if key in arguments:
                raise UserError("given twice", place=f"--model-args {key}")
            try:
                arguments[key] = json.loads(value)
            except ValueError:
                raise UserError(
                    "the value is no JSON",
                    place=f"--model-args {part!r}",
                    remedy=f"write numbers as 0.2, truth as true, and text as '{key}=\"{value}\"'",
                ) from None
    return arguments


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
        help="Use so many bits for the network's input.  [default: 8]",
    ),
    click.option(
        "--member-bits",
        type=click.IntRange(2, 8),
        help="Use so many bits for the activations of the first and the last hidden layer of an "
        "ensemble.  [default: 8 if others have 6 or less]",
    ),
    click.option(
        "--residual-bits",
        type=click.IntRange(2, 8),
        help="Use so many bits for residual sums and what they add.  [default: those of "
        "activations, at least 7]",
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
        help="Observe so many samples.  [default: 8]",
    ),
    click.option(
        "--calibration-seed", type=int, help="Observe samples of this seed.  [default: 0]"
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


distribution_options = options(
    click.option(
        "--distribution-check",
        type=click.Choice(["default", "full"]),
        help="Compare a default or a full number of samples with the module's.  [default: by cost]",
    ),
    click.option(
        "--no-distribution-check",
        is_flag=True,
        help="Do not compare the network with its module; the artefact says so.",
    ),
)
"""--distribution-check and --no-distribution-check."""


def effort_of(chosen: DistributionCheck, *, skipped: bool) -> DistributionCheck:
    """The effort that the two options ask for; UserError if they contradict each other."""
    if skipped and chosen is not None:
        raise UserError(
            "contradicts --distribution-check", place="--no-distribution-check", remedy="give one"
        )
    return None if skipped else chosen or "default"
