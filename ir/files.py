"""Writing files whole or not at all, and reading them with errors a person can use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from qbnnc.ir.errors import FileError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside, then rename: `path` holds the old content or all of the new.

    Raises FileError if the folder is missing or cannot be written; nothing is left behind.
    """
    write_all([(Path(path), data)])


def write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """All of the files, or none: every one is written beside before the first is renamed."""
    with ExitStack() as stack:
        staged = [(_staged(path, data, stack), path) for path, data in files]
        for temporary, path in staged:
            try:
                os.replace(temporary, path)
            except OSError as error:
                raise FileError(f"cannot be written ({_reason(error)})", path) from error


def _staged(path: Path, data: bytes, stack: ExitStack) -> Path:
    """A file beside `path` with its content; gone when the stack ends, unless renamed."""
    try:
        if path.is_dir():
            raise FileError("is a folder; give the name of a file", path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        stack.callback(Path(name).unlink, missing_ok=True)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
    except OSError as error:
        raise FileError(f"cannot be written ({_reason(error)})", path) from error
    return Path(name)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file; FileError if it is missing, empty, a folder or unreadable."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read ({_reason(error)})", path) from error
    if not data:
        raise FileError("the file is empty", path)
    return data


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
