"""Lines of a text file of any size, a block at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qbnnc.support.errors import FileError
from qbnnc.support.files import open_regular, reason
from qbnnc.support.numpy_files import MOST_MAPPED

_BLOCK = 1 << 20
_LONGEST = 64 << 20  # bytes of a line
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines without their ends; `first` is the number of the first one, from 1."""

    first: int
    lines: list[str]
    share: float


def line_blocks(path: Path, size: int = _BLOCK) -> Iterator[Lines]:
    """Read a UTF-8 file. Empty lines at its end are left out.

    FileError for what is no text, and for an empty line before the end. The lines before it come
    first.
    """
    number, blank = 1, 0
    for data, share in _pieces(path, size):
        lines, failure = _decoded(data, number, path)
        kept = list[str]()
        for line in lines:
            if not line.strip():
                blank = blank or number
            elif blank:
                failure = FileError("an empty line", _at(path, blank), "take it out")
                break
            else:
                kept.append(line)
            number += 1
        if kept:
            yield Lines((blank or number) - len(kept), kept, share)
        if failure is not None:
            raise failure


def _pieces(path: Path, size: int) -> Iterator[tuple[bytes, float]]:
    """Whole lines as bytes, and the share of the file that ends with them."""
    with open_regular(path, MOST_MAPPED) as file:
        total, done, rest = max(os.fstat(file.fileno()).st_size, 1), 0, b""
        while True:
            try:
                read = file.read(size)
            except OSError as error:
                raise FileError(f"cannot be read ({reason(error)})", path) from error
            if not done:
                read_text = read.removeprefix(_BOM)
                if read_text.startswith((b"PK\x03\x04", b"\x93NUMPY", b"PAR1")):
                    raise FileError("no CSV but a binary file", path, "give it its own suffix")
                rest = read_text
            else:
                rest += read
            done += len(read)
            end = rest.rfind(b"\n") + 1 if read else len(rest)
            if end:
                yield rest[:end], min(done / total, 1.0)
                rest = rest[end:]
            if not read:
                return
            if len(rest) > _LONGEST:
                raise FileError(f"a line of more than {_LONGEST} bytes", path, "is it a CSV file?")


def _decoded(data: bytes, number: int, path: Path) -> tuple[list[str], FileError | None]:
    """The lines of some bytes; those before a line that is no text, and the error."""
    failure = None
    try:
        text = data.decode()
        bad = min((at for at in (text.find("\x00"), _lone_return(text)) if at >= 0), default=-1)
    except UnicodeDecodeError as error:
        text, bad = data[: error.start].decode(), error.start
    if bad >= 0:
        text = text[: text.rfind("\n", 0, bad) + 1]
        line = number + text.count("\n")
        failure = FileError("no UTF-8 text", _at(path, line), "save it as UTF-8, with plain lines")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines], failure


def _lone_return(text: str) -> int:
    """Where a carriage return ends no line; -1 if nowhere."""
    at = text.find("\r")
    while at >= 0 and text[at + 1 : at + 2] in ("\n", ""):
        at = text.find("\r", at + 1)
    return at


def _at(path: Path, line: int) -> str:
    return f"{path}: line {line}"
