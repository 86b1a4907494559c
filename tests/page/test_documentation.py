"""docs/how-to/browser.md when pasted: its C by clang, its JavaScript under node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.backends.c import to_c
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.loading.artefacts import read_integer_model
from tools.page.wasm import missing_tools

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall((ROOT / "docs" / "how-to" / "browser.md").read_text(encoding="utf-8"))
PACKAGES = ROOT / "build" / "web" / "node_modules"
SEED, ROW, IMAGE = 3, 5, 11
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
# A browser takes a module from a server. Here the files of a folder are the server.
FETCH = """import { readFileSync } from "node:fs";
globalThis.fetch = async (name) => new Response(readFileSync(name),
    { headers: { "content-type": "application/wasm" } });
"""


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def classified(folder: Path, block: str, pixels: NDArray[np.uint8], shown: str) -> object:
    """Run a block's `classify`, and return what the JavaScript `shown` makes of its `answer`."""
    (folder / "classify.mjs").write_text(block)
    (folder / "main.mjs").write_text(f"""{FETCH}
const {{ classify }} = await import("./classify.mjs");
const answer = await classify({pixels.ravel().tolist()}, {SEED}, {ROW});
console.log(JSON.stringify({shown}));
""")
    done = subprocess.run(["node", "main.mjs"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read: object = json.loads(done.stdout)
    return read


@needs_node
@pytest.mark.skipif(bool(missing_tools()), reason=f"needs {' and '.join(missing_tools())}")
def test_c_in_a_page(
    tmp_path: Path, artefacts: Path, fashion: dict[str, NDArray[np.uint8]]
) -> None:
    model = read_integer_model(artefacts / "lenet.qbnn")
    source = to_c(model, "lenet", 10**6)
    (tmp_path / "lenet.c").write_text(source.body)
    (tmp_path / "lenet.h").write_text(source.header)
    (tmp_path / "web.c").write_text(blocks("c")[0])
    build = blocks("sh")[1]
    assert build.startswith("clang ")
    subprocess.run(["bash", "-euc", build], cwd=tmp_path, check=True)
    answer = classified(tmp_path, blocks("js")[0], fashion["x"][IMAGE], "answer")
    x = fashion["x"][IMAGE][np.newaxis].astype(np.float32)
    expected = oracle_prediction(model, x, samples=20, seed=SEED, first_row=ROW)
    assert isinstance(answer, dict)
    for name, found in (
        ("probabilities", answer["probabilities"]),
        ("entropy", [answer["entropy"]]),
        ("mutual_information", [answer["mutualInformation"]]),
    ):
        np.testing.assert_allclose(found, expected[name].ravel(), rtol=1e-5, atol=1e-6)


@needs_node
@pytest.mark.skipif(not PACKAGES.is_dir(), reason="needs what `make web` installs")
def test_onnxruntime_in_a_page(
    tmp_path: Path, artefacts: Path, fashion: dict[str, NDArray[np.uint8]]
) -> None:
    shutil.copy(artefacts / "lenet.onnx", tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    image = fashion["x"][IMAGE]
    words = "[...new Uint32Array(answer.samples.data.slice().buffer)]"
    found = np.array(classified(tmp_path, blocks("js")[1], image, words), np.uint32)
    model = read_integer_model(artefacts / "lenet.onnx")
    expected = oracle_prediction(
        model, image[np.newaxis].astype(np.float32), samples=20, seed=SEED, first_row=ROW
    )
    assert np.array_equal(found, expected["samples"].ravel().view(np.uint32))
