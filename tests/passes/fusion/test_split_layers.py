"""split-layers, and outputs that are cut or reshaped: they leave as accumulators."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2d, Function, Linear, Reshape, Slice
from qbnnc.passes.fusion.split_layers import SplitLayers
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.graphs import inputs, run
from tests.net import Net


def halves(net: Net) -> Graph:
    """The last layer's channels 0 and 1.. as two outputs."""
    whole = net.value
    first = net.emit(Slice(0, 0, 1), name="mu").value
    net.value = whole
    return net.graph(first, net.emit(Slice(0, 1, 99), name="rest").value)


NETS = {
    "linear": lambda: Net((5,)).linear(4, "fc"),
    "conv": lambda: Net((2, 6, 6)).conv(4, 3, "conv"),
    "sampled": lambda: Net((5,)).bayesian(4, "fc", Linear()),
    "sampled conv": lambda: Net((2, 6, 6)).bayesian(4, "conv", Conv2d()),
}


@pytest.mark.parametrize("kind", list(NETS))
def test_slices_of_channels_become_layers(kind: str) -> None:
    graph = halves(NETS[kind]())
    after = SplitLayers()(graph)
    check(after)
    assert not any(isinstance(n.op, Slice) for n in after.nodes)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_layer_that_something_else_reads_stays() -> None:
    net = Net((5,)).linear(4, "fc")
    whole = net.value
    graph = net.graph(whole, net.emit(Slice(0, 0, 1), name="mu").value)
    assert any(isinstance(n.op, Slice) for n in SplitLayers()(graph).nodes)


def test_a_convolution_in_groups_stays() -> None:
    """The later channels of a grouped layer read other inputs than the first."""
    graph = halves(Net((4, 6, 6)).conv(4, 3, "conv", Conv2d(groups=2)))
    after = SplitLayers()(graph)
    assert [n.op for n in after.nodes] == [n.op for n in graph.nodes]
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cut_of_another_axis_stays() -> None:
    graph = Net((2, 6, 6)).conv(4, 3, "conv").emit(Slice(1, 0, 2), name="rows").graph()
    assert [n.op for n in SplitLayers()(graph).nodes] == [n.op for n in graph.nodes]


def outputs_of(graph: Graph) -> set[str]:
    options = Options(calibration=Calibration(passes=1))
    model = quantise_model(Model((graph,), Head(Task.RAW)), inputs(graph, 64), options)
    producers = model.graph.producers()
    made = [producers[v] for v in model.graph.outputs]
    for real, found in zip(run(graph, inputs(graph)), run(model.graph, inputs(graph)), strict=True):
        assert real.shape[2:] == found.shape[2:]
        assert np.abs(real - found).mean() < 0.05 * np.abs(real).max()
    return {f"{n.op.name} {n.inputs[0].type.dtype.value}" for n in made}


@pytest.mark.parametrize("kind", list(NETS))
def test_halves_leave_as_accumulators(kind: str) -> None:
    assert outputs_of(halves(NETS[kind]())) == {"dequantize i32"}


def test_a_reshaped_output_leaves_as_accumulators() -> None:
    net = Net((5,)).linear(1, "fc").emit(Reshape(()), name="squeeze")
    assert outputs_of(net.graph()) == {"dequantize i32"}
    net = Net((2, 6, 6)).conv(4, 3, "conv").flatten("flatten").emit(Reshape((8, 8)), name="view")
    assert outputs_of(net.graph()) == {"dequantize i32"}


def test_a_reshaped_unary_output_leaves_by_its_table() -> None:
    net = Net((5,)).linear(4, "fc").unary(Function.SIGMOID, "p").emit(Reshape((2, 2)), name="view")
    assert outputs_of(net.graph()) == {"lookup_real u8"}
