"""Outputs of Zarr: a group with an array for each name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qbnnc.batches.computing import Field
from qbnnc.batches.spool import row_bytes
from qbnnc.batches.writing.stored import Stored
from qbnnc.support.extras import require

_CHUNK_BYTES = 4 << 20


def write_zarr(stored: Stored, path: Path) -> None:
    """Write a group. Chunks hold whole rows, about 4 MiB, and all of them are there.

    Chunks with the fill value alone are written too: a missing one is then a lost one.
    """
    require("zarr", what="writing Zarr")
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    for field in stored.fields:
        rows = _chunk_rows(field)
        shape = field.shape_of(stored.rows)
        leading = (rows,) if field.samples is None else (field.samples, rows)
        array = group.create_array(
            field.name,
            shape=shape,
            chunks=(*leading, *field.shape),
            dtype="float32",
            fill_value=0.0,
            config={"write_empty_chunks": True},
        )
        for start, stop in stored.spans((field,), rows):
            block = stored.read(field, start, stop)
            if field.samples is None:
                array[start:stop] = block
            else:
                array[:, start:stop] = np.moveaxis(block, 1, 0)


def _chunk_rows(field: Field) -> int:
    return max(1, _CHUNK_BYTES // max(1, row_bytes(field)))
