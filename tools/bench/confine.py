"""Run a script with AVX-512 and VNNI hidden from onnxruntime, PyTorch, numpy and numba.

    python -m tools.bench.confine SCRIPT [ARGUMENT ...]

Targets set for a CPU with AVX2 can so be measured on a CPU that has more. Environment variables
tell PyTorch, numpy, numba and our runtime; onnxruntime asks the CPU. So each `cpuid` in a copy of
its library becomes an illegal instruction, and a signal handler answers in its place, as a CPU
without those features would. Linux on x86-64, with cc and objdump.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import runpy
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

CONFINED = "QBNNC_BENCH_CONFINED"  # set in a process that is
_CPUID, _ILLEGAL = b"\x0f\xa2", b"\x06\xa2"  # 06 is no instruction in 64-bit mode
_MODULE = "onnxruntime.capi.onnxruntime_pybind11_state"
_NUMPY = "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"

_HANDLER = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a, b, c, d;
    if (at[0] != 0x06 || at[1] != 0xa2) {
        signal(number, SIG_DFL);
        return;
    }
    __cpuid_count(leaf, subleaf, a, b, c, d);
    if (leaf == 7 && subleaf == 0) {
        /* AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL */
        b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
        /* AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
        /* AVX512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8 */
        d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(23) | BIT(22) | BIT(24) | BIT(25));
    }
    if (leaf == 7 && subleaf == 1) {
        /* AVX-VNNI, AVX512 BF16, AMX FP16, AVX-IFMA */
        a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23));
        /* AVX-VNNI INT8, AVX-NE-CONVERT, AMX COMPLEX, AVX-VNNI INT16, AVX10 */
        d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19));
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

int confine(void) {
    struct sigaction action = {0};
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGILL, &action, 0);
}
"""


def confine() -> None:
    """Confine this process, which has not imported any of them yet; SystemExit if it cannot be."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SystemExit("confine: hides instructions on Linux x86-64 only")
    os.environ |= {
        CONFINED: "avx2",
        "QBNNC_ISA": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": _NUMPY,
        "NUMBA_CPU_FEATURES": _features_of_numba(),
    }
    with tempfile.TemporaryDirectory() as folder:
        _answer_in_place_of_the_cpu(Path(folder))
        _load_confined(Path(folder))


def _features_of_numba() -> str:
    """This CPU's, in LLVM's words, less those that are hidden."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    for name in features:
        if name.startswith(("avx512", "avxvnni", "avxifma", "avxneconvert", "avx10", "amx")):
            features[name] = False
    return str(features.flatten())


def _answer_in_place_of_the_cpu(folder: Path) -> None:
    source, library = folder / "answer.c", folder / "answer.so"
    source.write_text(_HANDLER)
    _output_of("cc", "-O2", "-shared", "-fPIC", "-o", library, source)
    if ctypes.CDLL(os.fspath(library)).confine() != 0:
        raise SystemExit("confine: no handler of SIGILL can be set here")


def _load_confined(folder: Path) -> None:
    """Import onnxruntime's library from a copy without a `cpuid`; its package then finds it."""
    package = importlib.util.find_spec("onnxruntime")
    if package is None or package.origin is None:
        raise SystemExit("confine: install onnxruntime, which is to be confined")
    name = _MODULE.rpartition(".")[2]
    found = [Path(package.origin).parent / "capi" / (name + end) for end in EXTENSION_SUFFIXES]
    library = next(path for path in found if path.exists())
    for neighbour in library.parent.glob("lib*.so*"):
        (folder / neighbour.name).symlink_to(neighbour)
    copy = folder / library.name
    copy.write_bytes(_without_cpuid(library))
    spec = importlib.util.spec_from_file_location(_MODULE, copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_MODULE] = module


def _without_cpuid(library: Path) -> bytes:
    """The bytes of a library whose every `cpuid` is illegal."""
    sections = _output_of("objdump", "-h", "-j", ".text", library)
    header = re.search(r"\.text\s+\w+\s+(\w+)\s+\w+\s+(\w+)", sections)
    assert header is not None
    address, offset = (int(group, 16) for group in header.groups())
    listing = _output_of("objdump", "-d", "--no-show-raw-insn", "-j", ".text", library)
    places = [int(at, 16) for at in re.findall(r"^\s*(\w+):\s+cpuid\s*$", listing, re.MULTILINE)]
    if not places:
        raise SystemExit(f"confine: {library.name} has no cpuid instruction")
    data = bytearray(library.read_bytes())
    for place in places:
        at = place - address + offset
        assert data[at : at + 2] == _CPUID
        data[at : at + 2] = _ILLEGAL
    return bytes(data)


def _output_of(*command: str | Path) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"confine: {command[0]} is needed and failed ({error})") from None


def main() -> None:
    """Confine this process, then run the script in it."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m tools.bench.confine SCRIPT [ARGUMENT ...]")
    confine()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
