"""Inputs that are wrong: each error names the place, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zarr
from numpy.typing import NDArray

from qbnnc.batches.reading.opening import open_reader
from qbnnc.batches.reading.rows import chunks
from qbnnc.support.errors import UserError

Float32 = NDArray[np.float32]


def rows_of(
    path: Path, width: int, columns: Sequence[str] | None = None, header: bool | None = None
) -> Float32:
    """All rows of a file, read in chunks of 2."""
    reader = open_reader(str(path), (width,), columns, header)
    found = [chunk.rows for chunk in chunks(reader, (width,), 2)]
    return np.concatenate([np.empty((0, width), np.float32), *found])


def text(folder: Path, content: str | bytes) -> Path:
    path = folder / "x.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path, width: int, *more: object) -> str:
    # The options are handed on as they come, whatever their types are.
    with pytest.raises(UserError) as caught:
        rows_of(path, width, *more)  # type: ignore[arg-type]  # of several kinds
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n3.5,-4e2\n",
        "1.0,2\n3.5,-4e2",
        "\ufeffa,b\r\n1,2\r\n3.5,-4e2\r\n\r\n",
        '"a","b"\n" 1",2 \n"3.5","-4e2"\n\n\n',
    ],
)
def test_spellings_of_one_table(content: str, tmp_path: Path) -> None:
    assert rows_of(text(tmp_path, content), 2).tolist() == [[1, 2], [3.5, -400]]


def test_columns_by_name_and_number(tmp_path: Path) -> None:
    named = text(tmp_path, "id,a,b\nx7,1,2\nx8,3,4\n")
    assert rows_of(named, 2, ["b", "a"]).tolist() == [[2, 1], [4, 3]]
    numbered = text(tmp_path, "x7,1,2\nx8,3,4\n")
    assert rows_of(numbered, 2, ["2-3"], False).tolist() == [[1, 2], [3, 4]]
    assert rows_of(numbered, 2, ["3", "2"], False).tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "x.csv: no rows; give one or more"),
        ("0,1\n5,6\n", "x.csv: the first line counts its columns: is it a header, or a row?"),
        ("1,b\n5,6\n", "x.csv: the first line holds numbers and other text: is it a header"),
        ("a,b,c\n1,2,3\n", "x.csv: 3 columns, the network takes 2; choose with `columns`"),
        ("a;b\n1;2\n", "x.csv: no commas between cells; separate them by ,"),
        ("a,b\n1,2\n3\n", "x.csv: line 3: 1 cell, and line 1 has 2; mend it"),
        ("a,b\n1,2\n3,x1\n", "x.csv: line 3, column b: 'x1' is no number"),
        ("a,b\n1,2\n3,\n", "x.csv: line 3, column b: an empty cell; remove or fill in"),
        ("5,3\n1,nan\n", "x.csv: line 2, column 2: nan is a missing value"),
        ("a,b\n1,2\n1_0,4\n", "x.csv: line 3, column a: '1_0' is no number"),
        ("a,b\n1,2\n\n3,4\n", "x.csv: line 3: an empty line; take it out"),
        ('a,b\n1,2\n"3\n4",5\n', "x.csv: line 3: a quotation mark too many, or a cell of several"),
        (b"a,b\n1,2\n\xff,3\n", "x.csv: line 3: no UTF-8 text"),
        (b"a,b\n1,2\n\x003,3\n", "x.csv: line 3: no UTF-8 text"),
        (b"a,b\r1,2\r", "x.csv: line 1: no UTF-8 text"),
        (b"PK\x03\x04" + bytes(99), "x.csv: no CSV but a binary file"),
    ],
)
def test_bad_tables(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert refused(text(tmp_path, content), 2).startswith(said)


@pytest.mark.parametrize(
    ("columns", "header", "said"),
    [
        (["a", "z"], None, "x.csv: no column 'z'; it has a, b, c"),
        (["a", "a"], None, "`columns`: column a is chosen twice"),
        (["a"], None, "x.csv: 1 column, the network takes 2; choose with `columns`"),
        (["a", ""], None, "`columns`: names no column"),
        (["a", "b"], False, "`columns` 'a': the table has no header"),
        (["1", "9"], False, "x.csv: no column 9; it has 3"),
        (["3-1"], False, "`columns` '3-1': the table has no header"),
    ],
)
def test_bad_choices(columns: list[str], header: bool | None, said: str, tmp_path: Path) -> None:
    assert refused(text(tmp_path, "a,b,c\n1,2,3\n"), 2, columns, header).startswith(said)


def test_rows_before_a_bad_line_are_read(tmp_path: Path) -> None:
    lines = [f"{i},{i}" for i in range(7)]
    path = text(tmp_path, "\n".join(["a,b", *lines, "x,1"]))
    reader = open_reader(str(path), (2,))
    seen = list[list[float]]()

    def read() -> None:
        for chunk in chunks(reader, (2,), 3):
            seen.extend(chunk.rows.tolist())

    with pytest.raises(UserError, match="line 9"):
        read()
    assert seen == [[i, i] for i in range(7)]


def test_lines_across_blocks(tmp_path: Path) -> None:
    """Lines that are cut by the end of a block of the file are put together again."""
    rows = np.random.default_rng(0).normal(size=(30_000, 5)).astype(np.float32)
    lines = [",".join(f"{v:.9g}" for v in row) for row in rows]
    path = text(tmp_path, "\n".join(lines))
    assert path.stat().st_size > 1 << 20
    assert np.array_equal(rows_of(path, 5), rows)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"a": [1.0, 2.0]}, "x.parquet: 1 column, the network takes 2"),
        ({"a": [1, 2], "b": ["x", "y"]}, "x.parquet: column b: holds string, not real numbers"),
        ({"a": [1, 2], "b": [1, None]}, "x.parquet: row 1, column b: a missing value"),
        ({"a": [1.0, 2.0], "b": [np.nan, 1]}, "x.parquet: row 0, column b: a missing value"),
    ],
)
def test_bad_parquet(table: dict[str, list[object]], said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    assert refused(path, 2).startswith(said)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": np.arange(9999.0)}), path)
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    assert refused(path, 1).startswith("x.parquet: no Parquet file, or damaged")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A Zarr array of 40 rows of ones, in chunks of 10."""
    made = zarr.create_array(tmp_path / "x.zarr", shape=(40, 2), chunks=(10, 2), dtype="float32")
    made[:] = 1
    return tmp_path / "x.zarr"


