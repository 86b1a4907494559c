"""Factors around products of two matrices become the product's own; the oracle is the same."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Affine, Clamp, KeepMask, Mask, MatMul, Reshape
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.support.errors import Loc
from tests.graphs import inputs, run
from tests.net import Net

ZERO = np.zeros((), np.float32)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def same(graph: Graph, after: Graph) -> Graph:
    """The graph after a pass, which must compute the same."""
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * max(1, np.abs(a).max()))
    return after


def product(before: float | None = None, shift: float = 0.0, *, twice: bool = False) -> Net:
    """The clamped input [4, 5] times its own transpose, perhaps scaled before."""
    net = Net((4, 5)).relu("relu")
    other = net.value
    if before is not None:
        net.affine(number(before), number(shift), "scale")
    return net.emit(MatMul(True), net.value if twice else other, name="scores")


def product_of(graph: Graph) -> MatMul:
    (op,) = (node.op for node in graph.nodes if isinstance(node.op, MatMul))
    return op


def ops(graph: Graph) -> list[type]:
    return [type(node.op) for node in graph.nodes]


def test_a_factor_behind_a_product_is_its_own() -> None:
    graph = product().affine(number(0.25), ZERO, "temper").graph()
    after = same(graph, FoldAffine()(graph))
    assert ops(after) == [Clamp, MatMul]
    assert product_of(after).factor == 0.25


def test_a_factor_is_carried_over_moves() -> None:
    net = product().emit(Reshape((16,)), name="flat").affine(number(0.25), ZERO, "temper")
    after = same(net.graph(), FoldAffine()(net.graph()))
    assert ops(after) == [Clamp, MatMul, Reshape]


def test_a_factor_before_a_product_is_its_own() -> None:
    graph = product(0.5).graph()
    after = same(graph, FoldAffine()(graph))
    assert product_of(after).factor == 0.5
    assert ops(after) == [Clamp, MatMul]


def test_a_factor_that_is_read_twice_counts_twice() -> None:
    graph = product(0.5, twice=True).graph()
    after = same(graph, FoldAffine()(graph))
    assert product_of(after).factor == 0.25


def test_factors_of_both_inputs_multiply() -> None:
    net = Net((4, 5)).relu("relu")
    first = net.value
    net.affine(number(0.5), ZERO, "a")
    left = net.value
    net.value = first
    net.affine(number(0.125), ZERO, "b").emit(MatMul(True), left, name="scores")
    after = same(net.graph(), FoldAffine()(net.graph()))
    assert ops(after) == [Clamp, MatMul]
    assert product_of(after).factor == 0.0625


@pytest.mark.parametrize(("factor", "shift"), [(-0.5, 0.0), (0.5, 1.0)])
def test_what_a_scale_cannot_be_stays_before_it(factor: float, shift: float) -> None:
    graph = product(factor, shift).graph()
    after = same(graph, FoldAffine()(graph))
    assert product_of(after).factor == 1.0
    assert len(after.nodes) == 3


def test_a_shift_behind_a_product_stays_behind_it() -> None:
    """A relative bias of scores: the factor goes, and what has numbers of its own is a layer."""
    ramp = np.arange(16, dtype=np.float32).reshape(4, 4)
    graph = product().affine(number(0.5), ramp, "bias").graph()
    after = same(graph, FoldAffine()(graph))
    assert product_of(after).factor == 0.5
    assert not any(isinstance(node.op, Affine) for node in after.nodes)


@pytest.mark.parametrize(("scale", "factor"), [(2.0, 2.0), (-2.0, 1.0)])
def test_the_factor_of_a_mask_behind_a_product(scale: float, factor: float) -> None:
    net = product()
    keep = net.build.emit(KeepMask((4, 4), 0.5, 0), loc=Loc("drop"), name="keep")
    graph = net.emit(Mask(scale), keep, name="drop").graph()
    after = same(graph, FoldDropoutScale()(graph))
    assert product_of(after).factor == factor
    (mask,) = (node.op for node in after.nodes if isinstance(node.op, Mask))
    assert mask.scale * factor == scale
