"""Embeddings: rows by ids, the numbers of the input that are ids, and their vocabularies."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qbnnc.ir.check import check
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ids import holds_only_ids, id_places, id_values, rows_taken_by, vocabularies
from qbnnc.ir.ops import Embedding, Pad, Reshape, Slice, Transpose, Unary
from qbnnc.ir.ops.embedding import row_of
from qbnnc.ir.ops.functions import Function
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import CompileError, InputError, Loc
from qbnnc.support.id_rows import Rows, check_ids, rows_of_ids, vocabularies_from, vocabulary_text
from qbnnc.support.several_inputs import Entry
from tests.tokens import integer_model

LOC = Loc("emb")


def test_hostile_numbers_stand_for_rows_of_the_table() -> None:
    numbers = [0, 4, 5, 6, -1, -0.0, 2.9, 0.5, np.inf, -np.inf, np.nan, 1e30, 1e-45, 2**24, -1e30]
    wanted = [0, 4, 4, 4, 0, 0, 2, 0, 4, 0, 0, 4, 0, 4, 0]
    assert row_of(np.array(numbers, np.float32), 5).tolist() == wanted


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**24))
def test_no_bits_lead_out_of_the_table(word: int, rows: int) -> None:
    number = np.array([word], np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        assert 0 <= row_of(number, rows)[0] < rows


def graph_of(*, second: bool = False) -> Graph:
    """Ids [5]: the first in a table of 3 rows, the others in one of 7, in another order."""
    build = Builder()
    ids = build.input("ids", TensorType(DType.F32, (5,), PER_ROW))
    tables = [
        build.constant(name, np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2))
        for name, rows in (("small", 3), ("large", 7))
    ]
    first = build.emit(Slice(0, 0, 1), ids, loc=LOC, name="first")
    rest = build.emit(Slice(0, 1, 5), ids, loc=LOC, name="rest")
    square = build.emit(Reshape((2, 2)), rest, loc=LOC, name="square")
    turned = build.emit(Transpose((1, 0)), square, loc=LOC, name="turned")
    outputs = [
        build.emit(Embedding(), first, tables[0], loc=LOC, name="a"),
        build.emit(Embedding(), turned, tables[1], loc=LOC, name="b"),
    ]
    if second:
        outputs.append(build.emit(Unary(Function.TANH), rest, loc=LOC, name="c"))
    return build.graph(tuple(outputs), Stage.FLOAT)


def value(graph: Graph, name: str) -> Value:
    return next(node.output for node in graph.nodes if node.output.name == name)


def test_rows_by_moved_ids() -> None:
    graph = graph_of()
    check(graph)
    a, b = evaluate(graph, np.array([[2, 6, 5, 1, 0]], np.float32), Draw.of(0, [0], [0]))
    assert a[0, 0].tolist() == [[4, 5]]
    assert b[0, 0].tolist() == [[[12, 13], [2, 3]], [[10, 11], [0, 1]]]


def test_ids_are_followed_through_moves() -> None:
    graph = graph_of()
    assert id_places(graph)[value(graph, "turned")].tolist() == [[1, 3], [2, 4]]
    assert {v.name for v in id_values(graph)} == {"ids", "first", "rest", "square", "turned"}
    known = vocabularies(graph)
    assert known is not None
    assert known.tolist() == [3, 7, 7, 7, 7]
    assert holds_only_ids(graph)


def test_many_moves_of_a_large_input_take_the_memory_of_one() -> None:
    """Each array has 8 MB, so that a hundred of them at once have more than 10 of them."""
    build = Builder()
    ids = build.input("ids", TensorType(DType.F32, (1000, 1000), PER_ROW))
    for number in range(100):
        ids = build.emit(Transpose((1, 0)), ids, loc=LOC, name=f"turned{number}")
    table = build.constant("t", np.zeros((3, 2), np.float32))
    graph = build.graph((build.emit(Embedding(), ids, table, loc=LOC, name="e"),), Stage.FLOAT)
    tracemalloc.start()
    try:
        (places,) = id_places(graph).values()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (places == np.arange(10**6).reshape(1000, 1000)).all()
    assert most < 10 * places.nbytes


def test_numbers_that_others_read_too_are_not_ids_alone() -> None:
    assert not holds_only_ids(graph_of(second=True))


def test_a_new_zero_is_the_id_0() -> None:
    build = Builder()
    ids = build.input("ids", TensorType(DType.F32, (1, 2), PER_ROW))
    padded = build.emit(Pad((0, 1, 0, 1)), ids, loc=LOC, name="padded")
    table = build.constant("t", np.array([[5.0], [6.0], [7.0]], np.float32))
    out = build.emit(Embedding(), padded, table, loc=LOC, name="e")
    graph = build.graph((out,), Stage.FLOAT)
    assert id_places(graph)[graph.nodes[0].output].tolist() == [[-1, 0, 1, -1]]
    (made,) = evaluate(graph, np.array([[[2, 1]]], np.float32), Draw.of(0, [0], [0]))
    assert made[0, 0, 0, :, 0].tolist() == [5, 7, 6, 5]


def test_a_graph_without_tables_has_no_vocabulary() -> None:
    build = Builder()
    x = build.input("x", TensorType(DType.F32, (2,), PER_ROW))
    graph = build.graph((build.emit(Unary(Function.TANH), x, loc=LOC, name="y"),), Stage.FLOAT)
    assert vocabularies(graph) is None
    assert not holds_only_ids(graph)
    check_ids(np.array([[np.nan, -1]], np.float32), None)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (7, "the id 7 is in row 12, position 3, and the ids there are 0 to 6"),
        (-1, "the id -1 is in row 12"),
        (1.5, "1.5, which is no id, is in row 12"),
        (np.inf, "the id inf"),
        (np.nan, "nan, which is no id"),
    ],
)
def test_what_is_no_id_is_an_error(number: float, said: str) -> None:
    known = np.array([3, 7, 7, 7, 0])
    batch = np.zeros((4, 5), np.float32)
    batch[:, 4] = -5.5  # no id, and never checked
    check_ids(batch, known)
    assert rows_of_ids(batch, known) == 4
    batch[2, 3] = number
    assert rows_of_ids(batch, known) == 2
    with pytest.raises(InputError, match=said):
        check_ids(batch, known, "x.npy", 10)


def test_the_oracle_refuses_other_ids() -> None:
    model = integer_model()
    rows = rows_taken_by(model.graph).drawn(2)
    rows[1, 0] = 1000
    with pytest.raises(InputError, match="the id 1000 is in row 1, position 0"):
        oracle_samples(model, rows, samples=2)


@given(
    arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.integers(0, 3))
)
def test_vocabularies_as_text(known: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    text = vocabulary_text(known)
    assert np.array_equal(vocabularies_from(text, known.shape), known)


def test_vocabularies_as_text_by_hand() -> None:
    assert vocabulary_text(np.array([9, 9, 50, 9])) == "9x2,50,9"


@pytest.mark.parametrize(
    "text", ["", "9", "9x3", "9x0,9x2", "-1,5", "a,b", "9x2x1", "99999999999,1"]
)
def test_another_text_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"vocabularies of|invalid literal|rows of a table"):
        vocabularies_from(text, (2,))


def test_drawn_rows_are_ids_and_all_ids_occur() -> None:
    rows = Rows((3,), np.array([4, 0, 2]), (Entry("x", (3,), 0),))
    drawn = rows.drawn(200)
    assert sorted({*drawn[:, 0].tolist()}) == [0, 1, 2, 3]
    assert sorted({*drawn[:, 2].tolist()}) == [0, 1]
    assert (drawn[:, 1] != np.floor(drawn[:, 1])).all()
    assert np.array_equal(rows.of(drawn), drawn)


def test_computed_ids_and_tables_are_refused() -> None:
    build = Builder()
    x = build.input("x", TensorType(DType.F32, (2,), PER_ROW))
    table = build.constant("t", np.zeros((3, 2), np.float32))
    y = build.emit(Unary(Function.TANH), x, loc=LOC, name="y")
    out = build.emit(Embedding(), y, table, loc=LOC, name="e")
    with pytest.raises(CompileError, match="reads ids that are computed"):
        check(build.graph((out,), Stage.FLOAT))
    with pytest.raises(CompileError, match="takes a constant table"):
        build.emit(Embedding(), x, out, loc=LOC, name="f")
    with pytest.raises(CompileError, match=r"takes a constant table \[V, D\]"):
        build.emit(Embedding(), x, build.constant("u", np.zeros(3, np.float32)), loc=LOC, name="g")
