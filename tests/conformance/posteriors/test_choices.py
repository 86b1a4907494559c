"""Choices between constants, and masks of weights: equal bits, and the module's distribution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.support.errors import CompileError
from tests.conformance.posteriors.choices import COUNT, FORMS, HIDDEN, Net
from tests.conformance.posteriors.compared import (
    NIGHTLY_SAMPLES,
    check_bits,
    check_distribution,
    compiled,
)
from tests.examples import slow_but

QUICK = ("snapshots", "batch_ensemble", "masksembles", "drop_connect", "spike_and_slab")


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", slow_but(QUICK, FORMS))
def test_bits_and_distribution(name: str, tmp_path: Path) -> None:
    made = compiled(FORMS[name](), tmp_path)
    check_bits(made)
    check_distribution(made)


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMS)
def test_distribution_of_many_samples(name: str, tmp_path: Path) -> None:
    check_distribution(compiled(FORMS[name](), tmp_path), NIGHTLY_SAMPLES)


def test_snapshots_cost_little_more_than_one_sampled_layer(tmp_path: Path) -> None:
    """20 last layers behind one trunk of 512 x 512 are stored beside it, and it is stored once."""
    sizes = []
    for forward in (_chosen, _sampled):
        torch.manual_seed(0)
        (tmp_path / "net.qbnn").unlink(missing_ok=True)
        rows = torch.randn(128, 512).numpy()
        qbnnc.compile(_Trunk(forward), tmp_path / "net.qbnn", calibration=rows)
        sizes.append((tmp_path / "net.qbnn").stat().st_size)
    assert sizes[0] <= 1.2 * sizes[1]


class _Trunk(nn.Module):
    def __init__(self, law: object) -> None:
        super().__init__()
        assert callable(law)
        self.law, self.trunk = law, nn.Linear(512, 512)
        self.heads = nn.Parameter(torch.randn(20, 2, 512) * 0.05)

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.law(self.heads)
        return F.linear(torch.relu(self.trunk(x)), weight)


def _chosen(heads: Tensor) -> Tensor:
    return heads[torch.randint(len(heads), ())]


def _sampled(heads: Tensor) -> Tensor:
    return heads[0] + 0.1 * torch.randn_like(heads[0])


def unequal(m: Net, x: Tensor) -> Tensor:
    i = torch.multinomial(torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]), 1)
    return F.linear(m.hidden(x), m.heads[i][0])


def two_numbers(m: Net, x: Tensor) -> Tensor:
    i, j = (torch.randint(COUNT, (1,)) for _ in range(2))
    return F.linear(m.hidden(x), m.heads[i][0] + m.heads[j][0])


def weights_by_row(m: Net, x: Tensor) -> Tensor:
    return torch.einsum("bk,bnk->bn", m.hidden(x), m.heads[torch.randint(COUNT, (len(x),))])


def list_of_heads(m: Net, x: Tensor) -> Tensor:
    heads = [nn.Linear(HIDDEN, 3), nn.Linear(HIDDEN, 3)]
    y: Tensor = heads[int(torch.randint(2, ()).item())](m.hidden(x))
    return y


def either_of_two_weights(m: Net, x: Tensor) -> Tensor:
    keep = torch.rand_like(m.enter.weight) < 0.5
    return m.after(torch.where(keep, m.enter.weight, m.rho), x)


def two_masks(m: Net, x: Tensor) -> Tensor:
    weight = F.dropout(F.dropout(m.enter.weight, 0.2, training=True), 0.1, training=True)
    return m.after(weight, x)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (unequal, "equally probable"),
        (two_numbers, "two random numbers"),
        (either_of_two_weights, "between two tensors"),
        (two_masks, "several random masks"),
        (weights_by_row, "for each row"),
    ],
)
def test_what_is_refused(form: object, words: str, tmp_path: Path) -> None:
    assert callable(form)
    with pytest.raises(CompileError, match=words):
        qbnnc.compile(Net(form), tmp_path / "net.qbnn", calibration=torch.randn(128, 8).numpy())
    assert not (tmp_path / "net.qbnn").exists()


@pytest.mark.parametrize("form", [list_of_heads])
def test_what_tracing_refuses(form: object, tmp_path: Path) -> None:
    assert callable(form)
    with pytest.raises(CompileError):
        qbnnc.compile(Net(form), tmp_path / "net.qbnn", calibration=torch.randn(128, 8).numpy())
