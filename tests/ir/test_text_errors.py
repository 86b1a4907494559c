"""Text that is no graph: errors say where and what; damaged text is never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Function, Softmax, Unary
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graph
from qbnnc.ir.text_scanner import TextError
from tests.graphs import lenet, mlp
from tests.net import Net
from tests.strategies import random_integer_model

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


def whole(graph: Graph) -> str:
    return graph_text(graph, whole=True)


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
    whole(mlp()),
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
    assert whole(parse_graph(whole(graph))) == whole(graph)
