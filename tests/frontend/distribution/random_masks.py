"""Random spellings of masks: how they are drawn, moved, inverted, joined and applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli

Memory = dict[str, Tensor]  # masks and weights that a later step takes again
Step = Callable[[Tensor, Memory], Tensor]
Function = Callable[[Tensor], Tensor]
Draw = Callable[[tuple[int, ...], Tensor], Tensor]  # a mask of 0.0 and 1.0 of this shape
Shape = Callable[[int], tuple[int, ...]]

BENDS: dict[str, Function] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "leaky_relu": lambda h: F.leaky_relu(h, 0.1),
    "elu": F.elu,
    "hardtanh": F.hardtanh,
    "softplus": F.softplus,
}


@dataclass(frozen=True, slots=True)
class Spelled:
    """A function of the activations that it masks, and how it is written."""

    name: str
    apply: Function


def _draws(q: float) -> dict[str, Draw]:
    """Spellings of a mask that is 1 with probability q."""
    p = 1 - q
    return {
        "bernoulli(full)": lambda s, h: torch.bernoulli(torch.full(s, q)),
        "bernoulli(x, p)": lambda s, h: torch.bernoulli(torch.zeros(s), p=q),
        "bernoulli_": lambda s, h: torch.empty(s).bernoulli_(q),
        "Bernoulli": lambda s, h: Bernoulli(torch.tensor(q)).sample(s),
        "rand > p": lambda s, h: (torch.rand(s) > p).float(),
        "rand >= p": lambda s, h: (torch.rand(s) >= p).to(h.dtype),
        "rand < q": lambda s, h: (torch.rand(s) < q).type_as(h),
        "uniform_": lambda s, h: torch.empty(s).uniform_().le(q).float(),
        "p < rand": lambda s, h: (p < torch.rand(s, dtype=h.dtype)).float(),
        "floor": lambda s, h: torch.floor(torch.rand(s) + q),
        "1 - rand": lambda s, h: (1 - torch.rand(s) < q).float(),
        "where(1, 0)": lambda s, h: torch.where(torch.rand(s) < q, 1.0, 0.0),
        "dropout of ones": lambda s, h: F.dropout(torch.ones(s), p, training=True) * q,
        "1 - bernoulli": lambda s, h: 1 - torch.bernoulli(torch.full(s, p)),
        "not": lambda s, h: (~(torch.rand(s) < p)).float(),
        "== 0": lambda s, h: (torch.bernoulli(torch.full(s, p)) == 0).float(),
        "m > 0.5": lambda s, h: (torch.bernoulli(torch.full(s, q)) > 0.5).float(),
    }


def _layouts(row: tuple[int, ...]) -> dict[str, tuple[Shape, Callable[[Tensor, Tensor], Tensor]]]:
    """In which shape a mask of [B, *row] is drawn, and how it gets to where it broadcasts."""
    c, ones, size = row[0], (1,) * len(row), prod(row)
    last = (1,) * (len(row) - 1)
    found: dict[str, tuple[Shape, Callable[[Tensor, Tensor], Tensor]]] = {
        "[B, *S]": (lambda b: (b, *row), lambda m, h: m),
        "[B, 1]": (lambda b: (b, *ones), lambda m, h: m),
        "[*S]": (lambda b: row, lambda m, h: m),
        "[1, *S]": (lambda b: (1, *row), lambda m, h: m),
        "flat, view_as": (lambda b: (b, size), lambda m, h: m.view_as(h)),
        "flat, reshape": (lambda b: (b * size,), lambda m, h: m.reshape(h.shape)),
        "[B, 1] expand_as": (lambda b: (b, *ones), lambda m, h: m.expand_as(h)),
        "[B, 1] expand reshape": (
            lambda b: (b, 1),
            lambda m, h: m.expand(-1, size).reshape(h.shape),
        ),
        "[*S] unsqueeze expand": (lambda b: row, lambda m, h: m.unsqueeze(0).expand_as(h)),
        "[1, *S] repeat": (lambda b: (1, *row), lambda m, h: m.repeat(len(h), *ones)),
        "[B, 2C] slice": (lambda b: (b, 2 * c, *row[1:]), lambda m, h: m[:, c:]),
        "[B, 2C] every other": (lambda b: (b, 2 * c, *row[1:]), lambda m, h: m[:, ::2]),
        "[B, 2C] chunk": (lambda b: (b, 2 * c, *row[1:]), lambda m, h: m.chunk(2, 1)[0]),
        "[2, B, *S] select": (lambda b: (2, b, *row), lambda m, h: m[1]),
        "[2B, *S] chunk": (lambda b: (2 * b, *row), lambda m, h: m.chunk(2)[1]),
        "transposed": (
            lambda b: (*reversed(row), b),
            lambda m, h: m.permute(*reversed(range(m.ndim))),
        ),
        "flipped": (lambda b: (b, *row), lambda m, h: m.flip(1)),
        "rolled": (lambda b: (b, *row), lambda m, h: m.roll(1, 1)),
        "groups": (
            lambda b: (b, 2, 1, *last),
            lambda m, h: m.expand(-1, -1, c // 2, *last).reshape(-1, c, *last),
        ),
    }
    if len(row) > 1:
        found |= {
            "[B, C, 1]": (lambda b: (b, c, *last), lambda m, h: m),
            "[B, C] view": (lambda b: (b, c), lambda m, h: m.view(-1, c, *last)),
            "[C] view": (lambda b: (c,), lambda m, h: m.view(1, c, *last)),
            "[B, 1, *P]": (lambda b: (b, 1, *row[1:]), lambda m, h: m),
            "[B, C] unsqueeze": (
                lambda b: (b, c),
                lambda m, h: m.unsqueeze(-1) if len(row) == 2 else m[:, :, None, None],
            ),
        }
    return found


def drawn_mask(rng: Random, row: tuple[int, ...], q: float) -> Spelled:
    """A mask of 0.0 and 1.0 that broadcasts against [B, *row]."""
    how, draw = rng.choice(list(_draws(q).items()))
    where, (shape, view) = rng.choice(list(_layouts(row).items()))
    if rng.random() < 0.5:  # len() is a number in torch.export, and fixes the size of the batch
        return Spelled(f"{how} {where}", lambda h: view(draw(shape(h.shape[0]), h), h))
    return Spelled(f"{how} {where}, len", lambda h: view(draw(shape(len(h)), h), h))


def masking(rng: Random, row: tuple[int, ...]) -> tuple[str, Step]:
    """A step that masks activations [B, *row] in some spelling."""
    q = rng.choice([0.5, 0.7, 0.8, 0.9])
    mask, other = drawn_mask(rng, row, q), drawn_mask(rng, row, rng.choice([0.6, 0.8]))
    bend, g = rng.choice(list(BENDS.items()))
    uses = {**_alone(mask.apply, q), **_beside(mask.apply, g), **_joined(mask.apply, other.apply)}
    how = rng.choice(list(uses))
    names = dict.fromkeys(uses, f"{mask.name}") | dict.fromkeys(
        _joined(g, g), f"{mask.name} and {other.name}"
    )
    return f"{how} ({names[how]}; {bend})", _forgetting(uses[how])


def _forgetting(use: Function) -> Step:
    return lambda h, memory: use(h)


def _alone(m: Function, q: float) -> dict[str, Function]:
    return {
        "h * m": lambda h: h * m(h),
        "h * m / q": lambda h: h * m(h) / q,
        "(m / q) * h": lambda h: m(h).div(q) * h,
        "h * bool": lambda h: h * m(h).bool(),
        "-m * h": lambda h: -m(h) * h,
        "2 * m * h": lambda h: (2 * m(h)) * h,
        "h * m * m": lambda h: _twice(h, m(h)),
        "where(m, h, 0)": lambda h: torch.where(m(h).bool(), h, 0.0),
        "where(m == 0, 0, h)": lambda h: torch.where(m(h) == 0, torch.zeros_like(h), h),
        "masked_fill": lambda h: h.masked_fill(m(h) == 0, 0.0),
        "h * (1 - m)": lambda h: h * (1 - m(h)),
        "h * ~m": lambda h: h * ~m(h).bool(),
        "h.clone().mul_(m)": lambda h: h.clone().mul_(m(h)),
        "h * (0.5 + 0.5 m)": lambda h: h * (0.5 + 0.5 * m(h)),
        "h * (1 - 0.3 m)": lambda h: h * (1 - 0.3 * m(h)),
        "where(m, h, c)": lambda h: torch.where(m(h).bool(), h, 0.25),
        "h * m + c * (1 - m)": lambda h: _mixed(h, m(h), 0.25),
    }


def _twice(h: Tensor, m: Tensor) -> Tensor:
    return h * m * m


def _mixed(h: Tensor, m: Tensor, other: Tensor | float) -> Tensor:
    return h * m + other * (1 - m)


def _beside(m: Function, g: Function) -> dict[str, Function]:
    return {
        "h * m + g * (1 - m)": lambda h: _mixed(h, m(h), g(h)),
        "where(m, h, g)": lambda h: torch.where(m(h).bool(), h, g(h)),
        "h - m * g": lambda h: h - m(h) * g(h),
        "h + g * (m - 1)": lambda h: h + g(h) * (m(h) - 1),
        "h + m * g": lambda h: h + m(h) * g(h),
        "reused": lambda h: _reused(h, m(h), g),
        "nested": lambda h: _nested(h, torch.rand_like(h), g),
        "cat of both": lambda h: _both_halves(h, m(h), g),
    }


def _reused(h: Tensor, m: Tensor, g: Function) -> Tensor:
    return g(h * m) * m - 0.5 * h * m


def _nested(h: Tensor, u: Tensor, g: Function) -> Tensor:
    return h * (u < 0.3) + g(h) * (u < 0.6) - 0.5 * h * (u > 0.9)


def _both_halves(h: Tensor, m: Tensor, g: Function) -> Tensor:
    whole = torch.cat([h * m, g(h) * (1 - m)], 1)
    return whole.reshape(len(whole), 2, *h.shape[1:]).mean(1)


def _joined(m: Function, n: Function) -> dict[str, Function]:
    return {
        "h * (m * n)": lambda h: h * (m(h) * n(h)),
        "h * m * n": lambda h: h * m(h) * n(h),
        "h * (m & n)": lambda h: h * (m(h).bool() & n(h).bool()),
        "h * (m | n)": lambda h: h * (m(h).bool() | n(h).bool()),
        "h * (1 - m * n)": lambda h: h * (1 - m(h) * n(h)),
        "h * (m ^ n)": lambda h: h * (m(h).bool() ^ n(h).bool()),
        "h * m - tanh(h) * n": lambda h: h * m(h) - torch.tanh(h) * n(h),
        "h * m * (1 - n)": lambda h: h * m(h) * (1 - n(h)),
    }
