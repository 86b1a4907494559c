"""Objects of laplace-torch: a Gaussian around the trained weights, whose samples are compiled.

The reference is `la.predictive_samples(x, pred_type="nn")`: the network under weights of
`la.sample()`, with a softmax if the likelihood is classification. The linearised predictions of
pred_type="glm" are another distribution, and no network gives them.

Source: laplace-torch 0.3, baselaplace.py and utils/matrix.py (`sample` of each class).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from qbnnc.frontend.objects.gaussian import Gaussian, Kronecker, Layout, plain
from qbnnc.frontend.objects.posterior import Posterior, SampledNetwork
from qbnnc.frontend.objects.structure import (
    class_names,
    libraries,
    name_of,
    network_of,
    parameters_of,
    tensor_of,
)
from qbnnc.support.errors import CompileError


class _Decomposed(Protocol):
    """A Kronecker-factored matrix: for each parameter (Q1, Q2), or (Q,) for a vector."""

    eigenvectors: Sequence[Sequence[Tensor]]
    eigenvalues: Sequence[Sequence[Tensor]]
    deltas: Tensor
    damping: bool


class _Laplace(Protocol):
    model: nn.Module
    likelihood: str
    mean: Tensor
    n_data: int
    params: list[Tensor]
    posterior_scale: Tensor
    posterior_precision: object

    def sample(self, n_samples: int) -> Tensor: ...


def is_laplace(value: object) -> bool:
    """Whether this is an object of laplace-torch, or torch-uncertainty's wrapper around one."""
    names = class_names(value)
    if "torch_uncertainty" in libraries(value) and "LaplaceApprox" in names:
        return True
    return "laplace" in libraries(value) and "BaseLaplace" in names


def laplace_posterior(value: object) -> Posterior:
    """The posterior; CompileError if it is not fitted, or is none over weights."""
    if "LaplaceApprox" in class_names(value):
        return _wrapped(value)
    place = name_of(value)
    if "ParametricLaplace" not in class_names(value):
        raise CompileError(
            "is a Gaussian process of a linearised network, and has no weights to sample "
            "(pred_type='glm')",
            place,
            remedy="fit a DiagLaplace, KronLaplace or FullLaplace, whose sampled weights "
            "(pred_type='nn') compile",
        )
    la = cast(_Laplace, value)
    if not la.n_data:
        raise CompileError(
            "is not fitted", place, remedy="call .fit(train_loader), or load its state_dict"
        )
    network, weights = _network(la, place)
    layout = Layout.of(weights)
    mean = layout.split(tensor_of(la.mean, "mean", place))
    gaussian = _spread(value, la, layout, mean)
    gaussian.check(place)
    module = SampledNetwork(network, gaussian, probabilities=la.likelihood == "classification")

    def draw(x: Tensor) -> object:
        return module.under(layout.split(la.sample(1)[0]), x)

    layers = "the last layer" if "LLLaplace" in class_names(value) else "its weights"
    told = f"{place} of laplace-torch: {layers} sampled (pred_type 'nn'), not linearised"
    return Posterior(module, draw, told)


def _wrapped(value: object) -> Posterior:
    """The posterior in torch-uncertainty's LaplaceApprox, if its predictions are samples."""
    kind = getattr(value, "pred_type", None)
    if kind != "nn":
        raise CompileError(
            f"predicts with pred_type={kind!r}, the linearised network, which is no network with "
            "sampled weights",
            name_of(value),
            remedy="compile its .la for the distribution of pred_type='nn', or make it with that",
        )
    inside = getattr(value, "la", None)
    if inside is None:
        raise CompileError("is not fitted", name_of(value), remedy="call .fit first")
    return laplace_posterior(inside)


