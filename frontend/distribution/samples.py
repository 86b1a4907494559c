"""Samples of the module and of the graph, each with random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.frontend.distribution.coupled_calls import as_array
from qbnnc.frontend.distribution.reference import Call, Reference
from qbnnc.frontend.distribution.statistics import Float64
from qbnnc.frontend.program.nodes import batch_of, the_input
from qbnnc.ir.evaluate import broadcast_output, evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Contraction
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, Axis

Tell: TypeAlias = Callable[[int], None]  # called with the number of samples just drawn

_SEED = 20_260_113
_MOST_ELEMENTS = 16  # compared in one output
_MOST_TOGETHER = 32  # compared in all outputs
_ROWS_AT_ONCE = 64  # of the graph
_ROWS = 256  # in one call of the module


@dataclass(frozen=True, slots=True)
class Element:
    """A compared element: the number of its output, and its row-major place in a row."""

    output: int
    place: int


def elements_of(graph: Graph) -> tuple[Element, ...]:
    """Evenly spaced elements of each output."""
    each = max(1, min(_MOST_ELEMENTS, _MOST_TOGETHER // len(graph.outputs)))
    return tuple(
        Element(number, int(place))
        for number, value in enumerate(graph.outputs)
        for place in dict.fromkeys(
            np.linspace(0, value.type.size - 1, min(each, value.type.size)).round().astype(int)
        )
    )


def module_samples(
    reference: Reference, x: NDArray[np.float32], count: int, tell: Tell | None = None
) -> Float64:
    """The elements [N, B, E] of `count` calls in sequence, as a user would make them."""
    chosen = elements_of(reference.traced.graph)
    rows = reference.input(x)
    made = np.empty((count, len(x), len(chosen)))
    with reference.opened(own_draws=True) as call:
        torch.manual_seed(_SEED)
        for sample in range(count):
            outputs = [as_array(output) for output in call(rows)]
            made[sample] = _taken([o[None] for o in outputs], chosen, 1, len(x))[0]
            if tell is not None:
                tell(1)
    return made


def graph_samples(
    graph: Graph, x: NDArray[np.float32], count: int, tell: Tell | None = None
) -> Float64:
    """The elements [N, B, E] of `count` samples of the graph, computed by the oracle."""
    chosen, step = elements_of(graph), max(1, _ROWS_AT_ONCE // len(x))
    parts = list[Float64]()
    with np.errstate(all="ignore"):
        for start in range(0, count, step):
            numbers = range(start, min(start + step, count))
            outputs = list(evaluate(graph, x, Draw.of(_SEED, numbers, range(len(x)))))
            parts.append(_taken(outputs, chosen, len(numbers), len(x)))
            if tell is not None:
                tell(len(numbers))
    return np.concatenate(parts)


def _taken(outputs: list[Array], chosen: tuple[Element, ...], samples: int, rows: int) -> Float64:
    wide = [
        broadcast_output(o, samples, rows).reshape(samples, rows, -1).astype(np.float64)
        for o in outputs
    ]
    return np.stack([wide[e.output][..., e.place] for e in chosen], axis=-1)


def cost_of_sample(graph: Graph) -> int:
    """The multiplications of one row of one sample, in layers that vary with the sample."""
    total = 0
    for node in graph.nodes:
        if Axis.SAMPLE in node.output.type.axes and isinstance(node.op, Contraction):
            taps = prod(node.inputs[1].type.shape[1:])
            total += taps * node.output.type.size
    return total


def reference_samples(
    references: Sequence[Reference],
    x: NDArray[np.float32],
    samples: int,
    seed: int,
    tell: Tell | None = None,
) -> list[Array]:
    """Each output of the modules, float64 [samples, B, *shape]; sample s has member s mod M.

    `samples` is a multiple of the number of members M. torch's generator is seeded once a member.
    """
    members = len(references)
    parts = [
        _member_samples(reference, x, samples // members, seed * members + number, tell)
        for number, reference in enumerate(references)
    ]
    whole = [np.empty((samples, *output.shape[1:])) for output in parts[0]]
    for number, outputs in enumerate(parts):
        for made, output in zip(whole, outputs, strict=True):
            made[number::members] = output
    return whole


def _member_samples(
    reference: Reference, x: NDArray[np.float32], count: int, seed: int, tell: Tell | None
) -> list[Array]:
    batch = batch_of(the_input(reference.traced.program))
    step = batch if isinstance(batch, int) else _ROWS
    made = list[list[Array]]()
    with reference.opened(own_draws=True) as call:
        torch.manual_seed(seed)
        for _ in range(count):
            made.append(_one_sample(reference, call, x, step))
            if tell is not None:
                tell(1)
    return [np.stack(column) for column in zip(*made, strict=True)]


def _one_sample(reference: Reference, call: Call, x: NDArray[np.float32], step: int) -> list[Array]:
    """One call for each `step` rows; a program with a fixed batch gets the last one filled up."""
    parts = list[list[Array]]()
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        short = step - len(rows) if step != _ROWS else 0
        filled = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)])
        parts.append([as_array(output)[: len(rows)] for output in call(reference.input(filled))])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
