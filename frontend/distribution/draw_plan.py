"""The plan of a call: the module's draws in order, each with the streams that stand for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import fx
from torch.export import ExportedProgram

from qbnnc.frontend.convert.draw_sources import DrawSource
from qbnnc.frontend.distribution.supplied_draws import Part, Planned, distribution_of
from qbnnc.frontend.program.locations import location
from qbnnc.frontend.program.random_ops import DROPOUTS, draws_noise, op_name


def plan_of(
    program: ExportedProgram,
    functional: ExportedProgram,
    draws: Sequence[DrawSource],
    signs: frozenset[fx.Node] = frozenset(),
) -> tuple[Planned, ...]:
    """The draws of one call, in order; `program` is in torch's training IR.

    `functional` has lost the draws that nothing depends on. Its nodes name the nodes of `program`
    that they come from. Its nodes `signs` draw the random signs of Flipout.
    """
    nodes = list(_drawing(program.graph_module))
    parts: dict[fx.Node, list[Part]] = {}
    for number, source in enumerate(draws):
        for node, part in _parts(number, source):
            parts.setdefault(node, []).append(part)
    origin = _origins(nodes, list(_drawing(functional.graph_module)))
    made_of = {before: after for after, before in origin.items()}
    return tuple(
        Planned(
            distribution_of(op_name(node)),
            tuple(parts.get(made_of.get(node, node), ())),
            made_of.get(node) in signs,
            str(location(node)),
        )
        for node in nodes
    )


def _parts(stream: int, source: DrawSource) -> Iterator[tuple[fx.Node, Part]]:
    """Yield each node of a source with its part of the stream.

    `elements` come first for COUPLED_ROWS or the program's batch.
    """
    if not source.more:
        places = None if source.elements is None else source.elements[0].numpy()
        yield source.node, Part(stream, source.low, places)
        return
    start = 0
    for node in (source.node, *source.more):
        stop = start + node.meta["val"].numel()
        yield node, Part(stream, source.low, None, (start, stop))
        start = stop


def _drawing(module: torch.nn.Module) -> Iterator[fx.Node]:
    """Yield the nodes that draw, in the order of their runs, wrapped regions included."""
    assert isinstance(module, fx.GraphModule)
    for node in module.graph.nodes:
        for argument in node.all_input_nodes:
            if argument.op == "get_attr" and isinstance(
                inner := getattr(module, str(argument.target), None), fx.GraphModule
            ):
                yield from _drawing(inner)
        if draws_noise(node) and not _draws_nothing(node):
            yield node


def _draws_nothing(node: fx.Node) -> bool:
    """Whether this is a dropout with p = 0, which draws no numbers."""
    return op_name(node) in DROPOUTS and len(node.args) > 1 and bool(node.args[1] == 0)


def _origins(before: list[fx.Node], after: list[fx.Node]) -> dict[fx.Node, fx.Node]:
    """The node of `before` that each node of `after` comes from."""
    if len(before) == len(after):
        return dict(zip(after, before, strict=True))
    by_name: dict[str, list[fx.Node]] = {}
    for node in before:
        by_name.setdefault(node.name, []).append(node)
    found = dict[fx.Node, fx.Node]()
    for node in after:
        named = [by_name.get(name, []) for name in _names(node.meta.get("from_node") or ())]
        origin = next((nodes[0] for nodes in named if len(nodes) == 1), None)
        if origin is not None:
            found[node] = origin
    return found


def _names(sources: Sequence[object]) -> Iterator[str]:
    for source in sources:
        yield str(getattr(source, "name", ""))
        yield from _names(getattr(source, "from_node", None) or ())
