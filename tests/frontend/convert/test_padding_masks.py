"""Attention that leaves out padding: masks that are computed from the ids, in many spellings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.rng import Draw
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.support.errors import CompileError

T, WORDS, WIDTH, HEADS = 8, 30, 16, 2
FARTHEST = 0.06  # of the outputs, root mean square against their deviation, at w8a7


def added(scores: Tensor, padding: Tensor) -> Tensor:
    """BERT's: (1 - mask) * -10000."""
    return scores + (1.0 - (~padding).float()) * -10000.0


def added_far(scores: Tensor, padding: Tensor) -> Tensor:
    return scores + padding.float() * -1e9


def filled(scores: Tensor, padding: Tensor) -> Tensor:
    return scores.masked_fill(padding, -1e9)


def infinite(scores: Tensor, padding: Tensor) -> Tensor:
    return scores.masked_fill(padding, float("-inf"))


def chosen(scores: Tensor, padding: Tensor) -> Tensor:
    return torch.where(~padding, scores, float("-inf"))


def added_infinite(scores: Tensor, padding: Tensor) -> Tensor:
    return scores + torch.zeros_like(padding, dtype=torch.float32).masked_fill(
        padding, float("-inf")
    )


SPELLINGS = [added, added_far, filled, infinite, chosen, added_infinite]


class Reader(nn.Module):
    """Words read by one attention layer; id 0 is padding."""

    def __init__(self, how: object) -> None:
        super().__init__()
        self.how = how
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(T, WIDTH)
        self.project, self.last = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 2)
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        x, padding = self.words(ids) + self.places(torch.arange(T)), ids == 0
        if self.how == "layer":
            y: Tensor = self.layer(x, src_key_padding_mask=padding)
        else:
            y = self.attention(x, padding)
        found: Tensor = self.last(y[:, 0])
        return found

    def attention(self, x: Tensor, padding: Tensor) -> Tensor:
        parts = self.project(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        padding = padding[:, None, None, :]
        if self.how == "fused":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=~padding)
        else:
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
            y = self.how(scores, padding).softmax(-1) @ v  # type: ignore[operator]  # a spelling
        return y.transpose(1, 2).flatten(2)


def texts(count: int = 200) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(3)
    ids = rng.integers(1, WORDS, (count, T))
    for row, length in zip(ids, rng.integers(2, T + 1, count), strict=True):
        row[length:] = 0
    return ids.astype(np.float32)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "how", [*SPELLINGS, "fused", "layer"], ids=lambda how: getattr(how, "__name__", how)
)
def test_padding_is_left_out(how: object) -> None:
    """The float graph is the module, and the integer network is near it."""
    torch.manual_seed(0)
    net, ids = Reader(how).eval(), texts()
    graph = read_module(net, torch.from_numpy(ids[:2]).long())
    draw = Draw.of(0, [0], range(len(ids)))
    (found,) = evaluate(graph, ids, draw)
    with torch.no_grad():
        wanted = net(torch.from_numpy(ids).long()).numpy()
    np.testing.assert_allclose(found[0], wanted, atol=1e-4)
    options = Options(Quantisation(Bits.parse("w8a7")))
    model = quantise_model(Model((graph,), Head(Task.RAW)), ids, options)
    (codes,) = evaluate(model.graph, ids, draw)
    assert np.sqrt(np.square(codes - found).mean()) < FARTHEST * found.std()


def test_padding_has_no_effect() -> None:
    """What a padded place holds beside its id changes nothing: its table row may be anything."""
    torch.manual_seed(0)
    net, ids = Reader(filled).eval(), texts()
    graph = read_module(net, torch.from_numpy(ids[:2]).long())
    options = Options(Quantisation(Bits.parse("w8a7")))
    model = quantise_model(Model((graph,), Head(Task.RAW)), ids, options)
    softmaxes = {n.output for n in model.graph.nodes if n.op.name == "softmax_integer"}
    (softmax,) = softmaxes
    seen = dict[object, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]()
    evaluate(model.graph, ids, Draw.of(0, [0], range(len(ids))), seen.__setitem__)
    weights = np.broadcast_to(seen[softmax][0], (len(ids), HEADS, T, T))
    padded = np.broadcast_to((ids == 0)[:, None, None, :], weights.shape)
    assert (weights[padded] == 0).all()
    assert (weights[~padded] > 0).any()


class Elsewhere(nn.Module):
    """Minus infinity that a maximum reads."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor) -> Tensor:
        padding = (ids == 0).unsqueeze(-1)
        y: Tensor = self.last(self.words(ids).masked_fill(padding, float("-inf")).amax(1))
        return y


def test_minus_infinity_elsewhere_is_refused() -> None:
    with pytest.raises(CompileError, match="not finite, as masked attention does"):
        read_module(Elsewhere().eval(), torch.from_numpy(texts(4)).long())
