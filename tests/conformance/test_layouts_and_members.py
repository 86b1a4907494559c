"""Members inside one module, and batches that are not first: equal bits, the module's distribution.

The oracle, onnxruntime, the runtime and C agree in every bit. The check that `compile` makes
compares the distribution with the user's module.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.backends.test_c import COMPILERS, ran
from tests.frontend import inside, time_first
from tests.frontend.sequences_of_rows import STEPS, WIDTH

_SAMPLES = 4


def check(net: nn.Module, shape: tuple[int, ...], folder: Path, *, random: bool) -> Model:
    """Compile a network of rows of this shape, and compare what its artefacts give."""
    x = torch.randn(128, *shape, generator=torch.Generator().manual_seed(4)).numpy()
    paths = [folder / "net.qbnn", folder / "net.onnx"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 8 bits may change the spread
        model = qbnnc.compile(
            net, paths, calibration=x, bits="w8a8", dropout="active" if random else None,
            samples=_SAMPLES if random else None,
        )  # fmt: skip
    count = model.samples
    expected = oracle_samples(model, x[:5], samples=count, seed=6, first_row=1)
    names = model.head.sample_names(len(expected))
    for backend in (OnnxArtefact.from_bytes(paths[1].read_bytes()), load(paths[0])):
        made = backend.predict(x[:5], samples=count, seed=6, first_row=1)
        for name, truth in zip(names, expected, strict=True):
            assert (bits(made[name]) == bits(truth)).all()
    assert model.provenance.distribution.startswith("equal to the module")
    if COMPILERS:
        ran(folder, model, ["-O1"], COMPILERS[0])
    return model


@pytest.mark.slow
@pytest.mark.sample(6)
@pytest.mark.parametrize("name", inside.SPELLINGS)
def test_members_inside_one_module(name: str, tmp_path: Path) -> None:
    random = inside.is_random(name)
    model = check(inside.built(name), (inside.FEATURES,), tmp_path, random=random)
    assert len(model.members) == inside.COUNTS.get(name, inside.MEMBERS)


@pytest.mark.slow
@pytest.mark.sample(10)
@pytest.mark.parametrize("name", time_first.NETWORKS)
def test_batches_that_are_not_first(name: str, tmp_path: Path) -> None:
    shape = (STEPS, WIDTH)
    check(time_first.built(name), shape, tmp_path, random=time_first.is_random(name))


BUILT: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: inside.built("baddbmm of expanded rows"), (inside.FEATURES,)),
    (lambda: time_first.built("time merged with the batch"), (4, 6)),
]


@pytest.mark.parametrize("build", BUILT, ids=["members", "layouts"])
def test_one_of_each(
    build: tuple[Callable[[], nn.Module], tuple[int, ...]], tmp_path: Path
) -> None:
    check(build[0](), build[1], tmp_path, random=False)


def test_epistemic_uncertainty_is_over_the_members(tmp_path: Path) -> None:
    """The means of the members, by the module itself, spread as much as is predicted."""
    net = inside.built("bmm of repeated rows")
    x = torch.randn(200, inside.FEATURES, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "net.qbnn"
    qbnnc.compile(net, path, calibration=x.numpy(), task="regression", spread_check=False)
    with torch.no_grad():
        means = net(x)["mean"].numpy().astype(np.float64)
    found = load(path).predict(x.numpy())
    assert np.abs(found["mean"] - means.mean(0)).max() < 0.1
    wanted = means.var(0)
    assert np.corrcoef(found["epistemic"].ravel(), wanted.ravel())[0, 1] > 0.98
