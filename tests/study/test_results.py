"""Rows of a study, written and read; every line that is no row is refused with its number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.head import Task
from qbnnc.study.results import (
    Bin,
    Entropies,
    Header,
    Precision,
    Result,
    Row,
    Sensitivity,
    Shifted,
    from_json,
    read_rows,
    to_json,
)
from qbnnc.support.errors import FileError

HEADER = Header("a", "MCD", Task.CLASSIFICATION, "ab12", {"torch": "2"}, {"test": "x.npz:x"})
RESULT = Result(
    "lenet/ptq/w4a7/seed0", "lenet", "MC dropout", Precision.PTQ, 4, 7, 0, 20,
    metrics={"nll": 0.5, "ece": 0.01}, ood={"ape": 1.5}, calibration=(Bin(3, 0.5, 0.25),) * 10,
    entropy=Entropies((0.0, 1.0, 2.0), (3, 4), (0, 7)), sizes={"qbnn": 4096}, seconds=1.5,
    costs={"macs": 9.0, "milliseconds": 0.5},
    shifts=(Shifted("rotation", 15.0, {"error": 0.25}),),
)  # fmt: skip
FAILED = Result("k", "lenet", "m", Precision.FLOAT, None, None, 1, 20, error="no \u2028 memory")
LAYER = Sensitivity("lenet", "conv1", 4, 7, {"nll": 0.6}, {"nll": 0.5})
ROWS: tuple[Row, ...] = (HEADER, RESULT, FAILED, LAYER)


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def changed(row: Row, **values: object) -> str:
    """The line of a row with other values; a value of ... leaves the field out."""
    record = json.loads(to_json(row)) | values
    return json.dumps({k: v for k, v in record.items() if v is not ...})


def test_rows_survive_their_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", *map(to_json, ROWS), "")
    assert read_rows(path) == ROWS


def test_a_row_is_one_line_of_strict_json() -> None:
    record = json.loads(to_json(RESULT), parse_constant=pytest.fail)
    assert record["kind"] == "result"
    assert record["precision"] == "ptq"
    assert json.loads(to_json(HEADER))["version"] == 1
    assert all("\n" not in to_json(row) for row in ROWS)


@given(st.dictionaries(st.text(), st.floats(), min_size=1))
def test_any_number_survives(metrics: dict[str, float]) -> None:
    row = Sensitivity("n", "l", 2, 2, metrics, {})
    back = from_json(to_json(row), "a", 1)
    assert isinstance(back, Sensitivity)
    assert back.metrics.keys() == metrics.keys()
    np.testing.assert_array_equal(list(back.metrics.values()), list(metrics.values()))


def test_numbers_of_numpy_become_plain() -> None:
    singles = dict(zip(("nll", "ece"), np.array([0.5, np.nan], np.float32), strict=True))
    metrics: dict[str, float] = {**singles, "error": np.float64(np.inf)}
    spread: dict[str, Any] = {"nll": np.int64(2)}
    row = Sensitivity("n", "l", 4, 7, metrics, spread)
    record = json.loads(to_json(row))
    assert record["metrics"] == {"nll": 0.5, "ece": "nan", "error": "inf"}
    assert record["baseline"] == {"nll": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no line of JSON"),
        ("[" * 100_000, "no line of JSON"),
        ("[1]", 'an object with a "kind"'),
        ('{"kind": "other"}', "'other'"),
        (changed(HEADER, version=2), "version 2"),
        (changed(HEADER, version=...), "version None"),
        (changed(HEADER, task="raw"), "classification or regression"),
        (changed(HEADER, task="ranking"), "one of raw, classification, regression"),
        (changed(HEADER, data={"x": 1}), "data x is 1: a text"),
        (changed(RESULT, seed=...), "'seed' is missing"),
        (changed(RESULT, colour="red"), "unknown field 'colour'"),
        (changed(RESULT, seed=1.5), "seed is 1.5: a whole number"),
        (changed(RESULT, seed=True), "seed is True: a whole number"),
        (changed(RESULT, metrics={"nll": "much"}), "metrics nll is 'much': a number"),
        (changed(RESULT, metrics={"nll": None}), "metrics nll is None"),
        (changed(RESULT, metrics=[1]), "metrics is [1]: a list or object"),
        (changed(RESULT, metrics={"nll": math.nan}), "NaN is no JSON"),
        (changed(RESULT, metrics={}), "a result has metrics, or an error"),
        (changed(RESULT, error="boom"), "a result has metrics, or an error"),
        (changed(RESULT, weights=9), "2 to 8 bits"),
        (changed(RESULT, activations=None), "2 to 8 bits"),
        (changed(RESULT, precision="float"), "a float result has no bits"),
        (changed(RESULT, calibration=[{"count": 1}]), "'accuracy' is missing"),
        (changed(RESULT, shifts=["rotation"]), "'rotation' is no object"),
        (
            changed(RESULT, entropy={"edges": [0, 1], "test": [1, 2], "ood": None}),
            "one edge more than counts",
        ),
        (
            changed(RESULT, entropy={"edges": [0, 1], "test": [1], "ood": []}),
            "one edge more than counts",
        ),
        (changed(RESULT, entropy={"edges": [1, 1], "test": [1], "ood": None}), "ascend"),
        (changed(RESULT, entropy={"edges": [0, "inf"], "test": [1], "ood": None}), "finite"),
        (changed(RESULT, entropy={"edges": [0, 1], "test": [-1], "ood": None}), "none below 0"),
    ],
)
def test_a_line_that_is_no_row(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path / "a.jsonl", to_json(HEADER), line)
    with pytest.raises(FileError) as refused:
        read_rows(path)
    said = str(refused.value)
    assert said.startswith(f"{path}:2: ")
    assert message in said
    assert len(said) < 400


def test_a_study_begins_with_its_only_header(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a\.jsonl:1: a study begins with its header"):
        read_rows(written(tmp_path / "a.jsonl", to_json(RESULT), to_json(HEADER)))
    with pytest.raises(FileError, match=r"b\.jsonl:3: a second header"):
        read_rows(written(tmp_path / "b.jsonl", to_json(HEADER), "", to_json(HEADER)))


def test_a_repeated_key(tmp_path: Path) -> None:
    again = changed(FAILED, error="again")
    repaired = changed(FAILED, error=None, metrics={"nll": 1})
    path = written(tmp_path / "a.jsonl", to_json(HEADER), to_json(FAILED), again, repaired)
    *_, last = rows = read_rows(path)
    assert len(rows) == 2
    assert isinstance(last, Result)
    assert last.metrics == {"nll": 1.0}
    with path.open("a") as file:
        file.write(repaired)
    with pytest.raises(FileError, match=r"a\.jsonl:5: a second result with key 'k'"):
        read_rows(path)


def test_a_study_that_was_stopped_while_writing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", to_json(HEADER), to_json(LAYER))
    with path.open("a") as file:
        file.write(to_json(RESULT)[:40])
    with pytest.raises(FileError, match=r"a\.jsonl:3: no line of JSON"):
        read_rows(path)
    assert read_rows(path, interrupted=True) == (HEADER, LAYER)


def test_files_that_are_no_study(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(FileError, match="cannot be read"):
        read_rows(path)
    path.write_bytes(b"")
    with pytest.raises(FileError, match="empty"):
        read_rows(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="not the results of a sweep"):
        read_rows(path)
