"""Labelled data of networks of several inputs: arrays by name, as their rows one after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.evaluation.files import evaluate_files
from qbnnc.evaluation.reading import read_inputs, read_raw, read_training
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.several_inputs import Entry
from tests.commands import Runner
from tests.several_inputs import ImageAndFeatures, arrays, trained

GIVEN = {name: array for name, array in arrays().items() if name in ("image", "features")}
ROWS = len(GIVEN["image"])
LABELS = np.arange(ROWS) % 2
_IMAGE = Entry("image", GIVEN["image"].shape[1:])
ENTRIES = (_IMAGE, Entry("features", GIVEN["features"].shape[1:], _IMAGE.stop))
PACKED = np.concatenate([GIVEN["image"].reshape(ROWS, -1), GIVEN["features"]], axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.qbnn, and its data by name (named.npz) and in rows (rows.npz)."""
    path = tmp_path_factory.mktemp("several")
    np.savez(path / "named.npz", y=LABELS, image=GIVEN["image"], features=GIVEN["features"])
    np.savez(path / "rows.npz", x=PACKED, y=LABELS)
    np.savez(path / "far.npz", image=GIVEN["image"] * 9, features=GIVEN["features"])
    qbnnc.compile(
        trained(ImageAndFeatures),
        path / "net.qbnn",
        calibration=GIVEN,
        samples=4,
        task="classification",
        calibration_passes=2,
        spread_check=False,
    )
    return path


def test_names_give_the_scores_of_rows(folder: Path) -> None:
    named, rows, pair = (
        evaluate_files(folder / "net.qbnn", data)[0].scores
        for data in (folder / "named.npz", folder / "rows.npz", (GIVEN, LABELS))
    )
    assert named == rows == pair


def test_a_module_is_evaluated_beside_it(folder: Path) -> None:
    module = trained(ImageAndFeatures)
    found = evaluate_files([module, folder / "net.qbnn"], folder / "named.npz")
    assert [each.bits for each in found] == ["float32", "w8a7,input=a8"]
    alone = evaluate_files(module, folder / "named.npz", task="classification", samples=4)
    assert alone[0].scores.measures["error"] == found[0].scores.measures["error"]


def test_the_command_takes_names(folder: Path, qbnnc_command: Runner) -> None:
    told = [
        qbnnc_command("evaluate", str(folder / "net.qbnn"), "--data", str(folder / name), "--json")
        for name in ("named.npz", "rows.npz")
    ]
    assert told[0].out == told[1].out


def test_unknown_inputs_by_name(folder: Path) -> None:
    far = read_inputs(str(folder / "far.npz"), PACKED.shape[1:], ENTRIES)
    assert (far[:, : ENTRIES[0].stop] == 9 * PACKED[:, : ENTRIES[0].stop]).all()
    assert (far[:, ENTRIES[1].start :] == GIVEN["features"]).all()


def test_keys_choose_the_arrays(folder: Path) -> None:
    raw = read_raw(f"{folder / 'named.npz'}:features,image,y")
    assert isinstance(raw.x, dict)
    assert [*raw.x] == ["features", "image"]
    assert (raw.y == LABELS).all()


def test_training_rows_without_labels(folder: Path) -> None:
    given = read_training(str(folder / "far.npz"), labels=False)
    assert isinstance(given.x, dict)
    assert {*given.x} == {"image", "features"}
    assert given.y.size == 0


def test_what_is_refused(folder: Path) -> None:
    np.savez(folder / "other.npz", y=LABELS, image=GIVEN["image"], wrong=GIVEN["features"])
    with pytest.raises(InputError, match=r"other\.npz: no input is called 'wrong'"):
        evaluate_files(folder / "net.qbnn", folder / "other.npz")
    np.savez(folder / "one.npz", y=LABELS, image=GIVEN["image"])
    with pytest.raises(FileError, match=r"one\.npz: has no array x; it has y, image"):
        evaluate_files(folder / "net.qbnn", folder / "one.npz")
    np.savez(folder / "none.npz", y=LABELS)
    with pytest.raises(FileError, match=r"none\.npz: has no array x"):
        evaluate_files(folder / "net.qbnn", folder / "none.npz")


def test_a_network_of_one_input_says_what_it_takes(folder: Path, artefacts: Path) -> None:
    with pytest.raises(InputError, match=r"holds the arrays .*takes one input \[rows, 1, 28, 28\]"):
        evaluate_files(artefacts / "lenet.qbnn", folder / "named.npz")
