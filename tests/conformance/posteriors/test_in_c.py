"""Networks with noise, choices, masks of weights and correlated weights in C: the oracle's bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from qbnnc.backends.c import to_c
from qbnnc.support.errors import UserError
from tests.conformance.posteriors import choices, correlated, noise_networks
from tests.conformance.posteriors.compared import compiled
from tests.devices.programs import check_equal, check_runs
from tools.devices.targets import HOST

NOT_IN_C = "spike_and_slab"
SAMPLE = ("drop_connect", "batch_ensemble", "DropBlock", "latent", "swag", "eigenbasis")
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    **choices.FORMS,
    **{name: partial(noise_networks.Net, form) for name, form in noise_networks.FORMS.items()},
    **{name: partial(correlated.Net, form) for name, form in correlated.FORMS.items()},
}


@pytest.mark.slow
def test_a_sample_of_all(tmp_path: Path) -> None:
    _check(tmp_path, SAMPLE)


@pytest.mark.nightly
def test_all(tmp_path: Path) -> None:
    _check(tmp_path, [name for name in NETWORKS if name != NOT_IN_C])


def _check(folder: Path, names: tuple[str, ...] | list[str]) -> None:
    check_runs(HOST[0])
    models = {}
    for number, name in enumerate(names):
        place = folder / f"net{number}"
        place.mkdir()
        models[f"net{number}"] = compiled(NETWORKS[name](), place).model
    check_equal(folder, HOST[0], models)


@pytest.mark.slow
def test_c_says_what_it_has_no_form_of(tmp_path: Path) -> None:
    """A sampled weight under a mask runs in the other engines alone."""
    made = compiled(NETWORKS[NOT_IN_C](), tmp_path)
    with pytest.raises(UserError, match=r"compile to \.onnx or \.qbnn"):
        to_c(made.model, "net")
