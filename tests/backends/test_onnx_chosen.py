"""Choices, masks of weights, and layers that have them, in onnxruntime: the oracle's bits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.ir.format import digest
from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Choice,
    ChoiceIndex,
    KeepMask,
    LinearInteger,
    Select,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import QuantParams
from tests.backends.drawn_layers import Layers
from tests.backends.equality import assert_equal, assert_values_equal
from tests.backends.test_onnx_draws import LOC, SHAPE, Noises, exposed
from tests.examples import slow_but
from tests.float_layers import float_compute_nodes
from tests.random_draws import RandomGraphOfAllDraws
from tests.random_ops import RandomGraphOfAllOps


class DrawnLayers(Layers, RandomGraphOfAllDraws):
    """Layers whose weights and biases are sampled or chosen, under a mask or not."""

    def __init__(self, kind: str, seed: int, bits: int = 0) -> None:
        super().__init__(seed, bits)
        self.kind = kind

    def weight(self, name: str, shape: tuple[int, ...], sampled: bool) -> Value:
        noisy = sampled and "sampled" in self.kind
        made = RandomGraphOfAllOps.weight(self, f"{name}.1", shape, noisy)
        return self.drawn(name, made) if sampled else made

    def bias(self, name: str, weight: Value, sampled: bool) -> Value:
        noisy = sampled and "sampled" in self.kind
        made = RandomGraphOfAllOps.bias(self, f"{name}.1", weight, noisy)
        return self.drawn(name, made) if sampled else made

    def drawn(self, name: str, parameter: Value) -> Value:
        made = self.one_of(name, parameter) if "chosen" in self.kind else parameter
        return self.dropped(name, made) if "dropped" in self.kind else made


@pytest.mark.sample(48)
@pytest.mark.parametrize("bits", slow_but([8], [0, 8, 3]))
@pytest.mark.parametrize("x", slow_but(["both"], ["constant", "row", "sample", "both"]))
@pytest.mark.parametrize("what", slow_but(["both"], ["weight", "bias", "both"]))
@pytest.mark.parametrize("kind", ["chosen", "dropped", "chosen and dropped", "sampled and dropped"])
def test_every_input_meets_every_layer(kind: str, what: str, x: str, bits: int) -> None:
    """Layers give accumulators and codes, also of 0 rows; the file holds the weights by name."""
    net = DrawnLayers(kind, len(x) + 10 * len(what) + bits, bits)
    model = net.every_layer(x, what)
    assert_values_equal(model, 3)
    assert_equal(model, 0)
    data = emit(model)
    assert float_compute_nodes(data) == []
    assert digest(read_model(data)) == digest(model)


INDICES = (
    ChoiceIndex(2, 3),
    ChoiceIndex(4096, 0),
    ChoiceIndex(7, 5, shared=False),
    ChoiceIndex(4095, 1, shared=False),
    ChoiceIndex(20, 2),
)


def members(count: int, shape: tuple[int, ...], high: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, high + 1, (count, *shape)).astype(np.uint8)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("seed", "first_row"), [(0, 0), (2**63 - 1, 2**62)])
def test_indices_and_what_they_choose(seed: int, first_row: int, count: int, inline: bool) -> None:
    """Two choices may read one index, and one be of channels; an index of each row, or of all."""
    net, expected, draw = Noises(), {}, Draw.of(seed, range(4), range(first_row, first_row + 5))
    for number, op in enumerate(INDICES[-count:]):
        index = net.build.emit(op, loc=LOC, name=f"i{number}")
        expected[index.name] = op.draw(draw)
        for name, shape in ((f"a{number}", SHAPE), (f"b{number}", (3, 1, 1))):
            values = members(op.count, shape, 127, number)
            constant = net.build.constant(f"{name}.values", values, net.quant)
            chosen = net.build.emit(Choice(), constant, index, loc=LOC, name=name)
            expected[name] = values[expected[index.name][..., 0]]
            (net.add if shape == SHAPE else net.multiply)(chosen)
    found = exposed(net.model(), list(expected), 5, seed, first_row, inline=inline)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert np.array_equal(found[name], array), name


def test_the_last_member_is_chosen_by_the_last_lanes() -> None:
    """Of 4096 members each has 16 lanes; a draw of each end is in this many rows."""
    op = ChoiceIndex(4096, 0, shared=False)
    net = Noises((1,))
    values = (np.arange(4096).reshape(4096, 1) // 32).astype(np.uint8)
    index = net.build.emit(op, loc=LOC, name="i")
    constant = net.build.constant("values", values, net.quant)
    net.add(net.build.emit(Choice(), constant, index, loc=LOC, name="chosen"))
    found = exposed(net.model(1), ["i", "chosen"], 40_000, 3, 0, inline=False)
    assert (found["i"].min(), found["i"].max()) == (0, 4095)
    assert np.array_equal(found["chosen"], values[found["i"][..., 0]])


@pytest.mark.parametrize("zeros", [(0,), (5,), (3, -128, 127, 0)])
@pytest.mark.parametrize("mask", [(4, 6), (4, 1)])
def test_a_dropped_weight_is_its_zero_point(zeros: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """In wrapping int8: q - Z may leave it."""
    net, axis = Noises((6,)), 0 if len(zeros) > 1 else None
    weights = np.array([[-128, 127, 0, 1, -1, 64]] * 4, np.int8)
    quant = QuantParams((2.0**-7,) * len(zeros), zeros, -128, 127, axis)
    weight = net.build.constant("weight", weights, quant)
    keep = net.build.emit(KeepMask(mask, 0.5, 0, True), loc=LOC, name="keep")
    kept = net.build.emit(Select(), weight, keep, loc=LOC, name="kept")
    bias = net.build.constant("bias", np.zeros(4, np.int32), None)
    net.value = net.build.emit(LinearInteger(), net.value, kept, bias, loc=LOC, name="acc")
    model = net.model()
    draw = Draw.of(2, range(4), [0])
    wanted = np.where(
        KeepMask(mask, 0.5, 0, True).draw(draw) != 0, weights, np.array(zeros).reshape(-1, 1)
    )
    assert np.array_equal(exposed(model, ["kept"], 1, 2, 0, inline=False)["kept"], wanted)
    assert_equal(model, 3)


def chosen_layer(zeros: tuple[int, ...], bits: int, *, masked: bool = False) -> Model:
    """A linear layer [4, 6] of one of five weights, of codes of 7 or 8 bits."""
    net = Noises((6,), bits)
    if masked:
        keep = net.build.emit(KeepMask((6,), 0.5, 1), loc=LOC, name="keep")
        net.value = net.build.emit(Select(), net.value, keep, loc=LOC, name="masked")
    codes_ = np.random.default_rng(bits).integers(-128, 128, (5, 4, 6)).astype(np.int8)
    quant = QuantParams((2.0**-7,) * len(zeros), zeros, -128, 127, 1 if len(zeros) > 1 else None)
    values = net.build.constant("values", codes_, quant)
    index = net.build.emit(ChoiceIndex(5, 0), loc=LOC, name="i")
    weight = net.build.emit(Choice(), values, index, loc=LOC, name="weight")
    bias = net.build.constant("bias", np.arange(4, dtype=np.int32), None)
    net.value = net.build.emit(LinearInteger(), net.value, weight, bias, loc=LOC, name="fc.acc")
    return net.model()


def layer_of(data: bytes) -> tuple[bool, int]:
    """Whether weights are gathered for each sample, and how many constant ones have been stored."""
    graph = onnx.load_model_from_string(data).graph
    (layer,) = (n for n in graph.node if n.op_type == "MatMulInteger")
    makers = {n.output[0]: n.op_type for n in graph.node}
    stored = [i.name for i in graph.initializer if i.name.startswith("values")]
    return makers[layer.input[1]] == "Gather", len(stored)


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("zeros", [(0,), (-9,), (3, -128, 127, 0)])
def test_a_layer_computes_with_all_members_and_chooses(zeros: tuple[int, ...], bits: int) -> None:
    """If there are no more members than samples, and x does not vary with the sample."""
    model, masked = chosen_layer(zeros, bits), chosen_layer(zeros, bits, masked=True)
    for net, samples, gathered in (
        (model, 4, True),
        (model, 5, False),
        (model, 9, False),
        (masked, 9, True),
    ):
        assert_equal(net, 3, seed=samples, samples=samples)
        assert_equal(net, 0, samples=samples)
        data = emit(net, samples=samples)
        assert layer_of(data) == (gathered, 1)
        assert digest(read_model(data)) == digest(net)
        inline = emit(net, samples=samples, batch=3, inline=True)
        assert layer_of(inline) == (True, 1)
        assert digest(read_model(inline)) == digest(net)


def test_a_chosen_weight_of_two_layers_is_gathered_once() -> None:
    """It is in the file then, under its name."""
    net = DrawnLayers("chosen", 3)
    net.value = net.flatten("x")
    weight = net.weight("weight", (net.value.type.shape[0], net.value.type.shape[0]), True)
    outputs = []
    for name in ("one", "two"):
        bias = net.bias(f"{name}.bias", weight, True)
        acc = net.emit(LinearInteger(), net.value, weight, bias, name=f"{name}.acc")
        net.value = net.requantize(acc, f"{name}.q")
        outputs.append(net.value)
    assert "weight.chosen" in assert_values_equal(net.model(*outputs), 3)
