"""The text of graphs: what is written whole is read back, and other text is an error."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
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
    Step,
)
from qbnnc.ir.records import graph_record, graph_tensors
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graph, parse_graphs
from qbnnc.ir.text_scanner import TextError
from qbnnc.ir.types import QuantParams, Stage
from qbnnc.passes.pipeline import pipeline
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import Loc
from tests.graphs import FAMILIES, float_graphs, inputs
from tests.net import Net
from tests.strategies import integer_models

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


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ir.md"
GRAPHS = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", GRAPHS)
def test_the_graphs_of_the_page_are_read(text: str) -> None:
    graph = parse_graph(text)
    assert_equal(parse_graph(whole(graph)), graph)


def test_the_error_of_the_page_is_the_error() -> None:
    (said,) = re.findall(r"^```text\n(.*?)\n```$", PAGE.read_text(), re.MULTILINE)
    with pytest.raises(TextError) as raised:
        parse_graph("float graph(%x: f32[2]{row})\n\n\n\n  %y = linar(%x)", "net.qir")
    assert str(raised.value) == said
    assert len(GRAPHS) == 2
