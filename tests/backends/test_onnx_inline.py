"""Files for other engines: fixed shapes, nothing but plain ops, the same bits."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.shape_inference
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.support.errors import InputError, UserError
from tests.backends.equality import EVERY_MODEL, same_bits
from tests.backends.networks import Lenet
from tests.examples import examples
from tests.strategies import input_batch, integer_models

SPLITMIX = 6457827717110365317  # the first number of splitmix64 for the seed 1234567, as published


def static(model: Model, batch: int = 3) -> bytes:
    return emit(model, batch=batch, inline=True)


def lanes(word: int) -> tuple[int, ...]:
    return tuple(word >> shift & 0xFFFF for shift in (0, 16, 32, 48))


@examples(60)
@given(EVERY_MODEL)
def test_only_plain_ops_and_known_shapes(model: Model) -> None:
    proto = onnx.load_model_from_string(static(model))
    assert not proto.functions
    for node in proto.graph.node:
        assert node.domain == ""
        assert not {"Scan", "Loop", "If", "Optional", "OptionalGetElement"} & {node.op_type}
        assert all(node.input)
        assert not any(a.HasField("g") or a.graphs for a in node.attribute)
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    assert all(d.HasField("dim_value") for v in proto.graph.value_info
               for d in v.type.tensor_type.shape.dim)  # fmt: skip
    values = [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]
    assert len(values) >= len(proto.graph.node)
    for value in values:
        shape = value.type.tensor_type.shape
        assert all(dim.HasField("dim_value") for dim in shape.dim), value.name


@examples(60)
@given(EVERY_MODEL, st.integers(1, 4), st.integers(0, 5))
def test_onnxruntime_gives_the_oracles_bits(model: Model, batch: int, rows: int) -> None:
    """Whether the rows fill batches or not."""
    x = input_batch(model, rows)
    made = OnnxArtefact.from_bytes(static(model, batch), threads=1).predict(x, seed=5, first_row=9)
    expected = oracle_prediction(model, x, samples=model.samples, seed=5, first_row=9)
    assert list(made) == list(expected)
    for name, array in expected.items():
        if name.startswith("samples"):
            assert same_bits(made[name], array), name


@examples(25)
@given(integer_models())
def test_the_reference_evaluator_gives_the_oracles_bits(model: Model) -> None:
    proto = onnx.load_model_from_string(static(model, 2))
    x = input_batch(model, 2)
    feed = {"input": x, "seed": np.array(-7, np.int64), "first_row": np.array(4, np.int64)}
    names = [value.name for value in proto.graph.output]
    with np.errstate(invalid="ignore", over="ignore"):
        made = dict(zip(names, ReferenceEvaluator(proto).run(None, feed), strict=True))
    expected = oracle_prediction(model, x, samples=model.samples, seed=-7, first_row=4)
    for name, array in expected.items():
        if name.startswith("samples"):
            assert same_bits(made[name], array), name


@examples(30)
@given(EVERY_MODEL)
def test_the_model_is_in_it(model: Model) -> None:
    assert digest(read_model(static(model))) == digest(model)


def test_values_can_be_traced() -> None:
    model = Lenet().model()
    x = input_batch(model, 2)
    ways = OnnxArtefact.from_bytes(emit(model)), OnnxArtefact.from_bytes(static(model))
    one, other = (way.trace(x, seed=3) for way in ways)
    assert one.keys() < other.keys()  # nothing is fused, and accumulators are there too
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(UserError, match="takes 3 rows at a time"):
        ways[1].trace(input_batch(model, 4))


def test_the_check_of_random_numbers() -> None:
    artefact = OnnxArtefact.from_bytes(static(Lenet().model()))
    assert artefact.rng_check(1234567) == lanes(SPLITMIX)
    assert artefact.rng_check(1234568) != lanes(SPLITMIX)
    assert OnnxArtefact.from_bytes(emit(Lenet().model())).rng_check() is None


def test_a_name_that_the_check_would_take() -> None:
    model = Lenet().model(out="rng_check")
    artefact = OnnxArtefact.from_bytes(static(model))
    assert artefact.rng_check(1234567) == lanes(SPLITMIX)
    assert "rng_check" in artefact.value_names
    assert digest(read_model(static(model))) == digest(model)


def test_a_batch_that_is_fixed_alone() -> None:
    """Without `inline` the file keeps its subgraphs, and the same bits."""
    model = Lenet().model()
    x = input_batch(model, 4)
    one, other = (
        OnnxArtefact.from_bytes(emit(model, batch=batch)).predict(x) for batch in (None, 3)
    )
    assert all(same_bits(one[name], other[name]) for name in one)


@pytest.mark.parametrize("batch", [0, -1, 2**31])
def test_a_batch_that_is_none(batch: int) -> None:
    with pytest.raises(InputError, match=r"^batch"):
        emit(Lenet().model(), batch=batch)
