"""qbnnc verify: artefacts against the oracle, every sample by bit pattern."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, per_input, placed, plain_warnings
from qbnnc.cli.data_options import samples_option
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.shared_options import (
    first_row_option,
    json_option,
    quiet_option,
    verbose_option,
)
from qbnnc.cli.verify_c import run_tests
from qbnnc.cli.verify_source import Drawn, against_source, asked_source, source_options
from qbnnc.ir.ids import rows_taken_by
from qbnnc.loading.arrays import read_arrays
from qbnnc.loading.artefacts import Artefact, OnnxFile, open_artefact
from qbnnc.support.errors import UserError
from qbnnc.support.text import counted, fold, shortened, table
from qbnnc.verification.engines import engine_of, random_number_fault
from qbnnc.verification.golden import compare_golden, read_golden
from qbnnc.verification.oracle import Comparison, Drawing, verify

if TYPE_CHECKING:
    from qbnnc.backends.onnx.engine import Engine


@click.command(name="verify", cls=Command, short_help="Prove that artefacts give the same bits.")
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT...")
@click.option(
    "--input",
    "input_",
    multiple=True,
    callback=per_input,
    metavar="[NAME=]FILE[:KEY]",
    help="Read the inputs, [batch, ...], from a .npy file, or from an array of an .npz file. For "
    "several inputs repeat it with their names, or give one .npz with arrays of these names. "
    "A .c and --golden need none.",
)
@click.option(
    "--golden",
    metavar="FILE.npz",
    help="Compare with the samples that qbnnc golden has written.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    metavar="N",
    multiple=True,
    default=(0,),
    help="Compare the random numbers of this seed; repeat for several. [default: 0]",
)
@samples_option
@first_row_option
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
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
    "--engine",
    metavar="NAME|COMMAND",
    help="Run each .onnx in another engine: openvino, reference (of the onnx package), or a "
    'command such as "python runner.py". The command gets the names of the model, of an .npz with '
    "inputs, and of an .npz for outputs.  [default: onnxruntime]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Let the engine of an .onnx use so many threads.",
)
@json_option
@quiet_option
@verbose_option
def command(
    artefacts: tuple[str, ...],
    input_: str | None,
    golden: str | None,
    seeds: tuple[int, ...],
    samples: int | None,
    first_row: int,
    batch_size: int,
    cc: str | None,
    run: str | None,
    engine: str | None,
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

    A .c, or a folder of compile, is compiled with its test, and run: on this machine, or with --cc
    and --run on another or an emulated one. The test holds inputs, and the oracle's samples.

    With --golden ARTEFACTs are compared with stored samples, also those of another compile.

    With --engine each .onnx runs in another engine than onnxruntime. One that was compiled with
    --inline also tells whether the engine computes random numbers right.
    """
    sources = tuple(p for p in artefacts if Path(p).suffix == ".c" or Path(p).is_dir())
    if len(sources) == len(artefacts):
        return run_tests(sources, cc, run, as_json=as_json, quiet=quiet)
    runs_in = None if engine is None else engine_of(engine)
    if golden is not None:
        if input_ is not None or sources:
            raise UserError(
                "holds its own inputs", place="--golden", remedy="leave --input out, and any .c"
            )
        return _against_golden(artefacts, golden, threads, runs_in, as_json=as_json, quiet=quiet)
    if input_ is None:
        raise click.MissingParameter(param_type="option", param_hint="'--input'")
    if sources:
        raise _apart(artefacts, sources, input_)
    if (asked := asked_source(given)) is not None:
        if runs_in is not None:
            raise UserError("does not go with --source", place="`engine`", remedy="leave one out")
        drawn = Drawn(input_, seeds, samples, threads)
        return against_source(artefacts, asked, drawn, as_json=as_json, quiet=quiet)
    with plain_warnings():
        opened = {path: open_artefact(path, threads, runs_in) for path in artefacts}
    _same_compile(opened)
    faults = [] if runs_in is None else _random_number_faults(opened, seeds)
    model = next((a for a in opened.values() if a.holds_model), opened[artefacts[0]]).model
    taken = rows_taken_by(model.graph)
    drawing = Drawing(seeds, samples, first_row, batch_size)
    with placed({"the input": input_}), ProgressLine(quiet or as_json) as line:
        x = taken.read(read_arrays(input_, taken.names))
        results = verify(model, opened, x, drawing, line.counter("verifying"))
    count = model.samples if samples is None else samples
    compared = ("oracle", len(x), count, seeds)
    return _told(results, compared, faults, as_json=as_json, quiet=quiet)


