"""Moves, broadcasting, reductions, contractions and pooling: each against the user's module."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError
from tests.frontend.nets import Spelled
from tests.frontend.outputs import assert_same, images

Layer: TypeAlias = "nn.Module | Callable[[Tensor], Tensor]"
W = torch.linspace(-1, 1, 12).reshape(4, 3)


def made(*shape: int) -> Tensor:
    """A constant that forward makes: the same at every call."""
    return torch.arange(math.prod(shape)).mul(0.7).sin().reshape(shape)


# Of images [B, 4, 5, 3].
BROADCASTS: dict[str, Layer] = {
    "channel": lambda x: x + x.mean((2, 3), keepdim=True),
    "less a mean": lambda x: x - x.mean(1, keepdim=True),
    "row times column": lambda x: x[:, :, :1] * x[:, :, :, :1],
    "row plus column": lambda x: x[:, :, :1] + x[:, :, :, :1],
    "row less column": lambda x: torch.sub(x[:, :, :1], x[:, :1, :, :1], alpha=2),
    "features": lambda x: x.flatten(1) + x.flatten(1)[:, :1],
    "outer": lambda x: x[:, 0, :, :1] * x[:, 0, :1, :],
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x,
    "expand_as": lambda x: x[..., :1].expand_as(x) - x,
    "expand a new axis": lambda x: x.unsqueeze(2).expand(-1, -1, 2, -1, -1).flatten(1),
    "broadcast_to": lambda x: torch.broadcast_to(x[:, :1], x.shape),
    "rank 5": lambda x: (x[:, :, None] + x[:, None]).flatten(1),
}

MOVES: dict[str, Layer] = {
    "flip": lambda x: x.flip(1, 3),
    "roll": lambda x: x.roll((1, -2), (1, 2)),
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "rot90 twice": lambda x: torch.rot90(x, 2, (1, 3)),
    "index": lambda x: x[:, [2, 0, 0, 3]],
    "index of pairs": lambda x: x[:, [2, 0], [1, 4]],
    "index_select": lambda x: x.index_select(2, torch.tensor([4, 1, 1])),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: torch.tile(x, (2, 1, 2)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :4, :2], 2),
    "reflect": lambda x: F.pad(x, (2, 1, 1, 3), mode="reflect"),
    "replicate": lambda x: F.pad(x, (2, 1, 1, 3), mode="replicate"),
    "circular": lambda x: F.pad(x, (2, 1, 1, 3), mode="circular"),
    "circular sequence": lambda x: F.pad(x.flatten(2), (2, 1), mode="circular"),
    "circular layer": nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
    "pad channels": lambda x: F.pad(x, (0, 0, 1, 0, 2, 1)),
    "crop and pad": lambda x: F.pad(x, (-1, 0, 1, 0, 2, -1)),
    "nearest by a factor": lambda x: F.interpolate(x, scale_factor=1.5),
    "nearest to a size": lambda x: F.interpolate(x, size=(7, 2)),
    "nearest exact": lambda x: F.interpolate(x, size=(8, 5), mode="nearest-exact"),
    "nearest of a sequence": lambda x: F.interpolate(x.flatten(2), size=11),
    "unfold": lambda x: x.unfold(2, 3, 1).flatten(1),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    "triangle": lambda x: x.tril(-1),
    "movedim": lambda x: x.movedim(1, 3).movedim(2, 1),
    "mT": lambda x: x.mT.swapaxes(1, 2),
    "stack": lambda x: torch.stack([x, -x], 2).flatten(1),
    "chunk": lambda x: torch.cat(x.chunk(3, 2)[::-1], 2),
    "windows": lambda x: F.unfold(x, (2, 3), padding=1, stride=2),
    "hstack": lambda x: torch.hstack([x, x[:, :1]]),
    "dstack": lambda x: torch.dstack([x[:, 0, :, 0], x[:, 1, :, 0]]),
    "column_stack": lambda x: torch.column_stack([x[:, 0, 0, 0], x[:, 1, :, 0]]),
    "broadcast_tensors": lambda x: torch.cat(torch.broadcast_tensors(x[:, :1], x[:, :, :1]), 1),
    "stack in front": lambda x: torch.stack([x, -x])[1],
    "stack in front and back": lambda x: torch.stack([x, -x]).transpose(0, 1).flatten(1),
    "unbind the front": lambda x: torch.stack([x, -2 * x]).unbind()[1],
    "sequence first": lambda x: x.flatten(2).permute(2, 0, 1).permute(1, 2, 0),
    "take_along_dim": lambda x: torch.take_along_dim(x, torch.tensor([[[[3]], [[1]]]]), dim=1),
}

REDUCTIONS: dict[str, Layer] = {
    "sum of channels": lambda x: x.sum(1),
    "sum of all": lambda x: x.sum((1, 2, 3)).unsqueeze(1),
    "sum of rows": lambda x: x.sum(2, keepdim=True),
    "sum of outer axes": lambda x: x.sum((1, 3)),
    "mean of columns": lambda x: x.mean(-1),
    "mean of channels": lambda x: x.mean(1, keepdim=True),
    "mean of features": lambda x: x.flatten(1).mean(1, keepdim=True),
    "mean of outer axes": lambda x: x.mean((1, 3), keepdim=True),
    "mean over time": lambda x: x.flatten(2).mean(1),
    "mean of the middle of 5": lambda x: x.unsqueeze(1).mean((2, 3)),
    "var": lambda x: x.var((2, 3)),
    "var unbiased": lambda x: torch.var(x, 1, unbiased=False, keepdim=True),
    "var of correction": lambda x: torch.var(x, (1, 2), correction=2),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, 1), 1),
    "amax": lambda x: x.amax(1),
    "amax of rows": lambda x: x.amax((2,), keepdim=True),
    "amin": lambda x: x.amin((1, 3)),
    "max": lambda x: x.max(1)[0],
    "max values": lambda x: x.max(-1, keepdim=True).values,
    "min": lambda x: x.min(2)[0],
    "mean of the stacked": lambda x: torch.stack([x, x * x, -x]).mean(0),
    "mean of the stacked, kept": lambda x: torch.stack([x, x * x]).mean(0, True).squeeze(0),
    "var of the stacked": lambda x: torch.stack([x, x * x, -x]).var(0),
    "max of the stacked": lambda x: torch.stack([x, x * x]).max(dim=0).values,
    "sum over time first": lambda x: x.flatten(2).permute(2, 0, 1).sum(0),
    "norm 1": lambda x: torch.linalg.vector_norm(x, 1, dim=1),
    "norm 2": lambda x: torch.linalg.norm(x, dim=1) + x.norm(dim=1) + x.std(1),
    "norm of infinity": lambda x: torch.linalg.vector_norm(x, torch.inf, dim=(2, 3)),
}

PAIRS: dict[str, Layer] = {
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum": lambda x: torch.minimum(x, x.roll(1, 2)),
    "max of two": lambda x: torch.max(x.flatten(1), -x.flatten(1)),
    "min of a broadcast": lambda x: torch.min(x, x.mean((2, 3), keepdim=True)),
    "fmax": lambda x: torch.fmax(x[:, 0], x[:, 1]),
    "rank 4": lambda x: torch.maximum(x.unsqueeze(1), x.unsqueeze(2)).flatten(1),
}

CONTRACTIONS: dict[str, Layer] = {
    "linear": lambda x: F.linear(x, W.t()[:2, :3], torch.ones(2)),
    "linear of a sequence": lambda x: F.linear(x.flatten(2).mT, made(6, 4), made(6)),
    "matmul": lambda x: x @ made(3, 2),
    "matmul and bias": lambda x: x.flatten(2) @ made(15, 2) + made(2),
    "vector": lambda x: x @ made(3),
    "from the left": lambda x: made(2, 5) @ x,
    "one for each channel": lambda x: x @ made(4, 3, 2),
    "left for each channel": lambda x: made(4, 2, 5) @ x,
    "broadcast matrix": lambda x: x @ made(1, 1, 3, 2),
    "new axes": lambda x: torch.tensordot(x, made(3, 2, 2), dims=1),
    "dot": lambda x: torch.einsum("bchw,bchw->bhw", x, x.flip(1)),
    "product": lambda x: torch.einsum("abcd,ab->abcd", x, x.mean((2, 3))),
    "product of constants": lambda x: torch.einsum("abcd,bd->abcd", x, made(4, 3)),
    "product turned": lambda x: torch.einsum("abcd,cb->acdb", x, made(5, 4)),
    "einsum of features": lambda x: torch.einsum("btf,nf->btn", x.flatten(2), made(2, 15)),
    "channels": lambda x: torch.einsum("bchw,kc->bkhw", x, made(6, 4)),
    "channels last": lambda x: torch.einsum("bchw,kc->bhwk", x, made(6, 4)),
    "grouped": lambda x: torch.einsum("bchw,cwk->bchk", x, made(4, 3, 2)),
    "all axes": lambda x: torch.einsum("bchw,chwk->bk", x, made(4, 5, 3, 2)),
    "summed": lambda x: torch.einsum("bchw,wk->bhk", x, made(3, 2)),
    "outer with a constant": lambda x: torch.einsum("bf,n->bfn", x[:, 0, 0], made(2)).flatten(1),
    "ellipsis": lambda x: torch.einsum("...w,wk", x, made(3, 2)),
    "one operand": lambda x: torch.einsum("bchw->bwh", x),
    "three at once": lambda x: torch.einsum("bchw,bdhw,bdhw->bcd", x, x, x),
    "two constants": lambda x: torch.einsum("bchw,wk,kn->bchn", x, made(3, 2), made(2, 5)),
    "tensordot": lambda x: torch.tensordot(x, made(5, 3, 2), dims=([2, 3], [0, 1])),
    "cumsum": lambda x: x.cumsum(2),
    "diff": lambda x: torch.diff(x, dim=1),
    "inner": lambda x: torch.inner(x, made(2, 3)),
    "three": lambda x: torch.einsum("bchw,bdhw,bdhw->bcd", x, x[:, :2], x[:, 1:3]).flatten(1),
    "normalised": lambda x: torch.einsum(
        "nlhd,nhmd,nlh->nlhm", x, x[:, :3].transpose(1, 2), x.mean(-1)
    ).flatten(1),
    "outer of three": lambda x: torch.einsum(
        "bld,bln,bld->bldn", x[:, 0], x[:, 1, :, :2], x[:, 2]
    ).flatten(1),
    "two and a constant": lambda x: torch.einsum(
        "bchw,kc,bkhw->bk", x, made(6, 4), x.repeat(1, 2, 1, 1)[:, :6]
    ),
    "two and two constants": lambda x: torch.einsum(
        "bchw,kc,w,bdhw->bkd", x, made(6, 4), made(3), x[:, :2]
    ).flatten(1),
}

POOLS: dict[str, Layer] = {
    "max ceil": nn.MaxPool2d(2, ceil_mode=True),
    "max ceil padded": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max ceil dilated": nn.MaxPool2d((2, 1), (2, 2), dilation=(2, 1), ceil_mode=True),
    "average ceil": nn.AvgPool2d(2, ceil_mode=True),
    "average ceil padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average ceil not counted": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "divided": nn.AvgPool2d((2, 3), (1, 2), divisor_override=4),
    "divided ceil": nn.AvgPool2d(2, ceil_mode=True, divisor_override=3),
    "max 1d": lambda x: F.max_pool1d(x.flatten(2), 4, ceil_mode=True),
    "average 1d": lambda x: F.avg_pool1d(x.flatten(2), 4, 3, 2, ceil_mode=True),
    "max 1d without channels": lambda x: F.max_pool1d(x.flatten(1), 4, 3, ceil_mode=True),
    "average without channels": lambda x: F.avg_pool2d(x[:, 0], 2, 2, 1),
    "adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "adaptive up": nn.AdaptiveAvgPool2d((7, 4)),
    "adaptive of one axis": nn.AdaptiveAvgPool2d((None, 2)),
    "adaptive 1d": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 4),
    "adaptive max": nn.AdaptiveMaxPool2d((3, 2)),
    "adaptive max up": nn.AdaptiveMaxPool2d((2, 7)),
    "adaptive max 1d": lambda x: F.adaptive_max_pool1d(x.flatten(2), 7),
}

ALL: dict[str, Layer] = BROADCASTS | MOVES | REDUCTIONS | PAIRS | CONTRACTIONS | POOLS


@pytest.mark.sample(60)
@pytest.mark.few(6)
@pytest.mark.parametrize("case", ALL)
def test_same(case: str) -> None:
    torch.manual_seed(2)
    layer = ALL[case]
    net = nn.Sequential(layer if isinstance(layer, nn.Module) else Spelled(layer), nn.Flatten())
    assert_same(net, images(5, 4, 5, 3))


UNSUPPORTED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "flip of the batch": (lambda x: x.flip(0), r"flip: .*between the rows of the batch"),
    "roll of the batch": (lambda x: x.roll(1), r"roll: .*between the rows of the batch"),
    "sum of the batch": (lambda x: x.sum((0, 2)), r"sum: over the axes \[0, 2\], of which 0 is"),
    "max of all": (lambda x: x * x.max(), r"max: over the axes \[0, 1, 2, 3\]"),
    "var of the batch in the middle": (
        lambda x: torch.stack([x, x]).var(1),
        r"var: over the axes \[1\], of which 1 is the batch",
    ),
    "cumsum of the batch": (lambda x: x.cumsum(0), r"cumsum: runs along the batch"),
    "over the batch": (lambda x: torch.einsum("bchw->chw", x), r"rows of the batch"),
    "constant pad": (lambda x: F.pad(x, (1, 1), value=2.0), r"pads with 2.0; only zeros"),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_not_supported(case: str) -> None:
    layer, message = UNSUPPORTED[case]
    with pytest.raises(CompileError, match=message):
        read_module(Spelled(layer).eval(), images(7, 4, 5, 3))
