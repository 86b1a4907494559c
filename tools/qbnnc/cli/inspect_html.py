"""qbnnc inspect --html: the page of a file."""

from __future__ import annotations

from pathlib import Path

import click

from qbnnc.cli.common import options
from qbnnc.evaluation.reading import read_inputs
from qbnnc.inspection.page import page
from qbnnc.ir.model import Model
from qbnnc.loading.arrays import split_spec
from qbnnc.support.errors import FileError
from qbnnc.support.files import check_apart, check_output, write_atomically
from qbnnc.support.text import human_bytes

html_options = options(
    click.option(
        "--html", metavar="PAGE.html", help="Write a page with the graph, histograms and costs."
    ),
    click.option(
        "--input",
        "data",
        metavar="FILE[:KEY]",
        help="Show the activations of these inputs too, as they are: --html looks at 32 rows.",
    ),
)
"""--html PAGE.html and --input FILE[:KEY]."""


def check_html(html: str | None, data: str | None, file: str, *, other: bool) -> None:
    """Refuse, before any work, a page that cannot be written; `other`: another form is asked for.

    UsageError for options that do not belong together, FileError for the page's path.
    """
    if html is None:
        if data is not None:
            raise click.UsageError("--input is for --html: give both")
        return
    if other:
        raise click.UsageError(
            "--html writes a page: leave --plan, --ir, --options, --passes and --json out"
        )
    if Path(html).suffix.lower() != ".html":
        raise FileError("a page is written as .html", html, remedy="give a name that ends so")
    check_apart([html], [file, *([] if data is None else [split_spec(data)[0]])])
    check_output(html)


def write_html(model: Model, file: str, html: str, data: str | None) -> None:
    """Write the page of the Model in `file`, with activations of `data` if they are given."""
    x = None if data is None else read_inputs(data, model.graph.input.type.shape)
    shown = "" if data is None else Path(data).name
    text = page(model, Path(file).stat().st_size, Path(file).name, x, shown).encode()
    write_atomically(html, text)
    click.echo(f"wrote {html}: {human_bytes(len(text))}")
