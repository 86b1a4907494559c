"""qbnnc compile: a trained network to integer artefacts."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from qbnnc.api import CalibrationWarning
from qbnnc.api import compile as compile_model
from qbnnc.arrays import read_array
from qbnnc.cli.common import human_bytes, quiet_option, say, verbose_option
from qbnnc.inspection.size import float_bytes
from qbnnc.ir import format
from qbnnc.ir.errors import UserError
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.passes.calibrate import Observer, Progress
from qbnnc.passes.options import MaskSharing, Scales, WeightScheme
from qbnnc.passes.pipeline import PASS_NAMES, Watch


@click.command(name="compile")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="FILE",
    help="An artefact, .onnx or .qbnn; repeat for several of one compile.",
)
@click.option("--bits", metavar="wNaM", help="Bits of weights and activations.  [default: w8a7]")
@click.option(
    "--calib",
    metavar="FILE[:KEY]",
    help="Calibration data, typical inputs [batch, ...]: 100 rows or more; 512 are used.",
)
@click.option("--samples", type=click.IntRange(min=1), metavar="L", help="[default: 20]")
@click.option(
    "--task",
    type=click.Choice([t.value for t in Task]),
    help="What is computed from the samples.  [default: raw, or classification after a softmax]",
)
@click.option(
    "--model",
    "factory",
    metavar="PKG.MODULE:FACTORY",
    help="For a file of weights: what builds the network; the current folder is searched first.",
)
@click.option(
    "--model-args",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Its arguments; values are JSON.",
)
@click.option(
    "--dropout",
    type=click.Choice(["active", "off"]),
    help="Keep dropout that eval() switched off; or compile without any dropout.",
)
@click.option(
    "--weights",
    type=click.Choice([w.value for w in WeightScheme]),
    help="Granularity of weight scales.  [default: channel-symmetric]",
)
@click.option(
    "--scales",
    type=click.Choice([s.value for s in Scales]),
    help="Any scale, or powers of two: shifts.  [default: free]",
)
@click.option("--quantise-output", is_flag=True, help="Quantise what leaves the network too.")
@click.option(
    "--mask-sharing",
    type=click.Choice([m.value for m in MaskSharing]),
    help="Dropout masks of every row, or one for the batch.  [default: row]",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME=wNaM",
    help="Other bits for one layer; repeat for several.",
)
@click.option(
    "--calibration",
    "observer",
    type=click.Choice([o.value for o in Observer]),
    help="How ranges are observed.  [default: minmax]",
)
@click.option(
    "--calibration-passes", type=click.IntRange(min=1), help="Draws observed.  [default: 8]"
)
@click.option("--calibration-seed", type=int, help="[default: 0]")
@click.option(
    "--print-after",
    type=click.Choice(PASS_NAMES),
    metavar="PASS",
    help=f"Print the graph after a pass: {', '.join(PASS_NAMES)}.",
)
@click.option("--trust-pickle", is_flag=True, help="Open pickled modules: RUNS CODE from the file.")
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    outputs: tuple[str, ...],
    bits: str | None,
    calib: str | None,
    samples: int | None,
    task: str | None,
    factory: str | None,
    model_args: tuple[str, ...],
    dropout: str | None,
    weights: str | None,
    scales: str | None,
    quantise_output: bool,
    mask_sharing: str | None,
    layers: tuple[str, ...],
    observer: str | None,
    calibration_passes: int | None,
    calibration_seed: int | None,
    print_after: str | None,
    trust_pickle: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compile MODEL to integer artefacts.

    MODEL is a file of qbnnc.save or torch.export.save, a state_dict or safetensors file with
    --model, or a .qbnn. A list of state_dicts, several files or a folder of them are the members
    of an ensemble; --samples is then the draws of each member.
    """
    calibration = None if calib is None else read_array(calib)
    with _progress(quiet) as progress, _plain_warnings():
        compiled = compile_model(
            models,
            outputs,
            bits=bits,
            calibration=calibration,
            samples=samples,
            task=task,
            weights=weights,
            scales=scales,
            quantise_output=quantise_output or None,
            mask_sharing=mask_sharing,
            layers=parse_layers(layers),
            observer=observer,
            calibration_passes=calibration_passes,
            calibration_seed=calibration_seed,
            model=factory,
            model_args=parse_arguments(model_args),
            dropout=dropout,  # type: ignore[arg-type]
            trust_pickle=trust_pickle,
            watch=Watch(_printer(print_after, verbose), progress),
        )
    if not quiet:
        _report(compiled, models[0] if len(models) == 1 else f"{models[0]} ...", outputs, task)
    return 0


def parse_arguments(texts: tuple[str, ...]) -> dict[str, object]:
    """ "p=0.2,width=8" -> {"p": 0.2, "width": 8}; values are JSON.

    >>> parse_arguments(("p=0.2,sizes=[1,2]", 'name="x"'))
    {'p': 0.2, 'sizes': [1, 2], 'name': 'x'}
    """
    arguments: dict[str, object] = {}
    for text in texts:
        for part in re.split(r",(?=\s*\w+\s*=)", text):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not key.isidentifier():
                raise UserError(f"--model-args {part!r}: write key=value")
            if key in arguments:
                raise UserError(f"--model-args {key}: given twice")
            try:
                arguments[key] = json.loads(value)
            except ValueError:
                raise UserError(
                    f"--model-args {part!r}: the value is no JSON; write numbers as 0.2, truth as "
                    f"true, and text as '{key}=\"{value}\"'"
                ) from None
    return arguments


def parse_layers(texts: tuple[str, ...]) -> dict[str, str]:
    """ "conv1=w8a8" -> {"conv1": "w8a8"}.

    >>> parse_layers(("conv1=w8a8", "layers.0.fc=w4a4"))
    {'conv1': 'w8a8', 'layers.0.fc': 'w4a4'}
    """
    pairs = [text.partition("=") for text in texts]
    for text, (layer, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not layer:
            raise UserError(f"--layer {text!r}: write NAME=wNaM, such as conv1=w8a8")
    return {layer: bits for layer, _, bits in pairs}


def _report(compiled: Model, source: str, outputs: tuple[str, ...], task: str | None) -> None:
    how = "" if task else " (--task changes it)"
    drawn = f", {compiled.samples} samples" if compiled.stochastic else ""
    click.echo(f"{source}: {compiled.method}, {compiled.provenance.bits}{drawn}")
    click.echo(f"  task        {compiled.head.task.value}{how}")
    first, *rest = textwrap.wrap(compiled.provenance.calibration, 66)
    click.echo(f"  calibrated  {first}")
    for line in rest:
        click.echo(f"              {line}")
    click.echo(f"  digest      {format.digest(compiled)[:16]}")
    full = float_bytes(compiled)
    for output in outputs:
        size = Path(output).stat().st_size
        share = f"{100 * size / full:.0f} % of the float32 weights" if full else ""
        click.echo(f"  wrote       {output}: {human_bytes(size)}, {share}")


def _printer(name: str | None, verbose: bool) -> Callable[[str, Graph], None] | None:
    if name is None and not verbose:
        return None

    def show(step: str, graph: Graph) -> None:
        if verbose:
            click.echo(f"{step}: {len(graph.nodes)} nodes", err=True)
        if step == name:
            click.echo(str(graph), nl=False)

    return show


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A bar on a terminal's stderr while calibrating; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1, label="calibrating", file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


@contextmanager
def _plain_warnings() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                if issubclass(warning.category, CalibrationWarning):
                    say(f"Warning: {warning.message}")
