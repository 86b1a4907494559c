"""30,000 samples of the libraries' own modules against the FLOAT and the INTEGER oracle.

They are pooled over independent outputs: a linear layer with 3 outputs is called 10,000 times. The
two LeNets are made of layers that are here, and are compared in test_library_layers alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.frontend import read_modules
from qbnnc.frontend.distribution.samples import elements_of, graph_samples, module_samples
from qbnnc.ir.oracle import oracle_samples
from tests.examples import nightly_but
from tests.frontend.libraries.layers import COMPILES, LONG
from tests.frontend.libraries.moments import SAMPLES, assert_same_moments
from tests.frontend.libraries.test_library_layers import quiet

_INTEGER = (
    "bayesian-torch linear",
    "bayesian-torch Flipout",
    "torchbnn conv2d",
    "blitz linear",
    "baal dropout",
    "torch-uncertainty mc_dropout's core",
)


@pytest.mark.parametrize(
    "name",
    nightly_but(["bayesian-torch linear", "blitz linear"], [n for n in COMPILES if n not in LONG]),
)
def test_float(name: str) -> None:
    case = COMPILES[name]
    count = SAMPLES // case.independent
    with quiet():
        (member,) = read_modules([case.module()], case.rows(2), dropout=case.dropout).members
        x = case.rows().numpy()
        expected = module_samples(member.reference, x, count)
        found = graph_samples(member.graph, x, count)
    assert_same_moments(expected, found)


@pytest.mark.parametrize("name", nightly_but(["bayesian-torch linear"], _INTEGER))
def test_integer(name: str, tmp_path: Path) -> None:
    """A mean may be off by one code of 8 bits, for which activations are rounded."""
    case = COMPILES[name]
    count = SAMPLES // case.independent
    with quiet():
        module, calibration = case.module(), case.rows(256).numpy()
        model = qbnnc.compile(
            module,
            tmp_path / "net.qbnn",
            calibration=calibration,
            bits="w8a8",
            dropout=case.dropout,
            distribution_check=None,
        )
        (member,) = read_modules([module], case.rows(2), dropout=case.dropout).members
        x = calibration[:4]
        expected = module_samples(member.reference, x, count)
    (samples,) = oracle_samples(model, x, samples=count)
    places = [element.place for element in elements_of(member.graph)]
    found = samples.reshape(count, len(x), -1)[..., places].astype(np.float64)
    code = float(np.ptp(expected)) / 255
    assert_same_moments(expected, found, rounding=code)
