"""One of several constants, as codes, weights and biases: the runtime takes the oracle's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Choice, Conv2dInteger, Dequantize, LinearInteger, Reshape
from qbnnc.ir.ops.choice import index_range
from qbnnc.runtime import load
from qbnnc.runtime.families.choice.instructions import ChoiceIndex, Choose
from qbnnc.runtime.families.sampled_weights.instructions import FoldBias
from qbnnc.runtime.plan import plan
from qbnnc.runtime.program import Instruction
from qbnnc.support.errors import CompileError
from tests.runtime.draws import DrawsNet, drop_connect, last_layer_chosen, noisy
from tests.runtime.nets import assert_equal, codes
from tests.runtime.test_trace import assert_traced
from tests.strategies import input_batch


def check(net: DrawsNet, rows: int = 3, samples: int = 6, first_row: int = 2) -> None:
    model = net.model()
    samples = samples if model.stochastic else 1
    assert_equal(model, input_batch(model, rows), samples=samples, seed=7, first_row=first_row)
    assert_traced(model, input_batch(model, rows), samples)


def kinds(model: Model) -> list[type[Instruction]]:
    return [type(step.instruction) for step in plan(model.graph).steps]


@pytest.mark.parametrize("make", [last_layer_chosen, drop_connect, noisy])
@pytest.mark.parametrize("rows", [0, 1, 7, 40])
def test_networks(make: Callable[..., Model], rows: int) -> None:
    model = make(rows, draws=3)
    for batch_size in (None, 3):
        assert_equal(
            model,
            input_batch(model, rows),
            samples=9,
            seed=rows - 1,
            first_row=3,
            batch_size=batch_size,
        )


@pytest.mark.parametrize("make", [last_layer_chosen, drop_connect, noisy])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_samples_and_threads_change_nothing(make: Callable[..., Model], threads: int) -> None:
    model = make()
    session, x = load(model, threads=threads), input_batch(model, 5)
    most = load(model).predict(x, 7, seed=2).samples
    for samples in (1, 3, 7):
        assert np.array_equal(session.predict(x, samples, seed=2).samples, most[:samples])
    assert np.array_equal(session.predict(x[3:], 7, 2, first_row=3).samples, most[:, 3:])
    ids = session.predict(x[[4, 0, 2]], 7, 2, row_ids=[4, 0, 2]).samples
    assert np.array_equal(ids, most[:, [4, 0, 2]])


@pytest.mark.parametrize("make", [last_layer_chosen, drop_connect, noisy])
def test_samples_differ(make: Callable[..., Model]) -> None:
    """The tests here could fail: samples are not all alike."""
    model = make()
    samples = load(model).predict(input_batch(model, 2), 30).samples
    assert len(np.unique(samples[:, 0].reshape(30, -1), axis=0)) > 3


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("count", [2, 7, 4096])
def test_codes(shape: tuple[int, ...], shared: bool, count: int) -> None:
    net = DrawsNet(shape, 1, codes(0.03, 22))
    index = net.index(count, shared=shared)
    net.add(net.value, net.chosen_codes(shape, index), codes(0.07, 30))
    check(net)


def test_several_choices_by_one_number() -> None:
    net = DrawsNet((6,), 2, codes(0.03, 22))
    index = net.index(3, shared=False)
    for zero in (10, 20):
        net.add(net.value, net.chosen_codes((6,), index), codes(0.1, zero))
    check(net)


@pytest.mark.parametrize("affine", [0, 9])
@pytest.mark.parametrize("tensor", [True, False])
@pytest.mark.parametrize("what", ["weight", "bias", "both", "both by one number"])
@pytest.mark.parametrize("zero", [0, 33])
def test_linear(affine: int, tensor: bool, what: str, zero: int) -> None:
    net = DrawsNet((13,), 3, codes(0.03, zero))
    weight = net.weight(19, 13, zero=affine, tensor=tensor)
    bias = net.coded_bias(weight)
    index = net.index(4) if what.endswith("number") else None
    count = 3 if index is None else 4
    if what != "bias":
        weight = net.chosen(weight, index, count)
    if what != "weight":
        bias = net.chosen(bias, index, count)
    net.emit(LinearInteger(), net.value, weight, bias)
    net.observed(50, low=50)
    check(net)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 5, 1), (6, 12, 3), (6, 6, 6)])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("affine", [0, 5])
def test_convolution(channels: int, filters: int, groups: int, folded: bool, affine: int) -> None:
    net = DrawsNet((channels, 6, 5), 4, codes(0.03, 33))
    op = Conv2dInteger((2, 1), (1, 0, 1, 2), (1, 2), groups, folded)
    weight = net.weight(filters, channels // groups, 3, 2, zero=affine)
    net.emit(op, net.value, net.chosen(weight), net.bias(filters))
    net.observed(50)
    check(net)


def test_winograd() -> None:
    net = DrawsNet((16, 9, 9), 5, codes(0.03, 12))
    op = Conv2dInteger(padding=(1, 1, 1, 1))
    net.emit(op, net.value, net.chosen(net.weight(32, 16, 3, 3)), net.bias(32))
    net.observed(30)
    check(net)


def test_the_terms_of_a_chosen_weight_are_computed_at_load() -> None:
    assert FoldBias not in kinds(last_layer_chosen())
    net = DrawsNet((13,), 6, codes(0.03, 33))
    weight = net.weight(19, 13)
    net.emit(LinearInteger(), net.value, net.chosen(weight), net.sampled_bias(net.value, weight))
    model = net.model()
    assert kinds(model).count(FoldBias) == 1
    assert_equal(model, input_batch(model, 3), samples=5)


def test_weight_shared_by_layers_of_other_groups_and_read_as_an_output() -> None:
    net = DrawsNet((4, 5, 5), 7, codes(0.03, 10))
    x, weight = net.value, net.chosen(net.weight(8, 2, 3, 3))
    net.emit(Conv2dInteger(groups=2), x, weight, net.bias(8))
    first = net.emit(Dequantize())
    net.value = x
    net.conv(2, 1)
    net.observed(3)
    net.emit(Conv2dInteger(padding=(1, 1, 1, 1)), net.value, weight, net.bias(8))
    second = net.emit(Dequantize())
    model = net.model(first, second, net.emit(Dequantize(), weight))
    assert_equal(model, input_batch(model, 3), samples=5)
    assert_traced(model, input_batch(model, 3), 5)


def test_a_number_that_leaves() -> None:
    """The index itself is an output, under another shape too."""
    net = DrawsNet((4,), 8)
    index = net.index(1000, shared=False)
    turned = net.kept(Reshape((1,)), index)
    chosen = net.chosen_codes((4,), turned)
    model = net.model(net.emit(Dequantize(), index), net.emit(Dequantize(), chosen))
    assert_equal(model, input_batch(model, 6), samples=9, first_row=2**64 - 3)


def test_a_constant_number() -> None:
    """No compiler leaves such a choice, and the definition allows it."""
    net = DrawsNet((6,), 9, codes(0.03, 20))
    index = net.constant(np.array([2], np.int32), index_range(3))
    net.add(net.value, net.chosen_codes((6,), index), codes(0.1, 20))
    weight = net.weight(5, 6)
    net.emit(
        LinearInteger(), net.value, net.chosen(weight, index), net.sampled_bias(net.value, weight)
    )
    model = net.model()
    assert_equal(model, input_batch(model, 3), samples=4)


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 + 5, -(2**100)])
def test_seeds(seed: int) -> None:
    for model in (last_layer_chosen(), noisy()):
        assert_equal(model, input_batch(model, 3), samples=5, seed=seed)


def test_ensemble() -> None:
    for make in (last_layer_chosen, drop_connect, noisy):
        graphs = tuple(make(seed).graph for seed in range(3))
        model = Model(graphs, Head(Task.RAW), 2)
        assert_equal(model, input_batch(model, 5), samples=9, seed=4, batch_size=2)
        for member in range(3):
            assert_traced(model, input_batch(model, 2), 6, member)


def test_a_plan_says_among_how_many() -> None:
    forms = [s.instruction.form for s in plan(last_layer_chosen(count=5).graph).steps
             if isinstance(s.instruction, Choose)]  # fmt: skip
    assert forms == ["one of 5"] * 2
    assert kinds(last_layer_chosen()).count(ChoiceIndex) == 1


def test_set_of_values_that_is_computed_is_refused() -> None:
    net = DrawsNet((4,), 10)
    values = net.kept(Reshape((3, 4)), net.constant(np.zeros((12,), np.uint8), codes(0.1)))
    net.emit(Choice(), values, net.index(3))
    with pytest.raises(CompileError, match=r"^choice\d+: .* constant set of values"):
        load(net.model())
