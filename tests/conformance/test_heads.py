"""oracle == onnxruntime == runtime for every kind of head: samples by bits, statistics closely."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import read_modules
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.loading.sources import model_of
from qbnnc.passes.head.assign_head import name_outputs
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.heads import Evidence, Heads, example, network

Returned = Callable[[Heads, Tensor], object]
R, C, RAW = Task.REGRESSION, Task.CLASSIFICATION, Task.RAW

HEADS: dict[str, tuple[Returned, Task, str]] = {
    "log variance": (lambda s, h: (s.mean(h), s.second(h)), R, ""),
    "variance": (lambda s, h: (s.mean(h), F.softplus(s.second(h))), R, "mean,variance"),
    "std": (lambda s, h: (s.mean(h), F.softplus(s.second(h))), R, "mean,std"),
    "log std": (lambda s, h: (s.mean(h), s.second(h)), R, "mean,log_std"),
    "halves": (lambda s, h: s.both(h), R, "mean,log_var"),
    "constant": (lambda s, h: (s.mean(h), s.log_var.expand_as(s.mean(h))), R, ""),
    "constant std": (lambda s, h: (s.mean(h), s.sigma), R, ""),
    "constants only beside": (lambda s, h: (s.mean(h), s.learnt[None].repeat(len(h), 1)), RAW, ""),
    "one logit": (lambda s, h: s.mean(h)[:, :1], C, ""),
    "scalar sigmoid": (lambda s, h: torch.sigmoid(s.mean(h)[:, 0]), C, ""),
    "map of a logit": (lambda s, h: s.both(h).reshape(-1, 1, 2, s.mean.out_features), C, ""),
    "evidence": (
        lambda s, h: Evidence(s.mean(h), s.second(h).exp(), F.softplus(s.mean(h)), s.both(h)),
        RAW,
        "",
    ),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", list(HEADS))
def test_heads(kind: str) -> None:
    returned, task, names = HEADS[kind]
    x = example().numpy()
    trained = model_of(read_modules([network(returned, 3)], example(2)))
    trained = name_outputs(trained, tuple(names.split(","))) if names else trained
    options = Options(samples=6, task=task, calibration=Calibration(passes=2))
    model = format.from_bytes(format.to_bytes(quantise_model(trained, x, options)))
    onnx = OnnxArtefact.from_bytes(emit(model))
    for seed, rows in ((0, x[:5]), (7, x[5:6])):
        expected = oracle_prediction(model, rows, samples=6, seed=seed, first_row=3)
        ours = load(model).predict(rows, seed=seed, first_row=3)
        theirs = onnx.predict(rows, seed=seed, first_row=3)
        assert list(expected) == list(ours) == list(theirs)
        for name, array in expected.items():
            for found in (ours[name], theirs[name]):
                assert found.shape == array.shape
                if name.startswith("samples"):
                    assert (bits(found) == bits(array)).all()
                else:
                    np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-6)
    assert onnx.description.head == model.head
    fewer = onnx.predict(x[:5], samples=2)
    assert list(fewer) == list(expected)


@pytest.mark.few(2)
@pytest.mark.parametrize("value", [0.5, -7.0, 0.0, 1e-20, 3e30])
def test_a_constant_is_exact(value: float) -> None:
    net = network(lambda s, h: (s.mean(h), s.log_var.expand_as(s.mean(h))), 3)
    net.log_var.data.fill_(value)
    trained = model_of(read_modules([net], example(2)))
    options = Options(samples=2, task=RAW, calibration=Calibration(passes=1))
    model = quantise_model(trained, example().numpy(), options)
    made = oracle_prediction(model, example(4).numpy(), samples=2)
    assert (made["samples_1"] == np.float32(value)).all()
    assert made["samples_1"].shape == (2, 4, 3)
