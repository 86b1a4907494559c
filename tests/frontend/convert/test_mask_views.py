"""Masks as people write them, moved, shared, inverted and reused: the values are the module's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError
from tests.frontend.convert.coupled import ROWS, assert_coupled
from tests.frontend.convert.mask_spellings import SPELLINGS, Spelling, bernoulli, complement

X = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(ROWS, 2, 4, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer, a spelling of [B, 6], a layer."""

    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.enter, self.leave = nn.Linear(6, 6), nn.Linear(6, 2)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.spelling(torch.relu(self.enter(x))))
        return out


class Images(nn.Module):
    """A convolution, a spelling of [B, 4, 4, 4]."""

    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.leave = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(64, 2)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.spelling(torch.relu(self.conv(x))).flatten(1))
        return out


@pytest.mark.sample(20)
@pytest.mark.few(2)
@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda f: f.__name__)
def test_rows_of_features(spelling: Spelling) -> None:
    assert_coupled(Net(spelling), X)


def channels(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 4)[:, :, None, None]


def channels_flattened(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 4, 1, 1).expand_as(h).flatten(1)
    return h.flatten(1) * mask


def channels_of_the_batch(h: Tensor) -> Tensor:
    return h.flatten(1) * bernoulli(4, 1, 1).expand(4, 4, 4).reshape(1, 64)


def both_shapes(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 4)
    return h * mask.view(-1, 4, 1, 1) * (h.mean((2, 3)) * (1 - mask)).reshape(-1, 4, 1, 1)


def rows_of_pixels(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 1, 4, 1).expand(-1, 4, -1, 4)


def permuted(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 4, 4, 4).permute(0, 3, 1, 2)


def feature_dropout_reused(h: Tensor) -> Tensor:
    mask = F.dropout2d(torch.ones_like(h), 0.3, training=True)
    return h * mask + torch.tanh(h) * mask


def groups_of_channels(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 2, 1, 1, 1).expand(-1, -1, 2, -1, -1).reshape(-1, 4, 1, 1)


IMAGE_SPELLINGS = [
    channels, channels_flattened, channels_of_the_batch, both_shapes, rows_of_pixels, permuted,
    feature_dropout_reused, groups_of_channels,
]  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", IMAGE_SPELLINGS, ids=lambda f: f.__name__)
def test_images(spelling: Spelling) -> None:
    assert_coupled(Images(spelling), IMAGES)


def rows_in_another_order(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 6).flip(0)


def repeated(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 4)
    return h * torch.cat([mask, mask[:, 1:3]], dim=1)


def of_the_next_row(h: Tensor) -> Tensor:
    """A row's mask is in part the next row's."""
    return h * bernoulli(len(h) + 1, 3).flatten()[: 3 * len(h) + 3].unfold(0, 6, 3)[: len(h)]


def in_two_orders(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 6)
    return h * mask + torch.tanh(h) * mask.flip(1)


def whole_and_in_part(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 6)
    return h * mask + torch.cat([h[:, :3] * mask[:, :3], h[:, 3:]], dim=1)


UNSUPPORTED: dict[Spelling, str] = {
    repeated: r"a mask of rows, .* of shape \[6\] does not fit \[6\] for each row",
    of_the_next_row: "unfold: a dropout mask is used for something other than masking",
    in_two_orders: "one mask is used twice",
    whole_and_in_part: "one mask is used twice",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", UNSUPPORTED, ids=lambda f: f.__name__)
def test_not_supported(spelling: Spelling) -> None:
    with pytest.raises(CompileError, match=UNSUPPORTED[spelling]):
        read_module(Net(spelling), X)


@pytest.mark.few(0)
def test_rows_may_swap_their_masks() -> None:
    """Row b has the mask of row B - 1 - b: the rows' masks are still independent."""
    assert_coupled(Net(rows_in_another_order), X)


def test_the_first_use_is_plain() -> None:
    graph = read_module(Net(lambda h: complement(h, 0.3)), X)
    masks = [n.op for n in graph.nodes if isinstance(n.op, KeepMask)]
    assert masks == [KeepMask((1,), 0.7, 0), KeepMask((1,), 0.3, 0, inverted=True)]
