"""The compiled interpreter, and where it is kept between processes.

numba keys its cache on one file's content, and bakes in what other files say. So the folder's name
carries a hash of all that the machine code depends on: CPU, versions, and the content of the
whole runtime and of the definitions it imports. Without a writable place there is no cache.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias, cast

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit
from numba.core import config
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels import interpreter, moments

Execute: TypeAlias = Callable[
    [
        NDArray[np.int64],
        int,
        int,
        NDArray[np.float32],
        NDArray[np.uint8],
        NDArray[np.float32],
    ],
    None,
]
Moments: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.float32]], None]

_LOCK = Lock()  # one thread compiles, the others wait; numba's configuration is one for all


class Kernels(NamedTuple):
    """The jitted functions: kernels.interpreter.execute and kernels.moments.moments."""

    execute: Execute
    moments: Moments


def kernels() -> Kernels:
    """Loaded from the cache or compiled; the first call takes seconds."""
    with _LOCK:
        return _kernels()


@cache
def _kernels() -> Kernels:
    folder = writable_folder()
    try:
        return compile_kernels(folder)
    except (EOFError, pickle.UnpicklingError):  # a damaged file
        shutil.rmtree(folder or "", ignore_errors=True)
        return compile_kernels(writable_folder())
    except OSError:  # a full disk
        return compile_kernels(None)


def compile_kernels(folder: Path | None) -> Kernels:
    """Compile, or load what was compiled; None is no cache."""
    return Kernels(
        cast(Execute, _compiled(interpreter.execute, interpreter.SIGNATURE, folder)),
        cast(Moments, _compiled(moments.moments, moments.SIGNATURE, folder)),
    )


def _compiled(function: Callable[..., None], signature: Signature, folder: Path | None) -> Any:
    dispatcher = njit(nogil=True, error_model="numpy")(function)
    if folder is not None:
        settings = vars(config)
        before = settings["CACHE_DIR"]
        settings["CACHE_DIR"] = str(folder)
        try:
            dispatcher.enable_caching()
        finally:
            settings["CACHE_DIR"] = before
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def was_cached() -> bool:
    """Whether `kernels` found the interpreter, not compiled it."""
    dispatcher = cast(Any, kernels().execute)  # numba's, which is more than a function
    return bool(sum(dispatcher.stats.cache_hits.values()) > 0)


def writable_folder() -> Path | None:
    """The folder for this machine and this content, made if need be; None if it cannot be."""
    try:
        folder = cache_root() / f"kernels-{fingerprint()}"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    return folder


def cache_root() -> Path:
    """$QBNNC_CACHE_DIR, or a folder `qbnnc` where the platform keeps caches."""
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
    """A hash of all that the machine code depends on."""
    machine = (
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        numba.__version__,
        llvmlite.__version__,
        platform.python_implementation(),
        platform.python_version(),
        chosen().value,
    )
    digest = hashlib.sha256(repr(machine).encode())
    for name, content in sources(Path(__file__).parent):
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


def sources(runtime: Path) -> list[tuple[str, bytes]]:
    """Path and content of each file of the runtime, and of the definitions its kernels import."""
    files = [*sorted(runtime.rglob("*.py")), runtime.parent / "ir" / "rng.py"]
    return [(f.relative_to(runtime.parent).as_posix(), f.read_bytes()) for f in files]
