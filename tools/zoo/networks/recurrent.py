"""Recurrent networks of series."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout
from tools.zoo.data_sets import Data, sunspots, vowels_by_step
from tools.zoo.losses import CLASSES, DEVIATION
from tools.zoo.network import Network

FEATURES, UNITS, SPEAKERS = 12, 24, 9


class LSTMClassifier(nn.Module):
    """The last hidden state, dropout, and a layer. Forget gates start open: a bias of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(FEATURES, UNITS, batch_first=True)
        bias = self.recurrent.get_parameter("bias_ih_l0")
        nn.init.ones_(bias[UNITS : 2 * UNITS])
        self.drop, self.last = MCDropout(0.2), nn.Linear(UNITS, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, _) = self.recurrent(x)
        y: Tensor = self.last(self.drop(hidden[-1]))
        return y


class GRUClassifier(nn.Module):
    """Both directions, the mean over time, dropout, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(FEATURES, UNITS // 2, batch_first=True, bidirectional=True)
        self.drop, self.last = MCDropout(0.2), nn.Linear(UNITS, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x)
        y: Tensor = self.last(self.drop(states.mean(dim=1)))
        return y


class VariationalLSTM(nn.Module):
    """One mask a sequence on inputs and one on states, the same at every step."""

    def __init__(self, p: float = 0.15) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTMCell(FEATURES, UNITS), nn.Linear(UNITS, SPEAKERS)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        on_inputs = F.dropout(torch.ones(rows, FEATURES), self.p, training=True)
        on_states = F.dropout(torch.ones(rows, UNITS), self.p, training=True)
        state = torch.zeros(rows, UNITS), torch.zeros(rows, UNITS)
        for step in range(0, x.shape[1], 2):
            hidden, memory = self.cell(x[:, step] * on_inputs, state)
            state = hidden * on_states, memory
        y: Tensor = self.last(state[0])
        return y


class DeepConvLSTM(nn.Module):
    """Convolutions along time, then two recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(FEATURES, 16, 5, stride=2), nn.ReLU(), nn.Conv1d(16, 16, 5), nn.ReLU()
        )
        self.recurrent = nn.LSTM(16, UNITS, num_layers=2, batch_first=True)
        self.drop, self.last = MCDropout(0.2), nn.Linear(UNITS, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        features = self.convs(x.transpose(1, 2)).transpose(1, 2)
        states, _ = self.recurrent(self.drop(features))
        y: Tensor = self.last(self.drop(states[:, -1, :]))
        return y


class DeepAR(nn.Module):
    """The mean and the deviation of the next month, from an LSTM over two years by quarters."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(4, 20, batch_first=True)
        self.drop = MCDropout(0.1)
        self.mean, self.deviation = nn.Linear(20, 1), nn.Linear(20, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        states, _ = self.recurrent(x.reshape(-1, 12, 4))
        last = self.drop(states[:, -1])
        return {"mean": self.mean(last), "std": F.softplus(self.deviation(last)) + 1e-3}


def next_month() -> Data:
    return sunspots(1)


NETWORKS = (
    Network("LSTM", "hochreiter1997", LSTMClassifier, vowels_by_step, CLASSES, 80, 1e-2),
    Network("GRU, both directions", "cho2014", GRUClassifier, vowels_by_step, CLASSES, 30, 1e-2),
    Network(
        "Variational LSTM",
        "gal2016",
        VariationalLSTM,
        vowels_by_step,
        CLASSES,
        40,
        1e-2,
        posterior="MC dropout, one mask a sequence",
    ),
    Network("DeepConvLSTM", "ordonez2016", DeepConvLSTM, vowels_by_step, CLASSES, 40, 1e-2),
    Network("DeepAR", "salinas2020", DeepAR, next_month, DEVIATION, 15, 5e-3),
)
