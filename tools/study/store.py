"""The file of a study while it grows: a line for each result, whole or not there.

The header is written in one piece with the file. Every result is appended as one line, and is on
the disk before the next. A process that is killed leaves at most one line without its end; it is
dropped when the study goes on. At the end the lines are put in the order of the plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from qbnnc.study.plan import in_order
from qbnnc.study.results import Header, Result, Row, read_rows, to_json
from qbnnc.study.settings import other_configuration
from qbnnc.support.errors import FileError
from qbnnc.support.files import check_output as check_place
from qbnnc.support.files import read_bytes, write_atomically

try:
    import fcntl
except ImportError:  # Windows has no such locks; there the user keeps to one sweep a file
    fcntl = None  # type: ignore[assignment]  # typed as a module


@dataclass(frozen=True, slots=True)
class Store:
    """An open study file."""

    path: Path
    file: FileIO

    def add(self, result: Result) -> None:
        """Append the line of one result; it is on the disk when this returns."""
        line = to_json(result).encode() + b"\n"
        try:
            written = self.file.write(line)
            os.fsync(self.file.fileno())
        except OSError as error:
            raise FileError(f"cannot be written ({_reason(error)})", self.path) from error
        if written != len(line):
            raise FileError("cannot be written (is the disk full?)", self.path)

    def results(self) -> tuple[Result, ...]:
        """The results in the file."""
        return results_of(read_rows(self.path))

    def finish(self, networks: Sequence[str]) -> tuple[Result, ...]:
        """Put the results in the order of a plan, and return them."""
        header, *others = read_rows(self.path)
        found = in_order(results_of(others), networks)
        rest = [row for row in others if not isinstance(row, Result)]
        _write(self.path, [header, *found, *rest])
        return found


@contextmanager
def open_store(path: str | os.PathLike[str], header: Header) -> Iterator[Store]:
    """Open the file of this study, a new one or one to continue.

    FileError if it holds something else, was made with another configuration, cannot be written,
    or is being written by another sweep.
    """
    target = Path(path)
    check_output(target, header)
    if not target.exists():
        _write(target, [header])
    with _opened(target) as file:
        _mend(target, file)
        yield Store(target, file)


def check_output(path: str | os.PathLike[str], header: Header) -> None:
    """FileError, before any work, if the study cannot go to this file; nothing is written."""
    target = Path(path)
    if not target.exists():
        check_writable(target)
        return
    if b"\n" not in read_bytes(target):
        raise FileError("is no file of a study", path, "give another one with `output`")
    found = next(iter(read_rows(target, interrupted=True)), None)
    if not isinstance(found, Header):
        raise FileError("is no file of a study", path, "give another one with `output`")
    if found.digest != header.digest:
        raise other_configuration(path, found.data, header.data)


def check_writable(path: str | os.PathLike[str], suffix: str = ".jsonl") -> None:
    """FileError unless a file of this kind, rows or a report, can be put there."""
    target = Path(path)
    if target.suffix != suffix:
        raise FileError(f"the suffix must be {suffix}", path)
    check_place(path)


def results_of(rows: Iterable[Row]) -> tuple[Result, ...]:
    """The results among the rows."""
    return tuple(row for row in rows if isinstance(row, Result))


def _mend(path: Path, file: FileIO) -> None:
    """Drop a last line without its end."""
    data = read_bytes(path)
    if not data.endswith(b"\n"):
        file.truncate(data.rfind(b"\n") + 1)


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """The file for appending, unbuffered, with a lock that ends with the process."""
    try:
        file = FileIO(path, "ab")
    except OSError as error:
        raise FileError(f"cannot be written ({_reason(error)})", path) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FileError(
                    "another sweep is writing to it",
                    path,
                    "wait for it, or give another file with `output`",
                ) from None
        yield file


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _write(path: Path, rows: Iterable[Row]) -> None:
    write_atomically(path, "".join(to_json(row) + "\n" for row in rows).encode())
