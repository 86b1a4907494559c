"""The parts of an ONNX file that are read, by the numbers of onnx.proto."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from qbnnc.backends.onnx.wire import Message, written
from qbnnc.ir.types import Array

FLOAT, INT32, INT64, _INT4 = 1, 6, 7, 22  # TensorProto.DataType
_DTYPES: dict[int, np.dtype[Any]] = {
    FLOAT: np.dtype("<f4"),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype("<u2"),
    INT32: np.dtype("<i4"),
    INT64: np.dtype("<i8"),
    9: np.dtype(np.bool_),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
    _INT4: np.dtype(np.uint8),
}

_MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_PROPERTIES, _MODEL_FUNCTIONS = 2, 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE = 11, 12, 13
_FUNCTION_NODE, _NODE_ATTRIBUTE = 7, 5
_TENSORS_OF_ATTRIBUTE, _SPARSE_OF_ATTRIBUTE, _GRAPHS_OF_ATTRIBUTE = (5, 10), (22, 23), (6, 11)
_VALUE_NAME, _VALUE_TYPE, _VALUE_PROPERTIES = 1, 2, 4
_TYPE_TENSOR, _TYPE_ELEMENTS, _TYPE_SHAPE, _SHAPE_AXIS, _AXIS_LENGTH = 1, 1, 2, 1, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 8, 9
_TENSOR_INT32, _TENSOR_INT64, _TENSOR_ELSEWHERE, _TENSOR_LOCATION = 5, 7, 13, 14
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_MOST_NESTED = 100  # as in protobuf


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """The description of a value, read when it is asked for: of most values only the names are.

    Every property raises ValueError for bytes that are none.
    """

    message: Message

    @property
    def name(self) -> str:
        return self.message.text(_VALUE_NAME)

    @property
    def elements(self) -> int:
        """The type of the elements, a TensorProto.DataType."""
        return self._tensor.integer(_TYPE_ELEMENTS)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes, 0 for one with a name."""
        axes = self._tensor.message(_TYPE_SHAPE).messages(_SHAPE_AXIS)
        return tuple(axis.integer(_AXIS_LENGTH) for axis in axes)

    @property
    def properties(self) -> dict[str, str]:
        return _properties(self.message, _VALUE_PROPERTIES)

    @property
    def data(self) -> memoryview:
        return self.message.data

    @property
    def _tensor(self) -> Message:
        return self.message.message(_VALUE_TYPE).message(_TYPE_TENSOR)


@dataclass(frozen=True)
class File:
    """An ONNX file; every property raises ValueError for bytes that are none."""

    model: Message

    @staticmethod
    def of(data: bytes) -> File:
        return File(Message(data))

    @property
    def producer(self) -> str:
        return self.model.text(_MODEL_PRODUCER)

    @cached_property
    def graph(self) -> Message:
        """The one graph."""
        (graph,) = self.model.messages(_MODEL_GRAPH)
        return graph

    @property
    def properties(self) -> dict[str, str]:
        """The metadata_props."""
        return _properties(self.model, _MODEL_PROPERTIES)

    def spans_of(self, key: str) -> list[tuple[int, int, str]]:
        """The metadata properties of this key: first byte, last byte + 1, value."""
        fields = self.model.fields.get(_MODEL_PROPERTIES, ())
        entries = zip(fields, self.model.messages(_MODEL_PROPERTIES), strict=True)
        return [
            (start, end, entry.text(_ENTRY_VALUE))
            for (_, _, _, start, end), entry in entries
            if entry.text(_ENTRY_KEY) == key
        ]

    @property
    def inputs(self) -> list[ValueInfo]:
        return _value_infos(self.graph, _GRAPH_INPUT)

    @property
    def outputs(self) -> list[ValueInfo]:
        return _value_infos(self.graph, _GRAPH_OUTPUT)

    @property
    def values(self) -> list[ValueInfo]:
        """The values between inputs and outputs that the file describes."""
        return _value_infos(self.graph, _GRAPH_VALUE)

    def tensors(self) -> dict[str, Tensor]:
        """The initialisers by name."""
        tensors = (Tensor(message) for message in self.graph.messages(_GRAPH_INITIALIZER))
        return {tensor.name: tensor for tensor in tensors}

    def tensors_elsewhere(self) -> Iterator[str]:
        """The names of all tensors, wherever in the file, that lie in another file."""
        functions = self.model.messages(_MODEL_FUNCTIONS)
        nodes = (node for function in functions for node in function.messages(_FUNCTION_NODE))
        for tensor in (*_tensors_in(nodes, 0), *_tensors(self.graph, 0)):
            if tensor.integer(_TENSOR_LOCATION) or tensor.blobs(_TENSOR_ELSEWHERE):
                yield tensor.text(_TENSOR_NAME)


@dataclass(frozen=True)
class Tensor:
    """An initialiser."""

    message: Message

    @property
    def name(self) -> str:
        return self.message.text(_TENSOR_NAME)

    def array(self) -> Array:
        """The elements in their shape; INT4 ones as bytes of two, in one axis.

        ValueError for a type that no file of ours has, or elements that do not fill the shape.
        """
        kind, shape = self.message.integer(_TENSOR_TYPE), self.message.integers(_TENSOR_SHAPE)
        if (dtype := _DTYPES.get(kind)) is None:
            raise ValueError(f"{self.name!r} has elements of type {kind}")
        if blobs := self.message.blobs(_TENSOR_BYTES):
            array: Array = np.frombuffer(blobs[-1], dtype)
        else:
            field = _TENSOR_INT64 if kind == INT64 else _TENSOR_INT32
            array = np.array(self.message.integers(field), np.int64).astype(dtype)
        return array if kind == _INT4 else array.reshape(shape)


def with_outputs(data: bytes, values: Iterable[ValueInfo]) -> bytes:
    """An ONNX file with more outputs: protobuf merges a second graph into the first."""
    outputs = b"".join(written(_GRAPH_OUTPUT, value.data) for value in values)
    return data + written(_MODEL_GRAPH, outputs)


def _properties(message: Message, number: int) -> dict[str, str]:
    entries = message.messages(number)
    return {entry.text(_ENTRY_KEY): entry.text(_ENTRY_VALUE) for entry in entries}


def _value_infos(graph: Message, number: int) -> list[ValueInfo]:
    return [ValueInfo(message) for message in graph.messages(number)]


def _tensors(graph: Message, depth: int) -> Iterator[Message]:
    yield from graph.messages(_GRAPH_INITIALIZER)
    yield from _parts(graph.messages(_GRAPH_SPARSE))
    yield from _tensors_in(graph.messages(_GRAPH_NODE), depth)


def _tensors_in(nodes: Iterable[Message], depth: int) -> Iterator[Message]:
    """The tensors in attributes of nodes, and of the nodes of graphs in these."""
    if depth > _MOST_NESTED:
        raise ValueError("graphs are nested too deeply")
    for node in nodes:
        for attribute in node.messages(_NODE_ATTRIBUTE):
            yield from _all(attribute, _TENSORS_OF_ATTRIBUTE)
            yield from _parts(_all(attribute, _SPARSE_OF_ATTRIBUTE))
            for graph in _all(attribute, _GRAPHS_OF_ATTRIBUTE):
                yield from _tensors(graph, depth + 1)


def _all(message: Message, numbers: Iterable[int]) -> Iterator[Message]:
    for number in numbers:
        if number in message.fields:
            yield from message.messages(number)


def _parts(sparse: Iterable[Message]) -> Iterator[Message]:
    for tensor in sparse:
        yield from _all(tensor, (_SPARSE_VALUES, _SPARSE_INDICES))
