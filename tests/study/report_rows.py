"""The rows of a small study, for tests of its report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from qbnnc.ir.head import Task
from qbnnc.study.results import Bin, Entropies, Header, Precision, Result, Row, Sensitivity, Shifted

FLOAT, PTQ, QAT = Precision
HEADER = Header(
    "fashion", "several", Task.CLASSIFICATION, "ab12", {"torch": "2.13"}, {"x": "f.npz"}
)
BITS = ((8, 7), (8, 5), (8, 3), (4, 7))


def result(
    network: str, precision: Precision, bits: tuple[int, int] | None, seed: int, nll: float
) -> Result:
    """A result whose other metrics follow from its NLL."""
    w, a = bits or (None, None)
    metrics = {"nll": nll, "error": 0.1 * nll, "unheard_of": nll}
    shifted = Shifted("rotation", 15.0, {"nll": nll + 1})
    return Result(
        f"{network}/{precision}/{bits}/{seed}", network, "MC dropout", precision, w, a, seed, 20,
        metrics, {"ape": 1.25}, (Bin(4, 0.55, 0.5), Bin(0, math.nan, math.nan)),
        Entropies((0.0, 1.0, 2.0), (3, 1), (1, 3)), (shifted,), {"qbnn": 4096}, 1.0,
        costs={} if bits is None else {"macs": 123000.0, "milliseconds": 0.25},
    )  # fmt: skip


def rows(networks: Iterable[str] = ("LeNet", "MLP")) -> list[Row]:
    """Float, PTQ and QAT, two seeds; 3 activation bits collapse, one configuration failed."""
    found: list[Row] = [HEADER]
    for network in networks:
        for seed in range(2):
            found.append(result(network, FLOAT, None, seed, 0.5 + 0.001 * seed))
            for w, a in BITS:
                nll = 40.0 if a == 3 else 0.5 + 0.02 * (8 - w) + 0.002 * (7 - a)
                found += [result(network, p, (w, a), seed, nll) for p in (PTQ, QAT)]
    found.append(Result("k", "MLP", "MC dropout", QAT, 2, 7, 0, 20, error="conv1: <b>overflow</b>"))
    found += [
        Sensitivity("LeNet", f"conv{i}", 4, 7, {"nll": 0.5 + i}, {"nll": 0.5}) for i in (1, 2)
    ]
    return found
