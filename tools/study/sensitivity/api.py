"""The cost of each layer at fewer bits, and bits for every layer by a budget."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Unpack

from numpy.typing import ArrayLike

from qbnnc.evaluation.reading import Labelled, Path_
from qbnnc.evaluation.score import TargetUnits
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.loading.sources import (
    Dropout,
    SourceOptions,
    read,
    warn_of_few,
    warn_of_noisy_choice,
)
from qbnnc.options import options_from
from qbnnc.passes.mixed_precision.analysis import Progress, Sensitivities, Tried, costs_of
from qbnnc.passes.mixed_precision.budget import Budget
from qbnnc.passes.mixed_precision.search import Choice, search
from qbnnc.passes.options import CompileOptions
from qbnnc.study.results import Header, Row, Sensitivity, read_rows, to_json
from qbnnc.study.sensitivity.measuring import Bench, Setting, bench_of, place_of, title_of
from qbnnc.study.settings import describe_array, digest
from qbnnc.study.store import check_writable
from qbnnc.support.errors import FileError
from qbnnc.support.files import write_atomically
from qbnnc.support.several_inputs import Arrays
from qbnnc.version import COMPILER


def sensitivity(
    source: object,
    data: Labelled,
    *,
    calibration: Arrays | None = None,
    tried: str = "w4,a4",
    ood: Path_ | ArrayLike | None = None,
    task: str | None = None,
    seeds: Sequence[int] = (0,),
    samples: int | None = None,
    rows: int | None = None,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    progress: Progress | None = None,
    **compile_options: Unpack[CompileOptions],
) -> Sensitivities:
    """Measure the cost of each layer alone at fewer bits, the others at `bits`.

    Every network is compiled to integers and runs in our runtime. `source` and the options of
    reading and compiling are those of `qbnnc.compile`. `tried` are the widths that each layer's
    weights ("w4") and activations ("a4") get in turn.

    `data` is "FILE.npz[:XKEY,YKEY]" or (x, y). Evenly spaced `rows` of it are used (None: all).
    `ood` are out-of-distribution inputs. Metrics are means over `seeds`. Masks and eps are the same
    throughout, so that differences are paired.

    Raises UserError with the place, the fault and the remedy. Warns CalibrationWarning if there
    are few calibration rows.
    """
    options = options_from(compile_options, samples, task)
    base = options.quantisation
    widths = Tried.parse_all(tried, base.bits)
    reading = SourceOptions.of(model, model_args, dropout, trust_pickle, output_names, member_axis)
    trained = read(source, calibration, reading)
    if trained.calibration is not None:
        warn_of_few(len(trained.calibration))
    setting = Setting(data, ood, seeds, rows, TargetUnits(target_mean, target_std))
    bench = bench_of(trained, place_of(source), setting, options)
    measured = bench.integers(base)
    return Sensitivities(
        title_of(source),
        trained.method,
        bench.task,
        base,
        len(bench.data),
        bench.samples,
        bench.seeds,
        bench.compiler.layers,
        measured.metrics,
        costs_of(bench, measured, widths, progress),
        _configuration(trained, bench, widths),
    )


def choose_bits(
    source: object,
    data: Labelled,
    budget: str,
    *,
    calibration: Arrays | None = None,
    task: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    samples: int | None = None,
    rows: int | None = None,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    progress: Progress | None = None,
    **compile_options: Unpack[CompileOptions],
) -> Choice:
    """Choose bits for every layer and the input, as few as `budget` allows, on labelled `data`.

    `budget` is "METRIC+X%", or "METRIC+X" in the metric's unit (error and ece: points of %). The
    metric is nll, error, ece, brier or rmse. The float network has the same data, seeds, masks and
    eps. "kl+X" limits KL(float || quantised) in nats. "rank-X" limits how much the
    rank correlation of the epistemic uncertainties with the float network's is below 1.

    The search begins at `bits` (default and "auto": w8a7), the most that any layer gets. `layers`
    with bits of their own, and an input that has `input_bits`, keep them. `source` and the options
    of reading and compiling are those of `qbnnc.compile`. With the choice's `options`, it compiles
    the network that was measured. `data` and `rows` are as in `sensitivity`.

    The choice is measured as a whole, on these data. On other data the metric tends to be a little
    worse, the more so the fewer these are: CalibrationWarning for less than 200 rows. UserError if
    `bits` are over the budget.
    """
    limits = Budget.parse(budget)
    if compile_options.get("bits") == "auto":
        compile_options["bits"] = None
    options = options_from(compile_options, samples, task)
    reading = SourceOptions.of(model, model_args, dropout, trust_pickle, output_names, member_axis)
    setting = Setting(data, None, seeds, rows, TargetUnits(target_mean, target_std))
    bench = bench_of(read(source, calibration, reading), place_of(source), setting, options)
    warn_of_noisy_choice(len(bench.data))
    return search(bench, limits, compile_options, progress)


def _configuration(model: Model, bench: Bench, tried: Sequence[Tried]) -> dict[str, str]:
    """Everything that decides the costs, as texts: the keys are those of files of results."""
    compiler, how = bench.compiler, bench.compiler.how
    arrays = {"calibration": compiler.rows, "test": bench.data.x, "test labels": bench.data.y}
    if bench.ood is not None:
        arrays["confusion"] = bench.ood
    texts = {name: describe_array(array) for name, array in arrays.items()}
    return texts | {
        "network": f"{model.method}, sha256 {format.digest(model)[:12]}",
        "compiler": COMPILER,
        "--bits": str(compiler.base),
        "--weights": compiler.base.scheme(),
        "--tried": ",".join(map(str, tried)),
        "--seed": ",".join(map(str, bench.seeds)),
        "--samples": str(bench.samples),
        **{f"calibration {f.name}": str(getattr(how, f.name)) for f in fields(how)},
    }


def rows_of(found: Sensitivities, command: str = "") -> Iterator[Row]:
    """A header, and a row for each cost. `command` is for people."""
    made = {"qbnnc": COMPILER.split()[-1], "python": platform.python_version()}
    made |= {"command": command} if command else {}
    yield Header(
        found.network,
        found.method,
        found.task,
        digest(found.configuration),
        made,
        found.configuration,
    )
    for cost in found.costs:
        yield Sensitivity(
            found.network,
            cost.layer.name,
            cost.bits.weights,
            cost.bits.activations,
            cost.metrics,
            found.baseline,
        )


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise FileError, before any work, unless sensitivities can go there."""
    check_writable(path)
    if Path(path).exists() and not _holds_sensitivities(path):
        raise FileError(
            "holds something else than sensitivities", path, "give another file with `output`"
        )


def _holds_sensitivities(path: str | os.PathLike[str]) -> bool:
    try:
        rows = read_rows(path)
    except FileError:
        return False
    first = next(iter(rows), None)
    of_us = isinstance(first, Header) and "--tried" in first.data
    return of_us and all(isinstance(row, Sensitivity) for row in rows[1:])


def write_rows(found: Sensitivities, path: str | os.PathLike[str], command: str = "") -> None:
    """Write sensitivities as a study's file; FileError if it cannot be written."""
    lines = (to_json(row) + "\n" for row in rows_of(found, command))
    write_atomically(path, "".join(lines).encode())
