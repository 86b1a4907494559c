"""Options that several commands share: reading a network, quantisation, drawing, output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps

import click

from qbnnc.cli.common import options, per_input
from qbnnc.loading.sources import Dropout, Reading
from qbnnc.support.errors import UserError
from qbnnc.verification.distribution import DistributionCheck

input_option = click.option(
    "--input",
    "input_",
    required=True,
    multiple=True,
    callback=per_input,
    metavar="[NAME=]FILE[:KEY]",
    help="Read the inputs, [batch, ...], from a .npy file, or from an array of an .npz file. For "
    "several inputs repeat it with their names, or give one .npz with arrays of these names.",
)
"""--input FILE[:KEY]."""

seed_option = click.option(
    "--seed",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    help="Draw the random numbers of this seed.",
)
"""--seed N."""

first_row_option = click.option(
    "--first-row",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Count rows from this number, for a batch that is split.",
)
"""--first-row N."""

drawing_options = options(
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="L",
        help="Draw so many Monte-Carlo samples; for an ensemble give a multiple of its "
        "members. [default: as compiled; .onnx: no more than that]",
    ),
    first_row_option,
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
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
    click.option(
        "--member-axis",
        type=int,
        metavar="N",
        help="Take axis N of the outputs for the members of an ensemble inside one network.  "
        "[default: axis 0 of [members, batch, ...]]",
    ),
)


def model_options(function: Callable[..., int]) -> Callable[..., int]:
    """--model, --model-args, --dropout, --outputs, --member-axis: how a network is read.

    The command gets them, with --trust-pickle, as one `reading`.
    """

    @wraps(function)
    def command(
        model: str | None,
        model_args: tuple[str, ...],
        dropout: Dropout | None,
        trust_pickle: bool,
        output_names: str | None,
        member_axis: int | None,
        **others: object,
    ) -> int:
        reading = Reading(
            model=model,
            model_args=parse_arguments(model_args),
            dropout=dropout,
            trust_pickle=trust_pickle,
            output_names=output_names,
            member_axis=member_axis,
        )
        return function(reading=reading, **others)

    return _model_options(command)


trust_option = click.option(
    "--trust-pickle",
    is_flag=True,
    help="Open pickled modules: RUNS CODE from the file. Its classes must be importable; the "
    "current folder is searched for --model only.",
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
                raise UserError(
                    "no argument",
                    place=f"--model-args {part!r}",
                    remedy="write name=value, such as p=0.2,width=8",
                )
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
