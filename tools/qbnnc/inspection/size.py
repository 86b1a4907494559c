"""Bytes, multiply-accumulates, random words and live memory of a graph."""

from __future__ import annotations

from math import prod

from qbnnc.ir.evaluate import last_uses
from qbnnc.ir.format import shared_tensors
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Contraction,
    ContractionInteger,
    MatrixProduct,
    RandomOp,
    SampledWeight,
    SampledWeightInteger,
)
from qbnnc.ir.rng import LANES_PER_WORD
from qbnnc.ir.sharing import common_values
from qbnnc.ir.types import Axis


def float_bytes(model: Model) -> int:
    """Bytes of weights and biases as float32.

    A sampled one has those of mu and sigma, and a chosen one those of all its members. What members
    of an ensemble share counts once.
    """
    known = _shared_by_members(model)
    return sum(_float_bytes(member, known[i]) for i, member in enumerate(model.members))


def _float_bytes(graph: Graph, known: set[str]) -> int:
    sources, producers, seen = set[Value](), graph.producers(), set[Value]()
    made_of = [v for n in graph.nodes if _is_layer(n) for v in n.inputs[1:3]]
    while made_of:
        value = made_of.pop()
        node = producers.get(value)
        if value in seen:
            continue
        seen.add(value)
        if node is None:
            sources.add(value)
        else:  # a mask, an index and noise are no parameters
            both = isinstance(node.op, SampledWeight | SampledWeightInteger)
            made_of += node.inputs[: 1 + both]
    return sum(4 * v.type.size for v in sources if v.name not in known)


def constant_bytes(model: Model) -> int:
    """Bytes of all constants as they are stored; what members share counts once."""
    every = sum(a.nbytes for member in model.members for a in member.constants.values())
    return every - shared_bytes(model)


def shared_bytes(model: Model) -> int:
    """Bytes of the constants that are not stored, because an earlier member's are the same."""
    known = _shared_by_members(model)
    return sum(
        array.nbytes
        for number, member in enumerate(model.members)
        for value, array in member.constants.items()
        if value.name in known[number]
    )


def shared_macs(model: Model) -> int:
    """Multiply-accumulates of a row that are done once for all members."""
    common = common_values(model.members)[0]
    return sum(macs(node) for node in model.graph.nodes if node.output in common)


def _shared_by_members(model: Model) -> list[set[str]]:
    """For each member the tensors that equal one of an earlier member."""
    names: list[set[str]] = [set() for _ in model.members]
    if len(names) > 1:
        for name, owner in shared_tensors(model).items():
            (member, mine), (other, _) = name.split("/", 1), owner.split("/", 1)
            if member != other:
                names[int(member)].add(mine)
    return names


def macs(node: Node) -> int:
    """Multiply-accumulates of one row of one sample; 0 for what is no layer."""
    if isinstance(node.op, MatrixProduct):
        return node.output.type.size * node.inputs[0].type.shape[-1]
    if not _is_layer(node):
        return 0
    return node.output.type.size * prod(node.inputs[1].type.shape[1:])


def _is_layer(node: Node) -> bool:
    return isinstance(node.op, Contraction | ContractionInteger)


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
