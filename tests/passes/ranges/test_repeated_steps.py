"""The values of the steps of a loop have one scale, and so constants do not grow with the steps."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.rng import Draw
from qbnnc.passes.options import Bits, Quantisation, Rounding
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.passes.ranges.repeated_steps import repeated_values
from tests.graphs import lenet, mlp, resnet
from tests.recurrent_graphs import FEATURES, recurrent


def quantised(graph: Graph, bits: str = "w8a7") -> Model:
    rows = np.random.default_rng(3).normal(0, 1, (100, *graph.input.type.shape))
    options = Options(Quantisation(Bits.parse(bits)), calibration=Calibration(passes=1))
    return quantise_model(Model((graph,), Head(Task.RAW)), rows.astype(np.float32), options)


def groups(graph: Graph) -> dict[str, set[str]]:
    """The names of the points that share a scale, by the name of the first."""
    found = defaultdict[str, set[str]](set)
    for point in quantisation_points(graph):
        found[point.group.name].add(point.value.name)
    return found


def test_a_value_of_all_steps_is_one_group() -> None:
    found = groups(recurrent(6))
    assert found["total"] == {"total", "total.2", "total.3", "total.4"}
    assert {"kept", "kept.2", "kept.3"} <= found["kept"]
    assert {"memory", "memory.2", "memory.3"} <= found["memory"]
    assert not found["kept"] & found["memory"]


def test_no_other_network_has_loops() -> None:
    for network in (mlp, lenet, resnet):
        assert repeated_values(network()) == {}


def test_two_uses_are_no_loop() -> None:
    assert repeated_values(recurrent(3)) == {}
    assert repeated_values(recurrent(4))


@pytest.mark.parametrize("bits", ["w8a7", "w4a4", "w3a4"])
@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_constants_do_not_grow(bits: str, drop: float) -> None:
    """Weights are rounded to nearest at w8a7; at fewer bits they are fitted once for all steps."""
    sizes = set[int]()
    for steps in (8, 16):
        constants = quantised(recurrent(steps, drop=drop), bits).graph.constants
        sizes.add(len({(array.dtype.str, array.tobytes()) for array in constants.values()}))
    assert len(sizes) == 1


def test_a_fitted_loop_is_nearer_than_a_rounded_one() -> None:
    """Fitted weights of 3 bits give outputs nearer to those of the float network."""
    graph = recurrent(8)
    rows = np.random.default_rng(3).normal(0, 1, (256, 8, FEATURES)).astype(np.float32)
    new = np.random.default_rng(5).normal(0, 1, (256, 8, FEATURES)).astype(np.float32)
    draw, errors = Draw.of(0, [0], range(256)), {}
    (wanted,) = evaluate(graph, new, draw)
    for rounding in Rounding:
        options = Options(
            Quantisation(Bits.parse("w3a8"), rounding=rounding),
            calibration=Calibration(passes=1),
        )
        model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
        (found,) = evaluate(model.graph, new, draw)
        errors[rounding] = float(np.square(found - wanted).mean())
    assert errors[Rounding.FITTED] < errors[Rounding.NEAREST]
