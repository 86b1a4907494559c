"""The cache of compiled kernels: found again, keyed by content, and never in the way."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest
from numba.core import config

from qbnnc.runtime import cache

HITS = """
from qbnnc.runtime.cache import kernels
stats = kernels().execute.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def in_process(program: str, folder: Path, **more: str) -> str:
    environment = os.environ | {"QBNNC_CACHE_DIR": str(folder)} | more
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.slow
def test_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    assert in_process(HITS, tmp_path) == "0 1"
    assert in_process(HITS, tmp_path) == "1 0"
    (folder,) = tmp_path.iterdir()
    for file in folder.rglob("*.nbc"):
        file.write_bytes(file.read_bytes()[:100])
    assert in_process(HITS, tmp_path) == "0 1"  # damaged: compiled again
    assert in_process(HITS, tmp_path) == "1 0"


@pytest.mark.slow
def test_processes_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"QBNNC_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", HITS], env=environment)
        for _ in range(3)
    ]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert in_process(HITS, tmp_path) == "1 0"


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert in_process(HITS, blocked) == "0 1"
    assert [*tmp_path.iterdir()] == [blocked]


def test_no_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("QBNNC_CACHE_DIR", str(tmp_path / "file"))
    assert cache.writable_folder() is None


def test_this_process_uses_the_cache_and_leaves_numba_alone() -> None:
    before = vars(config)["CACHE_DIR"]
    cache.kernels()
    assert before == vars(config)["CACHE_DIR"]
    assert cache.kernels() is cache.kernels()


def test_fingerprint_follows_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before, files = cache.fingerprint(), cache.sources(Path(cache.__file__).parent)
    assert cache.fingerprint() == before
    names = [name for name, _ in files]
    assert "runtime/kernels/convolution.py" in names
    assert "ir/rng.py" in names
    for i, (name, content) in enumerate(files):
        changed = [*files[:i], (name, content + b" "), *files[i + 1 :]]
        monkeypatch.setattr(cache, "sources", lambda _, changed=changed: changed)
        assert cache.fingerprint() != before, name


def test_fingerprint_covers_what_kernels_import() -> None:
    """Numbers that kernels import are part of the machine code."""
    runtime = Path(cache.__file__).parent
    names = [name for name, _ in cache.sources(runtime)]
    for file in (runtime / "kernels").glob("*.py"):
        for module in re.findall(r"^from qbnnc\.(ir\.\S+)", file.read_text(), re.MULTILINE):
            assert f"{module.replace('.', '/')}.py" in names, f"{file.name}: {module}"


def test_fingerprint_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.fingerprint()
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "another")
    assert cache.fingerprint() != before


@pytest.mark.parametrize(
    ("platform", "environment", "root"),
    [
        ("linux", {"QBNNC_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/qbnnc"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/qbnnc"),
        ("linux", {}, "/home/me/.cache/qbnnc"),
        ("darwin", {}, "/home/me/Library/Caches/qbnnc"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/qbnnc/Cache"),
    ],
)
def test_places(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], root: str
) -> None:
    for name in ("QBNNC_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.cache_root() == Path(root)


@pytest.mark.slow
def test_no_fused_arithmetic() -> None:
    """One rounding an operation: in LLVM's code, and in what the target made of it."""
    dispatcher: Any = cache.compile_kernels(None).execute
    (code,), (assembly,) = dispatcher.inspect_llvm().values(), dispatcher.inspect_asm().values()
    assert " fmul float" in code
    for word in ("llvm.fma", "llvm.fmuladd", "fmul fast", "fadd fast", "contract", "reassoc"):
        assert word not in code, word
    for word in ("vfmadd", "vfmsub", "vfnmadd", "fmadd", "fmla"):
        assert word not in assembly, word
