"""One evaluation of a graph in PyTorch: one Monte-Carlo sample of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from qbnnc.backends.torch.constants import Constants
from qbnnc.backends.torch.grid import Grid
from qbnnc.backends.torch.noise import NoiseSource
from qbnnc.backends.torch.operators import apply
from qbnnc.backends.torch.quantizers import ValueQuantizer, WeightQuantizer
from qbnnc.backends.torch.roles import (
    Bias,
    Fixed,
    Moment,
    NoiseGrid,
    Observed,
    Role,
    SameGrid,
    Stretched,
    Weight,
)
from qbnnc.ir.evaluate import last_uses
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import FakeQuantize, RandomOp
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import activation_quant, sampling_quants
from qbnnc.ir.types import EPS_QUANT, Axis, QuantParams
from qbnnc.support.errors import CompileError

_BIAS_CODES = 2.0**23


class GridSource(Protocol):
    """A source of the grids of all FakeQuantize nodes, asked in the graph's order."""

    def of(self, node: Node, seen: Tensor | None) -> Grid:
        """The grid of a FakeQuantize; `seen`, what it is about to round, may move its range."""

    def follow(self, node: Node) -> None:
        """Tell that any other node has been reached."""


class StoredGrids:
    """The grids as the graph has them."""

    def of(self, node: Node, seen: Tensor | None) -> Grid:
        assert isinstance(node.op, FakeQuantize)
        return Grid.of(node.op.quant, torch.device("cpu") if seen is None else seen.device)

    def follow(self, node: Node) -> None:
        pass


class Grids:
    """The grid of every FakeQuantize, worked out in the graph's order from ranges and weights."""

    def __init__(
        self, roles: Mapping[Node, Role], constants: Constants, quantizers: Mapping[str, nn.Module]
    ) -> None:
        self._roles, self._constants, self._quantizers = roles, constants, quantizers
        self._nodes = {node.output: node for node in roles}
        self._of: dict[Value, Grid] = {}
        self._of_group: dict[Value, Grid] = {}

    def follow(self, node: Node) -> None:
        """Pass the grid of an op's input on if the op keeps codes, stretched by a mask's factor."""
        kept = self._of.get(node.inputs[0]) if node.inputs else None
        if kept is not None and node.output.type.quant is not None:
            factor = node.op.grid_factor
            self._of[node.output] = kept if factor == 1.0 else kept.scaled(factor)

    def of(self, node: Node, seen: Tensor | None) -> Grid:
        """The grid of a FakeQuantize; `seen`, what it is about to round, may move its range."""
        grid = self._grid(node, self._roles[node], seen)
        self._of[node.output] = grid
        return grid

    def _grid(self, node: Node, role: Role, seen: Tensor | None) -> Grid:
        match role:
            case Observed(group, place, members):
                quantizer = self._quantizers[key_of(group)]
                assert isinstance(quantizer, ValueQuantizer)
                if seen is not None:
                    every = seen if members is None else self._constants[members]
                    quantizer.observe(every, place)
                if group not in self._of_group:  # all of a group are rounded to one grid
                    self._of_group[group] = quantizer.grid()
                return self._of_group[group]
            case Weight(x, bias):
                quantizer = self._quantizers[key_of(node.output)]
                assert isinstance(quantizer, WeightQuantizer)
                largest = self._constants.spread(bias).detach().abs().amax(dim=1).double()
                least = largest / (self._of[x].scale.detach().double() * _BIAS_CODES)
                return quantizer.grid(self._constants.spread(node.inputs[0]), least)
            case Bias(x, weight):
                if weight not in self._of:  # it may stand after its bias
                    self.of(self._nodes[weight], None)
                return self._accumulators(self._of[x], self._of[weight])
            case SameGrid(of):
                return self._of[of]
        return Grid.of(self._derived(node, role), self._constants.device)

    def _derived(self, node: Node, role: Role) -> QuantParams:
        match role:
            case Stretched(of, factor):
                grid = self._of[of].quant()
                scale, zero = grid.per_tensor
                low, high = ((code - zero) * scale * factor for code in (grid.low, grid.high))
                return activation_quant(low, high, grid.bits, pow2=True)
            case Moment(mu, sigma, index):
                quant = codes_of(node.output.type)
                mean, deviation = (self._constants[m].detach().cpu().numpy() for m in (mu, sigma))
                per_channel = quant.axis is not None
                return sampling_quants(mean, deviation, quant.bits, channels=per_channel)[index]
            case NoiseGrid():
                return EPS_QUANT
            case Fixed():
                return codes_of(node.output.type)
        raise CompileError("has no grid", node.loc)

    @staticmethod
    def _accumulators(x: Grid, weight: Grid) -> Grid:
        """The grid of accumulators, f32(S_x*S_w), as in `bias_quant`; scales get no gradient."""
        scale = (x.scale * weight.scale).detach()
        axis = None if len(scale) == 1 else 0
        return Grid(scale, torch.zeros_like(scale), -(2**30), 2**30, axis)


def key_of(value: Value) -> str:
    """A value's name as a key that PyTorch takes."""
    return value.name.replace(".", "/")


class Evaluation:
    """An evaluation of a graph for one sample. `constants` gives the tensors of its constants.

    Without `grids` a FakeQuantize does nothing, and this is the network before quantisation.
    """

    def __init__(
        self, graph: Graph, constants: Callable[[Value], Tensor], grids: GridSource | None = None
    ) -> None:
        self._graph, self._constants, self._grids = graph, constants, grids
        self._dies, self._kept = last_uses(graph), _kept(graph)

    def outputs(
        self, x: Tensor, noise: NoiseSource, known: dict[Value, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """The outputs [B or 1, ...] for x [B, *shape].

        `known` is empty for the first sample. It carries values that do not vary with the sample,
        and are needed again, to the next.
        """
        values = {self._graph.input: x, **(known or {})}
        is_first = not known
        for node in self._graph.nodes:
            if is_first or _varies(node):
                values[node.output] = self.value_of(node, values, noise, x)
                if known is not None and node.output in self._kept:
                    known[node.output] = values[node.output]
            for value in self._dies.get(node, ()):
                values.pop(value, None)
        return tuple(self._given(value, values) for value in self._graph.outputs)

    def value_of(
        self, node: Node, values: Mapping[Value, Tensor], noise: NoiseSource, x: Tensor
    ) -> Tensor:
        """The value of one node, given those of its inputs; `x` tells rows and device."""
        if isinstance(node.op, RandomOp):
            return noise.draw(node.op, len(x), x)
        inputs = [self._given(v, values) for v in node.inputs]
        if isinstance(node.op, FakeQuantize):
            x = inputs[0]
            return x if self._grids is None else self._grids.of(node, x).round(x)
        if self._grids is not None:
            self._grids.follow(node)
        return apply(node, inputs)

    def _given(self, value: Value, values: Mapping[Value, Tensor]) -> Tensor:
        """A value that is computed already, or a constant [1, *shape]."""
        return self._constants(value)[None] if value in self._graph.constants else values[value]


def _varies(node: Node) -> bool:
    return Axis.SAMPLE in node.output.type.axes


def _kept(graph: Graph) -> frozenset[Value]:
    """Values that do not vary with the sample, and are outputs or read by nodes that do."""
    read = {value for node in graph.nodes if _varies(node) for value in node.inputs}
    needed = read.union(graph.outputs)
    return frozenset(n.output for n in graph.nodes if not _varies(n) and n.output in needed)
