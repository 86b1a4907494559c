"""Data frames in and out: dtypes, names, the index, and predictions as tables."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.head import Head, Task
from qbnnc.loading.artefacts import open_artefact
from qbnnc.runtime import Session, load
from qbnnc.runtime.tables import to_frame
from qbnnc.support.errors import InputError, UserError
from tests.runtime.nets import mlp

pandas = pytest.importorskip("pandas")
NAMES = list("abcdefghij")


@pytest.fixture(scope="module")
def session() -> Session:
    return load(mlp())


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)


def test_a_frame_is_predicted_as_its_numbers(session: Session, x: NDArray[np.float32]) -> None:
    frame = pandas.DataFrame(x, columns=NAMES, index=["k", "l", "m", "n"])
    expected = session.predict(x, 3, seed=2)
    made = session.predict(frame, 3, seed=2)
    np.testing.assert_array_equal(made["samples"], expected["samples"])
    assert made.to_frame().index.tolist() == ["k", "l", "m", "n"]
    assert expected.to_frame().index.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", ["int8", "bool", "Int64", "Float32", "boolean", "float16"])
def test_columns_of_several_dtypes(session: Session, x: NDArray[np.float32], dtype: str) -> None:
    whole = np.sign(np.abs(x).round())
    frame = pandas.DataFrame(whole, columns=NAMES).astype({"b": dtype, "c": "bool"})
    made = session.predict(frame, 2)
    np.testing.assert_array_equal(made["samples"], session.predict(whole, 2)["samples"])


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (["u", "v", "w", "z"], "'d' holds (object|str)"),
        (pandas.Categorical([1, 2, 1, 2]), "'d' holds category"),
        (pandas.date_range("2020-01-01", periods=4), "'d' holds datetime64"),
        (np.ones(4, complex), "'d' holds complex128"),
    ],
)
def test_columns_that_are_no_numbers_are_named(
    session: Session, x: NDArray[np.float32], column: object, what: str
) -> None:
    frame = pandas.DataFrame(x, columns=NAMES)
    frame["d"] = column
    with pytest.raises(InputError, match=f"^the input: column {what}.*; leave such columns out"):
        session.predict(frame)


def test_four_columns_of_text(session: Session, x: NDArray[np.float32]) -> None:
    frame = pandas.DataFrame(x, columns=NAMES)
    for name in "abcd":
        frame[name] = "text"
    with pytest.raises(InputError, match=r"'c' holds \w+, and 1 more, and the network takes real"):
        session.predict(frame)


def test_missing_values_and_shapes(session: Session, x: NDArray[np.float32]) -> None:
    frame = pandas.DataFrame(x, columns=NAMES)
    frame["e"] = pandas.array([1, 2, None, 4], dtype="Int64")
    with pytest.raises(InputError, match="NaN in row 2"):
        session.predict(frame)
    with pytest.raises(InputError, match=r"the shape is \[4, 9\]"):
        session.predict(frame.drop(columns="e"))


def test_a_network_of_images_says_how_a_frame_is_shaped(artefacts: Path) -> None:
    frame = pandas.DataFrame(np.zeros((2, 784), np.float32))
    with pytest.raises(InputError, match=r"give x\.to_numpy\(\)\.reshape\(-1, 1, 28, 28\)"):
        load(artefacts / "lenet.qbnn").predict(frame)


def test_streams_copies_and_pickles_keep_the_index(
    session: Session, x: NDArray[np.float32]
) -> None:
    frame = pandas.DataFrame(x, columns=NAMES, index=[7, 5, 3, 1])
    stream = session.stream(seed=4)
    parts = [stream.predict(frame.iloc[:3]), stream.predict(frame.iloc[3:])]
    table = pandas.concat([part.to_frame() for part in parts])
    whole = session.predict(frame, seed=4)
    pandas.testing.assert_frame_equal(table, whole.to_frame())
    for again in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        pandas.testing.assert_frame_equal(again.to_frame(), whole.to_frame())


def test_columns_are_statistics_by_element(artefacts: Path, x: NDArray[np.float32]) -> None:
    made = load(artefacts / "mlp.qbnn").predict(x)
    table = made.to_frame()
    assert list(table) == [f"{name}_0" for name in ("mean", "aleatoric", "epistemic", "variance")]
    assert {str(dtype) for dtype in table.dtypes} == {"float32"}
    np.testing.assert_array_equal(table["variance_0"], made["variance"][:, 0])


def test_classes_and_scalars(artefacts: Path, fashion: dict[str, NDArray[np.uint8]]) -> None:
    session = open_artefact(artefacts / "lenet.onnx")
    made = session.predict(fashion["x"][:3])
    table = to_frame(made, index=["r", "s", "t"])
    assert list(table) == [
        *(f"probabilities_{k}" for k in range(10)),
        "entropy",
        "mutual_information",
    ]
    np.testing.assert_array_equal(table["probabilities_7"], made["probabilities"][:, 7])
    assert table.index.tolist() == ["r", "s", "t"]
    with pytest.raises(InputError, match="index: it has 2 names, and there are 3 rows"):
        to_frame(made, index=["r", "s"])


def test_an_onnx_file_takes_frames(artefacts: Path, x: NDArray[np.float32]) -> None:
    session = open_artefact(artefacts / "mlp.onnx")
    frame = pandas.DataFrame(x, columns=NAMES)
    made = session.predict(frame, 4, seed=5)
    np.testing.assert_array_equal(made["samples"], session.predict(x, 4, seed=5)["samples"])
    with pytest.raises(InputError, match="column 'a' holds"):
        session.predict(frame.assign(a="text"))


def test_rows_alone_in_an_onnx_file_repeat_the_masks_of_row_0(
    artefacts: Path, x: NDArray[np.float32]
) -> None:
    session, row = open_artefact(artefacts / "mlp.onnx"), x[:1]
    whole = session.predict(np.repeat(row, 3, axis=0), 4)["samples"]
    alike = [session.predict(row, 4)["samples"] for _ in range(2)]
    np.testing.assert_array_equal(alike[0], alike[1])
    counted = [session.predict(row, 4, first_row=i)["samples"] for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(counted, axis=1), whole)
    assert (counted[1] != counted[0]).any()


def test_raw_outputs_have_their_names(x: NDArray[np.float32]) -> None:
    model = mlp()
    count = len(model.graph.outputs)
    names = ("price", "weight")[:count]
    made = load(replace(model, head=Head(Task.RAW, names))).predict(x)
    expected = {f"{s}_{n}_0" for s in ("mean", "variance") for n in names}
    assert count == 2
    assert set(made.to_frame()) == expected


def test_maps_name_each_place_and_equal_names_are_refused() -> None:
    table = to_frame(
        {"samples": np.zeros((5, 1, 2, 2), np.float32), "mean": np.eye(2, dtype=np.float32)[None]}
    )
    assert list(table) == ["mean_0_0", "mean_0_1", "mean_1_0", "mean_1_1"]
    assert table.iloc[0].tolist() == [1, 0, 0, 1]
    twice = {"mean_a": np.zeros((1, 1), np.float32), "mean_a_0": np.zeros(1, np.float32)}
    with pytest.raises(InputError, match="two columns would be called 'mean_a_0'"):
        to_frame(twice)


def test_without_pandas_the_extra_is_named(
    session: Session, x: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbnnc.support.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'qbnnc\[tables\]'"):
        session.predict(x).to_frame()
