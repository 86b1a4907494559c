"""The meaning of outputs, rule by rule: which are read, and which are asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.frontend import read_modules
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import CONSTANT
from qbnnc.loading.sources import model_of
from qbnnc.passes.head.assign_head import name_outputs, with_head
from qbnnc.support.errors import UserError
from tests.heads import Evidence, Heads, Normal, example, network

Returned = Callable[[Heads, Tensor], object]
Case = tuple[Returned, str, str]

positive = F.softplus


def read(returned: Returned, names: str = "", targets: int = 1) -> Model:
    model = model_of(read_modules([network(returned, targets)], example(2)))
    return name_outputs(model, tuple(names.split(","))) if names else model


READ: dict[str, Case] = {  # forward, --outputs, what the second output is ("": there is none)
    "pair": (lambda s, h: (s.mean(h), s.second(h)), "", "log_var"),
    "bounded log variance": (lambda s, h: (s.mean(h), s.second(h).clamp(-9, 9)), "", "log_var"),
    "stated variance": (
        lambda s, h: (s.mean(h), positive(s.second(h))),
        "mean,variance",
        "variance",
    ),
    "stated std": (lambda s, h: (s.mean(h), s.second(h).exp()), "mean,std", "std"),
    "stated logarithm": (lambda s, h: (s.mean(h), s.second(h).abs()), "mean,log_var", "log_var"),
    "stated, unproved": (lambda s, h: (s.mean(h), s.second(h)), "mean,variance", "variance"),
    "stated, reversed": (lambda s, h: (positive(s.second(h)), s.mean(h)), "std,mean", "std"),
    "named tuple": (lambda s, h: Normal(s.mean(h), positive(s.second(h))), "", "std"),
    "dict": (lambda s, h: {"mu": s.mean(h), "logvar": s.second(h)}, "", "log_var"),
    "dict, reversed": (lambda s, h: {"logvar": s.second(h), "mu": s.mean(h)}, "", "log_var"),
    "dict of log std": (lambda s, h: {"mean": s.mean(h), "log_std": s.second(h)}, "", "log_std"),
    "dict, renamed": (lambda s, h: {"a": s.mean(h), "b": s.second(h)}, "mean,log_var", "log_var"),
    "with a KL term": (
        lambda s, h: {"mean": s.mean(h), "var": s.second(h).exp(), "kl": s.learnt.sum()},
        "",
        "variance",
    ),
    "constant": (lambda s, h: (s.mean(h), s.log_var.expand_as(s.mean(h))), "", "log_var"),
    "constant by its name": (lambda s, h: (s.mean(h), s.sigma.expand_as(s.mean(h))), "", "std"),
    "constant, any name": (lambda s, h: (s.mean(h), s.learnt.expand_as(s.mean(h))), "", "log_var"),
    "constant, stated": (
        lambda s, h: (s.mean(h), s.learnt.exp().expand_as(s.mean(h))),
        "mean,variance",
        "variance",
    ),
    "negative number": (lambda s, h: (s.mean(h), torch.full_like(s.mean(h), -2.0)), "", "log_var"),
    "halves": (lambda s, h: s.both(h), "mean,log_var", "log_var"),
    "halves, reversed": (lambda s, h: s.both(h), "log_std,mu", "log_std"),
    "joined": (
        lambda s, h: torch.cat([s.mean(h), positive(s.second(h))], 1),
        "mean,variance",
        "variance",
    ),
    "split": (lambda s, h: s.both(h).chunk(2, dim=1), "", "log_var"),
    "one": (lambda s, h: s.mean(h), "", ""),
    "one by its name": (lambda s, h: {"mean": s.both(h)}, "", ""),
    "two targets": (lambda s, h: s.both(h), "mean", ""),
    "a KL term alone": (lambda s, h: (s.mean(h), s.learnt.sum()), "", ""),
}


@pytest.mark.sample(26)
@pytest.mark.few(1)
@pytest.mark.parametrize("targets", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("spelling", list(READ))
def test_regressions(spelling: str, targets: int) -> None:
    returned, stated, second = READ[spelling]
    model = with_head(read(returned, stated, targets), Task.REGRESSION)
    count = 1 if not second else 2
    assert len(model.graph.outputs) == count
    assert model.head.task is Task.REGRESSION
    assert model.head.outputs == (() if second in ("", "log_var") else ("mean", second))
    if second:
        assert model.head.sample_names(2) == ("samples", f"samples_{second}")
        assert [v.type.shape for v in model.graph.outputs] == [(targets,)] * 2
    constant = [v in model.graph.constants for v in model.graph.outputs]
    assert constant == [v.type.axes == CONSTANT for v in model.graph.outputs]
    assert any(constant) == ("constant" in spelling or "number" in spelling)
    model.check()


ASKED: dict[str, tuple[Returned, str]] = {
    "softplus": (lambda s, h: (s.mean(h), positive(s.second(h))), "never negative"),
    "exp": (lambda s, h: (s.mean(h), s.second(h).exp()), "never negative"),
    "square": (lambda s, h: (s.mean(h), s.second(h) * s.second(h)), "never negative"),
    "clamp": (lambda s, h: (s.mean(h), s.second(h).clamp(min=1e-6)), "never negative"),
    "constant": (
        lambda s, h: (s.mean(h), positive(s.learnt).expand_as(s.mean(h))),
        "never negative",
    ),
    "buffer": (lambda s, h: (s.mean(h), s.noise.expand_as(s.mean(h))), "never negative"),
    "one tensor": (lambda s, h: s.both(h), "2 targets, or the mean and the log variance of 1"),
    "joined": (lambda s, h: torch.cat([s.mean(h), s.second(h)], 1), "2 targets, or the mean"),
    "named tensor": (lambda s, h: {"out": s.both(h)}, "2 targets, or the mean"),
    "no variance": (lambda s, h: {"mu": s.mean(h), "var": s.second(h)}, "'var' can be negative"),
    "no name that tells": (lambda s, h: {"mu": s.mean(h), "rho": s.second(h)}, "'mu', 'rho'"),
    "two means": (lambda s, h: {"mu": s.mean(h), "loc": s.second(h)}, "'mu', 'loc'"),
    "constant mean": (
        lambda s, h: (s.learnt.expand_as(s.mean(h)), s.mean(h)),
        "first output is a constant",
    ),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", list(ASKED))
def test_what_could_be_several_things_is_asked(spelling: str) -> None:
    returned, said = ASKED[spelling]
    with pytest.raises(UserError) as refused:
        with_head(read(returned), Task.REGRESSION)
    assert said in str(refused.value)
    assert "`output_names='mean,log_var|variance|std'`" in str(refused.value)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("returned", "names", "said"),
    [
        (lambda s, h: (s.mean(h), s.second(h)), "a,b,c", "3 names, and the model has 2 outputs"),
        (lambda s, h: s.both(h), "a,b", "2 names, and the model has 1 output"),
        (lambda s, h: torch.cat([s.both(h), s.mean(h)], 1), "mean,std", "no two halves"),
    ],
)
def test_names_that_do_not_fit(returned: Returned, names: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(returned, names)


@pytest.mark.few(0)
def test_what_is_no_regression() -> None:
    model = read(lambda s, h: Evidence(s.mean(h), s.second(h).exp(), s.mean(h), s.second(h)))
    with pytest.raises(UserError, match=r"4 outputs \(gamma, nu, alpha, beta\).*`task='raw'`"):
        with_head(model, Task.REGRESSION)
    assert with_head(model, None).head.outputs == ("gamma", "nu", "alpha", "beta")
    with pytest.raises(UserError, match="the mean; return it too"):
        with_head(read(lambda s, h: {"variance": s.mean(h)}), Task.REGRESSION)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "returned",
    [
        lambda s, h: torch.sigmoid(s.mean(h)),
        lambda s, h: torch.sigmoid(s.mean(h)).squeeze(1),
        lambda s, h: torch.sigmoid(s.mean(h).squeeze(-1)),
        lambda s, h: torch.sigmoid(s.mean(h)).flatten(),
        lambda s, h: {"p": torch.sigmoid(s.mean(h))},
    ],
)
@pytest.mark.parametrize("task", [Task.CLASSIFICATION, None])
def test_one_sigmoid_is_cut_off(returned: Returned, task: Task | None) -> None:
    model = with_head(read(returned), task)
    assert model.head.task is Task.CLASSIFICATION
    assert not any(node.op.name == "unary" for node in model.graph.nodes)
    assert model.graph.outputs[0].type.size == 1


@pytest.mark.parametrize("task", [Task.RAW, Task.REGRESSION])
def test_a_sigmoid_stays_for_other_tasks(task: Task) -> None:
    model = with_head(read(lambda s, h: torch.sigmoid(s.mean(h))), task)
    assert model.graph.nodes[-1].op.name == "unary"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda s, h: torch.sigmoid(s.mean(h)), "labels of their own"),
        (lambda s, h: F.hardsigmoid(s.mean(h)), "lies between 0 and 1"),
        (lambda s, h: F.softplus(s.mean(h)), "never negative, as evidence"),
        (lambda s, h: (s.mean(h), s.second(h)), "needs one output of logits"),
    ],
)
def test_what_is_no_logits(returned: Returned, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        with_head(read(returned, targets=3), Task.CLASSIFICATION)
    assert "`task='raw'`" in str(refused.value)
    assert with_head(read(returned, targets=3), None).head.task is Task.RAW
