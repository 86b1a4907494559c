"""Sampled weights and biases: every layer, layout, granularity and noise, against the oracle."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger, Dequantize, EpsCodes, LinearInteger, Reshape, Transpose
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import EPS_QUANT
from qbnnc.runtime import Session, load
from qbnnc.runtime.plan import plan
from qbnnc.support.errors import CompileError, Loc
from tests.runtime.nets import assert_equal, codes, images
from tests.runtime.sampled import BayesNet, bayes_lenet, bayes_mlp
from tests.runtime.test_trace import assert_traced


def check(net: BayesNet, rows: int = 3, samples: int = 4) -> None:
    model = net.model()
    assert_equal(model, images(model, rows), samples=samples, seed=7, first_row=2)
    assert_traced(model, images(model, rows), samples)


@pytest.mark.parametrize("rows", [0, 1, 7, 40])
def test_networks(rows: int) -> None:
    for model in (bayes_mlp(rows), bayes_mlp(rows, p=0.3)):
        assert_equal(model, images(model, rows), samples=5, seed=rows - 1, first_row=3 * rows)


@pytest.mark.parametrize("rows", [1, 7])
def test_lenet(rows: int) -> None:
    model = bayes_lenet()
    assert_equal(model, images(model, rows), samples=7, seed=5)


def test_codes_are_not_all_saturated() -> None:
    """The tests here could fail: samples differ."""
    model = bayes_mlp(p=0.2)
    x = images(model, 9)
    (samples,) = oracle_samples(model, x, samples=6)
    assert len(np.unique(samples)) == samples.size
    for name, value in load(model).trace(x, 6).items():
        if value.dtype in (np.uint8, np.int8) and value.max() > 1:
            assert len(np.unique(value)) > 15, name
            assert np.mean(value == value.max()) < 0.3, name


@pytest.mark.sample(22)
@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("symmetric", "channels", "granules", "bits"),
    [
        *product([True, False], [True, False], [True, False], [8]),
        (True, True, True, 4),
        (False, True, True, 2),
        (False, False, False, 5),
    ],
)
@pytest.mark.parametrize("sampled", ["weight", "bias", "both"])
@pytest.mark.parametrize("zero", [0, 33])
def test_linear(
    symmetric: bool, channels: bool, granules: bool, bits: int, sampled: str, zero: int
) -> None:
    net = BayesNet((13,), 1, codes(0.03, zero))
    if sampled == "bias":
        affine = 0 if symmetric else 9
        weight = net.weight(19, 13, bits=bits, zero=affine % 2**bits, tensor=not channels)
    else:
        weight = net.sampled(
            19, 13, bits=bits, symmetric=symmetric, channels=channels, granules=granules
        )
    bias = net.bias(19) if sampled == "weight" else net.sampled_bias(net.value, weight)
    net.emit(LinearInteger(), net.value, weight, bias)
    net.observed(50, low=50)
    check(net)


@pytest.mark.few(4)
@pytest.mark.parametrize("inputs", [1, 4, 130])
@pytest.mark.parametrize("features", [1, 16, 129, 300])
def test_linear_sizes(inputs: int, features: int) -> None:
    net = BayesNet((inputs,), 2, codes(0.03, 20))
    net.bayes_linear(features)
    net.observed(40)
    net.bayes_linear(3)
    check(net, rows=6)


@pytest.mark.sample(12)
@pytest.mark.few(4)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("sampled", ["weight", "bias", "both"])
@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 5, 1), (6, 12, 3), (6, 6, 6)])
@pytest.mark.parametrize("folded", [False, True])
def test_convolution(
    symmetric: bool, sampled: str, channels: int, filters: int, groups: int, folded: bool
) -> None:
    net = BayesNet((channels, 6, 5), 3, codes(0.03, 33))
    op = Conv2dInteger((2, 1), (1, 0, 1, 2), (1, 2), groups, folded)
    shape = (filters, channels // groups, 3, 2)
    if sampled == "bias":
        weight = net.weight(*shape, zero=0 if symmetric else 5)
    else:
        weight = net.sampled(*shape, symmetric=symmetric)
    bias = net.bias(filters) if sampled == "weight" else net.sampled_bias(net.value, weight)
    net.emit(op, net.value, weight, bias)
    net.observed(50)
    check(net)


def test_transposed_noise() -> None:
    net = BayesNet((7,), 4, codes(0.03, 20))
    index = np.arange(7 * 11).reshape(7, 11).T
    weight = net.sampled(11, 7, eps=net.eps(7, 11), index=index)
    net.emit(LinearInteger(), net.value, weight, net.bias(11))
    check(net)


def test_joint_noise_is_sliced() -> None:
    """One noise serves the weight and the bias of a layer, and another layer's weight."""
    net = BayesNet((6,), 5, codes(0.03, 20))
    eps = net.eps(9, 10)
    whole = np.arange(90).reshape(9, 10)
    first = net.sampled(9, 6, eps=eps, index=whole[:, :6])
    net.emit(LinearInteger(), net.value, first, net.bias(9))
    net.observed(10)
    second = net.sampled(3, 9, eps=eps, index=whole[:, 7:].T)
    net.emit(LinearInteger(), net.value, second, net.bias(3))
    check(net)


