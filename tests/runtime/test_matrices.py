"""Products of two computed matrices in the runtime: the oracle's bits, and the verifier's rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Dequantize, MatMulInteger, Requantize, Reshape, Select
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import QuantParams, Stage
from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.families.products.instructions import MatMul, packed_bytes
from qbnnc.runtime.families.products.kernels import P
from tests.examples import examples
from tests.integer_net import IntegerNet
from tests.runtime.nets import assert_equal
from tests.runtime.redzones import apart
from tests.runtime.test_verifier import assert_inside
from tests.strategies import input_batch, integer_models, random_integer_model

SHAPES = [(), (1,), (3,), (1, 2), (2, 3)]
WIDE = QuantParams((0.25,), (131,), 0, 255)


def matrices(
    outer: tuple[int, ...], sizes: tuple[int, int, int], *, transposed: bool, masked: bool = False
) -> IntegerNet:
    """A product [*outer, M, N] of the input's codes and a constant's, under a mask if `masked`."""
    rows, depth, columns = sizes
    net = IntegerNet((int(np.prod((*outer, rows, depth))),))
    a = net.emit(Reshape((*outer, rows, depth)), net.value)
    shape = (*outer, columns, depth) if transposed else (*outer, depth, columns)
    codes = net.rng.integers(0, 256, shape).astype(np.uint8)
    b: Value = net.build.constant("b", codes, WIDE)
    if masked:
        b = net.emit(Select(), b, net.keep(shape))
    net.value = net.emit(MatMulInteger(transposed, 0.3), a, b, name="acc")
    return net


def model_of(net: IntegerNet, *, rounded: bool) -> Model:
    """The accumulators, or their codes, as the output."""
    value = net.value
    if rounded:
        quant = QuantParams((9.0,), (60,), 0, 127)
        m = net.build.constant("m", multiplier(codes_of(value.type).scale, 9.0))
        value = net.emit(Requantize(quant, 20, 127), value, m)
    out = net.emit(Dequantize(), value, name="out")
    graph = net.build.graph((out,), Stage.INTEGER)
    return Model((graph,), Head(Task.RAW), 3 if net.streams else 1)


@pytest.mark.few(4)
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("outer", SHAPES)
def test_shapes(outer: tuple[int, ...], transposed: bool, rounded: bool) -> None:
    """Odd numbers of lines, and lines that are shorter or longer than a vector."""
    for number, sizes in enumerate([(1, 1, 1), (3, 5, 2), (2, 16, 3), (4, 33, 5)]):
        net = matrices(outer, sizes, transposed=transposed, masked=number % 2 == 1)
        model = model_of(net, rounded=rounded)
        assert_equal(model, input_batch(model, 3), samples=model.samples, seed=number)


def test_codes_of_8_bits_do_not_saturate() -> None:
    """All codes are far from their zero points: each sum is 600 products near 124 * 131."""
    net = matrices((), (2, 600, 3), transposed=True)
    model = model_of(net, rounded=False)
    assert_equal(model, np.full((2, 1200), 9.0, np.float32), samples=1, seed=0)


@given(
    integer_models(ops="products") | integer_models(ops="products", members=2),
    st.integers(1, 5),
    st.integers(-(2**70), 2**70),
)
@examples(40)
def test_random_models(model: Model, rows: int, seed: int) -> None:
    samples = len(model.members) * (3 if model.stochastic else 1)
    x = input_batch(model, rows)
    assert_equal(model, x, samples=samples, seed=seed, first_row=5, batch_size=2)


OPCODE = OPCODES[MatMul]


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("height", 1),
        ("width", 1),
        ("depth", 1),
        ("count", 1),
        ("a_step_line", 1),
        ("b_step_depth", 1),
    ],
)
def test_a_size_may_not_leave_its_buffer(field: str, more: int) -> None:
    made = apart(model_of(matrices((3,), (4, 8, 4), transposed=True), rounded=True).graph)
    program = made.plan.program.copy()
    (number,) = np.flatnonzero(program[:, 0] == OPCODE)
    program[number, getattr(P, field)] += more
    assert made.refusal(program) is not None


@pytest.mark.parametrize("rounded", [False, True])
def test_what_is_let_through_of_a_product(rounded: bool) -> None:
    model = model_of(matrices((2,), (3, 4, 2), transposed=False, masked=True), rounded=rounded)
    assert assert_inside(model.graph, 3, share=0.1) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_what_is_let_through_stays_in_its_buffers(seed: int) -> None:
    graph = random_integer_model(seed, ops="products").graph
    assert assert_inside(graph, seed, share=0.3) > 0


def test_both_matrices_of_a_pair_fit_the_scratch_space() -> None:
    """Two lines and four, of 16 numbers of two bytes."""
    assert packed_bytes(1, 3, 9) == (2 + 4) * 16 * 2
