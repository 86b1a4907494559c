"""The first of the user's modules whose output departs from the graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qbnnc.frontend.distribution.coupled_calls import (
    as_array,
    first_unequal,
    graph_outputs,
    supplied_outputs,
)
from qbnnc.frontend.distribution.reference import Reference
from qbnnc.frontend.distribution.supplied_draws import UnmatchedDraw
from qbnnc.frontend.program.locations import shown
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.types import Array
from qbnnc.support.errors import Loc


@dataclass(frozen=True, slots=True)
class Departure:
    """A module of the user's that departs: its place, and its class `kind`."""

    loc: Loc
    kind: str


def first_departure(
    reference: Reference, x: NDArray[np.float32], samples: range
) -> Departure | None:
    """The first module whose output departs from its value in the graph; None if none does.

    The FLOAT graph is compared as it was converted, before any pass.
    """
    if reference.is_program:
        return None
    graph = reference.traced.graph
    seen = _module_outputs(reference, graph, x, samples)
    values, wanted = dict[str, Array](), _values_by_module(graph)

    def observe(value: Value, array: Array) -> None:
        if value.name in wanted.values():
            values[value.name] = np.asarray(array, np.float64)

    graph_outputs(graph, x, samples, observe)
    locs = {node.output.name: node.loc for node in graph.nodes}
    order = {node.output.name: i for i, node in enumerate(graph.nodes)}
    modules = reference.module.named_modules()
    kinds = {shown(path): type(module).__name__ for path, module in modules}
    for path, name in sorted(wanted.items(), key=lambda item: order[item[1]]):
        made = seen.get(path)
        if made is None or made.shape[2:] != values[name].shape[2:]:
            continue
        if first_unequal(values[name], made, 10 * reference.tolerance) is not None:
            return Departure(locs[name], kinds.get(path, ""))
    return None


def _values_by_module(graph: Graph) -> dict[str, str]:
    """The name of the last value of each module, by the module's path."""
    return {node.loc.module: node.output.name for node in graph.nodes}


def _module_outputs(
    reference: Reference, graph: Graph, x: NDArray[np.float32], samples: range
) -> dict[str, Array]:
    """The outputs [L, B, *shape] of each module that forward calls exactly once, by path."""
    calls = list[dict[str, list[Array]]]()
    with reference.opened() as call, _watched(reference.module) as seen:

        def watched(rows: Tensor) -> list[Tensor]:
            seen.clear()
            outputs = call(rows)
            calls.append(dict(seen))
            return outputs

        try:
            supplied_outputs(reference, graph, watched, x, samples)
        except UnmatchedDraw:
            return {}
    once = [path for path in calls[0] if all(len(c.get(path, ())) == 1 for c in calls)]
    found = dict[str, Array]()
    for path in once:
        arrays = [c[path][0] for c in calls]
        if all(a.shape == arrays[0].shape for a in arrays):
            found[path] = np.stack(arrays)
    return found


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, list[Array]]]:
    """Record the first output tensor of each module, by its path."""
    seen: dict[str, list[Array]] = {}

    def hook_of(path: str) -> object:
        def hook(_: nn.Module, __: object, output: object) -> None:
            tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
            if tensors and tensors[0].ndim:
                seen.setdefault(path, []).append(as_array(tensors[0]))

        return hook

    handles = [
        child.register_forward_hook(hook_of(shown(path)))
        for path, child in module.named_modules()
        if shown(path)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
