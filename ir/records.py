"""A graph as typed JSON records; arrays travel beside them, by name.

Arrays are the constants, and the scales and zero points of channels (of constants' codes, and of
what an op gives): "fc1.weight", "fc1.weight:scale", "fc1.weight:zero".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.codec import (
    DecodeError,
    Json,
    decode,
    decode_op,
    encode,
    encode_op,
    entries,
    items,
    number,
    text,
)
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops.base import Op
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support import limits
from qbnnc.support.errors import Loc

_SCALE, _ZERO = ":scale", ":zero"
_ARRAYS = frozenset({"scale", "zero_point"})


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensors:
    """The arrays of one member, which are "<prefix><name>" in a file of this version."""

    arrays: Mapping[str, Array]
    prefix: str
    version: int
    read: set[str]  # the names of all that have been asked for

    def __getitem__(self, name: str) -> Array:
        self.read.add(self.prefix + name)
        if (array := self.arrays.get(self.prefix + name)) is None:
            raise DecodeError(f"the tensor {self.prefix + name[:80]!r} is missing")
        return array

    def get(self, name: str, default: Array) -> Array:
        """The array, or `default` if there is none."""
        self.read.add(self.prefix + name)
        return self.arrays.get(self.prefix + name, default)


@dataclass(frozen=True, slots=True)
class _Node:
    """`inputs` are numbers of values: the input is 0, then the constants, then the nodes."""

    name: str
    inputs: tuple[int, ...]
    loc: Loc


def graph_record(graph: Graph) -> Json:
    """{"input", "constants", "nodes", "outputs"}; types are inferred again when it is read."""
    values = [graph.input, *graph.constants, *(n.output for n in graph.nodes)]
    number = {value: i for i, value in enumerate(values)}
    nodes: list[Json] = []
    for node in graph.nodes:
        inputs = tuple(number[v] for v in node.inputs)
        record = encode(_Node(node.output.name, inputs, node.loc))
        nodes.append({"node": record, "op": _op_record(node)})
    return {
        "input": encode(_Input(graph.input.name, graph.input.type.shape)),
        "constants": [{"name": v.name, "codes": _codes(v.type.quant)} for v in graph.constants],
        "nodes": nodes,
        "outputs": [number[v] for v in graph.outputs],
    }


def read_graph(record: Json, stage: Stage, tensors: Tensors) -> Graph:
    """The graph of a record; DecodeError if it is none, CompileError if its types do not fit."""
    entry, constants, nodes, outputs = entries(
        record, "a graph", "input", "constants", "nodes", "outputs"
    )
    reader = _Reader(decode(_Input, entry), tensors)
    for item in _bounded(constants, "constants", limits.CONSTANTS):
        reader.constant(item)
    for item in _bounded(nodes, "nodes", limits.NODES):
        reader.node(item)
    return reader.graph(_bounded(outputs, "outputs", limits.OUTPUTS), stage)


class _Reader:
    """Adds what the records of a graph say to a builder, in order; names are taken once."""

    def __init__(self, entry: _Input, tensors: Tensors) -> None:
        self._build, self._tensors, self._names = Builder(), tensors, {entry.name}
        type_ = TensorType(DType.F32, entry.shape, PER_ROW)
        self._values = [self._build.input(entry.name, type_)]

    def constant(self, record: Json) -> None:
        """The next constant."""
        entry, codes = entries(record, "a constant", "name", "codes")
        name = self._new(text(entry, "the name of a constant"))
        quant = None if codes is None else _read_quant(codes, name, self._tensors)
        self._values.append(self._build.constant(name, self._tensors[name], quant))

    def node(self, record: Json) -> None:
        """The next node."""
        said, op = entries(record, "a node", "node", "op")
        node = decode(_Node, said)
        inputs = (self._at(place) for place in node.inputs)
        made = _read_op(op, self._new(node.name), self._tensors)
        self._values.append(self._build.emit(made, *inputs, loc=node.loc, name=node.name))

    def graph(self, outputs: list[Json], stage: Stage) -> Graph:
        """The whole graph; DecodeError if no output needs some value."""
        made = self._build.graph(
            tuple(self._at(number(place, "an output")) for place in outputs), stage
        )
        if 1 + len(made.constants) + len(made.nodes) != len(self._values):
            raise DecodeError("there are values that no output needs")
        return made

    def _new(self, name: str) -> str:
        if name in self._names:
            raise DecodeError(f"several values are called {name[:80]!r}")
        self._names.add(name)
        return name

    def _at(self, place: int) -> Value:
        if not 0 <= place < len(self._values):
            raise DecodeError(f"there is no value {place} yet")
        return self._values[place]


def graph_tensors(graph: Graph) -> dict[str, Array]:
    """The arrays of a graph, by the names its record knows them by."""
    tensors = {value.name: np.asarray(a, order="C") for value, a in graph.constants.items()}
    quants = [(value.name, value.type.quant) for value in graph.constants]
    quants += [(node.output.name, _channel_quant(node)) for node in graph.nodes]
    for name, quant in quants:
        if quant is not None:
            tensors[name + _SCALE] = np.array(quant.scale, np.float32)
            if any(quant.zero_point):
                tensors[name + _ZERO] = np.array(quant.zero_point, np.int32)
    return tensors


def _channel_quant(node: Node) -> QuantParams | None:
    """The scales an op gives its result, if it has one for each channel."""
    quant = getattr(node.op, "quant", None)
    return quant if isinstance(quant, QuantParams) and quant.axis is not None else None


def _op_record(node: Node) -> Json:
    """The op; scales of channels are tensors."""
    record, quant = encode_op(node.op), _channel_quant(node)
    if quant is not None and isinstance(record, dict):
        record["quant"] = _codes(quant)
    return record


def _read_op(record: Json, name: str, tensors: Tensors) -> Op:
    entry = record.get("quant") if isinstance(record, dict) else None
    if isinstance(record, dict) and isinstance(entry, dict) and "scale" not in entry:
        record = {**record, "quant": encode(_read_quant(entry, name, tensors))}
    return decode_op(record, tensors.version)


def _codes(quant: QuantParams | None) -> Json:
    """All but the scales, and the zero points, which are tensors unless all are 0."""
    record = encode(quant)
    if not isinstance(record, dict):
        return None
    return {name: entry for name, entry in record.items() if name not in _ARRAYS}


def _read_quant(codes: Json, name: str, tensors: Tensors) -> QuantParams:
    if not isinstance(codes, dict) or codes.keys() & _ARRAYS:
        raise DecodeError(f"the codes of {name[:80]!r} are an object, with tensors beside it")
    scale = tensors[name + _SCALE]
    zero = tensors.get(name + _ZERO, np.zeros(scale.shape, np.int32))
    if scale.ndim != 1 or scale.dtype != np.float32 or zero.dtype != np.int32:
        raise DecodeError(f"the scales of {name[:80]!r} are no list of float32")
    _hold(limits.SCALES, scale.size)
    arrays: dict[str, Json] = {"scale": scale.tolist(), "zero_point": zero.tolist()}
    return decode(QuantParams, {**codes, **arrays}, tensors.version)


def _bounded(value: Json, what: str, limit: limits.Limit) -> list[Json]:
    found = items(value, what)
    _hold(limit, len(found))
    return found


def _hold(limit: limits.Limit, count: int) -> None:
    try:
        limit.check(count)
    except ValueError as error:
        raise DecodeError(str(error)) from None
