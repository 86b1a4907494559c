"""The weights that are traced have the mean and the covariance of the object's own."""

from __future__ import annotations

import warnings

import pytest
import torch

from qbnnc.frontend import Posterior, members_of
from qbnnc.frontend.objects.posterior import SampledNetwork
from tests.frontend.objects.example import rows
from tests.frontend.objects.examples import CORRELATED, INDEPENDENT
from tests.frontend.objects.noise_basis import moments

ALL = INDEPENDENT | CORRELATED


def posterior_of(source: object) -> Posterior:
    (found,) = members_of(source) or []
    assert isinstance(found, Posterior)
    return found


@pytest.mark.parametrize("name", ALL)
def test_mean_and_covariance(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about one another
        example = ALL[name]()
    posterior = posterior_of(example.source)
    module = posterior.module
    assert isinstance(module, SampledNetwork)
    mean, covariance = moments(example.weights)
    drawn = dict.fromkeys(example.weights())
    found_mean, found = moments(lambda: {n: t for n, t in module.drawn().items() if n in drawn})
    torch.testing.assert_close(found_mean, mean, rtol=1e-5, atol=1e-6)
    scale = covariance.diagonal().max().item()
    torch.testing.assert_close(found, covariance, rtol=1e-4, atol=1e-5 * scale)
    correlated = (found - found.diagonal().diag()).abs().max() > 1e-3 * scale
    assert bool(correlated) == (name in CORRELATED)


@pytest.mark.parametrize("name", ALL)
def test_own_draws_are_the_network_under_the_objects_weights(name: str) -> None:
    """From one state of torch's generator the posterior's draw is the library's own prediction."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = ALL[name]()
    posterior, x = posterior_of(example.source), rows(4)
    with torch.no_grad():
        torch.manual_seed(5)
        expected = example.outputs(x)
        torch.manual_seed(5)
        found = posterior.draw(x)
        torch.manual_seed(6)
        other = posterior.draw(x)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert isinstance(other, torch.Tensor)
    assert not torch.equal(found, other)
