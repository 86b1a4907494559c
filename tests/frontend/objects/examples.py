"""Objects of libraries, each small, with weights that its own code draws."""

from __future__ import annotations

import copy
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.frontend.libraries.importing import library
from tests.frontend.libraries.layers import uncertainty
from tests.frontend.objects.example import Example, network, rows, targets
from tests.frontend.objects.pyro_examples import guide_of_pyro, network_of_tyxe

_CURVATURE = (
    "asdl asdl.fisher asdl.grad_maker asdl.gradient asdl.hessian asdl.matrices backpack "
    "backpack.context backpack.extensions curvlinops scipy scipy.cluster scipy.cluster.vq"
)


def laplace() -> ModuleType:
    pytest.importorskip("torchmetrics")  # asks for scipy, and must not find an empty one
    return library("laplace", distribution="laplace-torch", unused=_CURVATURE.split())


def of_laplace(subset: str, structure: str, likelihood: str = "regression") -> Example:
    net = network()
    la = unfitted(net, subset, structure, likelihood)
    if structure in ("diag", "full") and subset != "subnetwork":
        labels = targets() if likelihood == "regression" else (targets()[:, 0] > 0).long()
        la.fit(DataLoader(TensorDataset(rows(), labels), batch_size=32))
    else:
        _as_if_fitted(la, net, structure)
    last = subset == "last_layer"
    parameters = dict(net[2].named_parameters("2") if last else net.named_parameters())

    def weights() -> Mapping[str, Tensor]:
        parts = la.sample(1)[0].split([p.numel() for p in parameters.values()])
        pairs = zip(parameters.items(), parts, strict=True)
        return {name: part.reshape(p.shape) for (name, p), part in pairs}

    def outputs(x: Tensor) -> Tensor:
        drawn: Tensor = la.predictive_samples(x, pred_type="nn", n_samples=1)[0]
        return drawn

    return Example(la, weights, outputs)


def unfitted(net: nn.Module, subset: str, structure: str, kind: str) -> Any:
    """An object of laplace-torch before .fit, around a trained network."""
    found = laplace()
    options: dict[str, object] = {}
    if subset == "subnetwork":
        options["subnetwork_indices"] = torch.tensor([0, 3, 57, 58, 66, 67, 72, 73])
    if subset == "last_layer":
        options["last_layer_name"] = "2"
    if structure != "lowrank":
        options["backend"] = found.curvature.GGNInterface
    options |= {"prior_precision": 4.0, "temperature": 0.5}
    with mock.patch.object(sys.modules["laplace.baselaplace"], "find_spec", bool):
        return found.Laplace(net, kind, subset, structure, **options)


def _as_if_fitted(la: Any, net: nn.Module, structure: str) -> None:
    """Give it the curvature that a backend would compute; none of them is installed."""
    generator = torch.Generator().manual_seed(7)

    trained = la.model.last_layer.parameters() if hasattr(la.model, "last_layer") else la.params
    trained = list(trained)
    la.mean = nn.utils.parameters_to_vector(trained).detach()
    la.n_data, la.n_outputs = 128, 2
    count = getattr(la, "n_params_subnet", la.n_params)
    match structure:
        case "diag":
            la.H = 10 * torch.rand(count, generator=generator)
        case "full":
            la.H = _positive(count, generator)
        case "lowrank":
            vectors = torch.linalg.qr(torch.randn(count, 4, generator=generator)).Q
            la.H = vectors, torch.tensor([50.0, 20.0, 5.0, 1.0])
        case _:
            matrix = sys.modules["laplace.utils.matrix"].Kron
            factors = [[_positive(size, generator) for size in _sides(p)] for p in trained]
            la.H_facs = matrix(factors)
            la.H = la.H_facs.decompose()


def _positive(size: int, generator: torch.Generator) -> Tensor:
    root = torch.randn(size, size, generator=generator)
    return root @ root.T


def _sides(parameter: Tensor) -> list[int]:
    return [parameter.shape[0], *([parameter[0].numel()] if parameter.ndim > 1 else [])]


