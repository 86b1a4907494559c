"""Networks over volumes, and with unpooling: oracle == onnxruntime == runtime == C, in bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import Dropout, read_module
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.conformance.zoo.segnet import SegNet, Volumes
from tests.conformance.zoo.volumes import NETWORKS as VOLUMES
from tests.devices.programs import check_equal, check_runs
from tests.examples import slow_but
from tests.frontend.nets import randomise_batch_norm
from tests.graphs import inputs, run
from tools.devices.targets import HOST

MOST_APART = {"unpooled volumes": 0.3}  # maxima that rounding made equal move
NETWORKS = {
    **VOLUMES,
    "SegNet": (SegNet, SegNet.shape),
    "unpooled volumes": (Volumes, Volumes.shape),
}


def compiled(name: str) -> tuple[Model, Array, tuple[Array, ...]]:
    """The model, rows for it, and what its float network gives for 16 of these."""
    torch.manual_seed(3)
    make, shape = NETWORKS[name]
    net = make()
    randomise_batch_norm(net)
    dropout: Dropout | None = "active" if "Drop" in str(net) else None
    graph = read_module(net.eval(), torch.randn(2, *shape), dropout=dropout)
    rows = inputs(graph, 96, seed=2)
    options = Options(Quantisation(Bits.parse("w8a8")))
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    return model, rows[:16], run(graph, rows[:16], 3, 6)


@pytest.mark.parametrize("name", slow_but(["R(2+1)D"], NETWORKS))
def test_the_same_bits_near_the_float_network(name: str) -> None:
    model, x, real = compiled(name)
    expected = oracle_samples(model, x, samples=3, seed=6)
    names = model.head.sample_names(len(expected))
    for backend in (OnnxArtefact.from_bytes(emit(model, samples=3)), load(model)):
        made = backend.predict(x, samples=3, seed=6)
        for each, truth in zip(names, expected, strict=True):
            assert (bits(made[each]) == bits(truth)).all()
    for ours, theirs in zip(expected, real, strict=True):
        assert np.sqrt(((ours - theirs) ** 2).mean()) < MOST_APART.get(name, 0.06) * theirs.std()


@pytest.mark.slow
def test_in_c(tmp_path: Path) -> None:
    check_runs(HOST[0])
    models = {f"net{number}": compiled(name)[0] for number, name in enumerate(NETWORKS)}
    check_equal(tmp_path, HOST[0], models)
