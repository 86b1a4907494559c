"""Try every Python, and old and new onnxruntimes: what docs/reference/versions.md says.

    python -m tools.versions.trials [--jobs 2] [--pip-flags ...]

Each Python from 3.11 on that the PATH or pyenv has gets the newest runtime that its package index
offers. It runs the runtime's tests that need no torch, then the networks of artefacts.py. Each
onnxruntime gets their ONNX files. Every trial has a virtual environment of its own, in
.venv-versions. Prints two tables in Markdown; exits with 1 if a trial failed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENVS, NETWORKS = ROOT / ".venv-versions", ROOT / "build" / "versions"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
BETWEEN = ("1.22.0", "1.23.2", "1.24.4")  # onnxruntimes between the lowest and the newest
FOREIGN = re.compile(r"^(?:import|from) (?:torch|torchmetrics|unicorn)\b", re.MULTILINE)
SHOWN = """
import sys
from importlib.metadata import version
print("%d.%d.%d" % sys.version_info[:3], *map(version, sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A virtual environment of `python`, where `packages` are installed."""

    name: str
    python: Path
    packages: tuple[str, ...]

    @property
    def executable(self) -> Path:
        return VENVS / self.name / "bin" / "python"

    def install(self, flags: list[str]) -> None:
        subprocess.run([self.python, "-m", "venv", VENVS / self.name], check=True)
        self.run(
            "-m", "pip", "install", "-qq", "--disable-pip-version-check", *flags, *self.packages
        )

    def run(self, *arguments: str | Path) -> str:
        """Run a command, and return its last line; raises CalledProcessError."""
        command = [self.executable, *arguments]
        made = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
        return (made.stdout.strip().splitlines() or [""])[-1]

    def row(self, shown: tuple[str, ...], *commands: tuple[str | Path, ...]) -> tuple[str, bool]:
        """The versions and the last command's last line, or how the first bad command ended."""
        cells = self.run("-c", SHOWN, *shown).split()
        try:
            results = [self.run(*command) for command in commands]
        except subprocess.CalledProcessError as error:
            print(error.stdout, file=sys.stderr)
            return table_row(*cells, f"failed: {shlex.join(map(str, error.cmd[1:]))}"), False
        return table_row(*cells, results[-1].strip("= ") or "equal bits"), True


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def pythons() -> Iterator[tuple[str, Path]]:
    """The version and the interpreter of those that start."""
    installed = Path.home() / ".pyenv" / "versions"
    for version in PYTHONS:
        found = shutil.which(f"python{version}")
        places = [Path(found)] if found else []
        places += sorted(installed.glob(f"{version}.*/bin/python{version}"))
        for place in places:
            if subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode == 0:
                yield version, place
                break


def runtime_tests() -> list[Path]:
    """The tests of the runtime and of its ground that need no more than the runtime."""
    files = [f for folder in ("ir", "runtime") for f in (ROOT / "tests" / folder).glob("test_*.py")]
    return sorted(f for f in files if not FOREIGN.search(f.read_text()))


def pinned(file: str, package: str) -> str:
    """The version that a constraints file names."""
    found = re.search(rf"^{package}==(.*)$", (ROOT / file).read_text(), re.MULTILINE)
    assert found, f"{file} does not pin {package}"
    return found[1]


def try_pythons(jobs: int, flags: list[str]) -> bool:
    shown, good = ("numpy", "numba", "llvmlite"), True
    print(table_row("Python", *shown, "tests"), table_row(*["---"] * 5), sep="\n", flush=True)
    tests = ("-m", "pytest", "-q", "-n", str(jobs), "-p", "no:cacheprovider")
    for version, python in pythons():
        packages = (str(ROOT), "hypothesis", "pytest", "pytest-xdist")
        trial = Trial(f"python-{version}", python, packages)
        trial.install(flags)
        row, passed = trial.row(
            shown,
            ("tools/versions/check.py", "runtime", NETWORKS),
            (*tests, "--quick", "-m", "not slow and not nightly", *runtime_tests()),
        )
        print(row, flush=True)
        good &= passed
    return good


def try_onnxruntimes(flags: list[str]) -> bool:
    files = "constraints-minimum.txt", "constraints.txt"
    lowest, newest = (pinned(file, "onnxruntime") for file in files)
    shown, good = ("numpy", "onnxruntime"), True
    print(table_row("Python", *shown, "networks"), table_row(*["---"] * 4), sep="\n", flush=True)
    for version in (lowest, *BETWEEN, newest):
        packages = (f"onnxruntime=={version}", "numpy")
        trial = Trial(f"onnxruntime-{version}", Path(sys.executable), packages)
        trial.install(flags)
        row, passed = trial.row(shown, ("tools/versions/check.py", "onnxruntime", NETWORKS))
        print(row, flush=True)
        good &= passed
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description="Try every Python, and several onnxruntimes.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pip-flags", type=shlex.split, default=[])
    options = parser.parse_args()
    subprocess.run(
        [sys.executable, "-m", "tools.versions.artefacts", NETWORKS], cwd=ROOT, check=True
    )
    results = try_onnxruntimes(options.pip_flags), try_pythons(options.jobs, options.pip_flags)
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
