"""The common part of the commands: warnings, places of errors, JSON, exit codes."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import click

from qbnnc.cli.flags import commands_of, with_flags
from qbnnc.loading.arrays import joined_specs
from qbnnc.loading.sources import CalibrationWarning
from qbnnc.support.errors import (
    ArtefactWarning,
    RoundingWarning,
    SourceWarning,
    SpreadWarning,
    UserError,
)

INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_FOR_USERS = (
    ArtefactWarning,
    CalibrationWarning,
    RoundingWarning,
    SourceWarning,
    SpreadWarning,
)
F = TypeVar("F", bound=Callable[..., Any])


class Option(Protocol):
    """A decorator that gives a command an option, or several."""

    def __call__(self, function: F, /) -> F: ...


def options(*several: Option) -> Option:
    """Return one decorator for several options, which the help lists in this order."""

    def add(function: F) -> F:
        for option in reversed(several):
            function = option(function)
        return function

    return add


def say(message: str) -> None:
    """A sentence on stderr; on a terminal, wrapped to its width between words."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size((80, 24)).columns
        message = textwrap.fill(message, width, break_long_words=False, break_on_hyphens=False)
    click.echo(message, err=True)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings about data and networks as sentences; others are not for users."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            commands = commands_of(click.get_current_context()) if caught else ()
            for warning in caught:
                if issubclass(warning.category, _FOR_USERS):
                    say(f"Warning: {with_flags(str(warning.message), *commands)}")


def echo_json(value: object) -> None:
    """Print one JSON document on stdout; infinity and NaN, which JSON lacks, are texts."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


@contextmanager
def read_as_compiled(line: Sequence[str]) -> Iterator[None]:
    """Errors that ask how a file's network is built or dropped out also show the line to write.

    An artefact does not hold the code of the network that it is compared with. `line` is the
    command with its arguments, without "qbnnc" and the options for reading.
    """
    try:
        yield
    except UserError as error:
        if "`model=" in error.remedy:
            built = "--model PKG.MODULE:FACTORY --model-args KEY=VALUE --dropout active"
            more = f"repeat here what compile was given: qbnnc {shlex.join(line)} {built}"
        elif "`dropout=" in error.remedy:
            more = "repeat here what compile was given"
        else:
            raise
        remedy = f"{error.remedy}; {more}"
        raise type(error)(error.message, error.place, remedy) from None


@contextmanager
def placed(files: Mapping[str, str | None]) -> Iterator[None]:
    """Errors at "the input", "the calibration data", ... get the file that holds it as their place.

    `files` are by those words; None where there is no file.
    """
    try:
        yield
    except UserError as error:
        file = files.get(str(error.place))
        if file is None:
            raise
        raise error.at(file) from None


def per_input(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> str | None:
    """Join an option that may be given for each of several inputs: a callback of click."""
    return joined_specs(values, parameter.opts[0])


def several(files: Sequence[str]) -> str:
    """The name of a file, or of the first of several."""
    return files[0] if len(files) == 1 else f"{files[0]} ..."
