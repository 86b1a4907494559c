"""FLOAT -> SIMULATED -> INTEGER: the right nodes, and codes that agree within 1."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.check import check
from qbnnc.ir.evaluate import evaluate, evaluate_node
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import (
    Clamp,
    ClampCodes,
    Conv2dInteger,
    FakeQuantize,
    LinearInteger,
    Move,
    QuantizeInput,
    Reshape,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, DType, Stage
from qbnnc.passes.base import Pass, run_passes
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.passes.integer.accumulators import FoldZeroPoints, ProveOverflow
from qbnnc.passes.integer.quantize import Quantize
from qbnnc.passes.options import Bits, Quantisation, Scales, WeightScheme
from qbnnc.passes.ranges.calibrate import Calibration, calibrate
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize
from qbnnc.support.errors import UserError
from tests.graphs import FAMILIES, float_graphs, inputs, lenet, mlp, resnet, run
from tests.net import Net

SYMMETRIC = WeightScheme.CHANNEL_SYMMETRIC


@dataclass
class Stages:
    """One network at every stage."""

    source: Graph
    bits: Bits = field(default_factory=Bits)
    weights: WeightScheme = SYMMETRIC
    rows: int = 40
    scales: Scales = Scales.FREE

    def __post_init__(self) -> None:
        folds: list[Pass] = [FoldAffine(), FuseClamps(), FoldDropoutScale()]
        self.x = inputs(self.source, self.rows)
        self.float = run_passes(self.source, folds)
        ranges = calibrate(self.float, self.x, Calibration(passes=4))
        options = Quantisation(self.bits, self.weights, self.scales)
        insert = InsertFakeQuantize(lambda _: ranges, options)
        self.simulated = run_passes(self.float, [insert])
        self.unfolded = run_passes(self.simulated, [Quantize()])
        self.integer = run_passes(self.unfolded, [FoldZeroPoints(), ProveOverflow()])


def values(graph: Graph, x: NDArray[np.float32], draw: Draw) -> dict[str, Array]:
    seen: dict[str, Array] = {}

    def observe(value: Value, array: Array) -> None:
        seen[value.name] = array

    evaluate(graph, x, draw, observe)
    return seen


def largest_step(stages: Stages) -> int:
    """Max |code difference| of every INTEGER node fed the codes of the SIMULATED reference.

    The reference's values lie on the grid, so that its codes are exact; each integer node gets
    those of its inputs, and its own codes are compared with the reference's.
    """
    draw = Draw.of(3, range(2), range(len(stages.x)))
    reference = values(stages.simulated, stages.x, draw)
    types = {n.output.name: n.output.type for n in stages.integer.nodes}
    codes: dict[str, Array] = {}
    for name, real in reference.items():
        quant = types[name].quant if name in types else None
        if quant is not None and types[name].dtype is DType.U8:
            scale, zero = quant.per_tensor
            codes[name] = (np.rint(real / np.float32(scale)) + zero).astype(np.uint8)
    worst = 0
    data: dict[Value, Array] = {v: a[None, None] for v, a in stages.integer.constants.items()}
    data[stages.integer.input] = stages.x[None]
    for node in stages.integer.nodes:
        made = evaluate_node(node, data, draw)
        expected = codes.get(node.output.name)
        if expected is not None:
            worst = max(worst, int(np.abs(made.astype(int) - expected).max()))
            made = np.broadcast_to(expected, made.shape)
        data[node.output] = made
    computed = [n.output for n in stages.integer.nodes if not isinstance(n.op, Reshape | Move)]
    names = {v.name for v in computed if v.type.dtype is DType.U8 and v.type.quant is not None}
    assert names <= codes.keys()  # none is left out but moves on the way to a table of outputs
    return worst


def test_integer_lenet_has_only_integers_inside() -> None:
    nodes = Stages(lenet()).integer.nodes
    assert [n.op.name for n in nodes] == [
        "quantize_input",
        "conv2d_integer",
        "requantize",
        "max_pool2d",
        "keep_mask",
        "select",
        "conv2d_integer",
        "requantize",
        "max_pool2d",
        "keep_mask",
        "select",
        "reshape",
        "linear_integer",
        "requantize",
        "keep_mask",
        "select",
        "linear_integer",
        "dequantize",
    ]
    assert all(n.output.type.dtype is not DType.F32 for n in nodes[:-1])


@pytest.mark.sample(16)
@pytest.mark.few(4)
@pytest.mark.parametrize("source", [mlp(), lenet(), resnet()], ids=["mlp", "lenet", "resnet"])
@pytest.mark.parametrize("bits", ["w8a7", "w8a8", "w4a4", "w2a2"])
@pytest.mark.parametrize("weights", list(WeightScheme))
def test_every_node_agrees_with_the_simulation_within_1(
    source: Graph, bits: str, weights: WeightScheme
) -> None:
    assert largest_step(Stages(source, Bits.parse(bits), weights)) <= 1


@pytest.mark.sample(12)
@pytest.mark.few(4)
@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("bits", ["w8a7", "w4a4", "w2a2"])
@pytest.mark.parametrize("weights", [SYMMETRIC, WeightScheme.TENSOR_AFFINE])
@pytest.mark.parametrize("scales", list(Scales))
def test_every_op_family_agrees_within_1(
    family: str, bits: str, weights: WeightScheme, scales: Scales
) -> None:
    stages = Stages(FAMILIES[family](), Bits.parse(bits), weights, scales=scales)
    assert largest_step(stages) <= 1


@given(
    float_graphs(),
    st.builds(Bits, st.integers(2, 8), st.integers(2, 8)),
    st.sampled_from(WeightScheme),
)
def test_random_graphs_agree_within_1(graph: Graph, bits: Bits, weights: WeightScheme) -> None:
    stages = Stages(graph, bits, weights, rows=12)
    assert largest_step(stages) <= 1


@given(float_graphs(), st.builds(Bits, st.integers(2, 8), st.integers(2, 8)))
def test_offline_terms_change_no_bit(graph: Graph, bits: Bits) -> None:
    stages = Stages(graph, bits, WeightScheme.TENSOR_AFFINE, rows=6)
    layers = [n.op for n in stages.integer.nodes if isinstance(n.op, LinearInteger | Conv2dInteger)]
    assert layers
    assert all(op.folded for op in layers)
    for a, b in zip(run(stages.unfolded, stages.x), run(stages.integer, stages.x), strict=True):
        assert (a == b).all()


def test_w8a7_is_close_to_float() -> None:
    for source in (mlp(), lenet(), resnet()):
        stages = Stages(source)
        for real, codes in zip(
            run(stages.float, stages.x), run(stages.integer, stages.x), strict=True
        ):
            assert np.abs(real - codes).mean() < 0.05 * np.abs(real).max()


def test_preprocessing_is_in_the_input_quantiser() -> None:
    scale = np.array([[[1 / 50]], [[1 / 100]]], np.float32)
    net = Net((2, 6, 6)).affine(scale, np.array(-0.5, np.float32), "normalise")
    stages = Stages(net.conv(3, 3, "conv").flatten("flat").linear(2, "fc").graph())
    op = stages.integer.nodes[0].op
    assert isinstance(op, QuantizeInput)
    np.testing.assert_allclose(op.offset, [25, 50], rtol=1e-5)
    quant = stages.integer.nodes[0].output.type.quant
    assert quant is not None
    np.testing.assert_allclose(op.scale, [quant.scale[0] * 50, quant.scale[0] * 100], rtol=1e-6)
    assert largest_step(stages) <= 1


@pytest.mark.parametrize("shape", [(6,), (1, 1, 6), (1, 6, 1), (2, 6, 6)])
def test_preprocessing_along_another_axis_is_a_convolution(shape: tuple[int, ...]) -> None:
    """Also where the image is as wide as it has channels."""
    scale = np.linspace(1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    for channels in (2, 6):
        wide = scale if shape != (2, 6, 6) else np.resize(scale, (channels, 6, 6))
        net = Net((channels, 6, 6)).affine(wide, np.array(0, np.float32), "normalise")
        stages = Stages(net.conv(3, 3, "conv").graph())
        convolutions = [n for n in stages.integer.nodes if n.op.name == "conv2d_integer"]
        assert len(convolutions) == 2
        assert largest_step(stages) <= 1


def test_a_negative_input_scale_goes_into_the_layer() -> None:
    minus = np.array(-1.0, np.float32)
    stages = Stages(Net((4,)).affine(minus, minus, "flip").linear(2, "fc").graph())
    assert [n.op.name for n in stages.integer.nodes] == [
        "quantize_input",
        "linear_integer",
        "dequantize",
    ]
    assert largest_step(stages) <= 1


def test_a_value_read_before_and_after_its_relu_is_clamped_as_codes() -> None:
    net = Net((6,)).linear(8, "fc1")
    raw = net.value
    net.relu("relu").linear(4, "fc2")
    left = net.value
    net.value = raw
    graph = net.graph(left, net.linear(4, "fc3").value)
    stages = Stages(graph)
    assert any(isinstance(n.op, ClampCodes) for n in stages.integer.nodes)
    assert largest_step(stages) <= 1


def test_a_layer_that_leaves_the_graph_and_goes_on() -> None:
    net = Net((6,)).linear(8, "fc1")
    hidden = net.value
    graph = net.graph(hidden, net.relu("relu").linear(3, "fc2").value)
    stages = Stages(graph)
    assert isinstance(graph.nodes[1].op, Clamp)
    assert stages.simulated.outputs[0].name == "fc1"
    assert largest_step(stages) <= 1


def test_dropout_on_the_input_grows_the_scale() -> None:
    stages = Stages(Net((6,)).dropout(0.5, "drop").linear(3, "fc").graph())
    types = {n.output.name: n.output.type.quant for n in stages.integer.nodes}
    before, after = types["input.codes"], types["drop"]
    assert before is not None
    assert after is not None
    assert after.scale[0] == 2 * before.scale[0]
    assert largest_step(stages) <= 1


def test_stages() -> None:
    stages = Stages(mlp())
    assert stages.float.stage is Stage.FLOAT
    assert stages.simulated.stage is Stage.SIMULATED
    assert any(isinstance(n.op, FakeQuantize) for n in stages.simulated.nodes)
    check(stages.integer)


@pytest.mark.parametrize("text", ["w9a7", "w1a7", "8", "w8", "a7w8", "", "w8a7x"])
def test_bits_that_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="write wNaM"):
        Bits.parse(text)
