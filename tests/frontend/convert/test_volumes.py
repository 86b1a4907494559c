"""Convolutions and pools over three axes, with every argument other than its default."""

from __future__ import annotations

import pytest
from torch import nn

from qbnnc.ir.ops import Conv2d
from tests.frontend.outputs import assert_same, images

CONVOLUTIONS: dict[str, nn.Conv3d] = {
    "plain": nn.Conv3d(2, 3, 3),
    "padding": nn.Conv3d(2, 3, 3, padding=(2, 1, 0)),
    "wide padding": nn.Conv3d(2, 3, 2, padding=4, stride=(1, 3, 2)),
    "stride": nn.Conv3d(2, 3, (3, 2, 1), stride=(1, 3, 2)),
    "padded stride": nn.Conv3d(2, 3, 3, stride=2, padding=1),
    "dilation": nn.Conv3d(2, 3, 2, dilation=(3, 1, 2)),
    "groups": nn.Conv3d(4, 6, 2, groups=2),
    "depthwise": nn.Conv3d(4, 4, 3, padding=1, groups=4),
    "everything": nn.Conv3d(4, 4, (3, 2, 2), (2, 1, 3), (0, 2, 1), (1, 3, 2), 4, bias=False),
    "same": nn.Conv3d(2, 3, (3, 1, 5), padding="same", dilation=2),
    "in planes": nn.Conv3d(2, 3, (1, 3, 3), (1, 2, 1), (0, 1, 1)),
    "in planes, strided depth": nn.Conv3d(2, 3, (1, 3, 3), 2, 1),
    "along the depth": nn.Conv3d(2, 3, (3, 1, 1), (2, 1, 1), (1, 0, 0)),
    "along the depth, strided": nn.Conv3d(2, 4, (2, 1, 1), 2, dilation=(2, 1, 1), groups=2),
    "points": nn.Conv3d(2, 3, 1),
    "rows": nn.Conv3d(2, 3, (1, 1, 3), padding=(0, 0, 1)),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    layer = CONVOLUTIONS[name]
    graph = assert_same(layer, images(3, layer.in_channels, 7, 6, 5))
    (convolution,) = [n for n in graph.nodes if isinstance(n.op, Conv2d)]
    weight = graph.constants[convolution.inputs[1]]
    assert weight.size == layer.weight.numel()


TRANSPOSED: dict[str, nn.ConvTranspose3d] = {
    "plain": nn.ConvTranspose3d(2, 3, 3),
    "doubled": nn.ConvTranspose3d(2, 3, 2, stride=2),
    "output padding": nn.ConvTranspose3d(2, 3, 3, 2, 1, 1),
    "four taps": nn.ConvTranspose3d(2, 3, 4, 2, 1),
    "uneven": nn.ConvTranspose3d(2, 3, (1, 2, 3), (2, 1, 3), (0, 1, 2), (1, 0, 2)),
    "groups": nn.ConvTranspose3d(4, 6, 3, 2, groups=2),
    "dilation": nn.ConvTranspose3d(2, 3, 2, (1, 2, 3), 1, (0, 1, 0), dilation=(3, 2, 1)),
    "cut": nn.ConvTranspose3d(2, 3, 2, padding=2),
    "gaps": nn.ConvTranspose3d(2, 3, 1, 3, output_padding=2, bias=False),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    layer = TRANSPOSED[name]
    assert_same(layer, images(3, layer.in_channels, 4, 5, 6))
