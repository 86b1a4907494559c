"""Arrays from .npy and .npz files that anybody may have written.

No array gets memory before its header has been held against the size of the file. A stored array is
in the file byte for byte, and deflate makes at most 1,032 bytes of one (zlib's technical notes,
"Maximum Compression Factor"). Only arrays of real or complex numbers are read; nothing is
ever unpickled. Format: numpy.lib.format.
"""

from __future__ import annotations

import ast
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.errors import FileError
from qbnnc.support.files import DAMAGE, MOST_BYTES, open_regular, reason
from qbnnc.support.text import counted

Array = NDArray[np.generic]
Shape = tuple[int, ...]

MOST_STORED = 8 << 30
"""Bytes of the largest array that lies in a file as it is."""
MOST_MAPPED = 1 << 50
"""Bytes of the largest file that is mapped, not read."""
MOST_COMPRESSED = 2 << 30
"""Bytes of the largest array that is unpacked."""
MOST_MEMBERS = 10_000
"""Arrays in one .npz file."""

_MAGIC, _ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
_MOST_AXES = 32
_LONGEST = 10_000  # bytes of a header, numpy's own limit: it is parsed as Python
_VERSIONS = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}  # bytes of a header's length
_PYTHON_2 = re.compile(r"(\d)L\b")  # how it wrote whole numbers
_KIND = re.compile(r"[<>|=]?([a-zA-Z?])\d{0,12}(?:\[[^\]]*\])?")
_DEFLATE, _ENCRYPTED = 1032, 1
_CHUNK = 1 << 20
_DAMAGED = (*DAMAGE, OSError, SyntaxError, TypeError)  # the last two by numpy, of a header


class _Stream(Protocol):
    """Bytes in order: a file, or a member of an archive."""

    def read(self, size: int, /) -> bytes: ...


def array_names(path: str | os.PathLike[str]) -> list[str] | None:
    """The keys of an .npz file; None for an .npy file. FileError if it is neither."""
    with _opened(path) as archive:
        return None if archive is None else list(_members(archive, path))


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as an .npz file does; FileError if it cannot be read."""
    with open_regular(path, MOST_BYTES) as file:
        return file.read(len(_MAGIC)).startswith(_ZIP)


def read_npy(path: str | os.PathLike[str]) -> Array:
    """The array of an .npy file, of numbers of any type and byte order.

    FileError if it is damaged, larger than MOST_STORED, or holds something else than numbers.
    """
    with open_regular(path, MOST_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        return _array(file, size, MOST_STORED, path)


def map_npy(path: str | os.PathLike[str]) -> Array:
    """The array of an .npy file of any size, mapped into memory and read-only.

    FileError as `read_npy`. An empty array is no map.
    """
    with open_regular(path, MOST_MAPPED) as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            raise FileError("no .npy array file", path, remedy="write one with numpy.save")
        file.seek(0)
        header, dtype = _described(file, size, MOST_MAPPED, path)
    if not math.prod(header.shape):
        return np.empty(header.shape, dtype)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    try:
        return np.memmap(path, dtype, "r", header.size, header.shape, order)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot be mapped ({reason(error)})", path) from error


def array_of(data: bytes, place: object) -> Array:
    """The array that an .npy file in memory holds; FileError as `read_npy`."""
    return _array(io.BytesIO(data), len(data), MOST_STORED, place)


def read_member(path: str | os.PathLike[str], key: str) -> Array:
    """One array of an .npz file; `key` is one of `array_names`.

    FileError as `read_npy`, and where the file is no archive; MOST_COMPRESSED if it is packed.
    """
    place = f"{os.fspath(path)}:{key}"
    with _opened(path) as archive:
        if archive is None:
            raise FileError("is an .npy file, which has no keys", path)
        info = _members(archive, path)[key]
        if info.flag_bits & _ENCRYPTED:
            raise FileError("is encrypted", place, remedy="save it again without a password")
        packed = info.compress_type == zipfile.ZIP_DEFLATED
        if not packed and info.compress_type != zipfile.ZIP_STORED:
            raise FileError(
                "is compressed as numpy never does", place, remedy="save it with numpy.savez"
            )
        fits = info.compress_size * (_DEFLATE if packed else 1)
        with _damage(place), archive.open(info) as stream:
            size = min(info.file_size, fits)
            made = _array(stream, size, MOST_COMPRESSED if packed else MOST_STORED, place)
            if stream.read(1):  # its end, where the checksum is compared
                raise FileError("goes on after its array", place, remedy="save it again")
        return made


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile | None]:
    """An .npz file's archive; None of an .npy file."""
    with open_regular(path, MOST_BYTES) as file:
        head = file.read(len(_MAGIC))
        if head.startswith(_MAGIC):
            yield None
            return
        if not head:
            raise FileError("the file is empty", path)
        if not head.startswith(_ZIP):
            raise FileError(
                "no .npy or .npz array file", path, remedy="write one with numpy.save or savez"
            )
        with _damage(path):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


