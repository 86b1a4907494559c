"""Transformers and other networks of attention, of series, images and text."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout
from tools.zoo.data_sets import (
    CHARACTERS,
    HORIZON,
    UNKNOWN,
    digits,
    languages,
    sunspots,
    vowels_by_step,
)
from tools.zoo.losses import CLASSES, SQUARES
from tools.zoo.network import Network

WIDTH, HEADS = 24, 3
LANGUAGES, SPEAKERS, FEATURES, STEPS = 8, 9, 12, 29


class Attention(nn.Module):
    """Heads side by side: softmax(q k^T / sqrt(d)) v, with dropout of the weights."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.drop = MCDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        q, k, v = (
            part.view(rows, steps, self.heads, self.size).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        weights = (q @ k.transpose(-2, -1) / math.sqrt(self.size)).softmax(dim=-1)
        y: Tensor = self.out((self.drop(weights) @ v).transpose(1, 2).reshape(rows, steps, width))
        return y


class Block(nn.Module):
    """Attention and two layers, each behind layer norm and beside a shortcut."""

    def __init__(self, width: int = WIDTH, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), MCDropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.layers(self.norm2(x))
        return y


def places(steps: int, width: int) -> Tensor:
    """Sines and cosines of the steps [steps, width] (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class SeriesTransformer(nn.Module):
    """PyTorch's encoder layer over a series; the mean over the steps is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True
        )
        self.drop, self.last = MCDropout(0.2), nn.Linear(WIDTH, SPEAKERS)
        self.register_buffer("places", places(STEPS, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(self.first(x) + self.places)
        y: Tensor = self.last(self.drop(hidden.mean(dim=1)))
        return y


class ViT(nn.Module):
    """Patches of an image as tokens, beside a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(0.1 * torch.randn(1, 17, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.last = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.places
        y: Tensor = self.last(self.norm(self.blocks(tokens))[:, 0])
        return y


class BERT(nn.Module):
    """Characters and their places are embedded; layer norm follows each sum."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(UNKNOWN + 1, WIDTH), nn.Embedding(CHARACTERS, WIDTH)
        self.norm, self.drop = nn.LayerNorm(WIDTH), MCDropout(0.1)
        self.attention, self.norm1 = Attention(), nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH), MCDropout(0.1)
        )
        self.norm2, self.last = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, LANGUAGES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.words(x) + self.places(torch.arange(CHARACTERS))
        hidden = self.drop(self.norm(hidden))
        hidden = self.norm1(hidden + self.attention(hidden))
        hidden = self.norm2(hidden + self.layers(hidden))
        y: Tensor = self.last(hidden.mean(dim=1))
        return y


class ConvTransformer(nn.Module):
    """Convolutions make the tokens, and attention pools them (CCT's sequence pooling)."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, WIDTH, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.block, self.weigh = Block(), nn.Linear(WIDTH, 1)
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.block(self.convs(x).flatten(2).transpose(1, 2))
        weights = F.softmax(self.weigh(tokens).transpose(1, 2), dim=-1)
        y: Tensor = self.last(torch.matmul(weights, tokens).squeeze(1))
        return y


class PatchTST(nn.Module):
    """Overlapping patches of a series as tokens; foretells a year."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(7, WIDTH))
        self.block, self.last = Block(), nn.Linear(7 * WIDTH, HORIZON)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.first(x.unfold(-1, 12, 6)) + self.places
        y: Tensor = self.last(self.block(tokens).flatten(1))
        return y


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, layer norm over channels, two layers, a scale a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale, self.drop = nn.Parameter(torch.full((width,), 0.1)), MCDropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        made = self.scale * self.narrow(self.drop(F.gelu(self.wide(made))))
        return x + made.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Patches by a strided convolution, two blocks, layer norm of the means."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(1, WIDTH, 4, stride=4), ConvNeXtBlock(WIDTH), ConvNeXtBlock(WIDTH)
        )
        self.norm, self.last = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(self.blocks(x).mean([-2, -1])))
        return y


class Mixer(nn.Module):
    """Layers over places, then over channels, each behind layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 4, stride=4)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.places = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))
        self.drop, self.last = MCDropout(0.1), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        mixed = self.places(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        tokens = tokens + self.drop(mixed)
        tokens = tokens + self.drop(self.channels(self.norm2(tokens)))
        y: Tensor = self.last(self.norm3(tokens).mean(dim=1))
        return y


class TextCNN(nn.Module):
    """Windows of two, three and four characters, and the largest answer of each filter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(UNKNOWN + 1, 12)
        self.convs = nn.ModuleList(nn.Conv1d(12, 24, size) for size in (2, 3, 4))
        self.drop, self.last = MCDropout(0.3), nn.Linear(72, LANGUAGES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embed(x).transpose(1, 2)
        found = [F.relu(conv(hidden)).max(dim=2).values for conv in self.convs]
        y: Tensor = self.last(self.drop(torch.cat(found, dim=1)))
        return y


class FastText(nn.Module):
    """The mean of what is embedded, and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(UNKNOWN + 1, 32, mode="mean")
        self.drop, self.last = MCDropout(0.1), nn.Linear(32, LANGUAGES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.drop(self.embed(x)))
        return y


NETWORKS = (
    Network(
        "Transformer of a series", "vaswani2017", SeriesTransformer, vowels_by_step, CLASSES, 40
    ),
    Network("ViT", "dosovitskiy2021", ViT, digits, CLASSES, 20),
    Network("BERT", "devlin2019", BERT, languages, CLASSES, 15),
    Network(
        "Compact convolutional transformer", "hassani2021", ConvTransformer, digits, CLASSES, 12
    ),
    Network("PatchTST", "nie2023", PatchTST, sunspots, SQUARES, 10),
    Network("ConvNeXt", "liu2022", ConvNeXt, digits, CLASSES, 12),
    Network("MLP-Mixer", "tolstikhin2021", Mixer, digits, CLASSES, 15),
    Network("Text CNN", "kim2014", TextCNN, languages, CLASSES, 10),
    Network("fastText", "joulin2017", FastText, languages, CLASSES, 20, 1e-2),
)
