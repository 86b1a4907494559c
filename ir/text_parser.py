"""Reads graphs from the whole form of their text (docs/reference/ir.md)."""

from __future__ import annotations

import difflib
from typing import Final

from qbnnc.ir import text_items as items
from qbnnc.ir.check import check
from qbnnc.ir.codec import DecodeError, decode
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import OPS
from qbnnc.ir.ops.base import Op, op_name
from qbnnc.ir.text_scanner import Scanner
from qbnnc.ir.types import QuantParams, Stage, TensorType
from qbnnc.support import limits
from qbnnc.support.errors import CompileError

_CLASSES: Final = {op_name(cls): cls for cls in OPS.values()}
_LEVELS: Final = {stage.name.lower(): stage for stage in Stage}


def parse_graph(text: str, path: str = "text") -> Graph:
    """The one graph in a text; TextError as for `parse_graphs`, and if a second graph follows."""
    scanner = Scanner(text, path)
    graph = _GraphParser(scanner).graph()
    if not scanner.at_end:
        raise scanner.unexpected("the end of the text")
    return graph


def parse_graphs(text: str, path: str = "text") -> tuple[Graph, ...]:
    """The graphs in a text, one after another; `path` names the text in errors.

    Raises TextError, at the line and column, for text that is no graph, or a graph that
    `qbnnc.ir.check` rejects.
    """
    scanner = Scanner(text, path)
    graphs = [_GraphParser(scanner).graph()]
    while not scanner.at_end:
        graphs.append(_GraphParser(scanner).graph())
    return tuple(graphs)


class _GraphParser:
    """Reads one graph, statement by statement, into a Builder."""

    def __init__(self, scanner: Scanner) -> None:
        self.scan, self.build = scanner, Builder()
        self.values: dict[str, Value] = {}
        self.places: dict[str, int] = {}  # where each value is defined

    def graph(self) -> Graph:
        """float graph(%input: f32[2]{row}) ... return %fc"""
        start = self.scan.at
        stage = items.one_of(self.scan, _LEVELS, "the level of a graph")
        self.scan.expect("graph")
        self.scan.expect("(")
        name = self.new_name()
        self.scan.expect(":")
        self.values[name] = self.build.input(name, items.tensor_type(self.scan))
        self.scan.expect(")")
        while not self.scan.takes("return"):
            self.statement()
        outputs = [self.value()]
        while self.scan.takes(","):
            outputs.append(self.value())
        made = self.build.graph(tuple(outputs), stage)
        self.check_needed(made)
        try:
            check(made)
        except CompileError as error:
            raise self.scan.error(str(error), start) from None
        return made

    def check_needed(self, made: Graph) -> None:
        """TextError at a constant or node that no output needs."""
        kept = {made.input, *made.constants, *(node.output for node in made.nodes)}
        for name, value in self.values.items():
            if value not in kept:
                raise self.scan.error(f"no output needs %{name}", self.places[name])

    def statement(self) -> None:
        """Read a constant or a node."""
        if not self.scan.sees("%"):
            raise self.scan.unexpected("the name of a value, such as %fc, or 'return'")
        name = self.new_name()
        start, stated = self.scan.at, None
        if self.scan.takes(":"):
            start, stated = self.scan.at, items.tensor_type(self.scan)
        self.scan.expect("=")
        if stated is None and self.scan.takes("constant"):
            self.values[name] = self.constant(name)
            return
        value = self.values[name] = self.node(name)
        given = TensorType(value.type.dtype, value.type.shape, value.type.axes)
        if stated not in (None, given):
            raise self.scan.error(f"the op gives {given}, and the text says {stated}", start)

    def new_name(self) -> str:
        """Read the name of a value that is defined here."""
        start = self.scan.at
        name = self.scan.name()
        if name in self.places:
            raise self.scan.error(f"%{name} is defined twice", start)
        self.places[name] = start
        return name

    def value(self) -> Value:
        """Read the name of a value that is there already."""
        start = self.scan.at
        name = self.scan.name()
        if (value := self.values.get(name)) is None:
            raise self.scan.error(f"%{name} is not defined before it is read", start)
        return value

    def constant(self, name: str) -> Value:
        """Read the rest of a constant: i8[2] <0.5, z=0, -127..127> [3, -4]"""
        start = self.scan.at
        type_ = items.tensor_type(self.scan)
        if type_.axes:
            raise self.scan.error(f"a constant does not vary, and the text says {type_}", start)
        quant = None
        if self.scan.sees("<"):
            place = self.scan.at
            record = items.quantisation(self.scan)
            try:
                quant = decode(QuantParams, record)
            except DecodeError as error:
                raise self.scan.error(str(error), place) from None
        try:
            limits.check_shape(type_.shape)
        except ValueError as error:
            raise self.scan.error(str(error), start) from None
        return self.build.constant(name, items.elements(self.scan, type_), quant)

    def node(self, name: str) -> Value:
        """Read the rest of a node: conv2d(%x, %w, %b) stride=[2, 2]  # features.0 (net.py:7)"""
        start = self.scan.at
        word = self.scan.word("an op, such as linear, or 'constant'")
        if word not in _CLASSES:
            near = difflib.get_close_matches(word, _CLASSES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise self.scan.error(f"there is no op {word[:40]!r}{hint}", start)
        self.scan.expect("(")
        inputs = list[Value]()
        while not self.scan.takes(")"):
            if inputs:
                self.scan.expect(",")
            inputs.append(self.value())
        op = self.op(word, start)
        loc = items.place(self.scan, name)
        try:
            return self.build.emit(op, *inputs, loc=loc, name=name)
        except CompileError as error:
            raise self.scan.error(str(error), start) from None

    def op(self, word: str, start: int) -> Op:
        """Read the fields of an op."""
        try:
            return decode(_CLASSES[word], items.fields(self.scan))
        except DecodeError as error:
            raise self.scan.error(f"{word}: {error}", start) from None
