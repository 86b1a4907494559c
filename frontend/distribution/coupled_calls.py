"""The module and the graph on the same random numbers: their outputs must be equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.frontend.distribution.draw_plan import plan_of
from qbnnc.frontend.distribution.reference import Call, Reference
from qbnnc.frontend.distribution.supplied_draws import SuppliedDraws, UnmatchedDraw, lanes_of
from qbnnc.ir.evaluate import Observer, evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array

CALLS = 24
_SEED = 20_250_831


@dataclass(frozen=True, slots=True)
class Unequal:
    """The first value that differs; or, where `draw` is not empty, the draw without a match."""

    output: int
    call: int
    row: int
    module: float
    graph: float
    draw: str = ""


def coupled(
    reference: Reference, graph: Graph, x: NDArray[np.float32], calls: int = CALLS
) -> Unequal | None:
    """Compare graph and module in `calls` calls on the rows x [B, *shape]; None if they agree.

    Every random number of the module comes from the stream that stands for it. The module's state
    is not restored between calls.
    """
    with reference.opened() as call:
        try:
            made = supplied_outputs(reference, graph, call, x, range(calls))
        except UnmatchedDraw as error:
            return Unequal(0, 0, 0, 0.0, 0.0, str(error))
    wanted = graph_outputs(graph, x, range(calls))
    for output, (ours, theirs) in enumerate(zip(wanted, made, strict=True)):
        if np.broadcast_shapes(ours.shape[2:], theirs.shape[2:]) != ours.shape[2:]:
            return Unequal(output, 0, 0, 0.0, 0.0, _shapes(output, ours, theirs))
        if (found := first_unequal(ours, theirs, reference.tolerance)) is not None:
            call_number, row, module, compiled = found
            return Unequal(output, call_number, row, module, compiled)
    return None


def supplied_outputs(
    reference: Reference, graph: Graph, call: Call, x: NDArray[np.float32], samples: range
) -> list[Array]:
    """The module's outputs [L, B, *shape] with the random numbers of these samples."""
    traced = reference.traced
    plan = plan_of(traced.program, traced.functional, traced.draws, traced.signs)
    draws = SuppliedDraws(plan, lanes_of(graph), len(x), _SEED)
    rows, made = reference.input(x), list[list[Array]]()
    for sample in samples:
        draws.begin(sample)
        with draws:
            outputs = call(rows)
        draws.finish()
        made.append([as_array(output) for output in outputs])
    return [np.stack(column) for column in zip(*made, strict=True)]


def graph_outputs(
    graph: Graph, x: NDArray[np.float32], samples: range, observe: Observer | None = None
) -> list[Array]:
    """The graph's outputs for the same samples, [L or 1, B or 1, *shape]."""
    with np.errstate(all="ignore"):
        draw = Draw.of(_SEED, samples, range(len(x)))
        return [np.asarray(a, np.float64) for a in evaluate(graph, x, draw, observe)]


def as_array(tensor: Tensor) -> Array:
    """A tensor as float64, detached."""
    array: Array = tensor.detach().to("cpu", torch.float64).numpy().copy()
    return array


def first_unequal(
    graph: Array, module: Array, tolerance: float
) -> tuple[int, int, float, float] | None:
    """(sample, row, module's value, graph's) of the first value that differs; None if none."""
    wide = np.broadcast_to(graph, np.broadcast_shapes(graph.shape, module.shape))
    module = np.broadcast_to(module, wide.shape)
    finite = np.isfinite(module)
    largest = np.abs(module[finite]).max(initial=0.0)
    close = np.abs(wide - module) <= tolerance * largest + 1e-12
    equal = np.where(finite, close, (wide == module) | (np.isnan(wide) & np.isnan(module)))
    if equal.all():
        return None
    place = tuple(np.argwhere(~equal)[0])
    return int(place[0]), int(place[1]), float(module[place]), float(wide[place])


def _shapes(output: int, graph: Array, module: Array) -> str:
    return (
        f"output {output} is {list(module.shape[1:])} in the module, and rows of "
        f"{list(graph.shape[2:])} in the compiled network"
    )
