"""Guides of pyro, with their models: a Gaussian over the sites that the model samples.

The model runs under pyro's conditioning on the drawn values, so that its forward may sample an
observation, too. A site with another support than the reals is transformed, as the guide does.

Source: pyro 1.9, pyro/infer/autoguide/guides.py (`get_posterior`, `_unpack_latent`), and TyXe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.distributions import biject_to
from torch.distributions.constraints import Constraint

from qbnnc.frontend.objects.gaussian import Gaussian, Layout, plain
from qbnnc.frontend.objects.posterior import Posterior, SampledNetwork, Weights
from qbnnc.frontend.objects.structure import class_names, libraries, name_of
from qbnnc.frontend.program.locations import NETWORK
from qbnnc.support.errors import CompileError

_Transform: TypeAlias = Callable[[Tensor], Tensor]
_Site: TypeAlias = Mapping[str, object]


class _Trace(Protocol):
    def iter_stochastic_nodes(self) -> Iterator[tuple[str, _Site]]: ...


class _Distribution(Protocol):
    support: Constraint


class _Guide(Protocol):
    """The attributes of automatic guides; each class has those of its own family."""

    prototype_trace: _Trace | None
    loc: Tensor
    scale: Tensor
    cov_factor: Tensor
    scale_tril: Tensor
    model: object

    def __call__(self, x: Tensor) -> Mapping[str, Tensor]: ...


class _Bnn(Protocol):
    """A network of TyXe."""

    net: object
    net_guide: object


def is_guide(value: object) -> bool:
    """Whether this is an automatic guide of pyro or TyXe, or a Bayesian network of TyXe."""
    names = class_names(value)
    of_pyro = bool({"pyro", "tyxe"} & libraries(value))
    return of_pyro and bool({"AutoGuide", "GuidedBNN"} & {*names})


def is_model_and_guide(value: object) -> bool:
    """Whether this is (model, guide)."""
    return isinstance(value, tuple) and len(value) == 2 and is_guide(value[1])


def guide_posterior(value: object) -> Posterior:
    """The posterior of a guide, or of (model, guide); CompileError if it is not Gaussian."""
    model, guide = _model_and_guide(value)
    place = name_of(guide)
    if not isinstance(model, nn.Module):
        raise CompileError(
            "its model is no module that can be traced",
            place,
            remedy="write the model as a PyroModule, and give both: qbnnc.compile((model, guide))",
        )
    weights = _gaussian(guide, place)
    weights.check(place)
    module = _Conditioned(model, weights, _transforms(guide))

    def draw(x: Tensor) -> object:
        trace = _poutine("trace", guide)
        drawn = cast("Callable[[Tensor], object]", attrgetter("get_trace")(trace))(x)
        replayed = cast("Callable[[Tensor], object]", _poutine("replay", model, trace=drawn))
        return replayed(x)

    return Posterior(module, draw, f"{place} of pyro: the model under the guide's samples")


class _Conditioned(SampledNetwork):
    """A model that takes its sites from the drawn values."""

    def __init__(
        self, model: nn.Module, weights: Gaussian, transforms: Mapping[str, _Transform]
    ) -> None:
        super().__init__(model, weights, probabilities=False)
        self._transforms = dict(transforms)

    def computed(self, weights: Weights, x: Tensor) -> object:
        values = {name: self._transforms[name](value) for name, value in weights.items()}
        conditioned = cast("AbstractContextManager[object]", _poutine("condition", data=values))
        with conditioned:
            return self.get_submodule(NETWORK)(x)


def _poutine(name: str, *args: object, **options: object) -> object:
    """A call of pyro's own handler; pyro is loaded wherever there is a guide of it."""
    handler: Callable[..., object] = getattr(sys.modules["pyro.poutine"], name)
    return handler(*args, **options)


def _model_and_guide(value: object) -> tuple[object, _Guide]:
    if isinstance(value, tuple):
        _, guide = _model_and_guide(value[1])
        return value[0], guide
    if "GuidedBNN" in class_names(value):
        bnn = cast(_Bnn, value)
        if "AutoGuide" not in class_names(bnn.net_guide):
            raise CompileError(
                "has no automatic guide over its weights",
                name_of(value),
                remedy="compile its .net, if no weight of it is random",
            )
        return bnn.net, cast(_Guide, bnn.net_guide)
    guide = cast(_Guide, value)
    return _inside(guide.model), guide


