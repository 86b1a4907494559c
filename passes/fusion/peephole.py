"""Rewrites of two neighbours: a node and the one that alone reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite

Match: TypeAlias = Callable[[Node, Node], bool]
Replace: TypeAlias = Callable[[Node, Node, Builder], Value]


def rewrite_pairs(graph: Graph, match: Match, replace: Replace) -> Graph:
    """Replace pairs (before, after) until `match` finds none.

    `after` is the only reader of `before`, as its first input. `replace` gets both nodes with their
    inputs rewritten, but the first input of `after` is that of `before`. It returns the value that
    takes the place of the output of `after`.
    """
    while pairs := _disjoint_pairs(graph, match):
        graph = _replace_all(graph, pairs, replace)
    return graph


def _disjoint_pairs(graph: Graph, match: Match) -> dict[Value, Value]:
    """Pairs as a map from the output of `after` to that of `before`; no node is in two pairs."""
    producers, consumers = graph.producers(), graph.consumers()
    taken, pairs = set[Value](), dict[Value, Value]()
    for after in graph.nodes:
        before = producers.get(after.inputs[0]) if after.inputs else None
        if before is None or before.output in taken or before.output in graph.outputs:
            continue
        if consumers[before.output] == [after] and match(before, after):
            pairs[after.output] = before.output
            taken |= {before.output, after.output}
    return pairs


def _replace_all(graph: Graph, pairs: dict[Value, Value], replace: Replace) -> Graph:
    befores, held = set(pairs.values()), dict[Value, Node]()

    def rule(node: Node, build: Builder) -> Value | None:
        if node.output in befores:
            held[node.output] = node
            return node.inputs[0]
        if node.output in pairs:
            return replace(held[pairs[node.output]], node, build)
        return None

    return rewrite(graph, rule)
