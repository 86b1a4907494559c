"""Ensembles of heads on a common trunk, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from tests.graphs import inputs
from tests.net import Net


def with_common_trunk(
    members: int, p: float | None, bits: str = "w8a7", trunks: Sequence[int] | None = None
) -> Model:
    """INTEGER: convolutions of a trunk's seed, a head of the member's own; dropout in it if p.

    `trunks` are the seeds of the members' trunks, one for all by default.
    """
    seeds = (1,) * members if trunks is None else trunks
    graphs = tuple(_member(seed, 10 + number, p) for number, seed in enumerate(seeds))
    rows = inputs(graphs[0], 24)
    options = Options(Quantisation(Bits.parse(bits)), samples=None if p is None else 2)
    return quantise_model(Model(graphs, Head(Task.CLASSIFICATION)), rows, options)


def _member(trunk: int, head: int, p: float | None) -> Graph:
    net = Net((1, 12, 12), trunk)
    for number in (1, 2):
        net.conv(4 + 2 * number, 3, f"conv{number}").relu(f"relu{number}").max_pool(f"pool{number}")
    net.flatten("flatten")
    net.rng = np.random.default_rng(head)
    net.linear(12, "fc1").relu("relu3")
    if p is not None:
        net.dropout(p, "drop")
    return net.linear(5, "fc2").graph()
