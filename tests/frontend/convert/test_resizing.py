"""Resizing by interpolation, with the values that torch gives, and as few layers as it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Conv2d
from tests.frontend.outputs import assert_same, images

Resize = Callable[[Tensor], Tensor]


class Resized(nn.Module):
    """A resize alone."""

    def __init__(self, resize: Resize) -> None:
        super().__init__()
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        return self.resize(x)


def convolutions(graph: Graph) -> int:
    return sum(isinstance(node.op, Conv2d) for node in graph.nodes)


# name: (resize, convolutions)
IMAGES: dict[str, tuple[Resize, int]] = {
    "bilinear by 2": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 1),
    "bilinear by 3 and 2": (lambda x: F.interpolate(x, scale_factor=(3, 2), mode="bilinear"), 1),
    "rows only": (lambda x: F.interpolate(x, size=(10, 6), mode="bilinear"), 1),
    "bilinear to a size": (lambda x: F.interpolate(x, size=(7, 11), mode="bilinear"), 2),
    "one axis by a fraction": (lambda x: F.interpolate(x, size=(5, 8), mode="bilinear"), 1),
    "smaller": (lambda x: F.interpolate(x, size=(3, 4), mode="bilinear"), 2),
    "half": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), 2),
    "by a fraction": (lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"), 2),
    "fraction computed again": (
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        2,
    ),
    "aligned by 2": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        2,
    ),
    "aligned to a size": (
        lambda x: F.interpolate(x, size=(9, 3), mode="bilinear", align_corners=True),
        2,
    ),
    "antialiased": (
        lambda x: F.interpolate(x, size=(2, 3), mode="bilinear", antialias=True),
        2,
    ),
    "bicubic by 2": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 1),
    "bicubic to a size": (lambda x: F.interpolate(x, size=(7, 4), mode="bicubic"), 2),
    "bicubic aligned": (
        lambda x: F.interpolate(x, size=(7, 9), mode="bicubic", align_corners=True),
        2,
    ),
    "bicubic antialiased": (
        lambda x: F.interpolate(x, size=(3, 2), mode="bicubic", antialias=True),
        2,
    ),
    "module": (nn.UpsamplingBilinear2d(scale_factor=2), 2),
    "to one pixel": (lambda x: F.interpolate(x, size=(1, 1), mode="bilinear"), 2),
    "same size": (lambda x: F.interpolate(x * 2, size=(5, 6), mode="bilinear"), 1),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    resize, count = IMAGES[name]
    graph = assert_same(Resized(resize), images(4, 3, 5, 6))
    assert convolutions(graph) == count


def test_one_pixel_becomes_many() -> None:
    assert_same(
        Resized(lambda x: F.interpolate(x, scale_factor=4, mode="bilinear")), images(3, 2, 1, 1)
    )


SEQUENCES: dict[str, Resize] = {
    "by 2": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "by 3": lambda x: F.interpolate(x, scale_factor=3, mode="linear"),
    "aligned": lambda x: F.interpolate(x, size=12, mode="linear", align_corners=True),
    "by a fraction": lambda x: F.interpolate(x, scale_factor=0.8, mode="linear"),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name: str) -> None:
    assert_same(Resized(SEQUENCES[name]), images(4, 3, 7))


@pytest.mark.parametrize("aligned", [False, True])
def test_volumes(aligned: bool) -> None:
    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=aligned)

    assert_same(Resized(resize), images(2, 2, 3, 4, 2))
