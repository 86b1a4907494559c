"""The text of graphs: what is written whole is read back, and other text is an error."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Clamp,
    Composite,
    FakeQuantize,
    Function,
    Gather,
    Operation,
    Softmax,
    Step,
    Unary,
)
from qbnnc.ir.records import graph_record, graph_tensors
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graph, parse_graphs
from qbnnc.ir.text_scanner import TextError
from qbnnc.ir.types import QuantParams, Stage
from qbnnc.passes.calibrate import Calibration
from qbnnc.passes.pipeline import pipeline
from qbnnc.support.errors import Loc
from tests.graphs import FAMILIES, float_graphs, inputs, lenet
from tests.net import Net
from tests.strategies import integer_models, random_integer_model

T = TypeVar("T")


def whole(graph: Graph) -> str:
    return graph_text(graph, whole=True)


def assert_equal(first: Graph, second: Graph) -> None:
    """Equal by the records and tensors that a .qbnn file would hold."""
    assert first.stage is second.stage
    assert graph_record(first) == graph_record(second)
    mine, theirs = graph_tensors(first), graph_tensors(second)
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        assert array.tobytes() == theirs[name].tobytes()


def simulated(graph: Graph) -> Graph:
    return pipeline(None, Calibration(passes=1), inputs(graph, 4)).before("fit-layers")(graph)


@given(integer_models(ops="all"))
def test_integer_graphs_are_read_back(model: Model) -> None:
    assert_equal(parse_graph(whole(model.graph)), model.graph)


@given(float_graphs())
def test_float_and_simulated_graphs_are_read_back(graph: Graph) -> None:
    assert_equal(parse_graph(whole(graph)), graph)
    assert_equal(parse_graph(whole(lower := simulated(graph))), lower)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_of_networks_is_read_back(family: str) -> None:
    graph = FAMILIES[family]()
    assert_equal(parse_graph(whole(graph)), graph)
    assert_equal(parse_graph(whole(lower := simulated(graph))), lower)


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


@given(
    st.lists(PRINTABLE, min_size=3, max_size=3, unique=True),
    PRINTABLE,
    st.text("a( )\"'", max_size=5),
)
def test_any_printable_name_and_place_is_read_back(
    names: list[str], module: str, source: str
) -> None:
    net = Net((2,))
    graph = net.linear(2, "fc").graph()
    new = {v: Value(n, v.type) for v, n in zip((graph.input, *graph.constants), names, strict=True)}
    node = replace(graph.nodes[0], loc=Loc(module, source))
    node = replace(node, inputs=tuple(new[v] for v in node.inputs))
    constants = {new[v]: array for v, array in graph.constants.items()}
    renamed = replace(graph, input=new[graph.input], nodes=(node,), constants=constants)
    if node.output.name not in names:
        assert_equal(parse_graph(whole(renamed)), renamed)


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=70), st.booleans())
def test_every_bit_of_a_number_is_read_back(numbers: list[float], alike: bool) -> None:
    array = np.array(numbers[:1] * 70 if alike else numbers, np.float32)
    net = Net(array.shape)
    constants = [net.build.constant(name, array) for name in ("a", "b")]
    net.value = net.affine(array, array, "affine").value
    graph = net.graph(net.value, *constants)
    assert_equal(parse_graph(whole(graph)), graph)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 3))
def test_fields_are_read_back_in_float64(number: float, count: int) -> None:
    steps = (
        Step(Operation.FUNCTION, (0,), (number,), Function.ELU),
        Step(Operation.FUNCTION, (1,), (0.0,), Function.TANH),
        Step(Operation.AFFINE, (2,), (number, -0.0)),
        Step(Operation.WHERE, (0, 1, 3)),
    )
    net = Net((3,)).emit(Composite(steps), name="f").unary(Function.POW, "pow", number)
    graph = net.emit(Gather(0, (2, 1, 0) * count), name="g").graph()
    assert_equal(parse_graph(whole(graph)), graph)
    assert repr(parse_graph(whole(graph)).nodes[0].op) == repr(graph.nodes[0].op)


SMALL = """\
simulated graph(%input: f32[2]{row})
  %w = constant f32[3,2] [[0.5, -1], [2, 0.1], [0, -0.0]]
  %b = constant f32[3] [0, 0, 0]
  %input.codes: f32[2]{row} = fake_quantize(%input) quant=<0.25, z=3, 0..127>  # input
  %w.codes: f32[3,2] = fake_quantize(%w) quant=<[0.5, 1.0, 2.0], z=0, -127..127, axis=0>  # fc
  %fc: f32[3]{row} = linear(%input.codes, %w.codes, %b)
  %relu: f32[3]{row} = clamp(%fc) low=0.0 high=None  # net.1 (net.py:7)
  return %relu
