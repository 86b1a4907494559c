"""A network as WebAssembly: its C99 by clang, without a C library and without Emscripten."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from qbnnc.backends.c import to_c
from qbnnc.ir.model import Model
from qbnnc.support.errors import UserError

GLUE = Path(__file__).with_name("page.c")
EXPORTS = (
    "page_input",
    "page_sample",
    "page_prediction",
    "page_predict",
    "page_begin",
    "page_take",
)
FLAGS = "--target=wasm32 -std=c99 -O3 -msimd128 -mbulk-memory -ffreestanding -nostdlib".split()
MEMORY = 1 << 24  # bytes that the values of a row and a sample may take
SECONDS = 600  # until a compiler is given up


def missing_tools() -> list[str]:
    """The programs that `to_wasm` needs and that are not installed."""
    return [name for name in ("clang", "wasm-ld") if shutil.which(name) is None]


def to_wasm(model: Model) -> bytes:
    """Compile an INTEGER model; `page.c` says what the module exports.

    UserError without clang and wasm-ld, or for a network whose values take over 16 MB.
    CompileError for what the C backend does not have.
    """
    if missing := missing_tools():
        raise UserError(
            f"needs {' and '.join(missing)}",
            place="WebAssembly",
            remedy="install LLVM; Debian calls the packages clang and lld",
        )
    source = to_c(model, "model", MEMORY)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.h").write_text(source.header, encoding="utf-8")
        (folder / "model.c").write_text(source.body, encoding="utf-8")
        shutil.copy(GLUE, folder)
        linked = ["-Wl,--no-entry,--strip-all", *(f"-Wl,--export={name}" for name in EXPORTS)]
        command = ["clang", *FLAGS, *linked, "-o", "model.wasm", "model.c", GLUE.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode != 0:
            raise UserError(done.stderr.strip(), place=" ".join(command[:2]))
        return (folder / "model.wasm").read_bytes()
