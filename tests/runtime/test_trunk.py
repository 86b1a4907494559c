"""Members that begin alike: the trunk runs once, and no bit of any sample changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Linear, Requantize
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import DType
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.runtime.families.contraction.instructions import Convolve
from qbnnc.runtime.session import Session
from qbnnc.runtime.threads import split
from qbnnc.runtime.trunk import Plans, plan_members
from qbnnc.support.errors import CompileError
from tests.examples import examples
from tests.graphs import inputs
from tests.net import Net
from tests.runtime.nets import Net as IntegerNet
from tests.sharing import with_common_trunk
from tests.strategies import input_batch, integer_models


def assert_equal(session: Session, x: np.ndarray, samples: int, **more: int) -> None:
    want = oracle_samples(session.model, x, samples=samples, seed=5, first_row=3)
    made = session.predict(x, samples, seed=5, first_row=3, **more)
    names = session.model.head.sample_names(len(want))
    for name, array in zip(names, want, strict=True):
        assert np.array_equal(made[name], array), name


@pytest.mark.few(6)
@pytest.mark.parametrize("p", [None, 0.2])
@pytest.mark.parametrize("bits", ["w8a7", "w4a4"])
@pytest.mark.parametrize("rows", [0, 1, 5, 70])
def test_heads_on_a_trunk(p: float | None, bits: str, rows: int) -> None:
    model = with_common_trunk(3, p, bits)
    samples = 3 if p is None else 6
    session = load(model, threads=1)
    assert session._ensemble.trunk is not None
    x = inputs(model.graph, rows)
    assert_equal(session, x, samples)
    assert_equal(session, x, samples, batch_size=2)
    assert_equal(Session(model, threads=1, block_bytes=1), x, samples)


@pytest.mark.few(6)
@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("p", [None, 0.2])
def test_any_number_of_threads(
    threads: int, rows: int, p: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1e-12)
    model = with_common_trunk(3, p)
    session, samples = load(model, threads=threads), 3 if p is None else 6
    x = inputs(model.graph, rows)
    assert_equal(session, x, samples)
    assert_equal(session, x, samples, batch_size=4)


def sampled_heads(members: int) -> Model:
    """A trunk of one convolution, and heads with sampled weights."""
    graphs = []
    for number in range(members):
        net = Net((2, 8, 8), 3).conv(6, 3, "conv").relu("relu").flatten("flatten")
        net.rng = np.random.default_rng(number)
        graphs.append(net.bayesian(4, "fc", Linear()).graph())
    model = Model(tuple(graphs), Head(Task.CLASSIFICATION))
    options = Options(Quantisation(Bits.parse("w8a7")), samples=2)
    return quantise_model(model, inputs(graphs[0], 16), options)


@pytest.mark.parametrize("threads", [1, 3])
def test_sampled_heads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1e-12)
    model = sampled_heads(2)
    session = load(model, threads=threads)
    assert session._ensemble.trunk is not None
    assert_equal(session, inputs(model.graph, 9), 6)


def narrower(graph: Graph) -> Graph:
    """The same network, whose second convolution leaves fewer codes."""

    def rule(node: Node, build: Builder) -> Value | None:
        if node.output.name != "relu2.codes" or not isinstance(node.op, Requantize):
            return None
        op = replace(node.op, high=node.op.high - 9)
        return build.emit(op, *node.inputs, loc=node.loc, name=node.output.name)

    return rewrite(graph, rule)


def test_members_part_between_a_layer_and_its_codes() -> None:
    """Members that share accumulators keep them in the trunk."""
    model = with_common_trunk(2, 0.2)
    model = replace(model, members=(model.members[0], narrower(model.members[1])))
    session = load(model, threads=1)
    assert session._ensemble.trunk is not None
    kept = [step.instruction.output.name for step in session._ensemble.trunk.steps]
    assert kept[-1] == "conv2"
    assert_equal(session, inputs(model.graph, 9), 6)


def test_a_trunk_needs_less_work_and_memory() -> None:
    model = with_common_trunk(5, None)
    session, alone = load(model, 1), load(replace(model, members=model.members[:1]), 1)
    trunk, members = session._ensemble
    assert trunk is not None
    layers = ["conv1", "conv2"]
    assert [s.name for s in trunk.steps if isinstance(s.instruction, Convolve)] == layers
    for own in members:
        assert not any(s.name in layers for s in own.steps)
    whole = alone._plans[0].work.of(1, 1)
    assert trunk.work.of(1, 1) + members[0].work.of(1, 1) == pytest.approx(whole, rel=0.01)


def test_members_without_a_trunk_worth_it_are_planned_alone() -> None:
    """Members that only quantise the input alike have no trunk."""
    model = with_common_trunk(2, 0.2, trunks=(1, 2))
    assert plan_members(model.members, 2).trunk is None


def test_the_summary_shows_the_trunk_once() -> None:
    summary = load(with_common_trunk(3, 0.2), 1).plan_summary(member=1, batch=4)
    ranges = [o.phase for o in summary.operations]
    assert ranges[0] == "trunk"
    assert "trunk" not in ranges[ranges.index("suffix") :]
    assert sum(o.share for o in summary.operations) == pytest.approx(1, rel=1e-6)


def test_every_value_of_every_member_is_traced() -> None:
    model = with_common_trunk(2, 0.2)
    session, x = load(model, 1), inputs(model.graph, 3)
    for member in range(2):
        assert "pool2" in session.trace(x, member=member)


@pytest.fixture(scope="module")
def planned() -> Plans:
    """A trunk, and three members."""
    return plan_members(with_common_trunk(3, 0.2).members, 2)


@given(
    batch=st.integers(0, 90),
    draws=st.integers(1, 20),
    threads=st.integers(1, 9),
    sampled=st.booleans(),
)
def test_tasks_cover_everything_once(
    planned: Plans, batch: int, draws: int, threads: int, sampled: bool
) -> None:
    trunk, members = planned
    assert trunk is not None
    time = replace(members[0].time, row=1e-3, sample=10.0 if sampled else 0.0)
    members = tuple(replace(plan, time=time) for plan in members)
    trunk = replace(trunk, time=replace(trunk.time, row=1e-3))
    seen = np.zeros((3, draws, batch), int)
    for task in chain.from_iterable(split(members, batch, draws, threads, trunk)):
        seen[task.member, task.draws.start : task.draws.stop, task.rows.start : task.rows.stop] += 1
    assert (seen == 1).all()


def parted(graph: Graph, place: int) -> Graph:
    """The same network with other codes in one of its weights."""
    weights = [v for v in graph.constants if v.type.dtype is DType.I8]
    if not weights:
        return graph
    chosen = weights[place % len(weights)]
    codes = graph.constants[chosen]
    assert chosen.type.quant is not None
    other = np.where(codes > chosen.type.quant.low, codes - 1, codes).astype(np.int8)
    return replace(graph, constants={**graph.constants, chosen: other})


def anywhere(models: Callable[..., st.SearchStrategy[Model]]) -> st.SearchStrategy[Model]:
    def ensemble(model: Model, place: int) -> Model:
        return replace(model, members=(model.graph, parted(model.graph, place), model.graph))

    return st.builds(ensemble, models(ops="all") | models(ops="draws"), st.integers(0, 9))


@given(anywhere(integer_models), st.integers(1, 6))
@examples(40)
def test_members_that_part_anywhere(model: Model, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbnnc.runtime.trunk.WORTH", 0.0)
        session = load(model, threads=1)
    samples = 6 if model.stochastic else 3
    assert_equal(session, input_batch(model, rows), samples)


def test_equal_weights_after_a_mask_are_in_memory_once() -> None:
    """A trunk that draws masks runs for each member, but its weights are in memory once."""
    graphs = []
    for number in range(4):
        net = Net((64,), 3).linear(64, "fc1").relu("relu1").dropout(0.2, "drop")
        net.linear(64, "fc2").relu("relu2")
        net.rng = np.random.default_rng(number)
        graphs.append(net.linear(2, "fc3").graph())
    model = Model(tuple(graphs), Head(Task.CLASSIFICATION))
    model = quantise_model(model, inputs(graphs[0], 16), Options(samples=2))
    one, four = (load(replace(model, members=model.members[:n]), 1) for n in (1, 4))
    assert four._ensemble.constant_bytes < 1.4 * one._ensemble.constant_bytes
    assert_equal(four, inputs(graphs[0], 5), 8)


def test_members_of_other_shapes_are_not_planned() -> None:
    """One array serves all members: the runtime checks that itself, without Model.check."""
    for first, other in (((4,), (5,)), ((4,), (4, 1))):
        members = []
        for shape in (first, other):
            net = IntegerNet(shape)
            net.flatten()
            net.linear(3)
            members.append(net.graph())
        with pytest.raises(CompileError, match="member 1 has an input or outputs of shapes"):
            plan_members(members, draws=1)
    wide, narrow = (IntegerNet((4,), seed) for seed in (0, 1))
    wide.linear(3)
    narrow.linear(2)
    with pytest.raises(CompileError, match="all members of an ensemble need the same"):
        plan_members([wide.graph(), narrow.graph()], draws=1)
