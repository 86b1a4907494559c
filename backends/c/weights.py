"""Constants of a C model: arrays in the text, or bytes in a file that the assembler includes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbnnc.backends.c.program import Constant, Constants

MOST_TEXT = 1 << 20
"""The most bytes of constants that are text by default: compilers read numbers slowly."""

_LEAST = 256  # bytes of an array that is worth a symbol
_ALIGNMENT = 16  # bytes; vector loads take whole ones


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of large arrays, and the assembly that gives each of them a name."""

    assembly: str
    data: bytes


def array_definitions(constants: Constants, name: str, *, blob: bool) -> str:
    """Write the constants as C. With `blob`, large arrays of bytes are only declared."""
    apart = _apart(constants) if blob else []
    lines = [
        _declared(constant, name) if constant in apart else constant.definition
        for constant in constants.arrays
    ]
    return "\n".join(lines)


def blob_of(constants: Constants, name: str, file: str) -> Blob | None:
    """Collect the large arrays of bytes for FILE_weights.bin and FILE_weights.S, if there are."""
    data, entries = bytearray(), list[str]()
    for constant in _apart(constants):
        data += bytes(-len(data) % _ALIGNMENT)
        entries.append(_entry(constant, name, file, len(data)))
        data += constant.values.tobytes()
    return Blob(_assembly(name, file, entries), bytes(data)) if entries else None


def _apart(constants: Constants) -> Sequence[Constant]:
    return [c for c in constants.arrays if c.in_bytes and c.values.nbytes >= _LEAST]


def _symbol(constant: Constant, name: str) -> str:
    return f"{name}_{constant.name.removeprefix('qb_')}"


def _declared(constant: Constant, name: str) -> str:
    symbol = _symbol(constant, name)
    size = constant.values.size
    return f"extern const {constant.ctype} {symbol}[{size}];\n#define {constant.name} {symbol}"


def _entry(constant: Constant, name: str, file: str, offset: int) -> str:
    symbol, size = _symbol(constant, name), constant.values.nbytes
    return f"""  .balign {_ALIGNMENT}
  QBNNC_SYMBOL({symbol}, {size})
  .incbin "{file}_weights.bin", {offset}, {size}
"""


def _assembly(name: str, file: str, entries: Sequence[str]) -> str:
    return f"""/* The large constants of {file}.c, from {file}_weights.bin. They are bytes
 * alone, and so have no byte order. The assembler looks for the file in the folders of -I.
 * QBNNC_SECTION may name another section. */
#if defined(__APPLE__)
#define QBNNC_SYMBOL(name, count) .private_extern _##name ; .globl _##name ; _##name:
  .section __TEXT,__const
#elif defined(_WIN32)
#if defined(__i386__)
#define QBNNC_SYMBOL(name, count) .globl _##name ; _##name:
#else
#define QBNNC_SYMBOL(name, count) .globl name ; name:
#endif
  .section .rdata,"dr"
#else
#ifndef QBNNC_SECTION
#define QBNNC_SECTION .rodata.{name}
#endif
#define QBNNC_SYMBOL(name, count) .globl name ; .hidden name ; .type name, %object ; \\
  .size name, count ; name:
  .section QBNNC_SECTION,"a",%progbits
#endif

{chr(10).join(entries)}
#if defined(__ELF__)
  .section .note.GNU-stack,"",%progbits
#endif
"""
