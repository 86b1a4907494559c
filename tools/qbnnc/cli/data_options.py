"""Options about data and metrics that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from qbnnc.ir.head import Task

F = TypeVar("F", bound=Callable[..., Any])


def samples_option(function: F, default: str = "as compiled") -> F:
    """--samples L."""
    return click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="L",
        help=f"Draw so many samples of what is random.  [default: {default}]",
    )(function)


def compiled_samples_option(function: F) -> F:
    """--samples L of a network that is compiled here."""
    return samples_option(function, "20")


def calibration_option(function: F) -> F:
    """--calib FILE[:KEY]."""
    return click.option(
        "--calib",
        "calibration",
        metavar="FILE[:KEY]",
        help="Calibrate with typical inputs [batch, ...]: 100 rows or more, of which 512 are used.",
    )(function)


def labelled_data_option(function: F) -> F:
    """--data FILE.npz[:X,Y]."""
    return click.option(
        "--data",
        required=True,
        metavar="FILE.npz[:X,Y]",
        help="Measure on inputs [N, ...], taken as they are, with labels 0..K-1 or "
        "targets.  [default keys: x,y]",
    )(function)


def ood_option(function: F) -> F:
    """--ood FILE[:KEY]."""
    return click.option(
        "--ood",
        metavar="FILE[:KEY]",
        help="Measure the uncertainty on these out-of-distribution inputs too.",
    )(function)


def metric_options(function: F) -> F:
    """--task, --target-mean, --target-std: what decides the metrics."""
    for option in (
        click.option(
            "--target-std",
            type=float,
            default=1.0,
            show_default=True,
            help="The standard deviation that targets were divided by; metrics are in their units.",
        ),
        click.option(
            "--target-mean",
            type=float,
            default=0.0,
            show_default=True,
            help="The mean that was subtracted from the targets of a regression.",
        ),
        click.option(
            "--task",
            type=click.Choice([Task.CLASSIFICATION.value, Task.REGRESSION.value]),
            help="The task decides the metrics.  [default: as the networks say]",
        ),
    ):
        function = option(function)
    return function


def seeds_option(function: F) -> F:
    """--seed, once or several times."""
    return click.option(
        "--seed",
        "seeds",
        type=int,
        multiple=True,
        default=(0,),
        help="Metrics are means over the seeds; repeat for several.  [default: 0]",
    )(function)
