"""LSTM whose recurrent weight is under a random mask: refused as a layer, compiled as a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from qbnnc.frontend import read_module, read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError

T, FEATURES, HIDDEN = 3, 4, 3


class Layer(nn.Module):
    """The LSTM of torch, with DropConnect on what reads its hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, bias=False, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        own = dict[str, Tensor](self.lstm.named_parameters())
        own["weight_hh_l0"] = F.dropout(own["weight_hh_l0"], 0.4, training=True)
        y: Tensor = functional_call(self.lstm, own, (x,))[0][:, -1]
        return y


class Loop(Layer):
    """The same, step by step."""

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), HIDDEN)
        w_ih, whole = self.lstm.parameters()
        w_hh = F.dropout(whole, 0.4, training=True)
        for t in range(T):
            gates = F.linear(x[:, t], w_ih) + F.linear(h, w_hh)
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


def test_the_layer_is_refused() -> None:
    with pytest.raises(CompileError, match="random mask on one of its two weights") as caught:
        read_module(Layer().eval(), torch.randn(2, T, FEATURES))
    assert "write the steps as a loop" in str(caught.value)


def test_the_loop_compiles() -> None:
    """The remedy: one mask of the weight's shape, and the distribution of the module."""
    torch.manual_seed(0)
    x = torch.randn(8, T, FEATURES)
    source = read_modules([Loop().eval()], x[:2])
    masks = [node.op for node in source.graph.nodes if isinstance(node.op, KeepMask)]
    assert [np.prod(mask.shape) for mask in masks] == [4 * HIDDEN * HIDDEN]
    check_distribution([Subject(source.references[0], source.graph, source.graph)], x.numpy())
