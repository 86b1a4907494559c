"""Noise on activations, choices and dropped weights: their integer forms, and what these draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Add, Choice, Distribution, Function, Noise, NoiseCodes
from qbnnc.ir.rng import Draw
from qbnnc.passes.base import run_passes
from qbnnc.passes.fusion.noise import ShareMasks, remove_noise
from qbnnc.passes.options import Bits
from tests.drawing_graphs import drawn_weights, noisy_activations
from tests.net import Net
from tests.passes.integer.test_quantize import Stages, largest_step

GRAPHS = pytest.mark.parametrize("graph", [drawn_weights, noisy_activations])


@GRAPHS
@pytest.mark.parametrize("bits", ["w8a7", "w4a4", "w3a8"])
def test_codes_agree_with_the_simulation_within_one(graph: Callable[[], Graph], bits: str) -> None:
    assert largest_step(Stages(graph(), Bits.parse(bits))) <= 1


@GRAPHS
def test_samples_have_the_mean_and_deviation_of_the_float_graph(
    graph: Callable[[], Graph],
) -> None:
    stages = Stages(graph())
    draw = Draw.of(5, range(4000), range(3))
    wanted, given = (evaluate(g, stages.x[:3], draw)[0] for g in (stages.float, stages.integer))
    deviation = wanted.std(axis=0)
    assert np.abs(given.std(axis=0) / deviation - 1).max() < 0.03
    assert (np.abs(given.mean(axis=0) - wanted.mean(axis=0)) / deviation).max() < 0.1


def drawn_by(net: Net) -> NoiseCodes:
    """The one op that draws codes, once all of them are looked at."""
    integer = Stages(net.linear(2, "out").graph()).integer
    (op,) = (node.op for node in integer.nodes if isinstance(node.op, NoiseCodes))
    return op


def test_a_falling_function_of_noise_has_inverted_lanes() -> None:
    net = Net((4,)).linear(5, "fc")
    hidden = net.value
    net.value = net.drawn(Noise(Distribution.UNIFORM, (5,), 0), "u")
    one = np.ones(1, np.float32)
    op = drawn_by(net.affine(-one, one, "rest").emit(Add(), hidden, name="sum"))
    assert op.inverted
    assert op.table[0] == op.quant.high
    assert op.table[-1] == op.quant.zero_point[0] == 0


def test_noise_under_a_function_that_turns_has_codes_of_its_own() -> None:
    """|eps| is no function of the lane that rises or falls: a table follows the noise."""
    net = Net((4,)).linear(5, "fc")
    hidden = net.value
    net.value = net.drawn(Noise(Distribution.NORMAL, (5,), 0), "eps")
    op = drawn_by(net.unary(Function.ABS, "size").emit(Add(), hidden, name="sum"))
    assert op.quant.zero_point[0] > 100


def test_noise_has_eight_bits_at_every_width() -> None:
    integer = Stages(noisy_activations(), Bits.parse("w4a4")).integer
    drawn = [n.output.type.quant for n in integer.nodes if isinstance(n.op, NoiseCodes | Choice)]
    assert [quant.bits for quant in drawn if quant is not None] == [8] * 4


def test_the_batch_shares_noise_and_choices_if_it_shares_masks() -> None:
    shared = run_passes(noisy_activations(), [ShareMasks(True)])
    x = np.zeros((3, 2, 6, 6), np.float32)
    (y,) = evaluate(shared, x, Draw.of(0, range(4), range(3)))
    assert (y == y[:, :1]).all()
    assert not (y[0] == y[1]).all()


def test_a_graph_without_noise_is_at_the_means() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 8, 8)).astype(np.float32)
    (y,) = evaluate(remove_noise(drawn_weights()), x, Draw.of(0, range(4), range(3)))
    assert y.shape[0] == 1
