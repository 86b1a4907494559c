"""The folder that keeps compiled kernels between processes.

The folder's name carries a hash of the CPU, all versions, the content of the
whole runtime, and the definitions that its kernels import. So a stale kernel is impossible.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from qbnnc.runtime.cache_store import Store, private_folder
from qbnnc.runtime.isa import target_cpu, target_features


@cache
def store() -> Store:
    """Open the store for this machine and this content of the runtime."""
    key = fingerprint()
    try:
        return Store(private_folder(cache_root(), f"kernels-{key}"), key)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        advice = "set $QBNNC_CACHE_DIR to a folder of your own"
        return Store(None, key, f"{_reason(error)} (or {advice})")


def cache_root() -> Path:
    """Return $QBNNC_CACHE_DIR, or the folder `qbnnc` where the platform keeps caches."""
    if place := os.environ.get("QBNNC_CACHE_DIR"):
        return Path(place).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "qbnnc" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qbnnc"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "qbnnc"


def fingerprint() -> str:
    """Hash all that the machine code depends on, except for the instruction set."""
    machine = (
        (llvm.get_process_triple(), target_cpu(), sorted(target_features().items())),
        version("numba"),
        llvmlite.__version__,
        np.__version__,
        platform.python_implementation(),
        platform.python_version(),
        object.__basicsize__,
    )
    digest = hashlib.sha256(repr(machine).encode())
    for name, content in sources(Path(__file__).parent):
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


def sources(runtime: Path) -> list[tuple[str, bytes]]:
    """Return the path and content of each file that the machine code depends on."""
    files = [*sorted(runtime.rglob("*.py")), runtime.parent / "ir" / "rng.py"]
    return [(f.relative_to(runtime.parent).as_posix(), f.read_bytes()) for f in files]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
