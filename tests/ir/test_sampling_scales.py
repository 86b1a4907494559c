"""Scales of a sampled weight (docs/semantics.md, section 6), from the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qbnnc.ir.scales import power_of_two, sampling_divisor, sampling_quants, sampling_ratio
from qbnnc.ir.types import QuantParams

STEP = float(np.float32(3 / 127))  # of eps


def quants(
    mu: list[list[float]], sigma: list[list[float]], bits: int = 8, *, channels: bool = True
) -> tuple[QuantParams, QuantParams]:
    return sampling_quants(
        np.array(mu, np.float32), np.array(sigma, np.float32), bits, channels=channels
    )


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(
    ("mu", "sigma"), [(1.0, 0.01), (-3.0, 0.5), (0.02, 1.0), (5.0, 1e-4), (1.0, 1e-7)]
)
def test_one_channel(mu: float, sigma: float, bits: int) -> None:
    """R = clip(floor(S_mu0/(S_sigma0 S_eps)), 1, 65535), and sigma's scale grows to fit mu."""
    largest = 2 ** (bits - 1) - 1
    mean, deviation = quants([[mu, mu / 3]], [[sigma / 2, sigma]], bits)
    mean0, deviation0 = (abs(float(np.float32(number))) / largest for number in (mu, sigma))
    ratio = min(max(math.floor(mean0 / (deviation0 * STEP)), 1), 65535)
    wanted = max(deviation0, mean0 / (ratio * STEP))
    assert deviation.scale[0] == pytest.approx(wanted, rel=1e-6)
    assert mean.scale[0] == pytest.approx(ratio * wanted * STEP, rel=1e-6)
    assert sampling_ratio(mean, deviation).tolist() == [ratio]
    for quant in (mean, deviation):
        assert (quant.low, quant.high, quant.zero_point, quant.axis) == (-largest, largest, (0,), 0)


def test_codes_reach_the_largest_mean_and_deviation() -> None:
    """Neither is clipped, whichever is the coarser."""
    for mu, sigma in ((1.0, 0.001), (0.001, 1.0), (2.0, 1.5)):
        mean, deviation = quants([[mu]], [[sigma]])
        assert mu <= 127 * mean.scale[0] * (1 + 1e-6)
        assert sigma <= 127 * deviation.scale[0] * (1 + 1e-6)


def test_channels_and_the_whole_tensor() -> None:
    mu, sigma = [[1.0, -4.0], [0.5, 0.25]], [[0.1, 0.2], [0.4, 0.3]]
    mean, deviation = quants(mu, sigma)
    assert (len(mean.scale), len(deviation.scale)) == (2, 2)
    assert quants(mu[:1], sigma[:1])[0].scale == mean.scale[:1]
    assert quants(mu[1:], sigma[1:])[1].scale == deviation.scale[1:]
    whole = quants(mu, sigma, channels=False)
    assert whole[0].axis is whole[1].axis is None
    assert whole == quants([[-4.0]], [[0.4]], channels=False)


@pytest.mark.parametrize(
    ("mu", "sigma", "ratio", "scale"),
    [
        (0.0, 0.0, 1, 1.0),  # a dead channel has the scale 1
        (0.0, 1.27, 1, 0.01),
        (1.27, 0.0, 65535, 0.01 / (65535 * STEP)),
    ],
)
def test_what_is_zero(mu: float, sigma: float, ratio: int, scale: float) -> None:
    mean, deviation = quants([[mu]], [[sigma]])
    assert deviation.scale[0] == pytest.approx(scale, rel=1e-6)
    assert mean.scale[0] == pytest.approx(ratio * scale * STEP, rel=1e-6)
    assert sampling_ratio(mean, deviation).tolist() == [ratio]


def test_the_divisor_is_the_weights_scale_in_steps_of_sigma_and_eps() -> None:
    sigma = QuantParams((0.5, 0.25), (0, 0), -127, 127, 0)
    found = sampling_divisor(sigma, (0.1, 0.2))
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0.1 / (0.5 * STEP), 0.2 / (0.25 * STEP)], rel=1e-6)


@pytest.mark.parametrize("exponent", [-20, -1, 0, 1, 7])
def test_powers_of_two_round_up(exponent: int) -> None:
    power = 2.0**exponent
    assert power_of_two(power) == power
    assert power_of_two(power * 1.0001) == power * 2
    assert power_of_two(power * 0.9999) == power
