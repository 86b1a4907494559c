"""The promise: oracle == onnxruntime == runtime, every sample by bit pattern.

Random networks go through the whole compiler; the bundled trained ones through every split of
seeds, batches and threads that a user may choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact, float_compute_nodes
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.passes.calibrate import Calibration
from qbnnc.passes.options import Bits, Quantisation, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import Session, load
from qbnnc.verification import bits
from tests.conftest import DATA, DEMO
from tests.graphs import float_graphs, inputs, lenet, mlp, resnet

QUICK = Calibration(passes=2)
NETWORKS = {
    "lenet mcd": (DEMO / "lenet_mcd.pt", "models:LeNet_MCD", {}, "fashion"),
    "lenet pointwise": (DATA / "lenet.pt", "models:LeNet", {}, "fashion"),
    "mlp mcd": (DATA / "mlp_mcd.pt", "models:MLP_MCD", {"in_features": 10}, "diabetes"),
    "mlp pointwise": (DATA / "mlp.pt", "models:MLP", {"in_features": 10}, "diabetes"),
}


@dataclass(frozen=True)
class Case:
    """One compiled network, in all three forms."""

    model: Model
    onnx: OnnxArtefact
    session: Session

    @staticmethod
    def of(model: Model) -> Case:
        return Case(model, OnnxArtefact.from_bytes(emit(model)), load(model))

    def check(self, x: NDArray[np.float32], *, seed: int = 0, first_row: int = 0) -> None:
        """All three agree on this batch."""
        count = self.model.samples
        expected = oracle_samples(self.model, x, samples=count, seed=seed, first_row=first_row)
        names = self.model.head.sample_names(len(expected))
        for backend in (self.onnx, self.session):
            made = backend.predict(x, seed=seed, first_row=first_row)
            for name, samples_ in zip(names, expected, strict=True):
                assert (bits(made[name]) == bits(samples_)).all(), (name, backend)


def compiled(graph: Graph, options: Options) -> Model:
    return quantise_model(Model((graph,), Head(Task.RAW)), inputs(graph, 16), options)


@given(
    float_graphs(),
    st.builds(Bits, st.integers(2, 8), st.integers(2, 8)),
    st.sampled_from(WeightScheme),
    st.integers(-(2**63), 2**64),
    st.integers(0, 2**40),
)
def test_random_networks(
    graph: Graph, bits_: Bits, weights: WeightScheme, seed: int, first_row: int
) -> None:
    samples = 3 if any(n.op.name == "keep_mask" for n in graph.nodes) else None
    model = compiled(graph, Options(Quantisation(bits_, weights), samples, calibration=QUICK))
    Case.of(model).check(inputs(graph, 5, seed=2), seed=seed, first_row=first_row)


@pytest.mark.parametrize("weights", list(WeightScheme))
@pytest.mark.parametrize("width", ["w8a7", "w8a8", "w4a4", "w3a3", "w2a2"])
def test_widths_and_schemes(width: str, weights: WeightScheme) -> None:
    for graph in (mlp(), mlp(p=None), lenet(), resnet()):
        samples = 3 if any(n.op.name == "keep_mask" for n in graph.nodes) else None
        options = Options(Quantisation(Bits.parse(width), weights), samples, calibration=QUICK)
        Case.of(compiled(graph, options)).check(inputs(graph, 6, seed=3), seed=11)


@pytest.fixture(scope="module", params=list(NETWORKS))
def trained(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fashion: dict[str, Array],
    diabetes: dict[str, Array],
) -> tuple[Case, Path, NDArray[np.float32]]:
    """A bundled network compiled at w8a7, its .onnx file, and 100 rows."""
    file, factory, arguments, data = NETWORKS[request.param]
    scale = 1.0 if "mcd" in request.param or data == "diabetes" else 255.0
    calibration = fashion["calib"] / scale if data == "fashion" else diabetes["x_train"]
    x = fashion["x"] / scale if data == "fashion" else diabetes["x_test"]
    path = tmp_path_factory.mktemp("trained") / "net.onnx"
    model = qbnnc.compile(
        file, [path], model=factory, model_args=arguments, calibration=calibration.astype("f4")
    )
    return Case.of(model), path, x[:90].astype(np.float32)


Trained = tuple[Case, Path, NDArray[np.float32]]


def test_trained_networks(trained: Trained) -> None:
    case, path, x = trained
    case.check(x)
    assert float_compute_nodes(path) == []


@pytest.mark.slow
def test_seeds_batches_threads_and_splits(trained: Trained) -> None:
    """Seeds 0..9, batches of 1, 7 and 256, one and two threads, whole and split: the same bits."""
    case, path, x = trained
    for seed in range(10):
        expected = oracle_samples(case.model, x, samples=case.model.samples, seed=seed)
        names = case.model.head.sample_names(len(expected))
        for threads, size in product((1, 2), (1, 7, 256)):
            made = OnnxArtefact.load(path, threads).predict(x, seed=seed, batch_size=size)
            ours = case.session.predict(x, seed=seed, batch_size=size)
            for name, samples in zip(names, expected, strict=True):
                assert (bits(made[name]) == bits(samples)).all()
                assert (bits(ours[name]) == bits(samples)).all()


def test_a_sample_does_not_depend_on_how_many_there_are(trained: Trained) -> None:
    case, _, x = trained
    counts = (1, 3, 20) if case.model.stochastic else (1,)
    first = case.model.head.sample_names(len(case.model.graph.outputs))[0]
    for backend in (case.onnx, case.session):
        made = [backend.predict(x[:5], samples=count)[first] for count in counts]
        assert [len(samples) for samples in made] == list(counts)
        assert all((samples == made[-1][: len(samples)]).all() for samples in made)


def test_rows_can_be_split_anywhere(trained: Trained) -> None:
    case, _, x = trained
    first = case.model.head.sample_names(len(case.model.graph.outputs))[0]
    for backend in (case.onnx, case.session):
        whole = backend.predict(x[:20], seed=5)[first]
        head = backend.predict(x[:13], seed=5)[first]
        tail = backend.predict(x[13:20], seed=5, first_row=13)[first]
        assert (np.concatenate([head, tail], axis=1) == whole).all()
