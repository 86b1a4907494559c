"""Functions outside their domain: refused where calibration asks for them, else bounded."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import AveragePool2d, Clamp, Function, Multiply, Unary
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.scales import activation_quant
from qbnnc.passes.integer.constants import real_table
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import CompileError
from tests.graphs import inputs
from tests.net import Net


def compiled(graph: Graph) -> Model:
    options = Options(calibration=Calibration(passes=1))
    return quantise_model(Model((graph,), Head(Task.RAW)), inputs(graph, 64), options)


@pytest.mark.parametrize(
    ("function", "parameter"), [(Function.LOG, 0.0), (Function.POW, 0.5), (Function.POW, -1.0)]
)
def test_a_function_of_what_may_be_negative_or_zero(function: Function, parameter: float) -> None:
    graph = Net((5,)).linear(4, "fc").unary(function, "net.log", parameter).graph()
    message = rf"net\.log \(net\.py:1\): {function.value} is NaN or infinite on part of -\d.* to \d"
    with pytest.raises(CompileError, match=message):
        compiled(graph)


def test_the_functions_of_a_composite_are_named() -> None:
    net = Net((5,)).linear(4, "fc").unary(Function.TANH, "tanh").unary(Function.LOG, "log")
    with pytest.raises(CompileError, match="the function made of tanh, log is NaN or infinite"):
        compiled(net.graph())


def test_a_clamp_before_makes_it_defined() -> None:
    graph = Net((5,)).linear(4, "fc").emit(Clamp(0.01, None), name="floor")
    model = compiled(graph.unary(Function.LOG, "log").graph())
    x = inputs(model.graph, 32)
    (made,) = oracle_samples(model, x, samples=1)
    assert float(made.min()) == pytest.approx(np.log(0.01))


def test_the_logarithm_of_a_mean_square() -> None:
    """Code 0 of the mean is 0, which no input gave: it is as the least code above."""
    net = Net((2, 4, 4)).conv(3, 1, "conv")
    net.emit(Multiply(), net.value, name="square").emit(AveragePool2d((4, 4), (4, 4)), name="mean")
    model = compiled(net.unary(Function.LOG, "log").graph())
    (made,) = oracle_samples(model, 0 * inputs(model.graph, 2) + 1e-3, samples=1)
    assert np.isfinite(made).all()


def test_a_table_of_numbers_has_no_infinity() -> None:
    codes = activation_quant(-1.0, 3.0, bits=3)
    zero = codes.zero_point[0]
    table = real_table(codes, Unary(Function.LOG).of)
    scale = codes.scale[0]
    wanted = [np.log(scale * max(code - zero, 1)) for code in range(8)]
    np.testing.assert_allclose(table, wanted, rtol=1e-6)
