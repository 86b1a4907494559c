"""The main law: whatever the formats and the chunks, the bits are those of one prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import qbnnc
from qbnnc.support.errors import FileError
from tests.qbnnc.batches.files import (
    Arrays,
    assert_equal,
    columns_of,
    predicted,
    read_output,
    some_rows,
    tree,
    write_input,
)

INPUTS = (".npy", ".npz", ".csv", ".parquet", ".zarr")
WHOLE = ("p.npz", "p.zarr", "p/")
TABLES = ("p.csv", "p.parquet")


@pytest.fixture(scope="module")
def mlp(artefacts: Path) -> Path:
    return artefacts / "mlp.qbnn"


@pytest.fixture(scope="module")
def wanted(mlp: Path) -> Arrays:
    return predicted(mlp, some_rows(203), seed=7, first_row=11)


@pytest.mark.few(5)
@pytest.mark.parametrize("suffix", INPUTS)
@pytest.mark.parametrize("output", [*WHOLE, *TABLES])
def test_every_input_and_output(
    suffix: str, output: str, mlp: Path, wanted: Arrays, tmp_path: Path
) -> None:
    source = tmp_path / f"x{suffix}"
    write_input(source, some_rows(203))
    table = output in TABLES
    made = qbnnc.predict_file(
        mlp,
        source,
        f"{tmp_path}/{output}",
        seed=7,
        first_row=11,
        statistics_only=table,
        chunk_size=50,
    )
    assert_equal(read_output(tmp_path / output), columns_of(wanted) if table else wanted)
    assert (made.rows, made.kept) == (203, 0)
    assert {each.name for each in tmp_path.iterdir()} == {source.name, output.rstrip("/")}


@settings(max_examples=12)
@given(sizes=st.lists(st.integers(1, 260), min_size=1, max_size=2), batch=st.integers(1, 99))
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_chunks_change_no_bit(
    suffix: str,
    mlp: Path,
    wanted: Arrays,
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    batch: int,
) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    write_input(folder / f"x{suffix}", some_rows(203))
    for size in sizes:
        qbnnc.predict_file(
            mlp,
            folder / f"x{suffix}",
            folder / "p.npz",
            seed=7,
            first_row=11,
            chunk_size=size,
            batch_size=batch,
        )
        assert_equal(read_output(folder / "p.npz"), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("output", [*WHOLE, *TABLES])
def test_bytes_do_not_depend_on_chunks_or_workers(output: str, mlp: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(90))
    found = []
    for size, workers in ((7, 1), (90, 1), (1, 1), (20, 2)):
        qbnnc.predict_file(
            mlp,
            tmp_path / "x.npy",
            f"{tmp_path}/{output}",
            statistics_only=True,
            quantiles=(0.1, 0.5),
            chunk_size=size,
            workers=workers,
        )
        found.append(tree(tmp_path / output))
    assert found[0] == found[1] == found[2] == found[3]


def test_classes_one_row_at_a_time(
    artefacts: Path, fashion: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    """A mean over the samples of one row alone adds in the same order as that of many rows."""
    rows = fashion["x"][:40].astype(np.float32)
    np.save(tmp_path / "x.npy", fashion["x"][:40])
    for kind in ("qbnn", "onnx"):
        qbnnc.predict_file(
            artefacts / f"lenet.{kind}", tmp_path / "x.npy", tmp_path / "p.npz", chunk_size=1
        )
        assert_equal(read_output(tmp_path / "p.npz"), predicted(artefacts / "lenet.qbnn", rows))


def test_quantiles_are_numpys(mlp: Path, wanted: Arrays, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(203))
    asked = (0.0, 0.05, 0.5, 0.95, 1.0)
    qbnnc.predict_file(
        mlp, tmp_path / "x.npy", tmp_path / "p.npz", seed=7, first_row=11, quantiles=asked
    )
    found = read_output(tmp_path / "p.npz")
    for suffix in ("", "_log_var"):
        samples = wanted[f"samples{suffix}"].astype(np.float64)
        for q in asked:
            expected = np.quantile(samples, q, axis=0, method="linear").astype(np.float32)
            assert np.array_equal(found[f"q{q:g}{suffix}"], expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float64", ">f4", "int8", "float16"])
def test_arrays_of_any_type(order: str, dtype: str, mlp: Path, tmp_path: Path) -> None:
    rows = np.asarray(some_rows(50) * 20, dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(rows) if order == "F" else rows)
    qbnnc.predict_file(mlp, tmp_path / "x.npy", tmp_path / "p.npz", chunk_size=9)
    assert_equal(read_output(tmp_path / "p.npz"), predicted(mlp, rows.astype(np.float32)))


def test_no_rows(mlp: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(0))
    for output in (*WHOLE, *TABLES):
        made = qbnnc.predict_file(
            mlp, tmp_path / "x.npy", f"{tmp_path}/{output}", statistics_only=True
        )
        assert made.rows == 0
        found = read_output(tmp_path / output)
        assert {len(array) for array in found.values()} == {0}


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_an_array_of_several_is_named(kind: str, mlp: Path, tmp_path: Path) -> None:
    import zarr

    rows = some_rows(30)
    if kind == "npz":
        np.savez(tmp_path / "x.npz", a=rows, b=rows[:3])
    else:
        group = zarr.open_group(tmp_path / "x.zarr", mode="w")
        for name, array in (("a", rows), ("b", rows[:3])):
            group.create_array(name, shape=array.shape, dtype="float32", chunks=(8, 10))[:] = array
    source = f"{tmp_path}/x.{kind}"
    qbnnc.predict_file(mlp, f"{source}:a", tmp_path / "p.npz")
    assert_equal(read_output(tmp_path / "p.npz"), predicted(mlp, rows))
    with pytest.raises(FileError, match=r"which array\? .*:a or .*:b"):
        qbnnc.predict_file(mlp, source, tmp_path / "p.npz")
