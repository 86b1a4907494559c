"""Dropout between recurrent layers, as ops of its own.

torch hides it in the layer: nn.LSTM(..., num_layers=2, dropout=0.2) is one op. Here such an op
becomes one op for each layer, with a dropout between, so that masks are found where all others are.
torch draws a mask for [T, B, H] whatever `batch_first` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem
from typing import cast

import torch
from torch import fx
from torch.export import ExportedProgram

from qbnnc.frontend.program.random_ops import RECURRENT, op_name
from qbnnc.frontend.trace.op_writer import OpWriter

_ATEN = torch.ops.aten


def with_dropout_between(program: ExportedProgram) -> None:
    """Divide the recurrent layers of a program in training IR at their dropout, in place."""
    for module in program.graph_module.modules():
        if not isinstance(module, fx.GraphModule):
            continue
        found = [node for node in module.graph.nodes if _is_divided(node)]
        for node in found:
            _divide(module.graph, node)
        if found:
            module.graph.lint()
            module.recompile()


def _is_divided(node: fx.Node) -> bool:
    if op_name(node) not in RECURRENT or getattr(node.target, "_overloadname", "") != "input":
        return False
    return bool(_Layers.of(node).count > 1 and node.args[5] != 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """The arguments of an op with several layers; a layer has `width` parameters."""

    states: tuple[fx.Node, ...]
    params: Sequence[fx.Node]
    biased: bool
    count: int
    dropout: float
    active: bool
    directions: int
    batch_first: bool

    @staticmethod
    def of(node: fx.Node) -> _Layers:
        _, hx, params, biased, count, dropout, active, both, batch_first = node.args
        states = tuple(hx) if isinstance(hx, list | tuple) else (hx,)
        return _Layers(
            cast("tuple[fx.Node, ...]", states),
            cast("Sequence[fx.Node]", params),
            bool(biased),
            cast(int, count),
            cast(float, dropout),
            bool(active),
            2 if both else 1,
            bool(batch_first),
        )

    @property
    def width(self) -> int:
        return len(self.params) // self.count


class _Writer(OpWriter):
    """Writes ops in the place of a recurrent layer."""

    __slots__ = ()

    def layer(self, x: fx.Node, states: Sequence[fx.Node], *args: object) -> fx.Node:
        """A layer of one direction or two; torch gives no shapes of it for any batch."""
        first, *others = (each.meta["val"] for each in states)
        extents = (*x.meta["val"].shape[:2], first.shape[0] * first.shape[2])
        with self.fake_mode:
            value = (first.new_empty(extents), first.clone(), *(c.clone() for c in others))
        hx = list(states) if others else states[0]
        return self.written(self.node.target, (x, hx, *args), value)


def _divide(graph: fx.Graph, node: fx.Node) -> None:
    layers = _Layers.of(node)
    with graph.inserting_before(node):
        write = _Writer(graph, node)
        x = cast(fx.Node, node.args[0])
        x = x if layers.batch_first else write.call(_ATEN.transpose.int, x, 0, 1)
        last = list[fx.Node]()
        for number in range(layers.count):
            if number:
                x = _dropped(write, x, layers)
            last.append(_one_layer(write, x, layers, number))
            x = write.call(getitem, last[-1], 0)
        x = x if layers.batch_first else write.call(_ATEN.transpose.int, x, 0, 1)
        _replace(write, node, x, last)


def _one_layer(write: _Writer, x: fx.Node, layers: _Layers, number: int) -> fx.Node:
    start = number * layers.directions
    states = [
        write.call(_ATEN.slice.Tensor, each, 0, start, start + layers.directions)
        for each in layers.states
    ]
    own = list(layers.params[number * layers.width : (number + 1) * layers.width])
    both = layers.directions == 2
    return write.layer(x, states, own, layers.biased, 1, 0.0, layers.active, both, True)


def _dropped(write: _Writer, x: fx.Node, layers: _Layers) -> fx.Node:
    """x [B, T, H] times a mask that is drawn for [T, B, H]."""
    turned = write.call(_ATEN.transpose.int, x, 0, 1)
    ones = write.call(_ATEN.ones_like.default, turned)
    mask = write.call(_ATEN.dropout.default, ones, layers.dropout, layers.active)
    return write.call(_ATEN.mul.Tensor, x, write.call(_ATEN.transpose.int, mask, 0, 1))


def _replace(write: _Writer, node: fx.Node, output: fx.Node, last: Sequence[fx.Node]) -> None:
    """Put the new ops in the place of the node's results."""
    for user in list(node.users):
        index = cast(int, user.args[1])
        new = output
        if index:
            states = [write.call(getitem, each, index) for each in last]
            new = write.call(_ATEN.cat.default, states, 0)
        user.replace_all_uses_with(new)
        write.graph.erase_node(user)
    write.graph.erase_node(node)
