"""Layers and wrappers of libraries for Bayesian networks, supported and not supported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from tests.frontend.libraries.importing import library

_MODELS = "torch_uncertainty.models"
_BARE = ("torch_uncertainty", _MODELS, f"{_MODELS}.classification")


@dataclass(frozen=True, slots=True)
class Case:
    """A network made of one library's parts, the shape of its rows, and the option --dropout.

    `fails` is the pattern of the message if it does not compile. `independent` is the number
    of outputs or channels with random numbers of their own, or of rows if these are dropped out.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    dropout: Literal["active", "off"] | None = None
    fails: str = ""
    independent: int = 1

    def module(self) -> nn.Module:
        torch.manual_seed(1)
        return self.make().eval()

    def rows(self, count: int = 4) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(2))


class WithoutKL(nn.Module):
    """bayesian-torch's layers give (output, KL term); recurrent ones of blitz (output, state)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0]
        return y


def bayesian_torch(part: str = "layers") -> ModuleType:
    return library(f"bayesian_torch.{part}", distribution="bayesian-torch")


def torchbnn() -> ModuleType:
    return library("torchbnn", distribution="torchbnn")


def blitz() -> ModuleType:
    return library("blitz.modules", distribution="blitz-bayesian-pytorch")


def baal(part: str) -> ModuleType:
    return library(f"baal.bayesian.{part}", distribution="baal", bare=["baal"])


def uncertainty(part: str) -> ModuleType:
    return library(f"torch_uncertainty.{part}", distribution="torch-uncertainty", bare=_BARE)


def _bt(name: str, *args: object, **options: object) -> nn.Module:
    return WithoutKL(getattr(bayesian_torch(), name)(*args, **options))


def _blitz(name: str, *args: object, rho: float = -2.0, **options: object) -> nn.Module:
    made: nn.Module = getattr(blitz(), name)(*args, posterior_rho_init=rho, **options)
    return made


def _tu(name: str, *args: object, sigma: float = -2.0, **options: object) -> nn.Module:
    made: nn.Module = getattr(uncertainty("layers"), name)(*args, sigma_init=sigma, **options)
    return made


def mlp() -> nn.Sequential:
    """With dropout, as users write it before a library takes it."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def cnn() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(32, 2))


def _mc_dropout(*, on_batch: bool) -> nn.Module:
    wrap = uncertainty("methods").mc_dropout
    made: nn.Module = wrap(mlp(), 4, on_batch=on_batch)
    return made


