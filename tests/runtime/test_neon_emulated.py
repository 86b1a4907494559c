"""The NEON panels against numpy, on an emulated processor with dotprod and without i8mm."""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
import pytest
import unicorn
from unicorn import arm64_const as arm64

from qbnnc.ir.types import Array
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape
from qbnnc.runtime.isa import Isa
from tests.runtime.tiles import CHANNEL, HIGH, LOW, ZERO, Case, object_code, random_case, shapes

TRIPLE = "aarch64-unknown-linux-gnu"
CODE, RETURN, STACK, DATA = (n << 20 for n in (1, 2, 3, 4))  # a MiB each
FPU = 3 << 20  # of CPACR_EL1: floating point and NEON do not trap
USDOT = bytes.fromhex("ca99894e")  # usdot v10.4s, v14.16b, v9.16b


def processor(code: bytes) -> unicorn.Uc:
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
    machine.reg_write(arm64.UC_ARM64_REG_CPACR_EL1, FPU)
    for start in (CODE, RETURN, STACK, DATA):
        machine.mem_map(start, 1 << 20)
    machine.mem_write(CODE, code)
    return machine


def compiled(shape: Shape) -> bytes:
    """Compile a panel to code that refers to nothing else."""
    made = llvm.ObjectFileRef.from_data(object_code(Isa.NEON_DOT, {"panel": shape}, TRIPLE))
    sections = {section.name() or b"": section.data() for section in made.sections()}
    assert not any(name.startswith(b".rel") for name in sections)
    text: bytes = sections[b".text"]
    return text


def run(machine: unicorn.Uc, case: Case) -> Array:
    """Run a panel on the emulator; return the arena afterwards."""
    arrays = (case.arena, case.x, case.runs, case.weights, case.bias, case.factor, case.out)
    arena, x, runs, weights, bias, factor, out = place(machine, arrays)
    segments, k_blocks = case.weights.shape[:2]
    for i, value in enumerate((arena, x, runs, segments, k_blocks, weights, bias, factor)):
        machine.reg_write(arm64.UC_ARM64_REG_X0 + i, value)
    for register, real in ((arm64.UC_ARM64_REG_S0, LOW), (arm64.UC_ARM64_REG_S1, HIGH)):
        machine.reg_write(register, int(np.float32(real).view(np.uint32)))
    stack = STACK + (1 << 19)
    machine.mem_write(stack, np.array([out, CHANNEL, ZERO, len(case.x)], np.int64).tobytes())
    machine.reg_write(arm64.UC_ARM64_REG_SP, stack)
    machine.reg_write(arm64.UC_ARM64_REG_LR, RETURN)
    machine.emu_start(CODE, RETURN)
    return np.frombuffer(machine.mem_read(arena, case.arena.size), np.uint8)


def place(machine: unicorn.Uc, arrays: Sequence[Array]) -> list[int]:
    """Copy arrays into the machine's memory, one behind the other; return their addresses."""
    addresses, end = list[int](), DATA
    for array in arrays:
        machine.mem_write(end, array.tobytes())
        addresses.append(end)
        end += -(-array.nbytes // 64) * 64
    return addresses


@pytest.mark.few(4)
@pytest.mark.parametrize("shape", shapes(Isa.NEON_DOT), ids=str)
def test_panels(shape: Shape) -> None:
    rng, machine = np.random.default_rng(0), processor(compiled(shape))
    for extreme in [False, True] * 10:
        segments, k_blocks = (int(n) for n in rng.integers(1, (6, 10)))
        case = random_case(rng, shape, segments, k_blocks, extreme=extreme)
        assert np.array_equal(run(machine, case), case.expected())


def test_the_processor_has_no_unsigned_product() -> None:
    """The test above could fail: the emulator rejects i8mm."""
    machine = processor(USDOT)
    with pytest.raises(unicorn.UcError):
        machine.emu_start(CODE, CODE + len(USDOT))
