"""The product of a panel: every instruction set against numpy, and its machine code."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from qbnnc.runtime.families.contraction.kernels.microkernel import Shape, panel_kernel
from qbnnc.runtime.isa import Isa, of_this_cpu
from tests.examples import examples
from tests.runtime.tiles import (
    CHANNEL,
    HIGH,
    LOW,
    POSITIONS,
    ZERO,
    assembly,
    products,
    random_case,
    shapes,
)

ISAS = of_this_cpu()
OUT = 1 << 14  # where results go


@cache
def compiled(isa: Isa, shape: Shape) -> Any:
    kernel = panel_kernel(isa, shape)

    def run(
        arena: Any, x: Any, runs: Any, k_blocks: int, weights: Any, bias: Any, factor: Any,
        out: Any, zero: np.int32, low: np.float32, high: np.float32,
    ) -> None:  # fmt: skip
        kernel(
            arena.ctypes.data, x.ctypes.data, runs.ctypes.data, len(runs), k_blocks,
            weights.ctypes.data, bias.ctypes.data, factor.ctypes.data, out.ctypes.data, CHANNEL,
            zero, low, high, len(out),
        )  # fmt: skip

    return njit(run)


@pytest.mark.few(8)
@pytest.mark.parametrize(("isa", "shape"), [(isa, s) for isa in ISAS for s in shapes(isa)], ids=str)
@given(
    seed=st.integers(0, 2**32 - 1),
    segments=st.integers(1, 5),
    k_blocks=st.integers(1, 9),
    extreme=st.booleans(),
)
@examples(25)
def test_every_instruction_set_gives_the_same(
    isa: Isa, shape: Shape, seed: int, segments: int, k_blocks: int, extreme: bool
) -> None:
    case = random_case(np.random.default_rng(seed), shape, segments, k_blocks, extreme=extreme)
    arena, real = case.arena.copy(), (np.float32(LOW), np.float32(HIGH))
    run = compiled(isa, shape)
    run(
        arena, case.x, case.runs, k_blocks, case.weights, case.bias, case.factor, case.out,
        np.int32(ZERO), *real,
    )  # fmt: skip
    assert np.array_equal(arena, case.expected())


INSTRUCTIONS = {
    Isa.AVX512_VNNI: ("x86_64-unknown-linux-gnu", "vpdpbusd"),
    Isa.AVX512_VNNI_256: ("x86_64-unknown-linux-gnu", "vpdpbusd"),
    Isa.AVX_VNNI: ("x86_64-unknown-linux-gnu", "vpdpbusd"),
    Isa.AVX2: ("x86_64-unknown-linux-gnu", "vpmaddubsw"),
    Isa.NEON_DOT: ("aarch64-unknown-linux-gnu", "sdot"),
}


@pytest.mark.parametrize("isa", INSTRUCTIONS)
def test_the_instruction_is_there(isa: Isa) -> None:
    """Each accumulator has one instruction for a k-block, also on a CPU that this machine is not.

    A loop that takes two k-blocks in a turn is followed by one for the last k-block.
    """
    triple, instruction = INSTRUCTIONS[isa]
    text = assembly(isa, Shape((4,), isa.panels[0]), triple)
    tile_size = 4 * 2 * (2 if isa is Isa.NEON_DOT else 1)  # vectors of 4 lanes there
    k_blocks = 2 + 1 if isa in (Isa.AVX512_VNNI, Isa.AVX512_VNNI_256) else 1
    assert text.count(f"\t{instruction}\t") == k_blocks * tile_size


def test_neon_needs_no_unsigned_product() -> None:
    """Wide tiles do without i8mm, which many processors lack; they cost one more row of ones."""
    triple, _ = INSTRUCTIONS[Isa.NEON_DOT]
    text = assembly(Isa.NEON_DOT, Shape((4,), 16, wide=True), triple)
    assert text.count("\tsdot\t") == (4 + 1) * 2 * 2
    assert "usdot" not in text


def test_neon_where_llvm_does_not_know_the_processor() -> None:
    """The function states the features that it needs."""
    triple, _ = INSTRUCTIONS[Isa.NEON_DOT]
    assert "\tsdot\t" in assembly(Isa.NEON_DOT, Shape((4,), 16), triple, features=())


@pytest.mark.skipif(Isa.AVX2 not in ISAS, reason="no AVX2")
@pytest.mark.parametrize("steps", [2, 4])
@given(seed=st.integers(0, 2**32 - 1), segments=st.integers(1, 4), turns=st.integers(1, 5))
@examples(25)
def test_steps_that_are_summed_as_int16_give_the_same(
    steps: int, seed: int, segments: int, turns: int
) -> None:
    """Deep tiles are exact for products that reach the ends of int16."""
    rng, most, k_blocks = np.random.default_rng(seed), 128 // steps, steps * turns
    for shape in (
        Shape((4, 1), 16, sums=True, steps=steps),
        Shape((1,), 8, sums=True, steps=steps),
    ):
        arena = rng.choice([0, 127], OUT + 4096).astype(np.uint8)
        x = rng.integers(0, 4000, POSITIONS)
        runs = rng.integers(0, 4000, segments).astype(np.int32)
        ends = [-most, 1 - most, most, most - 1]
        weights = rng.choice(ends, (segments, k_blocks, shape.channels, 4))
        weights = weights.astype(np.int8)
        bias, factor = np.zeros(shape.channels, np.int32), np.ones(shape.channels, np.float32)
        out = OUT + 300 * np.arange(POSITIONS)
        total = products(arena, x, runs, weights)
        zero = np.int32(0), np.float32(0), np.float32(0)
        compiled(Isa.AVX2, shape)(arena, x, runs, k_blocks, weights, bias, factor, out, *zero)
        made = np.stack([arena[at + CHANNEL :][: 4 * shape.channels] for at in out])
        assert np.array_equal(made.view(np.int32), total)


def test_a_wide_product_needs_no_saturating_instruction() -> None:
    text = assembly(Isa.AVX2, Shape((4,), 16, wide=True), INSTRUCTIONS[Isa.AVX2][0])
    assert "vpmaddubsw" not in text
    assert "vpmaddwd" in text
