"""Networks with attention, each written as people write it; rows are [T, D] = [6, 8]."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.frontend.attention_scores import HEADS, SCORES, Attention, D, T, ops, plain


class HandWritten(nn.Module):
    """Separate projections, heads by view, a bmm of heads and rows together is not tried."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            f(x).view(x.size(0), -1, HEADS, D // HEADS).transpose(1, 2)
            for f in (self.q, self.k, self.v)
        )
        weights = self.drop(F.softmax(q @ k.transpose(-2, -1) / math.sqrt(D // HEADS), dim=-1))
        y = (weights @ v).transpose(1, 2).contiguous().view(x.size(0), -1, D)
        out: Tensor = self.o(y)
        return out


class MultiHead(nn.Module):
    """nn.MultiheadAttention, of a tensor with itself or with another."""

    def __init__(self, *, weights: bool, cross: bool, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(D, HEADS, batch_first=True, **options)
        self.other, self.weights = nn.Linear(D, D) if cross else None, weights

    def forward(self, x: Tensor) -> Tensor:
        memory = x if self.other is None else self.other(x[:, :4])
        y, w = self.attention(x, memory, memory, need_weights=self.weights)
        return y if w is None else torch.cat([y, w], -1)


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, one block; rows are [T, D] as an image."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.patches = nn.Conv1d(1, D, D, stride=D)
        self.token = nn.Parameter(torch.randn(1, 1, D))
        self.positions = nn.Parameter(torch.randn(1, T + 1, D))
        self.drop, self.block = nn.Dropout(p), block(norm_first=True, p=p)
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x.flatten(1).unsqueeze(1)).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], dim=1)
        x = self.block(self.drop(x + self.positions))
        out: Tensor = self.head(self.norm(x[:, 0]))
        return out


class Decoder(nn.Module):
    """nn.TransformerDecoder over its own input, and a memory."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(D, HEADS, 16, dropout=0.0, batch_first=True)
        self.memory, self.decoder = nn.Linear(D, D), nn.TransformerDecoder(layer, 1)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(T)
        y: Tensor = self.decoder(x, self.memory(x[:, :3]), tgt_mask=mask)
        return y


class Encoder(nn.Module):
    """nn.TransformerEncoder with positions of sines."""

    positions: Tensor

    def __init__(
        self,
        *,
        layers: int = 2,
        mask: bool = False,
        norm_first: bool = False,
        activation: str = "relu",
        p: float = 0.0,
    ) -> None:
        super().__init__()
        layer = block(norm_first=norm_first, activation=activation, p=p)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        angles = torch.arange(T)[:, None] / 10 ** (torch.arange(D) / D)
        self.register_buffer("positions", angles.sin())
        self.mask = nn.Transformer.generate_square_subsequent_mask(T) if mask else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.encoder(x + self.positions, mask=self.mask)
        return y.mean(1)


def block(
    *, norm_first: bool = False, activation: str = "relu", p: float = 0.0
) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        D, HEADS, 16, dropout=p, activation=activation, batch_first=True, norm_first=norm_first
    )


class Pooled(nn.Module):
    """Attention pooling: a softmax over time, and the weighted sum."""

    def __init__(self, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.score, self.head, self.how = nn.Linear(D, 1), nn.Linear(D, 3), how

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.how(self.score(torch.tanh(x)).softmax(1), x))
        return out


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda w, x: (w * x).sum(1),
    "bmm": lambda w, x: torch.bmm(w.transpose(1, 2), x).squeeze(1),
    "einsum": lambda w, x: torch.einsum("bti,btd->bd", w, x),
    "matmul": lambda w, x: torch.matmul(x.mT, w).flatten(1),
}


class Additive(nn.Module):
    """Additive attention (Bahdanau et al. 2014) of a last state over all others."""

    def __init__(self) -> None:
        super().__init__()
        self.of_query, self.of_key, self.score = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 1)
        self.head = nn.Linear(2 * D, 3)

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1]
        energies = self.score(torch.tanh(self.of_query(last).unsqueeze(1) + self.of_key(x)))
        weights = torch.softmax(energies.squeeze(-1), dim=1)
        context = torch.bmm(weights.unsqueeze(1), x).squeeze(1)
        out: Tensor = self.head(torch.cat([context, last], 1))
        return out


class NonLocal(nn.Module):
    """A non-local block (Wang et al. 2018) of an image [4, 3, 4] behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.theta, self.phi, self.g = (nn.Conv2d(4, 2, 1) for _ in range(3))
        self.back, self.head = nn.Conv2d(2, 4, 1), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.reshape(-1, 4, 3, 4)).relu()
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))
        weights = torch.bmm(theta.transpose(1, 2), phi).softmax(-1)
        y = torch.bmm(g, weights.transpose(1, 2)).reshape(-1, 2, 3, 4)
        out: Tensor = self.head((x + self.back(y)).flatten(1))
        return out


