"""`qbnnc run` on tables and large files: what it says, refuses and leaves as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qbnnc.cli import run_stream
from tests.commands import Runner, npz
from tests.qbnnc.batches.files import (
    Arrays,
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


def test_a_table_into_a_table(mlp: Path, qbnnc_command: Runner) -> None:
    write_csv(Path("x.csv"), some_rows(30))
    ran = qbnnc_command("run", mlp, "--input", "x.csv", "-o", "p.csv", "--statistics-only")
    assert (ran.code, ran.err) == (0, "")
    assert ran.words == (
        "wrote p.csv: 30 rows mean [30, 1], aleatoric [30, 1], epistemic [30, 1], variance [30, 1]"
    )
    assert_equal(read_output(Path("p.csv")), columns_of(predicted(mlp, some_rows(30))))


def test_json_has_counts_and_shapes(mlp: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", some_rows(30))
    ran = qbnnc_command("run", mlp, "--input", "x.npy", "-o", "p/", "--json", "--quantiles", ".5")
    found = json.loads(ran.out)
    assert found["arrays"]["samples_log_var"] == [20, 30, 1]
    assert found["arrays"]["q0.5"] == [30, 1]
    assert (found["output"], found["rows"], found["kept"], found["clipped"]) == ("p/", 30, 0, 0)
    quiet = qbnnc_command("run", mlp, "--input", "x.npy", "-o", "p/", "-q")
    assert (quiet.out, quiet.err) == ("", "")


def test_a_table_without_an_output_is_shown_as_an_array_is(
    mlp: Path, qbnnc_command: Runner
) -> None:
    np.save("x.npy", some_rows(30))
    write_csv(Path("x.csv"), some_rows(30))
    shown = qbnnc_command("run", mlp, "--input", "x.npy")
    assert qbnnc_command("run", mlp, "--input", "x.csv") == shown
    assert qbnnc_command("run", mlp, "--input", "x.csv", "--header") == shown


def test_arrays_into_npz_stay_as_they_were(
    mlp: Path, qbnnc_command: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file goes through one prediction; a large one gives the same arrays in chunks."""
    np.save("x.npy", some_rows(30))
    whole = qbnnc_command("run", mlp, "--input", "x.npy", "-o", "p.npz")
    assert whole.out.startswith("row     mean  aleatoric  epistemic  variance\n0 ")
    monkeypatch.setattr(run_stream, "MOST_PREDICTED", 30 * 20 * 2 * 4 - 1)
    large = qbnnc_command("run", mlp, "--input", "x.npy", "-o", "q.npz")
    assert large.out.startswith("wrote q.npz: 30 rows\n")
    assert_equal(npz_arrays("q.npz"), npz_arrays("p.npz"))


def npz_arrays(path: str) -> Arrays:
    return {name: array.astype(np.float32, copy=False) for name, array in npz(path).items()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "p.csv"), "p.csv: samples are no columns of a table; ask for --statistics-only"),
        (("-o", "p.npy"), "p.npy: predictions are written as .npz, .csv, .parquet or .zarr"),
        (("-o", "no/p.zarr"), "no/p.zarr: cannot be written: there is no folder"),
        (("-o", "x.npy"), "x.npy: predictions are written as .npz"),
        (("--statistics-only",), "--statistics-only: needs an output; give one with -o"),
        (("--workers", 2), "--workers: needs an output; give one with -o"),
        (("-o", "p.npz", "--quantiles", ".5,2"), "--quantiles 2: a quantile is a number from 0"),
        (("-o", "p.npz", "--quantiles", ".9,.1"), "--quantiles 0.9,0.1: not increasing"),
        (("-o", "p.npz", "--quantiles", "x"), "--quantiles 'x': write numbers from 0 to 1"),
        (("-o", "p.npz", "--columns", "a"), "--columns: is for .csv and .parquet files"),
        (("-o", "p.zarr", "--samples", 0), ""),
        (("-o", "p.zarr", "--first-row", 2**63), "--first-row: 9223372036854775808: a row would"),
        (("-o", "p.zarr", "--first-row", 2**63 - 2), "--first-row: 9223372036854775806: a row"),
        (
            ("-o", "p.npz", "--scheduler", "h:1", "--workers", 2),
            "--scheduler: has its own workers; leave --workers out",
        ),
    ],
)
def test_refusals(
    arguments: tuple[object, ...], said: str, mlp: Path, qbnnc_command: Runner
) -> None:
    np.save("x.npy", some_rows(3))
    if said:
        found = qbnnc_command.refused("run", mlp, "--input", "x.npy", *arguments)
        assert found.startswith(said)
    else:
        assert qbnnc_command("run", mlp, "--input", "x.npy", *arguments).code == 2
    assert not list(Path().glob("p*.partial"))