"""


def test_the_whole_form() -> None:
    """Written by hand: names, places, codes of one scale and of one a channel, elements."""
    graph = parse_graph(SMALL)
    assert whole(graph) == SMALL
    codes, weight, fc, relu = graph.nodes
    assert codes.op == FakeQuantize(QuantParams((0.25,), (3,), 0, 127))
    assert weight.op == FakeQuantize(QuantParams((0.5, 1.0, 2.0), (0, 0, 0), -127, 127, 0))
    assert relu.op == Clamp(0.0, None)
    assert (graph.stage, relu.loc, fc.loc) == (Stage.SIMULATED, Loc("net.1", "net.py:7"), Loc("fc"))
    w, b = graph.constants.values()
    np.testing.assert_array_equal(w, np.array([[0.5, -1], [2, 0.1], [0, 0]], np.float32))
    assert np.signbit(w[2, 1])
    assert b.tolist() == [0, 0, 0]


def test_the_short_form_leaves_elements_out_and_rounds() -> None:
    text = str(parse_graph(SMALL))
    assert "  %w = constant f32[3,2]\n" in text
    assert "  %w.codes: f32[3,2]<3 scales, z=0, -127..127> = fake_quantize(%w)  # fc\n" in text
    assert str(Net((2,)).unary(Function.ELU, "elu", 1 / 3).graph()).splitlines()[1] == (
        "  %elu: f32[2]{row} = unary(%input) function=elu parameter=0.333333  # elu (net.py:1)"
    )


def test_what_may_be_left_out_and_comments() -> None:
    """A node's type and place, the fields that have their defaults; every line may be broken."""
    graph = parse_graph(
        """// a comment
        float graph(%x: f32[1,4,4]{row})  // to the end of the line
          %w = constant f32[2,1,3,3] splat(0.5)
          %b = constant f32[2] hex "0000803f000000c0"
          %y = conv2d(%x, %w,
                      %b) stride=[2,
                                  2]
          return %y"""
    )
    (node,) = graph.nodes
    assert node.loc == Loc("y")
    assert node.output.type.shape == (2, 1, 1)
    assert [a.reshape(-1).tolist() for a in graph.constants.values()] == [[0.5] * 18, [1, -2]]


def test_several_graphs_stand_in_one_text() -> None:
    first, second = parse_graphs(SMALL + "// -----\n" + SMALL.replace("0.25", "0.5"))
    assert first.nodes[0].op != second.nodes[0].op
    with pytest.raises(TextError, match=r"^text:9:1: expected the end of the text, found 'simul"):
        parse_graph(SMALL + SMALL)


