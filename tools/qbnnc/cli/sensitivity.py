"""qbnnc sensitivity: what each layer alone costs at fewer bits."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, placed, plain_warnings, several
from qbnnc.cli.data_options import (
    calibration_option,
    compiled_samples_option,
    labelled_data_option,
    metric_options,
    ood_option,
    seeds_option,
)
from qbnnc.cli.progress import ProgressLine, show_measured
from qbnnc.cli.quantisation_options import bits_option, chosen_options, quantisation_options
from qbnnc.cli.shared_options import (
    json_option,
    model_options,
    quiet_option,
    trust_option,
    verbose_option,
)
from qbnnc.loading.arrays import files_among, read_arrays
from qbnnc.loading.sources import Reading
from qbnnc.support.files import check_apart

if TYPE_CHECKING:  # numba is not loaded before something is measured
    from qbnnc.study.sensitivity import Sensitivities


@click.command(name="sensitivity", cls=Command, short_help="What each layer costs at fewer bits.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@labelled_data_option
@calibration_option
@click.option(
    "--tried",
    default="w4,a4",
    show_default=True,
    metavar="wN,aM,...",
    help="Give each layer these in turn: widths of its weights, and of its activations.",
)
@ood_option
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use N rows of the data, evenly spaced.  [default: all]",
)
@seeds_option
@compiled_samples_option
@metric_options
@click.option(
    "-o", "--output", metavar="FILE.jsonl", help="Write rows for qbnnc report to this file."
)
@model_options
@bits_option
@quantisation_options
@trust_option
@json_option
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    data: str,
    calibration: str | None,
    tried: str,
    ood: str | None,
    rows: int | None,
    seeds: tuple[int, ...],
    samples: int | None,
    task: str | None,
    target_mean: float,
    target_std: float,
    output: str | None,
    reading: Reading,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **compile_options: object,
) -> int:
    """Measure what each layer of MODEL alone costs at fewer bits, all others at --bits.

    MODEL is what compile takes. Every network is compiled to integers and run on the same data,
    with the same masks and eps. With --layer NAME=wNaM compile then gives more bits to layers that
    cost much, and fewer to others.
    """
    from qbnnc.study.sensitivity import sensitivity
    from qbnnc.study.sensitivity.api import check_output, write_rows
    from qbnnc.study.terminal import lines_of

    if output is not None:
        check_output(output)
        check_apart([output], [*models, *files_among(calibration, data, ood)])
    files = {"the calibration data": calibration, "the model": several(models)}
    with placed(files), plain_warnings(), ProgressLine(quiet) as line:
        found = sensitivity(
            models,
            data,
            calibration=None if calibration is None else read_arrays(calibration),
            tried=tried,
            ood=ood,
            task=task,
            seeds=seeds,
            samples=samples,
            rows=rows,
            target_mean=target_mean,
            target_std=target_std,
            **reading,
            progress=partial(show_measured, line),
            **chosen_options(compile_options),
        )
    if output is not None:
        write_rows(found, output, shlex.join(["qbnnc", *sys.argv[1:]]))
    if as_json:
        echo_json(_record(found))
    elif not quiet:
        click.echo("\n".join(lines_of(found, data)))
    return 0


def _record(found: Sensitivities) -> dict[str, object]:
    """The record for JSON; error and ece are fractions."""
    return {
        "network": found.network,
        "method": found.method,
        "task": found.task.value,
        "bits": str(found.base),
        "rows": found.rows,
        "samples": found.samples,
        "seeds": list(found.seeds),
        "baseline": dict(found.baseline),
        "layers": [
            {"name": one.name, "weights": one.weights, "activations": one.activations}
            for one in found.layers
        ],
        "costs": [
            {
                "layer": cost.layer.name,
                "tried": str(cost.tried),
                "bits": str(cost.bits),
                "bits_saved": cost.saved,
                "metrics": dict(cost.metrics),
                "nll_error": cost.nll_error,
                "divergence": cost.divergence,
            }
            for cost in found.costs
        ],
    }