def _wander(net: nn.Module, seed: int) -> None:
    """A step of a training that has converged."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def swag_of_torch_uncertainty(*, diagonal: bool, net: nn.Module | None = None) -> Example:
    net = network() if net is None else net
    made = uncertainty("methods.swag").SWAG(
        net, 0, 1, scale=0.5, diag_covariance=diagonal, max_num_models=5
    )
    for epoch in range(1, 9):
        _wander(net, epoch)
        made.update_wrapper(epoch)
    made.eval()

    def sample() -> nn.Module:
        drawn: nn.Module = made.sample(made.scale, made.diag_covariance)
        return drawn

    return Example(made, lambda: dict(sample().named_parameters()), lambda x: sample().eval()(x))


def swag_of_maddox(*, diagonal: bool, scale: float | None = 0.5) -> Example:
    found = library(
        "swag.posteriors.swag",
        distribution="swa-gaussian",
        bare=["swag", "swag.posteriors"],
        unused=["gpytorch", "gpytorch.lazy", "gpytorch.distributions"],
    )
    net = network()
    made = found.SWAG(lambda: copy.deepcopy(net), no_cov_mat=diagonal, max_num_models=5)
    for step in range(8):
        _wander(net, step)
        made.collect_model(net)
    made.eval()
    if scale is not None:
        made.scale = scale

    def weights() -> Mapping[str, Tensor]:
        made.sample(0.5, cov=not diagonal)
        return {name: attrgetter(name)(made.base) for _, _, name in made.params}

    def outputs(x: Tensor) -> Tensor:
        weights()
        y: Tensor = made(x)
        return y

    return Example(made, weights, outputs)


def state_of_posteriors(algorithm: str) -> Example:
    if "torchopt" not in sys.modules and importlib.util.find_spec("torchopt") is None:
        _stand_in_for_torchopt()
    family = algorithm.partition(".")[0]
    found = library(
        f"posteriors.{algorithm}",
        distribution="posteriors",
        bare=["posteriors", f"posteriors.{family}"],
    )
    net = network()
    start = dict(net.named_parameters())
    count = sum(tensor.numel() for tensor in start.values())
    covariance = 0.003 * _positive(count, torch.Generator().manual_seed(8)) / count**0.5
    optimiser = mock.Mock(init=lambda _: torch.zeros(()))
    match algorithm:
        case "vi.diag":
            state = found.init(start, optimiser, -2.0)
        case "vi.dense":
            state = found.init(start, optimiser, torch.linalg.cholesky(covariance))
        case "ekf.dense_fisher":
            state = found.init(start, covariance)
        case "sgmcmc.sghmc":
            state = found.init(start)
        case _:
            state = found.init(start, 30.0 if family == "laplace" else 0.05)

    def weights() -> Mapping[str, Tensor]:
        drawn = found.sample(state, torch.Size([1]))
        return {name: tensor[0] for name, tensor in drawn.items()}

    def outputs(x: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(weights()), (x,))  # type: ignore[no-any-return]  # torch gives it none

    return Example((net, state), weights, outputs)


def _stand_in_for_torchopt() -> None:
    """Names that states are annotated with; the optimiser itself is never called."""
    module, kind = types.ModuleType("torchopt"), type("Kind", (), {})
    for name in ("GradientTransformation", "OptState"):
        setattr(kind, name, kind)
    vars(module).update(base=kind, typing=kind)
    sys.modules["torchopt"] = module


INDEPENDENT: dict[str, Callable[[], Example]] = {
    "laplace last layer diag": lambda: of_laplace("last_layer", "diag", "classification"),
    "laplace all diag": lambda: of_laplace("all", "diag"),
    "laplace subnetwork diag": lambda: of_laplace("subnetwork", "diag"),
    "torch-uncertainty SWAG diag": lambda: swag_of_torch_uncertainty(diagonal=True),
    "swa_gaussian diag": lambda: swag_of_maddox(diagonal=True),
    "posteriors vi.diag": lambda: state_of_posteriors("vi.diag"),
    "posteriors laplace.diag_fisher": lambda: state_of_posteriors("laplace.diag_fisher"),
    "posteriors ekf.diag_fisher": lambda: state_of_posteriors("ekf.diag_fisher"),
    "pyro AutoNormal": lambda: guide_of_pyro("AutoNormal"),
    "pyro AutoDiagonalNormal": lambda: guide_of_pyro("AutoDiagonalNormal"),
    "TyXe": network_of_tyxe,
}
CORRELATED: dict[str, Callable[[], Example]] = {
    "laplace last layer full": lambda: of_laplace("last_layer", "full"),
    "laplace last layer kron": lambda: of_laplace("last_layer", "kron"),
    "laplace all full": lambda: of_laplace("all", "full", "classification"),
    "laplace all kron": lambda: of_laplace("all", "kron"),
    "laplace all lowrank": lambda: of_laplace("all", "lowrank"),
    "laplace subnetwork full": lambda: of_laplace("subnetwork", "full"),
    "torch-uncertainty SWAG": lambda: swag_of_torch_uncertainty(diagonal=False),
    "swa_gaussian": lambda: swag_of_maddox(diagonal=False),
    "posteriors vi.dense": lambda: state_of_posteriors("vi.dense"),
    "posteriors ekf.dense_fisher": lambda: state_of_posteriors("ekf.dense_fisher"),
    "pyro AutoLowRankMultivariateNormal": lambda: guide_of_pyro("AutoLowRankMultivariateNormal"),
    "pyro AutoMultivariateNormal": lambda: guide_of_pyro("AutoMultivariateNormal"),
}
