"""Options that say how a trained network is read: --model, --model-args, --dropout, ..."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from qbnnc.support.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])


def model_options(function: F) -> F:
    """--model, --model-args, --dropout, --outputs: what a network is that a file holds."""
    for option in (
        click.option(
            "--outputs",
            "output_names",
            metavar="NAME,...",
            help="What the outputs are: for a regression mean, or mean and one of log_var, "
            "variance, std, log_std; in one output these are its halves.  [default: the names in "
            "a dict or NamedTuple]",
        ),
        click.option(
            "--dropout",
            type=click.Choice(["active", "off"]),
            help="Keep dropout that eval() switched off; or take the network without any dropout.",
        ),
        click.option(
            "--model-args",
            multiple=True,
            metavar="KEY=VALUE,...",
            help="Its arguments; values are JSON.",
        ),
        click.option(
            "--model",
            "factory",
            metavar="PKG.MODULE:FACTORY",
            help="For a file of weights: what builds the network; the current folder is searched "
            "first.",
        ),
    ):
        function = option(function)
    return function


def trust_option(function: F) -> F:
    """--trust-pickle."""
    return click.option(
        "--trust-pickle", is_flag=True, help="Open pickled modules: RUNS CODE from the file."
    )(function)


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
                raise UserError(f"--model-args {part!r}: write key=value")
            if key in arguments:
                raise UserError(f"--model-args {key}: given twice")
            try:
                arguments[key] = json.loads(value)
            except ValueError:
                raise UserError(
                    f"--model-args {part!r}: the value is no JSON; write numbers as 0.2, truth as "
                    f"true, and text as '{key}=\"{value}\"'"
                ) from None
    return arguments
