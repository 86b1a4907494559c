"""Several networks on one command line: MODELs with names, and options for one or for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from qbnnc.cli.shared_options import parse_arguments
from qbnnc.loading.sources import Dropout, SourceOptions, names_from
from qbnnc.study.prepare import Network
from qbnnc.support.errors import UserError


def parse_networks(
    models: Sequence[str],
    factories: Sequence[str],
    arguments: Sequence[str],
    dropouts: Sequence[str],
    trust_pickle: bool,
    outputs: Sequence[str] = (),
) -> dict[str, Network]:
    """The networks by name: MODEL or NAME=MODEL; each option as VALUE for all, or NAME=VALUE.

    UserError for a name that is used twice or by no MODEL, or an option given twice.
    """
    paths = _named(models)
    chosen = {
        "--model": _single("--model", factories, paths),
        "--dropout": _single("--dropout", dropouts, paths),
        "--outputs": _single("--outputs", outputs, paths),
    }
    of_each = _arguments(arguments, paths)
    return {
        name: Network(
            path,
            SourceOptions(
                chosen["--model"].get(name),
                of_each[name],
                _dropout(chosen["--dropout"].get(name)),
                trust_pickle,
                names_from(chosen["--outputs"].get(name)),
            ),
        )
        for name, path in paths.items()
    }


def _named(models: Sequence[str]) -> dict[str, str]:
    """ "mcd=nets/lenet.pt" -> mcd; a MODEL without a name is called like its file."""
    paths: dict[str, str] = {}
    for text in models:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = Path(text).resolve().stem, text
        if not name or not path:
            raise UserError("write NAME=MODEL, such as mcd=lenet.pt", place=f"{text!r}")
        if name in paths:
            raise UserError(
                f"a second network called {name!r}",
                place=path,
                remedy="give names: NAME=MODEL. The members of an ensemble are a folder, or a list "
                "in one file",
            )
        paths[name] = path
    return paths


def _single(option: str, texts: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """The value of the option for each network."""
    general: list[str] = []
    special: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            general.append(text)
        elif name not in names:
            raise UserError(
                f"no network is called {name!r}",
                place=f"{option} {text!r}",
                remedy=f"{_called(names)}",
            )
        elif name in special:
            raise UserError(f"given twice for {name}", place=f"{option} {text!r}")
        else:
            special[name] = value
    if len(general) > 1:
        raise UserError(
            "given twice", place=f"{option} {general[1]!r}", remedy="write NAME=... for one network"
        )
    return {**dict.fromkeys(names, *general[:1]), **special} if general else special


def _arguments(texts: Sequence[str], names: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """KEY=VALUE,... for all networks; NAME=KEY=VALUE,... for one, which counts more."""
    general: list[str] = []
    special: dict[str, list[str]] = {name: [] for name in names}
    for text in texts:
        name, _, rest = text.partition("=")
        if name in names and "=" in rest.split(",")[0]:
            special[name].append(rest)
        else:
            general.append(text)
    shared = parse_arguments(tuple(general))
    return {name: shared | parse_arguments(tuple(own)) for name, own in special.items()}


def _dropout(text: str | None) -> Dropout | None:
    if text is None or text in get_args(Dropout):
        return cast(Dropout | None, text)
    raise UserError(f"choose one of {', '.join(get_args(Dropout))}", place=f"--dropout {text!r}")


def _called(names: Mapping[str, str]) -> str:
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
