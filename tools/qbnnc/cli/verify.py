"""qbnnc verify: artefacts against the oracle, every sample by bit pattern."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from qbnnc.cli.common import echo_json, placed, plain_warnings
from qbnnc.cli.data_options import samples_option
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.shared_options import json_option, quiet_option, verbose_option
from qbnnc.cli.verify_c import run_tests
from qbnnc.cli.verify_source import Drawn, against_source, asked_source, source_options
from qbnnc.loading.arrays import read_array
from qbnnc.loading.artefacts import Artefact, open_artefact
from qbnnc.support.errors import UserError
from qbnnc.support.text import counted, fold, shortened, table
from qbnnc.verification.oracle import Comparison, Drawing, verify


@click.command(name="verify", short_help="Prove that artefacts give the same bits.")
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT...")
@click.option(
    "--input",
    "input_",
    metavar="FILE[:KEY]",
    help="Read the inputs, [batch, ...], from a .npy file, or from an array of an .npz file. "
    "Only a .c needs none: its test holds inputs.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=(0,),
    help="Compare the random numbers of this seed; repeat for several. [default: 0]",
)
@samples_option
@click.option(
    "--first-row",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Count rows from this number.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Compare so many rows at a time.",
)
@source_options
@click.option(
    "--cc",
    metavar="COMMAND",
    help="Compile the test of a .c with this compiler and its options.  [default: cc -std=c99 -O2]",
)
@click.option(
    "--run",
    metavar="COMMAND",
    help='Run the test of a .c with this command, such as "qemu-arm".',
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Let onnxruntime use so many threads in an operator.",
)
@json_option
@quiet_option
@verbose_option
def command(
    artefacts: tuple[str, ...],
    input_: str | None,
    seeds: tuple[int, ...],
    samples: int | None,
    first_row: int,
    batch_size: int,
    cc: str | None,
    run: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **given: object,
) -> int:
    """Compare ARTEFACTs of one compile with the oracle, and so with each other.

    Every sample is compared by bit pattern; the statistics within their stated tolerance. Exit
    code 1, with the first NODE that differs, if anything does.

    With --source one ARTEFACT is compared with the module that it was compiled from, by sampling
    both. Exit code 1 if a --max-... is exceeded, or its quantity is not defined.

    A .c is compiled with the test beside it, and run: on this machine, or with --cc and --run on
    another or an emulated one. The test holds inputs, and the samples that the oracle makes.
    """
    sources = tuple(path for path in artefacts if Path(path).suffix == ".c")
    if len(sources) == len(artefacts):
        return run_tests(sources, cc, run, as_json=as_json, quiet=quiet)
    if input_ is None:
        raise click.MissingParameter(param_type="option", param_hint="'--input'")
    if sources:
        raise UserError("a .c holds inputs of its own", place=sources[0], remedy="verify it alone")
    if (asked := asked_source(given)) is not None:
        drawn = Drawn(input_, seeds, samples, threads)
        return against_source(artefacts, asked, drawn, as_json=as_json, quiet=quiet)
    with plain_warnings():
        opened = {path: open_artefact(path, threads) for path in artefacts}
    _same_compile(opened)
    model = next((a for a in opened.values() if a.holds_model), opened[artefacts[0]]).model
    x = read_array(input_)
    drawing = Drawing(seeds, samples, first_row, batch_size)
    with placed({"the input": input_}), ProgressLine(quiet or as_json) as line:
        results = verify(model, opened, x, drawing, line.counter("verifying"))
    if as_json:
        echo_json([asdict(result) | {"equal": result.equal} for result in results])
    elif not quiet or not all(result.equal for result in results):
        _report(results, len(x), seeds, model.samples if samples is None else samples)
    return 0 if all(result.equal for result in results) else 1


def _same_compile(opened: dict[str, Artefact]) -> None:
    (first, artefact), *others = opened.items()
    for path, other in others:
        if other.digest != artefact.digest:
            raise UserError(
                f"not of the same compile as {first} (digest {other.digest[:16]}, not "
                f"{artefact.digest[:16]})",
                place=path,
                remedy="write both with one qbnnc compile",
            )


def _report(results: list[Comparison], rows: int, seeds: tuple[int, ...], samples: int) -> None:
    drawn = ((rows, "row"), (samples, "sample"), (len(seeds), "seed"))
    click.echo(f"oracle: {' x '.join(counted(*one) for one in drawn)}")
    header = ("artefact", "values", "bits differ", "statistics off", "result")
    lines = [
        (shortened(r.name, 30), str(r.values), str(r.differing), str(r.statistics_off), _verdict(r))
        for r in results
    ]
    click.echo(table(header, lines))
    for result in results:
        if (first := result.first) is not None:
            node = first.node or "none, when each node is looked at"
            click.echo(fold(f"{result.name}: first differing node: {node}"))
            click.echo(
                fold(
                    f"  {first.output}[sample {first.sample}, row {first.row}] seed {first.seed}: "
                    f"{first.found!r}, and the oracle says {first.expected!r}"
                )
            )


def _verdict(result: Comparison) -> str:
    if result.values == 0:
        return "nothing compared"
    return "equal" if result.equal else "DIFFERS"
