"""The output of a run by its suffix: what may be put there, and how it gets its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbnnc.batches.computing import Field
from qbnnc.batches.writing.archives import write_folder, write_npz
from qbnnc.batches.writing.stored import Stored
from qbnnc.batches.writing.tables import check_table, write_csv, write_parquet
from qbnnc.batches.writing.zarr_group import write_zarr
from qbnnc.support.errors import FileError
from qbnnc.support.extras import require
from qbnnc.support.files import check_output, reason

Write = Callable[[Stored, Path], None]
WRITERS: Mapping[str, Write] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".zarr": write_zarr,
    "/": write_folder,
}
"""By suffix; "/" is a folder of .npy files."""

_TABLES, _FOLDERS = (".csv", ".parquet"), (".zarr", "/")
_EXTRAS = {".parquet": "pyarrow", ".zarr": "zarr"}
_OURS = {".zarr": ("zarr.json", ".zgroup", ".zarray")}


@dataclass(frozen=True, slots=True)
class Output:
    """A place for an output of one of the WRITERS' kinds."""

    name: str
    path: Path
    kind: str

    @staticmethod
    def of(name: str) -> Output:
        """Check the name; FileError if no output can be put there."""
        folder = name.endswith(("/", os.sep))
        path = Path(name)
        kind = "/" if folder and path.suffix.lower() != ".zarr" else path.suffix.lower()
        if kind not in WRITERS:
            raise FileError(
                "predictions are written as .npz, .csv, .parquet or .zarr, or as a folder of .npy "
                "files",
                name,
                "give a name that ends so, or in /",
            )
        if kind in _EXTRAS:
            require(_EXTRAS[kind], what=f"writing {path.name}")
        made = Output(name, path, kind)
        made._check_place()
        return made

    @property
    def real(self) -> Path:
        """The place behind all links."""
        return Path(os.path.realpath(self.path))

    def check_fields(self, fields: Sequence[Field]) -> None:
        """FileError for arrays that this kind cannot hold."""
        if self.kind in _TABLES:
            check_table(fields, self.name)

    def write(self, stored: Stored, place: Path) -> None:
        """Write all arrays to `place`, where nothing is."""
        try:
            WRITERS[self.kind](stored, place)
            _sync(place)
        except OSError as error:
            raise FileError(f"cannot be written ({reason(error)})", self.name) from error

    def install(self, made: Path) -> None:
        """Rename what is written into its place; what was there goes."""
        target = self.real
        try:
            old = self.replaced()
            if self.kind in _FOLDERS and target.is_dir():
                os.rename(target, old)
            os.replace(made, target)
            if old.exists():
                shutil.rmtree(old)
        except OSError as error:
            raise FileError(f"cannot be written ({reason(error)})", self.name) from error

    def replaced(self) -> Path:
        """Where the folder that is replaced is for a moment."""
        return self.real.with_name(f"{self.real.name}.replaced")

    def recover(self) -> None:
        """Put a folder back, or take it away, that a killed process was replacing."""
        old = self.replaced()
        if self.kind not in _FOLDERS or not old.is_dir() or not self._is_ours(old):
            return
        if os.path.lexists(self.path):
            shutil.rmtree(old)
        else:
            os.rename(old, self.real)

    def _check_place(self) -> None:
        if self.kind not in _FOLDERS:
            check_output(self.path)
            return
        target = self.real
        if not target.parent.is_dir():
            raise FileError(
                f"cannot be written: there is no folder {target.parent}", self.name, "create it"
            )
        if not os.access(target.parent, os.W_OK):
            raise FileError("cannot be written: the folder is not yours to write", self.name)
        for place in (target, self.replaced()):
            if os.path.lexists(place) and not (place.is_dir() and self._is_ours(place)):
                what = "a Zarr array or group" if self.kind == ".zarr" else "a folder of .npy files"
                raise FileError(
                    f"is in the way: it is not {what}, and is not replaced",
                    self.name if place == target else place,
                    "give another name",
                )

    def _is_ours(self, folder: Path) -> bool:
        """Whether a folder holds what this kind of output does, and nothing else."""
        names = os.listdir(folder)
        if self.kind == ".zarr":
            return not names or any(name in _OURS[".zarr"] for name in names)
        return all(name.endswith(".npy") for name in names)


def _sync(place: Path) -> None:
    """Put a file, or all files of a folder, on the disk."""
    for path in place.rglob("*") if place.is_dir() else [place]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
