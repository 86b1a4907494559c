"""The module's modes decide, the user's word where they cannot, and nothing changes the module."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import Dropout, read_module
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError, InputError
from tests.frontend.nets import Around, KeepsState, Net, SelfMadeDropout, Spelled, numpy_noise
from tools.models import LeNet, MCDropout

X = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))


def masks(graph: Graph) -> list[KeepMask]:
    return [node.op for node in graph.nodes if isinstance(node.op, KeepMask)]


class ByTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.25, self.training)


OFF_IN_EVAL = {"nn": nn.Dropout(0.25), "F": ByTraining(), "own": SelfMadeDropout()}


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", OFF_IN_EVAL)
def test_eval_needs_a_word(kind: str) -> None:
    net = Around(OFF_IN_EVAL[kind]).eval()
    message = r"^layer.*switched off.*`dropout='active'`.*`dropout='off'`"
    with pytest.raises(CompileError, match=message):
        read_module(net, X)
    assert masks(read_module(net, X, dropout="active")) == [KeepMask((6,), 0.25, 0)]
    assert masks(read_module(net, X, dropout="off")) == []
    assert not any(child.training for child in net.modules())


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", OFF_IN_EVAL)
def test_dropout_in_training_mode_is_active(kind: str) -> None:
    net = Around(OFF_IN_EVAL[kind]).eval()
    net.layer.train()
    assert masks(read_module(net, X)) == [KeepMask((6,), 0.25, 0)]
    assert net.layer.training
    assert not net.training
    net.layer.eval()


@pytest.mark.few(0)
def test_dropout_that_is_always_on() -> None:
    net = Around(MCDropout(0.25)).eval()
    assert masks(read_module(net, X)) == [KeepMask((6,), 0.25, 0)]
    assert masks(read_module(net, X, dropout="off")) == []


def test_no_dropout_to_activate() -> None:
    with pytest.raises(CompileError, match="dropout='active', but the network has no noise"):
        read_module(LeNet().eval(), torch.zeros(1, 1, 28, 28), dropout="active")


def test_a_mask_by_hand_cannot_be_switched_off() -> None:
    net = Around(Spelled(lambda x: x * torch.bernoulli(x, p=0.5)))
    with pytest.raises(CompileError, match=r"^layer .*'bernoulli' is random and no dropout call"):
        read_module(net, X, dropout="off")


@pytest.mark.few(1)
@pytest.mark.parametrize("dropout", [None, "active", "off"])
def test_dropout_of_nothing_needs_no_word(dropout: Dropout | None) -> None:
    net = Around(nn.Sequential(nn.Dropout(0.0), MCDropout(0.5))).eval()
    assert len(masks(read_module(net, X, dropout=dropout))) == (dropout != "off")


def test_batch_norm_in_training_mode() -> None:
    net = Around(nn.BatchNorm1d(6)).train()
    assert isinstance(net.layer, nn.BatchNorm1d)
    with pytest.raises(
        CompileError, match=r"^layer: batch norm in training mode.*call module.eval"
    ):
        read_module(net, torch.randn(4, 6))
    assert net.layer.num_batches_tracked == 0


def test_the_module_is_as_it_was() -> None:
    net = KeepsState().train()
    read_module(net, X)
    assert (net.seen, float(net.calls), net.training) == (0, 0.0, True)
    assert type(net.fc.weight) is nn.Parameter


def generators() -> tuple[Tensor, object, list[int]]:
    numpy = np.random.get_state(legacy=False)["state"]["key"].tolist()
    return torch.get_rng_state(), random.getstate(), numpy


def test_the_generators_are_as_they_were() -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = (
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
    )
    read_module(Net().train(), X)
    torch.manual_seed(1)  # Net() itself draws its weights
    after = (
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
    )
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_noise_from_numpy_is_not_frozen_in() -> None:
    torch.manual_seed(0)  # of weights for which the noise is not multiplied by zeros alone
    with pytest.raises(CompileError, match=r"^Around: forward uses random .*numpy.*torch.rand"):
        read_module(Around(Spelled(numpy_noise)), X)


def test_noise_from_a_generator_of_its_own() -> None:
    own = random.Random(3)
    torch.manual_seed(0)
    with pytest.raises(CompileError, match="manual_seed does not govern"):
        read_module(Around(Spelled(lambda x: x * own.random())), X)


def test_noise_that_leaves_torch_is_not_frozen_in() -> None:
    def frozen(x: Tensor) -> Tensor:
        return x * float(np.random.default_rng(torch.initial_seed()).random())

    with pytest.raises(CompileError, match="tracing froze the randomness"):
        read_module(Around(Spelled(frozen)), X)


def test_branches_on_values_are_told_and_torch_is_quiet(
    capfd: pytest.CaptureFixture[str],
) -> None:
    message = r"^Around \(test_dropout_mode.py:\d+\): torch.export cannot trace forward"
    with pytest.raises(CompileError, match=message):
        read_module(Around(Spelled(lambda x: x if x.sum() > 0 else -x)), X)
    assert capfd.readouterr() == ("", "")


def test_an_example_the_module_does_not_take() -> None:
    message = (
        r"^Net \(nets.py:\d+\): forward fails on the example inputs \[2, 7\] \(mat1 and mat2 shapes"
    )
    with pytest.raises(InputError, match=message):
        read_module(Net().train(), torch.zeros(2, 7))


def test_data_attribute_noise_is_traced() -> None:
    def masked(x: Tensor) -> Tensor:
        mask = torch.empty_like(x)
        mask.data.bernoulli_(0.75)
        return x * mask / 0.75

    assert masks(read_module(Around(Spelled(masked)), X)) == [KeepMask((6,), 0.25, 0)]


def test_examples_without_rows() -> None:
    with pytest.raises(InputError, match=r"shape \[0, 6\] has no rows"):
        read_module(Net(), torch.zeros(0, 6))


@pytest.mark.parametrize(
    "layer",
    [nn.Embedding(6, 2, max_norm=1.0)],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_without_an_integer_form_are_named(layer: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(6, 6), layer).eval()
    with pytest.raises(CompileError, match=rf"^1: {type(layer).__name__}: .* no integer form"):
        read_module(net, X)
