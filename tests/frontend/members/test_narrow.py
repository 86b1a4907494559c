"""Narrowing: a graph for one block of an output computes that block, by the oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.frontend.members.blocks import Block, places_of
from qbnnc.frontend.members.narrow import narrowed
from qbnnc.frontend.members.rules import rule_for
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    AveragePool2d,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    Function,
    Gather,
    Linear,
    MatMul,
    MaxPool2d,
    Multiply,
    Normalize,
    Pad,
    Reshape,
    ScaledSoftmax,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from qbnnc.ir.ops.base import Op
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.examples import USUAL, examples
from tests.graphs import inputs, run

E = 3


class Net:
    """A graph of one path, whose constants are random."""

    def __init__(self, *shape: int) -> None:
        self.build = Builder()
        self.random = np.random.default_rng(0)
        self.value = self.build.input("x", TensorType(DType.F32, shape, PER_ROW))

    def then(self, op: Op, *more: Value) -> Net:
        self.value = self.build.emit(op, self.value, *more, loc=Loc("net"), name="value")
        return self

    def constant(self, *shape: int, positive: bool = False) -> Value:
        array = self.random.normal(size=shape).astype(np.float32)
        return self.build.constant("constant", np.abs(array) + 0.5 if positive else array)

    def members(self) -> Graph:
        return self.build.graph((self.value,), Stage.FLOAT)


def spread(net: Net, width: int) -> Net:
    """[width] as [E, width], which Gather repeats."""
    return net.then(Reshape((1, width))).then(Gather(0, (0,) * E))


def grouped() -> Net:
    net = spread(Net(4), 4).then(Reshape((E * 4, 1, 1)))
    net.then(Conv2d(groups=E), net.constant(E * 5, 4, 1, 1), net.constant(E * 5))
    return net.then(Reshape((E, 5)))


def shared_input() -> Net:
    net = Net(4)
    return net.then(Linear(), net.constant(E * 5, 4), net.constant(E * 5)).then(Reshape((E, 5)))


def interleaved() -> Net:
    """Outputs [5, E], of which members are the last axis."""
    net = Net(4)
    net.then(Linear(), net.constant(5 * E, 4), net.constant(5 * E))
    return net.then(Reshape((5, E))).then(Transpose((1, 0)))


def positions() -> Net:
    """One layer for all members: they are positions of an image."""
    net = grouped().then(Reshape((1, E, 5)))
    net.then(Conv2d(), net.constant(6, 1, 1, 5), net.constant(6))
    return net.then(Transpose((2, 1, 0))).then(Reshape((E, 6)))


def elementwise() -> Net:
    net = grouped().then(Clamp(-1.0, 2.0)).then(Unary(Function.TANH))
    net.then(Affine(), net.constant(E, 1), net.constant(5))
    own = net.value
    return net.then(Multiply(), own).then(Add(), own)


def normalised() -> Net:
    net = grouped()
    own = net.value
    net.then(Reshape((E, 1, 5))).then(AveragePool2d((1, 5), (1, 5))).then(Reshape((E, 1)))
    return net.then(Multiply(), own)


def channels() -> Net:
    net = grouped()
    stats = [net.constant(E, positive=True) for _ in range(4)]
    return net.then(BatchNorm(1e-5), *stats)


def other_axis() -> Net:
    net = grouped().then(Transpose((1, 0)))
    stats = [net.constant(5, positive=True) for _ in range(4)]
    return net.then(BatchNorm(1e-5), *stats).then(Transpose((1, 0)))


def images() -> Net:
    net = spread(Net(16), 16).then(Reshape((E, 4, 4))).then(Pad((1, 0, 0, 1)))
    return net.then(MaxPool2d((2, 2), (2, 2))).then(Softmax(2, log=False)).then(Reshape((E, 4)))


def joined() -> Net:
    net = Net(4)
    x, parts = net.value, []
    for _ in range(E):
        net.value = x
        net.then(Linear(), net.constant(5, 4), net.constant(5)).then(Reshape((1, 5)))
        parts.append(net.value)
    net.value = parts[0]
    return net.then(Concat(0), *parts[1:])


def halves() -> Net:
    net = grouped()
    own = net.value
    net.then(Slice(1, 0, 2))
    first = net.value
    net.value = own
    return net.then(Slice(1, 2, 5)).then(Concat(1), first)


def along_other_axes() -> Net:
    """Normalisation, softmax and products of matrices of each member."""
    net = spread(Net(20), 20).then(Reshape((E, 5, 4)))
    net.then(Normalize(1, 1e-5), net.constant(E, 5, 4), net.constant(1, 1, 4))
    own = net.value
    return net.then(ScaledSoftmax(2.0)).then(MatMul(transposed=True), own).then(Reshape((E, 25)))


NETS: dict[str, Callable[[], Net]] = {
    each.__name__: each
    for each in (
        grouped, shared_input, interleaved, positions, elementwise, normalised, channels,
        other_axis, along_other_axes, images, joined, halves,
    )
}  # fmt: skip


def part(graph: Graph, index: int, count: int = E) -> Graph:
    found = narrowed(graph, [Block(0, 1, count, 1, index)], rule_for(graph.constants))
    assert not found.mixed
    return found.graph


@pytest.mark.parametrize("name", NETS)
def test_a_member_is_its_part_of_the_whole(name: str) -> None:
    graph = NETS[name]().members()
    x = inputs(graph, 4, seed=1)
    (whole,) = run(graph, x, 1, 0)
    for index in range(E):
        (own,) = run(part(graph, index), x, 1, 0)
        np.testing.assert_allclose(own, whole[:, :, index], rtol=1e-5, atol=1e-6)


def test_groups_become_linear_layers() -> None:
    graph = part(grouped().members(), 1)
    assert [type(node.op) for node in graph.nodes] == [Linear]
    assert {value.type.shape for value in graph.constants} == {(5, 4), (5,)}


def test_picked_members() -> None:
    graph = grouped().then(Gather(0, (2, 0))).members()
    x = inputs(graph, 4, seed=1)
    (whole,) = run(graph, x, 1, 0)
    for index in range(2):
        (own,) = run(part(graph, index, 2), x, 1, 0)
        np.testing.assert_allclose(own, whole[:, :, index], rtol=1e-5, atol=1e-6)


def test_a_softmax_over_the_members_is_computed_whole() -> None:
    graph = grouped().then(Softmax(0, log=False)).members()
    x = inputs(graph, 4, seed=1)
    (whole,) = run(graph, x, 1, 0)
    for index in range(E):
        found = narrowed(graph, [Block(0, 1, E, 1, index)], rule_for(graph.constants))
        assert found.mixed
        (own,) = run(found.graph, x, 1, 0)
        np.testing.assert_array_equal(own, whole[:, :, index])


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 1), st.data())
@examples(USUAL)
def test_places_are_those_of_the_part(
    before: int, count: int, after: int, axis: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, count - 1))
    block = Block(axis, before, count, after, index)
    extent = before * count * after
    shape = (extent, 2) if axis == 0 else (2, extent)
    numbers = np.arange(2 * extent).reshape(shape)
    assert block.of(numbers).reshape(-1).tolist() == list(places_of(block, shape))


def test_a_block_under_another_shape() -> None:
    block = Block(0, 1, 3, 1, 2)
    assert block.under((3, 4), (12, 1, 1)) == Block(0, 1, 3, 4, 2)
    assert block.under((3, 4), (2, 6)) is None
    assert Block(1, 2, 3, 1, 0).under((4, 6), (24,)) == Block(0, 8, 3, 1, 0)
