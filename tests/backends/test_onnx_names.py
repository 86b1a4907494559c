"""The names of nodes in the ONNX file: what a viewer shows of them."""

from __future__ import annotations

import onnx
from hypothesis import given

from qbnnc.backends.onnx import emit
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.backends.equality import EVERY_MODEL
from tests.backends.networks import proto_of
from tests.examples import examples
from tests.graphs import inputs, resnet


def compiled(*seeds: int) -> Model:
    graphs = tuple(resnet(seed) for seed in seeds)
    options = Options(calibration=Calibration(passes=1))
    return quantise_model(
        Model(graphs, Head(Task.CLASSIFICATION), draws=2), inputs(graphs[0]), options
    )


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of a graph, and those inside its Scans."""
    inner = [n for node in graph.node for a in node.attribute for n in all_nodes(a.g)]
    return [*graph.node, *inner]


@examples(30)
@given(EVERY_MODEL)
def test_every_node_has_a_name_of_its_own(model: Model) -> None:
    for inline in (False, True):
        proto = onnx.load_model_from_string(emit(model, inline=inline))
        nodes = all_nodes(proto.graph)
        names = [node.name for node in nodes]
        assert len(set(names)) == len(names)
        assert all(node.name.rpartition("/")[2].partition(".")[0] == node.op_type for node in nodes)


def test_nodes_are_called_after_layers() -> None:
    """What onnxruntime fuses has the layer's own name, and not the ReLU's after it."""
    nodes = {node.name: node for node in proto_of(compiled(0)).graph.node}
    for layer in ("conv", "block1.conv1", "block2.conv2", "fc"):
        kind = "Gemm" if layer == "fc" else "Conv"
        assert f"{layer}/{kind}" in nodes, layer
        assert f"{layer}/DequantizeLinear" in nodes
    assert "block1.conv1/QuantizeLinear" in nodes
    assert nodes["block1.conv1/Conv"].doc_string.startswith("block1.relu1")
    assert {"head/Softmax", "probabilities/Cast"} <= nodes.keys()
    assert not any(".codes/" in name for name in nodes)


def test_members_are_told_apart() -> None:
    names = {node.name for node in proto_of(compiled(0, 1)).graph.node}
    for member in ("member0", "member1"):
        assert f"{member}/block1.conv1/Conv" in names
        assert f"{member}/fc/Gemm" in names
