"""The line that says what figures depend on: the CPU, what is used of it, and all versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite.binding as llvm

from qbnnc.runtime.isa import chosen
from tools.bench import confine

_PACKAGES = ("numpy", "numba", "onnxruntime", "torch", "openvino")


def machine() -> str:
    """Describe the machine as the header of a table."""
    isa = chosen()
    confined = confine.CONFINED in os.environ
    others = "AVX-512 and VNNI hidden" if confined else "all that the CPU has"
    return (
        f"{_processor()}; qbnnc: {isa.value}, vectors of {32 * isa.lanes} bits; "
        f"other engines: {others}; Python {platform.python_version()}, {_versions()}"
    )


def _versions() -> str:
    return ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Name the CPU as the system does, its family, model and generation, and its cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
    known = dict(reversed([(name, value) for name, value in fields]))
    name = known.get("model name") or platform.processor() or "a CPU without a name"
    numbers = [f"{field} {known[field]}" for field in ("cpu family", "model") if field in known]
    cores = sum(field == "processor" for field, _ in fields) or os.cpu_count()
    return f"{name} ({', '.join([*numbers, llvm.get_host_cpu_name()])}), {cores} cores"
