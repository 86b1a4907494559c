"""Kernels are compiled once, one by one, and kept files never get in the way."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba.core import config

from qbnnc.runtime import cache, compilation
from qbnnc.runtime.cache import Progress, build, kernels
from qbnnc.runtime.cache_folder import fingerprint, store
from qbnnc.runtime.cache_store import Store, private_folder
from qbnnc.runtime.families import compiled_instructions
from qbnnc.runtime.families.moves.instructions import Copy, Load
from qbnnc.runtime.families.pointwise.instructions import Clamp, Lookup
from qbnnc.runtime.isa import chosen, target_machine
from qbnnc.runtime.program import Instruction
from tests.examples import nightly_but

COMPILED = "from qbnnc.runtime.cache import kernels; print(kernels().compiled)"
# The same with five kernels in all.
FEW = """
from qbnnc.runtime import cache
from qbnnc.runtime.families.moves.instructions import Copy, Load
cache.compiled_instructions = lambda: [Copy, Load]
print(cache.kernels().compiled)
"""
# Ends without any clean-up when the second of the missing kernels is about to be compiled.
KILLED = """
import logging, os
class Killer(logging.Handler):
    def emit(self, record):
        if vars(record)["compiling"].kernel and vars(record)["compiling"].done == 1:
            os._exit(9)
log = logging.getLogger("qbnnc")
log.addHandler(Killer())
log.setLevel(logging.DEBUG)
from qbnnc.runtime.cache import kernels
kernels()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of caches with a copy of the kernels of this process."""
    kernels()
    folder = store().folder
    if folder is None:
        pytest.skip("this process has no cache")
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    shutil.copytree(folder, root / folder.name, copy_function=shutil.copy)
    return root


def files(root: Path) -> Path:
    (folder,) = root.iterdir()
    return folder


def file(root: Path, instruction: type[Instruction]) -> Path:
    """The file of an instruction's kernel."""
    return files(root) / f"{chosen().value}-{instruction.name()}"


def in_process(program: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"QBNNC_CACHE_DIR": str(root)},
    )


def compiled_in_process(root: Path, program: str = COMPILED) -> int:
    done = in_process(program, root)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return int(done.stdout)


@pytest.mark.slow
def test_a_cold_cache_is_filled(tmp_path: Path) -> None:
    assert compiled_in_process(tmp_path, FEW) == 5
    assert compiled_in_process(tmp_path, FEW) == 0


@pytest.mark.slow
def test_damaged_files_are_compiled_again(root: Path) -> None:
    """Damage costs one kernel alone: a cut, another bit, a folder, or a file open to others."""
    assert compiled_in_process(root) == 0
    cut, changed = file(root, Load), file(root, Lookup)
    cut.write_bytes(cut.read_bytes()[:100])
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    file(root, Copy).unlink()
    file(root, Copy).mkdir()
    file(root, Clamp).chmod(0o666)
    (files(root) / f"{chosen().value}-moments").write_bytes(b"")
    assert compiled_in_process(root) == 5
    assert compiled_in_process(root) == 0


@pytest.mark.slow
def test_an_interrupted_build_goes_on_where_it_was(root: Path) -> None:
    for kind in (Load, Lookup, Copy):
        file(root, kind).unlink()
    assert in_process(KILLED, root).returncode == 9
    assert compiled_in_process(root) == 2
    assert compiled_in_process(root) == 0


@pytest.mark.slow
def test_processes_at_once(root: Path) -> None:
    for kind in (Load, Lookup):
        file(root, kind).unlink()
    environment = os.environ | {"QBNNC_CACHE_DIR": str(root)}
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", COMPILED], env=environment)
        for _ in range(3)
    ]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert compiled_in_process(root) == 0
    assert not [*files(root).glob("*.tmp")]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert compiled_in_process(blocked, FEW) == 5
    assert [*tmp_path.iterdir()] == [blocked]


def test_this_process_uses_the_cache_and_leaves_numba_alone() -> None:
    before = vars(config)["CACHE_DIR"]
    assert kernels() is kernels()
    assert before == vars(config)["CACHE_DIR"]


def test_what_is_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    file(root, Load).unlink()
    file(root, Copy).unlink()
    with caplog.at_level(logging.DEBUG, "qbnnc"):
        assert build(Store(files(root), fingerprint())).compiled == 2
    levels, name = [r.levelno for r in caplog.records], chosen().value
    assert levels == [logging.INFO, logging.DEBUG, logging.DEBUG, logging.INFO]
    assert {record.name for record in caplog.records} == {"qbnnc"}
    assert [vars(record)["compiling"] for record in caplog.records] == [
        Progress(0, 2, ""),
        Progress(0, 2, "load"),
        Progress(1, 2, "copy"),
        Progress(2, 2, ""),
    ]
    assert caplog.messages[0] == f"compiling 2 kernels for {name}, kept in {files(root)}"
    assert caplog.messages[3].startswith(f"compiled 2 kernels for {name} in ")


def test_a_warm_cache_needs_no_numba(root: Path) -> None:
    """numba's import takes longer than all the rest."""
    program = f"import sys; {COMPILED}; sys.exit('numba' in sys.modules)"
    assert compiled_in_process(root, program) == 0


def test_nothing_is_logged_of_a_warm_cache(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "qbnnc"):
        assert build(Store(files(root), fingerprint())).compiled == 0
    assert caplog.messages == []


def test_a_cache_that_cannot_be_used(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning is logged, whether the fault is known before or found at the first file."""
    readable = Store(files(root), fingerprint(), "the reason")
    build(readable)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (
            logging.WARNING,
            "each process compiles the kernels anew, because they cannot be kept: the reason",
        )
    ]
    caplog.clear()
    file(root, Load).unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    build(Store(files(root), fingerprint()))
    (warning,) = caplog.messages
    assert warning.endswith(f"cannot be kept: {files(root)}: No space left on device")


@pytest.mark.parametrize("step", nightly_but([5], [1, 5]))
def test_kernels_are_compiled_without_fused_arithmetic(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operation rounds once, in LLVM's code and in the machine code of the target."""
    instructions = compiled_instructions()[step - 1 :: step]
    monkeypatch.setattr(cache, "compiled_instructions", lambda: instructions)
    modules = list[Any]()
    compile_ = compilation.compiled

    def kept(*given: Any) -> Any:
        modules.append(compile_(*given))
        return modules[-1]

    monkeypatch.setattr(compilation, "compiled", kept)
    folder = private_folder(tmp_path, f"kernels-{fingerprint()}")
    compiled = build(Store(folder, fingerprint())).compiled
    assert compiled == len(modules) == len(instructions) + 3
    if step == 1:
        assert compiled_in_process(tmp_path) == 0
    # Markstein's division needs exact products: the drawing of weights asks for them by name.
    exact = [module for module in modules if "llvm.fma.v" in str(module)]
    assert len(exact) <= 1
    codes = "".join(map(str, modules))
    assert " fmul float" in codes
    for word in ("llvm.fmuladd", "fmul fast", "fadd fast", "contract", "reassoc"):
        assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", codes), word
    others = [module for module in modules if module not in exact]
    assert not re.search(r"(?<!\w)llvm\.fma(?!\w)", "".join(map(str, others)))
    assembly = "".join(target_machine().emit_assembly(module) for module in others)
    for word in ("vfmadd", "vfmsub", "vfnmadd", "fmadd", "fmla"):
        assert word not in assembly, word
