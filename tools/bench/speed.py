"""The speed of artefacts: our runtime beside onnxruntime on the same integers, and beside float32.

    python -m tools.bench.speed -o docs/performance.md [--confine avx2] [--resume]
        [--cases lenet_mcd ...] [--batches 1 32] [--threads 1 2] [--bits w8a7] [--seconds S]

Contenders take turns in one process (qbnnc.bench.timing). Each prediction draws L = 20 samples anew
and computes their statistics. Contenders are our runtime on the .qbnn file, and onnxruntime on the
.onnx file of the same compile, whose samples are checked to be the same bits. The float32 baselines
are those of qbnnc.bench.baselines: a lower bound for float engines, PyTorch eager, torch.compile.
A figure is the ratio of the medians of their times. Our runtime with one thread and with all
threads is compared too.

Every row goes to a file beside the page as soon as it is measured, and the page is made of that
file. So rows can be measured again one by one (--cases, ...), and --resume continues a stopped run.
$QBNNC_ISA forces an instruction set on our runtime; --confine on all contenders.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else PyTorch's threads spin in others' turns

import numpy as np
import torch

import qbnnc
from qbnnc.bench.baselines import COMPILED, EAGER, LOWER_BOUND, FloatNetwork
from qbnnc.bench.timing import Contender, ratio, take_turns
from qbnnc.ir.types import Array
from qbnnc.loading.artefacts import Artefact, open_artefact
from qbnnc.loading.sources import CalibrationWarning, SourceOptions, read
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.threads import physical_cores
from qbnnc.support.files import write_atomically
from tools.bench import confine
from tools.bench.networks import Case, cases

SAMPLES, SEED = 20, 3
OURS, THEIRS = "qbnnc", "onnxruntime int8"
FLOATS = (LOWER_BOUND, EAGER, COMPILED)
RIVALS = (THEIRS, *FLOATS)
SMALL, LARGE = 2.5, 7.0  # seconds of a row
Place: TypeAlias = tuple[str, str, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """One network at one batch size; our median, and ratios to it by contender.

    With two numbers of threads it is our runtime alone, the first number against the second.
    """

    machine: str
    command: str
    case: str
    batch: int
    threads: tuple[int, ...]
    milliseconds: float
    ratios: dict[str, str]

    @property
    def place(self) -> Place:
        """The place of this measurement; a newer row replaces an older one of the same place."""
        return self.machine, self.case, self.batch, self.threads

    def cells(self, titles: dict[str, str]) -> list[str]:
        """The row's cells in the page."""
        threads = " and ".join(map(str, self.threads))
        which = [titles[self.case], str(self.batch), threads]
        columns = RIVALS if len(self.threads) == 1 else (OURS,)
        return [*which, *(self.ratios.get(name, "-") for name in columns)]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A network and its two artefacts, calibrated on noise: only their speed matters."""

    network: FloatNetwork
    files: tuple[Path, Path]

    @staticmethod
    def of(case: Case, bits: str, folder: Path) -> Compiled:
        torch.manual_seed(0)
        members = [member.eval() for member in case.make()]
        x = np.random.default_rng(0).standard_normal((128, *case.shape)).astype(np.float32)
        source: object = members[0]
        if len(members) > 1:
            source = [folder / f"member{number}.pt" for number in range(len(members))]
            for path, member in zip(source, members, strict=True):
                torch.save(member.state_dict(), path)
        model = read(source, x, SourceOptions(case.factory, case.arguments))
        files = folder / f"{case.name}.qbnn", folder / f"{case.name}.onnx"
        qbnnc.compile(
            model,
            files,
            bits=bits,
            samples=SAMPLES // len(members),
            calibration_passes=1,
            rounding="nearest",
            bias_correction=False,
        )
        return Compiled(FloatNetwork(model, SAMPLES), files)


class Bench:
    """Measures what is asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.machine = options, machine()
        self.command = " ".join(["python -m tools.bench.speed", *sys.argv[1:]])

    def rows(self, case: Case, known: set[Place]) -> Iterator[Row]:
        """Measure the rows of a case that are not known already."""
        options, compiled = self.options, None
        counts: list[tuple[int, ...]] = [(count,) for count in options.threads]
        if len(options.threads) > 1:
            counts.append((options.threads[0], options.threads[-1]))
        with tempfile.TemporaryDirectory() as folder:
            for threads in counts:
                for batch in options.batches:
                    if (self.machine, case.name, batch, threads) in known:
                        continue
                    compiled = compiled or Compiled.of(case, options.bits, Path(folder))
                    yield self.row(case, compiled, batch, threads)

    def row(self, case: Case, compiled: Compiled, batch: int, threads: tuple[int, ...]) -> Row:
        x = np.random.default_rng(1).standard_normal((batch, *case.shape)).astype(np.float32)
        if len(threads) > 1:
            calls = {
                str(count): call(open_artefact(compiled.files[0], count), x) for count in threads
            }
            reference, compared = str(threads[-1]), {OURS: str(threads[0])}
        else:
            calls = contenders(compiled, x, threads[0])
            reference, compared = OURS, {name: name for name in RIVALS if name in calls}
        seconds = self.options.seconds or (LARGE if case.large else SMALL)
        times = take_turns(calls, seconds, called=FLOATS)
        ratios = {name: str(ratio(times[n], times[reference])) for name, n in compared.items()}
        median = round(statistics.median(times[reference]) * 1e3, 5)
        return Row(self.machine, self.command, case.name, batch, threads, median, ratios)


