"""Max unpooling by the indices of a max pool; any other use of these is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError
from tests.frontend.nets import Spelled
from tests.frontend.outputs import assert_same, images


def back(x: Tensor, *kernel: int, size: bool = False) -> Tensor:
    """Twice the maxima, put back where they were."""
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)]
    unpool = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}[len(kernel)]
    maxima, places = pool(x, kernel, return_indices=True)
    y: Tensor = unpool(2 * maxima, places, kernel, output_size=x.size() if size else None)
    return y


FORMS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "2x2": (lambda x: back(x, 2, 2), (3, 4, 6)),
    "2x3": (lambda x: back(x, 2, 3), (3, 4, 6)),
    "odd image": (lambda x: back(x, 2, 3, size=True), (3, 5, 8)),
    "odd rows": (lambda x: back(x, 2, 2), (3, 5, 6)),
    "one row": (lambda x: back(x, 3), (3, 9)),
    "one odd row": (lambda x: back(x, 3), (3, 11)),
    "one odd row, whole": (lambda x: back(x, 3, size=True), (3, 11)),
    "volume": (lambda x: back(x, 2, 3, 2), (2, 4, 3, 6)),
    "odd volume": (lambda x: back(x, 2, 3, 2, size=True), (2, 5, 4, 7)),
    "no channels": (lambda x: back(x, 2, 2), (4, 6)),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", FORMS)
def test_unpooling(name: str) -> None:
    form, shape = FORMS[name]
    assert_same(Spelled(form), images(3, *shape))


class Layers(nn.Module):
    """The layers nn.MaxPool2d and nn.MaxUnpool2d, two levels deep, with other values."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        half, first = self.pool(x)
        quarter, second = self.pool(self.conv(half))
        y: Tensor = self.unpool(self.conv(self.unpool(torch.relu(quarter), second)), first)
        return y


def test_layers() -> None:
    assert_same(Layers(), images(3, 2, 8, 8))


def test_the_first_of_equal_maxima_counts() -> None:
    assert_same(Spelled(lambda x: back(torch.relu(x), 2, 2)), images(4, 3, 4, 4) - 1)


def indexed(x: Tensor, kernel: int, stride: int = 2, padding: int = 0) -> tuple[Tensor, Tensor]:
    """A max pool and its indices."""
    return F.max_pool2d(x, kernel, stride, padding, return_indices=True)


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "overlap": (
        lambda x: F.max_unpool2d(*indexed(x, 3, 1), [3, 3], [1, 1]),
        "whose windows overlap",
    ),
    "padding": (
        lambda x: F.max_unpool2d(*indexed(x, 2, 2, 1), [2, 2], [2, 2], [1, 1]),
        "reach over the edge",
    ),
    "other columns": (
        lambda x: F.max_unpool2d(*indexed(x, 2), [2, 2], output_size=[6, 7]),
        r"output_size=x\.size\(\)",
    ),
    "as numbers": (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[1] * 0.5,
        "only a max unpool is supported to take",
    ),
    "as an output": (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[1].float(),
        "only a max unpool is supported to take",
    ),
    "constants": (
        lambda x: F.max_unpool2d(
            x, torch.arange(0, 144, 4).reshape(1, 1, 6, 6).expand_as(x), [2, 2]
        ),
        "places that are not the indices of a max pool",
    ),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", REFUSED)
def test_other_uses_are_refused(name: str) -> None:
    form, why = REFUSED[name]
    with pytest.raises(CompileError, match=why):
        read_module(Spelled(form), images(2, 1, 6, 6))
