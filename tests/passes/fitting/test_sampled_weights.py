"""Fitted mu and sigma: outputs of the integer samples keep their mean and their variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.rng import Draw, eps_table
from qbnnc.ir.scales import sampling_divisor, sampling_quants, sampling_ratio, weight_quant
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.fitting.rounding import NotFitted
from qbnnc.passes.fitting.sampled_weights import SampledParameters, fitted_parameters
from qbnnc.passes.options import WeightScheme

Float64 = NDArray[np.float64]
SYMMETRIC = WeightScheme.CHANNEL_SYMMETRIC
N, K, SAMPLES = 12, 60, 3000


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A random layer with correlated inputs x [M, K], none of which is negative."""

    mu: Array
    sigma: Array
    x: Float64

    @classmethod
    def of(cls, seed: int, noise: float) -> Layer:
        rng = np.random.default_rng(seed)
        mu = (0.3 * rng.standard_t(4, (N, K))).astype(np.float32)
        sigma = rng.uniform(0.5, 1, (N, K)) * noise * rng.choice([-1, 1], (N, K))
        hidden = rng.normal(size=(400, 8)) @ rng.normal(size=(8, K)) + rng.normal(size=(400, K))
        return cls(mu, sigma.astype(np.float32), np.maximum(hidden, 0))

    @property
    def products(self) -> Float64:
        products: Float64 = self.x.T @ self.x / len(self.x)
        return products

    def quant(
        self, bits: int, scheme: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC
    ) -> QuantParams:
        reach = 2 * np.abs(self.sigma)
        ends = np.concatenate([self.mu - reach, self.mu + reach], axis=1)
        channels = scheme.per_channel
        return weight_quant(ends, bits, np.zeros(N), symmetric=scheme.symmetric, channels=channels)


def nearest(layer: Layer, quant: QuantParams) -> SampledParameters:
    grids = sampling_quants(layer.mu, layer.sigma, 8, channels=quant.axis is not None)
    return SampledParameters(layer.mu, layer.sigma, *grids)


def samples(found: SampledParameters, quant: QuantParams) -> Float64:
    """Samples of the weight by the integer expression of section 6: [SAMPLES, N, K]."""
    pairs = (found.mu, found.mu_quant), (found.sigma, found.sigma_quant)
    mu, sigma = (quantize(a, g.scale_array(2), 0, g.low, g.high) for a, g in pairs)
    ratio = sampling_ratio(found.mu_quant, found.sigma_quant)[:, None]
    divisor = sampling_divisor(found.sigma_quant, quant.scale)[:, None]
    lanes = Draw.of(3, range(SAMPLES), [0]).lanes(0, N * K, shared=True)
    eps = eps_table()[lanes].reshape(-1, N, K).astype(np.int64)
    zero = quant.zero_point_array(2)
    codes = quantize(
        (eps * sigma + ratio * mu).astype(np.float32), divisor, zero, quant.low, quant.high
    )
    real: Float64 = (codes - zero).astype(np.float64) * quant.scale_array(2)
    return real


def divergence(layer: Layer, weights: Float64) -> tuple[float, Float64]:
    """KL of Gaussian outputs to float's, of moments averaged over rows; the ratio of variances."""
    x = layer.x[::8]
    outputs = np.einsum("lnk,mk->lmn", weights, x)
    wanted = x @ layer.mu.T.astype(np.float64)
    variance = x**2 @ (layer.sigma.T.astype(np.float64) ** 2)
    ratio = outputs.var(axis=0).mean(axis=0) / variance.mean(axis=0)
    off = ((outputs.mean(axis=0) - wanted) ** 2).mean(axis=0) / variance.mean(axis=0)
    return float((off + ratio - 1 - np.log(ratio)).mean() / 2), ratio


@pytest.mark.parametrize(("bits", "noise"), [(2, 0.3), (3, 0.2), (4, 0.1), (4, 0.02)])
def test_outputs_keep_their_mean_and_variance(bits: int, noise: float) -> None:
    layer = Layer.of(bits, noise)
    quant = layer.quant(bits)
    fitted = fitted_parameters(layer.mu, layer.sigma, quant, layer.products)
    found, ratio = divergence(layer, samples(fitted, quant))
    plain, plain_ratio = divergence(layer, samples(nearest(layer, quant), quant))
    assert found < 0.7 * plain
    assert np.abs(np.log(ratio)).mean() < 0.5 * np.abs(np.log(plain_ratio)).mean()


@pytest.mark.parametrize("bits", [3, 4])
def test_the_variance_is_right_to_a_tenth_where_the_noise_is_large(bits: int) -> None:
    layer = Layer.of(0, 0.3)
    quant = layer.quant(bits)
    fitted = fitted_parameters(layer.mu, layer.sigma, quant, layer.products)
    _, ratio = divergence(layer, samples(fitted, quant))
    assert np.abs(ratio - 1).max() < 0.1


@pytest.mark.few(4)
@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("scheme", list(WeightScheme))
def test_without_products_each_filter_keeps_its_variance(bits: int, scheme: WeightScheme) -> None:
    """The sum of the weights' variances, and each mean within half a code and sampling noise."""
    layer = Layer.of(1, 0.2)
    quant = layer.quant(bits, scheme)
    weights = samples(fitted_parameters(layer.mu, layer.sigma, quant, None), quant)
    ratio = weights.var(axis=0).sum(axis=1) / (layer.sigma.astype(np.float64) ** 2).sum(axis=1)
    assert np.abs(ratio - 1).max() < 0.1
    step = max(quant.scale)
    off = np.abs(weights.mean(axis=0) - layer.mu)
    assert (off <= 0.55 * step + 5 * np.abs(layer.sigma) / SAMPLES**0.5).mean() > 0.98


def test_zeros_and_signs_of_sigma_stay_and_all_lies_on_grids_of_8_bits() -> None:
    layer = Layer.of(2, 0.2)
    sigma = layer.sigma.copy()
    sigma[0], sigma[:, ::3] = 0, 0
    quant = layer.quant(3)
    found = fitted_parameters(layer.mu, sigma, quant, layer.products)
    assert (found.sigma[sigma == 0] == 0).all()
    assert (found.sigma * sigma >= 0).all()
    for values, grid in ((found.mu, found.mu_quant), (found.sigma, found.sigma_quant)):
        codes = values / grid.scale_array(2)
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
        assert np.abs(np.rint(codes)).max() <= 127


def test_a_convolution_has_its_shape_and_dead_inputs_change_little() -> None:
    layer = Layer.of(3, 0.2)
    quant = layer.quant(4)
    shape = (N, 6, 2, 5)
    kernels = layer.mu.reshape(shape), layer.sigma.reshape(shape)
    flat = fitted_parameters(layer.mu, layer.sigma, quant, layer.products)
    found = fitted_parameters(*kernels, quant, layer.products)
    np.testing.assert_array_equal(found.mu, flat.mu.reshape(shape))
    np.testing.assert_array_equal(found.sigma, flat.sigma.reshape(shape))
    dead = fitted_parameters(*kernels, quant, np.zeros((K, K)))
    alone = fitted_parameters(*kernels, quant, None)
    np.testing.assert_array_equal(dead.mu, alone.mu)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_infinite_inputs_are_told(value: float) -> None:
    layer = Layer.of(4, 0.2)
    with pytest.raises(NotFitted, match="its inputs are infinite"):
        fitted_parameters(layer.mu, layer.sigma, layer.quant(4), layer.products + value)
