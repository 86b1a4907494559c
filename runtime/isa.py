"""Which instructions the kernels may use: found at load, or forced by $QBNNC_ISA.

To add one: a member of Isa, the features that it needs, and its product in
`kernels.products.PRODUCTS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from functools import cache

import llvmlite.binding as llvm
from numba.core import config

from qbnnc.ir.errors import UserError


class Isa(Enum):
    """Instruction sets that have a product of four 8-bit pairs; the best one first."""

    AVX512_VNNI = "avx512vnni"  # vpdpbusd, on 256-bit registers
    AVX_VNNI = "avxvnni"  # vpdpbusd
    NEON_DOT = "neon-dot"  # usdot
    AVX2 = "avx2"  # vpmaddubsw, vpmaddwd
    GENERIC = "generic"  # what LLVM makes of multiplications and additions

    @property
    def features(self) -> tuple[str, ...]:
        """LLVM's names of what it needs."""
        return _FEATURES[self]


_FEATURES = {
    Isa.AVX512_VNNI: ("avx512vnni", "avx512vl", "avx2"),
    Isa.AVX_VNNI: ("avxvnni", "avx2"),
    Isa.NEON_DOT: ("dotprod", "i8mm"),
    Isa.AVX2: ("avx2",),
    Isa.GENERIC: (),
}


def available(features: Mapping[str, bool]) -> list[Isa]:
    """Those that a CPU with these features has, the best one first."""
    return [isa for isa in Isa if all(features.get(name, False) for name in isa.features)]


@cache
def chosen() -> Isa:
    """The best that the CPU has, or $QBNNC_ISA; UserError if the CPU lacks that one."""
    found = available(target_features())
    wanted = os.environ.get("QBNNC_ISA", "").strip().lower()
    if not wanted:
        return found[0]
    names = [isa.value for isa in found]
    if wanted not in names:
        raise UserError(f"QBNNC_ISA={wanted}: this CPU runs {', '.join(names)}; take one of them")
    return Isa(wanted)


def target_features() -> dict[str, bool]:
    """What numba compiles for: this CPU, unless its configuration names another."""
    settings = vars(config)
    if settings["CPU_FEATURES"] is not None:
        names = str(settings["CPU_FEATURES"]).split(",")
        return {name.strip()[1:]: name.strip().startswith("+") for name in names if name.strip()}
    if settings["CPU_NAME"] is not None:
        return {}
    return dict(llvm.get_host_cpu_features())
