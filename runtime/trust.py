"""Whether a folder and a file in it are this user's alone: what is in the cache is executed.

On Windows owners and modes are not looked at: there the profile's access rights keep others out,
and Python 3.12.4 and later give a folder of mode 0700 to its owner alone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_POSIX = hasattr(os, "geteuid")


def private_folder(root: Path, name: str) -> Path:
    """`root / name`, made if need be, each new level with mode 0700.

    Raises OSError with what is wrong and what to do: one that cannot be made; `root` or the folder
    that is not this user's, or that others can write to; one in a place where all can rename it.
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
    """Raises OSError if it is no folder, another user's, or others can write to it."""
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
    """Whether an open file is a regular one of this user's, which no other can write to."""
    regular, writable = stat.S_ISREG(status.st_mode), _POSIX and status.st_mode & _OTHERS_WRITE
    return regular and not writable and not _owned_by_others(status)


def _make(folder: Path) -> None:
    """With parents, all of mode 0700, whatever the umask takes from it."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _owned_by_others(status: os.stat_result, *, or_root: bool = False) -> str:
    """ "of user 1000", or nothing if it is this user's."""
    if not _POSIX or status.st_uid == os.geteuid() or (or_root and status.st_uid == 0):
        return ""
    return f"of user {status.st_uid}, not of {os.geteuid()}"