def _inside(model: object) -> object:
    """The model inside what pyro wraps around it to initialise a guide."""
    while not isinstance(model, nn.Module):
        partial = getattr(model, "func", model)
        arguments = getattr(partial, "args", ())
        if not arguments:
            return model
        model = arguments[-1]
    return model


def _sites(guide: _Guide) -> dict[str, _Site]:
    if "AutoGuideList" in class_names(guide):
        return {name: site for part in _parts(guide) for name, site in _sites(part).items()}
    trace = guide.prototype_trace
    if trace is None:
        raise CompileError(
            "has not run yet, and knows no sites", name_of(guide), remedy="fit it with SVI first"
        )
    return dict(trace.iter_stochastic_nodes())


def _transforms(guide: _Guide) -> dict[str, _Transform]:
    """The maps from Gaussian values to those of each site."""
    if "AutoGuideList" in class_names(guide):
        return {name: to for part in _parts(guide) for name, to in _transforms(part).items()}
    if "AutoDelta" in class_names(guide):
        return dict.fromkeys(_sites(guide), _same)
    supports = {
        name: cast(_Distribution, site["fn"]).support for name, site in _sites(guide).items()
    }
    return {name: biject_to(support) for name, support in supports.items()}


def _parts(guide: _Guide) -> list[_Guide]:
    """The guides in an AutoGuideList, each of its own sites."""
    return [cast(_Guide, part) for part in cast(nn.ModuleList, guide)]


def _joined(parts: Sequence[Gaussian]) -> Gaussian:
    return Gaussian(
        {name: tensor for part in parts for name, tensor in part.mean.items()},
        {name: tensor for part in parts for name, tensor in part.scale.items()},
        [noise for part in parts for noise in part.shared],
    )


def _same(value: Tensor) -> Tensor:
    return value


def _gaussian(guide: _Guide, place: str) -> Gaussian:
    """The Gaussian over the sites' unconstrained values."""
    names = class_names(guide)
    if "AutoGuideList" in names:
        return _joined([_gaussian(part, name_of(part)) for part in _parts(guide)])
    if "AutoDelta" in names:
        return Gaussian({name: plain(attrgetter(name)(guide)) for name in _sites(guide)})
    if "AutoNormal" in names:
        found = {name: _loc_and_scale(guide, name) for name in _sites(guide)}
        return Gaussian({n: f[0] for n, f in found.items()}, {n: f[1] for n, f in found.items()})
    if not {"AutoDiagonalNormal", "AutoLowRankMultivariateNormal", "AutoMultivariateNormal"} & {
        *names
    }:
        raise CompileError(
            "is a guide whose samples are not Gaussian",
            place,
            remedy="AutoNormal, AutoDiagonalNormal, AutoLowRankMultivariateNormal and "
            "AutoMultivariateNormal compile; of AutoLaplaceApproximation what its "
            ".laplace_approximation(...) returns",
        )
    sites = _sites(guide)
    shapes = cast("Mapping[str, torch.Size]", attrgetter("_unconstrained_shapes")(guide))
    layout = Layout({name: shapes[name] for name in sites})
    mean, scale = layout.split(guide.loc), plain(guide.scale)
    if "AutoLowRankMultivariateNormal" in names:
        root = plain(guide.cov_factor) * scale[:, None]
        return Gaussian(mean, layout.split(scale), [layout.correlated(root)])
    if "AutoMultivariateNormal" in names:
        return Gaussian(mean, shared=[layout.correlated(scale[:, None] * plain(guide.scale_tril))])
    return Gaussian(mean, layout.split(scale))


def _loc_and_scale(guide: _Guide, name: str) -> tuple[Tensor, Tensor]:
    """The parameters of one site, in pyro's AutoNormal or TyXe's."""
    if hasattr(guide, "locs"):
        found = attrgetter(f"locs.{name}", f"scales.{name}")(guide)
    else:
        found = attrgetter(f"{name}.loc", f"{name}.scale")(guide)
    loc, scale = cast("tuple[Tensor, Tensor]", found)
    return plain(loc), plain(scale)
