"""The INTEGER Model inside an ONNX file: what the oracle needs to check that file.

The metadata property "model" holds the .qbnn file (base64 of bzip2), but with zeros for the
weights: those are read from the ONNX initialisers that the network computes with, and the digest
says whether all is as it was.
"""

from __future__ import annotations

import base64
import bz2
import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from qbnnc.backends.onnx.artefact import describe, parse
from qbnnc.backends.onnx.names import (
    PACKED,
    TRANSPOSED,
    UNSIGNED,
    interface_names,
    member_prefix,
    onnx_name,
)
from qbnnc.ir import format
from qbnnc.ir.errors import FileError
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, DType

KEY = "model"
_LARGEST = 1 << 30


def embedded(model: Model) -> str:
    """The text for the metadata property."""
    stripped = _with_weights(model, lambda value, graph, _: np.zeros_like(graph.constants[value]))
    return base64.b64encode(bz2.compress(format.to_bytes(stripped))).decode("ascii")


def read_model(data: bytes, path: str | os.PathLike[str] = "model.onnx") -> Model:
    """The Model an ONNX file was made from; FileError if it is not ours, or was changed."""
    proto = parse(data, path)
    description = describe(proto, path)
    changed = FileError("changed after qbnnc made it: compile it again", path)
    try:
        stripped = format.from_bytes(_inflate(description.properties.get(KEY, "")), path)
        model = _with_weights(stripped, _weights(proto, interface_names(stripped)))
    except (OSError, ValueError, KeyError):
        raise changed from None
    if format.digest(model) != description.digest:
        raise changed
    return model


def _inflate(text: str) -> bytes:
    # bzip2, not zlib: it has one implementation, so that a compile gives the same bytes anywhere
    return bz2.BZ2Decompressor().decompress(base64.b64decode(text, validate=True), _LARGEST)


def _with_weights(model: Model, weights: Callable[[Value, Graph, str], Array]) -> Model:
    """`model` with other arrays for its int8 constants; `weights` is told the member's prefix."""
    members = []
    for number, graph in enumerate(model.members):
        prefix = member_prefix(number, len(model.members))
        constants = {
            value: weights(value, graph, prefix) if value.type.dtype is DType.I8 else array
            for value, array in graph.constants.items()
        }
        members.append(replace(graph, constants=constants))
    return replace(model, members=tuple(members))


def _weights(
    proto: onnx.ModelProto, interface: tuple[str, ...]
) -> Callable[[Value, Graph, str], Array]:
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}

    def weight(value: Value, graph: Graph, prefix: str) -> Array:
        return _restored(onnx_name(value.name, prefix, interface), stored, value.type.shape)

    return weight


def _restored(name: str, stored: Mapping[str, onnx.TensorProto], shape: tuple[int, ...]) -> Array:
    """The codes of a weight, however the layer that reads it wants them; KeyError if missing."""
    forms = ("", UNSIGNED, TRANSPOSED, UNSIGNED + TRANSPOSED)
    for suffix in (*forms, *(form + PACKED for form in forms)):
        if (tensor := stored.get(name + suffix)) is not None:
            codes = numpy_helper.to_array(tensor).astype(np.int16)
            codes = codes - 128 * (UNSIGNED in suffix)
            codes = codes.T if TRANSPOSED in suffix else codes
            return np.ascontiguousarray(codes.astype(np.int8)).reshape(shape)
    raise KeyError(name)