def test_a_missing_chunk_is_an_error(stored: Path) -> None:
    assert len(rows_of(stored, 2)) == 40
    (stored / "c" / "2" / "0").unlink()
    assert refused(stored, 2).startswith("x.zarr: 1 of 4 chunks are missing; copy it again")


def test_a_damaged_chunk_is_an_error(stored: Path) -> None:
    (stored / "c" / "2" / "0").write_bytes(b"nonsense")
    assert refused(stored, 2).startswith("x.zarr: a chunk of the rows 0 to 39 cannot be read")
    (stored / "zarr.json").write_text("{")
    assert refused(stored, 2).startswith("x.zarr: no Zarr array")


def test_a_nan_has_the_number_of_its_row(tmp_path: Path) -> None:
    rows = np.zeros((300, 2), np.float32)
    rows[257, 1] = np.nan
    np.save(tmp_path / "x.npy", rows)
    assert refused(tmp_path / "x.npy", 2).startswith("x.npy: NaN in row 257; remove or fill in")


def test_options_of_tables_are_refused_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    said = refused(tmp_path / "x.npy", 2, ["a"])
    assert said.startswith("`columns`: is for .csv and .parquet files, and the input is x.npy")
    assert refused(tmp_path / "x.txt", 2).startswith("x.txt: no format of rows has this suffix")
