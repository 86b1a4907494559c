"""Ranges of what saturating functions read: to where these saturate, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Clamp, Function, Linear, Unary
from qbnnc.passes.ranges.calibrate import Calibration, Observer, calibrate
from qbnnc.passes.ranges.saturation import saturation_limits
from qbnnc.support.errors import CompileError
from tests.net import Net


def read_by(function: Function) -> dict[str, float]:
    net = Net((4,)).linear(3, "fc").emit(Unary(function), name="f").linear(2, "last")
    return {value.name: limit for value, limit in saturation_limits(net.graph()).items()}


@pytest.mark.parametrize(("function", "limit"), [(Function.TANH, 3.2), (Function.SIGMOID, 5.5)])
def test_values_that_such_a_function_reads(function: Function, limit: float) -> None:
    assert read_by(function) == {"fc": limit}


@pytest.mark.parametrize("function", [Function.GELU, Function.SILU, Function.EXP, Function.ABS])
def test_other_functions_have_no_limit(function: Function) -> None:
    assert read_by(function) == {}


def test_a_function_is_within_half_a_code_of_its_limit_there() -> None:
    assert 1 - np.tanh(3.2) < 1 / 255
    assert 1 / (1 + np.exp(5.5)) < 0.0041


def test_another_reader_or_an_output_needs_the_whole_range() -> None:
    net = Net((4,)).linear(3, "fc")
    raw = net.value
    net.emit(Unary(Function.TANH), name="f").linear(2, "last")
    assert saturation_limits(net.graph(net.value, raw)) == {}
    net.value = raw
    net.emit(Clamp(0.0, None), name="relu")
    assert saturation_limits(net.graph()) == {}


def graph_of(function: Function, factor: float) -> Graph:
    """factor * x + 1, and a function of it."""
    net = Net((1,))
    weight = net.build.constant("w", np.array([[factor]], np.float32))
    bias = net.build.constant("b", np.ones(1, np.float32))
    return net.emit(Linear(), weight, bias, name="fc").emit(Unary(function), name="f").graph()


def ranges(function: Function, factor: float, observer: Observer) -> tuple[float, float]:
    rows = np.linspace(-1.2, 1.2, 64, dtype=np.float32)[:, None]
    graph = graph_of(function, factor)
    return calibrate(graph, rows, Calibration(observer=observer, outputs=True))["fc"]


@pytest.mark.parametrize("observer", list(Observer))
def test_a_range_ends_at_the_limit(observer: Observer) -> None:
    low, high = ranges(Function.TANH, 20.0, observer)
    assert -3.21 < low < -2.5
    assert 2.5 < high < 3.21


@pytest.mark.parametrize("observer", list(Observer))
def test_a_range_within_the_limit_stays(observer: Observer) -> None:
    low, high = ranges(Function.SIGMOID, 2.0, observer)
    assert low < -0.7
    assert 2.5 < high < 5.0


def test_infinite_numbers_are_still_refused() -> None:
    with pytest.raises(CompileError, match=r"^fc .*NaN or infinite"):
        ranges(Function.TANH, 3.3e38, Observer.MINMAX)
