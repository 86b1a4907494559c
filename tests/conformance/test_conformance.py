"""The promise: oracle == onnxruntime == runtime, every sample by bit pattern.

Random networks go through the whole compiler; the bundled trained ones through every split of
seeds, batches and threads that a user may choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.bounds import accumulator_bounds
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import RandomOp
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Scales, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.runtime import Session, load
from qbnnc.verification.oracle import bits
from tests.conftest import DATA, DEMO
from tests.examples import slow_but
from tests.float_layers import float_compute_nodes
from tests.graphs import FAMILIES, bayesian_mlp, float_graphs, inputs, lenet, mlp, resnet

QUICK = Calibration(passes=2)
LEVELS = onnxruntime.GraphOptimizationLevel
NETWORKS = {
    "mlp mcd": (DATA / "mlp_mcd.pt", "tools.models:MLP_MCD", {"in_features": 10}, "diabetes"),
    "lenet mcd": (DEMO / "lenet_mcd.pt", "tools.models:LeNet_MCD", {}, "fashion"),
    "lenet pointwise": (DATA / "lenet.pt", "tools.models:LeNet", {}, "fashion"),
    "mlp pointwise": (DATA / "mlp.pt", "tools.models:MLP", {"in_features": 10}, "diabetes"),
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


@pytest.mark.sample(7)
@pytest.mark.parametrize("weights", slow_but([WeightScheme.TENSOR_AFFINE], WeightScheme))
@pytest.mark.parametrize("width", slow_but(["w4a4"], ["w8a7", "w8a8", "w4a4", "w3a3", "w2a2"]))
def test_widths_and_schemes(width: str, weights: WeightScheme) -> None:
    for graph in (mlp(), mlp(p=None), lenet(), resnet()):
        samples = 3 if any(n.op.name == "keep_mask" for n in graph.nodes) else None
        options = Options(Quantisation(Bits.parse(width), weights), samples, calibration=QUICK)
        Case.of(compiled(graph, options)).check(inputs(graph, 6, seed=3), seed=11)


@pytest.mark.sample(16)
@pytest.mark.parametrize("family", slow_but(["bayesian mlp", "elementwise"], FAMILIES))
@pytest.mark.parametrize("width", slow_but(["w8a8"], ["w8a7", "w8a8", "w4a4", "w2a2"]))
def test_op_families(family: str, width: str) -> None:
    graph = FAMILIES[family]()
    for weights in (WeightScheme.CHANNEL_SYMMETRIC, WeightScheme.TENSOR_AFFINE):
        for scales in Scales:
            how = Quantisation(Bits.parse(width), weights, scales)
            samples = 3 if any(isinstance(n.op, RandomOp) for n in graph.nodes) else None
            model = compiled(graph, Options(how, samples, calibration=QUICK))
            Case.of(model).check(inputs(graph, 5, seed=3), seed=-5, first_row=2)


@pytest.mark.parametrize("outputs", [True, False])
@pytest.mark.parametrize("sharing", list(MaskSharing))
def test_quantised_outputs_shared_masks_and_layer_bits(outputs: bool, sharing: MaskSharing) -> None:
    layers = {"conv1": Bits(4, 8), "fc1": Bits(3, 5)}
    how = Quantisation(Bits(8, 7), outputs=outputs, mask_sharing=sharing, layers=layers)
    case = Case.of(compiled(lenet(), Options(how, 4, calibration=QUICK)))
    case.check(inputs(lenet(), 5, seed=3), seed=1, first_row=3)
    if sharing is MaskSharing.BATCH:
        x = np.repeat(inputs(lenet(), 1), 4, axis=0)
        made = case.session.predict(x)["samples"]
        assert (made == made[:, :1]).all()
        assert (made != made[:1]).any()


@pytest.mark.parametrize("family", ["mlp", "lenet", "bayesian mlp"])
def test_powers_of_two_are_exact_at_every_optimisation_level(family: str) -> None:
    """Float kernels give the same codes as long as every partial sum is below 2^24."""
    graph = {"mlp": mlp, "lenet": lenet, "bayesian mlp": bayesian_mlp}[family]()
    how = Quantisation(Bits(4, 4), scales=Scales.POW2)
    model = compiled(graph, Options(how, 3, calibration=QUICK))
    bounds = [accumulator_bounds(model.graph, n) for n in model.graph.nodes]
    assert all(b.exact_in_float32 for b in bounds if b is not None)
    x = inputs(graph, 6, seed=3)
    expected = oracle_samples(model, x, samples=3, seed=4)
    names = list(model.head.sample_names(len(expected)))
    feed = {"input": x, "seed": np.array(4), "first_row": np.array(0)}
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        made = onnxruntime.InferenceSession(emit(model), options).run(names, feed)
        for samples, truth in zip(made, expected, strict=True):
            assert (bits(samples) == bits(truth)).all(), level


def test_ensembles() -> None:
    """Members have scales of their own; sample s = draw*M + member; deterministic members too."""
    for make, draws in ((mlp, 2), (bayesian_mlp, 3), (lambda s: mlp(s, p=None), None)):
        graphs = tuple(make(seed) for seed in range(3))
        x = inputs(graphs[0], 16)
        model = quantise_model(
            Model(graphs, Head(Task.REGRESSION)), x, Options(samples=draws, calibration=QUICK)
        )
        assert model.samples == 3 * (draws or 1)
        Case.of(model).check(x[:4], seed=9)


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
        file,
        [path],
        model=factory,
        model_args=arguments,
        calibration=calibration.astype("f4"),
        distribution_check=None,
    )
    return Case.of(model), path, x[:90].astype(np.float32)


Trained = tuple[Case, Path, NDArray[np.float32]]


@pytest.mark.few(1)
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


@pytest.mark.few(1)
def test_a_sample_does_not_depend_on_how_many_there_are(trained: Trained) -> None:
    case, _, x = trained
    counts = (1, 3, 20) if case.model.stochastic else (1,)
    first = case.model.head.sample_names(len(case.model.graph.outputs))[0]
    for backend in (case.onnx, case.session):
        made = [backend.predict(x[:5], samples=count)[first] for count in counts]
        assert [len(samples) for samples in made] == list(counts)
        assert all((samples == made[-1][: len(samples)]).all() for samples in made)


@pytest.mark.few(1)
def test_rows_can_be_split_anywhere(trained: Trained) -> None:
    case, _, x = trained
    first = case.model.head.sample_names(len(case.model.graph.outputs))[0]
    for backend in (case.onnx, case.session):
        whole = backend.predict(x[:20], seed=5)[first]
        head = backend.predict(x[:13], seed=5)[first]
        tail = backend.predict(x[13:20], seed=5, first_row=13)[first]
        assert (np.concatenate([head, tail], axis=1) == whole).all()