def contenders(compiled: Compiled, x: Array, threads: int) -> dict[str, Contender]:
    """The contenders that work on this machine, by name."""
    ours, theirs = (open_artefact(file, threads) for file in compiled.files)
    same_bits(ours, theirs, x)
    rivals = compiled.network.rivals(x, threads)
    for name, reason in rivals.reasons.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return {OURS: call(ours, x), THEIRS: call(theirs, x), **rivals.calls}


def call(artefact: Artefact, x: Array) -> Contender:
    return lambda: list(artefact.predict(x, seed=SEED).values())


def same_bits(a: Artefact, b: Artefact, x: Array) -> None:
    """Stop if the contenders do not compute the same."""
    ours, theirs = (p.predict(x, seed=SEED)["samples"] for p in (a, b))
    if not np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)):
        raise SystemExit("the two runtimes differ")


def machine() -> str:
    """The machine and the versions that the figures depend on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numba", "onnxruntime", "torch"))
    hidden = (
        ", AVX-512 and VNNI hidden from onnxruntime, PyTorch and numpy"
        if confine.CONFINED in os.environ
        else ""
    )
    python = platform.python_version()
    return f"{processor()}; instruction set {chosen().value}{hidden}; Python {python}, {versions}"


def processor() -> str:
    """The CPU's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def kept(results: Path | None) -> list[Row]:
    """The rows of earlier runs."""
    if results is None or not results.exists():
        return []
    found = [json.loads(line) for line in results.read_text().splitlines()]
    return [Row(**{**row, "threads": tuple(row["threads"])}) for row in found]


def page(rows: Sequence[Row]) -> str:
    """The two tables of one machine, the newest row of each place."""
    known = list(cases())
    order = {case.name: number for number, case in enumerate(known)}
    latest = {row.place: row for row in rows if row.case in order}
    ordered = sorted(latest.values(), key=lambda row: (order[row.case], row.batch, row.threads))
    titles = {case.name: case.title for case in known}
    lines = [f"{rows[0].machine}.", ""]
    lines += [f"    {command}" for command in dict.fromkeys(row.command for row in ordered)]
    for several, columns in ((False, [f"{n} / {OURS}" for n in RIVALS]), (True, ["faster by"])):
        chosen_rows = [row for row in ordered if (len(row.threads) > 1) is several]
        if chosen_rows:
            header = ["network", "batch", "threads", *columns]
            lines += ["", line(header), "|---" * len(header) + "|"]
            lines += [line(row.cells(titles)) for row in chosen_rows]
    return "\n".join(lines)


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def marked(output: Path) -> tuple[str, str]:
    """The page before and after the tables of this machine, with the marks."""
    mark = "<!-- speed avx2 -->" if confine.CONFINED in os.environ else "<!-- speed -->"
    parts = output.read_text().split(mark) if output.exists() else []
    if len(parts) != 3:
        raise SystemExit(f"{output}: has no two marks {mark}; write them where the tables go")
    return parts[0] + mark + "\n", "\n" + mark + parts[2]


def parsed() -> argparse.Namespace:
    names = [case.name for case in cases()]
    parser = argparse.ArgumentParser(description="How fast artefacts are.")
    parser.add_argument("--cases", nargs="*", choices=names, default=names, metavar="CASE")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 32])
    parser.add_argument("--threads", nargs="*", type=int, default=sorted({1, physical_cores()}))
    parser.add_argument("--bits", default="w8a7")
    parser.add_argument("--seconds", type=float, help=f"of each row; {SMALL:g}, ResNet {LARGE:g}")
    parser.add_argument("--confine", choices=["avx2"], help="hide what is newer from everybody")
    parser.add_argument("--resume", action="store_true", help="measure only what is missing")
    parser.add_argument("--results", type=Path, help="JSON lines; by default beside the page")
    parser.add_argument("-o", "--output", type=Path, help="a page with two marks <!-- speed -->")
    return parser.parse_args()


def main() -> None:
    """Print the rows, and make the page of them and of those measured before."""
    options = parsed()
    if options.confine and confine.CONFINED not in os.environ:
        os.execv(sys.executable, [sys.executable, confine.__file__, *sys.argv])
    output: Path | None = options.output
    results: Path | None = options.results or (output and output.with_suffix(".jsonl"))
    if output is not None:
        marked(output)
    warnings.simplefilter("ignore", CalibrationWarning)
    bench = Bench(options)
    rows = [row for row in kept(results) if row.machine == bench.machine]
    known = {row.place for row in rows} if options.resume else set()
    titles = {case.name: case.title for case in cases()}
    print(bench.machine, flush=True)
    for case in cases():
        if case.name not in options.cases:
            continue
        for row in bench.rows(case, known):
            rows.append(row)
            print(line(row.cells(titles)), flush=True)
            if results is not None:
                with results.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    if output is not None and rows:
        before, after = marked(output)
        write_atomically(output, (before + page(rows) + after).encode())


if __name__ == "__main__":
    main()
