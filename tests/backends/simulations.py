"""The SIMULATED form of a network, quickly calibrated."""

from __future__ import annotations

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation, Scales, WeightScheme
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.graphs import inputs


def simulated(
    graph: Graph,
    bits: str = "w4a4",
    weights: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC,
    scales: Scales = Scales.FREE,
) -> Model:
    how = Options(
        Quantisation(Bits.parse(bits), weights, scales), calibration=Calibration(passes=2)
    )
    return simulate_model(Model((graph,), Head(Task.RAW)), inputs(graph, 30), how)
