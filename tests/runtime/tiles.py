"""Operands and expected results of panels, and panels compiled for any processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from qbnnc.ir.types import Array
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape, define_panel
from qbnnc.runtime.isa import Isa

POSITIONS = 9  # of a case: tiles of several numbers of rows


def shapes(isa: Isa) -> list[Shape]:
    """Panels of every width, whose positions are computed in several tiles."""
    return [
        Shape(rows, width, wide, sums)
        for rows in ((6, 2, 1), (4, 1))
        for width in isa.panels
        for wide in (False, True)
        for sums in (False, True)
    ]


CHANNEL, ZERO, LOW, HIGH = 5, 7, -7, 120
_OUT = 1 << 14  # where results go


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The arguments of a panel; weights are [segments, k_blocks, channels, 4]."""

    shape: Shape
    arena: Array
    x: Array
    runs: Array
    weights: Array
    bias: Array
    factor: Array
    out: Array

    def expected(self) -> Array:
        """Return the arena that must result: no byte beyond the results changes."""
        arena, width = self.arena.copy(), self.shape.channels * (4 if self.shape.sums else 1)
        total = (products(self.arena, self.x, self.runs, self.weights) + self.bias).astype(np.int32)
        real = np.rint(np.clip(total.astype(np.float32) * self.factor, LOW, HIGH))
        results = total if self.shape.sums else (real.astype(np.int32) + ZERO).astype(np.uint8)
        for at, result in zip(self.out + CHANNEL, results, strict=True):
            arena[at : at + width] = result.view(np.uint8)
        return arena


def random_case(
    rng: np.random.Generator, shape: Shape, segments: int, k_blocks: int, *, extreme: bool
) -> Case:
    """Make a case; `extreme` ones have only the least and greatest codes and weights."""
    highest = 255 if shape.wide else 127
    arena = rng.integers(0, 256, _OUT + 4096).astype(np.uint8)
    arena[:_OUT] = rng.choice([0, highest], _OUT) if extreme else rng.integers(0, highest + 1, _OUT)
    x = rng.integers(0, 4000, POSITIONS)
    runs = rng.integers(0, 4000, segments).astype(np.int32)
    size = (segments, k_blocks, shape.channels, 4)
    weights = rng.choice([-128, 127], size) if extreme else rng.integers(-128, 128, size)
    return Case(
        shape,
        arena,
        x,
        runs,
        weights.astype(np.int8),
        rng.integers(-(2**20), 2**20, shape.channels).astype(np.int32),
        rng.uniform(1e-6, 1e-3, shape.channels).astype(np.float32),
        _OUT + 300 * rng.permutation(POSITIONS) + rng.integers(0, 30),
    )


def products(arena: Array, x: Array, runs: Array, weights: Array) -> Array:
    """Multiply in int64: [rows, channels].

    Weights are [segments, k_blocks, channels, 4].
    """
    count = 4 * weights.shape[1]
    codes = np.stack([[arena[at + run :][:count] for run in runs] for at in x]).astype(np.int64)
    whole = codes.reshape(len(x), len(runs), -1, 4)
    total: Array = np.einsum("mskj,sknj->mn", whole, weights.astype(np.int64))
    return total


def assembly(isa: Isa, shape: Shape, triple: str, features: Sequence[str] | None = None) -> str:
    """Compile a panel for a CPU that has these features (isa's if None) and no others."""
    machine, module = _for_processor(isa, {"panel": shape}, triple, features)
    return str(machine.emit_assembly(module))


def object_code(isa: Isa, shapes: Mapping[str, Shape], triple: str) -> bytes:
    """Make panels by these names."""
    machine, module = _for_processor(isa, shapes, triple)
    return bytes(machine.emit_object(module))


def _for_processor(
    isa: Isa, shapes: Mapping[str, Shape], triple: str, features: Sequence[str] | None = None
) -> tuple[llvm.TargetMachine, llvm.ModuleRef]:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    for name, shape in shapes.items():
        define_panel(module, name, isa, shape).linkage = "external"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM does not know {triple}")  # one built for its host alone
    names = ",".join(f"+{name}" for name in (isa.features if features is None else features))
    machine = target.create_target_machine(features=names, opt=3, reloc="pic")
    return machine, llvm.parse_assembly(str(module))
