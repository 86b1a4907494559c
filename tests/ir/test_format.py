"""The file format: what goes in comes out, and damage never does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors

from qbnnc.ir import format
from qbnnc.ir.codec import VERSION, Json
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.types import Array
from qbnnc.support.errors import FileError
from qbnnc.support.files import write_all
from tests.graphs import float_graphs, inputs, lenet, mlp, run


def model() -> Model:
    provenance = Provenance("qbnnc 0", "w8a7", "channel-symmetric", "none")
    rows = inputs(mlp(), rows=3)
    return Model((mlp(),), Head(Task.REGRESSION), 5, provenance, rows)


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    made, path = model(), tmp_path / "m.qbnn"
    format.save(made, path)
    read = format.load(path)
    assert str(read.graph) == str(made.graph)
    assert (read.head, read.draws, read.provenance) == (made.head, made.draws, made.provenance)
    assert made.calibration is not None
    assert read.calibration is not None
    assert (read.calibration == made.calibration).all()
    assert format.digest(read) == format.digest(made)
    assert format.to_bytes(read) == path.read_bytes()


@given(float_graphs())
def test_round_trip_of_random_graphs(graph: Graph) -> None:
    made = Model((graph,), Head(Task.RAW))
    read = format.from_bytes(format.to_bytes(made))
    assert str(read.graph) == str(made.graph)
    x = inputs(made.graph)
    for a, b in zip(run(read.graph, x), run(made.graph, x), strict=True):
        assert (a == b).all()


def test_the_digest_sees_every_part() -> None:
    base = model()
    other_weights = replace(base, members=(mlp(seed=1),))
    variants = [
        other_weights,
        replace(base, head=Head(Task.RAW)),
        replace(base, draws=6),
        replace(base, provenance=replace(base.provenance, bits="w4a4")),
        replace(base, calibration=None),
    ]
    digests = {format.digest(m) for m in [base, *variants]}
    assert len(digests) == len(variants) + 1


@given(st.data())
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    original = format.to_bytes(model())
    place = data.draw(st.integers(0, 8 * len(original) - 1))
    damaged = bytearray(original)
    damaged[place // 8] ^= 1 << (place % 8)
    with pytest.raises(FileError, match=r"^lenet\.qbnn: "):
        format.from_bytes(bytes(damaged), "lenet.qbnn")


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 1000, -1])
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(FileError, match=r"truncated|damaged"):
        format.from_bytes(format.to_bytes(model())[:length], "m.qbnn")


def test_a_newer_version_says_upgrade() -> None:
    header = {"version": VERSION + 1, "sha256": "", "model": {}}
    data = save_tensors({"a": np.zeros(1, np.float32)}, metadata={"qbnnc": json.dumps(header)})
    with pytest.raises(FileError, match=r"newer qbnnc.*upgrade"):
        format.from_bytes(data, "m.qbnn")


@pytest.mark.parametrize("data", [b"hello", b"\x00" * 64, b"\x10\0\0\0\0\0\0\0{}              "])
def test_other_files_are_refused(data: bytes) -> None:
    assert not format.is_model(data)
    with pytest.raises(FileError, match="not a qbnnc model"):
        format.from_bytes(data, "notes.txt")


def test_another_safetensors_file_is_refused() -> None:
    data = save_tensors({"a": np.zeros(1, np.float32)})
    with pytest.raises(FileError, match="not a qbnnc model"):
        format.from_bytes(data, "weights.safetensors")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"op":"Linear"', '"op":"Evil"'),
        ('"op":"Linear"', '"op":"Conv2d"'),
        ('"p":0.1', '"p":-1.0'),
        ('"inputs":[0,', '"inputs":[99,'),
        ('"draws":5', '"draws":0'),
        ('"task":"regression"', '"task":"other"'),
        ('"stage":"FLOAT"', '"stage":"INTEGER"'),
    ],
)
def test_a_record_that_lies_is_refused_even_with_a_true_digest(old: str, new: str) -> None:
    """Someone who edits the file and mends its SHA-256 still meets the type checks."""
    made = model()
    record = json.dumps(format._record(made, 2), sort_keys=True, separators=(",", ":"))
    assert old in record
    data = _sealed(json.loads(record.replace(old, new, 1)), format._tensors(made))
    with pytest.raises(FileError, match="no model this version can read"):
        format.from_bytes(data, "m.qbnn")


def _sealed(
    record: Json, tensors: dict[str, Array], shared: dict[str, str] | None = None, version: int = 2
) -> bytes:
    """A file with this record and these tensors whose SHA-256 is right."""
    known = tensors | {name: tensors[owner] for name, owner in (shared or {}).items()}
    header = {
        "version": version,
        "sha256": format._sha256(version, record, known),
        "shared": shared or {},
        "model": record,
    }
    return save_tensors(tensors, metadata={"qbnnc": json.dumps(header)})


@pytest.mark.parametrize(
    "shared",
    [
        {"1/drop": "0/nothing"},
        {"1/a": "1/b", "1/b": "1/a"},
        {"1/a": "1/b", "1/b": "0/fc1.weight"},
        {"0/fc1.weight": "0/fc2.weight"},
        {"1/a": 0},
        {"1/a": ["0/fc1.weight"]},
        ["1/a"],
        None,
        "0/fc1.weight",
    ],
)
def test_crafted_references_are_refused(shared: Json) -> None:
    """To a tensor that is not stored, in a circle, in a chain, or to no name at all."""
    made = model()
    record, tensors = format._record(made, 2), format._tensors(made)
    sha = format._sha256(2, record, tensors)
    header = {"version": 2, "sha256": sha, "shared": shared, "model": record}
    data = save_tensors(tensors, metadata={"qbnnc": json.dumps(header)})
    with pytest.raises(FileError, match=r"^m\.qbnn: damaged"):
        format.from_bytes(data, "m.qbnn")


def test_a_reference_to_a_tensor_of_another_shape_is_refused() -> None:
    made = model()
    record, tensors = format._record(made, 2), format._tensors(made)
    tensors.pop("0/fc1.weight")
    data = _sealed(record, tensors, {"0/fc1.weight": "0/fc2.weight"})
    with pytest.raises(FileError, match="no model this version can read"):
        format.from_bytes(data, "m.qbnn")


@pytest.mark.parametrize("place", ["constants", "nodes"])
def test_a_record_as_the_first_member_has_none_is_refused(place: str) -> None:
    made = Model((lenet(0), lenet(1)), Head(Task.CLASSIFICATION), 3)
    tensors, bad = format._tensors(made), list[Json]()
    for edit in (lambda items: [*items, 0], lambda _: 0, lambda _: [0] * 10**5):
        record = json.loads(json.dumps(format._record(made, 2)))
        record["members"][1][place] = edit(record["members"][1][place])
        bad.append(record)
    bad.append({**format._record(made, 2), "members": [0, 0]})
    for record in bad:
        with pytest.raises(FileError, match="no model this version can read"):
            format.from_bytes(_sealed(record, tensors), "m.qbnn")


def test_models_of_several_members_number_their_samples() -> None:
    made = Model((lenet(0), lenet(1)), Head(Task.CLASSIFICATION), 3)
    made.check()
    assert made.samples == 6
    assert list(made.sample_numbers(1, made.draws_for(6))) == [1, 3, 5]
    assert format.from_bytes(format.to_bytes(made)).samples == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"p":0.1', '"p":NaN'),
        ('"draws":5', '"draws":true'),
        ('"draws":5', '"draws":1000000000000'),
        ('"stream":0', f'"stream":{2**70}'),
        ('"inputs":[0,', '"inputs":['),
    ],
)
def test_crafted_records_give_no_traceback(old: str, new: str) -> None:
    """Numbers no compiler writes, under a digest that is right for them."""
    made = model()
    record = json.dumps(format._record(made, 2), separators=(",", ":"))
    tensors = format._tensors(made)
    assert old in record
    lie = json.loads(record.replace(old, new, 1))
    canonical = json.dumps(lie, sort_keys=True, separators=(",", ":"))
    sha = "" if "NaN" in canonical else format._sha256(2, lie, tensors)
    header = f'{{"version":2,"sha256":"{sha}","shared":{{}},"model":{canonical}}}'
    data = save_tensors(tensors, metadata={"qbnnc": header})
    with pytest.raises(FileError, match=r"^m\.qbnn: "):
        format.from_bytes(data, "m.qbnn")


def test_two_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        write_all([(tmp_path / "a", b"1"), (tmp_path / "folder", b"2")])
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
