"""The kernels of sampled weights: every form against the definition, on every lane and layout."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit, types
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.rng import Draw, derive, eps_table
from qbnnc.runtime.families.sampled_weights.drawing import draw_column, draw_quads
from qbnnc.runtime.families.sampled_weights.noise import (
    Noise,
    NoiseForm,
    noise_form,
    threshold_table,
)
from qbnnc.runtime.families.sampled_weights.packed import places_of
from qbnnc.runtime.isa import Isa, of_this_cpu, target_features
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import I64, internal_function, load
from tests.examples import examples

_SEED, _STREAM, _SAMPLE = 11, 3, 5
_NO_REGISTERS = pytest.mark.skipif(
    not all(target_features().get(f, False) for f in NoiseForm.REGISTERS.features),
    reason="this CPU has no AVX-512 VBMI",
)
FORMS = [pytest.param(NoiseForm.REGISTERS, marks=_NO_REGISTERS), NoiseForm.TABLE]
COLUMNS = [
    pytest.param(isa, form, marks=_NO_REGISTERS if form is NoiseForm.REGISTERS else ())
    for isa in of_this_cpu()
    for form in NoiseForm
]


def key() -> np.int64:
    """The key of a sample, as int64."""
    stream = derive(np.array([_SEED], np.uint64), np.array([_STREAM], np.uint64))
    return np.int64(derive(stream, np.array([_SAMPLE], np.uint64)).view(np.int64)[0])


def eps(count: int) -> NDArray[np.int8]:
    """The first noise of this sample by the definition."""
    lanes = Draw.of(_SEED, [_SAMPLE], [0]).lanes(_STREAM, count, shared=True)
    drawn: NDArray[np.int8] = eps_table()[lanes[0, 0]]
    return drawn


@cache
def codes_of_lanes(form: NoiseForm) -> Any:
    """A function of (lanes, table, codes): the noise of given lanes, int8 [quads][channels][4]."""

    def define(module: ir.Module, name: str) -> ir.Function:
        function = internal_function(module, name, [I64] * 3, ["lanes", "table", "codes"])
        lanes, table, codes = function.args
        build = ir.IRBuilder(function.append_basic_block("entry"))
        noise = Noise(build, form, I64(0), I64(0), I64(0), I64(0), table)
        size = 8 * noise.kind.count
        words = [load(build, lanes, noise.kind, size * i) for i in (0, 1)]
        noise.store(build, words, [build.add(codes, I64(j)) for j in range(4)])
        build.ret_void()
        return function

    emitted, quad = jitted(f"codes_of_lanes_{form.value}", [types.int64] * 3, define), form.quad

    def run(lanes: Any, table: Any, codes: Any) -> None:
        for i in range(len(lanes) // quad):
            emitted(
                lanes.ctypes.data + 2 * quad * i, table.ctypes.data, codes.ctypes.data + quad * i
            )

    return njit(run)


@pytest.mark.parametrize("form", FORMS)
def test_every_lane_has_its_code(form: NoiseForm) -> None:
    lanes = np.arange(1 << 16).astype(np.uint16)
    for order in (lanes, np.random.default_rng(0).permutation(lanes)):
        made = np.empty(1 << 16, np.int8)
        codes_of_lanes(form)(order, form.table(), made)
        assert np.array_equal(made, eps_table()[order])


def test_noise_is_odd_and_two_thresholds_are_enough() -> None:
    """The facts that the thresholds rest on."""
    codes = eps_table().astype(int)
    assert np.array_equal(codes, -codes[::-1])
    lanes = np.arange(1 << 15)
    bins = np.where(lanes < 2048, lanes // 16, lanes // 256)
    kinds = (lanes >= 2048).astype(int)
    first, once = threshold_table()[:512].reshape(2, 2, 128)[:, kinds, bins]
    twice = threshold_table()[512:576].reshape(2, 32)[1 - kinds, np.minimum(bins, 31)]
    passed = (lanes % 256 > once).astype(int) + (lanes % 256 > twice)
    assert np.array_equal((first + passed).astype(np.uint8).view(np.int8), codes[: 1 << 15])


@cache
def compiled_quads(form: NoiseForm) -> Any:
    draw, channels = draw_quads(form), form.channels

    def run(noise: Any, of_sample: np.int64, lane: int, quads: int, table: Any) -> None:
        draw(noise.ctypes.data, of_sample, lane, 4, channels, quads, table.ctypes.data)

    return njit(run)


@pytest.mark.parametrize("form", FORMS)
@given(quads=st.integers(0, 9), first=st.integers(0, 50))
@examples(20)
def test_noise_in_the_order_of_lanes(form: NoiseForm, quads: int, first: int) -> None:
    made = np.full(form.quad * quads + 64, 99, np.int8)
    compiled_quads(form)(made, key(), 4 * first, quads, form.table())
    size = form.quad * quads
    assert np.array_equal(made[:size], eps(4 * first + size)[4 * first :])
    assert (made[size:] == 99).all()


@cache
def compiled_column(isa: Isa, form: NoiseForm) -> Any:
    draw = draw_column(isa, form)

    def run(
        noise: Any, of_sample: np.int64, lane: int, stride: int, quads: int, table: Any,
        places: Any, codes: Any, pitch: int, second: int, sigma: Any, mu: Any, ratio: Any,
        divisor: Any, zeros: Any, lines: int, low: np.int32, high: np.int32,
    ) -> None:  # fmt: skip
        at = places.ctypes.data if len(places) else 0
        for makes in (True, False):  # noise first, then codes, as the calls of two columns
            draw(
                noise.ctypes.data, of_sample, lane, stride, 1, quads if makes else 0,
                table.ctypes.data, at, noise.ctypes.data, codes.ctypes.data, pitch, second,
                sigma.ctypes.data, mu.ctypes.data, ratio.ctypes.data, divisor.ctypes.data,
                zeros.ctypes.data, 0 if makes else lines, low, high,
            )  # fmt: skip

    return njit(run)


def order_of_lanes(rng: np.random.Generator, depth: int, order: str) -> NDArray[np.int64]:
    """The lane of each code of a channel, whole k-blocks; -1 is padding."""
    padded = -(-depth // 4) * 4
    lanes = np.full(padded, -1)
    if order == "straight":
        lanes[:depth] = np.arange(depth)
    elif order == "window":  # [taps][channels] of lanes that lie as [channels][taps]
        taps = next(n for n in (9, 6, 5, 4, 3, 2, 1) if depth % n == 0)
        channels = depth // taps
        k = np.arange(depth)
        lanes[:depth] = k % channels * taps + k // channels
    else:
        lanes[rng.permutation(padded)[:depth]] = rng.permutation(depth)
    return lanes


@pytest.mark.sample(8)
@pytest.mark.few(2)
@pytest.mark.parametrize(("isa", "form"), COLUMNS)
@pytest.mark.parametrize("order", ["straight", "window", "any"])
@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(1, 70),
    lane=st.integers(0, 1000),
    bits=st.integers(2, 8),
    panel=st.sampled_from([0, 8, 16]),
    halved=st.booleans(),
    affine=st.booleans(),
)
@examples(30)
def test_columns_have_the_codes_of_the_definition(
    isa: Isa, form: NoiseForm, order: str, seed: int, depth: int, lane: int, bits: int,
    panel: int, halved: bool, affine: bool,
) -> None:  # fmt: skip
    """Codes at random, and at halves of a step: no byte beyond a column changes.

    A column of a wider panel has `panel` channels beside it. `halved` ones have half the channels.
    """
    rng = np.random.default_rng(seed)
    lanes = order_of_lanes(rng, depth, order)
    lines, width = len(lanes) // 4, form.channels // (2 if halved else 1)
    pitch, quads = 4 * (width + panel), -(-depth // 4)
    limit = 2 ** (bits - 1) - 1
    beyond = form.channels - width  # channels that a halved column reads after the last line
    sigmas, mus = (rng.integers(-128, 128, (lines * (width + panel) + beyond, 4)) for _ in (0, 1))
    sigma, mu = (
        a[: lines * (width + panel)].reshape(lines, width + panel, 4) for a in (sigmas, mus)
    )
    ratio = rng.choice(
        [1, 2, 3, 255, 32767, 32768, 65534, 65535, *rng.integers(1, 65536, 8)], width
    )
    divisor = rng.uniform(1, 1.5 * ratio + 2).astype(np.float32)
    even = rng.random(width) < 0.4  # a sum of half an even divisor lies half way between two codes
    divisor = np.where(even, np.maximum(2, 2 * np.rint(divisor / 2)), divisor).astype(np.float32)
    zeros = rng.integers(-limit, limit + 1, width) if affine else np.zeros(width, np.int64)
    low, high = -limit - int(affine), limit
    made = np.full(lines * pitch + 64, 99, np.int8)
    noise = np.full(form.quad * (lines + 1), -128, np.int8)
    repeated = [np.repeat(a, 4) for a in (ratio.astype(np.int32), divisor, zeros.astype(np.int32))]
    compiled_column(isa, form)(
        noise, key(), lane, depth, quads, form.table(),
        np.empty(0, np.int32) if order == "straight" else places_of(form, lanes),
        made, pitch, 0 if halved else form.quad // 2,
        sigmas.astype(np.int8), mus.astype(np.int8), *repeated, lines,
        np.int32(low), np.int32(high),
    )  # fmt: skip
    drawn = eps(lane + width * depth)[lane:].reshape(width, depth)[:, lanes].astype(int)
    drawn = np.moveaxis(drawn.reshape(width, lines, 4), 0, 1)
    exact = drawn * sigma[:, :width] + ratio[:, None] * mu[:, :width]
    want = quantize(
        exact.astype(np.float32), divisor[:, None], zeros[:, None].astype(np.int32), low, high
    )
    got = made[: lines * pitch].reshape(lines, width + panel, 4)
    real = np.broadcast_to(lanes.reshape(lines, 1, 4) >= 0, want.shape)
    assert np.array_equal(got[:, :width][real], want[real])
    assert (got[:, width:] == 99).all()
    assert (made[lines * pitch :] == 99).all()


@pytest.mark.sample(4)
@pytest.mark.few(1)
@pytest.mark.parametrize(("isa", "form"), COLUMNS)
def test_halves_are_rounded_to_even_codes(isa: Isa, form: NoiseForm) -> None:
    """Sums lie half way between two codes, or one beside that; deviations are 0."""
    mu = (
        np.arange(-127, 128)
        .repeat(form.channels * 4)[: 63 * form.quad * 4]
        .reshape(-1, form.channels, 4)
    )
    for ratio, divisor in ((1, 2), (3, 6), (32769, 65538), (65535, 131070), (65533, 131070)):
        made = np.empty(mu.size, np.int8)
        ratios = np.full(form.quad, ratio, np.int32)
        compiled_column(isa, form)(
            np.zeros(form.quad * (len(mu) + 1), np.int8), key(), 0, 4, 1, form.table(),
            np.empty(0, np.int32), made, form.quad, form.quad // 2, np.zeros(mu.size, np.int8),
            mu.astype(np.int8), ratios, np.full(form.quad, divisor, np.float32),
            np.zeros(form.quad, np.int32), len(mu), np.int32(-127), np.int32(127),
        )  # fmt: skip
        want = np.rint((mu * ratio).astype(np.float64) / divisor)
        assert np.array_equal(made.reshape(mu.shape), want)


def test_the_form_is_that_of_the_instruction_set() -> None:
    for isa in of_this_cpu():
        form = noise_form(isa)
        assert all(target_features()[f] for f in form.features)
        assert form is NoiseForm.TABLE or isa is Isa.AVX512_VNNI
