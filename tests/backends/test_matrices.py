"""Products of two computed matrices in onnxruntime, C and PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.c import to_c
from qbnnc.backends.torch.operators import apply
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import MatMul
from qbnnc.ir.types import PER_ROW, DType, TensorType
from qbnnc.support.errors import Loc
from tests.backends.equality import assert_equal
from tests.backends.test_c import CHECKED, CHECKERS, needs_compiler, ran
from tests.examples import examples, slow_but
from tests.runtime.test_matrices import matrices, model_of
from tests.strategies import integer_models, random_integer_model


@given(
    integer_models(ops="products") | integer_models(ops="products", members=2), st.integers(0, 99)
)
@examples(30)
def test_random_models_in_onnxruntime(model: Model, seed: int) -> None:
    assert_equal(model, 3, seed)


@pytest.mark.few(2)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("outer", [(), (3,), (2, 3)])
def test_shapes_in_onnxruntime(outer: tuple[int, ...], transposed: bool) -> None:
    for masked in (False, True):
        net = matrices(outer, (3, 33, 2), transposed=transposed, masked=masked)
        assert_equal(model_of(net, rounded=True), 3, 1)


@needs_compiler
@pytest.mark.sample(3)
@pytest.mark.parametrize("transposed", slow_but([True], [False, True]))
@pytest.mark.parametrize("outer", slow_but([(3,)], [(), (3,), (2, 3)]))
def test_shapes_in_c(outer: tuple[int, ...], transposed: bool, tmp_path: Path) -> None:
    net = matrices(outer, (3, 9, 2), transposed=transposed, masked=True)
    ran(tmp_path, model_of(net, rounded=False), CHECKED, CHECKERS[0])


@needs_compiler
@pytest.mark.sample(4)
@pytest.mark.parametrize("seed", slow_but([3], range(40)))
def test_random_models_in_c(seed: int, tmp_path: Path) -> None:
    model = random_integer_model(
        seed, ops="products", classification=seed % 3 == 0, members=1 + seed % 2
    )
    ran(tmp_path, model, CHECKED, CHECKERS[0])


def test_c_counts_the_products() -> None:
    """[3 x 9] times [9 x 2], twice, for each sample as the second one is masked."""
    model = model_of(matrices((2,), (3, 9, 2), transposed=True, masked=True), rounded=True)
    (cost,) = to_c(model, "net").costs.layers
    assert (cost.layer, cost.form, cost.row, cost.sample) == ("acc", "direct", 0, 2 * 3 * 9 * 2)
    plain = model_of(matrices((2,), (3, 9, 2), transposed=True), rounded=True)
    (once,) = to_c(plain, "net").costs.layers
    assert (once.row, once.sample) == (2 * 3 * 9 * 2, 0)


def test_pytorch_gives_gradients_to_both_factors() -> None:
    types = [TensorType(DType.F32, shape, PER_ROW) for shape in ((2, 3), (4, 3))]
    a, b = (Value(name, type_) for name, type_ in zip("ab", types, strict=True))
    op = MatMul(transposed=True, factor=0.5)
    node = Node(op, (a, b), Value("y", op.infer(*types)), Loc("layer"))
    x, y = torch.ones(1, 2, 3, requires_grad=True), torch.full((1, 4, 3), 2.0, requires_grad=True)
    made = apply(node, [x, y])
    assert np.array_equal(made.detach().numpy(), np.full((1, 2, 4), 3.0))
    made.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad == 4.0).all()
    assert (y.grad == 1.0).all()
