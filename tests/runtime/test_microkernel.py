"""The product of a tile: every instruction set against numpy, and what it compiles to."""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit

from qbnnc.ir.types import Array
from qbnnc.runtime.isa import Isa, available, target_features
from qbnnc.runtime.kernels.microkernel import Shape, define_tile, tile
from tests.examples import examples

ISAS = available(target_features())
SHAPES = [
    Shape(rows, vectors, wide, sums)
    for rows, vectors in ((6, 2), (4, 1), (1, 2))
    for wide in (False, True)
    for sums in (False, True)
]
OUT = 1 << 14  # where results go


@cache
def compiled(isa: Isa, shape: Shape) -> Any:
    kernel = tile(isa, shape)

    def run(arena, x, runs, fours, weights, bias, factor, out, zero, low, high):  # type: ignore[no-untyped-def]
        kernel(
            arena.ctypes.data, x.ctypes.data, runs.ctypes.data, len(runs), fours,
            weights.ctypes.data, bias.ctypes.data, factor.ctypes.data, out.ctypes.data, 5, zero,
            low, high,
        )  # fmt: skip

    return njit(run)


def products(arena: Array, x: Array, runs: Array, weights: Array) -> Array:
    """[rows, channels] in int64; weights [segments, fours, channels, 4]."""
    count = 4 * weights.shape[1]
    codes = np.stack([[arena[at + run :][:count] for run in runs] for at in x]).astype(np.int64)
    whole = codes.reshape(len(x), len(runs), -1, 4)
    total: Array = np.einsum("mskj,sknj->mn", whole, weights.astype(np.int64))
    return total


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(
    seed=st.integers(0, 2**32 - 1),
    segments=st.integers(1, 5),
    fours=st.integers(1, 9),
    extreme=st.booleans(),
)
@examples(25)
def test_every_instruction_set_gives_the_same(
    isa: Isa, shape: Shape, seed: int, segments: int, fours: int, extreme: bool
) -> None:
    rng, highest = np.random.default_rng(seed), 255 if shape.wide else 127
    arena = rng.integers(0, 256, OUT + 4096).astype(np.uint8)
    arena[:OUT] = rng.choice([0, highest], OUT) if extreme else rng.integers(0, highest + 1, OUT)
    x = rng.integers(0, 4000, shape.rows)
    runs = rng.integers(0, 4000, segments).astype(np.int32)
    size = (segments, fours, shape.channels, 4)
    weights = (rng.choice([-128, 127], size) if extreme else rng.integers(-128, 128, size)).astype(
        np.int8
    )
    bias = rng.integers(-(2**20), 2**20, shape.channels).astype(np.int32)
    factor = rng.uniform(1e-6, 1e-3, shape.channels).astype(np.float32)
    out = OUT + 300 * rng.permutation(shape.rows) + rng.integers(0, 30)
    zero, low, high = np.int32(7), np.float32(-7), np.float32(120)
    total = (products(arena, x, runs, weights) + bias).astype(np.int32)
    untouched = arena.copy()
    run = compiled(isa, shape)
    run(arena, x, runs, fours, weights, bias, factor, out, zero, low, high)
    width = shape.channels * (4 if shape.sums else 1)
    made = np.stack([arena[at + 5 : at + 5 + width] for at in out])
    if shape.sums:
        assert np.array_equal(made.view(np.int32), total)
    else:
        real = np.clip(total.astype(np.float32) * factor, low, high)
        assert np.array_equal(made, np.rint(real).astype(np.int32) + zero)
    for at in out:
        untouched[at + 5 : at + 5 + width] = arena[at + 5 : at + 5 + width]
    assert np.array_equal(arena, untouched)  # not a byte beyond


INSTRUCTIONS = {
    Isa.AVX512_VNNI: ("x86_64-unknown-linux-gnu", "vpdpbusd"),
    Isa.AVX_VNNI: ("x86_64-unknown-linux-gnu", "vpdpbusd"),
    Isa.AVX2: ("x86_64-unknown-linux-gnu", "vpmaddubsw"),
    Isa.NEON_DOT: ("aarch64-unknown-linux-gnu", "usdot"),
}


@pytest.mark.parametrize("isa", INSTRUCTIONS)
def test_the_instruction_is_there(isa: Isa) -> None:
    """Also of a CPU that this machine is not: once for each accumulator and step."""
    triple, instruction = INSTRUCTIONS[isa]
    text = assembly(isa, Shape(4, 2), triple)
    tile_size = 4 * 2 * (2 if isa is Isa.NEON_DOT else 1)  # vectors of 4 lanes there
    assert text.count(instruction) == tile_size


@pytest.mark.skipif(Isa.AVX2 not in ISAS, reason="no AVX2")
@given(seed=st.integers(0, 2**32 - 1), segments=st.integers(1, 4), eights=st.integers(1, 5))
@examples(25)
def test_two_steps_at_a_time_give_the_same(seed: int, segments: int, eights: int) -> None:
    """Weights whose four products reach the ends of int16, and no further."""
    rng = np.random.default_rng(seed)
    for shape in (Shape(4, 2, sums=True, deep=True), Shape(1, 1, sums=True, deep=True)):
        arena = rng.choice([0, 127], OUT + 4096).astype(np.uint8)
        x = rng.integers(0, 4000, shape.rows)
        runs = rng.integers(0, 4000, segments).astype(np.int32)
        weights = rng.choice([-64, -63, 64, 63], (segments, 2 * eights, shape.channels, 4))
        weights = weights.astype(np.int8)
        bias, factor = np.zeros(shape.channels, np.int32), np.ones(shape.channels, np.float32)
        out = OUT + 300 * np.arange(shape.rows)
        total = products(arena, x, runs, weights)
        zero = np.int32(0), np.float32(0), np.float32(0)
        compiled(Isa.AVX2, shape)(arena, x, runs, 2 * eights, weights, bias, factor, out, *zero)
        made = np.stack([arena[at + 5 : at + 5 + 4 * shape.channels] for at in out])
        assert np.array_equal(made.view(np.int32), total)


def test_a_wide_product_needs_no_saturating_instruction() -> None:
    text = assembly(Isa.AVX2, Shape(4, 2, wide=True), INSTRUCTIONS[Isa.AVX2][0])
    assert "vpmaddubsw" not in text
    assert "vpmaddwd" in text


def assembly(isa: Isa, shape: Shape, triple: str) -> str:
    """What LLVM makes of one tile for a CPU that has the features, no more."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    function = define_tile(module, "tile", isa, shape)
    function.linkage = "external"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM does not know {triple}")
    features = ",".join(f"+{name}" for name in isa.features)
    machine = target.create_target_machine(features=features, opt=3)
    parsed = llvm.parse_assembly(str(module))
    return str(machine.emit_assembly(parsed))
