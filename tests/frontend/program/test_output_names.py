"""Outputs of forward: names, constants, and those that are no predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from qbnnc.frontend import Source, read_file, read_modules, save_program
from qbnnc.ir.ops import Clamp
from qbnnc.support.errors import CompileError
from tests.heads import Evidence, Gaussian, Heads, Normal, example, network

Returned = Callable[[Heads, Tensor], object]


def read(returned: Returned, targets: int = 3) -> Source:
    return read_modules([network(returned, targets)], example(2))


NAMED: dict[str, tuple[Returned, tuple[str, ...]]] = {
    "dict": (lambda s, h: {"mu": s.mean(h), "var": s.second(h)}, ("mu", "var")),
    "named tuple": (lambda s, h: Normal(s.mean(h), s.second(h)), ("loc", "scale")),
    "dataclass": (lambda s, h: Gaussian(s.mean(h), s.second(h)), ("mean", "log_var")),
    "nested": (
        lambda s, h: {"a": (s.mean(h), s.second(h)), "b": {"c": s.both(h)}},
        ("a.0", "a.1", "b.c"),
    ),
    "evidence": (
        lambda s, h: Evidence(s.mean(h), s.second(h), s.mean(h), s.second(h)),
        ("gamma", "nu", "alpha", "beta"),
    ),
    "distribution": (
        lambda s, h: torch.distributions.Normal(s.mean(h), s.second(h).exp()),
        ("loc", "scale"),
    ),
    "tuple": (lambda s, h: (s.mean(h), [s.second(h)]), ()),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", list(NAMED))
def test_names_are_those_of_the_container(spelling: str) -> None:
    returned, names = NAMED[spelling]
    source = read(returned)
    assert source.names == names
    assert source.left_out == ()


CONSTANT: dict[str, tuple[Returned, list[float], bool]] = {
    # what it holds, and whether it can be negative, had it been learnt otherwise
    "expanded": (lambda s, h: s.log_var.expand_as(s.mean(h)), [0.5] * 3, True),
    "parameter": (lambda s, h: s.log_var, [0.5] * 3, True),
    "a value each": (lambda s, h: s.learnt.expand(len(h), -1), [-1, 0, 1], True),
    "repeated": (lambda s, h: s.learnt[None].repeat(h.size(0), 1), [-1, 0, 1], True),
    "twice": (lambda s, h: (2 * s.learnt).expand_as(s.mean(h)), [-2, 0, 2], True),
    "times ones": (lambda s, h: s.log_var * torch.ones_like(s.mean(h)), [0.5] * 3, True),
    "bounded": (lambda s, h: s.log_var.clamp(-9, 9).expand(len(h), 3), [0.5] * 3, True),
    "positive": (
        lambda s, h: s.learnt.exp().expand_as(s.mean(h)),
        [float(np.exp(x)) for x in (-1, 0, 1)],
        False,
    ),
    "squared": (lambda s, h: (s.learnt**2).expand_as(s.mean(h)), [1, 0, 1], False),
    "buffer": (lambda s, h: s.noise.expand_as(s.mean(h)), [0.25] * 3, False),
    "log of a buffer": (lambda s, h: s.noise.log().expand_as(s.mean(h)), [np.log(0.25)] * 3, True),
    "full_like": (lambda s, h: torch.full_like(s.mean(h), 0.3), [0.3] * 3, False),
    "full": (lambda s, h: torch.full((len(h), 3), -0.3), [-0.3] * 3, True),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("spelling", list(CONSTANT))
def test_an_output_that_ignores_the_input_is_a_constant(spelling: str) -> None:
    returned, expected, negative = CONSTANT[spelling]
    source = read(lambda s, h: (s.mean(h), returned(s, h)))
    assert source.left_out == ()
    value = source.graph.outputs[1]
    clamped = source.graph.producers().get(value)
    assert (clamped is None) == negative
    if clamped is not None:
        assert clamped.op == Clamp(0.0, None)
        value = clamped.inputs[0]
    np.testing.assert_allclose(source.graph.constants[value], expected, rtol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "returned",
    [
        lambda s, h: (s.learnt**2).sum(),
        lambda s, h: (s.learnt**2).sum().reshape(1),
        lambda s, h: torch.zeros(()),
        lambda s, h: torch.zeros_like(h),
        lambda s, h: 0.5,
        lambda s, h: None,
        lambda s, h: (s.learnt.exp() - s.learnt - 1).mean() / 2,
    ],
)
def test_what_is_no_prediction_is_left_out_and_said(returned: Returned) -> None:
    source = read(lambda s, h: (s.mean(h), returned(s, h)))
    assert len(source.graph.outputs) == 1
    (said,) = source.left_out
    assert said.startswith("output 1")


def test_a_constant_of_one_number_fits_a_mean_without_axes() -> None:
    source = read(lambda s, h: (s.mean(h)[:, 0], s.log_var), 1)
    assert source.graph.constants[source.graph.outputs[1]] == 0.5
    assert source.graph.outputs[1].type.shape == ()


def test_a_name_says_that_a_number_is_a_variance() -> None:
    source = read(lambda s, h: {"mean": s.mean(h), "log_var": s.learnt.mean() - 1})
    value = source.graph.outputs[1]
    assert source.graph.constants[value].tolist() == [-1, -1, -1]


@pytest.mark.few(0)
def test_a_random_constant_is_not_supported() -> None:
    with pytest.raises(CompileError, match="does not depend on the input is random"):
        read(lambda s, h: (s.mean(h), torch.randn(3).expand_as(s.mean(h))))


@pytest.mark.few(0)
def test_names_and_statements_are_saved(tmp_path: Path) -> None:
    net, path = network(lambda s, h: Normal(s.mean(h), s.second(h))), tmp_path / "net.pt"
    save_program(net, path, example(2))
    assert read_file(path).names == ("loc", "scale")
    save_program(net, path, example(2), outputs=("mean", "log_std"))
    assert read_file(path).stated == ("mean", "log_std")


def test_the_module_keeps_its_outputs() -> None:
    net = network(lambda s, h: Gaussian(s.mean(h), s.second(h)))
    read_modules([net], example(2))
    assert isinstance(net(example(2)), Gaussian)
    assert not net._forward_hooks
