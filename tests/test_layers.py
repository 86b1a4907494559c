"""The architecture's import table: what a folder may import of ours, and what of others.

Also: absolute imports only, no star imports, no file over 300 lines, and importing the folders
that must run without a compiler loads no compiler.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 300


class Layer(NamedTuple):
    """The imports of files below a folder, besides the standard library and the folder."""

    ours: frozenset[str]
    third_party: frozenset[str]


def layer(ours: str, third_party: str) -> Layer:
    return Layer(frozenset(ours.split()), frozenset(third_party.split()))


CORE = "ir frontend passes backends runtime support"
NETWORK = "frontend.module frontend.program frontend.torch_modes"
LIBRARY = "options loading verification evaluation inspection bench version"

# The longest entry that a file lies below is the one that counts.
LAYERS = {
    "tools/qbnnc/support": layer("", "numpy"),
    "ir": layer("support", "numpy safetensors"),
    "frontend": layer("ir support", "numpy safetensors torch"),
    "frontend/program": layer("ir support frontend.torch_modes", "torch"),
    "frontend/module": layer("support frontend.program frontend.torch_modes", "numpy torch"),
    "frontend/objects": layer(
        "support frontend.module frontend.program frontend.torch_messages", "torch"
    ),
    "frontend/files": layer(
        "support frontend.module frontend.torch_messages", "numpy safetensors torch"
    ),
    "frontend/trial_runs": layer(f"support {NETWORK}", "numpy torch"),
    "frontend/convert": layer("ir support frontend.program", "numpy torch"),
    "frontend/trace": layer(
        f"ir support {NETWORK} frontend.trial_runs frontend.convert frontend.torch_messages",
        "numpy torch",
    ),
    "frontend/distribution": layer(
        f"ir support {NETWORK} frontend.trial_runs frontend.convert frontend.trace", "numpy torch"
    ),
    "passes": layer("ir support", "numpy"),
    "passes/head": layer("ir support", "numpy"),
    "passes/fusion": layer("ir support passes.parameters", "numpy"),
    "passes/ranges": layer("ir support passes.options passes.parameters", "numpy"),
    "passes/fitting": layer("ir support passes.options passes.parameters passes.ranges", "numpy"),
    "passes/integer": layer("ir support passes.ranges", "numpy"),
    "backends": layer("ir support", "numpy"),
    "backends/onnx": layer("ir support", "numpy onnx onnx_ir"),
    "backends/onnx/engine.py": layer("ir support", "onnxruntime"),
    "backends/torch": layer("ir support", "numpy torch"),
    "backends/torch/training": layer("ir support passes backends.torch", "numpy torch"),
    "runtime": layer("ir support", "numpy numba llvmlite"),
    "runtime/prediction.py": layer("ir runtime.tables", "numpy pandas"),
    "runtime/tables.py": layer("support", "numpy pandas"),
    "tools/qbnnc/loading": layer(f"{CORE} version", "numpy torch"),
    "tools/qbnnc/verification": layer(f"{CORE} loading", "numpy"),
    "tools/qbnnc/verification/engines.py": layer(f"{CORE} loading", "numpy onnx openvino"),
    "tools/qbnnc/evaluation": layer(f"{CORE} loading verification", "numpy torch"),
    "tools/qbnnc/evaluation/plots": layer(f"{CORE} loading evaluation", "matplotlib numpy"),
    "tools/qbnnc/inspection": layer("ir support", "numpy"),
    "tools/qbnnc/batches": layer("ir support loading version", "numpy pyarrow zarr"),
    "tools/qbnnc/batches/workers": layer("ir support loading version batches", "distributed numpy"),
    "tools/qbnnc/bench": layer(f"{CORE} loading", "numpy torch"),
    "tools/qbnnc/lightning": layer(
        f"{CORE} {LIBRARY} api", "lightning numpy pytorch_lightning torch"
    ),
    "tools/qbnnc/sklearn": layer("ir loading runtime support", "numpy sklearn"),
    "tools/qbnnc": layer(f"{CORE} {LIBRARY} api batches qat", "numpy torch"),
    "tools/qbnnc/__main__.py": layer("cli", ""),
    "tools/qbnnc/sensitivity.py": layer("support study", ""),  # an old name
    "tools/study": layer(
        f"{CORE} {LIBRARY}", "distributed jinja2 matplotlib numba numpy onnxruntime torch"
    ),
    "tools/study/paper": layer(f"{CORE} {LIBRARY} study api", "matplotlib numpy tools torch"),
    "tools/serving": layer("ir backends runtime support", "fastapi httpx numpy tools"),
    "tools/qbnnc/cli": layer(f"{CORE} {LIBRARY} study api batches qat", "click numpy torch"),
}
FOLDERS = (
    "backends",
    "frontend",
    "ir",
    "passes",
    "runtime",
    "tools/qbnnc",
    "tools/serving",
    "tools/study",
)
FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for file in (ROOT / folder).rglob("*.py")
)


def below(name: str, parents: Set[str], separator: str) -> bool:
    return any(name == parent or name.startswith(parent + separator) for parent in parents)


def layer_of(file: str) -> str:
    return max((key for key in LAYERS if below(file, {key}, "/")), key=len)


def imported(node: ast.AST) -> list[str]:
    """Full dotted names an import statement may load; the bare package for `from x import *`."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names):
            return [f"{module}.{alias.name}" for alias in names]
    return []


