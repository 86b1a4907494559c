"""Objects through the API: lists of them, places in errors, saved files, and factories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qbnnc
from qbnnc.frontend import Posterior, members_of, read_file, read_modules
from qbnnc.ir.ops import Normal
from qbnnc.support.errors import CompileError, FileError
from tests.frontend.libraries.layers import uncertainty
from tests.frontend.objects import example, examples
from tests.frontend.objects.example import rows
from tests.frontend.objects.examples import of_laplace, swag_of_torch_uncertainty

HERE = "tests.frontend.objects.test_reading_objects"
ROWS = rows().numpy()


def test_names_are_those_of_the_users_network() -> None:
    source = read_modules(members_of(of_laplace("all", "diag").source) or [], rows(4))
    (graph,) = source.graphs
    names = [node.output.name for node in graph.nodes]
    assert {"0", "1", "2"} <= {name.split(".")[0] for name in names}
    assert not [name for name in names if "sampled" in name]
    assert {node.loc.module for node in graph.nodes} == {"0", "1", "2"}
    assert sum(isinstance(node.op, Normal) for node in graph.nodes) == 4


class Sorting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=1).values


def test_a_refusal_names_the_users_layer() -> None:
    net = nn.Sequential(nn.Linear(6, 8), Sorting(), nn.Linear(8, 2)).eval()
    source = swag_of_torch_uncertainty(diagonal=True, net=net).source
    with pytest.raises(CompileError, match=r"^1 \(test_reading_objects.py:\d+\): sort"):
        read_modules(members_of(source) or [], rows(4))


def test_lists_of_objects_are_ensembles(tmp_path: Path) -> None:
    """MultiSWAG, and a mixture of modules and objects of one structure."""
    two = [swag_of_torch_uncertainty(diagonal=True).source for _ in range(2)]
    found = members_of([two, two[0]])
    assert found is not None
    assert [type(member) for member in found] == [Posterior] * 3
    network, state = _pair(examples.state_of_posteriors("sgmcmc.sghmc").source)
    model = qbnnc.compile(
        [(network, [state, state]), network], tmp_path / "net.qbnn", calibration=ROWS
    )
    assert len(model.members) == 3
    assert "SGHMCState of posteriors" in model.provenance.distribution


def _pair(source: object) -> tuple[nn.Module, object]:
    assert isinstance(source, tuple)
    return source


def test_provenance_says_what_is_sampled(tmp_path: Path) -> None:
    source = of_laplace("last_layer", "diag").source
    qbnnc.save(source, tmp_path / "net.pt", rows(8), calibration=ROWS)
    model = qbnnc.compile(tmp_path / "net.pt", tmp_path / "net.qbnn")
    said = model.provenance.distribution
    assert "DiagLLLaplace of laplace-torch: the last layer sampled (pred_type 'nn'), not" in said
    assert "samples drawn by the object itself" in said


def laplace_factory() -> object:
    """An object as it was before .fit, around trained weights."""
    return examples.unfitted(example.network(), "all", "diag", "regression")


def swag_factory() -> object:
    return uncertainty("methods.swag").SWAG(
        example.network(), 0, 1, diag_covariance=True, scale=0.5
    )


@pytest.mark.parametrize("kind", ["laplace", "swag"])
def test_a_factory_builds_an_object_and_a_file_has_its_state(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    source: Any = (
        of_laplace("all", "diag").source
        if kind == "laplace"
        else swag_of_torch_uncertainty(diagonal=True).source
    )
    torch.save(source.state_dict(), path)
    expected = read_modules(members_of(source) or [], rows(4)).graph
    found = read_file(path, factory=f"{HERE}:{kind}_factory", example=ROWS)
    assert str(found.graph) == str(expected)
    pairs = zip(found.graph.constants.values(), expected.constants.values(), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
    assert found.references[0].draw is not None


def test_a_state_that_does_not_fit(tmp_path: Path) -> None:
    torch.save({"mean": torch.zeros(3)}, tmp_path / "state.pt")
    with pytest.raises(FileError, match=r"state.pt: does not fit the DiagLaplace of `model`"):
        read_file(tmp_path / "state.pt", factory=f"{HERE}:laplace_factory", example=ROWS)


def test_a_pickled_object_needs_the_users_trust(tmp_path: Path) -> None:
    """Unpickling runs code, for an object as for a module."""
    torch.save(swag_of_torch_uncertainty(diagonal=True).source, tmp_path / "swag.pt")
    with pytest.raises(FileError, match="opening it runs code from the file"):
        read_file(tmp_path / "swag.pt", example=ROWS)
    found = read_file(tmp_path / "swag.pt", example=ROWS, trust_pickle=True)
    assert found.references[0].told == "SWAG of torch-uncertainty: its Gaussian sampled anew"
