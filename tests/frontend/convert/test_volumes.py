"""Convolutions and pools over three axes, with every argument other than its default."""

from __future__ import annotations

from itertools import product

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

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
    "gaps": nn.ConvTranspose3d(2, 3, 1, 3, output_padding=2),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    layer = TRANSPOSED[name]
    assert_same(layer, images(3, layer.in_channels, 4, 5, 6))


KERNELS, STRIDES = ((2, 2, 2), (3, 2, 4)), ((2, 2, 2), (1, 2, 3))


class Averages(nn.Module):
    """Means over several windows, of numbers near 1: padding that counts tells."""

    def __init__(self, include: bool, padding: int) -> None:
        super().__init__()
        self.include, self.padding = include, padding

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            F.avg_pool3d(x, kernel, stride, self.padding, ceil, self.include)
            for kernel, stride, ceil in product(KERNELS, STRIDES, (False, True))
        )


@pytest.mark.few(1)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("include", [False, True])
def test_average_pools(include: bool, padding: int) -> None:
    assert_same(Averages(include, padding), images(3, 2, 6, 7, 5) + 1)


class OtherPools(nn.Module):
    """Divisors, maxima of negative numbers, which padding must not exceed, and adaptive pools."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.avg_pool3d(x, 3, 2, 1, divisor_override=5),
            F.max_pool3d(x - 9, 2),
            F.max_pool3d(x - 9, 3, 2, 1),
            F.max_pool3d(x - 9, (1, 2, 2), (1, 2, 2)),
            F.max_pool3d(x - 9, (2, 1, 1), ceil_mode=True),
            F.max_pool3d(x - 9, (3, 2, 1), (2, 3, 1), (1, 0, 0), ceil_mode=True),
            F.max_pool3d(x - 9, 2, 1, dilation=(2, 3, 1)),
            F.max_pool3d(x - 9, (1, 2, 2), 3, ceil_mode=True),
            *(F.adaptive_avg_pool3d(x, size) for size in (1, (3, 7, 5), (2, 3, 4), 8)),
            *(F.adaptive_max_pool3d(x - 9, size) for size in (1, (3, 7, 5), (4, 3, 2))),
        )


def test_other_pools() -> None:
    assert_same(OtherPools(), images(3, 2, 6, 7, 5))


class Moves(nn.Module):
    """Padding and resizing of volumes."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.pad(x, (1, 2, 0, 1, 2, 0)),
            F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate"),
            F.pad(x, (1, 1, 1, 1, 1, 1), mode="reflect"),
            F.pad(x, (1, 1)),
            F.interpolate(x, scale_factor=2),
            F.interpolate(x, size=(3, 5, 7)),
            F.interpolate(x, size=(3, 5, 7), mode="nearest-exact"),
            F.interpolate(x, scale_factor=2, mode="trilinear"),
            F.interpolate(x, size=(5, 4, 2), mode="trilinear", align_corners=True),
            F.interpolate(x, size=(2, 2, 2), mode="area"),
        )


def test_moves() -> None:
    assert_same(Moves(), images(3, 2, 3, 4, 3))
