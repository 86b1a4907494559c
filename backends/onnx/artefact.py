"""The description of an ONNX file of ours, read without running it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from qbnnc.backends.onnx.content_digest import check_content
from qbnnc.backends.onnx.names import (
    ALSO,
    AXES,
    FIRST_ROW,
    INPUT,
    MODEL,
    PRODUCER,
    SEED,
    VALUE,
    member_prefix,
)
from qbnnc.ir.head import Head, Task
from qbnnc.support import limits
from qbnnc.support.errors import FileError

_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_REQUIRED = frozenset({"digest", "task", "samples", "members", "method", "version"})


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value of the IR in the file: its name there, and what it varies with ("row,sample")."""

    name: str
    axes: str


@dataclass(frozen=True, slots=True)
class Description:
    """`properties` are the file's metadata_props, `values` the IR's values by their IR names.

    `output_size` counts the elements of one sample of one row, of all outputs.
    """

    properties: Mapping[str, str]
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    output_size: int
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
        """The number of samples L."""
        return int(self.properties["samples"])

    @property
    def members(self) -> int:
        return int(self.properties["members"])

    @property
    def head(self) -> Head:
        names = self.properties.get("outputs", "")
        return Head(Task(self.properties["task"]), tuple(names.split(",")) if names else ())

    @property
    def embedded(self) -> bool:
        """Whether the file holds the Model that it was made from."""
        return MODEL in self.properties

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The outputs that hold samples; the others are statistics."""
        return self.head.sample_names(_outputs(self.output_names))


def read_proto(data: bytes, path: str | os.PathLike[str]) -> tuple[onnx.ModelProto, Description]:
    """An ONNX file of ours, as it was made; FileError if it is none, or was changed.

    ArtefactWarning for an old one, which cannot say whether it was.
    """
    proto = parse(data, path)
    description = describe(proto, path)
    check_content(proto, path)
    return proto, description


def parse(data: bytes, path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The protobuf of an ONNX file; FileError if it is none, or not made by qbnnc."""
    try:
        proto = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own error, which is not ours to import
        raise FileError(
            "not an ONNX file, or truncated",
            path,
            remedy="give a file made by qbnnc, or copy it again",
        ) from None
    if proto.producer_name != PRODUCER or not proto.HasField("graph"):
        raise FileError(
            "not made by qbnnc: only ONNX files that qbnnc compiled can be run, verified "
            "and inspected",
            path,
            remedy="compile the PyTorch model",
        )
    return proto


def describe(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> Description:
    """The description that a file holds of itself; FileError if a part is missing or wrong."""
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    inputs = {value.name: value for value in proto.graph.input}
    if INPUT not in inputs or not properties.keys() >= _REQUIRED:
        raise FileError("truncated or changed after qbnnc made it", path, remedy="compile it again")
    description = Description(
        properties,
        _dimensions(inputs[INPUT])[1:],
        tuple(value.name for value in proto.graph.output),
        sum(
            math.prod(_dimensions(value)[2:])
            for value in proto.graph.output
            if value.name.startswith("samples")
        ),
        _values(proto),
    )
    try:
        _check_numbers(description)
        _check_interface(description, proto.graph)
    except ValueError as error:
        raise FileError(
            f"its metadata was changed ({error})", path, remedy="compile it again"
        ) from None
    return description


def _check_numbers(description: Description) -> None:
    """Raise ValueError if L is no multiple of the members, or no number at all."""
    samples, members = description.samples, description.members
    if not 1 <= members <= samples <= limits.DRAWS.most * members or samples % members:
        raise ValueError(f"{samples} samples of {members} members")


def _check_interface(description: Description, graph: onnx.GraphProto) -> None:
    """ValueError unless inputs and outputs are those that `predict` gives and takes."""
    inputs = {value.name: _signature(value) for value in graph.input}
    wanted = {INPUT: (_FLOAT, len(description.input_shape) + 1), SEED: (_INT64, 0)}
    if inputs != wanted | {FIRST_ROW: (_INT64, 0)} or 0 in description.input_shape:
        raise ValueError("other inputs")
    head, names = description.head, description.output_names
    samples = head.sample_names(_outputs(names))
    if names != (*samples, *head.statistic_names(len(samples))):
        raise ValueError("other outputs")
    for value in graph.output:
        kind, rank = _signature(value)
        if kind != _FLOAT or rank < 1 + (value.name in samples):
            raise ValueError(f"another type of {value.name}")
        if value.name in samples and _dimensions(value)[0] != description.samples:
            raise ValueError(f"another number of {value.name}")


def _outputs(names: Sequence[str]) -> int:
    """The number of the network's own outputs, each of which has samples."""
    return sum(name.startswith("samples") for name in names)


def _signature(value: onnx.ValueInfoProto) -> tuple[int, int]:
    """The type of the elements, and the number of axes."""
    return value.type.tensor_type.elem_type, len(_dimensions(value))


def _dimensions(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The lengths of the axes; 0 for one that has a name."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _values(proto: onnx.ModelProto) -> dict[str, StoredValue]:
    found: dict[str, StoredValue] = {}
    for info in proto.graph.value_info:
        properties = {entry.key: entry.value for entry in info.metadata_props}
        if VALUE in properties:
            stored = StoredValue(info.name, properties.get(AXES, ""))
            found |= dict.fromkeys(_names(properties), stored)
    return found


def _names(properties: Mapping[str, str]) -> list[str]:
    """The names of a value in the IR, one for each member that has it."""
    name, others = properties[VALUE], properties.get(ALSO, "")
    rest = name.partition("/")[2]
    return [name, *(f"{member_prefix(int(n), 2)}{rest}" for n in others.split(",") if n.isdigit())]
