"""The layers that onnxruntime would compute in float, for tests of what it fuses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from qbnnc.backends.onnx.engine import open_session
from qbnnc.support.files import read_bytes


def float_compute_nodes(model: str | os.PathLike[str] | bytes) -> list[str]:
    """The layers that onnxruntime would still compute in float, as "Conv:conv1.q/real".

    Empty for a file of ours: at its default session options onnxruntime has made an integer
    kernel of every layer. FileError if it cannot load the file.
    """
    path = "the model" if isinstance(model, bytes) else model
    data = model if isinstance(model, bytes) else read_bytes(model)
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        open_session(data, path, None, optimised)
        nodes = _all_nodes(onnx.load_model(optimised).graph)
        return [f"{node.op_type}:{node.output[0]}" for node in nodes if _is_float(node.op_type)]


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and those inside its Scans."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _all_nodes(attribute.g)


def _is_float(kind: str) -> bool:
    """Whether this is a float layer; onnxruntime's fused ones are called FusedConv and so on."""
    return kind.removeprefix("Fused") in {"Conv", "ConvTranspose", "Gemm", "MatMul"}
