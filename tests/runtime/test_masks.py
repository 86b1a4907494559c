"""Dropout masks of any shape and probability: the runtime keeps the oracle's elements."""

import pytest

from qbnnc.ir.ops import (
    KeepMask,
    Select,
)
from qbnnc.support.errors import Loc
from tests.runtime.nets import Net, assert_equal, codes, images

PADDINGS = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 4)]


@pytest.mark.few(6)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("shape", "mask"),
    [
        ((7,), (7,)),
        ((7,), (1,)),
        ((3, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (3, 1, 1)),
        ((3, 4, 5), (1, 4, 5)),
        ((3, 4, 5), (3, 4, 1)),
        ((3, 4, 5), (1, 1, 5)),
        ((3, 4, 5), (1, 1, 1)),
        ((3, 4), (3, 4)),
        ((3, 4), (3, 1)),
        ((3, 4), (1, 4)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_masks(shape: tuple[int, ...], mask: tuple[int, ...], shared: bool) -> None:
    net = Net(shape, 8, codes(0.03, 22))
    net.emit(Select(), net.value, net.mask(*mask, shared=shared))
    model = net.model()
    assert_equal(model, images(model, 5), samples=4, seed=-1, first_row=2**64 - 3)


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.5, 0.99999, 0.9999999])
def test_dropout_probabilities(p: float) -> None:
    net = Net((50,))
    net.dropout(p, scale=2.0)
    model = net.model()
    assert_equal(model, images(model, 5), samples=2, seed=1)


def test_streams_are_numbered_by_the_mask() -> None:
    net = Net((9,))
    x = net.value
    for stream in (5, 0, 2**32 - 1):
        keep = KeepMask((9,), 0.3, stream)
        x = net.emit(Select(), x, net.build.emit(keep, loc=Loc("mask"), name=f"keep{stream}"))
    model = net.model()
    assert_equal(model, images(model, 4), samples=2)