def test_the_last_rows_of_all(mlp: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", some_rows(3))
    first = 2**63 - 3
    more = ("-o", "p.zarr", "--first-row", first, "--chunk-size", 2)
    assert qbnnc_command("run", mlp, "--input", "x.npy", *more).code == 0
    assert_equal(read_output(Path("p.zarr")), predicted(mlp, some_rows(3), first_row=first))


def test_a_wrong_shape_and_a_wrong_count(mlp: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", some_rows(3)[:, :9])
    write_csv(Path("x.csv"), some_rows(3)[:, :9])
    for file, said in (
        ("x.npy", "x.npy: the shape is [3, 9], and the network takes [batch, 10]"),
        ("x.csv", "x.csv: 9 columns, the network takes 10; choose with --columns"),
    ):
        for output in ((), ("-o", "p.zarr")):
            assert qbnnc_command.refused("run", mlp, "--input", file, *output) == said


@pytest.mark.parametrize("output", [(), ("-o", "p.npz"), ("-o", "p.zarr")])
def test_inputs_beyond_the_range_are_told(
    output: tuple[str, ...], mlp: Path, qbnnc_command: Runner
) -> None:
    rows = np.zeros((50, 10), np.float32)
    rows[:, :2], rows[:, 2] = 1e6, np.inf
    np.save("x.npy", rows)
    ran = qbnnc_command("run", mlp, "--input", "x.npy", *output)
    assert ran.code == 0
    assert ran.err == (
        "Warning: 30% of the input values lie outside the range of the calibration, and saturate; "
        "are they scaled as in training?\n"
    )


def test_progress_is_on_a_terminal_only(
    mlp: Path, qbnnc_command: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(Path("x.csv"), some_rows(300))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    more = ("-o", "p.npz", "--chunk-size", 100)
    shown = qbnnc_command("run", mlp, "--input", "x.csv", *more).err
    assert "predicting [" in shown
    assert "300/300" in shown
    assert "writing [" in shown
    assert qbnnc_command("run", mlp, "--input", "x.csv", *more, "-q").err == ""


@pytest.mark.parametrize(("module", "extra"), [("pyarrow", "tables"), ("zarr", "zarr")])
def test_a_missing_extra_is_named(module: str, extra: str, mlp: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(3))
    hide = (
        "import importlib.util as u, sys; find = u.find_spec; "
        f"u.find_spec = lambda n, *a: None if n == {module!r} else find(n, *a); "
        "from qbnnc.cli.main import main; sys.argv = ['qbnnc', *sys.argv[1:]]; main()"
    )
    name = {"pyarrow": "parquet"}.get(module, module)
    done = subprocess.run(
        [sys.executable, "-c", hide, "run", mlp, "--input", "x.npy", "-o", f"p.{name}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"needs {module}; install it with pip install 'qbnnc[{extra}]'" in done.stderr


def peak_of(rows: int, mlp: Path, folder: Path) -> int:
    """The peak memory in bytes of a run of so many rows, in a process of its own."""
    path = folder / "x.npy"
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 10))
    for start in range(0, rows, 10**5):
        array[start : start + 10**5] = some_rows(min(10**5, rows - start), start)
    del array
    program = (
        "import sys\nfrom qbnnc.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print(open('/proc/self/status').read())"
    )
    command = [sys.executable, "-c", program, "run", str(mlp), "--input", str(path)]
    output = ["-o", str(folder / "p.npz"), "--statistics-only", "-q"]
    done = subprocess.run([*command, *output], check=True, capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_million_rows_in_the_memory_of_a_few(mlp: Path, tmp_path: Path) -> None:
    """The samples alone are 160 MB, and the input 40 MB."""
    few, many = (peak_of(rows, mlp, tmp_path) for rows in (200_000, 1_000_000))
    assert many - few < 16 << 20
    assert len(npz(tmp_path / "p.npz")["mean"]) == 10**6
