"""The instruction set of the kernels, which is detected at import or forced by $QBNNC_ISA.

To add an instruction set, write a member of Isa, the features that it needs, and its product in
`families.contraction.kernels.products.PRODUCTS`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from enum import Enum
from functools import cache

import llvmlite.binding as llvm

from qbnnc.support.errors import UserError


class Isa(Enum):
    """Instruction sets that have a product of four 8-bit pairs; the best one first."""

    AVX512_VNNI = "avx512vnni"  # vpdpbusd, on 512-bit registers
    AVX512_VNNI_256 = "avx512vnni-256"  # the same, on 256-bit registers
    AVX_VNNI = "avxvnni"  # vpdpbusd
    NEON_DOT = "neon-dot"  # sdot
    AVX2 = "avx2"  # vpmaddubsw, vpmaddwd
    GENERIC = "generic"  # what LLVM makes of multiplications and additions

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the instruction set needs, by LLVM's names."""
        return _FEATURES[self]

    @property
    def lanes(self) -> int:
        """The int32 numbers of a vector of accumulators."""
        return 16 if self is Isa.AVX512_VNNI else 8

    @property
    def registers(self) -> int:
        """The vectors that the registers hold; two registers of NEON hold one vector."""
        return 32 if self in (Isa.AVX512_VNNI, Isa.AVX512_VNNI_256) else 16

    @property
    def panels(self) -> tuple[int, ...]:
        """The output channels that a panel of weights may have: two vectors, and fewer."""
        return (32, 24, 16, 8) if self is Isa.AVX512_VNNI else (16, 8)

    @property
    def multiplies_words(self) -> bool:
        """True if products of int16 pairs take no longer than those of four bytes.

        Only then does Winograd's form pay.
        """
        return self is Isa.AVX2

    @property
    def products_per_second(self) -> float:
        """The products of 8-bit codes that one core computes in a second, in whole networks.

        Measured on a server core of 2.8 GHz, to tell whether a prediction is worth a second thread:
        half or double the number is as good. AVX512_VNNI, AVX_VNNI and NEON_DOT have estimates.
        """
        return _PRODUCTS_PER_SECOND[self]

    @property
    def other_work_per_second(self) -> float:
        """The work of instructions without products, in multiplications: drawing weights above all.

        Measured as `products_per_second`.
        """
        return 150e9 if self in (Isa.AVX512_VNNI, Isa.AVX512_VNNI_256) else 75e9


_FEATURES = {
    Isa.AVX512_VNNI: ("avx512vnni", "avx512vl", "avx512bw", "avx2"),
    Isa.AVX512_VNNI_256: ("avx512vnni", "avx512vl", "avx2"),
    Isa.AVX_VNNI: ("avxvnni", "avx2"),
    Isa.NEON_DOT: ("dotprod",),
    Isa.AVX2: ("avx2",),
    Isa.GENERIC: (),
}
# CPUs that run two 512-bit products in a cycle, by LLVM's names. Others run one, lower their clock,
# or are not known: two products of 256 bits take them no longer.
_FULL_WIDTH = {
    "icelake-server",
    "sapphirerapids",
    "emeraldrapids",
    "graniterapids",
    "graniterapids-d",
    "diamondrapids",
    "znver5",
}
_PRODUCTS_PER_SECOND = {
    Isa.AVX512_VNNI: 240e9,
    Isa.AVX512_VNNI_256: 145e9,
    Isa.AVX_VNNI: 145e9,
    Isa.NEON_DOT: 100e9,
    Isa.AVX2: 75e9,
    Isa.GENERIC: 15e9,
}
_LOG = logging.getLogger("qbnnc")
_AT_HWCAP, _HWCAP_ASIMDDP = 16, 1 << 20  # Linux's, for 64-bit Arm


def available(features: Mapping[str, bool], cpu: str) -> list[Isa]:
    """Return the instruction sets of a CPU with these features, the best one first.

    `cpu` is LLVM's name. A CPU that halves 512-bit products does better with 256 bits.
    """
    found = [isa for isa in Isa if all(features.get(name, False) for name in isa.features)]
    if found[0] is Isa.AVX512_VNNI and cpu not in _FULL_WIDTH:
        found[:2] = Isa.AVX512_VNNI_256, Isa.AVX512_VNNI
    return found


def of_this_cpu() -> list[Isa]:
    """Return the instruction sets of the CPU that kernels are compiled for, the best one first."""
    return available(target_features(), target_cpu())


@cache
def chosen() -> Isa:
    """Return $QBNNC_ISA, or the best instruction set that the CPU has and LLVM compiles.

    An instruction set that LLVM cannot compile is passed over. The process that finds this out logs
    a warning; later ones know it. Raises UserError if the CPU lacks the forced one, or LLVM fails.
    """
    from qbnnc.runtime.isa_probe import fault  # which compiles kernels, and they import this module

    found = of_this_cpu()
    if wanted := os.environ.get("QBNNC_ISA", "").strip().lower():
        isa = _wanted(wanted, found)
        if why := fault(isa).why:
            raise UserError(
                f"LLVM cannot compile its products ({why})",
                place=f"QBNNC_ISA={wanted}",
                remedy="leave it out: the best that works is taken",
            )
        return isa
    for isa in found:
        why, is_new = fault(isa)
        if not why:
            break
        text = "instruction set %s is left out, because LLVM cannot compile its products: %s"
        _LOG.log(logging.WARNING if is_new else logging.DEBUG, text, isa.value, why)
    return isa


def _wanted(name: str, found: list[Isa]) -> Isa:
    names = [isa.value for isa in found]
    if name not in names:
        raise UserError(
            f"this CPU runs {', '.join(names)}",
            place=f"QBNNC_ISA={name}",
            remedy="take one of them",
        )
    return Isa(name)


def target_machine() -> llvm.TargetMachine:
    """Make the machine that kernels are compiled for and linked on. An engine owns its machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    is_x86 = triple.startswith(("x86", "i386", "i686"))
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=target_cpu(),
        features=feature_string(),
        opt=3,
        reloc="static" if is_x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


def target_cpu() -> str:
    """Return LLVM's name of the CPU: this one, or $NUMBA_CPU_NAME."""
    return os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()


def feature_string() -> str:
    """Return `target_features` as LLVM takes them."""
    return ",".join(f"{'+' if has else '-'}{name}" for name, has in target_features().items())


def target_features() -> dict[str, bool]:
    """Return the features that kernels may use: of this CPU, or $NUMBA_CPU_FEATURES."""
    if (given := os.environ.get("NUMBA_CPU_FEATURES")) is not None:
        names = given.split(",")
        return {name.strip()[1:]: name.strip().startswith("+") for name in names if name.strip()}
    if os.environ.get("NUMBA_CPU_NAME"):
        return {}
    try:
        found = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # an LLVM that does not look at this system
        found = {}
    if llvm.get_process_triple().startswith(("aarch64", "arm64")) and _has_dotprod():
        found["dotprod"] = True
    return found


def _has_dotprod() -> bool:
    """Tell whether a 64-bit Arm has sdot: LLVM 22 and older do not say it on Linux and macOS."""
    if sys.platform == "linux":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        return bool(getauxval(_AT_HWCAP) & _HWCAP_ASIMDDP)
    return sys.platform == "darwin"  # every CPU that macOS runs on has it