def _network(la: _Laplace, place: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network, and the weights with a posterior, in the order of the flat vector."""
    if "LLLaplace" not in class_names(la):
        network = network_of(la.model, place)
        return network, parameters_of(network, la.params, place)
    extractor = la.model
    last = getattr(extractor, "last_layer", None)
    if not isinstance(last, nn.Module):
        raise CompileError("has not found its last layer", place, remedy="call .fit first")
    network = network_of(getattr(extractor, "model", None), place)
    name = next(name for name, child in network.named_modules() if child is last)
    weights = dict[str, Tensor]()
    weights |= {f"{name}.{key}": tensor for key, tensor in last.named_parameters()}
    return _without_hook(network, name), weights


def _without_hook(network: nn.Module, last: str) -> nn.Module:
    """A copy without the hook on its last layer, which keeps the features of each call."""
    copied = copy.deepcopy(network)
    hooks = copied.get_submodule(last)._forward_hooks
    for key, hook in list(hooks.items()):
        if getattr(hook, "__module__", "").startswith("laplace."):
            del hooks[key]
    return copied


_Spread = Callable[[_Laplace, Layout, dict[str, Tensor]], Gaussian]


def _spread(value: object, la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    """The distribution around the mean, by the structure of the Hessian."""
    kinds: dict[str, _Spread] = {
        "SubnetLaplace": _subnetwork,
        "DiagLaplace": _diagonal,
        "KronLaplace": _kronecker,
        "FullLaplace": _full,
        "LowRankLaplace": _low_rank,
    }
    for name, spread in kinds.items():
        if name in class_names(value):
            return spread(la, layout, mean)
    raise CompileError(
        "is a structure of the Hessian that is not known here",
        name_of(value),
        remedy="diag, kron, full and lowrank compile; or compile a list of networks with weights "
        "from its .sample()",
    )


def _diagonal(la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    return Gaussian(mean, layout.split(la.posterior_scale))


def _full(la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    return Gaussian(mean, shared=[layout.correlated(plain(la.posterior_scale))])


def _kronecker(la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    """P^-1/2 E of each parameter: Q1 ((l1_i l2_j + delta)^-1/2 * E) Q2^T, and Q of a vector.

    Source: KronDecomposed._bmm with exponent -1/2; Q^T E has the distribution of E.
    """
    precision = cast(_Decomposed, la.posterior_precision)
    products, shared = dict[str, Kronecker](), []
    deltas = precision.deltas.expand(len(layout.shapes))
    parts = zip(mean, precision.eigenvectors, precision.eigenvalues, deltas, strict=True)
    for name, vectors, values, delta in parts:
        if len(vectors) == 1:
            root = vectors[0] * (values[0] + delta).pow(-0.5)
            shared.append(Layout.of({name: mean[name]}).correlated(plain(root)))
            continue
        first, second = values
        if precision.damping:
            scale = torch.outer(first + delta.sqrt(), second + delta.sqrt()).pow(-0.5)
        else:
            scale = (torch.outer(first, second) + delta).pow(-0.5)
        products[name] = Kronecker(plain(vectors[0]), plain(scale), plain(vectors[1].T))
    return Gaussian(mean, shared=shared, kronecker=products)


def _low_rank(la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    """(U diag(l) U^T + D)^-1/2 z as a full covariance: its low rank is subtracted, not added.

    Source: LowRankLaplace.sample, with W = D^-1/2 U diag(l)^1/2 and W^T W = Q diag(s) Q^T.
    """
    (vectors, values), prior = cast("tuple[tuple[Tensor, Tensor], Tensor]", la.posterior_precision)
    root = prior.sqrt().reshape(-1, 1)
    w = vectors * values.sqrt() / root
    s, q = torch.linalg.eigh(w.T @ w)
    s = s.clamp(min=0)
    c = -1 / ((1 + s).sqrt() * (1 + (1 + s).sqrt()))
    inner = torch.eye(len(prior), dtype=w.dtype, device=w.device) + (w @ q) * c @ (w @ q).T
    return Gaussian(mean, shared=[layout.correlated(plain(inner / root))])


def _subnetwork(la: _Laplace, layout: Layout, mean: dict[str, Tensor]) -> Gaussian:
    """Noise at the indices of the subnetwork alone."""
    chosen = cast(Tensor, getattr(getattr(la, "backend", None), "subnetwork_indices", None))
    scale = plain(la.posterior_scale)
    whole = torch.zeros(layout.size, *scale.shape[1:], dtype=scale.dtype)
    whole[chosen.cpu()] = scale
    if scale.ndim == 1:
        return Gaussian(mean, layout.split(whole))
    return Gaussian(mean, shared=[layout.correlated(whole)])
