"""Pages and tables of the paper's experiments, and a check of its claims.

    python -m qbnnc.study.paper.paper_report OUT DOCS

paper_study.py writes OUT. DOCS gets a page NETWORK.html for each network, and tables.md. The tables
have a metric of each method at each pair of widths, quantised after training (PTQ) and fine-tuned
(QAT). They show mean and standard deviation over seeds or folds, with the compiler's defaults and
with the paper's scheme. The paper's claims come with the figures of the better of PTQ and QAT.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qbnnc.study.paper.training.jobs import IMAGES, NETWORKS
from qbnnc.study.paper.training.recipes import METHODS
from qbnnc.study.report import write_report
from qbnnc.study.results import Precision, Result, Row, read_rows
from qbnnc.support.files import write_atomically

PERCENT = ("error", "ece")
TITLES = {"error": "error, %", "ece": "ECE, %", "nll": "NLL, nats", "ape": "aPE, nats"}
TITLES |= {"ood_ape": "aPE of OOD data, nats", "rmse": "RMSE, units of y"}
IMAGE_METRICS = ("error", "nll", "ece", "ape", "ood_ape")
TABLE_METRICS = ("rmse", "nll")
WEIGHTS = ("w8a7", "w7a7", "w6a7", "w5a7", "w4a7", "w3a7")
ACTIVATIONS = ("w8a7", "w8a6", "w8a5", "w8a4", "w8a3")
BOTH = ("w4a4", "w3a3")


@dataclass(frozen=True, slots=True)
class Cell:
    """Values of one metric, one a seed or fold."""

    values: tuple[float, ...]
    seeds: tuple[int, ...]

    def change_from(self, other: Cell) -> float:
        """The change of the mean, over the seeds or folds that both have."""
        known = dict(zip(other.seeds, other.values, strict=True))
        theirs = [known[seed] for seed in self.seeds if seed in known] or list(other.values)
        return self.mean - float(np.mean(theirs))

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    def text(self, metric: str) -> str:
        factor, places = (100, 2) if metric in PERCENT else (1, 3)
        mean = f"{factor * self.mean:.{places}f}"
        if len(self.values) == 1:
            return mean
        return f"{mean} ± {factor * np.std(self.values, ddof=1):.{places}f}"


class Network:
    """All results of one network in one scheme, without shifted images.

    `folder` holds the results of the paper's scheme; None: the compiler's defaults.
    """

    def __init__(self, name: str, out: Path, folder: str | None = None) -> None:
        self.name, self.scheme = name, "defaults" if folder is None else "the paper's scheme"
        files = sorted(out.glob(f"{name}_*.jsonl"))
        self.rows: list[Row] = [row for file in files for row in read_rows(file)]
        plain = [f for f in files if not f.stem.endswith("_shifts")]
        kept = (row for file in plain for row in read_rows(file) if isinstance(row, Result))
        self.results = [row for row in kept if row.error is None]
        if folder is not None:
            floats = [row for row in self.results if row.precision is Precision.FLOAT]
            these = (
                r for f in sorted((out / folder).glob(f"{name}_*.jsonl")) for r in read_rows(f)
            )
            others = [row for row in these if isinstance(row, Result) and row.error is None]
            self.results = floats + others if others else []
        self.metrics = IMAGE_METRICS if name == IMAGES else TABLE_METRICS
        compiled = {r.network for r in self.results if r.precision is not Precision.FLOAT}
        self.methods = [method for method in METHODS if method in compiled]

    def cell(self, method: str, bits: str | None, precision: Precision, metric: str) -> Cell | None:
        """The values of one configuration; `bits` is None for float."""
        found = [
            r
            for r in self.results
            if r.network == method and r.precision is precision and _bits(r) == bits
        ]
        found.sort(key=lambda r: r.seed)
        values = tuple(_value(r, metric) for r in found)
        return Cell(values, tuple(r.seed for r in found)) if found else None

    def best(self, method: str, bits: str | None, metric: str) -> Cell | None:
        """The values of PTQ or QAT, whichever has the lower NLL; of float if `bits` is None."""
        real = self.cell(method, None, Precision.FLOAT, metric if bits is None else "nll")
        if bits is None or real is None:
            return real
        both = [
            (nll.change_from(real), precision)
            for precision in (Precision.PTQ, Precision.QAT)
            if (nll := self.cell(method, bits, precision, "nll")) is not None
        ]
        return self.cell(method, bits, min(both)[1], metric) if both else None

    def ratio(self, method: str, bits: str, metric: str) -> float:
        """The ratio to the float network; NaN without results."""
        ours, real = self.best(method, bits, metric), self.best(method, None, metric)
        if ours is None or real is None:
            return np.nan
        return ours.mean / (ours.mean - ours.change_from(real))

    def change(self, method: str, bits: str, metric: str) -> float:
        """The change from the float network; NaN without results."""
        ours, real = self.best(method, bits, metric), self.best(method, None, metric)
        return np.nan if ours is None or real is None else ours.change_from(real)


def _bits(result: Result) -> str | None:
    return None if result.weights is None else f"w{result.weights}a{result.activations}"


def _value(result: Result, metric: str) -> float:
    if metric.startswith("ood_"):
        return float((result.ood or {}).get(metric.removeprefix("ood_"), np.nan))
    return float(result.metrics[metric])


def tables(network: Network) -> Iterator[str]:
    """A table for each metric: a row for each pair of widths, two columns for each method."""
    for metric in network.metrics:
        yield f"\n### {network.name}, {network.scheme}: {TITLES[metric]}\n"
        yield "| bits | " + " | ".join(f"{m} PTQ | {m} QAT" for m in network.methods) + " |"
        yield "|---|" + "---|" * (2 * len(network.methods))
        real = (network.best(m, None, metric) for m in network.methods)
        cells = (["", ""] if c is None else [c.text(metric), ""] for c in real)
        yield _line("float", [text for pair in cells for text in pair])
        for bits in dict.fromkeys((*WEIGHTS, *ACTIVATIONS, *BOTH)):
            found = (
                network.cell(method, bits, precision, metric)
                for method in network.methods
                for precision in (Precision.PTQ, Precision.QAT)
            )
            yield _line(bits, ["" if c is None else c.text(metric) for c in found])


def _line(title: str, cells: list[str]) -> str:
    return f"| {title} | " + " | ".join(cells) + " |"


def claims(network: Network) -> Iterator[str]:
    """The paper's claims, each with the figures of this network that decide it."""
    first = network.metrics[0]
    name = TITLES[first].split(",")[0]
    yield f"\n### {network.name}, {network.scheme}\n"
    kept = {m: network.change(m, "w8a7", "nll") for m in network.methods}
    yield _claim("NLL stays at w8a7: changes by less than .01 nats", kept, all(
        abs(v) < 0.01 for v in kept.values()
    ), "{:+.4f}")  # fmt: skip
    if network.name == IMAGES:
        ece = {m: 100 * network.change(m, "w8a7", "ece") for m in network.methods}
        yield _claim("ECE stays at w8a7: changes by less than .5 points", ece, all(
            abs(v) < 0.5 for v in ece.values()
        ), "{:+.2f}")  # fmt: skip
    weights = {m: network.ratio(m, "w3a7", first) for m in network.methods}
    activations = {m: network.ratio(m, "w8a3", first) for m in network.methods}
    yield _claim(
        f"activations matter more than weights: {name} relative to float at w8a3 / at w3a7",
        {m: activations[m] / weights[m] for m in network.methods},
        all(activations[m] > weights[m] for m in network.methods),
        "{:.3f}",
    )
    yield _claim(
        f"SGHMC is the most sensitive to weights: {name} relative to float at w3a7",
        weights, max(weights, key=lambda m: weights[m]) == "sghmc", "{:.3f}",
    )  # fmt: skip
    yield _claim(
        f"MCD is the most sensitive to activations: {name} relative to float at w8a3",
        activations, max(activations, key=lambda m: activations[m]) == "mcd", "{:.3f}",
    )  # fmt: skip
    both = {m: network.ratio(m, "w3a3", first) for m in network.methods}
    bayesian = [v for m, v in both.items() if m != "pointwise"]
    yield _claim(
        f"Bayesian networks degrade slower than pointwise: {name} relative to float at w3a3",
        both, max(bayesian, default=np.nan) < both.get("pointwise", np.nan), "{:.3f}",
    )  # fmt: skip
    if network.name == IMAGES:
        yield from _uncertain(network)


