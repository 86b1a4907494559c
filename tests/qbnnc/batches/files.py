"""Networks and files for tests of large batches, and outputs read back as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import zarr
from numpy.typing import NDArray

from qbnnc.runtime import load

Float32 = NDArray[np.float32]
Arrays = dict[str, Float32]


def some_rows(count: int, seed: int = 0) -> Float32:
    """Rows for mlp.qbnn: [count, 10]."""
    return np.random.default_rng(seed).normal(size=(count, 10)).astype(np.float32)


def write_csv(path: Path, rows: Float32, *, header: bool = True) -> None:
    """Write numbers with as many digits as float32 needs, and names c0, c1, ..."""
    lines = [",".join(f"c{i}" for i in range(rows.shape[1]))] * header
    lines += [",".join(f"{value:.9g}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def write_input(path: Path, rows: Float32) -> None:
    """Write rows to a file of the format that the suffix names."""
    match path.suffix:
        case ".npy":
            np.save(path, rows)
        case ".npz":
            np.savez(path, x=rows)
        case ".csv":
            write_csv(path, rows)
        case ".parquet":
            columns = {f"c{i}": rows[:, i] for i in range(rows.shape[1])}
            pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=37)
        case _:
            made = zarr.create_array(path, shape=rows.shape, chunks=(17, 4), dtype="float32")
            made[:] = rows


def read_output(path: Path) -> Arrays:
    """The arrays of an output by name; each column of a table is one."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return dict(archive)
    if path.suffix == ".csv":
        names, *lines = path.read_text().splitlines()
        cells = np.array([line.split(",") for line in lines], np.float32)
        cells = cells.reshape(len(lines), -1) if lines else np.empty((0, 999), np.float32)
        return {name: cells[:, i] for i, name in enumerate(names.split(","))}
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        return {name: table[name].to_numpy() for name in table.column_names}
    if path.suffix == ".zarr":
        group = zarr.open_group(path, mode="r")
        return {name: np.asarray(array[:]) for name, array in group.arrays()}
    return {file.stem: np.load(file) for file in path.iterdir()}


def predicted(model: Path, rows: Float32, seed: int = 0, first_row: int = 0) -> Arrays:
    """Samples and statistics of one prediction of all rows."""
    return dict(load(model).predict(rows, seed=seed, first_row=first_row))


def columns_of(arrays: Arrays) -> Arrays:
    """Statistics as the columns of a table."""
    made = Arrays()
    for name, array in arrays.items():
        if not name.startswith("samples"):
            for place in np.ndindex(array.shape[1:]):
                made["_".join([name, *map(str, place)])] = array[(slice(None), *place)]
    return made


def assert_equal(found: Arrays, wanted: Arrays) -> None:
    """The same names, and the same bits."""
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == np.float32, name
        assert found[name].shape == array.shape, name
        assert np.array_equal(found[name].view(np.uint32), array.view(np.uint32)), name


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, or a file, and their bytes."""
    if folder.is_file():
        return {"": folder.read_bytes()}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
