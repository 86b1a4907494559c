"""Files of users: which are read, and how others are replaced whole or not at all.

Only regular files are read and replaced, also through links. A FIFO would wait for ever, and a
device has no end. A rename would put a file in the place of either.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from qbnnc.support.errors import FileError
from qbnnc.support.signals import held_signals
from qbnnc.support.staging import clear_stale, commit, staged

MOST_BYTES = 16 << 30
"""The largest file that is read."""

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


DAMAGE = (  # what zipfile, zlib and struct raise for bytes that make no sense
    EOFError,
    LookupError,
    NotImplementedError,  # a compression or a version that zipfile lacks
    OverflowError,
    RuntimeError,  # encryption
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside, then rename: `path` holds the old content or all of the new.

    Raises FileError if the folder is missing or cannot be written; nothing is left behind.
    """
    write_all([(Path(path), data)])


def write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write all of the files or none.

    1. Each is written beside its place, and on the disk, before the first is renamed; if a rename
       fails, those before it are undone.
    2. A file that is replaced keeps its permissions and its owner; through a link, what the link
       leads to is replaced.
    3. SIGINT, SIGTERM and SIGHUP take effect between writing and renaming, and leave nothing
       behind; what a killed process left in the folder is removed.

    Raises FileError for a folder, FIFO or device as a file, and for what cannot be written.
    """
    for path, _ in files:
        check_output(path)
    with held_signals() as check, ExitStack() as stack:
        targets = [(path, Path(os.path.realpath(path))) for path, _ in files]
        for folder in {target.parent for _, target in targets}:
            clear_stale(folder)
        made = [
            stack.enter_context(staged(path, target, data, check))
            for (path, target), (_, data) in zip(targets, files, strict=True)
        ]
        commit(made, stack)


def read_bytes(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The content of a file of at most `most` bytes.

    FileError if it is missing, empty, larger, unreadable, or no regular file.
    """
    with open_regular(path, most) as file:
        try:
            data = file.read(os.fstat(file.fileno()).st_size)
        except (OSError, MemoryError) as error:
            raise FileError(f"cannot be read ({reason(error)})", path) from error
    if not data:
        raise FileError("the file is empty", path)
    return data


def open_regular(path: str | os.PathLike[str], most: int = MOST_BYTES) -> BinaryIO:
    """A regular file of at most `most` bytes, open for reading; FileError if it is none."""
    check_regular(path)
    try:
        file = os.fdopen(os.open(path, _OPEN | getattr(os, "O_BINARY", 0)), "rb")
    except (OSError, ValueError) as error:
        raise FileError(f"cannot be read ({reason(error)})", path) from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        file.close()
        raise FileError(f"is larger than {most} bytes, the most that is read", path)
    return file


def check_regular(path: str | os.PathLike[str]) -> None:
    """FileError, without opening it, unless this is a file with an end."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot be read ({reason(error)})", path) from error
    if kind != stat.S_IFREG:
        advice = "name a file in it" if kind == stat.S_IFDIR else "copy its content to a file first"
        raise FileError(
            f"cannot be read (it is {_KINDS.get(kind, 'no file')})", path, remedy=f"{advice}"
        )


def check_output(path: str | os.PathLike[str]) -> None:
    """FileError, before any work is done, if no file can be put here."""
    target = Path(os.path.realpath(path))
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode) if os.path.lexists(target) else stat.S_IFREG
    except (OSError, ValueError) as error:
        raise FileError(f"cannot be written ({reason(error)})", path) from error
    if kind == stat.S_IFDIR:
        raise FileError("cannot be written: it is a folder", path, remedy="give the name of a file")
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        raise FileError(f"cannot be written: it is {what}, which is never replaced", path)
    if not target.parent.is_dir():
        missing = target.parent if Path(path).parent.is_dir() else Path(path).parent
        raise FileError(
            f"cannot be written: there is no folder {missing}", path, remedy="create it first"
        )
    if not os.access(target.parent, os.W_OK):
        raise FileError("cannot be written: the folder is not yours to write", path)


def check_apart(
    outputs: Sequence[str | os.PathLike[str]], inputs: Sequence[str | os.PathLike[str]]
) -> None:
    """FileError if an output is one of the inputs, under whatever name."""
    for output in outputs:
        for each in inputs:
            if same_file(output, each):
                named = "" if os.fspath(output) == os.fspath(each) else f" ({os.fspath(each)})"
                raise FileError(
                    f"is an input as well{named} and would be lost",
                    output,
                    remedy="give the output another name",
                )


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, or will: links and hard links are followed."""
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):  # one of them is not there yet
        return os.path.realpath(a) == os.path.realpath(b)


def reason(error: Exception) -> str:
    """The system's words for what went wrong: "no such file or directory"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "no memory" if isinstance(error, MemoryError) else str(error) or type(error).__name__
