"""qbnnc bench: how fast artefacts predict, beside each other."""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import PackageNotFoundError, version

import click
import numpy as np

from qbnnc.arrays import read_array
from qbnnc.artefacts import Artefact, open_artefact
from qbnnc.choices import whole
from qbnnc.cli.common import echo_json, json_option, table, verbose_option
from qbnnc.ir.errors import UserError
from qbnnc.ir.inputs import as_batch
from qbnnc.ir.types import Array
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.threads import physical_cores
from qbnnc.timing import Contender, ratio, take_turns


@click.command(name="bench")
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT...")
@click.option(
    "--input",
    "input_",
    metavar="FILE[:KEY]",
    help="Rows to predict, repeated as needed. [default: noise]",
)
@click.option("--batch", "batches", default="1,32", show_default=True, metavar="B,...")
@click.option(
    "--threads", default="1", show_default=True, metavar="T,...", help='"all": physical cores.'
)
@click.option("--samples", type=click.IntRange(min=1), metavar="L", help="[default: as compiled]")
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True)
@json_option
@verbose_option
def command(
    artefacts: tuple[str, ...],
    input_: str | None,
    batches: str,
    threads: str,
    samples: int | None,
    seconds: float,
    as_json: bool,
    verbose: bool,
) -> int:
    """Compare how fast ARTEFACTs predict: .qbnn in our runtime, .onnx in onnxruntime.

    They take turns for --seconds at each batch size and number of threads, each prediction with
    its samples drawn anew and its statistics. The last column is the ratio of the medians to the
    first artefact, in brackets that of the quartiles farthest apart.
    """
    rows: list[dict[str, object]] = []
    for count in _numbers("--threads", threads):
        opened = {path: open_artefact(path, count) for path in artefacts}
        shapes = {path: a.model.graph.input.type.shape for path, a in opened.items()}
        if len(set(shapes.values())) > 1:
            raise UserError(f"{artefacts[0]}: the artefacts take inputs of different shapes")
        source = None if input_ is None else as_batch(read_array(input_), shapes[artefacts[0]])
        for batch in _numbers("--batch", batches):
            x = _rows(source, batch, shapes[artefacts[0]])
            calls = {path: _call(a, x, samples) for path, a in opened.items()}
            times = take_turns(calls, seconds)
            rows += [
                {
                    "artefact": path,
                    "batch": batch,
                    "threads": count,
                    "turns": len(its),
                    "median_seconds": statistics.median(its),
                    "ratio": str(ratio(its, times[artefacts[0]])),
                }
                for path, its in times.items()
            ]
    if as_json:
        echo_json({"machine": _machine(), "rows": rows})
        return 0
    click.echo(_machine())
    header = ("artefact", "batch", "threads", "turns", "median", "to the first")
    click.echo(table(header, [_cells(row) for row in rows]))
    return 0


def _call(artefact: Artefact, x: Array, samples: int | None) -> Contender:
    return lambda: list(artefact.predict(x, samples, seed=0).values())


def _cells(row: dict[str, object]) -> list[str]:
    cells = {**row, "median_seconds": f"{float(str(row['median_seconds'])) * 1e3:.3g} ms"}
    return [str(cell) for cell in cells.values()]


def _rows(source: Array | None, batch: int, shape: tuple[int, ...]) -> Array:
    """[batch, *shape] f32: rows of the source again and again, or noise."""
    if source is None:
        return np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    if not len(source):
        raise UserError("--input: no rows")
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
            raise UserError(f"{option} {text!r}: write whole numbers, such as 1,32")
    return list(dict.fromkeys(found))


def _machine() -> str:
    """What the figures depend on."""
    names = ("numba", "onnxruntime")
    versions = [f"{name} {found}" for name in names if (found := _version(name)) is not None]
    instructions = f"{platform.machine()}, {physical_cores()} cores, {chosen().value}"
    return ", ".join([instructions, *versions])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
