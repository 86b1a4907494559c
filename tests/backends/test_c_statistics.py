"""The statistics of a C model, in integers, against float64: docs/semantics.md, section 4."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.backends.c.traits import Trait, definitions

Reals = NDArray[np.float64]

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
PROMISED = 1e-6


def run(folder: Path, main: str) -> Reals:
    """The numbers that a program prints, which has the library's functions."""
    library = files("qbnnc.backends.c") / "library"
    parts = [(library / f"{part}.h").read_text() for part in ("base", "statistics")]
    traits = definitions(set(Trait))
    (folder / "a.c").write_text("\n".join([traits, *parts, "#include <stdio.h>", main]))
    flags = "-std=c99 -O1 -Wall -Wextra -Wconversion -Werror".split()
    subprocess.run(["gcc", *flags, "-o", "a", "a.c"], cwd=folder, check=True)
    said = subprocess.run([folder / "a"], capture_output=True, text=True, check=True).stdout
    return np.array(said.split(), np.float64)


def array(name: str, values: NDArray[np.float32]) -> str:
    numbers = ", ".join(f"{float(v).hex()}f" for v in values.reshape(-1))
    return f"static const float {name}[] = {{{numbers}}};"


def softmax(logits: Reals) -> Reals:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Reals = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def entropy(p: Reals) -> Reals:
    nats: Reals = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)
    return nats


@needs_gcc
@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("spread", [0.0, 0.01, 3.0, 40.0, 1e30])
def test_probabilities_and_entropies(tmp_path: Path, classes: int, spread: float) -> None:
    rng = np.random.default_rng(classes)
    logits = (rng.normal(0, 1, (7, classes)) * spread).astype(np.float32)
    main = f"""{array("logits", logits)}
int main(void) {{
  static uint64_t p[{classes}];
  static uint32_t each[{classes}];
  uint64_t inner = 0, outer = 0;
  int s, i;
  for (s = 0; s < 7; s++) inner += qb_softmax_add(logits + s * {classes}, {classes}, 1, p, each);
  for (i = 0; i < {classes}; i++) outer += qb_surprise(p[i] / 7u);
  for (i = 0; i < {classes}; i++) printf("%.12g\\n", (double)p[i] / 7 / 2147483648.0);
  printf("%.12g\\n%.12g\\n", (double)outer / 4294967296.0, (double)inner / 7 / 4294967296.0);
  return 0;
}}
"""
    *probabilities, predictive, expected = run(tmp_path, main)
    shares = softmax(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, shares.mean(axis=0), rtol=0, atol=PROMISED / 10)
    most = max(1.0, float(np.log(classes))) * PROMISED
    assert abs(predictive - entropy(shares.mean(axis=0))) < most
    assert abs(expected - entropy(shares).mean()) < most


@needs_gcc
def test_one_logit_is_two_classes(tmp_path: Path) -> None:
    logits = np.array([-90, -21.5, -3, -1e-4, 0, 0.5, 7, 20, 1e20], np.float32)
    main = f"""{array("logits", logits)}
int main(void) {{
  int i;
  for (i = 0; i < {len(logits)}; i++) {{
    uint64_t p[4] = {{0, 0, 0, 0}};
    const uint64_t nats = qb_sigmoid_add(logits[i], 3, p);
    printf("%.12g %.12g ", (double)p[0] / 2147483648.0, (double)p[3] / 2147483648.0);
    printf("%.12g\\n", (double)nats / 4294967296.0);
  }}
  return 0;
}}
"""
    made = run(tmp_path, main).reshape(-1, 3)
    shares = softmax(np.stack([np.zeros(len(logits)), logits.astype(np.float64)], axis=1))
    np.testing.assert_allclose(made[:, :2], shares, rtol=0, atol=PROMISED / 10)
    np.testing.assert_allclose(made[:, 2], entropy(shares), rtol=0, atol=PROMISED / 10)


@needs_gcc
def test_powers_of_e(tmp_path: Path) -> None:
    x = np.concatenate([np.linspace(-80, 80, 997), [0, 1e-30, -1e-30, 88, -100]])
    x = x.astype(np.float32)
    main = f"""{array("x", x)}
int main(void) {{
  int i;
  for (i = 0; i < {len(x)}; i++) printf("%.17g\\n", qb_exp((double)x[i]));
  printf("%.17g\\n%.17g\\n", qb_exp(-1e9), qb_exp(1e9) > 1e307 ? 1.0 : 0.0);
  return 0;
}}
"""
    *made, smallest, is_large = run(tmp_path, main)
    np.testing.assert_allclose(made, np.exp(x.astype(np.float64)), rtol=1e-8)
    assert smallest == 0.0
    assert is_large == 1.0
