"""The digest of an ONNX file's content: the file is whole, and is as qbnnc wrote it.

The metadata property "content" is the SHA-256 of the whole ModelProto without that property, as
protobuf writes it deterministically. It covers every node, attribute, initializer and function, and
even fields that this version of onnx does not know. It is no signature: it finds changes by tools
and accidents, and does not tell who made the file.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator

import onnx

from qbnnc.support.errors import ArtefactWarning, FileError

KEY = "content"


def content_digest(proto: onnx.ModelProto) -> str:
    """The digest of a file that does not hold it yet."""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def check_content(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Raise FileError if a file was changed or has parts elsewhere; take the digest out of it.

    ArtefactWarning for a file of a qbnnc that wrote no digest: no change of it can be noticed.
    """
    _check_whole(proto, path)
    stored = [entry for entry in proto.metadata_props if entry.key == KEY]
    if not stored:
        warnings.warn(
            f"{os.fspath(path)}: made by an older qbnnc, which wrote no digest of the graph, so "
            "that a change of it would not be noticed: compile it again",
            ArtefactWarning,
            stacklevel=2,
        )
        return
    for entry in stored:
        proto.metadata_props.remove(entry)
    if len(stored) > 1 or stored[0].value != content_digest(proto):
        raise FileError("changed after qbnnc made it", path, remedy="compile it again")


def _check_whole(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """FileError if a tensor lies in another file, which onnxruntime would open."""
    nodes = [node for function in proto.functions for node in function.node]
    for tensor in (*_tensors_in(nodes), *_tensors(proto.graph)):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise FileError(
                f"the tensor {tensor.name[:60]!r} lies in another file, and files of qbnnc are "
                "whole",
                path,
                remedy="compile the model again",
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _parts(graph.sparse_initializer)
    yield from _tensors_in(graph.node)


def _tensors_in(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors in attributes of nodes, and of the nodes of graphs in these."""
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            yield from _parts((attribute.sparse_tensor, *attribute.sparse_tensors))
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)


def _parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)
