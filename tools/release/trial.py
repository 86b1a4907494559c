"""The archives in empty environments: what a user gets, by the demo.

The commands run in a folder that holds the demo's files alone, so nothing of the tree is imported.
All artefacts have to return the same samples.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.release.state import NotReadyError

SEED = "7"
HEAVY = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime")
IMPORT_BASE = f"""
import sys
import qbnnc, qbnnc.runtime
found = {set(HEAVY)!r} & set(sys.modules)
assert not found, found
"""
RUN_ONNX = f"""
import sys
import numpy as np
import qbnnc_onnx
with np.load("fashion.npz") as archive:
    x = archive["x"]
np.savez("wheel-onnx.npz", **qbnnc_onnx.load("lenet.onnx").predict(x, seed={SEED}))
assert not {{"qbnnc", "torch", "onnx", "numba"}} & set(sys.modules)
"""
SAME = """
import sys
import numpy as np
first, *others = [np.load(name)["samples"] for name in sys.argv[1:]]
assert first.shape[1:] == (200, 10), first.shape
for name, samples in zip(sys.argv[2:], others, strict=True):
    assert np.array_equal(first, samples), f"{name} has other samples than {sys.argv[1]}"
"""


@dataclass(frozen=True, slots=True)
class Archives:
    """What a release uploads: two wheels and the sdist of qbnnc."""

    wheel: Path
    onnx_wheel: Path
    sdist: Path


@dataclass(frozen=True, slots=True)
class Environment:
    """An empty virtual environment. Its commands run in `folder`, but pip where one called us."""

    home: Path
    folder: Path

    def install(self, what: str, flags: list[str]) -> None:
        venv.create(self.home, with_pip=True)
        pip = ("-P", "-m", "pip", "install", "-qq", "--disable-pip-version-check", *flags, what)
        self._run(self.home / "bin" / "python", *pip, folder=Path.cwd())

    def python(self, *arguments: str) -> None:
        self._run(self.home / "bin" / "python", *arguments, folder=self.folder)

    def qbnnc(self, *arguments: str) -> None:
        self._run(self.home / "bin" / "qbnnc", *arguments, folder=self.folder)

    def _run(self, program: Path, *arguments: str, folder: Path) -> None:
        env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run([program, *arguments], cwd=folder, env=env)
        if done.returncode:
            raise NotReadyError(f"{self.home.name}: {program.name} {arguments[0]} failed")


@contextmanager
def demo_folder(root: Path) -> Iterator[Path]:
    """A new folder with the demo's data, weights and the class of its network."""
    with tempfile.TemporaryDirectory(prefix="qbnnc-release-") as name:
        folder = Path(name, "work")
        folder.mkdir()
        for file in ("fashion.npz", "lenet_mcd.pt"):
            shutil.copy(root / "tools" / "demo" / file, folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / "tools" / "models", folder / "tools" / "models", ignore=ignored)
        yield folder


def try_all(archives: Archives, root: Path, flags: list[str]) -> None:
    """Install each archive, compile the demo's network, and compare what all of them predict.

    Raises:
        NotReadyError: a command failed.
    """
    with demo_folder(root) as folder:
        compiling = Environment(folder.parent / "compile", folder)
        told("qbnnc[compile]: compile, verify and run the demo")
        compiling.install(f"{archives.wheel}[compile]", flags)
        compile_demo(compiling)
        told("qbnnc: run the demo, without torch and onnx")
        run_base(Environment(folder.parent / "base", folder), str(archives.wheel), "wheel", flags)
        told("qbnnc, from the sdist: the same")
        run_base(Environment(folder.parent / "sdist", folder), str(archives.sdist), "sdist", flags)
        told("qbnnc-onnx: run the demo's .onnx")
        onnx = Environment(folder.parent / "onnx", folder)
        onnx.install(str(archives.onnx_wheel), flags)
        onnx.python("-c", RUN_ONNX)
        made = ("onnx", "wheel", "sdist", "wheel-onnx")
        compiling.python("-c", SAME, *(f"{name}.npz" for name in made))


def compile_demo(environment: Environment) -> None:
    """Write lenet.onnx and lenet.qbnn, verify them, and run the first: onnx.npz."""
    environment.qbnnc(
        *("compile", "lenet_mcd.pt", "--model", "tools.models:LeNet_MCD"),
        *("--calib", "fashion.npz:calib", "--bits", "w8a7", "--samples", "20"),
        *("--task", "classification", "-o", "lenet.onnx", "-o", "lenet.qbnn"),
    )
    data = ("--input", "fashion.npz:x", "--seed", SEED)
    environment.qbnnc("verify", "lenet.onnx", "lenet.qbnn", *data)
    environment.qbnnc("run", "lenet.onnx", *data, "-o", "onnx.npz")


def run_base(environment: Environment, what: str, name: str, flags: list[str]) -> None:
    """Install a base distribution, see what it imports, and run lenet.qbnn: NAME.npz."""
    environment.install(what, flags)
    environment.python("-c", IMPORT_BASE)
    environment.qbnnc("--version")
    data = ("--input", "fashion.npz:x", "--seed", SEED)
    environment.qbnnc("run", "lenet.qbnn", *data, "-o", f"{name}.npz")


def told(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)
