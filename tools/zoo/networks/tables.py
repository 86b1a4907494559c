"""Networks of tables: regression and classification with every kind of uncertainty."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import BBBLinear, MCDropout
from tools.zoo.data_sets import diabetes, standardised_digits
from tools.zoo.losses import CLASSES, DIRICHLET, EVIDENTIAL, GAUSSIAN, MIXTURE, QUANTILES, SQUARES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import Residual

FEATURES, WIDTH = 10, 32


def mc_dropout() -> nn.Module:
    """Dropout before every layer but the first, as in the paper's UCI experiments."""
    return nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.ReLU(), MCDropout(0.1),
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), MCDropout(0.1),
        nn.Linear(WIDTH, 1),
    )  # fmt: skip


def bayes_by_backprop() -> nn.Module:
    return nn.Sequential(
        BBBLinear(FEATURES, WIDTH, 0.05), nn.ReLU(),
        BBBLinear(WIDTH, WIDTH, 0.05), nn.ReLU(),
        BBBLinear(WIDTH, 1, 0.05),
    )  # fmt: skip


class Heteroscedastic(nn.Module):
    """A mean and a log variance; `dropout` between layers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.drop = MCDropout(dropout) if dropout else nn.Identity()
        self.last = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.drop(torch.relu(self.first(x)))
        hidden = self.drop(torch.relu(self.second(hidden)))
        mean, log_var = self.last(hidden).chunk(2, dim=1)
        return {"mean": mean, "log_var": log_var.clamp(-6, 4)}


class MixtureDensity(nn.Module):
    """Weights, means and deviations of three Gaussians."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Tanh(), MCDropout(0.1))
        self.weights, self.means = nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 3)
        self.log_std = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.hidden(x)
        return self.weights(hidden), self.means(hidden), self.log_std(hidden).clamp(-3, 2)


class Evidential(nn.Module):
    """Four parameters of a normal inverse gamma distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        )
        self.last = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        gamma, nu, alpha, beta = torch.split(self.last(self.hidden(x)), 1, dim=-1)
        return {
            "gamma": gamma,
            "nu": F.softplus(nu) + 1e-2,
            "alpha": F.softplus(alpha) + 1.1,
            "beta": F.softplus(beta) + 1e-2,
        }


class EvidentialClassifier(nn.Module):
    """The parameters of a Dirichlet distribution: evidence, and one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(self.layers(x)) + 1


class ResidualMLP(nn.Module):
    """Blocks of batch norm, two layers and dropout, beside shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, WIDTH)
        self.blocks = nn.Sequential(*(Residual(self.block()) for _ in range(3)))
        self.last = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

    @staticmethod
    def block() -> nn.Module:
        return nn.Sequential(
            nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), MCDropout(0.15),
            nn.Linear(2 * WIDTH, WIDTH), MCDropout(0.1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.blocks(self.first(x)))
        return y


class GatedMLP(nn.Module):
    """Gated linear units: one half of a layer is weighed by the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 2 * WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.drop, self.last = MCDropout(0.15), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(F.glu(self.first(x), dim=-1))
        value, gate = self.second(hidden).chunk(2, dim=-1)
        hidden = hidden + self.drop(value * torch.sigmoid(gate))
        y: Tensor = self.last(hidden)
        return y


class Quantiles(nn.Module):
    """Three quantiles that do not cross: a median, and distances by softplus."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ELU(), MCDropout(0.1))
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        made = self.last(self.hidden(x))
        middle = made[:, 1:2]
        low, high = F.softplus(made[:, 0:1]), F.softplus(made[:, 2:3])
        return middle - low, middle, middle + high


NETWORKS = (
    Network("MLP, MC dropout", "gal2016b", mc_dropout, diabetes, SQUARES, 40),
    Network(
        "MLP, Bayes by Backprop",
        "blundell2015",
        bayes_by_backprop,
        diabetes,
        SQUARES,
        40,
        posterior="Gaussian weights",
    ),
    Network(
        "Deep ensemble",
        "lakshminarayanan2017",
        lambda: Heteroscedastic(0),
        diabetes,
        GAUSSIAN,
        20,
        members=5,
        posterior="5 members",
    ),
    Network("Mixture density network", "bishop1994", MixtureDensity, diabetes, MIXTURE, 40),
    Network(
        "Evidential regression", "amini2020", Evidential, diabetes, EVIDENTIAL, 30, posterior="none"
    ),
    Network(
        "Evidential classifier",
        "sensoy2018",
        EvidentialClassifier,
        standardised_digits,
        DIRICHLET,
        40,
        posterior="none",
    ),
    Network(
        "Heteroscedastic MLP", "kendall2017", lambda: Heteroscedastic(0.1), diabetes, GAUSSIAN, 40
    ),
    Network("Residual MLP", "gorishniy2021", ResidualMLP, standardised_digits, CLASSES, 20),
    Network("Gated MLP", "dauphin2017", GatedMLP, standardised_digits, CLASSES, 20),
    Network("Quantile regression", "tagasovska2019", Quantiles, diabetes, QUANTILES, 30),
)
