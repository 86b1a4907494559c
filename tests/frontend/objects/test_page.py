"""The page on posteriors of libraries: its Python blocks run one after another."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest

from qbnnc.ir import format
from tests.frontend.libraries.layers import uncertainty
from tests.frontend.objects import examples, pyro_examples
from tests.test_how_to import blocks


@pytest.mark.slow
def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laplace = examples.laplace()
    pyro_examples.pyro()
    uncertainty("methods")
    examples.state_of_posteriors("sgmcmc.sghmc")
    monkeypatch.chdir(tmp_path)
    found = blocks("posteriors-of-libraries.md", "python")
    assert len(found) == 4
    names: dict[str, object] = {"__name__": "page"}
    backend = laplace.curvature.GGNInterface  # the default one is not installed for tests
    with (
        mock.patch.object(sys.modules["laplace.baselaplace"], "CurvlinopsGGN", backend),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        exec("\n".join(found), names)
    members = {"laplace": 1, "pyro": 1, "swag": 1, "chain": 3}
    for name, count in members.items():
        assert len(format.load(tmp_path / f"{name}.qbnn").members) == count
