"""The fidelity of compiled networks at few bits: the tables of docs/explanation/few-bits.md.

    python -m tools.bench.few_bits -o docs/explanation/few-bits.md [--networks diabetes_bbb ...]
        [--bits w8a7 w4a4 ...] [--levers nearest ... default] [--lever-bits w4a4 w3a3]
        [--fine-tune w3a3 w2a2] [--seeds 1] [--samples 1000] [--quick] [--resume] [--render]

The command trains its networks in seconds to a minute each, and keeps them under build/. A width
is measured with the default options. At the widths of --lever-bits the levers are switched on one
by one (tools/bench/few_bits/levers.py), and --fine-tune trains at its widths, which takes longer.

A compiled network and its float one predict with the same random numbers, L = 1,000 samples of each
row. The float network at another seed is the ceiling: two runs of one network are no closer. A
measure's standard error is the jackknife's over five groups of samples and ten of rows. With
--seeds each network is trained several times, and rows are means over these seeds.

Every row goes to a file of JSON lines beside the page as soon as it is measured, and the page is
made of that file (--render makes it alone). So rows can be measured again one by one, and --resume
continues a stopped run. --quick takes small networks of tables at few samples: a trial of the
command, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qbnnc.support.errors import UserError
from tools.bench.few_bits.levers import DEFAULT, FEW_LEVERS, LEVERS, TUNED, check_levers, compiled
from tools.bench.few_bits.measuring import (
    Estimate,
    compiled_predicted,
    distances,
    float_predicted,
)
from tools.bench.few_bits.networks import Case, cases, model_of
from tools.bench.few_bits.page import check_marks, write_page
from tools.bench.few_bits.rows import FLOAT, Row
from tools.bench.page_options import parsed_with_page_options

SAMPLES, QUICK_SAMPLES = 1000, 50
WIDTHS = ("w8a7", "w8a4", "w4a7", "w4a4", "w3a3", "w2a7")
LEVER_WIDTHS = ("w4a4", "w3a3")
LARGE_WIDTHS, LARGE_LEVER_WIDTHS = ("w8a7", "w4a4", "w3a3"), ("w4a4",)
OTHER_SEED = 1000  # is added for the float network at another seed
QUICK = ("diabetes_pw", "diabetes_mcd")


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows that are wanted, network by network."""
    known = {row.place for row in kept(options.results)} if options.resume else set()
    for case in cases():
        for seed in range(options.seeds) if case.name in options.networks else ():
            wanted = [
                (bits, lever)
                for bits, lever in cells_of(options, case)
                if (case.name, bits, lever, seed, options.samples) not in known
            ]
            if wanted:
                yield from rows_of(case, seed, wanted, options.samples)


def cells_of(options: argparse.Namespace, case: Case) -> list[tuple[str, str]]:
    """Widths and levers of a network, in the order of measuring."""
    widths, lever_widths = options.bits, options.lever_bits
    if widths is None:
        widths = LARGE_WIDTHS if case.large else WIDTHS
    if lever_widths is None:
        lever_widths = LARGE_LEVER_WIDTHS if case.large else LEVER_WIDTHS
    levers = options.levers or (FEW_LEVERS if case.large else [lever.name for lever in LEVERS])
    cells = [("", FLOAT), *((bits, DEFAULT) for bits in widths)]
    cells += [(bits, lever) for bits in lever_widths for lever in levers]
    for bits in options.fine_tune:
        cells += [(bits, DEFAULT), (bits, TUNED)]
    return list(dict.fromkeys(cells))


def rows_of(case: Case, seed: int, cells: list[tuple[str, str]], samples: int) -> Iterator[Row]:
    """Measure one network's cells."""
    rows = case.load()
    model, data = model_of(case, rows, seed), rows.cut(case.rows)
    reference = float_predicted(model, data, samples, seed)
    for bits, lever in cells:
        place = case.name, bits, lever, seed, samples
        row = Row(*place, data.task.value, versions(), command(), {}, None)
        if lever == FLOAT:
            if not model.stochastic:
                continue
            predicted = float_predicted(model, data, samples, seed + OTHER_SEED)
        else:
            try:
                made = compiled(model, bits, lever, rows.x_train, rows.y_train)
            except UserError as error:
                yield replace(row, failure=str(error))
                continue
            predicted = compiled_predicted(made, data, samples, seed)
        found = distances(reference, predicted, data)
        measures = {name: (its.value, its.error) for name, its in found.items()}
        yield replace(row, measures=measures, kl=found["kl"])


def versions() -> str:
    names = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    return f"Python {platform.python_version()}, {names}"


def command() -> str:
    return " ".join(["python -m tools.bench.few_bits", *sys.argv[1:]])


def kept(results: Path | None) -> list[Row]:
    """The rows of earlier runs."""
    if results is None or not results.exists():
        return []
    return [_row(json.loads(text)) for text in results.read_text().splitlines()]


def _row(found: dict[str, Any]) -> Row:
    """The row of a line of JSON, which has lists for tuples."""
    measures = {name: (value, error) for name, (value, error) in found["measures"].items()}
    kl = found["kl"] and Estimate(
        found["kl"]["value"],
        tuple(found["kl"]["without_group"]),
        tuple(found["kl"]["without_block"]),
    )
    return Row(**{**found, "measures": measures, "kl": kl})


def said(row: Row) -> str:
    """A row for people who wait."""
    values = (f"{name} {value:.4g} ± {e:.2g}" for name, (value, e) in row.measures.items())
    return f"{row.network} {row.bits} {row.lever}: {row.failure or ', '.join(values)}"


def parsed() -> argparse.Namespace:
    names = [case.name for case in cases()]
    levers = [lever.name for lever in LEVERS]
    parser = argparse.ArgumentParser(description="How close compiled networks are to float.")
    parser.add_argument("--networks", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--bits", nargs="*", metavar="wNaM", help="widths with the default options")
    parser.add_argument("--lever-bits", nargs="*", metavar="wNaM", help="widths for all levers")
    parser.add_argument("--levers", nargs="+", choices=levers, metavar="NAME")
    parser.add_argument("--fine-tune", nargs="*", default=(), metavar="wNaM")
    parser.add_argument("--seeds", type=int, default=1, help="how often a network is trained")
    parser.add_argument("--samples", type=int, help=f"L; {SAMPLES} by default")
    options = parsed_with_page_options(parser, quick="try the command on two networks")
    options.networks = options.networks or (QUICK if options.quick else names)
    options.samples = options.samples or (QUICK_SAMPLES if options.quick else SAMPLES)
    return options


def main() -> None:
    """Measure, keep every row, and make the page of the kept rows."""
    options = parsed()
    check_levers()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.output is not None:
        check_marks(options.output)
    if not options.render:
        start = time.process_time()
        for row in measure(options):
            print(f"{time.process_time() - start:6.1f} s  {said(row)}", flush=True)
            if options.results is not None:
                with options.results.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    if options.output is not None:
        write_page(options.output, kept(options.results))


if __name__ == "__main__":
    main()
