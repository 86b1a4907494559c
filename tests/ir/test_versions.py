"""Files of version 1 are read as ever; what came with version 2 is in none of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from qbnnc.ir import format
from qbnnc.ir.codec import DecodeError, decode, encode, version_of
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Stage
from qbnnc.support.errors import FileError
from tests.golden import golden, results
from tests.graphs import lenet, mlp


@pytest.mark.parametrize("name", ["float", "ensemble", "bayesian"])
def test_a_file_of_version_1_keeps_its_digest_its_bytes_and_its_samples(name: str) -> None:
    data, expected = golden(f"{name}.qbnn"), results()
    model = format.from_bytes(data)
    assert model.version == 1
    assert format.digest(model) == str(expected[f"{name}_digest"])
    assert format.to_bytes(model) == data
    x = np.asarray(expected[f"{name}_input"], np.float32)
    made = oracle_samples(model, x, samples=model.samples, seed=5)
    for number, samples in enumerate(made):
        golden_samples = np.asarray(expected[f"{name}_{number}"], np.float32)
        if model.stage is Stage.FLOAT:  # its numbers are real, and the golden ones are of one BLAS
            np.testing.assert_allclose(samples, golden_samples, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(samples, golden_samples)


def test_a_version_1_model_stays_one_until_it_says_what_version_1_cannot() -> None:
    model = format.from_bytes(golden("float.qbnn"))
    relabelled = format.from_bytes(format.to_bytes(replace(model, draws=7)))
    assert (relabelled.version, relabelled.draws) == (1, 7)
    checked = replace(model, provenance=replace(model.provenance, distribution="checked"))
    again = format.from_bytes(format.to_bytes(checked))
    assert (again.version, again.provenance.distribution) == (2, "checked")
    assert format.digest(again) == format.digest(checked)


def test_a_version_1_file_with_a_later_field_is_refused() -> None:
    model = format.from_bytes(golden("float.qbnn"))
    record, tensors = format._record(model, 1), format._tensors(model)
    provenance = record["provenance"]
    assert isinstance(provenance, dict)
    provenance["distribution"] = "checked"
    header = {"version": 1, "sha256": format._sha256(1, record, tensors), "model": record}
    data = save_tensors(tensors, metadata={"qbnnc": json.dumps(header)})
    with pytest.raises(FileError, match=r"no model .*Provenance has no field 'distribution'"):
        format.from_bytes(data)


def test_versions_that_no_file_has_are_refused() -> None:
    record, tensors = format._record(Model((mlp(),), Head(Task.RAW)), 2), {"a": np.zeros(1)}
    for version in (0, -1, True, "2", None, 1.0):
        header = {"version": version, "sha256": "", "shared": {}, "model": record}
        data = save_tensors(tensors, metadata={"qbnnc": json.dumps(header)})
        with pytest.raises(FileError, match="damaged"):
            format.from_bytes(data)


@dataclass(frozen=True, slots=True)
class Old:
    width: int
    names: tuple[str, ...] = field(default=(), metadata={"since": 2})


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Old
    factor: float = field(default=1.0, metadata={"since": 2})


def test_a_later_field_is_left_out_while_it_has_its_default() -> None:
    plain, named = Outer(Old(3)), Outer(Old(3, ("a",)), 2.0)
    assert encode(plain) == {"inner": {"width": 3}}
    assert encode(named) == {"inner": {"width": 3, "names": ["a"]}, "factor": 2.0}
    assert (version_of(plain), version_of(named), version_of((plain, (named,)))) == (1, 2, 2)
    for value in (plain, named):
        assert decode(Outer, encode(value)) == value
    assert decode(Outer, encode(plain), 1) == plain


def test_a_later_field_is_refused_in_an_old_record_and_at_its_default() -> None:
    with pytest.raises(DecodeError, match="Old has no field 'names'"):
        decode(Outer, {"inner": {"width": 3, "names": ["a"]}}, 1)
    with pytest.raises(DecodeError, match="has its default"):
        decode(Outer, {"inner": {"width": 3, "names": []}})


def test_equal_tensors_are_stored_once_and_are_one_array_when_read() -> None:
    twins = Model((lenet(0), lenet(0)), Head(Task.CLASSIFICATION), 2)
    one = Model((lenet(0),), Head(Task.CLASSIFICATION), 2)
    data = format.to_bytes(twins)
    assert len(data) < 1.1 * len(format.to_bytes(one))
    first, second = format.from_bytes(data).members
    for a, b in zip(first.constants.values(), second.constants.values(), strict=True):
        assert a is b
    assert str(first) == str(second)


def test_the_digest_does_not_depend_on_which_arrays_are_one_object() -> None:
    graph = lenet(0)
    copied = replace(graph, constants={v: a.copy() for v, a in graph.constants.items()})
    same = Model((graph, graph), Head(Task.CLASSIFICATION), 2)
    other = Model((graph, copied), Head(Task.CLASSIFICATION), 2)
    assert format.to_bytes(same) == format.to_bytes(other)
    different = Model((graph, lenet(1)), Head(Task.CLASSIFICATION), 2)
    assert format.digest(same) != format.digest(different)
