"""Random numbers on activations that are refused by name, or switched off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError
from tests.frontend.convert.test_noise_on_activations import noise_of
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images

Function = Callable[[Tensor], Tensor]
X = images(5, 6)
TWO_USES = "the same random numbers mask activations in one place"
SCALES = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def masked_first(x: Tensor) -> Tensor:
    mask = (torch.rand_like(x) < 0.3).float()
    return x * mask + F.avg_pool1d(mask[:, None], 3, 1, 1)[:, 0]


def masked_last(x: Tensor) -> Tensor:
    mask = (torch.rand_like(x) < 0.3).float()
    return (x + F.avg_pool1d(mask[:, None], 3, 1, 1)[:, 0]) * mask


REFUSED: dict[str, tuple[Function, str]] = {
    "sum over the batch": (
        lambda x: x * torch.randn_like(x).sum(0),
        r"sum: over the axes \[0\], of which 0 is the batch",
    ),
    "count of the batch": (
        lambda x: x / (1 + torch.bernoulli(torch.full_like(x, 0.3)).sum()),
        r"sum: over the axes \[0, 1\], of which 0 is the batch",
    ),
    "poisson": (lambda x: x * torch.poisson(torch.ones_like(x)), "by 'poisson', which is not"),
    "cauchy": (lambda x: x + torch.empty_like(x).cauchy_(), "by 'cauchy', which is not"),
    "a probability for each channel": (
        lambda x: x * (torch.rand_like(x) < SCALES),
        "whose probability differs between elements",
    ),
    "a probability by the input": (
        lambda x: x * (torch.rand_like(x) < torch.sigmoid(x)),
        "whose probability differs between elements or depends on the input",
    ),
    "a weight for each row": (
        lambda x: F.linear(x, torch.randn_like(x)).sum(1, keepdim=True).expand(-1, 6),
        "its random numbers are drawn for each row of the batch",
    ),
    "a mask and noise": (masked_first, TWO_USES),
    "noise and a mask": (masked_last, TWO_USES),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(CompileError, match=message) as error:
        read_module(Around(Spelled(function)).eval(), X)
    assert str(error.value).startswith("layer (nets.py:")


class Gaussian(nn.Module):
    """Gaussian dropout that eval() switches off."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 0.3 * torch.randn_like(x)) if self.training else x


def test_gaussian_dropout_is_switched_as_dropout_is() -> None:
    net = Around(Gaussian()).eval()
    with pytest.raises(CompileError, match=r"^layer .*noise here, but it is switched off"):
        read_module(net, X)
    assert len(noise_of(read_module(net, X, dropout="active"))) == 1
    assert not noise_of(read_module(net, X, dropout="off"))
    with pytest.raises(CompileError, match=r"dropout='off' cannot switch it off"):
        read_module(net.train(), X, dropout="off")
    assert len(noise_of(read_module(net.train(), X, dropout="active"))) == 1
