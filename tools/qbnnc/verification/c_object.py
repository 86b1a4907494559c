"""The code and the stack of a C artefact, as a compiler made them: nothing is run."""

from __future__ import annotations

import re
import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qbnnc.verification.c_program import called, compiler

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_INPUTS = (".c", ".s", ".S", ".o")
_CODE = 0x2 | 0x4  # SHF_ALLOC, SHF_EXECINSTR


@dataclass(frozen=True, slots=True)
class Compiled:
    """Bytes of the code, and of the deepest chain of calls from NAME_predict.

    None is what a compiler does not tell: the code if it writes no ELF, the stack if it is no GCC.
    """

    command: str
    code: int | None
    stack: int | None


def compiled(path: Path, prefix: str, cc: str | None = None) -> Compiled | None:
    """Compile a .c to an object file; None if the compiler refuses it.

    Sources and objects among the words of `cc` are left out. UserError if it does not start.
    """
    words = [word for word in compiler(cc) if not word.endswith(_INPUTS)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.o"
        command = [*words, "-c", "-o", str(made), str(path)]
        stack = None
        if called([*command, "-fcallgraph-info=su"], "`cc`").returncode == 0:
            graphs = list(Path(folder).glob("*.ci"))
            stack = deepest(graphs[0].read_text(), f"{prefix}_predict") if graphs else None
        elif called(command, "`cc`").returncode:
            return None
        return Compiled(" ".join(words), _code(made.read_bytes()), stack)


def deepest(graph: str, start: str) -> int | None:
    """The most bytes of stack below a function, by GCC's graph of calls; None if it is not there.

    A function of a library counts nothing, because GCC does not know its frame.
    """
    frames = {title: int(size) for title, size in _NODE.findall(graph)}
    calls: dict[str, set[str]] = {}
    for caller, callee in _EDGE.findall(graph):
        calls.setdefault(caller, set()).add(callee)

    @cache
    def below(title: str) -> int:
        return frames.get(title, 0) + max(map(below, calls.get(title, ())), default=0)

    return below(start) if start in frames else None


def _code(data: bytes) -> int | None:
    """The bytes of instructions in an ELF object file."""
    if data[:4] != b"\x7fELF":
        return None
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == 2
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 40 if wide else 32)
    size, count = struct.unpack_from(order + "HH", data, 58 if wide else 46)
    layout = order + ("8xQ16xQ" if wide else "8xI8xI")
    sections = (struct.unpack_from(layout, data, table + i * size) for i in range(count))
    return sum(int(nbytes) for flags, nbytes in sections if flags & _CODE == _CODE)