def own_package(key: str) -> str:
    """The package below `qbnnc` of a layer's folder; "" for the package root itself."""
    return ".".join(part for part in key.split("/") if part not in {"tools", "qbnnc"})


def allowed(name: str, key: str) -> bool:
    """Whether a file of the layer `key` may import `name`."""
    ours, third_party = LAYERS[key]
    package, _, rest = name.partition(".")
    if package != "qbnnc":
        return package in sys.stdlib_module_names | third_party
    return below(rest, ours | {own_package(key)}, ".")


def violations(file: str, source: str) -> Iterator[str]:
    """Yield a line for each import of `file`, a path from the root, that its layer may not have."""
    key = layer_of(file)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"{file}:{node.lineno}: relative import"
            if node.names[0].name == "*":
                yield f"{file}:{node.lineno}: star import"
        for name in imported(node):
            if not allowed(name, key):
                yield f"{file}:{getattr(node, 'lineno', 0)}: {key} may not import {name}"


def test_files_keep_to_their_layers() -> None:
    wrong = list[str]()
    for file in FILES:
        source = (ROOT / file).read_text(encoding="utf-8")
        wrong += violations(file, source)
        if len(source.splitlines()) > MAX_LINES:
            wrong.append(f"{file}: more than {MAX_LINES} lines")
    assert wrong == []


def test_every_folder_is_looked_at() -> None:
    assert {file.split("/")[0] for file in FILES} == {folder.split("/")[0] for folder in FOLDERS}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ir/a.py", "import qbnnc.passes"),
        ("ir/a.py", "from qbnnc import runtime"),
        ("ir/a.py", "from qbnnc import __version__"),
        ("ir/a.py", "import os, torch"),
        ("ir/a.py", "def f():\n    import torch.nn"),
        ("ir/a.py", "from qbnnc.irritating import b"),
        ("ir/a.py", "from . import b"),
        ("ir/a.py", "from qbnnc.ir.b import *"),
        ("passes/a.py", "import torch"),
        ("passes/ranges/a.py", "from qbnnc.passes.integer.quantize import Quantize"),
        ("frontend/a.py", "import onnx"),
        ("backends/onnx/a.py", "import onnxruntime"),
        ("backends/onnx/a.py", "import qbnnc.backends.torch"),
        ("backends/torch/a.py", "import onnx"),
        ("runtime/a.py", "import safetensors"),
        ("tools/qbnnc/a.py", "import scipy"),
        ("tools/qbnnc/api.py", "from qbnnc.cli import main"),
        ("tools/study/a.py", "from qbnnc.cli.common import say"),
        ("tools/qbnnc/support/a.py", "from qbnnc.ir.types import Axis"),
        ("tools/qbnnc/loading/a.py", "from qbnnc.evaluation import data"),
        ("backends/torch/a.py", "import qbnnc.passes"),
    ],
)
def test_violation_is_seen(file: str, source: str) -> None:
    assert len(list(violations(file, source))) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ir/a.py", "import ast\nimport numpy as np\nfrom qbnnc.ir.types import Loc"),
        ("passes/a.py", "from qbnnc import ir\nfrom qbnnc.passes.b import c"),
        ("backends/onnx/engine.py", "import onnxruntime\nfrom qbnnc.ir.types import Array"),
        ("tools/qbnnc/cli/main.py", "import click\nfrom qbnnc.cli import run"),
    ],
)
def test_lawful_import_is_let_through(file: str, source: str) -> None:
    assert list(violations(file, source)) == []


@pytest.mark.parametrize("package", ["qbnnc", "qbnnc.ir", "qbnnc.passes", "qbnnc.runtime"])
def test_import_loads_no_compiler(package: str) -> None:
    program = f"import {package}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "matplotlib", "distributed"}
    heavy |= {"pandas", "pyarrow", "zarr", "sklearn", "pytorch_lightning", "lightning"}
    assert heavy & set(done.stdout.split()) == set()
