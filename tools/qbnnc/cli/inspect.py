"""qbnnc inspect: what is in a model or an artefact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, plain_warnings
from qbnnc.cli.config_text import config_text
from qbnnc.cli.inspect_c import inspect_c, is_c
from qbnnc.cli.inspect_html import check_html, html_options, write_html
from qbnnc.cli.inspect_ir import graph_texts, is_graph_text, read_graph_text
from qbnnc.cli.shared_options import json_option, verbose_option
from qbnnc.inspection import Inspection, inspect
from qbnnc.inspection.report import NodeReport, describe_outputs
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import read_integer_model
from qbnnc.loading.sources import SourceOptions, read
from qbnnc.runtime import load
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.summary import PlanSummary
from qbnnc.support.errors import FileError
from qbnnc.support.files import read_bytes
from qbnnc.support.several_inputs import described
from qbnnc.support.text import counted, fold, human_bytes, spaced, table


@click.command(name="inspect", cls=Command, short_help="Show what a file holds.")
@click.argument("file", metavar="FILE")
@click.option("--plan", "planned", is_flag=True, help="Show the runtime's plan on this machine.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Plan for so many rows.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plan for so many threads. [default: physical cores]",
)
@click.option(
    "--ir", "as_text", is_flag=True, help="Print the graphs as text (docs/reference/ir.md)."
)
@click.option(
    "--options", "as_config", is_flag=True, help="Print the options of the compile for --config."
)
@click.option("--passes", metavar="PASS,...", help="Run these passes and print the graphs after.")
@click.option(
    "--cc",
    metavar="COMMAND",
    help="Compile a .c with this compiler and its options, for its code and its stack.  "
    "[default: cc -std=c99 -O2]",
)
@html_options
@json_option
@verbose_option
def command(
    file: str,
    planned: bool,
    batch: int,
    threads: int | None,
    as_text: bool,
    as_config: bool,
    passes: str | None,
    cc: str | None,
    html: str | None,
    data: str | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Show what FILE holds: an artefact, a model of qbnnc.save, or a .qir text.

    Nodes with their codes and costs, the proof that no accumulator overflows, sizes and memory.
    With -v also the place of every node in the trained model. With --plan, how the runtime runs a
    batch of it here: the form of each layer, blocks, memory, and what each call of a thread does.
    With --ir, the graphs as text: save it as .qir, edit it, and give it to --passes.
    With --html, a page to look at: the graph drawn, histograms of codes, costs of layers.

    A .c, or a folder of compile, has other figures: constants by layer, memory by buffer with the
    last layer that needs it, and products by form. Its code and stack are those of a compiler.
    """
    other = planned or as_text or as_config or as_json or passes is not None
    check_html(html, data, file, other=other)
    if is_c(file):
        if planned or as_text or passes is not None or html is not None:
            raise click.UsageError("--plan, --ir, --passes and --html are not for C")
        inspect_c(file, cc, as_json=as_json)
        return 0
    with plain_warnings():
        model = _read(file)
    if as_text or passes is not None:
        if planned or as_json:
            raise click.UsageError("--ir and --passes print text: leave --plan and --json out")
        names = [] if passes is None else [name.strip() for name in passes.split(",")]
        click.echo("".join(graph_texts(model, names)), nl=False)
        return 0
    if as_config:
        click.echo(config_text(model, file), nl=False)
        return 0
    if is_graph_text(file):
        model.check()
    if html is not None:
        write_html(model, file, html, data)
        return 0
    if planned:
        plan = load(model, threads).plan_summary(batch=batch)
        if as_json:
            echo_json({"instructions": chosen().value, **asdict(plan)})
        else:
            click.echo("\n".join(_plan_lines(plan)))
        return 0
    report = inspect(model, Path(file).stat().st_size)
    if as_json:
        echo_json(asdict(report))
        return 0
    click.echo("\n".join(_lines(report, describe_outputs(model), file, verbose)))
    return 0


def _read(file: str) -> Model:
    if is_graph_text(file):
        return read_graph_text(file)
    data = read_bytes(file)
    if format.is_model(data):
        return format.from_bytes(data, file)
    if Path(file).suffix == ".onnx":
        return read_integer_model(file)
    try:
        return read([file], None, SourceOptions())
    except FileError as error:
        from qbnnc.frontend import NoNetworkError

        if not isinstance(error, NoNetworkError):
            raise
        raise FileError(
            "weights without their network", file, remedy="compile them, then inspect"
        ) from None


