"""`check` refuses faulty graphs, and says where the fault is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qbnnc.ir.check import check
from qbnnc.ir.graph import Builder, Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Clamp, FakeQuantize, KeepMask, Linear, Mask, Normal, Requantize
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import CompileError, Loc
from tests.graphs import lenet, mlp, resnet


def small(op: Clamp | FakeQuantize | Mask, stage: Stage = Stage.FLOAT) -> Graph:
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (4,), PER_ROW))
    return build.graph((build.emit(op, x, loc=Loc("act", "net.py:3"), name="act"),), stage)


@pytest.mark.parametrize("graph", [mlp(), lenet(), resnet()], ids=["mlp", "lenet", "resnet"])
def test_good_graphs_pass(graph: Graph) -> None:
    check(graph)


def test_an_op_of_another_stage_is_refused() -> None:
    with pytest.raises(CompileError, match=r"act \(net.py:3\): clamp may not appear"):
        check(small(Clamp(0, None), Stage.INTEGER))


def test_nan_weights_are_refused_by_name() -> None:
    graph = mlp()
    weight = next(v for v in graph.constants if v.name == "fc2.weight")
    bad = np.full_like(graph.constants[weight], np.nan)
    with pytest.raises(CompileError, match=r"fc2\.weight: .*NaN"):
        check(replace(graph, constants={**graph.constants, weight: bad}))


@pytest.mark.parametrize("scale", [0.0, 1e-40, float("inf"), 0.1])
def test_scales_are_normal_float32(scale: float) -> None:
    with pytest.raises(CompileError, match="not a normal float32"):
        check(small(FakeQuantize(QuantParams((scale,), (0,), 0, 7)), Stage.SIMULATED))


def test_a_wrong_type_is_refused() -> None:
    graph = small(Clamp(0, None))
    node = graph.nodes[0]
    wrong = replace(node.output, type=replace(node.output.type, shape=(5,)))
    lying = replace(graph, nodes=(replace(node, output=wrong),), outputs=(wrong,))
    with pytest.raises(CompileError, match=r"gives f32\[4\]"):
        check(lying)


def test_a_value_read_before_it_is_computed_is_refused() -> None:
    graph = mlp()
    with pytest.raises(CompileError, match="before it is computed"):
        check(replace(graph, nodes=graph.nodes[::-1]))


@pytest.mark.parametrize("shared", [True, False])
def test_a_weight_of_each_row_is_refused(shared: bool) -> None:
    """A layer multiplies all rows by the same weight."""
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (4,), PER_ROW))
    loc, constant = Loc("fc", "net.py:3"), build.constant("all", np.ones((2, 4), np.float32))
    keep = build.emit(KeepMask((2, 4), 0.5, 0, shared), loc=loc, name="keep")
    weight = build.emit(Mask(1.0), constant, keep, loc=loc, name="weight")
    bias = build.constant("bias", np.zeros(2, np.float32))
    if shared:
        y = build.emit(Linear(), x, weight, bias, loc=loc, name="fc")
        check(build.graph((y,), Stage.FLOAT))
    else:
        with pytest.raises(CompileError, match="the same for all rows"):
            build.emit(Linear(), x, weight, bias, loc=loc, name="fc")


def two_masks(second: KeepMask) -> Graph:
    """x under a mask of four lanes, then under another."""
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (4,), PER_ROW))
    for name, op in (("a", KeepMask((4,), 0.5, 0)), ("b", second)):
        keep = build.emit(op, loc=Loc(name), name=f"{name}.keep")
        x = build.emit(Mask(2.0), x, keep, loc=Loc(name), name=name)
    return build.graph((x,), Stage.FLOAT)


@pytest.mark.parametrize("second", [KeepMask((1,), 0.5, 0), KeepMask((4,), 0.5, 0, shared=True)])
def test_a_stream_used_for_other_lanes_is_refused(second: KeepMask) -> None:
    with pytest.raises(CompileError, match="b: the random stream 0 is used twice"):
        check(two_masks(second))


def test_a_stream_used_for_noise_and_a_mask_is_refused() -> None:
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (4,), PER_ROW))
    keep = build.emit(KeepMask((4,), 0.5, 0), loc=Loc("a"), name="keep")
    x = build.emit(Mask(2.0), x, keep, loc=Loc("a"), name="a")
    noise = build.emit(Normal((4,), 0), loc=Loc("b"), name="b")
    with pytest.raises(CompileError, match="b: the random stream 0 is used twice"):
        check(build.graph((x, noise), Stage.FLOAT))


def test_masks_of_one_stream_take_the_same_lanes() -> None:
    """A plain mask and its complement keep every element once; nested ones keep fewer."""
    check(two_masks(KeepMask((4,), 0.3, 0, inverted=True)))
    draw = Draw.of(1, range(200), range(3))
    plain, lower = KeepMask((4,), 0.3, 0).draw(draw), KeepMask((4,), 0.6, 0).draw(draw)
    complement = KeepMask((2, 2), 0.7, 0, inverted=True).draw(draw)
    assert (plain + complement.reshape(plain.shape) == 1).all()
    assert (lower <= plain).all()
    assert (lower != plain).any()


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_a_dropout_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(CompileError, match="drop: keep_mask: a dropout probability"):
        Builder().emit(KeepMask((4,), p, 0), loc=Loc("drop"), name="drop")


def test_requantisation_bounds_must_lie_within_the_codes() -> None:
    quant = QuantParams((0.5,), (0,), 0, 7)
    acc = TensorType(DType.I32, (3,), PER_ROW)
    with pytest.raises(ValueError, match="outside"):
        Requantize(quant, 0, 8).infer(acc, TensorType(DType.F32, (3,)))


def test_members_of_different_structure_are_refused() -> None:
    with pytest.raises(CompileError, match="member 1 is another network"):
        Model((mlp(), mlp(p=None)), Head(Task.RAW)).check()


def test_names_become_unique_when_a_graph_is_finished() -> None:
    build = Builder()
    x = build.input("relu", TensorType(DType.F32, (4,), PER_ROW))
    for _ in range(2):
        x = build.emit(Clamp(0, None), x, loc=Loc("relu"), name="relu")
    graph = build.graph((x,), Stage.FLOAT)
    assert [n.output.name for n in graph.nodes] == ["relu.2", "relu.3"]
    check(graph)
