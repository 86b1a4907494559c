"""The two roundings, and how scales and zero points are chosen."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.arithmetic import dequantize, f32, quantize, requantize
from qbnnc.ir.rng import Draw, eps_table
from qbnnc.ir.scales import activation_quant, multiplier, weight_quant
from qbnnc.ir.weights import channel_sums
from tests.conftest import DATA

GOLDEN = np.load(DATA / "golden_semantics.npz")
REQUANT = [name for name in GOLDEN if re.match(r"requant_\d", name)]
floats = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("name", REQUANT)
def test_golden_requantisation(name: str) -> None:
    found = re.match(r"requant_\d_m([^_]+)_z(\d+)_0_127", name)
    assert found is not None
    m, zero = np.array([float(found[1])], np.float32), int(found[2])
    assert (requantize(GOLDEN["requant_acc"], m, zero, 0, 127) == GOLDEN[name]).all()


def test_golden_sampled_weight() -> None:
    """One expression, one rounding: quant(f32(eps*sigma + R*mu), r) with R = 131, r = 153."""
    mu, sigma = (GOLDEN[f"weight_{w}"].astype(np.int32) for w in ("mu", "sigma"))
    lanes = Draw.of(7, [3], [0]).lanes(1, mu.size, shared=False)
    eps = eps_table()[lanes].reshape(mu.shape).astype(np.int32)
    exact = (eps * sigma + 131 * mu).astype(np.float32)
    codes = quantize(exact, np.float32(153), 0, -127, 127)
    assert (codes == GOLDEN["weight_seed7_stream1_sample3_r131_ratio153"]).all()


@pytest.mark.parametrize(
    ("acc", "code"),
    [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, 0), (253, 126), (255, 127), (2**31 - 1, 127)],
)
def test_ties_go_to_even_and_clipping_comes_first(acc: int, code: int) -> None:
    assert requantize(np.array([acc], np.int32), np.array([0.5], np.float32), 0, 0, 127)[0] == code


def test_what_no_integer_holds_is_clipped() -> None:
    """No integer type is ever asked to hold a huge or missing number."""
    wild = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)
    assert quantize(wild, np.float32(1), 3, 0, 7).tolist() == [0, 7, 0, 7]


def test_division_is_not_multiplication_by_the_reciprocal() -> None:
    scale = np.float32(0.7)
    x = (np.arange(2**16, dtype=np.float32) + np.float32(0.5)) * scale
    divided = quantize(x, scale, 0, 0, 2**30)
    assert (divided != np.rint(x * (np.float32(1) / scale)).astype(np.int32)).any()
    assert (divided == np.rint((x / scale).astype(np.float32)).astype(np.int32)).all()


def test_multiplier_rounds_after_every_operation() -> None:
    product = (float(np.float32(0.1) * np.float32(0.003)),)
    m = multiplier(product, 0.7)
    assert m[0] == np.float32(np.float32(0.1) * np.float32(0.003)) / np.float32(0.7)


@given(floats, floats, st.integers(2, 8))
def test_activation_codes_hold_zero_exactly_and_cover_the_range(
    a: float, b: float, bits: int
) -> None:
    low, high = min(a, b), max(a, b)
    quant = activation_quant(low, high, bits)
    scale, zero = quant.per_tensor
    assert (quant.low, quant.high) == (0, 2**bits - 1)
    assert 0 <= zero <= quant.high
    ends = dequantize(np.array([0, quant.high], np.uint8), np.float32(scale), zero)
    assert ends[0] <= min(low, 0) + 0.51 * scale
    assert ends[1] >= max(high, 0) - 0.51 * scale


@pytest.mark.parametrize("size", [0.0, 1.5e-45, 1e-39])
def test_what_is_too_small_for_a_scale_is_zero(size: float) -> None:
    quant = activation_quant(-size, size, 4)
    assert quant.per_tensor == (1.0, 0)
    weight = np.full((2, 3), size, np.float32)
    assert weight_quant(weight, 4, np.zeros(2)).scale == (1.0, 1.0)


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1000),
)
def test_weight_codes_are_within_half_a_scale(
    n: int, k: int, bits: int, symmetric: bool, channels: bool, seed: int
) -> None:
    weight = np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)
    quant = weight_quant(weight, bits, np.zeros(n), symmetric=symmetric, channels=channels)
    scale, zero = quant.scale_array(2), quant.zero_point_array(2)
    codes = quantize(weight, scale, zero, quant.low, quant.high)
    assert quant.bits == bits or (symmetric and quant.high - quant.low == 2**bits - 2)
    assert (np.abs(dequantize(codes, scale, zero) - weight) <= 0.51 * scale).all() or not symmetric
    assert (np.abs(dequantize(codes, scale, zero) - weight) <= 1.01 * scale).all()
    if symmetric:
        assert not zero.any()


def test_a_dead_channel_takes_its_scale_from_its_bias() -> None:
    """max(S_w, |b|/(S_x*2^23)): the bias code of a channel of zeros stays within 2^23."""
    weight = np.zeros((2, 3), np.float32)
    weight[1] = 1
    least = np.array([5.0, 5.0]) / (0.01 * 2**23)
    quant = weight_quant(weight, 8, least)
    assert abs(5.0 / (0.01 * quant.scale[0])) <= 2**23 * (1 + 1e-6)
    assert quant.scale[1] == np.float32(1 / 127)
    assert weight_quant(weight, 8, np.zeros(2)).scale[0] == 1.0


@given(st.integers(0, 255), st.integers(0, 10**6))
def test_offline_terms(zero_x: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.integers(-128, 128, (3, 4, 2), np.int8)
    zero_w = rng.integers(-128, 128, 3).astype(np.int32)
    wide = w.astype(np.int64)
    expected = [8 * int(zero_w[n]) * zero_x - zero_x * int(wide[n].sum()) for n in range(3)]
    assert channel_sums(w, zero_w).offline_terms(zero_x).tolist() == expected


def test_a_number_is_rounded_to_float32_once() -> None:
    """The spacing of float32 is 2^-23 from 1 to 2: half of it goes to the even neighbour."""
    assert f32(1 + 2.0**-24) == 1.0
    assert f32(1 + 3 * 2.0**-24) == 1 + 2.0**-22
    assert f32(2.0**24 + 1) == 2.0**24
