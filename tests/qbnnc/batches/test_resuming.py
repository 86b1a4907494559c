"""What a run leaves when its input fails, and who may go on with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.batches.predict_file import FilePrediction
from qbnnc.support.errors import FileError, InputError, UserError
from tests.qbnnc.batches.files import (
    assert_equal,
    columns_of,
    predicted,
    read_output,
    some_rows,
    write_csv,
)


@pytest.fixture
def mlp(artefacts: Path) -> Path:
    return artefacts / "mlp.qbnn"


def run(mlp: Path, folder: Path, **more: object) -> FilePrediction:
    # The options are of several types, which a dict of them cannot tell apart.
    options: dict[str, object] = {"statistics_only": True, "chunk_size": 40} | more
    return qbnnc.predict_file(mlp, folder / "x.csv", folder / "p.csv", **options)  # type: ignore[arg-type]


def spoil(folder: Path, line: int) -> None:
    lines = (folder / "x.csv").read_text().splitlines()
    lines[line - 1] = "oops," + lines[line - 1].partition(",")[2]
    (folder / "x.csv").write_text("\n".join(lines))


@pytest.fixture
def stopped(mlp: Path, tmp_path: Path) -> Path:
    """A folder with a run that a bad cell in line 152 stopped after 150 rows."""
    write_csv(tmp_path / "x.csv", some_rows(300))
    spoil(tmp_path, 152)
    with pytest.raises(InputError) as caught:
        run(mlp, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/x.csv: line 152, column c0: 'oops' is no number; mend it, or choose others "
        "with `columns`; 150 rows are kept in p.csv.partial, and running it again goes on"
    )
    assert {each.name for each in tmp_path.iterdir()} == {"x.csv", "p.csv.partial"}
    return tmp_path


def test_a_mended_file_goes_on(mlp: Path, stopped: Path) -> None:
    write_csv(stopped / "x.csv", some_rows(300))
    for made in (run(mlp, stopped, chunk_size=7), run(mlp, stopped)):
        assert made.rows == 300
        assert_equal(read_output(stopped / "p.csv"), columns_of(predicted(mlp, some_rows(300))))
    assert not (stopped / "p.csv.partial").exists()


def test_what_was_kept_is_not_computed_again(mlp: Path, stopped: Path) -> None:
    """The kept numbers are those in the file: a mark put there is in the output."""
    with (stopped / "p.csv.partial" / "mean.npy").open("r+b") as file:
        file.seek(320)
        file.write(np.float32(12345).tobytes())
    write_csv(stopped / "x.csv", some_rows(300))
    assert run(mlp, stopped).kept == 150
    assert read_output(stopped / "p.csv")["mean_0"][0] == 12345


@pytest.mark.parametrize("first", [0, 149])
def test_other_rows_are_refused(first: int, mlp: Path, stopped: Path) -> None:
    other = some_rows(300)
    other[first, 3] += 1
    write_csv(stopped / "x.csv", other)
    with pytest.raises(FileError, match=r"the first 150 rows of the input differ.*`restart`"):
        run(mlp, stopped)
    assert run(mlp, stopped, restart=True).kept == 0
    assert_equal(read_output(stopped / "p.csv"), columns_of(predicted(mlp, other)))


def test_a_shorter_input_is_refused(mlp: Path, stopped: Path) -> None:
    write_csv(stopped / "x.csv", some_rows(300)[:149])
    with pytest.raises(FileError, match="the first 150 rows of the input differ"):
        run(mlp, stopped)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seed": 3}, "seed was 0, and is 3"),
        ({"samples": 4}, "number of samples was 20, and is 4"),
        ({"first_row": 9}, "first row was 0, and is 9"),
        ({"quantiles": (0.5,)}, r"quantiles was \[\], and is \[0.5\]"),
    ],
)
def test_another_run_is_refused(
    more: dict[str, object], said: str, mlp: Path, stopped: Path
) -> None:
    write_csv(stopped / "x.csv", some_rows(300))
    with pytest.raises(FileError, match=f"holds rows of another run .{said}.; run it as before"):
        run(mlp, stopped, **more)
    assert run(mlp, stopped).kept == 150


def test_another_model_is_refused(artefacts: Path, mlp: Path, stopped: Path) -> None:
    qbnnc.compile(mlp, stopped / "other.qbnn", samples=20, task="raw")
    write_csv(stopped / "x.csv", some_rows(300))
    with pytest.raises(FileError, match=r"another run .model was"):
        run(stopped / "other.qbnn", stopped)
    assert run(artefacts / "mlp.onnx", stopped).kept == 150  # the same Model


def test_rows_that_are_lost_are_computed_again(mlp: Path, stopped: Path) -> None:
    with (stopped / "p.csv.partial" / "mean.npy").open("r+b") as file:
        file.truncate(320 + 4 * 149)
    write_csv(stopped / "x.csv", some_rows(300))
    assert run(mlp, stopped).kept == 0
    assert_equal(read_output(stopped / "p.csv"), columns_of(predicted(mlp, some_rows(300))))


def test_a_folder_of_somebody_else_is_left(mlp: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", some_rows(3))
    (tmp_path / "p.csv.partial").mkdir()
    (tmp_path / "p.csv.partial" / "thesis.tex").write_text("all")
    for restart in (False, True):
        with pytest.raises(FileError, match="is in the way"):
            run(mlp, tmp_path, restart=restart)
    assert (tmp_path / "p.csv.partial" / "thesis.tex").read_text() == "all"


@pytest.mark.parametrize("output", ["p.zarr", "p/"])
def test_folders_are_replaced_whole(output: str, mlp: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(30))
    target = f"{tmp_path}/{output}"
    qbnnc.predict_file(mlp, tmp_path / "x.npy", target, quantiles=(0.5,))
    qbnnc.predict_file(mlp, tmp_path / "x.npy", target)
    assert_equal(read_output(tmp_path / output), predicted(mlp, some_rows(30)))
    (tmp_path / output).rename(tmp_path / "old")
    (tmp_path / output).mkdir()
    (tmp_path / output / "thesis.tex").write_text("all")
    with pytest.raises(FileError, match="is in the way"):
        qbnnc.predict_file(mlp, tmp_path / "x.npy", target)
    assert (tmp_path / output / "thesis.tex").read_text() == "all"


def test_a_replacement_that_was_killed_is_put_right(mlp: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(30))
    qbnnc.predict_file(mlp, tmp_path / "x.npy", tmp_path / "p.zarr")
    (tmp_path / "p.zarr").rename(tmp_path / "p.zarr.replaced")
    with pytest.raises(UserError, match="samples"):
        qbnnc.predict_file(mlp, tmp_path / "x.npy", tmp_path / "p.zarr", samples=-1)
    qbnnc.predict_file(mlp, tmp_path / "x.npy", tmp_path / "p.zarr", seed=1)
    assert_equal(read_output(tmp_path / "p.zarr"), predicted(mlp, some_rows(30), seed=1))
    assert {each.name for each in tmp_path.iterdir()} == {"x.npy", "p.zarr"}
