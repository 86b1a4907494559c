"""Golden vectors and limits: a user's build fails when a network changes, or becomes worse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.arrays import write_arrays
from qbnnc.runtime import load
from tests.commands import Runner, npz


@pytest.fixture
def command(qbnnc_command: Runner, artefacts: Path) -> Runner:
    """The command, in a folder with few rows and the artefacts of one compile."""
    data = npz("fashion.npz")
    np.savez("few.npz", x=data["x"][:6], y=data["y"][:6])
    for suffix in ("onnx", "qbnn"):
        shutil.copy(artefacts / f"lenet.{suffix}", f"a.{suffix}")
    drawn = ("--seed", 7, "--samples", 4, "--first-row", 3)
    made = qbnnc_command("golden", "a.qbnn", "--input", "few.npz:x", "-o", "golden.npz", *drawn)
    assert made.code == 0, made.err
    assert made.out == "wrote golden.npz: 6 rows x 4 samples, seed 7\n"
    return qbnnc_command


def test_both_artefacts_keep_golden_vectors(command: Runner) -> None:
    checked = command("verify", "a.qbnn", "a.onnx", "--golden", "golden.npz")
    assert checked.code == 0
    assert "golden.npz: 6 rows x 4 samples x 1 seed" in checked.out
    assert checked.out.count("equal") == 2


def test_golden_vectors_are_the_oracles_and_numpy_reads_them(command: Runner) -> None:
    golden = npz("golden.npz")
    few = npz("few.npz")["x"]
    (made,) = oracle_samples(format.load("a.qbnn"), few, samples=4, seed=7, first_row=3)
    np.testing.assert_array_equal(golden["samples"], made)
    prediction = load("a.qbnn").predict(
        golden["x"],
        samples=len(golden["samples"]),
        seed=int(golden["seed"]),
        first_row=int(golden["first_row"]),
    )
    np.testing.assert_array_equal(prediction["samples"], golden["samples"])


def test_one_other_bit_is_found(command: Runner) -> None:
    golden = npz("golden.npz")
    other = golden["samples"].copy()
    other.view(np.uint32)[2, 1, 0] ^= 1
    write_arrays("golden.npz", {**golden, "samples": other})
    checked = command("verify", "a.qbnn", "--golden", "golden.npz")
    assert checked.code == 1
    assert "samples[sample 2, row 4] seed 7" in checked.words
    assert "the golden vectors say" in checked.words
    (record,) = json.loads(command("verify", "a.qbnn", "--golden", "golden.npz", "--json").out)
    assert (record["differing"], record["equal"]) == (1, False)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1])
def test_seeds_count_mod_2_64(command: Runner, seed: int) -> None:
    made = command("golden", "a.qbnn", "--input", "few.npz:x", "-o", "big.npz", "--seed", seed)
    assert made.code == 0
    assert int(npz("big.npz")["seed"]) % 2**64 == seed % 2**64
    assert command("verify", "a.qbnn", "a.onnx", "--golden", "big.npz").code == 0


def test_without_a_seed_it_is_zero(command: Runner) -> None:
    assert command("golden", "a.qbnn", "--input", "few.npz:x", "-o", "zero.npz").code == 0
    golden = npz("zero.npz")
    assert (int(golden["seed"]), int(golden["first_row"]), len(golden["samples"])) == (0, 0, 20)


def test_golden_vectors_of_no_rows_are_refused(command: Runner) -> None:
    golden = npz("golden.npz")
    none = {**golden, "x": golden["x"][:0], "samples": golden["samples"][:, :0]}
    write_arrays("none.npz", none)
    assert "none.npz: golden vectors of no rows" in command.refused(
        "verify", "a.qbnn", "--golden", "none.npz"
    )


def test_another_compile_is_told_and_compared(command: Runner) -> None:
    command("compile", "a.qbnn", "--samples", 5, "-o", "b.qbnn")
    checked = command("verify", "b.qbnn", "--golden", "golden.npz")
    assert checked.code == 0
    assert "b.qbnn: another compile than that of golden.npz" in checked.words


def test_what_are_no_golden_vectors(command: Runner) -> None:
    verify = ("verify", "a.qbnn", "--golden")
    assert "few.npz: no golden vectors" in command.refused(*verify, "few.npz")
    golden = npz("golden.npz")
    write_arrays("cut.npz", {**golden, "x": golden["x"][:2]})
    assert "cut.npz: damaged golden vectors" in command.refused(*verify, "cut.npz")
    write_arrays("other.npz", {**golden, "samples": golden["samples"][..., :3]})
    assert "a.qbnn gives no samples [4, 6, 3]" in command.refused(*verify, "other.npz")
    holds = "--golden: holds its own inputs"
    assert holds in command.refused(*verify, "golden.npz", "--input", "few.npz:x")
    assert "would be lost" in command.refused(
        "golden", "a.qbnn", "--input", "few.npz:x", "-o", "few.npz"
    )


EVALUATE = ("evaluate", "a.qbnn", "--data", "few.npz", "--samples", 4)


def test_limits_decide_the_exit_code(command: Runner) -> None:
    (record,) = json.loads(command(*EVALUATE, "--json").out)
    nll, error = (record["measures"][key]["mean"] for key in ("nll", "error"))
    kept = command(*EVALUATE, "--max", f"nll={nll + 1e-3}", "--max", f"error={100 * error + 0.1}")
    assert kept.code == 0
    worse = command(*EVALUATE, "--max", f"nll={nll - 1e-3}", "--min", f"error={100 * error + 0.1}")
    assert worse.code == 1
    assert worse.out == kept.out
    assert [line.split(" is ")[0] for line in worse.err.splitlines()] == [
        "a.qbnn: nll",
        "a.qbnn: error",
    ]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("nll", "--max 'nll': write METRIC=X, such as nll=.45"),
        ("nll=nan", "write METRIC=X"),
        ("nl=3", "--max nl=3: is not measured here; did you mean nll? there are error, nll, "),
    ],
)
def test_a_wrong_limit_is_an_error(command: Runner, limit: str, message: str) -> None:
    assert message in command.refused(*EVALUATE, "--max", limit)
