"""assert_golden: the messages, as pytest shows them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import qbnnc
from qbnnc.ir import format
from qbnnc.loading.arrays import write_arrays
from qbnnc.support.errors import FileError, InputError
from qbnnc.testing import assert_golden
from qbnnc.verification.golden import make_golden, write_golden
from tests.commands import npz

Fashion = dict[str, NDArray[np.uint8]]


@pytest.fixture
def golden(artefacts: Path, fashion: Fashion, tmp_path: Path) -> Path:
    """Golden vectors of lenet: 6 rows x 4 samples, seed 7, from row 3."""
    model = format.load(artefacts / "lenet.qbnn")
    vectors = make_golden(model, fashion["x"][:6], samples=4, seed=7, first_row=3)
    write_golden(vectors, tmp_path / "golden.npz")
    return tmp_path / "golden.npz"


def changed(golden: Path, *places: tuple[int, ...]) -> None:
    arrays = npz(golden)
    samples = arrays["samples"].copy()
    for place in places:
        samples.view(np.uint32)[place] ^= 1
    write_arrays(golden, {**arrays, "samples": samples})


def test_artefacts_and_models_pass(artefacts: Path, golden: Path) -> None:
    for suffix in ("qbnn", "onnx"):
        assert_golden(artefacts / f"lenet.{suffix}", golden)
    assert_golden(format.load(artefacts / "lenet.qbnn"), golden, seed=7, threads=1)


def test_the_first_difference_is_told(artefacts: Path, golden: Path) -> None:
    right = npz(golden)["samples"][1, 4, 9]
    changed(golden, (3, 0, 2), (1, 4, 9), (2, 4, 1))
    wrong = npz(golden)["samples"][1, 4, 9]
    with pytest.raises(AssertionError) as caught:
        assert_golden(artefacts / "lenet.qbnn", golden)
    assert str(caught.value).splitlines() == [
        f"{artefacts / 'lenet.qbnn'} is not what {golden} says: 3 of 240 values differ, in 2 of 6"
        " rows",
        "first: output 'samples', sample 1, row 4, element 9",
        f"  golden {float(wrong)!r} (bits 0x{wrong.view(np.uint32):08x})",
        f"  found  {float(right)!r} (bits 0x{right.view(np.uint32):08x})",
        "drawn with seed 7 from first_row 3",
        f"{golden} was made of this very compile, so that no bit may differ",
    ]


def test_another_compile_is_told_if_its_bits_differ(
    artefacts: Path, golden: Path, demo: Path, tmp_path: Path
) -> None:
    model = format.load(artefacts / "lenet.qbnn")
    assert_golden(replace(model, draws=5), golden)  # another digest, and the same bits
    other = qbnnc.compile(
        demo / "lenet_mcd.pt",
        tmp_path / "other.qbnn",
        model="tools.models:LeNet_MCD",
        calibration=npz(demo / "fashion.npz")["calib"],
        task="classification",
        bits="w7a6",
        calibration_passes=1,
        distribution_check=None,
        spread_check=False,
    )
    with pytest.raises(AssertionError, match=r"made of another compile .*make it again with"):
        assert_golden(other, golden)


def test_other_networks_and_seeds_are_told(artefacts: Path, golden: Path) -> None:
    with pytest.raises(AssertionError, match=r"another network: their rows are \[1, 28, 28\]"):
        assert_golden(artefacts / "mlp.qbnn", golden)
    with pytest.raises(AssertionError, match="vectors of seed 7, and the test asks for seed 8"):
        assert_golden(artefacts / "lenet.qbnn", golden, seed=8)
    arrays = npz(golden)
    write_arrays(golden, {**arrays, "samples": arrays["samples"][..., :3]})
    with pytest.raises(AssertionError, match=r"another network: samples \[4, 6, 3\]"):
        assert_golden(artefacts / "lenet.qbnn", golden)
    write_arrays(golden, {**arrays, "samples_b": arrays["samples"]})
    with pytest.raises(AssertionError, match=r"samples_b .* gives no such output"):
        assert_golden(artefacts / "lenet.qbnn", golden)


@pytest.mark.parametrize("empty", ["rows", "samples"])
def test_golden_vectors_of_nothing_are_refused(artefacts: Path, golden: Path, empty: str) -> None:
    arrays = npz(golden)
    if empty == "rows":
        arrays |= {"x": arrays["x"][:0], "samples": arrays["samples"][:, :0]}
    else:
        arrays |= {"samples": arrays["samples"][:0]}
    write_arrays(golden, arrays)
    with pytest.raises(FileError, match="no rows or no samples, so that nothing"):
        assert_golden(artefacts / "lenet.qbnn", golden)


def test_rows_that_do_not_fit_are_placed_in_the_file(artefacts: Path, golden: Path) -> None:
    arrays = npz(golden)
    x = arrays["x"].copy()
    x[2] = np.nan
    write_arrays(golden, {**arrays, "x": x})
    with pytest.raises(InputError, match=r"golden.npz: the input: NaN in row 2"):
        assert_golden(artefacts / "lenet.onnx", golden)


TESTS = """
from qbnnc.testing import assert_golden


def test_damaged() -> None:
    assert_golden("damaged.qbnn", "golden.npz")


def test_changed() -> None:
    assert_golden("lenet.qbnn", "golden.npz")
"""


def test_pytest_shows_the_message_and_no_stack_of_ours(artefacts: Path, golden: Path) -> None:
    folder = golden.parent
    changed(golden, (0, 0, 0))
    shutil.copy(artefacts / "lenet.qbnn", folder)
    data = (folder / "lenet.qbnn").read_bytes()
    (folder / "damaged.qbnn").write_bytes(data[:-100] + bytes(100))
    (folder / "test_mine.py").write_text(TESTS)
    options = ["-p", "no:cacheprovider", "-o", "addopts=", "--color=no", "--rootdir=."]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_mine.py"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "2 failed" in ran.stdout
    said = [line for line in ran.stdout.splitlines() if line.startswith("E ")]
    assert any("FileError: damaged.qbnn: " in line for line in said)
    assert any("1 of 240 values differ, in 1 of 6 rows" in line for line in said)
    assert "golden.py" not in ran.stdout
    assert "testing.py" not in ran.stdout
    assert "During handling" not in ran.stdout
    assert "direct cause" not in ran.stdout


def test_pytest_is_not_imported() -> None:
    program = "import qbnnc.testing, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"pytest", "torch", "onnx", "onnxruntime", "click"} & set(done.stdout.split())
