"""An output while it is made: a folder beside it, which a later run goes on with.

OUT.partial holds

- `stamp.json`: what decides the output's bits, other than the rows themselves;
- `state.json`: the number of rows that are kept, and the SHA-256 of these rows as float32;
- `NAME.npy`: each array, rows first, behind room for a header;
- `lock`, which the process that writes has locked.

Rows are written first, `state.json` after them, and each JSON file is renamed into its place. So a
process may be killed at any time: what the state does not count is written again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qbnnc.support.errors import FileError
from qbnnc.support.files import reason

try:
    import fcntl
except ImportError:  # Windows has no such locks; there the user keeps to one run a file
    fcntl = None  # type: ignore[assignment]  # typed as a module

STAMP, STATE, LOCK, MADE = "stamp.json", "state.json", "lock", "made"
Stamp = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class State:
    """So many rows are kept; `sha256` is that of their inputs."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Partial:
    """The folder of an unfinished output, which this process has locked."""

    folder: Path

    def state(self) -> State | None:
        """What is kept; None if nothing is."""
        match _read_json(self.folder / STATE):
            case {"rows": int(rows), "sha256": str(digest)} if rows > 0:
                return State(rows, digest)
        return None

    def keep(self, state: State) -> None:
        """Write the state; the rows are on the disk before."""
        _write_json(self.folder / STATE, {"rows": state.rows, "sha256": state.sha256})

    @property
    def made(self) -> Path:
        """The place in the folder where the whole output is made."""
        return self.folder / MADE

    def clear_made(self) -> None:
        """Remove what a process that was stopped has left of the whole output."""
        if self.made.is_dir():
            shutil.rmtree(self.made)
        else:
            self.made.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def partial_of(output: Path) -> Path:
    """The folder of an output that is not finished."""
    return output.with_name(output.name + ".partial")


@contextmanager
def open_partial(folder: Path, stamp: Stamp, *, restart: bool) -> Iterator[Partial]:
    """Begin an output, or go on with one.

    FileError if the folder is no such one, belongs to another run, or is being written.
    """
    if os.path.lexists(folder):
        _check_ours(folder)
    try:
        folder.mkdir(exist_ok=True)
        with _locked(folder):
            _check_ours(folder)
            if restart:
                _clear(folder)
            elif (found := _read_json(folder / STAMP)) is not None:
                _check_same(folder, found, stamp)
            if not (folder / STAMP).exists():
                _write_json(folder / STAMP, stamp)
            yield Partial(folder)
    except OSError as error:
        raise FileError(f"cannot be written ({reason(error)})", folder) from error


def _check_ours(folder: Path) -> None:
    """FileError for something that no run has made."""
    names = {each.name for each in folder.iterdir()} if folder.is_dir() else {""}
    if STAMP not in names and not all(name == LOCK or name.endswith(".tmp") for name in names):
        raise FileError(
            "is in the way: an unfinished output has this name", folder, "move it elsewhere"
        )


def _check_same(folder: Path, found: object, stamp: Stamp) -> None:
    """FileError, which names the first difference, unless both stamps are equal."""
    wanted = json.loads(json.dumps(stamp))
    known = found if isinstance(found, dict) else {}
    for name in wanted:
        if known.get(name) != wanted[name]:
            raise other_run(folder, f"{name} was {known.get(name)}, and is {wanted[name]}")
    if known != wanted:
        raise other_run(folder, "another version of qbnnc wrote it")


def other_run(folder: Path, difference: str) -> FileError:
    """The error for rows that another run has left."""
    return FileError(
        f"holds rows of another run ({difference})",
        folder,
        "run it as before to go on, or with `restart` to begin again",
    )


def _clear(folder: Path) -> None:
    for each in folder.iterdir():
        if each.name == LOCK:
            continue
        shutil.rmtree(each) if each.is_dir() else each.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("wb") as file:
        _lock(file, folder)
        yield


def _lock(file: BinaryIO, folder: Path) -> None:
    """Lock the file until it is closed, or this process ends; FileError if another one has."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError("another run is writing to it", folder, "wait for it") from None
    except OSError:  # a file system without locks
        return


def _read_json(path: Path) -> object:
    """The content; None if there is none, or it is no JSON."""
    try:
        found: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
