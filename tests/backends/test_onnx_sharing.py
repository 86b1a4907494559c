"""Members that begin alike: written once, and every value is still found by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.ir import format
from qbnnc.ir.model import Model
from tests.backends.equality import artefact, assert_equal, assert_values_equal
from tests.backends.networks import proto_of
from tests.graphs import inputs
from tests.sharing import with_common_trunk

LAYERS = ("Conv", "ConvInteger", "Gemm", "MatMulInteger")


def layers(model: Model) -> int:
    return sum(node.op_type in LAYERS for node in proto_of(model).graph.node)


@pytest.mark.few(2)
@pytest.mark.parametrize("bits", ["w8a7", "w3a4"])
@pytest.mark.parametrize("p", [None, 0.2])
def test_a_common_trunk_is_written_once(bits: str, p: float | None) -> None:
    model = with_common_trunk(3, p, bits)
    assert layers(model) == 2 + 3 * 2
    initializers = [t.name for t in proto_of(model).graph.initializer]
    assert sum("conv" in name for name in initializers) == 4
    assert sum("fc1.weight" in name for name in initializers) == 3
    assert_equal(model, 4)
    values = assert_values_equal(model, 3)
    assert (values["member0/pool2"] == values["member2/pool2"]).all()


def test_members_without_anything_in_common_stay_apart() -> None:
    model = with_common_trunk(2, 0.2, trunks=(1, 2))
    assert layers(model) == 2 * 4
    assert_equal(model, 3)


def test_some_of_the_members_share_a_trunk() -> None:
    model = with_common_trunk(4, 0.2, trunks=(1, 2, 2, 1))
    assert layers(model) == 2 * 2 + 4 * 2
    assert_equal(model, 3)
    assert_values_equal(model, 2)


def test_equal_members_are_one_network() -> None:
    model = with_common_trunk(1, None)
    twins = replace(model, members=(model.graph, model.graph))
    assert layers(twins) == layers(model)
    made = artefact(twins).predict(inputs(model.graph, 3))["samples"]
    assert (made[0] == made[1]).all()


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_shared_is_read_back_as_one_array(version: int) -> None:
    model = with_common_trunk(3, 0.2)
    plain = replace(model.provenance, options="")  # which version 1 cannot hold
    model = replace(model, version=version, provenance=plain)
    read = read_model(emit(model))
    assert (read.version, format.digest(read)) == (version, format.digest(model))
    first, *others = read.members
    weights = {v.name: a for v, a in first.constants.items()}
    for member in others:
        for value, array in member.constants.items():
            assert (array is weights[value.name]) == value.name.startswith("conv"), value.name
