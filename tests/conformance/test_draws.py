"""Noise on activations, choices and dropped weights: oracle == onnxruntime == runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.torch.training.settings import Training
from qbnnc.backends.torch.training.tune import finetune
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, WeightScheme
from qbnnc.passes.pipeline import Options, lower_model, quantise_model
from tests.conformance.test_conformance import QUICK, Case, compiled
from tests.drawing_graphs import drawn_weights, noisy_activations
from tests.examples import examples, slow_but
from tests.graphs import inputs
from tests.strategies import input_batch, integer_models

MODELS = integer_models(ops="draws") | integer_models(ops="draws", members=2)
GRAPHS = pytest.mark.parametrize("graph", [drawn_weights, noisy_activations])


@examples(40)
@given(MODELS, st.integers(1, 5), st.integers(-(2**63), 2**64), st.integers(0, 2**40))
def test_random_models(model: Model, rows: int, seed: int, first_row: int) -> None:
    Case.of(model).check(input_batch(model, rows), seed=seed, first_row=first_row)


@GRAPHS
@pytest.mark.parametrize("width", slow_but(["w8a8"], ["w8a7", "w8a8", "w4a4", "w2a2"]))
@pytest.mark.parametrize("weights", slow_but([WeightScheme.TENSOR_AFFINE], WeightScheme))
def test_compiled_networks(graph: Callable[[], Graph], width: str, weights: WeightScheme) -> None:
    for sharing in MaskSharing:
        how = Quantisation(Bits.parse(width), weights, mask_sharing=sharing)
        case = Case.of(compiled(graph(), Options(how, 5, calibration=QUICK)))
        case.check(inputs(graph(), 5, seed=3), seed=-5, first_row=2)


@GRAPHS
def test_ensembles(graph: Callable[[int], Graph]) -> None:
    graphs = tuple(graph(seed) for seed in range(2))
    x = inputs(graphs[0], 16)
    options = Options(samples=3, calibration=QUICK)
    model = quantise_model(Model(graphs, Head(Task.CLASSIFICATION)), x, options)
    Case.of(model).check(x[:4], seed=9)


@pytest.mark.slow
@GRAPHS
def test_fine_tuned_networks(graph: Callable[[], Graph]) -> None:
    x = inputs(graph(), 120)
    classes = graph().outputs[0].type.size
    y = np.random.default_rng(0).integers(0, classes, len(x))
    options = Options(Quantisation(Bits(4, 4)), 4, calibration=QUICK)
    source = Model((graph(),), Head(Task.CLASSIFICATION), 4, calibration=x[:30])
    tuned = finetune(source, x, y, options, Training(epochs=2))
    Case.of(lower_model(tuned)).check(x[:7], seed=4)
