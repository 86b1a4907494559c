"""Networks that work on [T, B, D] inside, or merge the batch with other axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.frontend.sequences_of_rows import (
    CLASSES,
    HEADS,
    STEPS,
    WIDTH,
    Cells,
    Inducing,
    LearnedQueries,
    Sequences,
)


class Positions(nn.Module):
    """Adds [T, 1, D] to [T, B, D], as PyTorch's tutorial on transformers does."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(STEPS, 1, WIDTH))
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(x + self.table[: x.size(0)])
        return y


class Encoder(nn.Module):
    """nn.TransformerEncoder with batch_first=False, and the mean over time."""

    def __init__(self, p: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=p)
        self.positions = Positions(p)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.encoder(self.positions(x.permute(1, 0, 2))).mean(dim=0))
        return y


class Attention(nn.Module):
    """nn.MultiheadAttention with batch_first=False, a residual, and the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(0, 1)
        y = self.norm(y + self.attention(y, y, y, need_weights=False)[0])
        out: Tensor = self.head(y[-1])
        return out


class Heads(nn.Module):
    """Attention by hand: the batch is merged with the heads, [B*H, T, d], as in fairseq."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head, self.p = nn.Linear(WIDTH, CLASSES), p

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(0, 1)
        steps, rows, width = y.shape
        split = (steps, rows * HEADS, width // HEADS)
        q, k, v = (
            part.contiguous().view(split).transpose(0, 1) for part in self.qkv(y).chunk(3, dim=-1)
        )
        weights = torch.softmax(torch.bmm(q * split[2] ** -0.5, k.transpose(1, 2)), dim=-1)
        weights = F.dropout(weights, self.p, training=self.p > 0)
        joined = torch.bmm(weights, v).transpose(0, 1).contiguous().view(steps, rows, width)
        z: Tensor = self.head((y + self.out(joined)).permute(1, 0, 2).mean(1))
        return z


class Distributed(nn.Module):
    """A perceptron on [B*T, D], with batch normalisation: Keras' TimeDistributed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(WIDTH, 5), nn.BatchNorm1d(5)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, _ = x.shape
        y = torch.relu(self.norm(self.first(x.reshape(-1, WIDTH))))
        z: Tensor = self.head(y.view(rows, steps, -1).mean(dim=1))
        return z


class Windows(nn.Module):
    """A convolution of each step, [B*T, 1, D], and a GRU over the steps, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru = nn.Conv1d(1, 2, 3), nn.GRU(8, 5)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        y = torch.relu(self.conv(x.reshape(rows * steps, 1, width))).flatten(1)
        states, _ = self.gru(y.view(rows, steps, -1).transpose(0, 1))
        z: Tensor = self.head(states[-1])
        return z


class Recurrent(nn.Module):
    """nn.LSTM with batch_first=False, and layers on all of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.norm = nn.LSTM(WIDTH, 5), nn.LayerNorm(5)
        self.each, self.head = nn.Linear(5, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x.transpose(0, 1))
        z: Tensor = self.head(torch.tanh(self.each(self.norm(y))).amax(dim=0))
        return z


class Mixer(nn.Module):
    """Everything that treats axes by their numbers: softmax, cat, stack, slices, selections."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale = nn.Parameter(torch.rand(WIDTH) + 0.5)
        self.head = nn.Linear(3 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = x.movedim(1, 0)
        y = F.gelu(self.value(y)) * self.scale * torch.softmax(self.gate(y), dim=0)
        y = torch.cat([y[1:], y[:1].flip(0)], dim=0)
        pair = torch.stack([y[0], y[1]], dim=0).sum(0)
        parts = [pair, y.narrow(0, 1, 2).mean(0), y.index_select(0, torch.tensor([2, 3])).amax(0)]
        z: Tensor = self.head(torch.cat(parts, dim=-1))
        return z


class Masks(nn.Module):
    """Dropout whose masks the steps share, [1, B, D], and one that they do not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(0, 1)
        locked = torch.bernoulli(torch.full((1, *y.shape[1:]), 0.75)) / 0.75
        y = F.dropout(torch.relu(self.first(y * locked)), 0.25, training=True)
        z: Tensor = self.head(y.mean(0))
        return z


class Noisy(nn.Module):
    """Noise on activations, drawn with time first: a term, and a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.transpose(0, 1))
        y = torch.tanh(y + 0.1 * torch.randn_like(y)) * (1 + 0.2 * torch.randn_like(y))
        z: Tensor = self.head(y.mean(0))
        return z


class Channels(nn.Module):
    """The batch in the middle of [H, B, W], products with constants on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(5, STEPS) / 2)
        self.right = nn.Parameter(torch.randn(WIDTH, 3) / 2)
        self.head = nn.Linear(15, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("ht,tbw->hbw", self.left, x.transpose(0, 1))
        z: Tensor = self.head(torch.tanh(y @ self.right).permute(1, 0, 2).flatten(1))
        return z


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "transformer encoder": lambda: Encoder(0.0),
    "transformer encoder with dropout": lambda: Encoder(0.1),
    "attention": Attention,
    "heads merged with the batch": Heads,
    "heads merged with the batch, dropout": lambda: Heads(0.2),
    "time merged with the batch": Distributed,
    "convolution of each step": Windows,
    "LSTM": Recurrent,
    "GRU over words of sentences": lambda: Sequences(nn.GRU, first=True),
    "LSTM over words of sentences": lambda: Sequences(nn.LSTM, first=True),
    "GRU over skipped steps": lambda: Sequences(nn.GRU, first=False),
    "RNN over skipped steps": lambda: Sequences(nn.RNN, first=False),
    "cells merged with the batch": Cells,
    "learned queries, heads joined": lambda: LearnedQueries(joined=True),
    "learned queries, heads viewed": lambda: LearnedQueries(joined=False),
    "heads joined along the batch": Inducing,
    "axes by number": Mixer,
    "masks, dropout": Masks,
    "noise on activations": Noisy,
    "products": Channels,
}


def built(name: str) -> nn.Module:
    torch.manual_seed(5)
    net = NETWORKS[name]()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
    return net.eval()


def is_random(name: str) -> bool:
    return "dropout" in name
