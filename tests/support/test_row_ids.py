"""Row ids that are refused, and how rows are put into runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.row_ids import as_row_ids, ids_from, runs
from tests.examples import examples
from tests.runtime.nets import images, mlp

WRONG: list[tuple[object, str]] = [
    ([0, -1], "-1"),
    ([0, 2**63], "9223372036854775808"),
    (np.array([0, 2**63], np.uint64), "9223372036854775808"),
    ([0, 2**64], "18446744073709551616"),
    ([0, -(2**70)], "-1180591620717411303424"),
    ([2**64, -1], "-1"),
    ([0], "shape is [1]"),
    ([[0, 1]], "shape is [1, 2]"),
    (7, "shape is []"),
    ([0.0, 1.0], "float64"),
    ([True, False], "bool"),
    (["0", "1"], "element type"),
    ([0, None], "element type is object"),
    ([0, [1, 2]], "not an array"),
]


@pytest.mark.parametrize(("ids", "text"), WRONG)
def test_refused(ids: object, text: str) -> None:
    with pytest.raises(InputError) as error:
        as_row_ids(ids, 2)  # type: ignore[arg-type]
    assert text in str(error.value)
    assert error.value.place == "row_ids"


@pytest.mark.parametrize("ids", [[0, -1], [0, 2**63], [1], [0.5, 1.0]])
def test_every_backend_refuses(ids: list[float]) -> None:
    model = mlp()
    x, session = images(model, 2), load(model)
    file = OnnxArtefact.from_bytes(emit(model, row_ids=True), threads=1)
    out = session.new_out(2, 3)
    out[:] = 7
    for call in (
        lambda: oracle_samples(model, x, samples=2, row_ids=ids),
        lambda: session.predict(x, row_ids=ids),
        lambda: session.predict_into(x, out, row_ids=ids),
        lambda: file.predict(x, row_ids=ids),
    ):
        with pytest.raises(InputError, match="row_ids"):
            call()
    assert (out == 7).all()


def test_both_are_refused() -> None:
    model = mlp()
    x = images(model, 2)
    file = OnnxArtefact.from_bytes(emit(model, row_ids=True), threads=1)
    for call in (
        lambda: oracle_samples(model, x, samples=2, first_row=1, row_ids=[0, 1]),
        lambda: load(model).predict(x, first_row=1, row_ids=[0, 1]),
        lambda: file.predict(x, first_row=1, row_ids=[0, 1]),
    ):
        with pytest.raises(InputError, match="first_row"):
            call()


def test_a_file_without_the_input_names_the_remedy() -> None:
    model = mlp()
    file = OnnxArtefact.from_bytes(emit(model), threads=1)
    with pytest.raises(UserError, match="row_ids=True"):
        file.predict(images(model, 2), row_ids=[0, 1])


def test_nothing_is_written_for_nan_or_shared_memory() -> None:
    model = mlp()
    x, session = images(model, 3), load(model)
    out = session.new_out(3, 2)
    out[:] = 7
    x[2, 0] = np.nan
    with pytest.raises(InputError, match="NaN in row 2"):
        session.predict_into(x, out, row_ids=[5, 1, 9])
    assert (out == 7).all()
    room = np.zeros(4096, np.float32)
    x = room[: x.size].reshape(x.shape)
    with pytest.raises(InputError, match="shares memory"):
        session.predict_into(x, room[x.size - 1 :][: out.size], row_ids=[5, 1, 9])
    assert not room.any()


@given(st.lists(st.integers(0, 5) | st.integers(2**63 - 4, 2**63 - 1), max_size=12))
@examples(100)
def test_runs(numbers: list[int]) -> None:
    """Each place is in one run, and the ids of a run count up."""
    ids = np.array(numbers, np.int64)
    found = runs(ids)
    assert sorted(int(p) for places, _ in found for p in places) == list(range(len(ids)))
    for places, first in found:
        assert ids[places].tolist() == list(range(first, first + len(places)))
    # A run begins with every id that is there more often than the one below it: no fewer will do.
    assert len(found) == sum(max(0, numbers.count(n) - numbers.count(n - 1)) for n in set(numbers))


def test_ids_of_a_first_row_wrap_round() -> None:
    assert ids_from(2**64 - 1, 3).tolist() == [-1, 0, 1]
    assert ids_from(2**63 - 1, 2).tolist() == [2**63 - 1, -(2**63)]
