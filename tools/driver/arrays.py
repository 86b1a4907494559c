"""Arrays on the command line: FILE[:KEY] names one array of a .npy or .npz file."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.errors import FileError
from qbnnc.ir.files import read_bytes, write_atomically

Array = NDArray[np.generic]
_MAGIC = (b"\x93NUMPY", b"PK\x03\x04")


def read_array(spec: str) -> Array:
    """The array `FILE[:KEY]` names; KEY may be left out if the file has one array.

    FileError if the file is missing, damaged, holds pickled objects, or has no such key.
    """
    path, key = _split(spec)
    data = read_bytes(path)
    if not data.startswith(_MAGIC):
        raise FileError("no .npy or .npz array file: write one with numpy.save or savez", path)
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError:
        raise FileError("holds Python objects or is damaged: save numbers", path) from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"truncated or damaged ({_line(error)}): copy it again", path) from None
    if isinstance(loaded, np.ndarray):
        if key is not None:
            raise FileError(f"a .npy file has one array and no key {key!r}: leave it out", path)
        return loaded
    names = list(loaded.files)
    if key is None and len(names) == 1:
        key = names[0]
    if key not in names:
        asked = "which array? write" if key is None else f"no array {key!r}: write"
        choice = " or ".join(f"{path}:{name}" for name in names[:5]) or "(it is empty)"
        choice += ", ..." * (len(names) > 5)
        raise FileError(f"{asked} {choice}", path)
    try:
        array: Array = loaded[key]
    except ValueError:
        raise FileError(f"the array {key!r} holds Python objects: save numbers", path) from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"the array {key!r} cannot be read ({_line(error)})", path) from None
    return array


def check_array_output(path: str | os.PathLike[str]) -> None:
    """FileError, before any work is done, if this cannot become an .npz file."""
    target = Path(path)
    if target.suffix != ".npz":
        raise FileError("predictions are written as .npz: give a name that ends so", path)
    if target.is_dir() or not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise FileError("cannot be written: is the folder there, and yours to write?", path)


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, NDArray[np.float32]]) -> None:
    """An .npz of all arrays, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def _split(spec: str) -> tuple[Path, str | None]:
    """A colon before a suffix belongs to the path (C:\\x.npy)."""
    head, colon, key = spec.rpartition(":")
    if colon and head.lower().endswith((".npz", ".npy")):
        return Path(head), key
    return Path(spec), None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
