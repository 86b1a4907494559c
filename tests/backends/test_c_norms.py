"""Normalisation in C: the oracle's codes, also where a compiler fuses products with sums."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from qbnnc.backends.c import to_c
from tests.backends.test_c import CHECKED, CHECKERS, COMPILERS, FUSED, needs_compiler, ran
from tests.conformance.norms import NORMS

_SMALL = sorted(name for name, norm in NORMS.items() if math.prod(norm.shape) < 10_000)


@needs_compiler
@pytest.mark.few(2)
@pytest.mark.sample(6)
@pytest.mark.parametrize("name", _SMALL)
def test_norms(tmp_path: Path, name: str) -> None:
    model = NORMS[name].model()
    for number, (cc, flags) in enumerate(
        [(CHECKERS[0], CHECKED), *((c, FUSED) for c in COMPILERS)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran(folder, model, flags, cc)


def test_a_norm_costs_four_products_an_element() -> None:
    costs = to_c(NORMS["tokens"].model(), "net").costs
    assert [(layer.form, layer.row, layer.sample) for layer in costs.layers] == [
        ("norm", 4 * 5 * 24, 0)
    ]


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_the_root_is_that_of_ieee(tmp_path: Path) -> None:
    """Squares, numbers beside them, and numbers of every exponent that a norm can give."""
    text = (files("qbnnc.backends.c") / "library" / "normalize.h").read_text()
    root = text[text.index("QB_FUNCTION double qb_root") : text.index("QB_FUNCTION void")]
    source = f"#include <stdint.h>\n#define QB_FUNCTION\n{root}"
    (tmp_path / "root.c").write_text(source)
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", "root.so", "root.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = ctypes.CDLL(str(tmp_path / "root.so")).qb_root
    found.restype, found.argtypes = ctypes.c_double, [ctypes.c_double]
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 2**26, 3000).astype(np.float64) ** 2
    spread = np.exp2(rng.uniform(-200, 202, 6000))
    beside = np.nextafter(squares[1:], np.inf), np.nextafter(squares[1:], 0)
    for number in np.concatenate([[0.0], squares, spread, *beside]).tolist():
        assert number < 2.0**-200 or found(number) == math.sqrt(number)
