"""`qbnnc --version`: the version, and those of what it works with, as a bug report needs them."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import click

from qbnnc.support.text import fold
from qbnnc.version import __version__

_PARTS = ("numpy", "numba", "torch", "onnx", "onnxruntime")


def installed(packages: Sequence[str]) -> list[str]:
    """ "numpy 2.1.0" for each of the packages that is installed, without importing it."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        parts = [f"python {platform.python_version()}", *installed(_PARTS), platform.machine()]
        click.echo(f"qbnnc, version {__version__}\n{fold('with ' + ', '.join(parts))}")
        ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Show the version, those of the libraries, and exit.",
)
"""--version."""
