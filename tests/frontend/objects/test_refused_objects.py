"""Objects that are refused: the error says what they are, and what to compile instead."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qbnnc
from qbnnc.frontend import members_of, read_modules
from qbnnc.support.errors import CompileError, InputError
from tests.frontend.libraries.importing import library
from tests.frontend.libraries.layers import uncertainty
from tests.frontend.objects import example, examples, pyro_examples


def of_package(package: str, name: str, bases: tuple[type, ...] = (), **attributes: object) -> Any:
    """An object as a library has it, for a library that is not imported here."""
    kind = type(name, bases or (object,), {"__module__": package})
    made = kind()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def unfitted(subset: str, structure: str) -> object:
    found = examples.laplace()
    backend = found.curvature.GGNInterface
    return found.Laplace(example.network(), "regression", subset, structure, backend=backend)


def functional() -> object:
    return of_package("laplace.baselaplace", "FunctionalLaplace", (of_kind("BaseLaplace"),))


def of_kind(name: str) -> type:
    return type(name, (), {"__module__": "laplace.baselaplace"})


def swag_with_batch_norm() -> object:
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    return examples.swag_of_torch_uncertainty(diagonal=True, net=net).source


def one_deviation() -> object:
    source: Any = examples.swag_of_torch_uncertainty(diagonal=False).source
    source.max_num_models = 1
    return source


def infinite() -> object:
    source: Any = examples.of_laplace("all", "diag").source
    source.H[3] = -torch.inf
    return source


def state(algorithm: str) -> object:
    pair: Any = examples.state_of_posteriors(algorithm).source
    return pair[1]


def another_network() -> object:
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)), state("vi.diag")


def guide(kind: str) -> object:
    return pyro_examples.guide_of_pyro(kind).source


def guide_of_function() -> object:
    pyro = pyro_examples.pyro()

    def model(x: Tensor) -> Tensor:
        weight: Tensor = pyro.sample("w", pyro.distributions.Normal(torch.zeros(6), 1.0).to_event())
        return x @ weight

    return pyro.infer.autoguide.AutoNormal(model)


def torchensemble(part: str) -> ModuleType:
    return library(f"torchensemble.{part}", distribution="torchensemble")


def voting() -> object:
    made = torchensemble("voting").VotingRegressor(example.network, 3, cuda=False)
    made.estimators_.extend([example.network() for _ in range(3)])
    return made


def vbll() -> object:
    layers = library("vbll.layers.regression", distribution="vbll", bare=["vbll", "vbll.layers"])
    return nn.Sequential(nn.Linear(6, 4), layers.Regression(4, 2, 0.1))


def deep_ensemble() -> object:
    members = [example.network(), example.network()]
    return uncertainty("methods").deep_ensembles(members, task="classification")


def collector() -> object:
    made = uncertainty("methods").CheckpointCollector(example.network())
    made.update_wrapper(1)
    return made


def linearised() -> object:
    source = examples.of_laplace("all", "diag").source
    name, package = "LaplaceApprox", "torch_uncertainty.post_processing.laplace"
    return of_package(package, name, pred_type="glm", la=source)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "laplace unfitted": (
        lambda: unfitted("all", "diag"),
        r"^DiagLaplace: is not fitted; call .fit",
    ),
    "laplace last layer unfitted": (
        lambda: unfitted("last_layer", "full"),
        r"^FullLLLaplace: is not fitted",
    ),
    "laplace functional": (
        functional,
        r"^FunctionalLaplace: is a Gaussian process of a linearised .*fit a DiagLaplace",
    ),
    "laplace linearised": (linearised, r"pred_type='glm'.*compile its \.la"),
    "laplace of infinity": (infinite, r"^DiagLaplace: its posterior has NaN or infinity for 0\."),
    "SWAG with batch norm": (swag_with_batch_norm, r"has batch norm \(1\).*swag\.samples"),
    "SWAG unfitted": (
        lambda: uncertainty("methods.swag").SWAG(example.network(), 0, 1),
        r"has collected no networks",
    ),
    "SWAG of one deviation": (one_deviation, r"max_num_models: keeps one deviation"),
    "swa_gaussian without a scale": (
        lambda: examples.swag_of_maddox(diagonal=True, scale=None).source,
        r"does not say at which scale .*swag\.scale = 0\.5",
    ),
    "state alone": (
        lambda: state("vi.diag"),
        r"^VIDiagState: holds weights, and not the network .*\(network, state\)",
    ),
    "state in a list": (lambda: [state("vi.diag")], r"^member 0: VIDiagState: holds weights"),
    "state of another network": (another_network, r"^VIDiagState: its params do not fit .*0\."),
    "guide that is not Gaussian": (
        lambda: guide("AutoLaplaceApproximation"),
        r"^AutoLaplaceApproximation: is a guide .*\.laplace_approximation",
    ),
    "guide of a function": (guide_of_function, r"its model is no module .*PyroModule"),
    "torchensemble": (
        voting,
        r"^VotingRegressor: averages .*members \(3\): qbnnc\.compile\(list\(ensemble.estimators_",
    ),
    "deep ensemble": (deep_ensemble, r"joins the predictions .*list\(ensemble\.core_models"),
    "checkpoints": (collector, r"^CheckpointCollector: joins .*list\(ensemble\.saved_models"),
    "vbll": (vbll, r"^1: is a layer of vbll, .*W_mean"),
    "baal": (
        lambda: of_package("baal.modelwrapper", "ModelWrapper", model=example.network()),
        r"^ModelWrapper: trains and calls .*compile \.model instead",
    ),
    "routine": (
        lambda: of_package(
            "torch_uncertainty.routines.classification", "ClassificationRoutine", (nn.Module,)
        ),
        r"^ClassificationRoutine: trains .*\.model instead",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, message = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = make()
    with pytest.raises(CompileError, match=message):
        members_of(source)


def test_masks_by_place_in_the_batch() -> None:
    """Masksembles is no object, but layers, and the converter names them."""
    layers = library("masksembles.torch", distribution="masksembles", bare=["masksembles"])
    net = nn.Sequential(nn.Linear(6, 16), layers.Masksembles1D(16, 4, 2.0), nn.Linear(16, 2))
    with pytest.raises(CompileError, match=r"^1 \(.*: split: takes the batch apart; every row"):
        read_modules([net.eval()], example.rows(4))


@pytest.mark.parametrize("source", [None, 3, {"a": 1}, [], [nn.Linear(1, 1), 3], "net.pt"])
def test_other_values_are_no_members(source: object) -> None:
    assert members_of(source) is None


def test_an_object_needs_calibration_data() -> None:
    source = examples.of_laplace("last_layer", "diag").source
    with pytest.raises(InputError, match=r"an object holds no inputs: .*calibration=x"):
        qbnnc.compile(source, "never.qbnn")


def test_libraries_are_not_imported() -> None:
    """Nothing here needs a library whose object it was not given."""
    before = {*sys.modules}
    assert members_of(nn.Linear(2, 2)) is not None
    assert {*sys.modules} == before
