"""Everything `qbnnc inspect` says, as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.head import Task, class_shape, is_binary
from qbnnc.ir.ids import raw_values
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import Spread
from qbnnc.ir.types import CONSTANT, Axis, DType, QuantParams, Stage
from qbnnc.support.several_inputs import Entries


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
    inputs: Entries
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
    """The inspection of a Model; its nodes are those of the first member."""
    graph = model.graph
    nodes = tuple(_node(graph, node) for node in graph.nodes)
    return Inspection(
        stage=model.stage.name,
        method=model.method,
        task=model.head.task.value,
        inputs=model.inputs,
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
    """Whether the only float values are the inputs, moved or not, and the outputs."""
    floats = {n.output for n in graph.nodes if n.output.type.dtype is DType.F32}
    given = raw_values(graph)
    return graph.stage is Stage.INTEGER and floats <= {*graph.outputs, *given}


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
        weight_bits=None if weight is None else _weight_bits(graph, node.inputs[1], weight),
        macs=macs(node),
        random_words=random_words(node),
        accumulators=accumulator_bounds(graph, node),
    )


def _weight_bits(graph: Graph, weight: Value, quant: QuantParams) -> int:
    """The bits of a weight: those of the widest channel where zero points are folded into codes.

    Channels with different zero points then reach further together than any of them.
    """
    codes = graph.constants.get(weight)
    if codes is None or quant.bits == 8 or graph.stage is not Stage.INTEGER:
        return quant.bits
    rows = codes.reshape(len(codes), -1).astype(int)
    spans = np.maximum(rows.max(axis=1), 0) - np.minimum(rows.min(axis=1), 0)
    return min(quant.bits, max(2, int(spans.max()).bit_length()))


_WORDS = {
    Spread.LOG_VARIANCE: "log variance",
    Spread.VARIANCE: "variance",
    Spread.STD: "standard deviation",
    Spread.LOG_STD: "log standard deviation",
}


@dataclass(frozen=True, slots=True)
class OutputReport:
    """`samples` is what its samples are called, `meaning` what else is known of it, or "".

    `constant`: the same for every input.
    """

    samples: str
    meaning: str
    shape: tuple[int, ...]
    constant: bool

    def __str__(self) -> str:
        words = ", ".join(filter(None, (self.meaning, "constant" * self.constant)))
        return f"{self.samples} {list(self.shape)}" + (f" ({words})" if words else "")


def outputs_of(model: Model) -> tuple[OutputReport, ...]:
    """The outputs in order."""
    values = model.graph.outputs
    names = model.head.sample_names(len(values))
    return tuple(
        OutputReport(name, meaning, value.type.shape, value.type.axes == CONSTANT)
        for name, meaning, value in zip(names, _meanings(model), values, strict=True)
    )


def describe_outputs(model: Model) -> str:
    """ "samples [1] (mean), samples_log_var [1] (log variance); aleatoric = exp(log_var)"."""
    text = ", ".join(map(str, outputs_of(model)))
    if model.head.task is Task.REGRESSION and len(model.graph.outputs) == 2:
        text += f"; aleatoric = mean of {model.head.spread.formula}"
    return text


def _meanings(model: Model) -> tuple[str, ...]:
    head, shapes = model.head, [value.type.shape for value in model.graph.outputs]
    match head.task:
        case Task.CLASSIFICATION if is_binary(shapes[0]):
            return ("logit of class 1 of 2",)
        case Task.CLASSIFICATION:
            return (f"logits of {class_shape(shapes[0])[0]} classes",)
        case Task.REGRESSION:
            return ("mean", _WORDS[head.spread])[: len(shapes)]
        case _:
            return head.outputs if len(shapes) == 1 and head.outputs else ("",) * len(shapes)
