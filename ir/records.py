"""A graph as typed JSON records; arrays travel beside them, by name.

Arrays are the constants, and the scales and zero points of channels (of constants' codes, and of
what an op gives): "fc1.weight", "fc1.weight:scale", "fc1.weight:zero".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.codec import DecodeError, Json, decode, decode_op, encode, encode_op
from qbnnc.ir.errors import Loc
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops.base import Op
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType

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

    def __getitem__(self, name: str) -> Array:
        if (array := self.arrays.get(self.prefix + name)) is None:
            raise DecodeError(f"the tensor {self.prefix + name!r} is missing")
        return array

    def get(self, name: str, default: Array) -> Array:
        """The array, or `default` if there is none."""
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
    if not isinstance(record, dict):
        raise DecodeError("a graph is an object")
    build, values = Builder(), list[Value]()
    entry = decode(_Input, record.get("input"))
    values.append(build.input(entry.name, TensorType(DType.F32, entry.shape, PER_ROW)))
    for item in _list(record.get("constants")):
        if not isinstance(item, dict) or item.keys() != {"name", "codes"}:
            raise DecodeError("a constant has a name and codes")
        name, codes = item["name"], item["codes"]
        if not isinstance(name, str):
            raise DecodeError(f"{name!r} is no name")
        quant = None if codes is None else _read_quant(codes, name, tensors)
        values.append(build.constant(name, tensors[name], quant))
    for item in _list(record.get("nodes")):
        if not isinstance(item, dict):
            raise DecodeError("a node is an object")
        node = decode(_Node, item.get("node"))
        op = _read_op(item.get("op"), node.name, tensors)
        inputs = (_at(values, i) for i in node.inputs)
        values.append(build.emit(op, *inputs, loc=node.loc, name=node.name))
    outputs = tuple(_at(values, i) for i in _list(record.get("outputs")))
    return build.graph(outputs, stage)


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
        raise DecodeError(f"the codes of {name!r} are an object, with tensors beside it")
    scale = tensors[name + _SCALE]
    zero = tensors.get(name + _ZERO, np.zeros(scale.shape, np.int32))
    if scale.ndim != 1 or scale.dtype != np.float32 or zero.dtype != np.int32:
        raise DecodeError(f"the scales of {name!r} are no list of float32")
    arrays: dict[str, Json] = {"scale": scale.tolist(), "zero_point": zero.tolist()}
    return decode(QuantParams, {**codes, **arrays}, tensors.version)


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise DecodeError(f"{value!r} is no list")
    return value


def _at(values: list[Value], index: Json) -> Value:
    if not isinstance(index, int) or not 0 <= index < len(values):
        raise DecodeError(f"there is no value {index!r} yet")
    return values[index]
