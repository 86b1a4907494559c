"""`trace`: every value by its name, with the oracle's bits."""

from collections.abc import Callable

import numpy as np
import pytest

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.model import Model
from qbnnc.ir.ops import EpsCodes
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, DType
from qbnnc.runtime import load
from qbnnc.support.errors import InputError
from tests.runtime.nets import images, lenet, mlp, resnet
from tests.strategies import Ops, input_batch, random_integer_model


def oracle_values(
    model: Model, x: Array, samples: int, seed: int, first_row: int, member: int
) -> dict[str, Array]:
    values = dict[str, Array]()
    numbers = model.sample_numbers(member, model.draws_for(samples))
    draw = Draw.of(seed, numbers, range(first_row, first_row + len(x)))
    evaluate(model.members[member], x, draw, lambda v, a: values.update({v.name: a}))
    return values


def assert_traced(model: Model, x: Array, samples: int, member: int = 0) -> None:
    values = load(model).trace(x, samples, seed=-9, first_row=5, member=member)
    want = oracle_values(model, x, samples, -9, 5, member)
    nodes = {n.output.name: n for n in model.graph.nodes}
    for name, value in values.items():
        assert value.dtype == want[name].dtype, name
        np.testing.assert_array_equal(value, want[name], name)
    assert values.keys() <= nodes.keys()
    for name in nodes.keys() - values.keys():  # taken in: accumulators, and noise of weights
        node = nodes[name]
        assert node.output.type.dtype is DType.I32 or isinstance(node.op, EpsCodes), name


@pytest.mark.parametrize("make", [lenet, mlp, resnet])
@pytest.mark.parametrize("rows", [1, 6])
def test_networks(make: Callable[..., Model], rows: int) -> None:
    model = make()
    assert_traced(model, images(model, rows), 4)


@pytest.mark.sample(24)
@pytest.mark.few(6)
@pytest.mark.parametrize("ops", ["basic", "all", "draws"])
@pytest.mark.parametrize("number", range(40))
def test_random_models(number: int, ops: Ops) -> None:
    members = 1 + number % 2
    model = random_integer_model(number, members=members, ops=ops)
    samples = members * (3 if model.stochastic else 1)
    assert_traced(model, input_batch(model, 3), samples, members - 1)


def test_more_rows_than_a_block() -> None:
    model = mlp()
    assert_traced(model, images(model, 1500), 2)


def test_empty_batch_and_errors() -> None:
    session = load(mlp())
    assert session.trace(np.zeros((0, 10)), 2)["input.q"].size == 0
    with pytest.raises(InputError, match="member: 1"):
        session.trace(np.zeros((1, 10)), member=1)
