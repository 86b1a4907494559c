"""Ids in the passes: they have no codes, are never stretched, and tables are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qbnnc.backends.torch import Simulation
from qbnnc.backends.torch.noise import FreshNoise
from qbnnc.backends.torch.operators import apply
from qbnnc.ir.graph import Builder, Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Clamp, Embedding, EmbeddingCodes, FakeQuantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.passes.integer.quantize import Quantize
from qbnnc.passes.mixed_precision.layers import layers_of
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import Calibration, Observer, calibrate
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.passes.ranges.rows import stretched
from qbnnc.support.errors import Loc
from tests.conformance.test_every_op import node_of
from tests.ops import EXAMPLES
from tests.tokens import RandomIds, rows_of

TABLE = np.array([[-1.0, 0.5], [0.25, 1.0], [3.0, -3.0]], np.float32)
SEEN = np.array([[0, 1], [1, 1]], np.float32)  # id 2 is in no row


def graph_of(*, clamp: bool = False) -> Graph:
    build, loc = Builder(), Loc("emb")
    ids = build.input("ids", TensorType(DType.F32, (2,), PER_ROW))
    out = build.emit(Embedding(), ids, build.constant("table", TABLE), loc=loc, name="e")
    if clamp:
        out = build.emit(Clamp(0.0, None), out, loc=loc, name="relu")
    return build.graph((out,), Stage.FLOAT)


def test_the_embedding_is_the_only_point() -> None:
    points = quantisation_points(graph_of())
    assert [(p.value.name, p.bits(Quantisation(Bits.parse("w8a6")))) for p in points] == [("e", 6)]
    assert [layer.name for layer in layers_of(graph_of())] == ["emb"]


@pytest.mark.parametrize("clamp", [False, True])
def test_the_range_holds_rows_that_no_calibration_row_reads(clamp: bool) -> None:
    graph = graph_of(clamp=clamp)
    found = calibrate(graph, SEEN, Calibration(Observer.MINMAX))
    assert found == ({"relu": (0.0, 3.0)} if clamp else {"e": (-3.0, 3.0)})
    moving = calibrate(graph, SEEN, Calibration(Observer.EMA))
    assert moving == ({"relu": (0.0, 1.0)} if clamp else {"e": (-1.0, 1.0)})


def test_ids_are_never_stretched() -> None:
    rows = np.array([[0, 0.5], [6, 1.5], [3, 4.0]], np.float32)
    assert len(stretched(rows, 1.5, 9, np.array([7, 7]))) == 0
    far = stretched(rows, 1.5, 9, np.array([7, 0]))
    assert far[:, 0].tolist() == [0, 6, 3]
    assert far[:, 1].tolist() == [-0.25, 1.25, 5.0]  # the mean is 2


@pytest.mark.parametrize("clamp", [False, True])
def test_the_table_becomes_codes_and_a_clamp_cuts_them(clamp: bool) -> None:
    graph = graph_of(clamp=clamp)
    points = InsertFakeQuantize(lambda g: {"e": (-3.0, 3.0), "relu": (-3.0, 3.0)}, Quantisation())
    simulated = points(graph)
    assert sum(isinstance(n.op, FakeQuantize) for n in simulated.nodes) == 1
    integer = Quantize()(simulated)
    (node,) = (n for n in integer.nodes if isinstance(n.op, EmbeddingCodes))
    scale, zero = codes_of(node.output.type).per_tensor
    real = (integer.constants[node.inputs[1]].astype(np.float64) - zero) * scale
    wanted = np.maximum(TABLE, 0) if clamp else TABLE
    assert np.abs(real - wanted).max() <= scale / 2 + 1e-6
    assert node.inputs[0] is integer.input


def test_torch_cuts_hostile_ids_as_the_definition_does() -> None:
    example = EXAMPLES["Embedding"]
    ids, table = example.inputs
    numbers = np.array([-1, np.inf, np.nan, 2.7, 1e30, 5], np.float32).reshape(1, 1, 2, 3)
    made = apply(node_of(example), [torch.from_numpy(numbers[0]), torch.from_numpy(table.data[0])])
    wanted = table.data[0, 0][[0, 5, 0, 2, 5, 5]].reshape(2, 3, 4)
    assert np.array_equal(made.numpy()[0], wanted)
    assert ids.type.shape == (2, 3)


def test_fine_tuning_trains_the_table_and_keeps_the_oracles_codes() -> None:
    graph = RandomIds(4).graph()
    model = Model((graph,), Head(Task.RAW))
    rows = rows_of(graph, 32)
    start = simulate_model(model, rows, Options(samples=2))
    simulation = Simulation(start)
    tables = [n.inputs[1].name for n in graph.nodes if isinstance(n.op, Embedding)]
    trained = dict(simulation.named_parameters())
    assert all(any(key.endswith(name) for key in trained) for name in tables)
    simulation.train()
    noise = FreshNoise(torch.Generator().manual_seed(0))
    torch.stack(
        [o.square().mean() for o in simulation.sample(torch.from_numpy(rows), noise)]
    ).sum().backward()
    grads = [p.grad for key, p in trained.items() if any(key.endswith(name) for name in tables)]
    assert all(g is not None and bool(g.abs().sum() > 0) for g in grads)
