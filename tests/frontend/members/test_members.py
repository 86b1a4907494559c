"""Ensembles inside one module become members; each is the module's own part of the outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import Dropout, Source, read_modules
from qbnnc.frontend.distribution.coupled_calls import coupled
from qbnnc.ir.ops import Conv2d, KeepMask, Linear
from qbnnc.ir.sharing import common_values
from qbnnc.support.errors import CompileError, InputError
from tests.frontend.inside import (
    COUNTS,
    FEATURES,
    HIDDEN,
    MEMBERS,
    OUTPUTS,
    SPELLINGS,
    Heads,
    Probabilistic,
    RankOneImages,
    Several,
    baddbmm,
    built,
    expanded,
    is_random,
)


def rows(count: int = 4) -> Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(1))


def read(module: nn.Module, member_axis: int | None = None, random: bool = False) -> Source:
    dropout: Dropout | None = "active" if random else None
    return read_modules([module], rows(), dropout=dropout, member_axis=member_axis)


@pytest.mark.parametrize("name", SPELLINGS)
def test_each_member_is_its_part_of_the_outputs(name: str) -> None:
    source = read(built(name), random=is_random(name))
    assert len(source.members) == COUNTS.get(name, MEMBERS)
    assert {v.type.shape for v in source.graph.outputs} == {(OUTPUTS,)}
    for member in source.members:
        assert coupled(member.reference, member.graph, rows(3).numpy(), calls=6) is None


@pytest.mark.parametrize("name", SPELLINGS)
def test_members_compute_nothing_for_each_other(name: str) -> None:
    for graph in read(built(name), random=is_random(name)).graphs:
        ops = [node.op for node in graph.nodes]
        assert not any(isinstance(op, Conv2d) for op in ops)
        assert [v.type.shape[0] for v in graph.constants if len(v.type.shape) == 2]
        assert all(len(v.type.shape) <= 2 for v in graph.constants)


def test_a_convolution_of_all_members_in_one_batch_is_one_for_each() -> None:
    torch.manual_seed(3)
    x = torch.randn(3, 2, 5, 5)
    source = read_modules([RankOneImages().eval()], x)
    assert len(source.members) == MEMBERS
    for member in source.members:
        assert [isinstance(n.op, Conv2d) for n in member.graph.nodes].count(True) == 1
        assert coupled(member.reference, member.graph, x.numpy(), calls=3) is None


def test_values_of_members_are_those_of_a_module_by_hand() -> None:
    """Member i computes with weights i."""
    net = Heads(members_first=True)
    x = rows(3)
    hidden = net.trunk(x)
    for i, member in enumerate(read(net).members):
        wanted = hidden @ net.weight[i] + net.bias[i]
        with member.reference.opened() as call:
            (found,) = call(x)
        assert torch.allclose(found, wanted, atol=1e-6)
        linear = [n for n in member.graph.nodes if isinstance(n.op, Linear)][-1]
        weight = member.graph.constants[linear.inputs[1]]
        assert np.array_equal(weight, net.weight[i].detach().numpy().T)


def test_a_shared_trunk_is_computed_once() -> None:
    graphs = read(Heads(members_first=True)).graphs
    shared = common_values(graphs)[0]
    assert {value.type.shape for value in shared} == {(HIDDEN,)}


def test_each_member_draws_masks_of_its_own_width() -> None:
    source = read(Probabilistic(baddbmm, expanded, p=0.2), random=True)
    for graph in source.graphs:
        (mask,) = [n.op for n in graph.nodes if isinstance(n.op, KeepMask)]
        assert mask.shape == (HIDDEN,)


def test_the_second_axis_is_data_unless_the_user_says_otherwise() -> None:
    source = read(Several(1))
    assert len(source.members) == 1
    assert source.graph.outputs[0].type.shape == (MEMBERS, OUTPUTS)


@pytest.mark.parametrize("axis", [1, -2])
def test_a_named_axis_holds_members(axis: int) -> None:
    source = read(Several(1), member_axis=axis)
    assert len(source.members) == MEMBERS
    for member in source.members:
        assert coupled(member.reference, member.graph, rows(3).numpy(), calls=2) is None


def test_an_axis_that_no_output_has() -> None:
    with pytest.raises(CompileError, match=r"no output has an axis 5 beside the batch"):
        read(Several(1), member_axis=5)


class MeanOfMembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Probabilistic(baddbmm, expanded)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.net(x)["mean"]
        return mean.mean(0)


def test_a_mean_over_members_is_one_network() -> None:
    source = read(MeanOfMembers())
    (member,) = source.members
    assert coupled(member.reference, member.graph, rows(3).numpy(), calls=2) is None


class Steps(nn.Module):
    """Predictions for each step, time first: no members."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.unsqueeze(-1).transpose(0, 1))
        return y


def test_steps_of_a_sequence_are_no_members() -> None:
    with pytest.raises(CompileError, match=r"gives \[5, batch, ...\]") as caught:
        read(Steps())
    assert "output.transpose(0, 1)" in caught.value.remedy


class Mixing(nn.Module):
    """Members that see each other, as an axis that is named holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Several(1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y.softmax(dim=1)


def test_members_that_see_each_other_are_computed_together() -> None:
    source = read(Mixing(), member_axis=1)
    assert len(source.members) == MEMBERS
    for member in source.members:
        assert coupled(member.reference, member.graph, rows(3).numpy(), calls=2) is None


class Unlike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(FEATURES, 2), nn.Linear(FEATURES, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.a(x), self.b(x).relu()])


def test_members_of_different_networks_are_refused() -> None:
    with pytest.raises(CompileError, match="no members of one network"):
        read(Unlike())


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Several(0), Probabilistic(baddbmm, expanded, elites=[1, 0])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)["mean"]


def test_outputs_with_different_numbers_of_members() -> None:
    with pytest.raises(CompileError, match="the outputs have 2, 3 members"):
        read(Counts())


def test_the_axis_is_a_whole_number() -> None:
    from qbnnc.loading.sources import SourceOptions

    with pytest.raises(InputError, match="not a whole number"):
        SourceOptions.of(member_axis="first")  # type: ignore[arg-type]  # what is refused
