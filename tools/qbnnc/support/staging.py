"""New files beside their places: locked while somebody writes them, renamed all or none.

They are called ".qbnnc-<16 hexadecimal digits>.tmp". Whoever writes one holds a lock on it, which
ends with the process: a file of that name without a lock was left by one that was killed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qbnnc.support.errors import FileError

try:
    import fcntl
except ImportError:  # Windows has no such locks; there only age tells
    fcntl = None  # type: ignore[assignment]  # typed as a module

_NAME = re.compile(r"\.qbnnc-[0-9a-f]{16}\.tmp")
_CHUNK = 16 << 20
_OLD_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Staged:
    """`temporary` holds what `target` shall hold; `path` is what the user called it."""

    path: Path
    target: Path
    temporary: Path


@contextmanager
def staged(path: Path, target: Path, data: bytes, check: Callable[[], None]) -> Iterator[Staged]:
    """A file beside `target` with its content, on the disk; gone at the end, unless renamed.

    `check` is called now and then, and may raise.
    """
    name = _new_name(target.parent)
    try:
        with _created(name, private=target.exists()) as file:
            _write(file, data, check)
            _like(target, name)
            if fcntl is None:  # Windows renames no open file
                file.close()
            yield Staged(path, target, name)
    except OSError as error:
        raise FileError(f"cannot be written ({_reason(error)})", path) from error
    finally:
        with suppress(OSError):
            name.unlink(missing_ok=True)


def commit(made: Sequence[Staged], stack: ExitStack) -> None:
    """Rename all of them; if one cannot be, FileError, and those before it are as they were."""
    kept = [_kept(each.target, stack) if len(made) > 1 else None for each in made]
    begun: list[tuple[Staged, Path | None]] = []
    try:
        for each, old in zip(made, kept, strict=True):
            begun.append((each, old))
            os.replace(each.temporary, each.target)
    except BaseException as error:
        if len(made) > 1:
            _undo(begun)
        if isinstance(error, OSError):
            path = begun[-1][0].path
            raise FileError(f"cannot be written ({_reason(error)})", path) from error
        raise
    for folder in {each.target.parent for each in made}:
        _sync_folder(folder)


def clear_stale(folder: Path) -> None:
    """Remove what a process that was killed has left in the folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        names = [e.path for e in entries if _NAME.fullmatch(e.name) and _is_file(e)]
        for name in names:
            with suppress(OSError):
                _remove_if_stale(name)


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _remove_if_stale(name: str) -> None:
    with open(name, "rb") as file:
        old = time.time() - os.fstat(file.fileno()).st_mtime > _OLD_SECONDS
        if _lock(file, wait=False, otherwise=old):
            os.unlink(name)


def _new_name(folder: Path) -> Path:
    return folder / f".qbnnc-{secrets.token_hex(8)}.tmp"


def _created(name: Path, *, private: bool) -> BinaryIO:
    """A new file with a lock. What is replaced may be for its owner's eyes: then `private`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(name, flags, 0o600 if private else 0o666), "w+b")
    _lock(file, wait=True, otherwise=True)
    if not name.exists():  # taken for a stale one before it had its lock
        file.close()
        return _created(name, private=private)
    return file


def _lock(file: BinaryIO, *, wait: bool, otherwise: bool, shared: bool = False) -> bool:
    """Whether the file is ours now; `otherwise` where the file system has no locks."""
    if fcntl is None:
        return otherwise
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _write(file: BinaryIO, data: bytes, check: Callable[[], None]) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _CHUNK):
        check()
        file.write(view[start : start + _CHUNK])
    file.flush()
    os.fsync(file.fileno())
    check()


def _like(target: Path, name: Path) -> None:
    """Give a new file the permissions, and where we may the owner, of the one it replaces."""
    if not target.exists():
        return
    status, ours = target.stat(), name.stat()
    if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (ours.st_uid, ours.st_gid):
        with suppress(PermissionError):
            os.chown(name, status.st_uid, status.st_gid)
    os.chmod(name, status.st_mode & 0o777)


def _kept(target: Path, stack: ExitStack) -> Path | None:
    """The old content under a second name, which goes with the stack; None if there is none.

    The lock comes before the name, or another writer would take the name for a stale one.
    """
    while True:
        try:
            file = stack.enter_context(target.open("rb"))
        except FileNotFoundError:
            return None
        _lock(file, wait=True, otherwise=True, shared=True)
        name = _new_name(target.parent)
        stack.callback(name.unlink, missing_ok=True)
        try:
            os.link(target, name)
            if os.path.samestat(os.fstat(file.fileno()), name.stat()):
                return name
        except FileNotFoundError:  # replaced in the meantime, or what replaced it taken for stale
            continue
        except OSError:  # a file system without hard links
            copy = stack.enter_context(_created(name, private=True))
            shutil.copyfileobj(file, copy)
            copy.flush()
            shutil.copystat(target, name)
            return name


def _undo(begun: Sequence[tuple[Staged, Path | None]]) -> None:
    for each, old in reversed(begun):
        try:
            if each.temporary.exists():  # it was not renamed
                continue
            if old is not None:
                os.replace(old, each.target)
            else:
                each.target.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(
                f"is new, while other files of the same compile are old ({_reason(error)})",
                each.path,
                remedy="compile again",
            ) from error


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk when its folder is; where folders cannot be opened, never sooner."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
