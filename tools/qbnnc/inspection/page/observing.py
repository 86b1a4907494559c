"""Activations of a member on data: their histograms, from the oracle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qbnnc.inspection.page.facts import histogram_of
from qbnnc.inspection.page.histogram import Histogram
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import RandomOp
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array

ROWS = 32
"""As many rows are looked at: the oracle takes its time."""


def observed(model: Model, x: NDArray[np.float32]) -> Mapping[Value, Histogram]:
    """Histograms of the values of the first member, for the first rows of x [N, *shape].

    One sample of each row, with the random numbers of seed 0. Accumulators, masks and noise are
    left out.
    """
    rows = x[:ROWS]
    skipped = {n.output for n in model.graph.nodes if isinstance(n.op, RandomOp)}
    found = dict[Value, Histogram]()

    def watch(value: Value, array: Array) -> None:
        if value not in skipped and array.dtype != np.int32 and array.size:
            found[value] = histogram_of(array, value)

    draw = Draw.of(0, model.sample_numbers(0, range(1)), range(len(rows)))
    evaluate(model.graph, rows, draw, watch)
    return found
