"""Zip archives of unknown origin, read with a bound on every size."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from qbnnc.support.errors import FileError
from qbnnc.support.files import DAMAGE

MAX_MEMBERS = 100_000
MAX_TOTAL_BYTES = 16 << 30
MAX_RATIO = 200  # torch stores its members uncompressed: a high ratio is a zip bomb
MAX_UNRATED_BYTES = 1 << 20


_COMPRESSION = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the kinds that torch writes


def read_members(path: Path) -> dict[str, bytes]:
    """Every member of the archive without its top folder: {"models/model.json": bytes, ...}.

    FileError: the archive is damaged or encrypted, or has several top folders. It has two members
    of one name, too many members, or members that unpack to far more than they take on disk.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive.infolist(), path)
            return {_inner(info, path): archive.read(info) for info in archive.infolist()}
    except (*DAMAGE, MemoryError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise FileError(f"is a damaged archive ({reason})", path, remedy="copy it again") from error


def _check_sizes(infos: list[zipfile.ZipInfo], path: Path) -> None:
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise FileError(
            "holds two members of the same name, as a forged file does",
            path,
            remedy="save the program again",
        )
    if len({name.split("/", 1)[0] for name in names}) > 1:
        raise FileError("holds more than one archive folder", path, remedy="save the program again")
    if any(info.compress_type not in _COMPRESSION for info in infos):
        raise FileError(
            "holds members in a compression that torch does not write",
            path,
            remedy="save the program again",
        )
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise FileError(
            "holds members that overlap, or that end after the file",
            path,
            remedy="save the program again",
        )
    too_large = [i.filename for i in infos if _is_bomb(i)]
    if too_large:
        raise FileError(
            f"member {too_large[0]!r} unpacks to far more than it takes",
            path,
            remedy="save the program again",
        )
    if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        raise FileError("is larger than a model may be (16 GiB, 100,000 members)", path)


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    rated = info.file_size > MAX_UNRATED_BYTES
    return rated and info.file_size > MAX_RATIO * max(info.compress_size, 1)


def _inner(info: zipfile.ZipInfo, path: Path) -> str:
    _, slash, inner = info.filename.partition("/")
    if not slash or not inner or ".." in inner.split("/"):
        raise FileError(
            f"member {info.filename!r} has no place in a model archive",
            path,
            remedy="save the program again",
        )
    return inner


def write_members(members: Mapping[str, bytes]) -> io.BytesIO:
    """An uncompressed zip with the members under "archive/", rewound to its start."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    buffer.seek(0)
    return buffer
