"""The INTEGER Model inside an ONNX file, which the oracle needs to check that file.

The metadata property "model" holds the .qbnn file (base64 of bzip2), but with zeros for arrays that
the rest of the ONNX file determines. Weights and biases are read from the initialisers that the
network computes with, and multipliers follow from scales. The digest tells whether all is as it
was, and which version of the format the Model has.

Equal constants are one tensor in that .qbnn; the ONNX file holds the first of them.
"""

from __future__ import annotations

import base64
import bz2
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from qbnnc.backends.onnx.artefact import Description, read_file
from qbnnc.backends.onnx.int4_packing import unpack
from qbnnc.backends.onnx.names import (
    BIAS,
    MODEL,
    PACKED,
    TRANSPOSED,
    UNSIGNED,
    interface_names,
    member_prefix,
    onnx_name,
)
from qbnnc.backends.onnx.proto import File, Tensor
from qbnnc.ir import format
from qbnnc.ir.codec import USUAL_VERSION
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import ContractionInteger, EmbeddingCodes, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.ir.weights import channel_sums
from qbnnc.support.errors import FileError

Change: TypeAlias = Callable[[Value, Array, Array | None, str, bool], Array]

_MOST_TIMES, _ALWAYS = 8, 1 << 20


def embedded(model: Model) -> str:
    """The text for the metadata property."""
    stripped = _with_constants(model, _left_out)
    members = (
        replace(
            m, constants={**m.constants, **{b: np.zeros_like(m.constants[b]) for b in _biases(m)}}
        )
        for m in stripped.members
    )
    stripped = replace(stripped, members=tuple(members), version=USUAL_VERSION)
    data = format.to_bytes(stripped, format.shared_tensors(model, stripped), packed=False)
    return base64.b64encode(bz2.compress(data)).decode("ascii")


def read_model(data: bytes, path: str | os.PathLike[str] = "model.onnx") -> Model:
    """The Model an ONNX file was made from.

    FileError if the file is not ours, was changed, or was compiled without its Model;
    ArtefactWarning if it is so old that it cannot say whether it was changed.
    """
    return embedded_model(*read_file(data, path), path)


def embedded_model(file: File, description: Description, path: str | os.PathLike[str]) -> Model:
    """The Model that a file was made from, given what has been read of it.

    FileError if it was compiled without, or the weights are others.
    """
    if not description.embedded:
        raise without_model(path)
    changed = FileError("changed after qbnnc made it", path, remedy="compile it again")
    try:
        most = _ALWAYS + _MOST_TIMES * len(file.model.data)
        inflated = _inflate(description.properties[MODEL], most)
        stripped = format.from_bytes(inflated, path, complete=False)
        inline, row_ids = description.rng_check, description.row_ids
        names = interface_names(stripped, inline=inline, row_ids=row_ids)
        stored, known = file.tensors(), dict[int, Array]()
        model = _with_constants(stripped, _put_back(stored, names, known))
        model = _with_biases(model, stored, names, known)
    except (OSError, ValueError, KeyError):
        raise changed from None
    for version in (model.version, 1):
        if format.digest(found := replace(model, version=version)) == description.digest:
            found.check()
            return found
    raise changed


def without_model(path: str | os.PathLike[str]) -> FileError:
    """The error of a command that needs the Model of a file without one."""
    return FileError(
        "holds no qbnnc model (`embedded_model=False`): it can be run, and verified "
        "beside the .qbnn of the same compile",
        path,
        remedy="for anything else give that .qbnn",
    )


def _inflate(text: str, most: int) -> bytes:
    """ValueError for more than `most` bytes: honest files take less than the ONNX file itself."""
    # bzip2, not zlib: it has one implementation, so that a compile gives the same bytes anywhere
    unpacking = bz2.BZ2Decompressor()
    data = unpacking.decompress(base64.b64decode(text, validate=True), most)
    if not unpacking.eof:
        raise ValueError(f"it is cut off, or takes more than {most} bytes")
    return data


def _with_constants(model: Model, change: Change) -> Model:
    """`model` with what `change` makes of each constant.

    It is told the member's prefix, and whether the network computes with the constant as it is.
    """
    members = []
    for number, graph in enumerate(model.members):
        prefix, derived = member_prefix(number, len(model.members)), _multipliers(graph)
        written = _written(graph)
        constants = {
            value: change(value, array, derived.get(value), prefix, value in written)
            for value, array in graph.constants.items()
        }
        members.append(replace(graph, constants=constants))
    return replace(model, members=tuple(members))


