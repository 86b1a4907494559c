"""Wrappers around networks, batches of one size, and networks that are not supported."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError, InputError, SourceWarning, UserError
from tests.frontend.nets import Spelled
from tests.frontend.outputs import outputs_of

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def member() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


class Starred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = member()

    def forward(self, *args: Tensor) -> Tensor:
        y: Tensor = self.net(*args)
        return y


class WithOptions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = member()

    def forward(self, x: Tensor, flag: bool = False, **options: int) -> Tensor:
        y: Tensor = self.net(x)
        return -y if flag or options else y


class Unused(Starred):
    """A layer that is never called, and one whose result is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.old, self.norm = nn.LSTM(4, 4), nn.LayerNorm(6)

    def forward(self, *args: Tensor) -> Tensor:
        self.norm(*args)
        y: Tensor = self.net(*args)
        return y


class PartlyCompiled(Starred):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net)  # type: ignore[assignment]  # callable like the module


def compiled_in_place() -> nn.Module:
    net = member()
    net.compile()
    return net


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "args": Starred,
    "options": WithOptions,
    "unused": Unused,
    "part": PartlyCompiled,
    "in place": compiled_in_place,
    "compiled": lambda: cast(nn.Module, torch.compile(member())),
    "parallel": lambda: nn.DataParallel(member()),
    "averaged": lambda: AveragedModel(member()),
}


@pytest.mark.few(1)
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch.compile itself
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_networks(name: str) -> None:
    (output,) = outputs_of(read_module(WRAPPED[name]().eval(), X), X)
    np.testing.assert_allclose(output, member()(X).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_element_types_are_converted_and_it_is_said(dtype: torch.dtype) -> None:
    net = member().to(dtype)
    with pytest.warns(SourceWarning, match="compiled as float32"):
        graph = read_module(net, X)
    assert {p.dtype for p in net.parameters()} == {dtype}
    (output,) = outputs_of(graph, X)
    np.testing.assert_allclose(output, net.float()(X).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("rows", [1, 2, 3, 63, 65, 100, 300])
def test_any_number_of_rows(rows: int) -> None:
    x = torch.randn(rows, 6)
    (output,) = outputs_of(read_module(member(), x), X)
    np.testing.assert_allclose(output, member()(X).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize(("batch", "rows"), [(32, 32), (100, 100), (32, 500), (7, 7), (128, 600)])
def test_networks_for_batches_of_one_size(batch: int, rows: int) -> None:
    net = nn.Sequential(Spelled(lambda x: x.view(batch, 2, 3).reshape(batch, 6)), member()).eval()
    (output,) = outputs_of(read_module(net, torch.randn(rows, 6)), X)
    np.testing.assert_allclose(output, member()(X).detach(), rtol=1e-5, atol=1e-6)


def test_networks_for_one_row() -> None:
    net = nn.Sequential(Spelled(lambda x: x.view(1, 6)), member()).eval()
    with pytest.raises(InputError, match=r"^Sequential: forward takes one row at a time.*flatten"):
        read_module(net, X)


class Sampling(nn.Module):
    """A wrapper that draws its samples itself, like those of torch-uncertainty."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.core_model, self.form = nn.Sequential(member(), nn.Dropout(0.2)), form
        self.core_model.train()

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "repeat":
            y: Tensor = self.core_model(x.repeat(5, 1))
            return y
        samples = [self.core_model(x) for _ in range(5)]
        return torch.cat(samples) if self.form == "cat" else torch.stack(samples)


@pytest.mark.parametrize("form", ["cat", "stack", "repeat"])
def test_wrappers_that_draw_samples(form: str) -> None:
    message = r"^Sampling: forward gives 5 predictions for each row.*compile \.core_model instead"
    with pytest.raises(CompileError, match=message):
        read_module(Sampling(form), X)


class Holding(nn.Module):
    def __init__(self, w: Tensor, use: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("w", w)
        self.use, self.net = use, member()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(self.use(x, self.get_buffer("w")))
        return y


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own quantisation
        net: nn.Module = torch.ao.quantization.quantize_dynamic(member(), {nn.Linear}, torch.qint8)
    return net


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net: nn.Module = torch.jit.script(member())
    return net


UNSUPPORTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "quantised": (quantised, r"^0: Linear: is quantised already.*pass the float network"),
    "scripted": (scripted, r"TorchScript module.*pass the Python module"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(4)), r"^0: LazyLinear: its weights are not made"),
    "meta": (lambda: member().to("meta"), r"^0.weight: has no values .*load the trained weights"),
    "list": (lambda: nn.ModuleList([member()]), r"^ModuleList: is a container without a forward"),
    "sparse": (
        lambda: Holding(torch.eye(6).to_sparse(), lambda x, w: torch.sparse.mm(w, x.t()).t()),
        r"^w: is a sparse tensor.*to_dense",
    ),
    "complex": (
        lambda: Holding(torch.ones(6, dtype=torch.cfloat), lambda x, w: (x * w).real),
        r"^w: is complex",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_kinds_that_are_not_supported(name: str) -> None:
    make, message = UNSUPPORTED[name]
    with pytest.raises(UserError, match=message):
        read_module(make().eval(), X)
