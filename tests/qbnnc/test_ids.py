"""Networks of ids at the command line and in files: ids of any type, and what is no id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qbnnc
from qbnnc.loading.artefacts import open_artefact
from qbnnc.runtime import load
from qbnnc.support.errors import InputError
from qbnnc.support.id_rows import Rows
from qbnnc.verification.oracle import bits
from tests.commands import Runner

WORDS, TOKENS = 30, 4


class Net(nn.Module):
    """The sum of words, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words = nn.Embedding(WORDS, 5)
        self.drop, self.last = nn.Dropout(0.25), nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        y: Tensor = self.last(self.drop(self.words(ids).sum(1)))
        return y


def texts(count: int = 120) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.random.default_rng(2).integers(0, WORDS, (count, TOKENS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of one network, and its program."""
    made = tmp_path_factory.mktemp("ids")
    outputs = [made / name for name in ("net.qbnn", "net.onnx", "net.c")]
    options = {"samples": 3, "distribution_check": None, "spread_check": False}
    qbnnc.compile(Net().train(), outputs, calibration=texts(), **options)  # type: ignore[arg-type]
    qbnnc.save(Net().train(), made / "net.pt", (torch.from_numpy(texts(4)),), calibration=texts())
    return made


@pytest.mark.parametrize("type_", [np.int64, np.int32, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", ["net.qbnn", "net.onnx"])
def test_ids_of_any_type_are_the_same(folder: Path, name: str, type_: type) -> None:
    opened = open_artefact(folder / name)
    expected = load(folder / "net.qbnn").predict(texts(9))["samples"]
    made = opened.predict(texts(9).astype(type_))["samples"]
    assert (bits(made) == bits(expected)).all()
    rows = opened.rows_taken
    assert rows.ids is not None
    assert rows.ids.tolist() == [WORDS] * TOKENS
    assert isinstance(rows, Rows)


def test_calibration_data_without_ids_is_refused(tmp_path: Path) -> None:
    bad = texts()
    bad[7, 2] = WORDS
    with pytest.raises(InputError, match="the id 30 is in row 7, position 2, and the ids there"):
        qbnnc.compile(Net().train(), tmp_path / "net.qbnn", calibration=bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
@pytest.mark.parametrize("output", [[], ["-o", "p.csv", "--statistics-only"]])
def test_the_command_names_row_position_and_vocabulary(
    folder: Path, qbnnc_command: Runner, suffix: str, output: list[str]
) -> None:
    bad = texts(20)
    bad[11, 3] = -2
    if suffix == ".npy":
        np.save("x.npy", bad)
    else:
        header = ",".join(f"w{i}" for i in range(TOKENS))
        np.savetxt("x.csv", bad, "%d", ",", header=header, comments="")
    ran = qbnnc_command("run", folder / "net.qbnn", "--input", f"x{suffix}", *output)
    assert ran.code == 2
    said = " ".join(ran.err.split())
    assert "the id -2 is in row 11, position 3, and the ids there are 0 to 29" in said
    assert "Traceback" not in said


def test_the_program_compiles_and_verifies(folder: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", texts(16))
    made = qbnnc_command("compile", folder / "net.pt", "-o", "again.qbnn", "-o", "again.onnx")
    assert made.code == 0, made.err
    ran = qbnnc_command("verify", "again.onnx", "again.qbnn", "--input", "x.npy")
    assert ran.code == 0, ran.err


def test_the_bench_draws_ids(folder: Path, qbnnc_command: Runner) -> None:
    ran = qbnnc_command("bench", folder / "net.qbnn", "--seconds", "0.1", "--batch", "2")
    assert ran.code == 0, ran.err


def test_c_takes_int32(folder: Path) -> None:
    header = (folder / "net.h").read_text()
    assert "int net_begin(net_state *st, const int32_t *x, uint64_t seed, uint64_t row);" in header
    assert "net_NO_ID" in header.replace("NET_", "net_")
    assert "net_begin_codes" not in header
