"""ONNX files in a browser's engine: onnxruntime-web under node has the oracle's samples."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.loading.artefacts import read_integer_model
from tests.strategies import input_batch, random_integer_model
from tools.bench.networks import cases, network_of

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / "build" / "web"
SCRIPT = Path(__file__).with_name("onnxruntime_web.mjs")
SEED, FIRST_ROW = -7, 2**40  # no int32: they cross as BigInt
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.skipif(
        not (INSTALLED / "node_modules" / "onnxruntime-web").is_dir(),
        reason="needs onnxruntime-web, which `make web` installs",
    ),
]


def in_web(
    folder: Path, file: Path, x: NDArray[np.float32], seed: int = SEED
) -> dict[str, NDArray[np.float32]]:
    """The outputs of an .onnx for rows x."""
    feeds, outputs = folder / "feeds.json", folder / "outputs.json"
    given = {
        "x": x.reshape(-1).tolist(),
        "shape": x.shape,
        "seed": str(seed),
        "first_row": str(FIRST_ROW),
    }
    feeds.write_text(json.dumps(given))
    command = ["node", *map(str, (SCRIPT, INSTALLED, file, feeds, outputs))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {
        name: np.array(value["words"], np.uint32).reshape(value["dims"]).view(np.float32)
        for name, value in json.loads(outputs.read_text()).items()
    }


def assert_equal(folder: Path, file: Path, model: Model, x: NDArray[np.float32]) -> None:
    """Samples by bit pattern, statistics within the tolerance of docs/semantics.md, section 4."""
    found = in_web(folder, file, x)
    expected = oracle_prediction(model, x, samples=model.samples, seed=SEED, first_row=FIRST_ROW)
    assert list(found) == list(expected)
    largest = max(np.abs(a).max(initial=1) for n, a in expected.items() if n.startswith("samples"))
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        if name.startswith("samples"):
            assert np.array_equal(found[name].view(np.uint32), array.view(np.uint32)), name
        else:
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6 * largest)


def test_the_demo(tmp_path: Path, artefacts: Path, fashion: dict[str, NDArray[np.uint8]]) -> None:
    file = artefacts / "lenet.onnx"
    assert_equal(tmp_path, file, read_integer_model(file), fashion["x"][:3].astype(np.float32))


def test_another_seed_gives_other_samples(
    tmp_path: Path, artefacts: Path, fashion: dict[str, NDArray[np.uint8]]
) -> None:
    x = fashion["x"][:1].astype(np.float32)
    one, other = (in_web(tmp_path, artefacts / "lenet.onnx", x, seed) for seed in (SEED, SEED + 1))
    assert not np.array_equal(one["samples"], other["samples"])


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["w8a7", "w4a4"])
@pytest.mark.parametrize("name", ["lenet_mcd", "mlp_mcd", "mlp_bbb"])
def test_standard_networks(tmp_path: Path, name: str, bits: str) -> None:
    case, file = next(c for c in cases() if c.name == name), tmp_path / f"{name}.onnx"
    qbnnc.compile(
        network_of(case, tmp_path).model, [file], bits=bits, samples=20, calibration_passes=1,
        rounding="nearest", bias_correction=False,
    )  # fmt: skip
    x = np.random.default_rng(4).standard_normal((3, *case.shape)).astype(np.float32)
    assert_equal(tmp_path, file, read_integer_model(file), x)


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(8))
def test_random_models_of_every_op(tmp_path: Path, seed: int) -> None:
    model = random_integer_model(seed, ops="draws", members=1 + seed % 2)
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(model))
    assert_equal(tmp_path, file, model, input_batch(model, 3))
