"""Sampled weights: their scales, their law, and what one rounding costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.bounds import accumulator_bounds
from qbnnc.ir.evaluate import evaluate, evaluate_node
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Conv2dInteger, EpsCodes, Linear, LinearInteger, SampledWeightInteger
from qbnnc.ir.rng import Draw, eps_table
from qbnnc.ir.scales import sampling_divisor, sampling_quants, sampling_ratio
from qbnnc.ir.types import EPS_QUANT, Array
from qbnnc.passes.base import run_passes
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.passes.integer.quantize import Quantize
from qbnnc.passes.options import Bits, Quantisation, WeightScheme
from qbnnc.passes.ranges.calibrate import Calibration, calibrate
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize
from tests.graphs import bayesian_lenet, bayesian_mlp, inputs
from tests.net import Net

SCHEMES = list(WeightScheme)


def integer(graph: Graph, bits: str = "w8a7", weights: WeightScheme = SCHEMES[0]) -> Graph:
    graph = run_passes(graph, [FoldAffine(), FuseClamps(), FoldDropoutScale()])
    ranges = calibrate(graph, inputs(graph, 20), Calibration(passes=2))
    insert = InsertFakeQuantize(lambda _: ranges, Quantisation(Bits.parse(bits), weights))
    return run_passes(graph, [insert, Quantize()])


def sampled(graph: Graph, samples: int) -> list[tuple[SampledWeightInteger, Array, Value]]:
    """Every sampled weight and bias of a graph: its op, codes [L, *shape] and value."""
    data: dict[Value, Array] = {v: a[None, None] for v, a in graph.constants.items()}
    draw, found = Draw.of(1, range(samples), [0]), []
    for node in graph.nodes:
        if isinstance(node.op, EpsCodes | SampledWeightInteger):
            data[node.output] = evaluate_node(node, data, draw)
            if isinstance(node.op, SampledWeightInteger):
                found.append((node.op, data[node.output][:, 0], node.output))
    return found


@given(
    st.integers(0, 999), st.integers(2, 8), st.booleans(), st.sampled_from([0.0, 1e-6, 0.01, 3.0])
)
def test_mu_is_a_whole_number_of_steps(seed: int, bits: int, channels: bool, size: float) -> None:
    """R is whole, S_mu = R*S_sigma*S_eps, codes fit, and the sum stays below 2^24."""
    rng = np.random.default_rng(seed)
    mu, sigma = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)) * size
    mu[1] = 0
    mu_quant, sigma_quant = sampling_quants(mu, sigma, bits, channels=channels)
    ratio = sampling_ratio(mu_quant, sigma_quant)
    assert ((ratio >= 1) & (ratio <= 65535)).all()
    steps = ratio * np.array(sigma_quant.scale) * EPS_QUANT.scale[0]
    np.testing.assert_allclose(np.array(mu_quant.scale), steps, rtol=1e-6)
    lim = 2 ** (bits - 1) - 1
    scale = mu_quant.scale_array(2)
    assert (np.abs(mu) <= (lim + 0.5) * scale).all()
    assert (np.abs(sigma) <= (lim + 0.5) * sigma_quant.scale_array(2)).all()
    assert (127 * lim + ratio * lim < 2**24).all()


@pytest.mark.parametrize("sigma", [0.1, 1e-2, 1e-3, 1e-5, 0.0])
def test_one_rounding_costs_at_most_point_6_of_a_step(sigma: float) -> None:
    """The integer expression against mu + sigma*eps of the same codes, in units of S_w.

    However small sigma is, the sample's own rounding is the only one.
    """
    rng = np.random.default_rng(0)
    mu, deviation = rng.uniform(-1, 1, (4, 50)), np.full((4, 50), sigma)
    quants = sampling_quants(mu, deviation, 8)
    scale = (np.abs(mu).max(axis=1) + 3 * sigma)[:, None] / 127
    ratio = sampling_ratio(*quants)[:, None]
    divisor = sampling_divisor(quants[1], tuple(scale.ravel().tolist()))[:, None]
    q_mu, q_sigma = (
        np.rint(a / q.scale_array(2)).astype(np.int64)
        for a, q in zip((mu, deviation), quants, strict=True)
    )
    eps = np.arange(-127, 128)[:, None, None]
    exact = (eps * q_sigma + ratio * q_mu).astype(np.float32)
    found = quantize(exact, divisor, 0, -127, 127) * scale
    real_mu, real_sigma = (
        codes * q.scale_array(2).astype(np.float64)
        for codes, q in zip((q_mu, q_sigma), quants, strict=True)
    )
    true = np.clip(real_mu + real_sigma * eps * EPS_QUANT.scale[0], -127 * scale, 127 * scale)
    assert (np.abs(found - true) <= 0.6 * scale).all()
    assert (np.abs(found - (mu + deviation * 0))[127] <= 1.1 * scale).all()


@pytest.mark.parametrize("bits", ["w8a7", "w4a7"])
@pytest.mark.parametrize("weights", SCHEMES)
def test_samples_have_the_law_of_the_weight(bits: str, weights: WeightScheme) -> None:
    """Mean and variance of each weight over 2,000 samples, within Monte-Carlo error and a step."""
    net = Net((6,)).bayesian(4, "fc", Linear())
    graph = net.graph()
    count = 2000
    constants = {v.name: a for v, a in graph.constants.items()}
    for op, codes, value in sampled(integer(graph, bits, weights), count):
        name = value.name.removesuffix(".codes")
        mu, sigma = (constants[f"{name}.{what}"].astype(np.float64) for what in ("mu", "sigma"))
        scale = op.quant.scale_array(mu.ndim)
        real = (codes - op.quant.zero_point_array(mu.ndim)) * scale
        step = max(op.quant.scale) if op.quant.bits <= 8 else 0.02
        assert (np.abs(real.mean(axis=0) - mu) <= 5 * sigma / count**0.5 + step).all()
        assert (np.abs(real.std(axis=0) - sigma) <= 5 * sigma / (2 * count) ** 0.5 + step).all()


def test_eps_has_the_discretised_normal_law() -> None:
    """Moments and chi-square of the 255 codes over 1e7 draws."""
    lanes = Draw.of(3, range(10), range(10)).lanes(0, 100_000, shared=False).ravel()
    codes = eps_table()[lanes]
    assert len(codes) == 10**7
    counts = np.bincount(codes.astype(int) + 127, minlength=255)
    expected = np.bincount(eps_table().astype(int) + 127, minlength=255) / 65536 * 1e7
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert 254 - 6 * (2 * 254) ** 0.5 < statistic < 254 + 6 * (2 * 254) ** 0.5
    real = codes * EPS_QUANT.scale[0]
    assert abs(real.mean()) < 5 / 1e7**0.5
    assert abs(real.std() - 0.9975) < 2e-3


def test_eps_by_binary_search_is_eps_by_table() -> None:
    """254 thresholds and a search are the same function on all 65,536 inputs."""
    table = eps_table().astype(int)
    thresholds = [int(np.searchsorted(table, code)) for code in range(-126, 128)]
    searched = np.searchsorted(thresholds, np.arange(65536), side="right") - 127
    assert (searched == table).all()


@pytest.mark.parametrize("weights", SCHEMES)
def test_bounds_hold_for_every_sample(weights: WeightScheme) -> None:
    for source in (bayesian_mlp(), bayesian_lenet()):
        graph = integer(source, "w8a8", weights)
        x = inputs(source, 30)
        seen: dict[str, tuple[int, int]] = {}

        def observe(value: Value, array: Array, seen: dict[str, tuple[int, int]] = seen) -> None:
            seen[value.name] = int(array.min()), int(array.max())

        evaluate(graph, x, Draw.of(0, range(5), range(30)), observe)
        for node in graph.nodes:
            if isinstance(node.op, LinearInteger | Conv2dInteger):
                bounds = accumulator_bounds(graph, node)
                assert bounds is not None
                low, high = seen[node.output.name]
                assert bounds.low <= low <= high <= bounds.high
