"""Everything `qbnnc inspect` says, as data."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.inspection.outputs import OutputReport, outputs_of
from qbnnc.inspection.size import (
    constant_bytes,
    float_bytes,
    live_bytes,
    macs,
    random_words,
    shared_bytes,
    shared_macs,
)
from qbnnc.ir import format
from qbnnc.ir.bounds import AccumulatorBounds, accumulator_bounds
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.model import Model
from qbnnc.ir.types import Axis, DType, Stage


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node. `scale` and `zero_point` are the least and greatest over the channels."""

    node: str
    op: str
    place: str
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    scale: tuple[float, float] | None
    zero_point: tuple[int, int] | None
    bits: int | None
    weight_bits: int | None
    macs: int
    random_words: int
    accumulators: AccumulatorBounds | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A Model. MACs and words are per row: `prefix_macs` once, the others for every sample.

    `shared_macs` of the prefix's are done once for all members, the others for each. `shared_bytes`
    of constants are not stored again, because an earlier member has the same.

    `integer`: every value between the input quantiser and the dequantised outputs is an integer.
    `live_bytes`: the largest set of values alive at once, for 1 row and `samples` samples.
    """

    stage: str
    method: str
    task: str
    outputs: tuple[OutputReport, ...]
    left_out: str
    bits: str
    weights: str
    calibration: str
    training: str
    distribution: str
    compiler: str
    members: int
    samples: int
    digest: str
    integer: bool
    prefix_macs: int
    sample_macs: int
    sample_words: int
    shared_macs: int
    constant_bytes: int
    shared_bytes: int
    float_bytes: int
    file_bytes: int
    live_bytes: int
    nodes: tuple[NodeReport, ...]


def inspect(model: Model, file_bytes: int) -> Inspection:
    """What there is to say about a Model; nodes are those of the first member."""
    graph = model.graph
    nodes = tuple(_node(graph, node) for node in graph.nodes)
    return Inspection(
        stage=model.stage.name,
        method=model.method,
        task=model.head.task.value,
        outputs=outputs_of(model),
        left_out=model.provenance.left_out,
        bits=model.provenance.bits,
        weights=model.provenance.weights,
        calibration=model.provenance.calibration,
        training=model.provenance.training,
        distribution=model.provenance.distribution,
        compiler=model.provenance.compiler,
        members=len(model.members),
        samples=model.samples,
        digest=format.digest(model),
        integer=is_integer(graph),
        prefix_macs=sum(n.macs for n in nodes if Axis.SAMPLE.value not in n.axes),
        sample_macs=sum(n.macs for n in nodes if Axis.SAMPLE.value in n.axes),
        sample_words=sum(n.random_words for n in nodes),
        shared_macs=shared_macs(model),
        constant_bytes=constant_bytes(model),
        shared_bytes=shared_bytes(model),
        float_bytes=float_bytes(model),
        file_bytes=file_bytes,
        live_bytes=live_bytes(graph, 1, model.samples),
        nodes=nodes,
    )


def is_integer(graph: Graph) -> bool:
    """Whether the only float values are the input and the outputs."""
    floats = {n.output for n in graph.nodes if n.output.type.dtype is DType.F32}
    return graph.stage is Stage.INTEGER and floats <= set(graph.outputs)


def _node(graph: Graph, node: Node) -> NodeReport:
    type_ = node.output.type
    quant = type_.quant
    weight = node.inputs[1].type.quant if macs(node) else None
    return NodeReport(
        node=node.output.name,
        op=node.op.name,
        place=str(node.loc),
        dtype=type_.dtype.value,
        shape=type_.shape,
        axes=tuple(a.value for a in Axis if a in type_.axes),
        scale=None if quant is None else (min(quant.scale), max(quant.scale)),
        zero_point=None if quant is None else (min(quant.zero_point), max(quant.zero_point)),
        bits=None if quant is None else quant.bits,
        weight_bits=None if weight is None else weight.bits,
        macs=macs(node),
        random_words=random_words(node),
        accumulators=accumulator_bounds(graph, node),
    )
