"""Random small networks of ordinary layers, with noise in random spellings."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.frontend.distribution.random_masks import BENDS, Memory, Step, drawn_mask, masking
from tests.frontend.distribution.random_weights import sampled_layer
from tests.frontend.nets import randomise_batch_norm

Row = tuple[int, ...]
WIDTH = 6
_KEPT = "mask"  # in the memory


class RandomNet(nn.Module):
    """Steps one after the other; `story` says how each is written."""

    def __init__(self, row: Row, steps: list[tuple[str, Step]], layers: list[nn.Module]) -> None:
        super().__init__()
        self.row = row
        self.steps = tuple(step for _, step in steps)
        self.story = tuple(name for name, _ in steps)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        memory: Memory = {}
        for step in self.steps:
            x = step(x, memory)
        return x

    def __str__(self) -> str:
        return f"{list(self.row)}: {' | '.join(self.story)}"


def random_net(rng: Random) -> RandomNet:
    """A network with at least one step of noise, in training mode but for its BatchNorms."""
    torch.manual_seed(rng.randrange(2**31))
    writer = _Writer(rng, rng.choice([(5,), (8,), (3, 8), (2, 6, 6), (3, 8, 8)]))
    blocks = rng.randint(2, 3)
    noisy = rng.randrange(blocks)
    for number in range(blocks):
        writer.block(noise=number == noisy or rng.random() < 0.5)
    writer.head()
    net = RandomNet(writer.start, writer.steps, writer.layers)
    randomise_batch_norm(net)
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.copy_(module.weight.abs().clamp(0.5) * rng.choice([1, 1, -1]))
            module.eval()
    return net


class _Writer:
    """Steps, and the shape of a row behind them."""

    def __init__(self, rng: Random, row: Row) -> None:
        self.rng, self.row, self.start = rng, row, row
        self.steps: list[tuple[str, Step]] = []
        self.layers: list[nn.Module] = []
        self._kept: Row | None = None

    def block(self, *, noise: bool) -> None:
        self._layer(sampled=noise and self.rng.random() < 0.35)
        order: list[Callable[[], None]] = [self._bend]
        if self.rng.random() < 0.4:
            order.insert(self.rng.randrange(2), self._norm)
        if noise:
            order.insert(self.rng.randrange(len(order) + 1), self._noise)
        if self.rng.random() < 0.5:
            order.append(self._ordinary)
        for write in order:
            write()
        if len(self.row) > 1 and self.row[-1] > 3 and self.rng.random() < 0.4:
            self._pool()

    def head(self) -> None:
        if len(self.row) > 1:
            mean = self.rng.random() < 0.5
            self._write("mean", lambda h: h.flatten(2).mean(2)) if mean else self._write(
                "flatten", lambda h: h.flatten(1)
            )
            self.row = self.row[:1] if mean else (torch.Size(self.row).numel(),)
        outputs = self.rng.choice([2, 3])
        if self.rng.random() < 0.3:
            heads = [self._held(nn.Linear(self.row[0], outputs)) for _ in range(3)]
            self._write("mean of heads", lambda h: torch.stack([f(h) for f in heads]).mean(0))
        else:
            self._module(nn.Linear(self.row[0], outputs))
        self.row = (outputs,)

    def _write(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        self.steps.append((name, lambda h, memory: function(h)))

    def _held(self, module: nn.Module) -> nn.Module:
        self.layers.append(module)
        return module

    def _module(self, module: nn.Module) -> None:
        self._write(type(module).__name__, self._held(module))

    def _layer(self, *, sampled: bool) -> None:
        channels, width = self.row[0], self.rng.choice([WIDTH, WIDTH, 8])
        kernel = (3,) * (len(self.row) - 1)
        if sampled:
            name, holder, step = sampled_layer(self.rng, (width, channels, *kernel))
            self.layers.append(holder)
            self.steps.append((name, step))
            width = channels if name.endswith("tied") else width
        else:
            match len(kernel):
                case 0:
                    self._module(nn.Linear(channels, width))
                case 1:
                    self._module(nn.Conv1d(channels, width, 3, padding=1))
                case _:
                    self._module(nn.Conv2d(channels, width, 3, padding=1))
        self.row = (width, *self.row[1:])

    def _norm(self) -> None:
        kind = nn.BatchNorm2d if len(self.row) == 3 else nn.BatchNorm1d
        self._module(kind(self.row[0]))

    def _bend(self) -> None:
        name, bend = self.rng.choice(list(BENDS.items()))
        self._write(name, bend)

    def _pool(self) -> None:
        image = len(self.row) == 3
        kinds = (nn.MaxPool2d, nn.AvgPool2d) if image else (nn.MaxPool1d, nn.AvgPool1d)
        self._module(self.rng.choice(kinds)(2))
        self.row = (self.row[0], *(n // 2 for n in self.row[1:]))

    def _ordinary(self) -> None:
        """The things that networks have between their layers."""
        layer: nn.Module = nn.Identity()
        scale = 0.1 * torch.randn(self.row[0], *[1] * (len(self.row) - 1))
        if len(self.row) == 1:
            layer = self._held(nn.Linear(self.row[0], self.row[0]))
        half = self.row[0] // 2
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "residual": lambda h: h + torch.relu(layer(h)),
            "layer scale": lambda h: h + scale * torch.tanh(layer(h)),
            "difference": lambda h: h - 0.5 * torch.sigmoid(layer(h)),
            "scale and shift": lambda h: h * 1.5 - 0.2,
            "negation": lambda h: -h,
            "halves": lambda h: torch.cat([h[:, half:], torch.relu(h[:, :half])], 1),
        }
        name = self.rng.choice(list(functions))
        self._write(name, functions[name])

    def _noise(self) -> None:
        kind = self.rng.random()
        if kind < 0.2:
            self._dropout()
        elif kind < 0.35:
            self._kept_mask()
        else:
            self.steps.append(masking(self.rng, self.row))

    def _dropout(self) -> None:
        p, row = self.rng.choice([0.1, 0.25, 0.5]), self.row
        features = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)[len(row) - 1]
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "F.dropout": lambda h: F.dropout(h, p, training=True),
            "F.dropout flat": lambda h: F.dropout(h.flatten(1), p, True).view_as(h),
            "- dropout": lambda h: h - 0.5 * F.dropout(torch.relu(h), p, True),
            "two dropouts": lambda h: F.dropout(F.dropout(h, p), 0.1),
            "nn.Dropout": self._held(nn.Dropout(p)),
            features.__name__: self._held(features(p)),
        }
        if len(row) > 1:
            functions["F.dropout2d"] = lambda h: F.dropout2d(
                h if len(row) == 3 else h.unsqueeze(-1), p, True
            ).view_as(h)
        name = self.rng.choice(list(functions))
        self._write(name, functions[name])

    def _kept_mask(self) -> None:
        """One mask, here and, where a later step fits, there as it is or inverted."""
        if self._kept == self.row:
            if self.rng.random() < 0.5:
                self.steps.append(("mask of before", lambda h, memory: h * memory[_KEPT]))
            else:
                self.steps.append(("its complement", lambda h, memory: h * (1 - memory[_KEPT])))
            return
        mask = drawn_mask(self.rng, self.row, 0.7)
        self._kept = self.row

        def keep(h: Tensor, memory: Memory) -> Tensor:
            memory[_KEPT] = mask.apply(h)
            return h * memory[_KEPT] / 0.7

        self.steps.append((f"kept mask ({mask.name})", keep))
