"""Options as the command line spells them, for errors that name them as Python does."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

from qbnnc.support.errors import UserError

_OPTION = re.compile(r"`(\w+)(?:=([^`]*))?`")
_UNSAID = ("False", "None")


def with_flags(text: str, *commands: click.Command) -> str:
    """The text with the flags of a command in place of its parameters in backquotes.

    The first of the `commands` that has the parameter decides; a name that none has stays. An
    ellipsis stands for a value as the help shows it.

    >>> option = click.Option(["--calib", "calibration"], metavar="FILE")
    >>> with_flags("give `calibration=...`", click.Command("compile", params=[option]))
    'give --calib FILE'
    """

    def flag(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        for options in map(_options, commands):
            if value in _UNSAID and f"no_{name}" in options:
                return options[f"no_{name}"].opts[0]
            if name in options:
                return _spelt(options[name], value)
        return found[0]

    return _OPTION.sub(flag, text)


def _options(command: click.Command) -> Mapping[str, click.Option]:
    return {
        each.name: each for each in command.params if isinstance(each, click.Option) and each.name
    }


def _spelt(option: click.Option, value: str | None) -> str:
    """ "--samples 3", "--trust-pickle", "--no-embedded-model"."""
    if value is None or value == "True":
        return option.opts[0]
    if value in _UNSAID and option.secondary_opts:
        return option.secondary_opts[0]
    shown = option.metavar if value == "..." else value.strip("'")
    return f"{option.opts[0]} {shown}"


def commands_of(context: click.Context) -> list[click.Command]:
    """The command that was asked for, and `compile`, whose options other commands tell about."""
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    names = dict.fromkeys([root.invoked_subcommand or "compile", "compile"])
    return [found for name in names if (found := root.command.get_command(root, name)) is not None]


def in_flags(error: UserError, context: click.Context) -> UserError:
    """The error as it is told on the command line, in a context of the command."""
    commands = commands_of(context)
    message, place, remedy = (
        with_flags(str(field), *commands) for field in (error.message, error.place, error.remedy)
    )
    return type(error)(message, place, remedy)
