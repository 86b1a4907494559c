"""Random numbers cast to integers and booleans: which are masks, and which are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qbnnc.frontend import read_module
from qbnnc.ir.ops import KeepMask, Mask
from qbnnc.support.errors import CompileError
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images

Layer = Callable[[Tensor], Tensor]


def mask(h: Tensor, p: float = 0.75) -> Tensor:
    """1 with probability p, as a float."""
    return (torch.rand_like(h) < p).float()


CAST: dict[str, tuple[Layer, float]] = {  # a mask of p = 0.25 with this factor
    "to int": (lambda h: h * mask(h).int(), 1.0),
    "to bool": (lambda h: h * mask(h).bool(), 1.0),
    "scaled, to bool": (lambda h: h * (mask(h) * 1.25).bool(), 1.0),
    "negative, to bool": (lambda h: h * (mask(h) * -0.5).bool(), 1.0),
    "twice, to int": (lambda h: h * (mask(h) * 2).long(), 2.0),
    "uniform and 0.75, to int": (lambda h: h * (torch.rand_like(h) + 0.75).int(), 1.0),
    "uniform and 0.75, floored": (lambda h: h * torch.floor(torch.rand_like(h) + 0.75), 1.0),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", CAST)
def test_masks(name: str) -> None:
    layer, factor = CAST[name]
    graph = read_module(Around(Spelled(layer)), images(2, 6))
    masks = [n.op for n in graph.nodes if isinstance(n.op, KeepMask | Mask)]
    ((p, inverted),) = [(m.p, m.inverted) for m in masks if isinstance(m, KeepMask)]
    assert (p, inverted) in ((0.25, False), (0.75, True))
    assert [m.scale for m in masks if isinstance(m, Mask)] == [factor]


NOT_SUPPORTED: dict[str, tuple[Layer, str]] = {
    "scaled, to int": (lambda h: h * (mask(h) * 1.25).int(), r"casts a mask of 0 and 1\.25 to"),
    "sum, to int": (lambda h: h * (mask(h) + mask(h)).int(), r"casts a sum of masks to torch"),
    "uniform, to bool": (lambda h: h * torch.rand_like(h).bool(), r"uniform noise"),
    "uniform, to int": (lambda h: h * (torch.rand_like(h) * 3).int(), r"rounds random numbers"),
    "uniform and more, floored": (
        lambda h: h * torch.floor(torch.rand_like(h) + 1.5), r"rounds random numbers",
    ),
    "uniform and less, floored": (
        lambda h: h * torch.floor(torch.rand_like(h) - 0.5), r"rounds random numbers",
    ),
    "activations, to int": (lambda h: h.int().float(), r"casts activations to torch\.int32"),
}  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_not_supported(name: str) -> None:
    layer, message = NOT_SUPPORTED[name]
    with pytest.raises(CompileError, match=message):
        read_module(Around(Spelled(layer)), images(2, 6))
