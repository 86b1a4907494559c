"""qbnnc report: a page of figures and tables of a study."""

from __future__ import annotations

import click

from qbnnc.cli.command import Command
from qbnnc.cli.shared_options import quiet_option, verbose_option
from qbnnc.study.report import write_report
from qbnnc.study.results import Header, read_rows
from qbnnc.support.errors import FileError
from qbnnc.support.files import check_apart, check_output


@click.command(name="report", cls=Command, short_help="Show a sweep as one HTML page.")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY.jsonl...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.html",
    help="Write the page to this file; it needs no other file.",
)
@click.option("--title", help="Give the page this title.  [default: the networks' names]")
@quiet_option
@verbose_option
def command(
    studies: tuple[str, ...], output: str, title: str | None, quiet: bool, verbose: bool
) -> int:
    """Show the results of qbnnc sweep as one HTML page.

    Several STUDYs, such as folds, or networks that were swept one by one, are shown together. One
    that is still running, or was stopped, is shown as far as it is.
    """
    check_output(output)
    check_apart([output], studies)
    rows = [row for study in studies for row in read_rows(study, interrupted=True)]
    if all(isinstance(row, Header) for row in rows):
        raise FileError(
            "has no results yet", studies[0], remedy="wait for the sweep, or run it again"
        )
    names = dict.fromkeys(row.name for row in rows if isinstance(row, Header))
    write_report(rows, output, title or ", ".join(names))
    if not quiet:
        click.echo(f"wrote {output}")
    return 0
