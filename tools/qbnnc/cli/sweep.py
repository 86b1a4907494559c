"""qbnnc sweep: a network in float and at many bits, with every metric of its uncertainty."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import INTERRUPTED, placed, plain_warnings, say
from qbnnc.cli.data_options import (
    compiled_samples_option,
    labelled_data_option,
    metric_options,
    ood_option,
)
from qbnnc.cli.flags import with_flags
from qbnnc.cli.networks import parse_networks
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.quantisation_options import chosen_options, quantisation_options
from qbnnc.cli.shared_options import (
    quiet_option,
    trust_option,
    verbose_option,
)
from qbnnc.passes.options import Bits
from qbnnc.study.plan import full_grid, paper_grid, parse_bits, parse_widths
from qbnnc.study.report import check_installed, write_report
from qbnnc.study.results import Header, Precision, Result, Row, read_rows
from qbnnc.study.run import PAPER_ACTIVATIONS, PAPER_WEIGHTS, run_sweep
from qbnnc.study.settings import Tuning
from qbnnc.study.store import check_writable
from qbnnc.study.terminal import configuration, failures, tables
from qbnnc.support.errors import UserError
from qbnnc.support.files import check_output
from qbnnc.support.text import fold, table


@click.command(name="sweep", cls=Command, short_help="Evaluate in float and at many bits.")
@click.argument("models", nargs=-1, required=True, metavar="[NAME=]MODEL...")
@click.option(
    "--train",
    required=True,
    metavar="FILE.npz[:X,Y]",
    help="Calibrate with 512 rows of these data and fine-tune with all. Inputs alone, "
    "FILE[:KEY], are enough with --loss match.  [default keys: x,y]",
)
@labelled_data_option
@ood_option
@click.option(
    "-o", "--output", required=True, metavar="FILE.jsonl", help="Write the results to this file."
)
@click.option(
    "--report", metavar="FILE.html", help="Write a page of figures and tables at the end."
)
@click.option(
    "--bits",
    metavar="wNaM,...",
    help="Try these bits.  [default: the paper's: weights 3..8 at 7-bit activations, "
    "and activations 3..7 at 8-bit weights]",
)
@click.option("--weights-bits", metavar="N..M", help="Try these widths of weights: 3..8, or 4,6,8.")
@click.option("--activation-bits", metavar="N..M", help="Try these widths of activations.")
@click.option(
    "--grid", is_flag=True, help="Try every width of weights with every one of activations."
)
@click.option("--ptq", is_flag=True, help="Quantise after training.  [default without --qat]")
@click.option("--qat", is_flag=True, help="Train with simulated quantisation; with --ptq do both.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    default=3,
    show_default=True,
    help="Repeat everything with so many seeds.",
)
@compiled_samples_option
@metric_options
@click.option(
    "--shifts",
    is_flag=True,
    help="Measure float and most bits on images that are rotated, brightened and moved.",
)
@click.option(
    "--epochs", type=float, metavar="X", help="Fine-tune for so many epochs; fractions are allowed."
)
@click.option("--lr", type=float, metavar="X", help="Fine-tune with this learning rate.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Fine-tune with batches of so many rows.",
)
@click.option(
    "--loss",
    metavar="LOSS",
    help="Fine-tune with this loss. match compares with the float network; "
    "cross-entropy, mse and gaussian-nll compare with labels.  [default: match]",
)
@click.option(
    "--model",
    multiple=True,
    metavar="[NAME=]PKG.MODULE:FACTORY",
    help="Build the network of a file of weights with this code; NAME= is for one MODEL only.",
)
@click.option(
    "--model-args",
    multiple=True,
    metavar="[NAME=]KEY=VALUE,...",
    help="Give these arguments to --model.",
)
@click.option(
    "--dropout",
    multiple=True,
    metavar="[NAME=]active|off",
    help="Keep dropout or take it out, as in compile.",
)
@click.option(
    "--outputs",
    "output_names",
    multiple=True,
    metavar="[NAME=]NAMES",
    help="Name the outputs, as in compile.",
)
@trust_option
@quantisation_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use so many processes.  [default: physical cores]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler.")
@click.option("--retry-failed", is_flag=True, help="Compute again what has an error.")
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    train: str,
    data: str,
    ood: str | None,
    output: str,
    report: str | None,
    bits: str | None,
    weights_bits: str | None,
    activation_bits: str | None,
    grid: bool,
    ptq: bool,
    qat: bool,
    seeds: int,
    samples: int | None,
    task: str | None,
    target_mean: float,
    target_std: float,
    shifts: bool,
    epochs: float | None,
    lr: float | None,
    batch_size: int | None,
    loss: str | None,
    model: tuple[str, ...],
    model_args: tuple[str, ...],
    dropout: tuple[str, ...],
    output_names: tuple[str, ...],
    trust_pickle: bool,
    workers: int | None,
    scheduler: str | None,
    retry_failed: bool,
    quiet: bool,
    verbose: bool,
    **compile_options: object,
) -> int:
    """Evaluate MODELs in float and quantised to many bits, with several seeds.

    A MODEL is what compile takes: a file, or a folder or a file with a list, which is an
    ensemble. Several MODELs are networks to compare. Every result is a line of the output, written
    as it comes: an interrupted sweep goes on when the same command is given again.
    """
    networks = parse_networks(models, model, model_args, dropout, trust_pickle, output_names)
    tuning = Tuning(loss, epochs, lr, batch_size)
    if not qat and (unused := list(tuning.given())):
        raise UserError("is for fine-tuning", place=unused[0], remedy="give --qat too")
    check_output(output)
    if report is not None:
        _check_report(report)
    try:
        files = {"the calibration data": train, "the training data": train}
        with placed(files), plain_warnings(), ProgressLine(quiet) as line:
            results = run_sweep(
                networks,
                output,
                train=train,
                test=data,
                ood=ood,
                bits=_bits(bits, weights_bits, activation_bits, grid),
                ptq=ptq or not qat,
                qat=qat,
                seeds=seeds,
                samples=samples,
                task=task,
                compile_options=chosen_options(compile_options),
                tuning=tuning,
                shifts=shifts,
                target_mean=target_mean,
                target_std=target_std,
                workers=workers,
                scheduler=scheduler,
                retry_failed=retry_failed,
                command=shlex.join(["qbnnc", *sys.argv[1:]]),
                progress=partial(_show, line),
            )
    except KeyboardInterrupt:
        kept = f"{output} holds what is done: give the same command again to go on"
        say(f"interrupted; {kept if Path(output).exists() else 'nothing was written'}")
        return INTERRUPTED
    rows = read_rows(output)
    if not quiet:
        _print(rows, results)
    for sentence in failures(results):
        say(f"Failed: {with_flags(sentence, click.get_current_context().command)}")
    if report is not None and any(result.error is None for result in results):
        write_report(rows, report, ", ".join(networks))
        if not quiet:
            click.echo(f"wrote {report}")
    return _outcome(results, output)


def _outcome(results: Sequence[Result], output: str) -> int:
    """Exit code 1, and a sentence, if nothing came of what the sweep was for."""
    wanted = [r for r in results if r.precision is not Precision.FLOAT] or results
    if any(result.error is None for result in wanted):
        return 0
    say(
        f"Error: every quantised network failed, for the reasons above: {output} keeps them, and "
        "--retry-failed computes them again"
    )
    return 1


def _bits(
    bits: str | None, weights: str | None, activations: str | None, grid: bool
) -> tuple[Bits, ...] | None:
    """The bits that the options choose; None is the paper's grid."""
    if bits is not None:
        if weights is not None or activations is not None or grid:
            raise UserError(
                "names them all", place="--bits", remedy="leave out --weights-bits and the like"
            )
        return parse_bits(bits)
    made = full_grid if grid else paper_grid
    return made(
        PAPER_WEIGHTS if weights is None else parse_widths("--weights-bits", weights),
        PAPER_ACTIVATIONS
        if activations is None
        else parse_widths("--activation-bits", activations),
    )


def _print(rows: Sequence[Row], results: Sequence[Result]) -> None:
    """The tables."""
    header = rows[0]
    assert isinstance(header, Header)
    for made in tables(header.task, results):
        click.echo(fold(made.title))
        click.echo(table(made.header, made.lines))
        click.echo()
    if any(result.seed != results[0].seed for result in results):
        click.echo("±: standard deviation over the seeds")


def _check_report(path: str) -> None:
    """Before any work: what draws the page is there, and it can be written."""
    check_installed("`report`")
    check_writable(path, ".html")


def _show(line: ProgressLine, done: int, total: int, latest: tuple[Result, ...]) -> None:
    """Draw how many results there are, and the latest."""
    last = [f"{result.network} {configuration(result)}" for result in latest[-1:]]
    line.show("sweeping", done, total, "".join(last))
