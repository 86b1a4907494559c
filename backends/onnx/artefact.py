"""What can be read from an ONNX file of ours without running it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from qbnnc.backends.onnx.names import ALSO, AXES, INPUT, PRODUCER, VALUE, member_prefix
from qbnnc.ir.errors import FileError
from qbnnc.ir.head import Head, Task

_REQUIRED = frozenset({"digest", "task", "samples", "members", "method", "version"})


@dataclass(frozen=True, slots=True)
class StoredValue:
    """Where a value of the IR is in the file, and what it varies with: "row,sample"."""

    name: str
    axes: str


@dataclass(frozen=True, slots=True)
class Description:
    """`properties` are the file's metadata_props, `values` the IR's values by their IR names."""

    properties: Mapping[str, str]
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    values: Mapping[str, StoredValue]

    @property
    def digest(self) -> str:
        """The SHA-256 of the Model the file was made from."""
        return self.properties["digest"]

    @property
    def method(self) -> str:
        return self.properties["method"]

    @property
    def bits(self) -> str:
        return self.properties.get("bits", "")

    @property
    def samples(self) -> int:
        """L."""
        return int(self.properties["samples"])

    @property
    def members(self) -> int:
        return int(self.properties["members"])

    @property
    def head(self) -> Head:
        names = self.properties.get("outputs", "")
        return Head(Task(self.properties["task"]), tuple(names.split(",")) if names else ())

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The outputs that hold samples; the others are statistics."""
        outputs = sum(name.startswith("samples") for name in self.output_names)
        return self.head.sample_names(outputs)


def parse(data: bytes, path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The protobuf of an ONNX file; FileError if it is none, or not made by qbnnc."""
    try:
        proto = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own error, which is not ours to import
        raise FileError(
            "not an ONNX file, or truncated: give a file made by qbnnc, or copy it again", path
        ) from None
    if proto.producer_name != PRODUCER or not proto.HasField("graph"):
        raise FileError(
            "not made by qbnnc: only ONNX files that qbnnc compiled can be run, verified and "
            "inspected; compile the PyTorch model",
            path,
        )
    return proto


def describe(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> Description:
    """What the file says about itself; FileError if a part is missing or no such thing."""
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    inputs = {value.name: value for value in proto.graph.input}
    if INPUT not in inputs or not properties.keys() >= _REQUIRED:
        raise FileError("truncated or changed after qbnnc made it: compile it again", path)
    shape = inputs[INPUT].type.tensor_type.shape.dim[1:]
    description = Description(
        properties,
        tuple(d.dim_value for d in shape),
        tuple(value.name for value in proto.graph.output),
        _values(proto),
    )
    try:
        _ = description.samples, description.members, description.head
    except ValueError:
        raise FileError("its metadata was changed: compile it again", path) from None
    return description


def _values(proto: onnx.ModelProto) -> dict[str, StoredValue]:
    found: dict[str, StoredValue] = {}
    for info in proto.graph.value_info:
        properties = {entry.key: entry.value for entry in info.metadata_props}
        if VALUE in properties:
            stored = StoredValue(info.name, properties.get(AXES, ""))
            found |= dict.fromkeys(_names(properties), stored)
    return found


def _names(properties: Mapping[str, str]) -> list[str]:
    """What a value is called in the IR, once for each member that has it."""
    name, others = properties[VALUE], properties.get(ALSO, "")
    rest = name.partition("/")[2]
    return [name, *(f"{member_prefix(int(n), 2)}{rest}" for n in others.split(",") if n.isdigit())]
