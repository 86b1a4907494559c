"""A folder for the files of one worker, in memory where there is such a place."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")


def new_folder() -> Path:
    """Removed when the process ends well; a worker that crashes leaves one small file."""
    parent = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="qbnnc-fuzz-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
