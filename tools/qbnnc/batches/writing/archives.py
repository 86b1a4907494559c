"""Outputs of numpy's formats: a folder of .npy files, and .npz files."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from qbnnc.batches.spool import file_of
from qbnnc.batches.writing.stored import BLOCK_BYTES, Stored


def write_npz(stored: Stored, path: Path) -> None:
    """Write an .npz file, of any size, as numpy.savez does: stored, with one date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for field in stored.fields:
            source = file_of(stored.folder, field)
            if field.samples is not None:
                source = stored.folder / "samples.tmp"
                stored.place_samples(field, source)
            info = zipfile.ZipInfo(f"{field.name}.npy")
            with source.open("rb") as file, archive.open(info, "w", force_zip64=True) as member:
                shutil.copyfileobj(file, member, BLOCK_BYTES)
    (stored.folder / "samples.tmp").unlink(missing_ok=True)


def write_folder(stored: Stored, path: Path) -> None:
    """Make a folder of .npy files. Statistics, whose files are whole, get a second name there."""
    path.mkdir()
    for field in stored.fields:
        source, target = file_of(stored.folder, field), file_of(path, field)
        if field.samples is not None:
            stored.place_samples(field, target)
            continue
        try:
            os.link(source, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, target)
