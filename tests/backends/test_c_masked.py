"""C models with dropout where there is no ReLU: codes count from a zero point that is not 0."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qbnnc.backends.c import to_c
from qbnnc.backends.c.scope import Form
from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2d, Select
from qbnnc.ir.ops.base import codes_of
from tests.backends.test_c import CHECKED, CHECKERS, compiled, needs_compiler, ran, smallest
from tests.net import Net

PADDED = Conv2d(padding=(1, 1, 1, 1))


def convolutions() -> Graph:
    """Dropout of channels between convolutions, the second one padded."""
    net = Net((2, 8, 8), 1).conv(5, 3, "conv1").dropout(0.3, "drop1", channels=True)
    net.conv(4, 3, "conv2", PADDED).dropout(0.4, "drop2", channels=True)
    return net.conv(3, 3, "conv3").flatten("flatten").graph()


def normalised() -> Graph:
    """A batch norm between a convolution and its dropout, and maxima behind the next one."""
    net = Net((2, 10, 10), 2).conv(6, 3, "conv1", PADDED).batch_norm("bn")
    net.dropout(0.3, "drop1", channels=True).conv(4, 3, "conv2", PADDED).max_pool("pool")
    return net.flatten("flatten").linear(3, "fc").graph()


def linear() -> Graph:
    """Dropout of elements between linear layers."""
    net = Net((9,), 3).linear(12, "fc1").dropout(0.3, "drop1").linear(10, "fc2")
    return net.dropout(0.3, "drop2").linear(2, "fc3").graph()


def elements() -> Graph:
    """Dropout of single elements of an image, which no layer subtracts."""
    net = Net((2, 6, 6), 4).conv(4, 3, "conv1").dropout(0.3, "drop1").conv(3, 3, "conv2", PADDED)
    return net.flatten("flatten").linear(3, "fc").graph()


def dropouts(model: Model) -> list[Select]:
    """The dropouts whose zero is not the code 0."""
    nodes = model.graph.nodes
    return [
        n.op for n in nodes if isinstance(n.op, Select) and codes_of(n.output.type).per_tensor[1]
    ]


@needs_compiler
@pytest.mark.few(2)
@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("network", [convolutions, normalised, linear, elements])
def test_dropout_without_a_relu(tmp_path: Path, network: Callable[[], Graph], form: Form) -> None:
    model = compiled(network(), "w8a7")
    assert dropouts(model)
    memory = {Form.CACHED: 10**7, Form.SUBTRACT: None, Form.DIRECT: smallest(model)}[form]
    source = ran(tmp_path, model, CHECKED, CHECKERS[0], memory)
    if network in (convolutions, normalised):
        assert set(source.forms.values()) == ({form} if form is not Form.DIRECT else set())


@pytest.mark.parametrize("network", [convolutions, normalised, linear, elements])
def test_every_constant_is_used(network: Callable[[], Graph]) -> None:
    """An array that no statement names would be flash for nothing, or a mistake."""
    body = to_c(compiled(network(), "w8a7"), "net").body
    defined = re.findall(r"^QBNNC_DATA \w+ (qb_data_\d+)\[", body, re.MULTILINE)
    assert len(defined) > 5
    assert [name for name in defined if len(re.findall(rf"\b{name}\b", body)) < 2] == []


def grouped() -> Graph:
    """Two groups, no maxima, and padding."""
    net = Net((4, 6, 6), 5).conv(6, 3, "conv1", Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 2))
    return net.relu("relu").flatten("flatten").linear(3, "fc").graph()


def pooled() -> Graph:
    """Maxima behind the one convolution."""
    net = Net((1, 6, 6), 6).conv(4, 3, "conv").relu("relu").max_pool("pool")
    return net.flatten("flatten").linear(3, "fc").graph()


@needs_compiler
@pytest.mark.parametrize(
    ("network", "ram", "expected"),
    [
        (pooled, None, set()),
        (grouped, None, {"GROUPS", "OUTSIDE", "UNPOOLED"}),
        (convolutions, None, {"OUTSIDE", "UNPOOLED", "RECOMPUTED"}),
        (convolutions, 10**7, {"OUTSIDE", "UNPOOLED", "TABLES"}),
    ],
)
def test_traits(
    tmp_path: Path, network: Callable[[], Graph], ram: int | None, expected: set[str]
) -> None:
    """The macros name the cases that layers of the network have."""
    model = compiled(network(), "w8a7")
    ran(tmp_path, model, CHECKED, CHECKERS[0], ram)
    body = to_c(model, "net", ram).body
    found = dict(re.findall(r"^#define QB_(\w+) ([01])$", body, re.MULTILINE))
    traits = {name: found[name] for name in TRAITS}
    assert {name for name, value in traits.items() if value == "1"} == expected


TRAITS = "WEIGHT_ZEROS OUTSIDE GROUPS UNPOOLED SUMS_LEAVE TABLES RECOMPUTED".split()