class Windows(nn.Module):
    """Attention in windows (Liu et al. 2021) of an image [4, 4, 3]: 2 x 2 windows."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(3, 9), nn.Linear(48, 3)
        self.bias = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = x.reshape(b, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(b, 4, 4, 3)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        y = (q @ k.transpose(-2, -1) + self.bias).softmax(-1) @ v
        y = y.reshape(b, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5)
        out: Tensor = self.head(y.flatten(1))
        return out


class Convolutional(nn.Module):
    """Convolutions, then attention over their positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.block = nn.Conv1d(D, D, 3, padding=1), block(norm_first=True)
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.conv(x.mT).relu().transpose(1, 2))
        out: Tensor = self.head(x.amax(1))
        return out


class Squares(nn.Module):
    """Products without a softmax, and baddbmm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(T * T, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        y = torch.baddbmm(a @ b.mT, b, a.transpose(1, 2), beta=0.5, alpha=0.25)
        out: Tensor = self.head(y.relu().flatten(1))
        return out


class Outer(nn.Module):
    """Outer products and bilinear forms (Tucker, factorisation machines)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(D, 3), nn.Linear(D, 4), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.einsum("bti,btj->bij", self.a(x), self.b(x)).flatten(1))
        return out


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"scores: {name}": partial(Attention, tried) for name, tried in SCORES.items()},
    **{f"pooled: {name}": partial(Pooled, how) for name, how in POOLS.items()},
    "dropout of outputs": lambda: Attention(plain, p=0.2),
    "dropout in the op": lambda: Attention(ops(dropout_p=0.2)),
    "hand-written": HandWritten,
    "self": lambda: MultiHead(weights=False, cross=False),
    "self, weights": lambda: MultiHead(weights=True, cross=False),
    "cross": lambda: MultiHead(weights=False, cross=True, dropout=0.2),
    "cross, weights": lambda: MultiHead(weights=True, cross=True, dropout=0.2),
    "bias_kv": lambda: MultiHead(weights=False, cross=True, add_bias_kv=True, add_zero_attn=True),
    "kdim": lambda: MultiHead(weights=False, cross=True, kdim=D, vdim=D, bias=False),
    "encoder": Encoder,
    "encoder, gelu": lambda: Encoder(norm_first=True, activation="gelu", p=0.1),
    "encoder, causal": lambda: Encoder(layers=1, mask=True),
    "decoder": Decoder,
    "vision": VisionTransformer,
    "additive": Additive,
    "non-local": NonLocal,
    "windows": Windows,
    "convolutional": Convolutional,
    "squares": Squares,
    "outer": Outer,
}
ROWS = {"non-local": (4, 3, 4), "windows": (4, 4, 3)}


STOCHASTIC: dict[str, list[tuple[int, ...]]] = {
    "dropout of outputs": [(T, D)],
    "dropout in the op": [(HEADS, T, T)],
    "hand-written": [(HEADS, T, T)],
    "cross": [(HEADS, T, 4)],
    "cross, weights": [(HEADS, T, 4)],
    "encoder, gelu": 2 * [(HEADS, T, T), (T, D), (T, 16), (T, D)],
    "vision": [(T + 1, D), (HEADS, T + 1, T + 1), (T + 1, D), (T + 1, 16), (T + 1, D)],
}
"""The masks of the networks that have dropout, in the order in which they are drawn."""


def made(name: str, p: float | None = None) -> tuple[nn.Module, tuple[int, ...]]:
    """A network with random weights, and the shape of its rows; `p` replaces all probabilities."""
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    if p is not None and name == "dropout in the op":
        net = Attention(ops()).eval().requires_grad_(False)
        net.load_state_dict(made(name)[0].state_dict())
    return net, ROWS.get(name, (T, D))