def _dnn_to_bnn(kind: str) -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    prior: dict[str, object] = {"prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0}
    prior |= {"posterior_rho_init": -2.0, "type": kind, "moped_enable": False, "moped_delta": 0.5}
    bayesian_torch("models.dnn_to_bnn").dnn_to_bnn(net, prior)
    return net


def _tu_model(kind: str) -> nn.Module:
    """A network of torch-uncertainty, whose wrapper is left off."""
    module = uncertainty("models.mlp" if kind.endswith("mlp") else "models.classification.lenet")
    make = getattr(module, kind)
    wrapped: nn.Module = make(6, 2, [8]) if kind.endswith("mlp") else make(1, 3)
    return _core(wrapped)


def _core(wrapped: nn.Module) -> nn.Module:
    """The network inside a wrapper of torch-uncertainty."""
    core: nn.Module = getattr(wrapped, "core_model", wrapped)
    return core


COMPILES: dict[str, Case] = {
    "bayesian-torch linear": Case(
        lambda: _bt("LinearReparameterization", 6, 3), (6,), independent=3
    ),
    "bayesian-torch conv1d": Case(
        lambda: _bt("Conv1dReparameterization", 2, 3, 3), (2, 7), independent=3
    ),
    "bayesian-torch conv2d": Case(
        lambda: _bt("Conv2dReparameterization", 2, 4, 3, 2, 1, groups=2), (2, 6, 6), independent=4
    ),
    "bayesian-torch transposed 1d": Case(
        lambda: _bt("ConvTranspose1dReparameterization", 2, 3, 2, 2), (2, 5), independent=3
    ),
    "bayesian-torch transposed 2d": Case(
        lambda: _bt("ConvTranspose2dReparameterization", 2, 3, 2, 2), (2, 3, 3), independent=3
    ),
    "bayesian-torch Flipout": Case(lambda: _bt("LinearFlipout", 6, 3), (6,), independent=3),
    "bayesian-torch dnn_to_bnn": Case(lambda: _dnn_to_bnn("Reparameterization"), (6,)),
    "bayesian-torch dnn_to_bnn Flipout": Case(lambda: _dnn_to_bnn("Flipout"), (6,)),
    "torchbnn linear": Case(lambda: torchbnn().BayesLinear(0.0, 0.1, 6, 3), (6,), independent=3),
    "torchbnn conv2d": Case(
        lambda: torchbnn().BayesConv2d(0.0, 0.1, 2, 3, 3, padding=1), (2, 6, 6), independent=3
    ),
    "torchbnn conv2d circular": Case(
        lambda: torchbnn().BayesConv2d(0.0, 0.1, 2, 3, 3, padding=1, padding_mode="circular"),
        (2, 6, 6),
        independent=3,
    ),
    "blitz linear": Case(lambda: _blitz("BayesianLinear", 6, 3), (6,), independent=3),
    "blitz linear without bias": Case(
        lambda: _blitz("BayesianLinear", 6, 3, bias=False), (6,), independent=3
    ),
    "blitz conv1d": Case(lambda: _blitz("BayesianConv1d", 2, 3, 3), (2, 7), independent=3),
    "blitz conv2d": Case(lambda: _blitz("BayesianConv2d", 2, 3, (3, 3)), (2, 6, 6), independent=3),
    "baal dropout": Case(lambda: baal("dropout").patch_module(mlp()), (6,), independent=4),
    "baal dropout2d": Case(lambda: baal("dropout").patch_module(cnn()), (1, 6, 6), independent=4),
    "baal MCDropoutModule": Case(
        lambda: baal("dropout").MCDropoutModule(mlp()), (6,), independent=4
    ),
    "torch-uncertainty linear": Case(lambda: _tu("BayesLinear", 6, 3), (6,), independent=3),
    "torch-uncertainty conv1d": Case(lambda: _tu("BayesConv1d", 2, 3, 3), (2, 7), independent=3),
    "torch-uncertainty conv2d": Case(lambda: _tu("BayesConv2d", 2, 3, 3), (2, 6, 6), independent=3),
    "torch-uncertainty conv2d circular": Case(
        lambda: _tu("BayesConv2d", 2, 3, 3, padding=1, padding_mode="circular"),
        (2, 6, 6),
        independent=3,
    ),
    "torch-uncertainty mc_dropout's core": Case(
        lambda: _core(_mc_dropout(on_batch=False)), (6,), "active", independent=4
    ),
    "torch-uncertainty mlp": Case(
        lambda: uncertainty("models.mlp").mlp(6, 2, [8], dropout_rate=0.2),
        (6,),
        "active",
        independent=4,
    ),
    "torch-uncertainty bayesian_mlp's core": Case(lambda: _tu_model("bayesian_mlp"), (6,)),
    "torch-uncertainty lenet": Case(
        lambda: uncertainty("models.classification.lenet").lenet(1, 3, dropout_rate=0.2),
        (1, 28, 28),
        "active",
    ),
    "torch-uncertainty bayesian_lenet's core": Case(
        lambda: _tu_model("bayesian_lenet"), (1, 28, 28)
    ),
    "bayesian-torch Flipout 1d": Case(lambda: _bt("Conv1dFlipout", 3, 3, 3), (3, 7)),
    "bayesian-torch Flipout 2d": Case(lambda: _bt("Conv2dFlipout", 3, 3, 3), (3, 6, 6)),
    "baal DropConnect": Case(
        lambda: baal("weight_drop").patch_module(mlp(), ["Linear"], 0.3),
        (6,),
    ),
    "baal MCDropoutConnectModule": Case(
        lambda: baal("weight_drop").MCDropoutConnectModule(cnn(), ["Conv2d"], 0.3),
        (1, 6, 6),
        dropout="active",
    ),
    "torch-uncertainty ABNN": Case(
        lambda: uncertainty("layers.bayesian.abnn").BatchNormAdapter2d(2),
        (2, 6, 6),
    ),
    "bayesian-torch LSTM": Case(lambda: _bt("LSTMReparameterization", 4, 3), (5, 4)),
    "bayesian-torch LSTM Flipout": Case(lambda: _bt("LSTMFlipout", 4, 3), (5, 4)),
    "blitz LSTM": Case(lambda: WithoutKL(_blitz("BayesianLSTM", 4, 3)), (5, 4)),
    "blitz GRU": Case(lambda: WithoutKL(_blitz("BayesianGRU", 4, 3)), (5, 4)),
    "bayesian-torch conv3d": Case(
        lambda: _bt("Conv3dReparameterization", 1, 2, 3, 0.0, 1.0, 0.0, -3.0), (1, 4, 4, 4)
    ),
    "bayesian-torch Flipout conv3d": Case(lambda: _bt("Conv3dFlipout", 1, 2, 3), (1, 4, 4, 4)),
    "bayesian-torch transposed conv3d": Case(
        lambda: _bt("ConvTranspose3dReparameterization", 1, 2, 3),
        (1, 2, 2, 2),
    ),
    "blitz conv3d": Case(lambda: _blitz("BayesianConv3d", 1, 2, (3, 3, 3)), (1, 4, 4, 4)),
    "torch-uncertainty conv3d": Case(lambda: _tu("BayesConv3d", 1, 2, 3), (1, 4, 4, 4)),
}

_STATE = r"keeps state between calls .*take out what keeps a mask or a result"
_ITS_SAMPLES = r"draws its samples itself.* compile \.core_model instead"
_MEMBERS = r"members of an ensemble are joined along the batch.*compile a list"
_BY_PLACE = r"depend on its place in the batch"

# Whole networks, whose samples take minutes; their layers are cases of their own.
LONG = ("torch-uncertainty lenet", "torch-uncertainty bayesian_lenet's core")

UNSUPPORTED: dict[str, Case] = {
    "torchbnn batch norm": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 2, 1), torchbnn().BayesBatchNorm2d(0.0, 0.1, 2)),
        (2, 6, 6),
        fails=r"its weight is random; only the weights",
    ),
    "baal consistent dropout": Case(
        lambda: baal("consistent_dropout").patch_module(mlp()), (6,), fails=_STATE
    ),
    "baal caching": Case(
        lambda: baal("caching_utils").MCCachingModule(baal("dropout").patch_module(mlp())),
        (6,),
        fails=_STATE,
    ),
    "torch-uncertainty mc_dropout": Case(
        lambda: _mc_dropout(on_batch=True), (6,), fails=_ITS_SAMPLES
    ),
    "torch-uncertainty bayesian_mlp": Case(
        lambda: uncertainty("models.mlp").bayesian_mlp(6, 2, [8]), (6,), fails=_ITS_SAMPLES
    ),
    "torch-uncertainty deep_ensembles": Case(
        lambda: uncertainty("methods").deep_ensembles([mlp(), mlp()], task="classification"),
        (6,),
        fails=_MEMBERS,
    ),
    "torch-uncertainty packed_mlp": Case(lambda: _tu_model("packed_mlp"), (6,), fails=_MEMBERS),
    "torch-uncertainty packed_lenet": Case(
        lambda: uncertainty("models.classification.lenet").packed_lenet(
            1, 3, alpha=2, num_estimators=2
        ),
        (1, 28, 28),
        fails=_MEMBERS,
    ),
    "torch-uncertainty batched_mlp": Case(
        lambda: uncertainty("models.mlp").batched_mlp(6, 2, [8]), (6,), fails=_MEMBERS
    ),
    "torch-uncertainty batch linear": Case(
        lambda: uncertainty("layers").BatchLinear(6, 3, num_estimators=2),
        (6,),
        fails=_BY_PLACE,
    ),
    "torch-uncertainty batch conv2d": Case(
        lambda: uncertainty("layers").BatchConv2d(2, 3, 3, num_estimators=2),
        (2, 6, 6),
        fails=_BY_PLACE,
    ),
    "torch-uncertainty masked linear": Case(
        lambda: uncertainty("layers").MaskedLinear(12, 3, num_estimators=2, scale=2.0),
        (12,),
        fails=r"mask",
    ),
    "torch-uncertainty LP-BNN": Case(
        lambda: uncertainty("layers.bayesian").LPBNNLinear(6, 3, num_estimators=2),
        (6,),
        fails=r"a constant must broadcast to one row",
    ),
    "torch-uncertainty MC batch norm": Case(
        lambda: uncertainty("layers.mc_batch_norm").MCBatchNorm2d(2, 4),
        (2, 6, 6),
        fails=r"batch norm without running statistics",
    ),
}
