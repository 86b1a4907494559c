"""One layer of attention, whose scores are written as people write them; rows are [T, D]."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

T, D, HEADS = 6, 8, 2
_CAUSAL = torch.ones(T, T).tril().bool()


class Attention(nn.Module):
    """Queries, keys and values of all heads, what is tried of them, and a layer."""

    def __init__(self, tried: Callable[[Tensor, Tensor, Tensor], Tensor], p: float = 0.0) -> None:
        super().__init__()
        self.qkv, self.out, self.tried = nn.Linear(D, 3 * D), nn.Linear(D, D), tried
        self.drop = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = self.tried(q, k, v).transpose(1, 2).reshape(b, t, D)
        out: Tensor = self.out(self.drop(y))
        return out


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1) @ v


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return F.softmax(scores.masked_fill(~_CAUSAL, float("-inf")), dim=-1) @ v


def added_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = torch.triu(torch.full((T, T), float("-inf")), diagonal=1)
    return torch.softmax(torch.matmul(q, k.transpose(2, 3)) / 2 + mask, dim=3).matmul(v)


def relative_bias(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    bias = torch.linspace(-1, 1, HEADS * T * T).reshape(HEADS, T, T)
    return ((q * 0.5) @ k.mT + bias).softmax(-1) @ v


def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k).mul(0.5).softmax(-1)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v)


def ops(**options: object) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def tried(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attend: Callable[..., Tensor] = F.scaled_dot_product_attention
        return attend(q, k, v, **options)

    return tried


def grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)


def shared_keys(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Multi-query attention: one key and value for all heads."""
    return (q @ k[:, :1].mT * 0.5).softmax(-1) @ v[:, :1]


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k = F.elu(q) + 1, F.elu(k) + 1
    above = q @ (k.mT @ v)
    return above / (q @ k.sum(2, keepdim=True).mT)


def squares(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).relu().square() @ v / T


SCORES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "plain": plain,
    "causal": causal,
    "added mask": added_mask,
    "relative bias": relative_bias,
    "einsum": einsum,
    "op": ops(),
    "op causal": ops(is_causal=True),
    "op scaled": ops(scale=0.3),
    "op boolean mask": ops(attn_mask=_CAUSAL),
    "op float mask": ops(attn_mask=torch.linspace(-2, 2, T * T).reshape(T, T)),
    "op grouped": grouped,
    "shared keys": shared_keys,
    "linear": linear_attention,
    "squared relu": squares,
}
