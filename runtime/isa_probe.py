"""A trial of an instruction set: whether this machine's LLVM compiles its products.

LLVM ends the process if it cannot select an instruction. So another process tries it, once, and the
answer is kept beside the kernels. If no Python can be started, LLVM only verifies the products.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from qbnnc.runtime import isa_trial
from qbnnc.runtime.cache_folder import store
from qbnnc.runtime.isa import Isa, feature_string, target_cpu

_LOG = logging.getLogger("qbnnc")
_WORKS = b"works"
_LLVMLITE = str(Path(llvmlite.__file__).parents[1])  # where it is imported from
_SECONDS = 300  # a machine that is slower than that has other troubles


class Fault(NamedTuple):
    """The reason why LLVM cannot compile an instruction set, "" if it can.

    `is_new` says that it was tried now.
    """

    why: str
    is_new: bool


def fault(isa: Isa) -> Fault:
    """Try an instruction set, once for a machine and a version.

    GENERIC is plain arithmetic, and always works.
    """
    if isa is Isa.GENERIC:
        return Fault("", is_new=False)
    name = f"{isa.value}-products"
    if (known := store().read(name)) is not None:
        return Fault("" if known == _WORKS else known.decode(), is_new=False)
    why = _tried(isa)
    store().write(name, why.encode() or _WORKS)
    return Fault(why, is_new=True)


def _tried(isa: Isa) -> str:
    """Try an instruction set; return the reason of a failure, or ""."""
    try:
        text = str(_products(isa))
        with llvm.parse_assembly(text) as module:
            module.verify()
    except Exception as error:  # of any kind: it is the reason why the set is left out
        first = _first(error)
        return f"{type(first).__name__}: {' '.join(str(first).splitlines()[:2])}"
    return _tried_elsewhere(text)


def _first(error: BaseException) -> BaseException:
    """Return the error that came first: the blocks that it leaves may raise others."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _products(isa: Isa) -> ir.Module:
    """Write one panel of each form of the instruction set, and a column of sampled weights."""
    # These need numba, and a set that was tried before does not.
    from qbnnc.runtime.families.contraction.kernels.microkernel import Shape, define_panel
    from qbnnc.runtime.families.contraction.kernels.products import WORD_PRODUCTS
    from qbnnc.runtime.families.sampled_weights.drawing import define_column
    from qbnnc.runtime.families.sampled_weights.noise import noise_form

    shapes = [Shape((1,), width) for width in isa.panels]
    shapes += [Shape((1,), isa.panels[0], wide=True, sums=sums) for sums in (False, True)]
    if isa in WORD_PRODUCTS:
        shapes.append(Shape((1,), isa.panels[0], words=True, sums=True))
    if isa is Isa.AVX2:
        shapes += [Shape((1,), isa.panels[0], steps=steps) for steps in (2, 4)]
    module = ir.Module("products")
    module.triple = llvm.get_process_triple()
    for shape in shapes:
        define_panel(module, f"panel_{shape}", isa, shape).linkage = "external"
    define_column(module, "column", isa, noise_form(isa)).linkage = "external"
    return module


def _tried_elsewhere(text: str) -> str:
    """Compile the IR in another process; return the reason of a failure.

    The result is "" too if no process can be asked.
    """
    machine = {"triple": llvm.get_process_triple(), "cpu": target_cpu()}
    task = {"path": _LLVMLITE, **machine, "features": feature_string(), "ir": text}
    if not _is_python(sys.executable):
        return ""
    command = [sys.executable, "-I", "-S", isa_trial.__file__]
    try:
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _LOG.debug("no other process says whether the instruction set works: %s", error)
        return ""
    said = done.stdout.split()
    if isa_trial.BEGUN not in said:
        _LOG.debug("the trial of the instruction set did not begin: %s", _said(done.stderr))
        return ""
    if isa_trial.ENDED in said:
        return ""
    return _said(done.stderr) or f"LLVM ended with code {done.returncode}"


def _is_python(executable: str | None) -> bool:
    """Tell Python from an application that embeds it or is frozen, and would start again."""
    name = Path(executable or os.devnull).name.lower()
    return name.startswith("python") and not getattr(sys, "frozen", False)


def _said(stderr: str) -> str:
    """Return LLVM's error, or else the last line, which is Python's exception."""
    lines = [line.strip() for line in stderr.strip().splitlines()] or [""]
    return next((line for line in lines if line.startswith("LLVM ERROR")), lines[-1])
