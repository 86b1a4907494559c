"""Networks that treat several sequences of each row side by side, and queries that rows share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS, WIDTH, HEADS, CLASSES = 4, 6, 2, 3


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
