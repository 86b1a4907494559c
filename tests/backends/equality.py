"""onnxruntime held against the oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.inputs import input_values
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Choice, LinearInteger
from qbnnc.ir.oracle import oracle_prediction, oracle_samples
from qbnnc.ir.types import Array
from tests.strategies import input_batch, integer_models

EVERY_MODEL = integer_models() | integer_models(ops="all") | integer_models(ops="draws")


def same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


def artefact(model: Model, samples: int | None = None, threads: int = 1) -> OnnxArtefact:
    return OnnxArtefact.from_bytes(emit(model, samples=samples), threads=threads)


def assert_equal(
    model: Model, rows: int, seed: int = 3, first_row: int = 0, samples: int | None = None
) -> None:
    """Samples by bit pattern, statistics within the tolerance of docs/semantics.md, section 4."""
    count, x = model.samples if samples is None else samples, input_batch(model, rows, seed % 1000)
    found = artefact(model, samples).predict(x, seed=seed, first_row=first_row)
    expected = oracle_prediction(model, x, samples=count, seed=seed, first_row=first_row)
    assert list(found) == list(expected)
    largest = max(np.abs(a).max(initial=1) for n, a in expected.items() if n.startswith("samples"))
    for name, array in expected.items():
        if name.startswith("samples"):
            assert same_bits(found[name], array), name
        else:
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6 * largest)


def assert_values_equal(model: Model, rows: int, seed: int = 4) -> dict[str, Array]:
    """Every value in the file has the oracle's codes. Returns the file's values.

    Only accumulators may be missing, and chosen weights of linear layers.
    """
    x, seen = input_batch(model, rows), dict[str, Array]()
    several = len(model.members) > 1

    def observe(member: int, value: Value, array: Array) -> None:
        seen[f"member{member}/{value.name}" if several else value.name] = array

    oracle_samples(model, x, samples=model.samples, seed=seed, first_row=2, observe=observe)
    traced = artefact(model).trace(x, seed=seed, first_row=2)
    for name, array in traced.items():
        assert array.shape == seen[name].shape, name
        assert np.array_equal(array, seen[name]), name
    given = {value.name for value in (model.graph.input, *input_values(model.graph))}
    missing = [n for n in seen.keys() - traced.keys() if n.rpartition("/")[2] not in given]
    chosen = {name for graph in model.members for name in _chosen_weights(graph)}
    assert all(
        seen[name].dtype == np.int32 or name.rpartition("/")[2] in chosen for name in missing
    )
    return traced


def _chosen_weights(graph: Graph) -> set[str]:
    choices = {n.output for n in graph.nodes if isinstance(n.op, Choice)}
    layers = [n for n in graph.nodes if isinstance(n.op, LinearInteger)]
    return {n.inputs[1].name for n in layers if n.inputs[1] in choices}