HEAD = "float graph(%x: f32[2]{row})\n"
FC = "%w = constant f32[1,2] [[1, 2]]\n%b = constant f32[1] [0]\n"
WRONG = [
    ("", "1:1: expected the level of a graph, found the end of the text"),
    ("double graph(", "1:1: expected the level of a graph (float, simulated, integer), found 'dou"),
    ("float graph %x", "1:13: expected '(', found '%x'"),
    ("float graph(%x: f64[2]{row})", "1:17: expected an element type (f32, u8, i8, i32), found"),
    ("float graph(%x: f32[2]{col})", r"1:24: expected an axis (row, sample), found 'col'"),
    ("float graph(%x: f32[2.5]{row})", "1:21: expected a whole number, found 2.5"),
    (HEAD, "2:1: expected the name of a value, such as %fc, or 'return', found the end of the"),
    (HEAD + "return %y", "2:8: %y is not defined before it is read"),
    (HEAD + "%x = reshape(%x) shape=[2]", "2:1: %x is defined twice"),
    (HEAD + "%y = reshap(%x)", "2:6: there is no op 'reshap'; did you mean reshape?"),
    (HEAD + "%y = reshape(%x) shap=[2]", "2:6: reshape: a Reshape has no field 'shap'"),
    (HEAD + "%y = reshape(%x)", "2:6: reshape: a Reshape needs the field 'shape'"),
    (HEAD + "%y = reshape(%x) shape=[2] shape=[2]", "2:28: the field shape is given twice"),
    (HEAD + "%y = reshape(%x) shape=[3]", "2:6: y: reshape: "),
    (HEAD + "%y = reshape(%x) shape=two", "2:6: reshape: 'two' is no list"),
    (HEAD + "%y = unary(%x) function=sine", "2:6: unary: 'sine' is no Function"),
    (HEAD + "%y = composite(%x) steps=[sine(x)]", "2:27: there is no function or operation 'sin"),
    (HEAD + "%y = composite(%x) steps=[sin(y)]", "2:31: an operand is x, or s1 for the result of"),
    (HEAD + "%y = composite(%x) steps=[sin(s1)]", "2:6: y: composite: step 1 reads what is not"),
    (HEAD + "%y: f32[3]{row} = reshape(%x) shape=[2]", "2:5: the op gives f32[2]{row}, and the"),
    (HEAD + "%y = reshape(%x) shape=[2] # a (b", "2:28: expected a place: module (source), both"),
    (HEAD + "%y = reshape(%x) shape=[2] # \"\\q\"", "2:28: the place has an escape that JSON"),
    (HEAD + "%y = reshape(%x) shape=" + "[" * 99, "2:56: more than 32 lists in one another"),
    (HEAD + "%y = clamp(%x) low=1e999", "2:20: the number 1e999 is too large"),
    (HEAD + "%y = reshape(%x) shape=[" + "9" * 5000, "2:25: a whole number has 5000 digits"),
    (HEAD + "%y = fake_quantize(%x) quant=<1, z=0>", "2:37: expected ',', found '>'"),
    (HEAD + "%y = fake_quantize(%x) quant=<[1, 2], z=0, 0..3>", "2:6: fake_quantize: QuantPar"),
    (HEAD + FC + "return %x", "2:1: no output needs %w"),
    (HEAD + "%w = constant f32[2]{row} [1, 2]", "2:15: a constant does not vary, and the text"),
    (HEAD + "%w = constant f32[2]\nreturn %w", "3:1: expected the elements: a number, '[', 'spl"),
    (HEAD + "%w = constant f32[2] [1, 2, 3]", "2:22: expected elements of the shape [2]"),
    (HEAD + "%w = constant f32[2,1] [1, [2]]", "2:24: expected elements of the shape [2, 1]"),
    (HEAD + "%w = constant f32[2] [1, True]", "2:22: True is no f32"),
    (HEAD + "%w = constant u8[2] [1, 256]", "2:21: 256 is no u8"),
    (HEAD + "%w = constant i8[2] [1, 1.0]", "2:21: 1.0 is no i8"),
    (HEAD + "%w = constant i8[2] splat(200)", "2:21: 200 is no i8"),
    (HEAD + "%w = constant i8[2] hex \"00\"", "2:21: expected 2 bytes as hexadecimal digits"),
    (HEAD + "%w = constant i8[2] hex \"0x00\"", "2:21: expected 2 bytes as hexadecimal digits"),
    (HEAD + "%w = constant i8[2] hex 0000", "2:25: expected a text in double quotes, found '0000'"),
    (HEAD + "%w = constant f32[99999999999] splat(0)", "2:15: the extent of an axis: 99999999999"),
    (HEAD + "%w = constant f32[1] [1e39]\nreturn %w", "1:1: w: the weight holds NaN or infinity"),
    (HEAD + "%y = fake_quantize(%x) quant=<1, z=0, 0..3>\nreturn %y", "1:1: y: fake_quantize may"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_errors_say_where_and_what(text: str, message: str) -> None:
    with pytest.raises(TextError) as raised:
        parse_graph(text, "net.qir")
    assert str(raised.value).startswith(f"net.qir:{message}")


def damaged(text: str, choose: st.DataObject) -> str:
    """The text with some of it left out, repeated, moved or replaced."""
    pieces = (
        "",
        "[",
        "]",
        "<",
        ">",
        '"',
        "%",
        "#",
        "//",
        "=",
        "0",
        "-",
        "1e9",
        "x",
        "\n",
        "é",
        "\0",
    )
    for _ in range(choose.draw(st.integers(1, 3))):
        start = choose.draw(st.integers(0, len(text)))
        stop = min(len(text), start + choose.draw(st.sampled_from((0, 1, 1, 2, 5, 20, 80))))
        piece = choose.draw(st.sampled_from((*pieces, text[start:stop] * 2)))
        place = choose.draw(st.sampled_from((start, start, start, len(text) // 2)))
        text = text[:start] + text[stop:]
        text = text[:place] + piece + text[place:]
    return text


TEXTS = [
    SMALL,
    whole(Net((2,)).emit(Softmax(0, True), name="softmax").graph()),
    whole(Net((3,)).emit(Unary(Function.TANH), name="t").dropout(0.5, "d").linear(2, "fc").graph()),
    *(whole(random_integer_model(seed, ops="all").graph) for seed in range(6)),
    whole(lenet()),
]


@given(st.sampled_from(TEXTS), st.data())
def test_damaged_text_is_a_graph_or_a_text_error(text: str, choose: st.DataObject) -> None:
    """A graph that is read nevertheless has a text of its own, which is read back."""
    try:
        graph = parse_graph(damaged(text, choose))
    except TextError:
        return
    assert_equal(parse_graph(whole(graph)), graph)
