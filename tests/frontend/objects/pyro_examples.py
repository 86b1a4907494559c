"""Guides of pyro, and a network of TyXe, small and as if they were fitted."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from tests.frontend.libraries.importing import library
from tests.frontend.objects.example import Example, network, rows, targets


def pyro() -> ModuleType:
    return library("pyro", distribution="pyro-ppl")


def pyro_model() -> nn.Module:
    """A regression with a latent noise scale and an observation, as its tutorials write them."""
    library_ = pyro()
    normal, module, sampled = library_.distributions.Normal, library_.nn.PyroModule, _sampled

    class Regression(module):  # type: ignore[misc, valid-type]  # pyro may be missing
        def __init__(self) -> None:
            super().__init__()
            self.hidden = module[nn.Linear](6, 8)
            self.out = module[nn.Linear](8, 2)
            for layer, shape in ((self.hidden, (8, 6)), (self.out, (2, 8))):
                layer.weight = sampled(normal(0.0, 1.0).expand(shape).to_event(2))
            self.hidden.bias = sampled(normal(0.0, 1.0).expand([8]).to_event(1))

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            mean: Tensor = self.out(torch.tanh(self.hidden(x)))
            sigma = library_.sample("sigma", library_.distributions.Uniform(0.1, 1.0))
            with library_.plate("data", x.shape[0]):
                library_.sample("obs", normal(mean, sigma).to_event(1), obs=y)
            return mean

    torch.manual_seed(1)
    made: nn.Module = Regression()
    return made


def _sampled(prior: object) -> object:
    made: object = pyro().nn.PyroSample(prior)
    return made


def guide_of_pyro(kind: str) -> Example:
    found = pyro()
    found.clear_param_store()
    model = pyro_model()
    guide = getattr(found.infer.autoguide, kind)(model)
    guide(rows(), targets())
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in guide.parameters():  # as if it were fitted
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))

    def weights() -> Mapping[str, Tensor]:
        drawn: dict[str, Tensor] = guide(rows(4))
        return {name: value for name, value in drawn.items() if name != "sigma"}

    def outputs(x: Tensor) -> Tensor:
        with found.poutine.condition(data=guide(x)):
            y: Tensor = model(x)
        return y

    return Example(guide, weights, outputs)


def network_of_tyxe() -> Example:
    tyxe, normal = library("tyxe", distribution="tyxe"), pyro().distributions.Normal
    pyro().clear_param_store()
    guide = functools.partial(pyro().infer.autoguide.AutoNormal, init_scale=0.05)
    likelihood = tyxe.likelihoods.HomoskedasticGaussian(128, scale=0.1)
    prior = tyxe.priors.IIDPrior(normal(0, 1))
    bnn = tyxe.VariationalBNN(network(), prior, likelihood, guide)
    bnn.net_guide(rows())

    def outputs(x: Tensor) -> Tensor:
        y: Tensor = bnn.predict(x, num_predictions=1, aggregate=False)[0]
        return y

    return Example(bnn, lambda: bnn.net_guide(rows(4)), outputs)
