"""Compiling kernels one by one; only this needs numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.templates import Signature

from qbnnc.runtime.isa import target_machine
from qbnnc.runtime.kernels import entries, interpreter, moments, predict
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.target import optimised
from qbnnc.runtime.linking import python_function
from qbnnc.runtime.program import Instruction

_EXECUTE = (0, 1, None, None, 1, 1, 1)  # entries, jobs, seed, first_row, x, arena, out
_MOMENTS = (2, 2)  # samples, made


def entry(instruction: type[Instruction]) -> llvm.ModuleRef:
    """Compile the function that the interpreter calls for an instruction."""
    return compiled(entries.entry(instruction), entries.SIGNATURE)


def execute() -> llvm.ModuleRef:
    """Compile the interpreter, which Python calls."""
    more = python_function(_EXECUTE)
    return compiled(interpreter.execute, interpreter.SIGNATURE, more)


def mean_and_variance() -> llvm.ModuleRef:
    """Compile `moments.moments`, which Python calls."""
    return compiled(moments.moments, moments.SIGNATURE, python_function(_MOMENTS))


def for_c() -> llvm.ModuleRef:
    """Compile `predict.predict`, which C calls."""
    return compiled(predict.predict, predict.SIGNATURE)


def compiled(function: Callable[..., Any], signature: Signature, more: str = "") -> llvm.ModuleRef:
    """Compile a function of int64 to optimised LLVM IR; see `target.optimised`."""
    dispatcher, settings = kernel(function), vars(config)
    with global_compiler_lock:
        checks, settings["BOUNDSCHECK"] = settings["BOUNDSCHECK"], None  # else kernels would raise
        try:
            dispatcher.compile(signature)
        finally:
            settings["BOUNDSCHECK"] = checks
    return optimised(dispatcher, more)


def object_code(module: llvm.ModuleRef) -> bytes:
    """Compile optimised LLVM IR to an object file, for `linking.link`."""
    return bytes(target_machine().emit_object(module))
