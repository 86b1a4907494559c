"""Writing files whole or not at all, and reading them with errors a person can use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qbnnc.ir.errors import FileError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside, then rename: `path` holds the old content or all of the new.

    Raises FileError if the folder is missing or cannot be written; nothing is left behind.
    """
    target = Path(path)
    temporary = ""
    try:
        if target.is_dir():
            raise FileError("is a folder; give the name of a file", path)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = ""
    except OSError as error:
        raise FileError(f"cannot be written ({_reason(error)})", path) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


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