def _apart(artefacts: tuple[str, ...], sources: tuple[str, ...], input_: str) -> UserError:
    """The refusal of a .c beside others, with the two commands that verify all of them."""
    others = [path for path in artefacts if path not in sources]
    first = shlex.join(["qbnnc", "verify", *sources])
    second = shlex.join(["qbnnc", "verify", *others, "--input", input_])
    return UserError(
        "a .c holds inputs of its own", place=sources[0], remedy=f"run {first}, and then {second}"
    )


def _against_golden(
    artefacts: tuple[str, ...],
    path: str,
    threads: int | None,
    runs_in: Engine | None,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    golden = read_golden(path)
    with plain_warnings():
        opened = {name: open_artefact(name, threads, runs_in) for name in artefacts}
    faults = [] if runs_in is None else _random_number_faults(opened, (golden.seed,))
    with placed({"golden vectors": path, "the input": path}):
        results = [compare_golden(name, artefact, golden) for name, artefact in opened.items()]
    if not quiet and not as_json:
        for name, artefact in opened.items():
            if artefact.digest != golden.digest:
                click.echo(fold(f"{name}: another compile than that of {path}"))
    drawn = (path, len(golden.x), golden.count, (golden.seed,))
    return _told(results, drawn, faults, as_json=as_json, quiet=quiet)


def _random_number_faults(opened: Mapping[str, Artefact], seeds: tuple[int, ...]) -> list[str]:
    """The faults of random numbers in an engine, one line for each .onnx that shows one."""
    files = {path: a.session for path, a in opened.items() if isinstance(a, OnnxFile)}
    if not files:
        raise UserError("is for .onnx files", place="`engine`", remedy="give an .onnx too")
    faults = []
    for path, session in files.items():
        found = next(filter(None, (random_number_fault(session, seed) for seed in seeds)), "")
        if found:
            faults.append(
                f"{path}: random numbers are wrong: {found}: the engine has no 64-bit integers"
            )
    return faults


def _told(
    results: list[Comparison],
    drawn: tuple[str, int, int, tuple[int, ...]],
    faults: list[str],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Print the results of (what they were compared with, rows, samples, seeds): the exit code."""
    if as_json:
        echo_json([asdict(result) | {"equal": result.equal} for result in results])
    elif not quiet or faults or not all(result.equal for result in results):
        _report(results, *drawn)
        for fault in faults:
            click.echo(fold(fault))
    return 0 if not faults and all(result.equal for result in results) else 1


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


def _report(
    results: list[Comparison], expected: str, rows: int, samples: int, seeds: tuple[int, ...]
) -> None:
    drawn = ((rows, "row"), (samples, "sample"), (len(seeds), "seed"))
    click.echo(f"{expected}: {' x '.join(counted(*one) for one in drawn)}")
    header = ("artefact", "values", "bits differ", "statistics off", "result")
    lines = [
        (shortened(r.name, 30), str(r.values), str(r.differing), str(r.statistics_off), _verdict(r))
        for r in results
    ]
    click.echo(table(header, lines))
    said = "the oracle says" if expected == "oracle" else "the golden vectors say"
    for result in results:
        if (first := result.first) is not None:
            if expected == "oracle":
                node = first.node or "none, when each node is looked at"
                click.echo(fold(f"{result.name}: first differing node: {node}"))
            click.echo(
                fold(
                    f"  {first.output}[sample {first.sample}, row {first.row}] seed {first.seed}: "
                    f"{first.found!r}, and {said} {first.expected!r}"
                )
            )


def _verdict(result: Comparison) -> str:
    if result.values == 0:
        return "nothing compared"
    return "equal" if result.equal else "DIFFERS"
