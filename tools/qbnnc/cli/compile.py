"""qbnnc compile: a trained network to integer artefacts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from qbnnc.api import compile as compile_model
from qbnnc.cli.auto_bits import asked_auto, auto_options, choose
from qbnnc.cli.command import Command
from qbnnc.cli.common import placed, plain_warnings, several
from qbnnc.cli.data_options import calibration_option, compiled_samples_option
from qbnnc.cli.memory_size import MemorySize
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.quantisation_options import bits_option, chosen_options, quantisation_options
from qbnnc.cli.shared_options import (
    distribution_options,
    effort_of,
    model_options,
    quiet_option,
    trust_option,
    verbose_option,
)
from qbnnc.inspection.report import describe_outputs
from qbnnc.inspection.size import float_bytes
from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.loading.arrays import files_among, read_arrays
from qbnnc.loading.project_folder import written_files
from qbnnc.loading.sources import Reading, SourceOptions, Trained, read_trained
from qbnnc.loading.writing import COptions, OnnxOptions, check_outputs
from qbnnc.passes.pipeline import PASS_NAMES, Watch
from qbnnc.support.several_inputs import described
from qbnnc.support.text import counted, fold, human_bytes, spaced
from qbnnc.verification.distribution import DistributionCheck


@click.command(name="compile", cls=Command, short_help="Compile a network to integer artefacts.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Write an artefact, .onnx, .qbnn or .c; repeat for several of one compile. A .c has a "
    "header and a test beside it. A name that ends with / is a folder for CMake, Arduino, "
    "PlatformIO and Zephyr.",
)
@calibration_option
@compiled_samples_option
@click.option(
    "--task",
    type=click.Choice([t.value for t in Task]),
    help="The task decides the statistics.  [default: raw, or classification after a softmax or "
    "the sigmoid of one number]",
)
@model_options
@bits_option
@auto_options
@quantisation_options
@distribution_options
@click.option(
    "--no-spread-check",
    is_flag=True,
    help="Do not compare the predicted spread with float's.",
)
@click.option(
    "--embedded-model/--no-embedded-model",
    default=True,
    help="An .onnx also holds the qbnnc model, which inspect, evaluate and verify of the file "
    "alone need. Without it the file runs in onnxruntime, in qbnnc run and in bench. verify then "
    "checks it beside the .qbnn of the same compile.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Let an .onnx take exactly N rows, so that all its shapes are fixed.  [default: any "
    "number of rows]",
)
@click.option(
    "--inline",
    is_flag=True,
    help="Write an .onnx for engines other than onnxruntime: without subgraphs and Optional, all "
    "constants in full, and with the output rng_check.",
)
@click.option(
    "--row-ids",
    is_flag=True,
    help="Let an .onnx take a number for each row, row_ids, in place of first_row, so that a "
    "server may batch rows in any way.",
)
@click.option(
    "--default-seed",
    type=int,
    metavar="N",
    help="Let callers of an .onnx leave out its seed, which is then N, and first_row, then 0.",
)
@click.option(
    "--ram",
    type=MemorySize(),
    metavar="SIZE",
    help="Let the values of a .c take so many bytes, such as 32k. Layers behind dropout then take "
    "the fastest form that fits.  [default: sums alone, and no tables]",
)
@click.option(
    "--prefix",
    metavar="NAME",
    help="Begin the names of C functions so.  [default: the name of the file or folder]",
)
@click.option(
    "--blob/--no-blob",
    default=None,
    help="Keep large constants of C in a binary file, which the GNU assembler includes; or write "
    "all as text.  [default: by size, from 1 MB]",
)
@click.option(
    "--print-after",
    type=click.Choice(PASS_NAMES),
    metavar="PASS",
    help=f"Print the graph after a pass: {', '.join(PASS_NAMES)}.",
)
@trust_option
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    outputs: tuple[str, ...],
    calibration: str | None,
    samples: int | None,
    task: str | None,
    reading: Reading,
    budget: str | None,
    data: str | None,
    embedded_model: bool,
    batch: int | None,
    inline: bool,
    row_ids: bool,
    default_seed: int | None,
    ram: int | None,
    prefix: str | None,
    blob: bool | None,
    print_after: str | None,
    distribution_check: DistributionCheck,
    no_distribution_check: bool,
    no_spread_check: bool,
    quiet: bool,
    verbose: bool,
    **compile_options: object,
) -> int:
    """Compile MODEL to integer artefacts.

    MODEL is a file of qbnnc.save or torch.export.save, a state_dict or safetensors file with
    --model, or a .qbnn. A list of state_dicts, several files or a folder of them are the members
    of an ensemble. For an ensemble --samples counts the samples of each member. --bits auto gives
    each layer as few bits as --budget allows, w8a7 at most. Bits of --layer and --input-bits stay.
    """
    inputs: list[str | Path] = [*models, *files_among(calibration, data)]
    onnx = OnnxOptions(embedded_model, batch, inline, row_ids, default_seed)
    c = COptions(ram, prefix, blob)
    check_outputs(outputs, inputs, onnx=onnx, c=c)
    rows = None if calibration is None else read_arrays(calibration)
    chosen, file = chosen_options(compile_options), several(models)
    source: Trained | tuple[str, ...] = models
    with placed({"the calibration data": calibration, "the model": file, "the source": file}):
        if (asked := asked_auto(chosen, budget, data)) is not None:
            source = read_trained(models, rows, SourceOptions.of(**reading))
            chosen = choose(asked, source.model, chosen, samples=samples, task=task, quiet=quiet)
        effort = effort_of(distribution_check, skipped=no_distribution_check)
        with plain_warnings(), ProgressLine(quiet) as line:
            compiled = compile_model(
                source,
                outputs,
                calibration=rows,
                samples=samples,
                task=task,
                **reading,
                distribution_check=effort,
                spread_check=not no_spread_check,
                embedded_model=embedded_model,
                batch=batch,
                inline=inline,
                row_ids=row_ids,
                default_seed=default_seed,
                ram=ram,
                prefix=prefix,
                blob=blob,
                watch=Watch(
                    _printer(print_after, verbose),
                    line.counter("calibrating"),
                    line.counter("comparing"),
                ),
                **chosen,
            )
    if not quiet:
        _report(compiled, file, outputs, task, verbose=verbose)
    return 0


def _report(
    compiled: Model, source: str, outputs: tuple[str, ...], task: str | None, *, verbose: bool
) -> None:
    how = "" if task else " (--task changes it)"
    drawn = f", {counted(compiled.samples, 'sample')}" if compiled.stochastic else ""
    bits = spaced(compiled.provenance.bits)
    click.echo(fold(f"{source}: {compiled.method}, {bits}{drawn}"))
    click.echo(f"  task        {compiled.head.task.value}{how}")
    for title, text in (
        ("inputs", described(compiled.inputs) if len(compiled.inputs) > 1 else ""),
        ("outputs", describe_outputs(compiled)),
        ("left out", compiled.provenance.left_out),
        ("calibrated", compiled.provenance.calibration),
        ("fine-tuned", compiled.provenance.training),
        ("checked", compiled.provenance.distribution),
    ):
        if text:
            shown = text if verbose else in_short(text)
            click.echo(fold(f"  {title:10}  {shown}", 14 * " "))
    click.echo(f"  digest      {format.digest(compiled)[:16]}")
    full = float_bytes(compiled)
    for output in outputs:
        size = _size(Path(output))
        click.echo(fold(f"  wrote       {output}: {_told_size(output, size, full)}", 14 * " "))


def in_short(text: str) -> str:
    """What a provenance says of a calibration or a check, without its settings.

    >>> in_short("equal to the module in 24 coupled calls of 3 rows (found with 99 %)")
    'equal to the module'
    >>> in_short("mse over 512 rows x 8 passes, seed 0, data sha256 3f0e, stretched by 1.5")
    'mse over 512 rows x 8 passes, seed 0, stretched by 1.5'
    """
    text = re.sub(r", data sha256 [0-9a-f]+| \(found with [^()]*\)", "", text)
    return re.sub(r"(equal to the [a-z ]+?) in \d[^;]*", r"\1", text)


def _told_size(output: str, size: int, full: int) -> str:
    """The size of an artefact, beside the `full` bytes of the float32 weights."""
    path, told = Path(output), human_bytes(size)
    if path.suffix == ".c":
        return f"{told} of text; qbnnc inspect {output} shows flash and RAM"
    if path.is_dir():
        return f"{told} in a project; its README says how to build it"
    if size > full:  # names and scales outweigh few weights
        return f"{told} (float32 weights: {human_bytes(full)})" if full else told
    return f"{told}, {100 * size / full:.0f} % of the float32 weights"


def _size(path: Path) -> int:
    """The bytes of a file, or of what the compiler wrote to a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in written_files(path))


def _printer(name: str | None, verbose: bool) -> Callable[[str, Graph], None] | None:
    if name is None and not verbose:
        return None

    def show(step: str, graph: Graph) -> None:
        if verbose:
            click.echo(f"{step}: {len(graph.nodes)} nodes", err=True)
        if step == name:
            click.echo(str(graph), nl=False)

    return show