@pytest.mark.parametrize("kind", ["shuffled", "one", "reversed"])
def test_any_index(kind: str) -> None:
    net = BayesNet((4, 5, 5), 6, codes(0.03, 20))
    index = np.random.default_rng(0).permutation(100)[:72]
    if kind == "one":
        index = np.zeros(72, np.int64)
    elif kind == "reversed":
        index = np.arange(72)[::-1]
    weight = net.sampled(4, 2, 3, 3, eps=net.eps(100), index=index)
    net.emit(Conv2dInteger(groups=2), net.value, weight, net.bias(4))
    check(net)


@pytest.mark.parametrize("shape", [(5, 4, 3), (60, 1, 1), (2, 3, 2, 5), (60,)])
@pytest.mark.parametrize("indexed", [False, True])
def test_noise_of_any_rank(shape: tuple[int, ...], indexed: bool) -> None:
    net = BayesNet((6,), 7, codes(0.03, 20))
    index = np.arange(60).reshape(6, 10).T if indexed else None
    weight = net.sampled(10, 6, eps=net.eps(*shape), index=index)
    net.emit(LinearInteger(), net.value, weight, net.bias(10))
    check(net)


def test_noise_is_moved() -> None:
    net = BayesNet((6,), 8, codes(0.03, 20))
    x = net.value
    turned = net.emit(Transpose((2, 0, 1)), net.eps(2, 5, 6))
    eps = net.emit(Reshape((60,)), turned)
    net.value = x
    weight = net.sampled(10, 6, eps=eps)
    net.emit(LinearInteger(), x, weight, net.bias(10))
    check(net)


def test_granules_of_any_shape() -> None:
    """R and r may differ for each element: no compiler does this, and the definition allows it."""
    net = BayesNet((6,), 9, codes(0.03, 20))
    weight = net.sampled(10, 6)
    node = net.build.producer(weight)
    assert node is not None
    ratio = net.constant(net.rng.integers(1, 900, (10, 6)).astype(np.int32))
    divisor = net.constant(net.rng.uniform(100, 900, (1, 6)).astype(np.float32))
    x = net.value
    other = net.emit(node.op, *node.inputs[:3], ratio, divisor)
    net.emit(LinearInteger(), x, other, net.bias(10))
    check(net)


@pytest.mark.parametrize("zeros", [(0, 30), (40, 40)])
def test_weight_shared_by_two_layers(zeros: tuple[int, int]) -> None:
    net = BayesNet((8,), 10, codes(0.03, zeros[0]))
    weight = net.sampled(8, 8)
    for _ in range(2):
        x = net.value
        net.emit(LinearInteger(), x, weight, net.sampled_bias(x, weight))
        net.observed(zeros[1])
    check(net)


def test_weight_shared_by_layers_of_other_groups_and_read_as_an_output() -> None:
    net = BayesNet((4, 5, 5), 11, codes(0.03, 10))
    x = net.value
    weight = net.sampled(8, 2, 3, 3)
    net.emit(Conv2dInteger(groups=2), x, weight, net.bias(8))
    first = net.emit(Dequantize())
    net.value = x
    net.conv(2, 1)
    net.observed(3)
    net.emit(Conv2dInteger(padding=(1, 1, 1, 1)), net.value, weight, net.bias(8))
    second = net.emit(Dequantize())
    model = net.model(first, second, net.emit(Dequantize(), weight))
    assert_equal(model, images(model, 3), samples=4)
    assert_traced(model, images(model, 3), 4)