def _members(archive: zipfile.ZipFile, path: object) -> dict[str, zipfile.ZipInfo]:
    """By their keys, which are the names without ".npy"."""
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise FileError(f"{len(infos)} arrays; {MOST_MEMBERS} at most are read from a file", path)
    found = {info.filename.removesuffix(".npy"): info for info in infos}
    if len(found) < len(infos):
        raise FileError("holds two arrays of the same name", path, remedy="save it again")
    return found


def _array(stream: _Stream, size: int, most: int, place: object) -> Array:
    """The array at the beginning of a stream, of which there can be `size` bytes."""
    header, dtype = _described(stream, size, most, place)
    shape = header.shape
    flat = _filled(stream, math.prod(shape) * dtype.itemsize, place).view(dtype)
    return flat.reshape(shape[::-1]).T if header.fortran else flat.reshape(shape)


def _described(
    stream: _Stream, size: int, most: int, place: object
) -> tuple[_Header, np.dtype[np.generic]]:
    """The header at the beginning of a stream of `size` bytes, held against them."""
    with _damage(place):
        header = _header(stream)
        dtype = _dtype(header.descr, place)
    _check(header.shape, dtype, most, place)
    total, left = math.prod(header.shape) * dtype.itemsize, size - header.size
    if total > left:
        raise FileError(
            f"truncated or damaged (says that it holds {total} bytes of numbers, and there "
            f"are {max(left, 0)} at most)",
            place,
            remedy="copy it again",
        )
    return header, dtype


@dataclass(frozen=True, slots=True)
class _Header:
    """The description of an array, in `size` bytes before its numbers."""

    descr: object
    fortran: bool
    shape: Shape
    size: int


def _header(stream: _Stream) -> _Header:
    """ValueError, or what `ast.literal_eval` raises, if it is none that numpy writes."""
    begin = stream.read(len(_MAGIC) + 2)
    if not begin.startswith(_MAGIC) or begin[-2:] not in _VERSIONS:
        raise ValueError("no array of a format that is known")
    prefix = stream.read(_VERSIONS[begin[-2:]])
    if (length := int.from_bytes(prefix, "little")) > _LONGEST:
        raise ValueError(f"a header of {length} bytes")
    text = _PYTHON_2.sub(r"\1", stream.read(length).decode("latin1"))
    match ast.literal_eval(text.strip()):
        case {"descr": descr, "fortran_order": bool(fortran), "shape": tuple(shape)} if all(
            type(n) is int and n >= 0 for n in shape
        ):
            return _Header(descr, fortran, shape, len(begin) + len(prefix) + length)
    raise ValueError("a header that makes no sense")


def _dtype(descr: object, place: object) -> np.dtype[np.generic]:
    """Real or complex numbers; FileError for anything else."""
    kind = _KIND.fullmatch(descr) if isinstance(descr, str) else None
    letter = None if kind is None else kind[1]
    if letter == "O":
        raise FileError("holds Python objects", place, remedy="save numbers")
    if letter is not None and letter in "SUa":
        raise FileError("holds text, not real numbers", place, remedy="give numbers")
    if letter is None or letter not in "biufc":
        raise FileError(
            f"holds elements of type {str(descr)[:60]!r}", place, remedy="save real numbers"
        )
    return np.dtype(str(descr))


def _check(shape: Shape, dtype: np.dtype[np.generic], most: int, place: object) -> None:
    """FileError for an array that is larger than those that are read."""
    if len(shape) > _MOST_AXES:
        raise FileError(f"{counted(len(shape), 'axis', 'axes')}; {_MOST_AXES} at most", place)
    if (total := math.prod(max(n, 1) for n in shape) * dtype.itemsize) > most:
        raise FileError(
            f"says that it has {_short(shape)} elements, {total} bytes, and at most {most} "
            "are read",
            place,
            remedy="save fewer rows, or uncompressed",
        )


def _filled(stream: _Stream, total: int, place: object) -> NDArray[np.uint8]:
    """`total` bytes of the stream. Their memory is written to only as they come."""
    try:
        made = np.empty(total, np.uint8)
    except MemoryError:
        raise FileError(
            f"no memory for its {total} bytes", place, remedy="save fewer rows"
        ) from None
    done = 0
    with _damage(place):
        while done < total:
            if not (part := stream.read(min(_CHUNK, total - done))):
                raise EOFError("it ends too early")
            made[done : done + len(part)] = np.frombuffer(part, np.uint8)
            done += len(part)
    return made


@contextmanager
def _damage(place: object) -> Iterator[None]:
    """Turn an error of reading into a FileError."""
    try:
        yield
    except (*_DAMAGED, MemoryError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise FileError(f"truncated or damaged ({line})", place, remedy="copy it again") from None


def _short(shape: Shape) -> str:
    return "x".join(f"{n:.3g}" if n > 10**6 else str(n) for n in shape)
