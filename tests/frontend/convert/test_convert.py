"""The FLOAT graph computes what the module computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module, read_modules
from qbnnc.ir.ops import Affine, Conv2d, Linear
from qbnnc.support.errors import CompileError, InputError
from tests.frontend.nets import (
    Around,
    Normalised,
    Spelled,
    WithKL,
    image_block,
    randomise_batch_norm,
)
from tests.frontend.outputs import assert_same, images
from tools.models import MLP, LeNet, LeNet_MCD


def test_mlp_of_two_outputs() -> None:
    graph = assert_same(MLP(10), images(5, 10))
    assert [output.name for output in graph.outputs] == ["mu", "log_var"]


def test_lenet() -> None:
    graph = assert_same(LeNet(), images(3, 1, 28, 28))
    assert [n.output.name for n in graph.nodes][:3] == ["conv1", "relu", "max_pool2d"]
    assert str(graph.nodes[0].loc).startswith("conv1 (lenet.py:")


def test_names_and_places_of_dropout() -> None:
    graph = read_module(LeNet_MCD().eval(), torch.zeros(1, 1, 28, 28))
    names = [n.output.name for n in graph.nodes]
    assert {"drop1.keep", "drop1", "drop2", "drop3"} < set(names)


def test_flattened_by_hand() -> None:
    flat = Spelled(lambda x: x.view(-1, 12))
    assert_same(nn.Sequential(flat, nn.Linear(12, 2)), images(5, 3, 2, 2))


def test_every_layer_of_an_image_classifier() -> None:
    torch.manual_seed(1)
    block = image_block()
    randomise_batch_norm(block)
    assert_same(block, images(4, 2, 8, 8))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_same_padding_puts_the_odd_zero_after() -> None:
    assert_same(nn.Conv2d(1, 2, (2, 4), padding="same"), images(3, 1, 5, 6))


@pytest.mark.few(0)
def test_matrix_products_become_linear() -> None:
    torch.manual_seed(2)
    weight, bias = torch.randn(4, 6), torch.randn(4)
    for layer in (
        lambda x: x @ weight.t() + bias,
        lambda x: torch.addmm(bias, x, weight.t()),
        lambda x: bias + torch.mm(x, weight.t()),
        lambda x: F.linear(x, weight, bias),
    ):
        graph = assert_same(Spelled(layer), images(3, 6))
        assert [type(n.op) for n in graph.nodes] == [Linear]
    assert_same(Spelled(lambda x: x @ weight.t()), images(3, 6))


def test_batch_norm_of_features() -> None:
    block = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False))
    randomise_batch_norm(block[:2])
    assert_same(block, images(3, 6))


def test_weights_computed_from_weights_are_folded() -> None:
    block = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
    graph = assert_same(block, images(3, 6))
    assert [type(n.op) for n in graph.nodes] == [Linear]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_preprocessing_is_affine(dtype: torch.dtype) -> None:
    x = torch.randint(0, 256, (4, 2, 5, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    graph = assert_same(Normalised(), x)
    assert [type(n.op) for n in graph.nodes][:4] == [Affine, Affine, Affine, Conv2d]


def test_a_dictionary_of_outputs_keeps_its_order() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b, self.a = nn.Linear(6, 1), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"b": self.b(x), "a": self.a(x)}

    source = read_modules([Two().eval()], images(2, 6))
    assert source.names == ("b", "a")
    assert [output.name for output in source.graph.outputs] == ["b", "a"]


def test_kl_terms_vanish() -> None:
    graph = read_module(WithKL().eval(), images(2, 6))
    assert [n.output.name for n in graph.nodes] == ["fc"]


def test_outputs_of_the_shape_alone_vanish() -> None:
    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros_like(x), self.fc(x)

    graph = read_module(Padding().eval(), images(2, 6))
    assert [output.name for output in graph.outputs] == ["fc"]


def test_of_many_rows_a_few_are_traced(capsys: pytest.CaptureFixture[str]) -> None:
    def watched(x: Tensor) -> Tensor:
        print(x.shape[0])  # a list here would be put back, as all that forward changes
        return x.relu()

    read_module(Spelled(watched), images(500, 6))
    seen = capsys.readouterr().out.split()
    assert {size for size in seen if size.isdigit()} == {"2"}  # the others are symbols


def test_a_module_called_twice() -> None:
    layer = nn.Linear(6, 6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = layer

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(self.fc(x).relu())
            return y

    graph = assert_same(Twice(), images(3, 6))
    assert [n.output.name for n in graph.nodes] == ["fc", "relu", "fc.2"]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda h: h / h.shape[0], r"^div \(.*computes with the size of the batch"),
        (lambda h: h / len(h), r"^Spelled: the size of the batch enters the computation"),
    ],
)
def test_the_batch_must_not_enter_the_computation(
    layer: Callable[[Tensor], Tensor], message: str
) -> None:
    """len() makes it a program for one batch size, with the size as a plain number."""
    with pytest.raises(CompileError, match=message):
        read_module(Spelled(layer), images(2, 6))


def test_nan_weights_are_named() -> None:
    net = Around(nn.Identity())
    with torch.no_grad():
        net.last.weight[1, 1] = float("nan")
    with pytest.raises(CompileError, match=r"^last\.weight: holds NaN or infinity"):
        read_module(net, images(2, 6))


def test_nothing_depends_on_the_input() -> None:
    with pytest.raises(CompileError, match="no output depends on the input"):
        read_module(Spelled(lambda x: torch.ones(3)), images(2, 6))


def test_forward_takes_as_many_inputs_as_are_given() -> None:
    with pytest.raises(InputError, match=r"and the example inputs are 2|forward fails on"):
        read_module(Around(nn.Identity()), (images(2, 6), images(2, 6)))
