"""Compilers with their options, and what runs their programs."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
STRICT = "-std=c99 -pedantic -Wall -Wextra -Wconversion -Werror"
SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
# Contraction would fuse a product with a sum, where there is one that feeds it.
FUSED = "-O3 -ffp-contract=fast"
X86 = platform.machine() == "x86_64"


@dataclass(frozen=True, slots=True)
class Target:
    """A compiler, and what runs its programs: `--cc` and `--run` of `qbnnc verify`.

    `packages` are those of Debian. A program has `flash` and `ram` bytes at most. `nanoseconds`
    has a tick of the board's counter, if qemu runs it.
    """

    name: str
    compiler: str
    runner: str = ""
    packages: str = ""
    flash: int = 2**30
    ram: int = 2**30
    nanoseconds: float = 0

    @property
    def trouble(self) -> str:
        """The reason why this machine cannot use the target; empty if it can."""
        programs = [shlex.split(command)[0] for command in (self.compiler, self.runner) if command]
        missing = [program for program in programs if shutil.which(program) is None]
        return f"needs {', '.join(missing)}" if missing else _trial(self)

    def command(self, options: str, program: Path, sources: list[str]) -> list[str]:
        """The command that builds a program."""
        return [*shlex.split(f"{self.compiler} {options}"), "-o", str(program), *sources]


def _trial(target: Target) -> str:
    """Build and run a program that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "main.c", Path(folder) / "program"
        source.write_text("int main(void) { return 0; }\n")
        build = target.command("", program, [str(source)])
        for command in (build, [*shlex.split(target.runner), str(program)]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"fails on an empty program: {(done.stderr + done.stdout)[:200].strip()}"
    return ""


def _cortex_m(
    core: str, board: str, script: str, options: str, nanoseconds: float, flash: int, ram: int
) -> Target:
    return Target(
        f"cortex-{core}",
        f"arm-none-eabi-gcc -O2 -mcpu=cortex-{core} -mthumb {options} -DNANOSECONDS={nanoseconds} "
        f"--specs=rdimon.specs -nostartfiles -L {FOLDER} -T {script} {FOLDER / 'start.c'}",
        f"qemu-system-arm -M {board} -nographic -semihosting-config enable=on,target=native "
        "-kernel",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
        flash,
        ram,
        nanoseconds,
    )


def _linux(name: str, debian: str, emulator: str, options: str = "") -> Target:
    compiler = f"{name}-linux-gnu-gcc"
    return Target(
        name,
        f"{compiler} -O2 -static {options}".rstrip(),
        emulator,
        f"gcc-{name}-linux-gnu libc6-dev-{debian}-cross qemu-user",
    )


def _wasm(name: str, options: str) -> Target:
    return Target(
        name,
        f"clang -O2 --target=wasm32-wasi --sysroot=/usr {options}".rstrip(),
        f"node --no-warnings {FOLDER / 'wasi.mjs'}",
        "clang lld libclang-rt-dev-wasm32 wasi-libc nodejs",
    )


HOST = [
    Target(f"{compiler}-{kind}", f"{compiler} {options}", packages=packages)
    for compiler, packages in (("gcc", "gcc libc6-dev"), ("clang", "clang libclang-rt-dev"))
    for kind, options in (("sanitized", SANITIZED), ("fused", FUSED + " -mfma" * X86))
]
_LARGE = 4 << 20
BOARDS = [
    _cortex_m("m0", "microbit", "microbit.ld", "", 62.5, 256 << 10, 16 << 10),
    _cortex_m("m3", "mps2-an385", "mps2.ld", "", 40, _LARGE, _LARGE),
    _cortex_m(
        "m4", "mps2-an386", "mps2.ld", "-mfloat-abi=hard -mfpu=fpv4-sp-d16", 40, _LARGE, _LARGE
    ),
    _cortex_m("m7", "mps2-an500", "mps2.ld", "-mfloat-abi=hard -mfpu=fpv5-d16", 40, _LARGE, _LARGE),
    _cortex_m(
        "m33",
        "mps2-an505",
        "mps2-an505.ld",
        "-mfloat-abi=hard -mfpu=fpv5-sp-d16",
        50,
        _LARGE,
        _LARGE,
    ),
    _cortex_m("m55", "mps3-an547", "mps3-an547.ld", "-mfloat-abi=hard", 31.25, 2 << 20, 512 << 10),
]
EMULATED = [
    _linux("aarch64", "arm64", "qemu-aarch64"),
    _linux("riscv64", "riscv64", "qemu-riscv64"),
    # The first byte of a number is its highest; -std=c99 alone would compute floats as doubles.
    _linux("s390x", "s390x", "qemu-s390x", "-fexcess-precision=fast"),
    _linux("i686", "i386", "qemu-i386", "-msse2 -mfpmath=sse"),
    _wasm("wasm32", ""),
    _wasm("wasm32-simd", "-msimd128"),
]
DEVICES = BOARDS + EMULATED
