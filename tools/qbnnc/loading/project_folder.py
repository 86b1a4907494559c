"""Folders of firmware projects: written whole or not at all, and never over files of others.

A folder lists its files with their hashes in qbnnc.json. A file that is not listed, or that was
changed since, belongs to the user, and is not replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from qbnnc.support.errors import FileError
from qbnnc.support.files import check_output, read_bytes, reason

LISTING = "qbnnc.json"


def check_folder(folder: Path, paths: Sequence[str]) -> None:
    """FileError if a file that is none of ours has one of these `paths` in the folder."""
    if not folder.exists():
        check_output(folder)
        return
    if not os.access(folder, os.W_OK):
        raise FileError("cannot be written: the folder is not yours to write", folder)
    listed = _listed(folder)
    for path in [*paths, LISTING]:
        file = folder / path
        for parent in file.relative_to(folder).parents:
            if (folder / parent).exists() and not (folder / parent).is_dir():
                raise FileError("is in the way of a folder", folder / parent, "move it away")
        if not os.path.lexists(file):
            continue
        if path == LISTING:
            known = bool(listed)
        else:
            known = path in listed and _digest(file) == listed[path]
        if not known:
            changed = path in listed
            raise FileError(
                "was changed since it was compiled" if changed else "was not made by qbnnc compile",
                file,
                remedy="move it away, or compile to another folder",
            )


def with_listing(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add the listing to the files of a folder."""
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}
    listing = json.dumps({"prefix": prefix, "files": hashes}, indent=2) + "\n"
    return {**files, LISTING: listing.encode()}


def left_over(folder: Path, written: Sequence[Path]) -> list[Path]:
    """Files of an earlier compile that nobody changed, and that are not `written` again."""
    listed = _listed(folder) if folder.is_dir() else {}
    old = {folder / path: digest for path, digest in listed.items()}
    return [file for file, digest in old.items() if file not in written and _digest(file) == digest]


def remove(files: Sequence[Path]) -> None:
    """Remove files, and the folders that they leave empty; FileError if one cannot be removed."""
    for file in files:
        try:
            file.unlink()
        except OSError as error:
            raise FileError(f"cannot be removed ({reason(error)})", file) from error
        with suppress(OSError):  # others are in it
            file.parent.rmdir()


@contextmanager
def made_folders(files: Sequence[Path]) -> Iterator[None]:
    """Make the folders of files; those that were made are removed again after an error."""
    wanted = {parent for file in files for parent in file.parents if not parent.exists()}
    made = list[Path]()
    try:
        for folder in sorted(wanted):
            try:
                folder.mkdir()
            except OSError as error:
                raise FileError(f"cannot be made ({reason(error)})", folder) from error
            made.append(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def source_of(path: Path) -> Path:
    """The .c of a project's folder; a file is itself. FileError for another folder."""
    if not path.is_dir():
        return path
    prefix = _listing(path).get("prefix")
    if not isinstance(prefix, str):
        raise FileError(
            "not made by qbnnc compile", path, remedy="give a folder of qbnnc compile, or a .c"
        )
    return path / "src" / f"{prefix}.c"


def written_files(folder: Path) -> list[Path]:
    """The files of a project that qbnnc compile wrote."""
    return [folder / path for path in _listed(folder)]


def _listing(folder: Path) -> dict[str, object]:
    try:
        read = json.loads(read_bytes(folder / LISTING))
    except (FileError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _listed(folder: Path) -> dict[str, str]:
    """The hashes of files by path, of what is written in the folder alone."""
    found = _listing(folder).get("files")
    if not isinstance(found, dict):
        return {}
    return {
        str(path): str(digest)
        for path, digest in found.items()
        if not Path(str(path)).is_absolute() and ".." not in Path(str(path)).parts
    }


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(file)).hexdigest()
    except FileError:
        return ""
