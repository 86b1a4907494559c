"""Networks of several inputs: the oracle, onnxruntime, the runtime and C have equal bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction, oracle_samples
from qbnnc.runtime import load
from qbnnc.support.several_inputs import unpacked
from tests.backends.equality import assert_equal, assert_values_equal, same_bits
from tests.backends.test_c import CHECKED, CHECKERS, needs_compiler, ran
from tests.examples import examples
from tests.several_inputs import Counts, ImageAndFeatures, ThreeSampled, arrays, trained
from tests.strategies import input_batch, integer_models, random_integer_model

PARTS = integer_models(ops="parts") | integer_models(ops="parts", members=2)
SEED = 11


@given(PARTS, st.integers(0, 4))
@examples(40)
def test_random_networks_in_onnxruntime(model: Model, rows: int) -> None:
    assert_equal(model, rows)


@given(PARTS)
@examples(10)
def test_every_value_in_onnxruntime(model: Model) -> None:
    assert_values_equal(model, 3)


@given(PARTS, st.integers(0, 5))
@examples(40)
def test_random_networks_in_the_runtime(model: Model, rows: int) -> None:
    x = input_batch(model, rows)
    wanted = oracle_samples(model, x, samples=model.samples, seed=SEED)
    made = load(model).predict(unpacked(x, model.inputs), seed=SEED, batch_size=2)
    for name, array in zip(model.head.sample_names(len(wanted)), wanted, strict=True):
        assert same_bits(made[name], array)


@needs_compiler
@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_in_c(tmp_path: Path, seed: int) -> None:
    model = random_integer_model(seed, ops="parts", members=1 + seed % 2)
    ran(tmp_path, model, CHECKED, CHECKERS[0])


def compiled(folder: Path, kind: type[nn.Module], names: str, members: int = 1) -> Model:
    """A network of these inputs, compiled to all three artefacts in the folder."""
    modules = [trained(kind, seed) for seed in range(members)]
    known = arrays()
    return qbnnc.compile(
        modules if members > 1 else modules[0],
        [folder / "net.onnx", folder / "net.qbnn", folder / "net.c"],
        calibration={name: known[name] for name in names.split()},
        samples=4,
        calibration_passes=2,
        spread_check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names", "members"),
    [
        (ImageAndFeatures, "image features", 1),
        (ImageAndFeatures, "image features", 2),
        (ThreeSampled, "first second gate", 1),
        (Counts, "counts age", 1),
    ],
)
def test_trained_networks(tmp_path: Path, kind: type[nn.Module], names: str, members: int) -> None:
    """The distribution check of `compile` has held the float graph against the module."""
    model = compiled(tmp_path, kind, names, members)
    assert "equal to the module" in model.provenance.distribution
    given_ = {name: arrays(1, 6)[name] for name in names.split()}
    packed = np.concatenate([a.reshape(6, -1) for a in given_.values()], 1).astype(np.float32)
    wanted = oracle_prediction(model, packed, samples=model.samples, seed=SEED)
    onnx = OnnxArtefact.load(tmp_path / "net.onnx")
    assert onnx.description.input_names == tuple(names.split())
    forms = given_, tuple(given_.values()), packed
    for made in [p.predict(x, seed=SEED) for p in (onnx, load(model)) for x in forms]:
        for name in model.head.sample_names(len(model.graph.outputs)):
            assert same_bits(made[name], wanted[name])
    if CHECKERS:
        ran(tmp_path, model, CHECKED, CHECKERS[0])


def test_the_file_has_each_input_by_name() -> None:
    model = random_integer_model(3, ops="parts")
    entries = model.inputs
    for kept in (True, False):
        file = OnnxArtefact.from_bytes(emit(model, embedded_model=kept))
        assert [(e.name, e.shape, e.start) for e in file.description.entries] == [
            (e.name, e.shape, e.start) for e in entries
        ]
        assert [value.name for value in file.file.inputs][: len(entries)] == [
            entry.name for entry in entries
        ]


def test_a_fixed_batch_and_row_ids() -> None:
    model = random_integer_model(5, ops="parts")
    x = input_batch(model, 5)
    wanted = oracle_samples(model, x, samples=model.samples, seed=SEED)
    ids = list(range(5))
    fixed, numbered = emit(model, batch=2), emit(model, row_ids=True, inline=True)
    for data, given_ids in ((fixed, None), (numbered, ids)):
        file = OnnxArtefact.from_bytes(data)
        made = file.predict(tuple(unpacked(x, model.inputs).values()), seed=SEED, row_ids=given_ids)
        for name, array in zip(model.head.sample_names(len(wanted)), wanted, strict=True):
            assert same_bits(made[name], array)
