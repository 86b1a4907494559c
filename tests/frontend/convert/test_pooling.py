"""Pooling with every combination of padding, ceil_mode, count_include_pad and a divisor."""

from __future__ import annotations

from itertools import product

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from tests.frontend.outputs import assert_same, images

KERNELS: tuple[int | tuple[int, int], ...] = (2, (3, 2))
STRIDES: tuple[int | tuple[int, int], ...] = (1, (2, 3))


class Pools(nn.Module):
    """Several pools of one image."""

    def __init__(self, include: bool, padding: int) -> None:
        super().__init__()
        self.include, self.padding = include, padding

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            F.avg_pool2d(
                x, kernel, stride, self.padding, ceil_mode=ceil, count_include_pad=self.include
            )
            for kernel, stride, ceil in product(KERNELS, STRIDES, (False, True))
        )


@pytest.mark.few(1)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("include", [False, True])
def test_average_pools(include: bool, padding: int) -> None:
    """The first value of 1 everywhere is what tells padding that counts from one that does not."""
    assert_same(Pools(include, padding), images(3, 2, 7, 6) + 1)


class Pools1d(nn.Module):
    """Averages and maxima along one axis."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.avg_pool1d(x, 3, 2, 1),
            F.avg_pool1d(x, 3, 2, 1, count_include_pad=False),
            F.avg_pool1d(x, 2, 3, ceil_mode=True),
            F.max_pool1d(x, 3, 2, 1, ceil_mode=True),
            F.max_pool1d(x, 2, 1, dilation=3),
        )


def test_pools_along_one_axis() -> None:
    assert_same(Pools1d(), images(3, 2, 8) - 1)


class OwnDivisor(nn.Module):
    """Sums that are divided by a number of their own."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.avg_pool2d(x, 2, divisor_override=3),
            F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
            F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=1),
        )


def test_divisors() -> None:
    assert_same(OwnDivisor(), images(3, 2, 6, 6) + 1)


class MaxPools(nn.Module):
    """Maxima of negative numbers, which padding must not exceed."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.max_pool2d(x, 2, 1, 1),
            F.max_pool2d(x, (3, 2), (2, 3), (1, 0), ceil_mode=True),
            F.max_pool2d(x, 2, 1, dilation=(2, 3)),
            F.max_pool2d(x, 3, 3, ceil_mode=True),
        )


def test_max_pools() -> None:
    assert_same(MaxPools(), images(3, 2, 7, 6) - 5)


class Adaptive(nn.Module):
    """Windows that divide an image evenly, and windows that do not."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        sizes = ((1, 1), (3, 2), (2, 4), (5, 3))
        averages = tuple(F.adaptive_avg_pool2d(x, size) for size in sizes)
        return averages + tuple(F.adaptive_max_pool2d(x - 9, size) for size in sizes)


def test_adaptive_pools() -> None:
    assert_same(Adaptive(), images(3, 2, 6, 4))
