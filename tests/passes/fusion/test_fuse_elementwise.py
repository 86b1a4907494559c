"""fuse-elementwise: ops on each element of one value become one function of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Add, AveragePool2d, Clamp, Composite, Function, Multiply, Operation, Step
from qbnnc.ir.ops.base import Op
from qbnnc.passes.fusion.fuse_elementwise import FuseElementwise
from tests.graphs import inputs, run
from tests.net import Net


def fused(graph: Graph) -> Graph:
    """The graph after the pass, which must compute the same."""
    after = FuseElementwise()(graph)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * max(1, float(np.abs(a).max())))
    return after


def affine(scale: float, shift: float) -> Composite:
    return Composite((Step(Operation.AFFINE, (0,), (scale, shift)),))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_scale_and_shift_join_the_function_before_them() -> None:
    net = Net((5,)).linear(4, "fc").unary(Function.SOFTPLUS, "softplus")
    after = fused(net.emit(affine(2.0, 1e-6), name="floor").graph())
    assert after.nodes[-1].op == Composite(
        (
            Step(Operation.FUNCTION, (0,), (0.0,), Function.SOFTPLUS),
            Step(Operation.AFFINE, (1,), (2.0, 1e-6)),
        )
    )


def test_the_clamp_of_a_layer_stays_with_it() -> None:
    net = Net((2, 6, 6)).conv(3, 3, "conv").relu("relu").unary(Function.TANH, "tanh")
    graph = net.unary(Function.EXP, "exp").graph()
    assert names(fused(graph)) == ["conv2d", "clamp", "composite"]


def test_a_clamp_away_from_0_belongs_to_the_logarithm_that_needs_it() -> None:
    net = Net((5,)).linear(4, "fc").emit(Clamp(1e-6, None), name="floor")
    assert names(fused(net.unary(Function.LOG, "log").graph())) == ["linear", "composite"]


def test_one_op_alone_stays_as_it_is() -> None:
    net = Net((5,)).linear(4, "fc").unary(Function.SILU, "silu").dropout(0.5, "drop")
    assert names(fused(net.relu("relu").linear(2, "out").graph())) == [
        "linear",
        "unary",
        "keep_mask",
        "mask",
        "clamp",
        "linear",
    ]


def test_a_square_is_a_function() -> None:
    net = Net((5,)).linear(4, "fc")
    after = fused(net.emit(Multiply(), net.value, name="square").graph())
    assert after.nodes[-1].op == Composite((Step(Operation.MULTIPLY, (0, 0)),))


def test_values_of_two_layers_are_no_set() -> None:
    net = Net((4,))
    net.linear(4, "a").unary(Function.TANH, "tanh")
    a = net.value
    net.linear(4, "b").emit(Multiply(), a, name="product").relu("relu")
    assert names(fused(net.graph())) == ["linear", "unary", "linear", "multiply", "clamp"]


def test_an_inner_value_that_is_read_elsewhere_is_kept() -> None:
    net = Net((5,)).linear(4, "fc").unary(Function.TANH, "tanh")
    inner = net.value
    outer = net.unary(Function.EXP, "exp").value
    net.value = inner
    last = net.linear(2, "out").value
    after = fused(net.graph(last, outer))
    assert {(n.op.name, n.inputs[0].name) for n in after.nodes} == {
        ("linear", "input"),
        ("unary", "fc"),
        ("composite", "fc"),
        ("linear", "tanh"),
    }


def test_a_gate_of_another_shape_is_no_part() -> None:
    net = Net((3, 4, 4)).conv(3, 1, "conv")
    image = net.value
    net.emit(AveragePool2d((4, 4), (4, 4)), name="pool").unary(Function.SIGMOID, "gate")
    graph = net.emit(Multiply(), image, name="scale").graph()
    assert names(fused(graph)) == ["conv2d", "average_pool2d", "unary", "multiply"]


OPS: dict[str, Op] = {
    "relu": Clamp(0.0, None),
    "floor": Clamp(0.25, 2.0),
    "affine": affine(-0.5, 0.3),
    "swish": Composite(
        (
            Step(Operation.FUNCTION, (0,), (0.0,), Function.SIGMOID),
            Step(Operation.MULTIPLY, (0, 1)),
        )
    ),
}
FUNCTIONS = (Function.TANH, Function.SIGMOID, Function.SOFTPLUS, Function.SIN, Function.ATAN)


@st.composite
def elementwise_graphs(draw: st.DrawFn) -> Graph:
    """Random ops on values of two layers, several of which leave."""
    net = Net((4,), draw(st.integers(0, 2**16)))
    entry, values = net.value, list[Value]()
    for number in range(draw(st.integers(1, 2))):
        net.value = entry
        values.append(net.linear(3, f"fc{number}").value)
    for number in range(draw(st.integers(1, 9))):
        net.value = draw(st.sampled_from(values))
        kind = draw(st.sampled_from([*OPS, "function", "add", "multiply", "drop"]))
        match kind:
            case "function":
                net.unary(draw(st.sampled_from(FUNCTIONS)), f"v{number}")
            case "add" | "multiply":
                other = draw(st.sampled_from(values))
                net.emit(Add() if kind == "add" else Multiply(), other, name=f"v{number}")
            case "drop":
                net.dropout(0.5, f"v{number}")
            case _:
                net.emit(OPS[kind], name=f"v{number}")
        values.append(net.value)
    extra = draw(st.lists(st.sampled_from(values), max_size=2, unique=True))
    return net.graph(*dict.fromkeys([net.value, *extra]))


@given(elementwise_graphs())
def test_random_graphs(graph: Graph) -> None:
    after = fused(graph)
    assert len(after.nodes) <= len(graph.nodes)


@given(elementwise_graphs())
def test_fused_twice_is_fused_once(graph: Graph) -> None:
    once = fused(graph)
    assert str(fused(once)) == str(once)
