"""qbnnc golden: vectors for regression tests of an artefact."""

from __future__ import annotations

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import placed, plain_warnings
from qbnnc.cli.data_options import samples_option
from qbnnc.cli.shared_options import (
    first_row_option,
    input_option,
    quiet_option,
    seed_option,
    verbose_option,
)
from qbnnc.loading.arrays import check_array_output, files_among, read_arrays
from qbnnc.loading.artefacts import read_integer_model
from qbnnc.support.files import check_apart
from qbnnc.support.text import counted, fold
from qbnnc.verification.golden import make_golden, write_golden


@click.command(
    name="golden", cls=Command, short_help="Write samples that a regression test compares."
)
@click.argument("artefact", metavar="ARTEFACT")
@input_option
@seed_option
@samples_option
@first_row_option
@click.option(
    "-o", "--output", required=True, metavar="FILE.npz", help="Write the vectors to this file."
)
@quiet_option
@verbose_option
def command(
    artefact: str,
    input_: str,
    seed: int,
    samples: int | None,
    first_row: int,
    output: str,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write the inputs of --input, and the samples that the oracle makes of them for ARTEFACT.

    `qbnnc verify ARTEFACT --golden FILE.npz` compares an artefact with them, by bit pattern. Keep
    the file beside your tests. It stays as it is when the artefact is compiled again.

    Without --seed the random numbers are those of seed 0, without --samples there are as many
    samples as compiled. The file holds seed, number of samples and first row.
    """
    check_array_output(output)
    check_apart([output], [artefact, *files_among(input_)])
    with plain_warnings():
        model = read_integer_model(artefact)
    names = [entry.name for entry in model.inputs]
    with placed({"the input": input_}):
        golden = make_golden(
            model, read_arrays(input_, names), samples=samples, seed=seed, first_row=first_row
        )
    write_golden(golden, output)
    if not quiet:
        drawn = f"{counted(len(golden.x), 'row')} x {counted(golden.count, 'sample')}"
        click.echo(fold(f"wrote {output}: {drawn}, seed {seed}"))
    return 0
