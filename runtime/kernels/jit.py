"""Kernels: numba's functions that other kernels call, and functions of LLVM IR for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from qbnnc.runtime.kernels.target import KernelDispatcher, Pipeline

# numpy's error model: x / 0 is IEEE's, not an exception; with one, no loop that divides becomes
# vector code. Without _nrt arrays have no counts of references: all are views of the caller's.
_OPTIONS: dict[str, Any] = {
    "nopython": True,
    "nogil": True,
    "debug": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
    "_nrt": False,
}

Kernel: TypeAlias = Any  # numba's function of (row, context, memory): see `entries`


def kernel(function: Callable[..., Any]) -> Any:
    """Make numba's function of a Python function, which is compiled at its first use."""
    return KernelDispatcher(py_func=function, targetoptions=dict(_OPTIONS), pipeline_class=Pipeline)


def jitted(
    name: str, arguments: Sequence[types.Type], define: Callable[[ir.Module, str], ir.Function]
) -> Any:
    """Give numba's jitted code the function that `define` writes; it returns nothing.

    The name is unique in a module.
    """

    def typing(_, *given):
        def generate(context, builder, signature, args):
            function = builder.module.globals.get(name) or define(builder.module, name)
            builder.call(function, args)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    kind = Parameter.POSITIONAL_ONLY  # numba asks for the number of arguments
    names = ["context", *(f"argument{i}" for i in range(len(arguments)))]
    vars(typing)["__signature__"] = Signature([Parameter(name, kind) for name in names])
    return intrinsic(typing)
