"""The options that made an artefact, as a file for --config."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator

import click

from qbnnc.ir.model import Model
from qbnnc.passes.recorded_options import read_recorded, recorded_names
from qbnnc.support.errors import UserError


def config_text(model: Model, file: str) -> str:
    """A table [compile] in TOML; UserError for a model that was not compiled."""
    if not model.provenance.options:
        raise UserError("keeps no options", file, "compile the network with this version")
    chosen: dict[str, object] = dict(read_recorded(model.provenance.options)) | {
        "task": model.head.task.value
    }
    if names := recorded_names(model.provenance.options):
        chosen["output_names"] = ",".join(names)
    if model.stochastic:
        chosen["samples"] = model.draws
    return "\n".join(["[compile]", *_lines(chosen)]) + "\n"


def _lines(chosen: dict[str, object]) -> Iterator[str]:
    command: click.Command = importlib.import_module("qbnnc.cli.compile").command
    flags = {each.name: each for each in command.params if isinstance(each, click.Option)}
    for name, value in sorted(chosen.items()):
        option = flags[name]
        on = next(flag for flag in option.opts if flag.startswith("--")).lstrip("-")
        if isinstance(value, dict):
            pairs = [f"{layer}={bits}" for layer, bits in sorted(value.items())]
            yield f"{on} = {json.dumps(pairs)}"
        else:
            yield f"{on} = {json.dumps(value)}"
