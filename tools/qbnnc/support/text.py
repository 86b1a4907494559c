"""Text for people: counted nouns, lines of 80 columns, tables, sizes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 80


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 row", "2 rows"; `many` is the plural where it is not the singular and an s.

    >>> counted(1, "pass", "passes"), counted(0, "row")
    ('1 pass', '0 rows')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need, the first flush left, the others flush right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    texts = (
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    return "\n".join(texts)


def fold(text: str, indent: str = "  ") -> str:
    """`text` in lines of 80 columns, broken between words; a longer word, as a path, stays whole.

    >>> print(fold("one " * 25, indent="    ").count("\\n"))
    1
    """
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def spaced(bits: str) -> str:
    """ "w8a7,fc=w4a4" with places where `fold` may break it."""
    return bits.replace(",", ", ")


def shortened(name: str, room: int) -> str:
    """The end of a name that is longer than `room`: names of layers, and paths, begin alike."""
    return name if len(name) <= room else f"…{name[len(name) - room + 1 :]}"


def human_bytes(count: int) -> str:
    """ "12.3 kB": powers of 1000, three digits.

    >>> human_bytes(12345)
    '12.3 kB'
    """
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
