"""States of the library posteriors, with the network that they hold weights for.

Variational inference, Laplace and extended Kalman filters have Gaussians. A state of
stochastic-gradient MCMC is one sample: a list of them along a chain is an ensemble.

Source: posteriors 0.1.3, the function `sample` of each module.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import NoReturn, TypeAlias, cast

import torch
from torch import Tensor, nn

from qbnnc.frontend.objects.gaussian import Gaussian, SharedNoise, plain
from qbnnc.frontend.objects.posterior import Posterior, SampledNetwork, Weights
from qbnnc.frontend.objects.structure import class_names, libraries, name_of, network_of
from qbnnc.support.errors import CompileError

_Sample: TypeAlias = Callable[[object, torch.Size], Weights]
_Ravel: TypeAlias = Callable[[object], tuple[Tensor, Callable[[Tensor], Weights]]]


def is_state(value: object) -> bool:
    """Whether this is a state of an algorithm of posteriors."""
    return "posteriors" in libraries(value) and class_names(value)[0].endswith("State")


def is_pair(value: object) -> bool:
    """Whether this is (network, state), or (network, [state, ...])."""
    if not (isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], nn.Module)):
        return False
    return is_state(value[1]) or bool(_several(value[1]))


def _several(value: object) -> list[object]:
    states = list(value) if isinstance(value, list | tuple) else []
    return states if all(map(is_state, states)) else []


def state_alone(value: object) -> NoReturn:
    """Raise CompileError: a state has no network."""
    raise CompileError(
        "holds weights, and not the network that they belong to",
        name_of(value),
        remedy="give both: qbnnc.compile((network, state), ...), or (network, [state, ...]) for "
        "the samples of a chain",
    )


def states_posteriors(pair: object) -> Iterator[Posterior]:
    """Yield a member for each state of a pair; CompileError if its weights do not fit."""
    network, states = cast("tuple[nn.Module, object]", pair)
    for state in _several(states) or [states]:
        yield _posterior(network_of(network, name_of(state)), state)


def _posterior(network: nn.Module, state: object) -> Posterior:
    place = name_of(state)
    mean = _weights(state, "params", network)
    gaussian = _spread(state, network, mean)
    if gaussian is None:
        return _one_sample(network, state, mean)
    gaussian.check(place)
    module = SampledNetwork(network, gaussian, probabilities=False)
    sample = _sampler(state)

    def draw(x: Tensor) -> object:
        return module.under({name: plain(tensor) for name, tensor in sample().items()}, x)

    return Posterior(module, draw, f"{place} of posteriors: weights of its sample()")


def _sampler(state: object) -> Callable[[], Weights]:
    """The library's own sampling, with a leading axis of 1, as without it dense states fail."""
    precision = getattr(state, "prec", None)
    if isinstance(precision, Tensor):  # version 0.1.3 gives its samples of matrices a wrong shape
        mean, unravel = _ravelled(state)
        gaussian = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
        return lambda: unravel(gaussian.sample())
    sample = cast(_Sample, _library_function(state, "sample"))
    return lambda: {name: tensor[0] for name, tensor in sample(state, torch.Size([1])).items()}


def _library_function(state: object, name: str) -> object:
    return vars(sys.modules[type(state).__module__])[name]


def _ravelled(state: object) -> tuple[Tensor, Callable[[Tensor], Weights]]:
    """The mean as the library's flat vector, and the weights that such a vector holds."""
    ravel = cast(_Ravel, _library_function(state, "tree_ravel"))
    return ravel(attrgetter("params")(state))


def _one_sample(network: nn.Module, state: object, mean: dict[str, Tensor]) -> Posterior:
    """A network with the weights of a state of MCMC."""
    copied = copy.deepcopy(network)
    copied.load_state_dict({**copied.state_dict(), **mean})
    return Posterior(copied, copied, f"{name_of(state)} of posteriors: its one sample")


def _spread(state: object, network: nn.Module, mean: dict[str, Tensor]) -> Gaussian | None:
    """The distribution around the mean; None if the state has none."""
    tensors: dict[str, Callable[[Tensor], Tensor]] = {
        "log_sd_diag": torch.exp,
        "sd_diag": lambda sd: sd,
        "prec_diag": lambda precision: precision.rsqrt(),
    }
    for name, scale_of in tensors.items():
        if hasattr(state, name):
            found = _weights(state, name, network)
            return Gaussian(mean, {key: scale_of(value) for key, value in found.items()})
    roots: dict[str, Callable[[Tensor], Tensor]] = {
        "L_factor": _triangle,
        "cov": torch.linalg.cholesky,
        "prec": lambda precision: torch.linalg.cholesky(torch.linalg.inv(precision)),
    }
    for name, root_of in roots.items():
        if isinstance(matrix := getattr(state, name, None), Tensor):
            return Gaussian(mean, shared=[_dense(plain(matrix), root_of, state)])
    return None


def _dense(matrix: Tensor, root_of: Callable[[Tensor], Tensor], state: object) -> SharedNoise:
    """The noise of all weights; the library itself says where in the vector each weight lies."""
    try:
        root = root_of(matrix)
    except RuntimeError as error:  # torch.linalg.LinAlgError, which torch gives no type
        raise CompileError(
            "its covariance is not positive definite", name_of(state), remedy="fit it to more data"
        ) from error
    _, unravel = _ravelled(state)
    rows = [dict(unravel(row).items()) for row in root.T]
    factors = {name: torch.stack([plain(row[name]) for row in rows]) for name in rows[0]}
    return SharedNoise(len(rows), factors)


def _triangle(flat: Tensor) -> Tensor:
    """The lower triangle whose entries posteriors keeps row by row, with free diagonal."""
    size = round(((1 + 8 * len(flat)) ** 0.5 - 1) / 2)
    root = torch.zeros(size, size, dtype=flat.dtype)
    rows, columns = torch.tril_indices(size, size)
    root[rows, columns] = flat
    return root


def _weights(state: object, field: str, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a field by the names of the network's parameters."""
    found: object = getattr(state, field)
    ours = dict(network.named_parameters())
    pairs = dict(found.items()) if isinstance(found, Mapping) or hasattr(found, "items") else {}
    weights = {name: plain(t) for name, t in pairs.items() if isinstance(t, Tensor)}
    wrong = [n for n, t in weights.items() if n not in ours or t.shape != ours[n].shape]
    if wrong or not weights:
        raise CompileError(
            f"its {field} do not fit the network" + (f" ({wrong[0]})" if wrong else ""),
            name_of(state),
            remedy="give the network whose dict(network.named_parameters()) they began as",
        )
    return weights
