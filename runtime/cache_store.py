"""Files in a private folder, which are read back only as this user wrote them.

    magic | SHA-256 of key, name and payload | payload

A file that differs in a bit, is cut off or empty, or belongs to another user counts as missing. Its
content is then made again. One read gives the bytes whose digest is checked and whose payload is
used. The digest finds damage. Owners and modes protect the cache against other users, because its
content is executed. Nothing protects it against programs of this user.

On Windows owners and modes are not checked: the profile's access rights keep others out. Python
3.12.4 and later give a folder of mode 0700 to its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

_MAGIC = b"qbnnc kernel 1\n"
_DIGEST = hashlib.sha256().digest_size
_MOST_BYTES = 64 << 20
_FLAGS = os.O_RDONLY | sum(getattr(os, f"O_{n}", 0) for n in ("NOFOLLOW", "NONBLOCK", "BINARY"))
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_POSIX = hasattr(os, "geteuid")


class Store:
    """Payloads by name in one folder.

    Without a folder, or where nothing can be written, the store is empty, and `fault` says why.
    """

    def __init__(self, folder: Path | None, key: str, fault: str = "") -> None:
        self.folder, self.fault, self._key = folder, fault, key

    def read(self, name: str) -> bytes | None:
        """Return the payload as it was written; None if it is missing or damaged."""
        if self.folder is None:
            return None
        try:
            descriptor = os.open(self.folder / name, _FLAGS)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not is_private_file(status) or status.st_size > _MOST_BYTES:
                    return None
                content = file.read()
        except OSError:  # missing, a link, a folder, not readable, a damaged disk
            return None
        start = len(_MAGIC) + _DIGEST
        payload = content[start:]
        return payload if content[:start] == self._head(name, payload) else None

    def write(self, name: str, payload: bytes) -> bool:
        """Keep a payload and tell whether that worked; readers see the old file or the new one."""
        if self.folder is None:
            return False
        try:
            _replace(self.folder / name, self._head(name, payload) + payload)
        except OSError as error:  # a full disk, a folder that can only be read
            self.fault = self.fault or f"{self.folder}: {error.strerror or error}"
            return False
        return True

    def _head(self, name: str, payload: bytes) -> bytes:
        digest = hashlib.sha256(f"{self._key} {name} {len(payload)}\n".encode())
        digest.update(payload)
        return _MAGIC + digest.digest()


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(".tmp", f"{path.name}.", path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def private_folder(root: Path, name: str) -> Path:
    """Return the folder `root / name`; make it if it is missing, each new level with mode 0700.

    Raises OSError, with the reason and a remedy, in these cases:

    - The folder cannot be made.
    - `root` or the folder is not this user's, or others can write to it.
    - All users can rename the folder or a folder above it.
    """
    folder = root.absolute() / name
    _make(folder)
    for place in (folder, *folder.parents):
        if place.is_symlink() and (others := _owned_by_others(place.lstat(), or_root=True)):
            raise PermissionError(f"{place} is a link {others}")
    for place in (folder.parent, folder):
        check_folder(place)
    for place in folder.resolve().parents:
        mode = place.stat().st_mode
        if _POSIX and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(
                f"{place} can be written by all users, who may put another folder in the place of "
                f"one in it; chmod +t {place}"
            )
    return folder


def check_folder(place: Path) -> None:
    """Raise OSError for a path that is no folder, or that belongs or is open to other users."""
    status = place.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{place} is not a folder; move it away")
    if others := _owned_by_others(status):
        raise PermissionError(f"{place} is a folder {others}")
    if _POSIX and status.st_mode & _OTHERS_WRITE:
        raise PermissionError(
            f"{place} can be written by other users; empty it, and chmod go-w {place}"
        )


def is_private_file(status: os.stat_result) -> bool:
    """Tell whether an open file is a regular one that only this user owns and can write to."""
    regular, writable = stat.S_ISREG(status.st_mode), _POSIX and status.st_mode & _OTHERS_WRITE
    return regular and not writable and not _owned_by_others(status)


def _make(folder: Path) -> None:
    """Make a folder and its parents with mode 0700, or less by the umask."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _owned_by_others(status: os.stat_result, *, or_root: bool = False) -> str:
    """Return "of user 1000, not of 0", or nothing if the path is this user's."""
    if not _POSIX or status.st_uid == os.geteuid() or (or_root and status.st_uid == 0):
        return ""
    return f"of user {status.st_uid}, not of {os.geteuid()}"
