"""SWAG: a Gaussian over the weights that stochastic gradient descent went through.

A weight is mean + sqrt(scale) (sqrt(var) * eps + C^T z / sqrt(K - 1)), with var the second moment
less the mean's square, C [k, n] the last deviations, and K the most deviations that are kept.
torch-uncertainty draws a z for each weight, and wjmaddox/swa_gaussian one z for the network.

Source: Maddox et al. 2019, section 3.2; `_fullrank_sample` and `sample_fullrank` of the two.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qbnnc.frontend.objects.gaussian import Gaussian, SharedNoise, plain
from qbnnc.frontend.objects.posterior import Posterior, SampledNetwork
from qbnnc.frontend.objects.structure import name_of, network_of
from qbnnc.support.errors import CompileError

_PARTS = ("_mean", "_sq_mean", "_covariance_sqrt")


class _Statistics(Protocol):
    """The wrapper of torch-uncertainty, which keeps statistics by the names of parameters."""

    core_model: nn.Module
    swag_stats: Mapping[str, Tensor]
    prfx: str
    fit: bool
    scale: float
    diag_covariance: bool
    max_num_models: int
    var_clamp: float

    def sample(self, scale: float, diag_covariance: bool) -> nn.Module: ...


class _Buffers(Protocol):
    """The class of wjmaddox/swa_gaussian, which keeps statistics as buffers beside each weight."""

    base: nn.Module
    params: Sequence[Sequence[object]]
    n_models: Tensor
    no_cov_mat: bool
    max_num_models: int
    var_clamp: float

    def sample(self, scale: float, cov: bool) -> None: ...


def is_swag(value: object) -> bool:
    """Whether an object has the statistics of SWAG, in one of the two forms."""
    return _keeps_statistics(value) or _keeps_buffers(value)


def _keeps_statistics(value: object) -> bool:
    return all(hasattr(value, name) for name in ("swag_stats", "core_model", "prfx", "sample"))


def _keeps_buffers(value: object) -> bool:
    names = ("base", "params", "n_models", "no_cov_mat", "max_num_models", "sample")
    return isinstance(value, nn.Module) and all(hasattr(value, name) for name in names)


def swag_posterior(value: object) -> Posterior:
    """The posterior; CompileError if nothing was collected, or batch norm follows the samples."""
    if _keeps_statistics(value):
        return _by_name(cast(_Statistics, value))
    return _by_buffer(cast(_Buffers, value))


def _by_name(swag: _Statistics) -> Posterior:
    place = name_of(swag)
    network = network_of(swag.core_model, place)
    _check_collected(swag.fit, place)
    _check_batch_norm(network, place, "the networks that it drew: qbnnc.compile(swag.samples, ...)")
    root = swag.scale**0.5
    mean, scale, shared = dict[str, Tensor](), dict[str, Tensor](), list[SharedNoise]()
    for name, _ in network.named_parameters():
        mean[name], squares, deviations = (
            swag.swag_stats.get(f"{swag.prfx}{name}{part}", Tensor()) for part in _PARTS
        )
        scale[name] = root * _deviation(mean[name], squares, swag.var_clamp)
        if not swag.diag_covariance and len(deviations):
            factor = _factor(deviations, mean[name], root, swag.max_num_models)
            shared.append(SharedNoise(len(factor), {name: factor}))
    module = _sampled(network, Gaussian(mean, scale, shared), place)

    def draw(x: Tensor) -> object:
        drawn = swag.sample(swag.scale, swag.diag_covariance)
        return drawn.train(network.training)(x)

    return Posterior(module, draw, f"{place} of torch-uncertainty: its Gaussian sampled anew")


def _by_buffer(swag: _Buffers) -> Posterior:
    place = name_of(swag)
    network = network_of(swag.base, place)
    _check_collected(bool(swag.n_models.item()), place)
    _check_batch_norm(network, place, "a list of networks drawn by .sample(), each after bn_update")
    size = getattr(swag, "scale", None)
    if not isinstance(size, int | float):
        raise CompileError(
            "does not say at which scale its weights are drawn",
            place,
            remedy="set swag.scale = 0.5 (the paper's posterior), or what you call .sample with",
        )
    paths = {module: path for path, module in network.named_modules()}
    mean, scale, factors = dict[str, Tensor](), dict[str, Tensor](), dict[str, Tensor]()
    for module, key in ((cast(nn.Module, p[0]), str(p[1])) for p in swag.params):
        name = f"{paths[module]}.{key}".removeprefix(".")
        held = dict(module.named_buffers(recurse=False))
        mean[name] = plain(held[f"{key}_mean"])
        if (squares := held.get(f"{key}_sq_mean")) is None:
            continue
        scale[name] = size**0.5 * _deviation(mean[name], squares, swag.var_clamp)
        deviations = held.get(f"{key}_cov_mat_sqrt")
        if not swag.no_cov_mat and deviations is not None and len(deviations):
            factors[name] = _factor(deviations, mean[name], size**0.5, swag.max_num_models)
    rank = len(next(iter(factors.values()))) if factors else 0
    shared = [SharedNoise(rank, factors)] if factors else []
    module = _sampled(network, Gaussian(mean, scale, shared), place)
    told = f"{place} of the form of swa_gaussian: its Gaussian sampled anew, scale {size:g}"
    return Posterior(module, _drawn_in_place(swag, size), told)


def _drawn_in_place(swag: _Buffers, size: float) -> Callable[[Tensor], object]:
    """The outputs under samples of a copy, as this class writes its samples into the network."""
    own = copy.deepcopy(swag)

    def draw(x: Tensor) -> object:
        own.sample(size, not own.no_cov_mat)
        return own.base(x)

    return draw


def _deviation(mean: Tensor, squares: Tensor, least: float) -> Tensor:
    variance = plain(squares) - plain(mean).square()
    return variance.clamp(min=least).sqrt()


def _factor(deviations: Tensor, mean: Tensor, root: float, most: int) -> Tensor:
    """The factor [k, *shape] of one weight; the deviations are [k, n]."""
    if most < 2:
        raise CompileError(
            "keeps one deviation, and one has no covariance (it divides by K - 1 = 0)",
            "max_num_models",
            remedy="collect 2 or more, or give it a diagonal covariance",
        )
    return (root / math.sqrt(most - 1) * plain(deviations)).reshape((-1, *mean.shape))


def _sampled(network: nn.Module, weights: Gaussian, place: str) -> nn.Module:
    weights.check(place)
    return SampledNetwork(network, weights, probabilities=False)


def _check_collected(collected: bool, place: str) -> None:
    if not collected:
        raise CompileError(
            "has collected no networks yet", place, remedy="train on until it has a posterior"
        )


def _check_batch_norm(network: nn.Module, place: str, instead: str) -> None:
    """Raise CompileError if the network has batch norm, whose statistics each sample needs anew."""
    for name, child in network.named_modules():
        if isinstance(child, _BatchNorm):
            raise CompileError(
                f"has batch norm ({name}), whose statistics SWAG takes anew for each sample of the "
                "weights, and a compiled network keeps one set of them",
                place,
                remedy=f"compile {instead}",
            )