def test_weight_that_is_computed_otherwise_is_refused() -> None:
    net = BayesNet((6,), 12, codes(0.03, 20))
    x = net.value
    turned = net.emit(Transpose((1, 0)), net.sampled(6, 10, channels=False))
    net.emit(LinearInteger(), x, turned, net.bias(10))
    with pytest.raises(CompileError, match=r"^linear_integer8: .* constant, sampled or chosen"):
        load(Model((net.graph(),), Head(Task.RAW), 1))


def test_layer_of_a_constant() -> None:
    """A sampled weight on a constant input varies with the sample alone."""
    net = BayesNet((5,), 13, codes(0.03, 20))
    x = net.value
    net.value = net.constant(np.arange(5, dtype=np.uint8), codes(0.03, 2))
    net.bayes_linear(5)
    alone = net.observed(20)
    net.add(x, alone, codes(0.05, 30))
    check(net)


def test_streams_are_numbered_by_the_noise() -> None:
    net = BayesNet((5,), 14)
    for stream in (7, 0, 2**32 - 1):
        eps = net.build.emit(EpsCodes((5, 5), stream), loc=Loc("eps"), name=f"eps{stream}")
        assert eps.type.quant is EPS_QUANT
        weight, x = net.sampled(5, 5, eps=eps), net.value
        net.emit(LinearInteger(), x, weight, net.bias(5))
        net.observed(20)
    check(net)


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 + 5, -(2**100)])
def test_seeds(seed: int) -> None:
    model = bayes_mlp()
    assert_equal(model, images(model, 3), samples=3, seed=seed)


def test_ensemble_of_sampled_members() -> None:
    graphs = tuple(bayes_mlp(seed).graph for seed in range(3))
    model = Model(graphs, Head(Task.CLASSIFICATION), 2)
    assert_equal(model, images(model, 5), samples=9, seed=4, batch_size=2)
    for member in range(3):
        assert_traced(model, images(model, 2), 6, member)


@pytest.mark.parametrize("make", [bayes_mlp, bayes_lenet])
def test_sample_l_does_not_depend_on_l_nor_on_the_batch(make: Callable[..., Model]) -> None:
    model = make()
    session, x = load(model), images(model, 5)
    most = session.predict(x, 7, seed=2).samples
    for samples in (1, 3):
        assert np.array_equal(session.predict(x, samples, seed=2).samples, most[:samples])
    for batch_size in (1, 2, 5):
        assert np.array_equal(session.predict(x, 7, 2, batch_size=batch_size).samples, most)
    assert np.array_equal(session.predict(x[3:], 7, 2, first_row=3).samples, most[:, 3:])
    same = session.predict(np.repeat(x[:1], 3, axis=0), 2).samples
    assert np.array_equal(same[:, 0], same[:, 2])


@pytest.mark.parametrize("budget", [1, 5_000, 300_000])
def test_block_sizes_change_nothing(budget: int) -> None:
    model = bayes_mlp(p=0.3)
    x, session = images(model, 30), Session(model, block_bytes=budget)
    want = load(model).predict(x, 9, seed=3).samples
    for batch_size in (None, 1, 13):
        assert np.array_equal(session.predict(x, 9, 3, batch_size=batch_size).samples, want)


def test_memory_is_bounded() -> None:
    """The arena has space for the samples of a block, not for all, and counts it."""
    model = bayes_lenet()
    session = load(model, threads=1)
    samples = session.plan_summary().capacity.samples
    assert 61_706 * samples < session.plan_summary().scratch_bytes < 2_000_000
    assert session.peak_bytes(1, 1000) - session.peak_bytes(1, 10) == 990 * 10 * 4
    wide = replace(plan(model.graph, budget=1))
    assert wide.arena.capacity.samples == 1
    assert wide.constants.nbytes < 65_536 + 61_706 * 3
