"""Members of an ensemble are one network: the same inputs and outputs, in the same order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Reshape,
)
from qbnnc.support.errors import CompileError
from tests.runtime.nets import Net, mlp


def outputs_in_another_order(graph: Graph) -> Graph:
    return replace(graph, outputs=graph.outputs[::-1])


def one_output_less(graph: Graph) -> Graph:
    return replace(graph, outputs=graph.outputs[:1])


def one_output_twice(graph: Graph) -> Graph:
    return replace(graph, outputs=(*graph.outputs, graph.outputs[0]))


@pytest.mark.parametrize("change", [outputs_in_another_order, one_output_less, one_output_twice])
def test_members_have_the_same_outputs(change: Callable[[Graph], Graph]) -> None:
    first, second = (mlp(seed).graph for seed in (0, 1))
    Model((first, second), Head(Task.RAW)).check()
    with pytest.raises(CompileError, match="member 1 is another network than member 0"):
        Model((first, change(second)), Head(Task.RAW)).check()


def test_members_have_the_same_input_and_axes() -> None:
    def member(shape: tuple[int, ...], *, shared: bool) -> Graph:
        net = Net(shape)
        net.emit(Reshape((4,)))
        net.dropout(0.5, 4, shared=shared)
        return net.graph()

    first = member((4, 1), shared=False)
    Model((first, member((4, 1), shared=False)), Head(Task.RAW)).check()
    for other in (member((1, 4), shared=False), member((4, 1), shared=True)):
        with pytest.raises(CompileError, match="member 1 is another network than member 0"):
            Model((first, other), Head(Task.RAW)).check()
