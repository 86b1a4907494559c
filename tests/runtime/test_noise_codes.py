"""Noise on activations: the runtime draws the oracle's codes."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.ops import Dequantize, LinearInteger, NoiseCodes
from qbnnc.runtime import load
from tests.runtime.draws import DrawsNet
from tests.runtime.nets import assert_equal, codes
from tests.runtime.test_choices import check
from tests.strategies import input_batch

EVERY_SHAPE = [(7,), (1,), (3, 4, 5), (3, 1, 1), (1, 4, 5), (3, 4), (2, 3, 4, 5), (40, 9, 1)]


@pytest.mark.few(6)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("shape", EVERY_SHAPE)
def test_shapes(shape: tuple[int, ...], shared: bool, inverted: bool) -> None:
    net = DrawsNet((4,), 8)
    net.value = net.noise(*shape, shared=shared, inverted=inverted)
    check(net, first_row=2**64 - 3)


@pytest.mark.parametrize("thresholds", [(0,), (65536,), (32768,), (1, 1, 1), (0, 65535, 65536)])
@pytest.mark.parametrize("inverted", [False, True])
def test_thresholds(thresholds: tuple[int, ...], inverted: bool) -> None:
    """A code may always come, or never."""
    net = DrawsNet((4,), 1)
    quant = codes(0.1, 0, bits=2 if len(thresholds) > 1 else 1)
    net.value = net.drawn(NoiseCodes((5000,), 3, thresholds, quant, inverted=inverted))
    model = net.model()
    assert_equal(model, input_batch(model, 3), samples=3)


def test_a_layer_that_reads_noise() -> None:
    net = DrawsNet((9,), 2)
    net.value = net.noise(9)
    net.linear(5)
    first = net.emit(Dequantize())
    net.value = net.noise(9, shared=True)
    net.emit(LinearInteger(), net.value, net.dropped(net.weight(4, 9)), net.bias(4))
    model = net.model(first, net.emit(Dequantize()))
    assert_equal(model, input_batch(model, 7), samples=5, batch_size=2)


def test_noise_behind_a_mask() -> None:
    net = DrawsNet((9,), 3)
    net.add(net.value, net.noise(9), codes(0.1, 20))
    net.dropout(0.3)
    net.linear(5)
    check(net)


def test_rows_have_noise_of_their_own_unless_they_share_it() -> None:
    for shared in (False, True):
        net = DrawsNet((4,), 4)
        net.value = net.noise(50, shared=shared)
        model = net.model()
        made = load(model).predict(input_batch(model, 2), 3).samples
        assert np.array_equal(made[:, 0], made[:, 1]) is shared
        assert not np.array_equal(made[0], made[1])
        ids = load(model).predict(input_batch(model, 3), 3, row_ids=[5, 1, 5]).samples
        assert np.array_equal(ids[:, 0], ids[:, 2])
        assert np.array_equal(ids[:, 0], ids[:, 1]) is shared
