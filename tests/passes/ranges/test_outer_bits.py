"""Bits of the first and the last hidden layer."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import FakeQuantize
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, lower_model, simulate_model
from qbnnc.passes.ranges.outer_bits import with_outer_bits
from tests.net import Net

ROWS = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


def member(seed: int, hidden: int = 3) -> Graph:
    net = Net((4,), seed)
    for number in range(1, hidden + 1):
        net.linear(6, f"fc{number}").relu(f"fc{number}.relu")
    return net.linear(2, "out").graph()


@pytest.mark.parametrize(
    ("bits", "wider"),
    [
        ("w4a4", "w4a8"),
        ("w2a5", "w2a8"),
        ("w7a3", "w7a8"),
        ("w8a4", "w8a7"),
        ("w4a6", "w4a8"),
        ("w4a7", None),
    ],
)
def test_the_first_and_the_last_hidden_layer_have_8_bits(bits: str, wider: str | None) -> None:
    """7 bits beside weights of 8."""
    found = with_outer_bits(Quantisation(Bits.parse(bits)), member(0)).layers
    assert found == ({} if wider is None else dict.fromkeys(("fc1", "fc3"), Bits.parse(wider)))


def test_a_layer_with_bits_of_its_own_keeps_them() -> None:
    options = Quantisation(Bits(4, 4), layers={"fc1": Bits(3, 3)})
    assert with_outer_bits(options, member(0)).layers == {"fc1": Bits(3, 3), "fc3": Bits(4, 8)}


def test_the_bits_can_be_chosen_and_those_of_all_layers_are_none_of_their_own() -> None:
    four, six = (Quantisation(Bits(4, 4), outer_bits=bits) for bits in (4, 6))
    assert with_outer_bits(four, member(0)).layers == {}
    assert with_outer_bits(six, member(0)).layers == {"fc1": Bits(4, 6), "fc3": Bits(4, 6)}


def test_one_hidden_layer_is_the_first_and_the_last() -> None:
    assert with_outer_bits(Quantisation(Bits(4, 4)), member(0, 1)).layers == {"fc1": Bits(4, 8)}


def test_a_network_without_hidden_layers_stays() -> None:
    assert with_outer_bits(Quantisation(Bits(4, 4)), member(0, 0)).layers == {}


def ensemble(members: int) -> Model:
    graphs = tuple(member(seed) for seed in range(members))
    return Model(graphs, Head(Task.RAW), calibration=ROWS)


def activation_bits(graph: Graph) -> dict[str, int]:
    return {
        node.inputs[0].name: node.op.quant.bits
        for node in graph.nodes
        if isinstance(node.op, FakeQuantize) and node.inputs[0].name.endswith(".relu")
    }


def test_every_member_has_them_and_the_provenance_says_so() -> None:
    model = simulate_model(ensemble(2), ROWS, Options(Quantisation(Bits(4, 4))))
    for graph in model.members:
        assert activation_bits(graph) == {"fc1.relu": 8, "fc2.relu": 4, "fc3.relu": 8}
    assert model.provenance.bits == "w4a4,input=a8,fc1=w4a8,fc3=w4a8"
    lower_model(model)


def test_a_single_network_has_them_too_unless_it_is_asked_for_fewer() -> None:
    model = simulate_model(ensemble(1), ROWS, Options(Quantisation(Bits(4, 4))))
    assert activation_bits(model.graph) == {"fc1.relu": 8, "fc2.relu": 4, "fc3.relu": 8}
    four = simulate_model(ensemble(1), ROWS, Options(Quantisation(Bits(4, 4), outer_bits=4)))
    assert activation_bits(four.graph) == {"fc1.relu": 4, "fc2.relu": 4, "fc3.relu": 4}
    assert four.provenance.bits == "w4a4,input=a8"
