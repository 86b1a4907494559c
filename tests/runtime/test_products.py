"""Whole layers of every width against the oracle, and inside their buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape
from qbnnc.runtime.families.contraction.kernels.panels import product_kernel
from qbnnc.runtime.isa import Isa, of_this_cpu
from qbnnc.runtime.packing import Layout
from tests.examples import examples
from tests.runtime.nets import Net, assert_equal, codes, images
from tests.runtime.redzones import apart, run
from tests.runtime.tiles import HIGH, LOW, ZERO, products

_ROWS, _OUT = (12, 4, 1), 1 << 14


def layer(
    filters: int, groups: int, channels: int, kernel: int, stride: int, padding: int, *, end: bool
) -> Model:
    """Make one convolution, requantised if `end`, and one that reads its codes."""
    net = Net((channels * groups, 5, 6), filters, codes(0.03, 60))
    op = Conv2dInteger((stride, stride), (padding,) * 4, groups=groups)
    net.conv(filters * groups, kernel, op)
    if end:
        net.requantize(codes(0.1, 7))
        net.conv(3, 1)
    return net.model()


@given(
    st.integers(1, 70), st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 2),
    st.integers(0, 2), st.booleans(), st.integers(1, 5),
)  # fmt: skip
@examples(40)
def test_layers_of_any_width(
    filters: int, groups: int, channels: int, kernel: int, stride: int, padding: int, end: bool,
    rows: int,
) -> None:  # fmt: skip
    model = layer(filters, groups, channels, kernel, stride, padding, end=end)
    assert_equal(model, images(model, rows))


@pytest.mark.few(6)
@pytest.mark.parametrize("filters", [1, 8, 10, 16, 17, 24, 29, 32, 33, 41, 56, 63, 65])
@pytest.mark.parametrize("groups", [1, 2])
def test_stores_stay_in_their_buffers(filters: int, groups: int) -> None:
    made = apart(layer(filters, groups, 3, 2, 1, 1, end=True).graph)
    assert made.refusal(made.plan.program) is None
    x = np.random.default_rng(0).standard_normal((5, 3 * groups, 5, 6)).astype(np.float32)
    (first, intact), (second, again) = (
        run(made, made.plan.program, x, 1, poison) for poison in (0x5A, 0xC3)
    )
    assert intact
    assert again
    assert np.array_equal(first.view(np.int32), second.view(np.int32))


def compiled(isa: Isa) -> Any:
    product = product_kernel(isa, [Shape(_ROWS, width) for width in isa.panels])

    def call(
        arena: Any, x: Any, runs: Any, k_blocks: int, weights: Any, bias: Any, factor: Any,
        out: Any, zero: np.int32, low: np.float32, high: np.float32,
    ) -> None:  # fmt: skip
        product(
            arena.ctypes.data, x.ctypes.data, runs.ctypes.data, len(runs), k_blocks,
            weights.ctypes.data, bias.ctypes.data, factor.ctypes.data, out.ctypes.data, 0, zero,
            low, high, len(out), len(bias),
        )  # fmt: skip

    return njit(call)


@pytest.mark.parametrize("isa", of_this_cpu())
def test_all_panels_of_a_group(isa: Isa) -> None:
    """Each count of channels and positions gives numpy's codes, and changes no other byte."""
    rng, call = np.random.default_rng(0), compiled(isa)
    for channels in range(8, 89, 8):
        positions, runs, k_blocks = (int(n) for n in rng.integers(1, (40, 4, 9)))
        arena = rng.integers(0, 128, _OUT + 8192).astype(np.uint8)
        x, starts = rng.integers(0, 4000, positions), rng.integers(0, 4000, runs).astype(np.int32)
        weights = rng.integers(-128, 128, (runs, k_blocks, channels, 4)).astype(np.int8)
        bias = rng.integers(-(2**20), 2**20, channels).astype(np.int32)
        factor = rng.uniform(1e-6, 1e-3, channels).astype(np.float32)
        out = _OUT + 90 * rng.permutation(positions)
        total = (products(arena, x, starts, weights) + bias).astype(np.int32)
        made = np.rint(np.clip(total.astype(np.float32) * factor, LOW, HIGH)).astype(int) + ZERO
        expected = arena.copy()
        for at, result in zip(out, made, strict=True):
            expected[at : at + channels] = result
        width = isa.panels[0]
        panels = [weights[:, :, first : first + width] for first in range(0, channels, width)]
        packed = np.concatenate([panel.reshape(-1) for panel in panels])
        ends = np.float32(LOW), np.float32(HIGH)
        call(arena, x, starts, k_blocks, packed, bias, factor, out, np.int32(ZERO), *ends)
        assert np.array_equal(arena, expected), channels


def test_the_last_panel_has_what_is_left() -> None:
    """Ten outputs are padded to 16, not to the widest panel."""
    assert [Layout((n, 4), run=4).padded for n in (1, 8, 10, 17, 33, 70)] == [8, 8, 16, 24, 40, 72]
