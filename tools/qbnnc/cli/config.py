"""Options of a command from a TOML file: qbnnc.toml, or [tool.qbnnc] of pyproject.toml.

    [compile]
    bits = "w4a7"
    calib = "data.npz:x"
    output = ["model.onnx", "model.qbnn"]
    equalise = false

Each command has a table. A key is a flag without its dashes.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

import click

from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import read_bytes

Settings = dict[str, object]


def read_config(path: str, command: click.Command) -> Settings:
    """The defaults of a command's parameters by name, as click's `default_map` has them.

    FileError for a file that is no TOML or has no table of the command, UserError for an unknown
    key or a value of the wrong kind.
    """
    try:
        tables: object = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"not TOML: {error}", path, 'write such as bits = "w4a7"') from None
    name = command.name or ""
    if Path(path).name == "pyproject.toml":
        tables = _table(_table(tables, "tool", path), "qbnnc", path)
    table = _table(tables, name, path)
    return dict(_setting(f"{path}, [{name}]", command, key, value) for key, value in table.items())


def _table(tables: object, name: str, path: str) -> Mapping[str, object]:
    found = tables.get(name) if isinstance(tables, Mapping) else None
    if not isinstance(found, Mapping):
        raise FileError(
            f"no table [{name}]",
            path,
            "give each command a table: [compile], or [tool.qbnnc.compile] in pyproject.toml",
        )
    return found


def _setting(place: str, command: click.Command, key: str, value: object) -> tuple[str, object]:
    """The parameter's name, and its value as the command line would give it."""
    flags = dict[str, tuple[click.Option, bool]]()
    for option in command.params:
        if isinstance(option, click.Option) and option.name and option.expose_value:
            flags |= {flag.lstrip("-"): (option, True) for flag in _long(option.opts)}
            flags |= {flag.lstrip("-"): (option, False) for flag in _long(option.secondary_opts)}
    if key not in flags:
        near = difflib.get_close_matches(key, flags, 1)
        known = f"did you mean {near[0]}?" if near else f"qbnnc {command.name} --help lists them"
        raise UserError(f"{command.name} has no option {key!r}", place, known)
    option, on = flags[key]
    return option.name or "", _value(option, key, value, place, on=on)


def _long(flags: list[str]) -> list[str]:
    return [flag for flag in flags if flag.startswith("--")]


def _value(option: click.Option, key: str, value: object, place: str, *, on: bool) -> object:
    if option.is_flag:
        if not isinstance(value, bool):
            raise UserError(f"{key} is true or false, not {value!r}", place)
        return value is on
    several = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not option.multiple:
        raise UserError(f"{key} is one value, not a list", place)
    for one in several:
        if isinstance(one, bool) or not isinstance(one, str | int | float):
            raise UserError(f"{key} is text or a number, not {one!r}", place)
    texts = [str(one) for one in several]
    return texts if option.multiple else texts[0]
