"""Networks that work on [T, B, D] inside, or merge the batch with other axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, WIDTH, HEADS, CLASSES = 4, 6, 2, 3


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


class Sequences(nn.Module):
    """Several sequences of a row in a recurrent layer: words of sentences, skipped steps."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM | nn.RNN], *, first: bool) -> None:
        super().__init__()
        self.first, out = first, 2 * 3
        self.words = kind(WIDTH, 3, batch_first=first, bidirectional=True)
        self.head = nn.Linear(2 * 2 * out, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        if self.first:
            y, last = self.words(x.view(rows * 2, steps // 2, width))
            ends = y.mean(1).view(rows, -1)
        else:
            turned = x.view(rows, steps // 2, 2, width).permute(1, 0, 2, 3)
            y, last = self.words(turned.reshape(steps // 2, rows * 2, width))
            ends = y.amax(0).view(rows, -1)
        states = last[0] if isinstance(last, tuple) else last
        both = states.permute(1, 0, 2).reshape(rows, -1)
        z: Tensor = self.head(torch.cat([ends, both], 1))
        return z


class Cells(nn.Module):
    """A cell over the steps of each part of a row, [B * parts, F], from zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(WIDTH, 3), nn.GRUCell(3, 3)
        self.head = nn.Linear(2 * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        y = x.reshape(rows * 2, steps // 2, width)
        h = c = torch.zeros(len(y), 3)
        state = torch.zeros(len(y), 3)
        for step in range(steps // 2):
            h, c = self.lstm(y[:, step], (h, c))
            state = self.gru(h, state)
        z: Tensor = self.head(state.view(rows, -1))
        return z


class LearnedQueries(nn.Module):
    """Queries that all rows share, and heads joined with the batch: sets, latents."""

    def __init__(self, *, joined: bool) -> None:
        super().__init__()
        self.joined, self.queries = joined, nn.Parameter(torch.randn(1, 3, WIDTH))
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(3 * WIDTH, CLASSES)

    def heads(self, x: Tensor) -> Tensor:
        rows, count, width = x.shape
        if self.joined:
            return torch.cat(x.split(width // HEADS, 2), 0)
        apart = x.reshape(rows, count, HEADS, -1).permute(0, 2, 1, 3)
        return apart.reshape(rows * HEADS, count, -1)

    def together(self, y: Tensor, rows: int) -> Tensor:
        if self.joined:
            return torch.cat(y.split(rows, 0), 2)
        return y.reshape(rows, HEADS, 3, -1).permute(0, 2, 1, 3).reshape(rows, 3, -1)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.q(self.queries.repeat(len(x) if self.joined else x.shape[0], 1, 1))
        q, k, v = (self.heads(each) for each in (queries, self.k(x), self.v(x)))
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=2)
        y = self.together(q + torch.bmm(weights, v), len(x))
        z: Tensor = self.head(y.flatten(1))
        return z


class Inducing(nn.Module):
    """Set Transformer (Lee et al. 2019): heads of learned queries are joined along the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(1, 3, WIDTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, CLASSES)

    def attend(self, queries: Tensor, x: Tensor) -> Tensor:
        parts = [f(y) for f, y in zip(self.layers, (queries, x, x), strict=False)]
        q, k, v = (torch.cat(part.split(WIDTH // HEADS, 2), 0) for part in parts)
        weights = torch.softmax(q.bmm(k.transpose(1, 2)) / WIDTH**0.5, 2)
        y = torch.cat((q + weights.bmm(v)).split(queries.size(0), 0), 2)
        return y + torch.relu(self.layers[3](y))

    def forward(self, x: Tensor) -> Tensor:
        few = self.attend(self.points.repeat(x.size(0), 1, 1), x)
        y: Tensor = self.head(self.attend(x, few).mean(1))
        return y


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
