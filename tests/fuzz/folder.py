"""A folder for the files of one worker, in memory where there is such a place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")


@contextmanager
def temporary() -> Iterator[str]:
    """Yield a folder for a worker's temporary files, which goes away with all that a crash left."""
    parent = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="qbnnc-fuzz-", dir=parent) as folder:
        yield folder


def new_folder() -> Path:
    """One in the place for temporary files."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))
