"""qbnnc bench: how fast artefacts predict, beside each other."""

from __future__ import annotations

import math
import platform
import statistics
import warnings
from collections.abc import Sequence

import click
import numpy as np

from qbnnc.bench.baselines import FloatNetwork, Rivals, read_float
from qbnnc.bench.timing import Contender, ratio, take_turns
from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, per_input, placed, plain_warnings
from qbnnc.cli.data_options import samples_option
from qbnnc.cli.shared_options import (
    json_option,
    model_options,
    trust_option,
    verbose_option,
)
from qbnnc.cli.versions import installed
from qbnnc.ir.types import Array
from qbnnc.loading.arrays import read_arrays
from qbnnc.loading.artefacts import Artefact, open_artefact
from qbnnc.loading.sources import Reading, SourceOptions
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.threads import physical_cores
from qbnnc.support.errors import ArtefactWarning, UserError
from qbnnc.support.id_rows import Rows
from qbnnc.support.inputs import MOST_PREDICTED, whole
from qbnnc.support.text import fold, table

_HEADER = ("artefact", "batch", "threads", "turns", "median", "to the first")


@click.command(name="bench", cls=Command, short_help="Compare how fast artefacts predict.")
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT...")
@click.option(
    "--input",
    "input_",
    multiple=True,
    callback=per_input,
    metavar="[NAME=]FILE[:KEY]",
    help="Predict these rows, repeated as needed. [default: noise]",
)
@click.option(
    "--batch",
    "batches",
    default="1,32",
    show_default=True,
    metavar="B,...",
    help="Predict batches of so many rows.",
)
@click.option(
    "--threads",
    default="1,all",
    show_default=True,
    metavar="T,...",
    help='Predict with so many threads; "all" is the physical cores.',
)
@samples_option
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    metavar="X",
    default=3.0,
    show_default=True,
    help="Measure for so many seconds at each batch size and number of threads.",
)
@click.option(
    "--float",
    "floats",
    multiple=True,
    metavar="MODEL",
    help="Compare with the float32 network in a file that compile takes; repeat for "
    "several members.",
)
@model_options
@trust_option
@json_option
@verbose_option
def command(
    artefacts: tuple[str, ...],
    input_: str | None,
    batches: str,
    threads: str,
    samples: int | None,
    seconds: float,
    floats: tuple[str, ...],
    reading: Reading,
    as_json: bool,
    verbose: bool,
) -> int:
    """Compare how fast ARTEFACTs predict: .qbnn in our runtime, .onnx in onnxruntime.

    They take turns for --seconds at each batch size and number of threads, each prediction with
    its samples drawn anew and its statistics. The last column is the ratio of the medians to the
    first artefact, in brackets that of the quartiles farthest apart.

    --float adds engines that run the float32 network. onnxruntime gets it without dropout, weights
    at their means, and all samples' rows at once: a lower bound for any float engine. PyTorch
    eager makes a pass for each sample, and so does torch.compile where it works.
    """
    with warnings.catch_warnings(action="ignore", category=ArtefactWarning):
        first = open_artefact(artefacts[0])
    shape = first.input_shape
    taken = first.rows_taken
    source = taken.of(read_arrays(input_, taken.names)) if input_ is not None else None
    network = None
    if floats:
        with placed({"the calibration data": floats[0]}):
            rows_like = _rows(source, 2, taken)
            float_model = read_float(floats, rows_like, SourceOptions.of(**reading))
        network = FloatNetwork(float_model, samples or first.samples)
    rows: list[dict[str, object]] = []
    for count in _numbers("--threads", threads):
        with plain_warnings():
            opened = {path: open_artefact(path, count) for path in artefacts}
        if any(a.input_shape != shape for a in opened.values()):
            raise UserError("the artefacts take inputs of different shapes", place=artefacts[0])
        for batch in _numbers("--batch", batches):
            x = _rows(source, batch, taken)
            calls = {path: _call(a, x, samples) for path, a in opened.items()}
            rivals = Rivals({}, {}) if network is None else network.rivals(x, count)
            times = take_turns(calls | rivals.calls, seconds, called=rivals.calls)
            for name in (*times, *rivals.reasons):
                row = {"artefact": name, "batch": batch, "threads": count}
                if name in times:
                    row |= _figures(times[name], times[artefacts[0]])
                rows.append(row | ({} if name in times else {"reason": rivals.reasons[name]}))
    machine = _machine(["numba", "onnxruntime", *(["torch"] if floats else [])])
    if as_json:
        echo_json({"machine": machine, "rows": rows})
        return 0
    click.echo(fold(machine))
    click.echo(table(_HEADER, [_cells(row) for row in rows]))
    for reason in dict.fromkeys(f"{r['artefact']}: {r['reason']}" for r in rows if "reason" in r):
        click.echo(fold(reason))
    return 0


def _figures(its: list[float], first: list[float]) -> dict[str, object]:
    return {
        "turns": len(its),
        "median_seconds": statistics.median(its),
        "ratio": str(ratio(its, first)),
    }


def _call(artefact: Artefact, x: Array, samples: int | None) -> Contender:
    return lambda: list(artefact.predict(x, samples, seed=0).values())


def _cells(row: dict[str, object]) -> list[str]:
    cells = [str(row.get(key, "-")) for key in ("artefact", "batch", "threads", "turns")]
    if "reason" in row:
        return [*cells, "-", "-"]
    return [*cells, f"{float(str(row['median_seconds'])) * 1e3:.3g} ms", str(row["ratio"])]


def _rows(source: Array | None, batch: int, taken: Rows) -> Array:
    """[batch, *shape] f32: rows of the source again and again, or noise and random ids."""
    shape = taken.shape
    if (size := 4 * batch * math.prod(shape)) > MOST_PREDICTED:
        raise UserError(
            f"{size} bytes of input", place=f"--batch {batch}", remedy=f"{MOST_PREDICTED} at most"
        )
    if source is None:
        return taken.drawn(batch)
    if not len(source):
        raise UserError("no rows", place="--input", remedy="give one or more")
    return np.resize(source, (batch, *shape))


def _numbers(option: str, text: str) -> list[int]:
    """ "1,32" -> [1, 32]; "all" is the physical cores."""
    found = []
    for part in text.split(","):
        word = part.strip()
        if option == "--threads" and word == "all":
            found.append(physical_cores())
        elif word.isdecimal():
            found.append(whole(option, int(word), 1))
        else:
            raise UserError("write whole numbers, such as 1,32", place=f"{option} {text!r}")
    return list(dict.fromkeys(found))


def _machine(names: Sequence[str]) -> str:
    """The machine and the versions that the figures depend on."""
    instructions = f"{platform.machine()}, {physical_cores()} cores, {chosen().value}"
    return ", ".join([instructions, *installed(names)])