def _uncertain(network: Network) -> Iterator[str]:
    margins = {}
    for method in network.methods:
        widths = dict.fromkeys((*WEIGHTS, *ACTIVATIONS, *BOTH))
        pairs = (
            (network.best(method, b, "ood_ape"), network.best(method, b, "ape")) for b in widths
        )
        margins[method] = min(a.mean - b.mean for a, b in pairs if a is not None and b is not None)
    yield _claim(
        "no method collapses: least of (aPE of OOD data - aPE of test data) over all widths",
        margins, all(v > 0 for v in margins.values()), "{:+.3f}",
    )  # fmt: skip


def _claim(text: str, figures: dict[str, float], holds: bool, form: str) -> str:
    shown = ", ".join(f"{m} {form.format(v)}" for m, v in figures.items())
    return f"- **{'holds' if holds else 'does not hold'}**: {text}: {shown}."


def main() -> None:
    """Write the pages and the tables."""
    parser = argparse.ArgumentParser(description="Pages and tables of the paper's experiments.")
    parser.add_argument("out", type=Path)
    parser.add_argument("docs", type=Path)
    options = parser.parse_args()
    options.docs.mkdir(parents=True, exist_ok=True)
    own = [network for name in NETWORKS if (network := Network(name, options.out)).results]
    paper = [
        network for name in NETWORKS if (network := Network(name, options.out, "paper")).results
    ]
    networks = own + paper
    lines = ["# Tables of the study", "", "Written by `tools/study/paper/paper_report.py`."]
    lines += ["", "## The paper's claims", *(line for n in networks for line in claims(n))]
    lines += ["", "## Every configuration", "", "PTQ: quantised after training; QAT: fine-tuned."]
    lines += [line for network in networks for line in tables(network)]
    write_atomically(options.docs / "tables.md", ("\n".join(lines) + "\n").encode())
    for network in own:
        write_report(network.rows, options.docs / f"{network.name}.html", f"{network.name}: bits")


if __name__ == "__main__":
    main()