def _with_biases(
    model: Model,
    stored: Mapping[str, Tensor],
    interface: tuple[str, ...],
    known: dict[int, Array],
) -> Model:
    """`model`, whose weights are known, with the biases of the layers that hold theirs."""
    members = []
    for number, graph in enumerate(model.members):
        prefix = member_prefix(number, len(model.members))
        for bias, layer in _biases(graph).items():
            tensor = stored.get(onnx_name(layer.output.name, prefix, interface) + BIAS)
            array = graph.constants[bias]
            if tensor is not None and id(array) not in known and not array.any():
                raw = tensor.array().reshape(-1)
                whole = (raw + _folded_terms(layer, graph.constants)).astype(np.int32)
                known[id(array)] = whole
        constants = {value: known.get(id(a), a) for value, a in graph.constants.items()}
        members.append(replace(graph, constants=constants))
    return replace(model, members=tuple(members))


def _biases(graph: Graph) -> dict[Value, Node]:
    """The constant biases that one layer reads, and that layer."""
    found: dict[Value, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, ContractionInteger) and node.op.folded:
            bias = node.inputs[2]
            if bias in graph.constants and graph.only_reader(bias) is node:
                found[bias] = node
    return found


def _folded_terms(layer: Node, constants: Mapping[Value, Array]) -> Array:
    x, weight, _ = layer.inputs
    zeros = np.array(codes_of(weight.type).zero_point, np.int32)
    return channel_sums(constants[weight], zeros).offline_terms(codes_of(x.type).per_tensor[1])


def _left_out(
    value: Value, array: Array, derived: Array | None, prefix: str, written: bool
) -> Array:
    """Zeros for weights and tables, and for multipliers that follow from the scales bit for bit."""
    follows = derived is not None and array.tobytes() == derived.tobytes()
    return np.zeros_like(array) if follows or written else array


def _written(graph: Graph) -> frozenset[Value]:
    """The constants that the network computes with as they are: weights, and tables of codes."""
    tables = (node.inputs[1] for node in graph.nodes if isinstance(node.op, EmbeddingCodes))
    return frozenset(tables).union(v for v in graph.constants if v.type.dtype is DType.I8)


def _put_back(
    stored: Mapping[str, Tensor], interface: tuple[str, ...], known: dict[int, Array]
) -> Change:
    """`known` gets what is put in the place of each array, by its id."""

    def change(
        value: Value, array: Array, derived: Array | None, prefix: str, written: bool
    ) -> Array:
        if written:
            if id(array) not in known:
                name = onnx_name(value.name, prefix, interface)
                known[id(array)] = _restored(name, stored, value.type)
            return known[id(array)]
        return derived if derived is not None and not array.any() else array

    return change


def _multipliers(graph: Graph) -> dict[Value, Array]:
    """m of each requantisation as its scales say: f32(S_acc/S_y)."""
    found: dict[Value, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, Requantize) and (acc := node.inputs[0].type.quant) is not None:
            m = multiplier(acc.scale, node.op.quant.per_tensor[0])
            if m.size == node.inputs[1].type.size:
                found[node.inputs[1]] = m.reshape(node.inputs[1].type.shape)
    return found


def _restored(name: str, stored: Mapping[str, Tensor], type: TensorType) -> Array:
    """The codes of a weight, however its reader wants them, or of a table; KeyError if missing."""
    shape = type.shape
    forms = ("", UNSIGNED, TRANSPOSED, UNSIGNED + TRANSPOSED)
    for suffix in (*forms, *(form + PACKED for form in forms)):
        if (tensor := stored.get(name + suffix)) is not None:
            codes = tensor.array()
            if suffix.endswith(PACKED):
                codes = unpack(codes)
            codes = codes.astype(np.int16) - 128 * (UNSIGNED in suffix)
            if TRANSPOSED in suffix:
                codes = codes.reshape(*shape[:-2], *shape[-2:][::-1]).swapaxes(-1, -2)
            return np.ascontiguousarray(codes.astype(type.dtype.numpy)).reshape(shape)
    raise KeyError(name)
