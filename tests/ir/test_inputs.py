"""Several inputs of a graph: parts of a row, what they must be, and how they are stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.check import check
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.inputs import input_values, inputs_of
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Add, Part, Reshape
from qbnnc.ir.rng import Draw
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graph
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import CompileError, FileError, Loc


def row_of(build: Builder, size: int) -> Value:
    return build.input("row", TensorType(DType.F32, (size,), PER_ROW))


def part(build: Builder, row: Value, name: str, start: int, *shape: int) -> Value:
    return build.emit(Part(start, shape), row, loc=Loc(name), name=name)


def two(starts: tuple[int, int] = (0, 6), size: int = 12) -> Graph:
    """b + a, of the inputs a [2, 3] and b [6]; the graph takes b first."""
    build = Builder()
    row = row_of(build, size)
    b, a = part(build, row, "b", starts[1], 6), part(build, row, "a", starts[0], 2, 3)
    flat = build.emit(Reshape((6,)), a, loc=Loc("flat"), name="flat")
    total = build.emit(Add(), b, flat, loc=Loc("sum"), name="sum")
    return build.graph((total,), Stage.FLOAT)


def test_a_part_is_a_piece_of_the_row_in_its_shape() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(2, 12)
    (total,) = evaluate(two(), rows, Draw.of(0, [0], range(2)))
    assert total.tolist() == [
        [[6.0, 8.0, 10.0, 12.0, 14.0, 16.0], [30.0, 32.0, 34.0, 36.0, 38.0, 40.0]]
    ]


def test_inputs_have_the_order_of_the_row_and_the_names_of_the_parts() -> None:
    graph = two()
    assert [(e.name, e.shape, e.start) for e in inputs_of(graph)] == [
        ("a", (2, 3), 0),
        ("b", (6,), 6),
    ]
    assert [value.name for value in input_values(graph)] == ["a", "b"]


def test_a_graph_of_one_input_names_it_by_its_value() -> None:
    build = Builder()
    x = build.input("x", TensorType(DType.F32, (2, 3), PER_ROW))
    graph = build.graph((build.emit(Add(), x, x, loc=Loc("y"), name="y"),), Stage.FLOAT)
    assert [(e.name, e.shape) for e in inputs_of(graph)] == [("x", (2, 3))]
    assert input_values(graph) == (graph.input,)


@pytest.mark.parametrize(
    ("starts", "size", "words"),
    [
        ((0, 5), 12, "the input 'b' begins at element 5 of the row, and not at 6"),
        ((0, 7), 13, "the input 'b' begins at element 7 of the row, and not at 6"),
        ((1, 7), 13, "the input 'a' begins at element 1 of the row, and not at 0"),
        ((0, 6), 13, "the inputs take 12 elements of a row of 13"),
    ],
)
def test_parts_leave_no_gap_and_do_not_overlap(
    starts: tuple[int, int], size: int, words: str
) -> None:
    with pytest.raises(CompileError, match=words):
        check(two(starts, size))


def test_nothing_else_reads_the_row() -> None:
    build = Builder()
    row = row_of(build, 4)
    a = part(build, row, "a", 0, 4)
    graph = build.graph((build.emit(Add(), a, row, loc=Loc("y"), name="y"),), Stage.FLOAT)
    with pytest.raises(CompileError, match="add reads the row of all inputs"):
        check(graph)
    with pytest.raises(CompileError, match="an output reads the row of all inputs"):
        check(_with_row_out())


def test_a_part_of_a_part_is_refused() -> None:
    """The two fill the row by their starts, and backends would read elements 0 to 2 of it."""
    build = Builder()
    last = part(build, row_of(build, 10), "last", 3, 7)
    first = part(build, last, "first", 0, 3)
    graph = build.graph((first, last), Stage.FLOAT)
    with pytest.raises(CompileError, match="'first' is a part of 'last', and not of the row"):
        check(graph)
    with pytest.raises(FileError, match="not of the row"):
        format.from_bytes(format.to_bytes(model_of(graph)))


def _with_row_out() -> Graph:
    graph = two()
    return replace(graph, outputs=(*graph.outputs, graph.input))


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Part(-1, (2,)), "takes elements -1 to 1 of a row of 4"),
        (Part(3, (2,)), "takes elements 3 to 5 of a row of 4"),
        (Part(0, (0,)), "the extent of an axis: 0"),
        (Part(2**90, (2,)), "takes elements 2.90 or more"),
    ],
)
def test_a_part_stays_inside_the_row(op: Part, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        op.result(TensorType(DType.F32, (4,), PER_ROW))


@pytest.mark.parametrize(
    "row",
    [TensorType(DType.F32, (2, 2), PER_ROW), TensorType(DType.F32, (4,))],
)
def test_a_part_is_taken_from_a_row(row: TensorType) -> None:
    with pytest.raises(ValueError, match="takes the row of all inputs"):
        Part(0, (2,)).result(row)


def model_of(graph: Graph) -> Model:
    return Model((graph,), Head(Task.RAW))


def test_files_of_version_4_hold_parts() -> None:
    model = model_of(two())
    data = format.to_bytes(model)
    again = format.from_bytes(data)
    assert again.version == 4
    assert again.inputs == model.inputs
    assert format.digest(again) == format.digest(model)
    assert b'"version":4' in data.replace(b"\\", b"")


def test_a_file_whose_parts_overlap_is_refused() -> None:
    data = format.to_bytes(model_of(two((0, 5))))
    with pytest.raises(FileError, match="'b' begins at element 5"):
        format.from_bytes(data)


def test_the_text_form_is_read_back() -> None:
    text = graph_text(two(), whole=True)
    assert "%a: f32[2,3]{row} = part(%row) start=0 shape=[2, 3]" in text
    assert graph_text(parse_graph(text), whole=True) == text


def test_a_model_tells_its_inputs() -> None:
    assert repr(model_of(two())) == "Model(FLOAT, raw, 1 member, [2, 3], [6] -> [6])"
