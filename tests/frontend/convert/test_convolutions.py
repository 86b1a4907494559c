"""Convolutions along one axis and two, with every argument other than its default."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.ir.ops import Conv2d
from tests.frontend.outputs import assert_same, images

ONE_AXIS: dict[str, dict[str, int | str]] = {
    "stride": {"stride": 2},
    "padding": {"padding": 2},
    "dilation": {"dilation": 3},
    "groups": {"groups": 2},
    "everything": {"stride": 3, "padding": 1, "dilation": 2, "groups": 4},
    "same": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid", "stride": 2},
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ONE_AXIS)
def test_one_axis(name: str) -> None:
    # The options are of several types, which a dict of them cannot tell apart.
    convolution = nn.Conv1d(4, 8, 3, **ONE_AXIS[name])  # type: ignore[arg-type]  # a table of keywords
    graph = assert_same(convolution, images(3, 4, 11))
    assert sum(isinstance(n.op, Conv2d) for n in graph.nodes) == 1


TWO_AXES: dict[str, nn.Module] = {
    "stride": nn.Conv2d(2, 3, 2, stride=(1, 3)),
    "padding": nn.Conv2d(2, 3, 3, padding=(2, 1)),
    "dilation": nn.Conv2d(2, 3, 2, dilation=(1, 2)),
    "groups": nn.Conv2d(4, 6, 2, groups=2),
    "everything": nn.Conv2d(4, 4, (3, 2), (2, 1), (0, 2), (1, 3), 4, bias=False),
    "same": nn.Conv2d(2, 3, (3, 5), padding="same"),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", TWO_AXES)
def test_two_axes(name: str) -> None:
    layer = TWO_AXES[name]
    assert isinstance(layer, nn.Conv2d)
    graph = assert_same(layer, images(3, layer.in_channels, 7, 6))
    assert sum(isinstance(n.op, Conv2d) for n in graph.nodes) == 1


class ShiftedWindows(nn.Module):
    """Uneven zeros around an image, and a stride that leaves the last column out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(images(3, 2, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 2, 1, 0)), self.weight, None, stride=2)


def test_uneven_padding() -> None:
    assert_same(ShiftedWindows(), images(3, 2, 6, 6))
