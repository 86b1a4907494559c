"""The numba target of the kernels: LLVM runs once over a kernel and all that it calls.

For numba each function is a library of its own, which is optimised and compiled before it is linked
into its callers, and then optimised again with them. Nobody calls the helpers of kernels alone. So
a library of this target is linked and nothing else. `optimised` runs LLVM over a kernel with all of
its helpers.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.core.registry import CPUDispatcher, CPUTarget, cpu_target
from numba.core.typed_passes import (
    AnnotateTypes,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import FixupArgs, IRProcessing, ReconstructSSA, TranslateByteCode
from numba.core.utils import threadsafe_cached_property

from qbnnc.runtime.isa import target_machine
from qbnnc.runtime.linking import SYMBOL

_passes: Any = PassManager  # numba has no types
_SPEED = 3  # LLVM's -O3
_OF_THIS_PROCESS = "numba.dynamic.globals"  # addresses in numba's code


class Library(JITCodeLibrary):
    """The LLVM IR of one function, and of all that it calls."""

    def module(self) -> llvm.ModuleRef:
        """Return a copy of the IR."""
        return self._final_module.clone()

    def _optimize_functions(self, ll_module: llvm.ModuleRef) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        """Do nothing: `optimised` does it."""

    def _finalize_specific(self) -> None:
        """Do nothing: no engine runs this library."""


class Codegen(JITCPUCodegen):
    """Makes libraries of this target."""

    _library_class = Library

    def _add_module(self, module: llvm.ModuleRef) -> None:
        """Do nothing: no engine runs it."""

    def set_env(self, env_name: str, env: object) -> None:
        """Do nothing: kernels use no objects of Python."""


class Target(CPUTarget):
    """numba's CPU target with another generator of code."""

    @threadsafe_cached_property
    def _toplevel_target_context(self) -> Any:
        codegen: Any = Codegen
        return cpu_target.target_context.subtarget(_internal_codegen=codegen("qbnnc"))

    @threadsafe_cached_property
    def _toplevel_typing_context(self) -> Any:
        return cpu_target.typing_context


class Pipeline(CompilerBase):
    """numba's passes that kernels need: they have no closures, exceptions or array expressions."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes in their order."""
        passes = _passes("kernel")
        for one in (
            TranslateByteCode,
            FixupArgs,
            IRProcessing,
            ReconstructSSA,
            NopythonTypeInference,
            PreLowerStripPhis,
            IRLegalization,
            AnnotateTypes,
            NativeLowering,
            NoPythonBackend,
        ):
            passes.add_pass(one, one.__name__)
        passes.finalize()
        return [passes]


_target: Any = Target


class KernelDispatcher(CPUDispatcher):
    """numba's function of this target."""

    targetdescr = _target("cpu")


def optimised(dispatcher: Any, more: str = "") -> llvm.ModuleRef:
    """Optimise a compiled function of int64 that returns int64, as the C function SYMBOL.

    `more` is LLVM IR of functions that call it, and are exported too.
    """
    (result,) = dispatcher.overloads.values()
    module, name = result.library.module(), result.fndesc.llvm_func_name
    texts = [_for_c(name, len(result.signature.args)), *([more] if more else [])]
    for text in texts:
        module.link_in(llvm.parse_assembly(text))
    exported = {f.name for t in texts for f in llvm.parse_assembly(t).functions if _is_defined(f)}
    for function in module.functions:
        if _is_defined(function) and function.name not in exported:
            function.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(_SPEED)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)
    for variable in module.global_variables:
        assert not variable.name.startswith(_OF_THIS_PROCESS), result.fndesc.qualname
    return module


def _is_defined(function: llvm.ValueRef) -> bool:
    return not function.is_declaration


def _for_c(name: str, count: int) -> str:
    """Write the function SYMBOL, which calls numba's function of `count` numbers."""
    kinds = ", ".join(["i64"] * count)
    values = ", ".join(f"i64 %a{i}" for i in range(count))
    return f"""
        declare i32 @"{name}"(ptr, ptr, {kinds})
        define i64 @{SYMBOL}({values}) {{
            %result = alloca i64
            %exception = alloca ptr
            %status = call i32 @"{name}"(ptr %result, ptr %exception, {values})
            %value = load i64, ptr %result
            ret i64 %value
        }}"""
