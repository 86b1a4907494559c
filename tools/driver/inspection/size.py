"""Bytes, multiply-accumulates, random words and live memory of a graph."""

from __future__ import annotations

from math import prod

from qbnnc.ir.evaluate import last_uses
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2d, Conv2dInteger, Linear, LinearInteger, RandomOp
from qbnnc.ir.rng import LANES_PER_WORD
from qbnnc.ir.types import Axis


def float_bytes(model: Model) -> int:
    """Bytes of the members' weights and biases (of sampled ones: mu and sigma) as float32."""
    return sum(_float_bytes(member) for member in model.members)


def _float_bytes(graph: Graph) -> int:
    producers = graph.producers()
    parameters = {v for n in graph.nodes if macs(n) for v in n.inputs[1:3]}
    sampled = [producers[v] for v in parameters if v in producers]
    sources = {v for n in sampled for v in n.inputs[:2]} | (parameters - set(producers))
    return sum(4 * v.type.size for v in sources)


def constant_bytes(model: Model) -> int:
    """Bytes of all constants as they are stored."""
    return sum(a.nbytes for member in model.members for a in member.constants.values())


def macs(node: Node) -> int:
    """Multiply-accumulates of one row of one sample; 0 for what is no layer."""
    if not isinstance(node.op, Linear | LinearInteger | Conv2d | Conv2dInteger):
        return 0
    return node.output.type.size * prod(node.inputs[1].type.shape[1:])


def random_words(node: Node) -> int:
    """64-bit words drawn for one row of one sample (for one sample, if the rows share them)."""
    if not isinstance(node.op, RandomOp):
        return 0
    return -(-prod(node.op.shape) // LANES_PER_WORD)


def live_bytes(graph: Graph, rows: int, samples: int) -> int:
    """The largest set of values alive at once: a lower bound of any plan's working memory."""
    dies = last_uses(graph)
    alive = _bytes(graph.input, rows, samples)
    peak = alive
    for node in graph.nodes:
        alive += _bytes(node.output, rows, samples)
        peak = max(peak, alive)
        alive -= sum(_bytes(v, rows, samples) for v in dies.get(node, ()))
    return peak


def _bytes(value: Value, rows: int, samples: int) -> int:
    axes = value.type.axes
    count = (rows if Axis.ROW in axes else 1) * (samples if Axis.SAMPLE in axes else 1)
    return value.type.nbytes * count if axes else 0
