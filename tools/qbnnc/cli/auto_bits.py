"""`qbnnc compile --bits auto`: the bits that a budget allows."""

from __future__ import annotations

from functools import partial

import click

from qbnnc.cli.common import options, plain_warnings
from qbnnc.cli.progress import ProgressLine, show_measured
from qbnnc.ir.model import Model
from qbnnc.passes.options import CompileOptions
from qbnnc.support.errors import UserError

auto_options = options(
    click.option(
        "--budget",
        metavar="METRIC+X[%]",
        help="With --bits auto, let a metric be worse than in float by this: nll+1%, or "
        "error+0.5 (points of %), kl+.01 (nats), or rank-.05 (order of uncertainties).",
    ),
    click.option(
        "--data",
        metavar="FILE.npz[:X,Y]",
        help="With --bits auto, measure on these labelled data.  [default keys: x,y]",
    ),
)
"""--budget and --data."""


def asked_auto(
    compile_options: CompileOptions, budget: str | None, data: str | None
) -> tuple[str, str] | None:
    """Budget and data if bits are to be chosen; UserError if only some of the options are given."""
    if compile_options.get("bits") != "auto":
        for name, value in (("--budget", budget), ("--data", data)):
            if value is not None:
                raise UserError("is for --bits auto", place=name)
        return None
    if budget is None or data is None:
        missing = "--budget, such as nll+1%" if budget is None else "--data FILE.npz[:X,Y]"
        raise UserError(f"give {missing}", place="--bits auto")
    return budget, data


def choose(
    asked: tuple[str, str],
    source: Model,
    compile_options: CompileOptions,
    *,
    samples: int | None,
    task: str | None,
    quiet: bool,
) -> CompileOptions:
    """The compile options with the bits that are chosen; prints them, and what was measured."""
    from qbnnc.study.sensitivity import choose_bits
    from qbnnc.study.terminal import choice_lines

    budget, data = asked
    with plain_warnings(), ProgressLine(quiet) as line:
        choice = choose_bits(
            source,
            data,
            budget,
            samples=samples,
            task=task,
            progress=partial(show_measured, line),
            **compile_options,
        )
    if not quiet:
        click.echo("\n".join(choice_lines(choice)))
    return choice.options
