"""docs/how-to/serving.md: its Python runs, and what its tools say of mistakes.

tests/test_how_to.py pastes the page.
"""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.ir import format
from tests.runtime.nets import images, lenet, mlp
from tools.serving.app import from_environment

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serving.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lenet()
    (tmp_path / "served.qbnn").write_bytes(format.to_bytes(model))
    np.savez(tmp_path / "data.npz", x=images(model, 4))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


@pytest.mark.parametrize(
    ("artefact", "seed", "said"),
    [
        ("", "", "Error: QBNNC_ARTEFACT: not set; name an .onnx or .qbnn file"),
        ("missing.onnx", "", r"Error: missing\.onnx: cannot be read \(no such file"),
        (
            "counted.onnx",
            "",
            r"Error: counted\.onnx: has no input `row_ids`; compile it with --row",
        ),
        ("a.qbnn", "x", "Error: QBNNC_SEED: 'x' is not a whole number"),
    ],
)
def test_a_service_that_cannot_start_says_so_in_a_sentence(
    artefact: str, seed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SystemExit: uvicorn shows a stack for anything else."""
    monkeypatch.chdir(tmp_path)
    Path("counted.onnx").write_bytes(emit(mlp()))
    Path("a.qbnn").write_bytes(format.to_bytes(mlp()))
    monkeypatch.setenv("QBNNC_ARTEFACT", artefact)
    monkeypatch.setenv("QBNNC_SEED", seed)
    with pytest.raises(SystemExit, match=f"^{said}"):
        from_environment()


def test_load_without_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:1"  # no service can have this port without rights of its own
    monkeypatch.setattr(sys, "argv", ["load", url, "--requests", "1"])
    monkeypatch.delitem(sys.modules, "tools.serving.load", raising=False)  # or runpy warns
    with pytest.raises(SystemExit, match=f"^Error: {url}: .*; start the service first$"):
        runpy.run_module("tools.serving.load", run_name="__main__")
