"""Files that are read back only as they were written, by the same user, for the same purpose.

    magic | SHA-256 of key, name and payload | payload

A file that differs in a bit, that is cut off, empty, or of another user is as good as none: what it
held is made again. The digest is checked, and the payload used, of the bytes of one read. It finds
damage; against other users there are owners and modes (`trust`), and against this one nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from qbnnc.runtime.trust import is_private_file

_MAGIC = b"qbnnc kernel 1\n"
_DIGEST = hashlib.sha256().digest_size
_MOST_BYTES = 64 << 20
_FLAGS = os.O_RDONLY | sum(getattr(os, f"O_{n}", 0) for n in ("NOFOLLOW", "NONBLOCK", "BINARY"))


class Store:
    """Payloads by name in one folder; without a folder, or where nothing can be written, it is
    empty, and `fault` says why."""

    def __init__(self, folder: Path | None, key: str, fault: str = "") -> None:
        self.folder, self.fault, self._key = folder, fault, key

    def read(self, name: str) -> bytes | None:
        """The payload, as it was written; None if there is none, or it is damaged."""
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
        """Whether it is kept now. A reader sees the old file or the new one, never a part."""
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
