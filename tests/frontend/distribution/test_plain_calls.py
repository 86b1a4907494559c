"""Modules called as their users call them: torch's fused encoder zeroes padded positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import Dropout, read_modules
from qbnnc.frontend.distribution import DistributionError, Subject, check_distribution

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
T, WORDS, WIDTH = 6, 9, 8


class Reader(nn.Module):
    """An encoder of words, whose outputs are read at all positions, or at those with words."""

    def __init__(self, *, nested: bool, masked: bool, active: bool = False) -> None:
        super().__init__()
        self.masked, self.active, self.words = masked, active, nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=nested)
        self.last = nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == 0
        y: Tensor = self.encoder(self.words(ids), src_key_padding_mask=padding)
        y = y * ~padding[..., None] if self.masked else y
        found: Tensor = self.last(F.dropout(y.mean(1), 0.2, training=self.active))
        return found


def ids() -> Tensor:
    made = torch.arange(4 * T).reshape(4, T) % (WORDS - 1) + 1
    for row in range(4):
        made[row, T - row :] = 0
    return made


def check(net: nn.Module, dropout: Dropout) -> None:
    source = read_modules([net], ids()[:2], dropout=dropout)
    subjects = [Subject(r, r.traced.graph, r.traced.graph) for r in source.references]
    check_distribution(subjects, ids().numpy().astype(np.float32))


def made(**how: bool) -> nn.Module:
    torch.manual_seed(0)
    return Reader(**how).eval()


def test_zeros_at_padded_positions_are_refused() -> None:
    with pytest.raises(DistributionError, match="puts zeros at padded positions") as caught:
        check(made(nested=True, masked=False), "off")
    assert str(caught.value).startswith("encoder: ")
    assert "enable_nested_tensor=False" in str(caught.value)


@pytest.mark.parametrize(
    "how", [{"nested": False, "masked": False}, {"nested": True, "masked": True}]
)
def test_zeros_that_reach_no_output_compile(how: dict[str, bool]) -> None:
    check(made(**how), "off")


def test_dropout_of_forward_is_off_where_its_user_says_so() -> None:
    """A plain call is random there, so that it is no measure of the graph."""
    check(made(nested=False, masked=False, active=True), "off")
