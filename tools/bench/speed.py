"""Speed of compiled networks and other engines: the tables of docs/explanation/performance.md.

    python -m tools.bench.speed -o docs/explanation/performance.md [--tables native avx2]
        [--cases lenet_mcd ...] [--batches 1 32] [--threads 2] [--quick] [--resume] [--render]

A table is one instruction set. `native` is the best that the CPU has. The name of another forces it
on our runtime, while other engines use all that the CPU has. With `avx2` everything newer is hidden
from all engines (tools/bench/confine.py). Each table is measured in a process of its own.

Contenders (tools/bench/contenders.py) take turns in one process. Each prediction gives L = 20
samples, drawn anew. A figure is the ratio of the medians of their times: how many times longer
others take than our runtime for the same kind of prediction. It is the time of the CPU on one
thread, which a busy machine disturbs less than the time that passes. For more threads our runtime
is compared with itself on one, by the time that passes. A call that counts follows one that does
not, which brings back to the caches what other contenders have displaced.

Every row goes to a file of JSON lines beside the page as soon as it is measured, and the page is
made of that file (--render makes it alone). So rows can be measured again one by one, and --resume
continues a stopped run. --quick takes a moment for each row of the small networks, without
torch.compile: a trial of the command, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else PyTorch's threads spin in others' turns

import numpy as np

from qbnnc.bench.baselines import FloatNetwork
from qbnnc.bench.timing import Contender, ratio, take_turns
from qbnnc.ir.types import Array
from qbnnc.loading.sources import CalibrationWarning
from qbnnc.runtime import load
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.threads import physical_cores
from tools.bench import confine
from tools.bench.contenders import COMPARED, field_of
from tools.bench.machine import machine
from tools.bench.networks import SEED, Case, Files, cases, compile_files, network_of
from tools.bench.page import CONFINED, NATIVE, Row, cells, check_marks, line, write_page
from tools.bench.page_options import parsed_with_page_options

TABLE = "QBNNC_BENCH_TABLE"  # set in the process that measures a table
SMALL, LARGE, MOMENT = 3.0, 10.0, 0.4  # seconds of a row


class Bench:
    """Measures the rows of one table."""

    def __init__(self, options: argparse.Namespace, table: str) -> None:
        self.options, self.table, self.machine = options, table, machine()

    def rows(self, case: Case, known: set[tuple[object, ...]]) -> Iterator[Row]:
        """Measure the rows of a case that are not known already."""
        counts = [(1,), *((1, count) for count in self.options.threads if count > 1)]
        wanted = [
            (batch, threads)
            for threads in counts
            for batch in self.options.batches
            if (self.table, self.machine, case.name, batch, threads) not in known
        ]
        if not wanted:
            return
        with tempfile.TemporaryDirectory() as folder:
            network = network_of(case, Path(folder))
            files = compile_files(network, Path(folder), case.name, self.options.bits)
            for batch, threads in wanted:
                yield self.row(case, network, files, batch, threads)

    def row(
        self, case: Case, network: FloatNetwork, files: Files, batch: int, threads: tuple[int, ...]
    ) -> Row:
        x = np.random.default_rng(1).standard_normal((batch, *case.shape)).astype(np.float32)
        if len(threads) > 1:
            calls = {str(count): ours(files, x, count) for count in threads}
            compared = {"1": str(threads[-1])}
        else:
            field = field_of(network, files, x, quick=self.options.quick)
            for name, reason in field.reasons.items():
                print(f"  {name}: {reason}", file=sys.stderr)
            calls = field.calls
            compared = {name: ours for name, ours in COMPARED.items() if name in calls}
        seconds = self.options.seconds or (LARGE if case.large else SMALL)
        clock = time.perf_counter if len(threads) > 1 else time.process_time
        if self.options.quick:
            seconds = MOMENT
        times = take_turns(calls, seconds, calls, clock, warm=True)
        return Row(
            table=self.table,
            machine=self.machine,
            command=command(),
            case=case.name,
            batch=batch,
            threads=threads,
            microseconds={
                name: round(statistics.median(its) * 1e6, 2) for name, its in times.items()
            },
            ratios={name: str(ratio(times[name], times[its])) for name, its in compared.items()},
        )


def ours(files: Files, x: Array, threads: int) -> Contender:
    """Our runtime on some threads, as a contender of itself; it is called once."""
    session = load(files.qbnn, threads)
    out = session.new_out(len(x))

    def call() -> None:
        session.predict_into(x, out, SEED)

    call()
    return call


def command() -> str:
    return " ".join(["python -m tools.bench.speed", *sys.argv[1:]])


def kept(results: Path | None) -> list[Row]:
    """The rows of earlier runs."""
    if results is None or not results.exists():
        return []
    found = [json.loads(text) for text in results.read_text().splitlines()]
    return [Row(**{**row, "threads": tuple(row["threads"])}) for row in found]


def measure(options: argparse.Namespace, table: str, results: Path | None) -> None:
    """Measure one table in this process: print its rows and keep them."""
    warnings.simplefilter("ignore", CalibrationWarning)
    bench = Bench(options, table)
    known = {row.place for row in kept(results)} if options.resume else set()
    titles = {case.name: case.title for case in cases()}
    print(f"{table}: {bench.machine}", flush=True)
    for case in cases():
        if case.name not in options.cases:
            continue
        for row in bench.rows(case, known):
            print(line(cells(row, titles)), flush=True)
            if results is not None:
                with results.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")


def measure_apart(table: str) -> int:
    """Measure one table in a process that has its instruction set; return the exit status."""
    given = os.environ | {TABLE: table}
    given.pop("QBNNC_ISA", None)
    if table == CONFINED:
        start = [confine.__file__, __file__]
    else:
        start = ["-m", "tools.bench.speed"]
        if table != NATIVE:
            given["QBNNC_ISA"] = table
    return subprocess.run([sys.executable, *start, *sys.argv[1:]], env=given).returncode


def parsed() -> argparse.Namespace:
    names = [case.name for case in cases()]
    small = [case.name for case in cases() if not case.large]
    tables = [NATIVE, *(isa.value for isa in Isa)]
    parser = argparse.ArgumentParser(description="How fast compiled networks are.")
    parser.add_argument("--tables", nargs="+", choices=tables, default=[NATIVE], metavar="TABLE")
    parser.add_argument("--cases", nargs="+", choices=names, metavar="CASE")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--threads", nargs="+", type=int, default=[physical_cores()])
    parser.add_argument("--bits", default="w8a7")
    parser.add_argument("--seconds", type=float, help=f"of each row; {SMALL:g}, ResNet {LARGE:g}")
    options = parsed_with_page_options(parser, quick="try the command on small networks")
    options.cases = options.cases or (small if options.quick else names)
    return options


def main() -> None:
    """Measure the tables, each in a process of its own, and make the page of the kept rows."""
    options = parsed()
    if table := os.environ.get(TABLE):
        measure(options, table, options.results)
        return
    if options.output is not None:
        check_marks(options.output, options.tables)
    if not options.render:
        failed = [table for table in options.tables if measure_apart(table)]
        if failed:
            raise SystemExit(f"not measured to the end: {', '.join(failed)}")
    if options.output is not None:
        write_page(options.output, kept(options.results), options.tables)


if __name__ == "__main__":
    main()