def _lines(report: Inspection, outputs: str, file: str, verbose: bool) -> Iterator[str]:
    yield fold(f"{file}: {report.stage}, {report.method}, task {report.task}")
    if len(report.inputs) > 1:
        yield fold(f"inputs: {described(report.inputs)}")
    yield fold(f"outputs: {outputs}")
    if report.left_out:
        yield fold(f"left out: {report.left_out}")
    yield f"digest {report.digest}"
    if report.bits:
        samples = counted(report.samples, "sample")
        yield fold(f"{spaced(report.bits)}, {samples}, weights {report.weights}")
        yield fold(f"calibrated: {report.calibration}")
    if report.training:
        yield fold(f"fine-tuned: {report.training}")
    if report.distribution:
        yield fold(f"distribution: {report.distribution}")
    yield "\nper: r, s or rs, for a value of every row, of every sample, or of both"
    yield table(
        ("node", "op", "shape", "per", "codes", "zero", "scale"),
        [_node_row(node) for node in report.nodes],
    )
    if verbose:
        yield from ("", *(fold(f"{node.node}: {node.place}") for node in report.nodes))
    if any(node.accumulators for node in report.nodes):
        yield "\nProved for every input: accumulators fit int32; sums of two products fit int16"
        yield "(no: such weights are stored as u8); every partial sum is exact in float32."
        yield table(
            ("accumulators", "MACs", "least", "greatest", "bits", "int32", "int16", "float32"),
            [_proof_row(node) for node in report.nodes if node.accumulators is not None],
        )
    yield ""
    yield from _totals(report)


def _plan_lines(plan: PlanSummary) -> Iterator[str]:
    excess = plan.scratch_bytes / max(1, plan.lower_bound) - 1
    blocks = plan.capacity
    yield fold(
        f"{counted(plan.batch, 'row')} x {counted(plan.samples, 'sample')} on {chosen().value}: "
        f"about {plan.work / 1e6:.3g} million multiplications"
    )
    yield fold(
        f"arena {human_bytes(plan.scratch_bytes)}, {100 * excess:.1f} % above what is needed at "
        f"once, and {human_bytes(plan.row_bytes)} a row; constants "
        f"{human_bytes(plan.constants_bytes)}"
    )
    yield fold(
        f"blocks of {counted(blocks.rows, 'row')} before samples differ, "
        f"{counted(blocks.samples, 'sample')} of weights, {blocks.copies} rows x samples"
    )
    yield from (fold(f"call {i}: {what}") for i, what in enumerate(plan.calls, 1))
    yield table(
        ("runs for", "operation", "of", "form", "share"),
        [
            (_RUNS[o.phase], o.kind, _short(o.name, 20), o.form, f"{100 * o.share:.1f} %")
            for o in plan.operations
        ],
    )


_RUNS = {"trunk": "rows, once", "prefix": "rows", "sample": "samples", "suffix": "both"}


def _node_row(node: NodeReport) -> tuple[str, ...]:
    """`per`: r, s or rs, for a value that varies with the row, the sample, or both."""
    return (
        _short(node.node, 20),
        node.op.removesuffix("_integer"),
        "x".join(map(str, node.shape)) or "1",
        "".join(axis[0] for axis in node.axes),
        _codes(node),
        "" if node.zero_point is None or node.dtype == "i32" else str(node.zero_point[0]),
        "" if node.scale is None else f"{node.scale[1]:.3g}",
    )


def _codes(node: NodeReport) -> str:
    """ "u7" for unsigned codes of 7 bits, "i32" for accumulators, "5 words" for a mask."""
    if node.random_words:
        return counted(node.random_words, "word")
    return node.dtype if node.bits is None or node.bits > 8 else f"u{node.bits}"


def _proof_row(node: NodeReport) -> tuple[str, ...]:
    bounds = node.accumulators
    assert bounds is not None
    return (
        _short(node.node, 20),
        str(node.macs),
        str(bounds.low),
        str(bounds.high),
        str(bounds.bits),
        "fits" if bounds.fits_int32 else "NO",
        "no" if bounds.saturates else "safe",
        "exact" if bounds.exact_in_float32 else "no",
    )


def _totals(report: Inspection) -> Iterator[str]:
    yield f"integer between input and outputs: {'yes' if report.integer else 'no'}"
    yield fold(
        f"MACs a row: {report.prefix_macs} once, {report.sample_macs} a sample; "
        f"{counted(report.sample_words, 'random word')} a sample"
    )
    if report.shared_macs or report.shared_bytes:
        yield fold(
            f"{counted(report.members, 'member')}: {report.shared_macs} of them are done once "
            f"for all; {human_bytes(report.shared_bytes)} of equal constants are not stored again"
        )
    share = f", {100 * report.file_bytes / report.float_bytes:.1f} %" if report.float_bytes else ""
    yield fold(
        f"file {human_bytes(report.file_bytes)} against {human_bytes(report.float_bytes)} of "
        f"float32 weights{share}"
    )
    samples = counted(report.samples, "sample")
    yield fold(
        f"memory, 1 row x {samples}: {human_bytes(report.live_bytes)} of values at once, "
        f"{human_bytes(report.constant_bytes)} of constants"
    )


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 8]}..{name[-6:]}"
