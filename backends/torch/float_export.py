"""FLOAT graphs as a plain module and as ONNX, for other engines to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import cast

import torch
from torch import Tensor, fx, nn

from qbnnc.backends.torch.forward import Evaluation
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import ChoiceIndex, Distribution, KeepMask, Noise, Normal, RandomOp

_LEAST = 2.0**-17  # of uniform numbers: the logarithm of 0 is none


def as_module(members: Sequence[Graph], x: Tensor) -> nn.Module:
    """One sample of each member a call, for batches of the size of x: PyTorch's ops in a row."""
    with torch.no_grad():
        program = torch.export.export(_Network(members).eval(), (x,), strict=False)
        module = program.module(check_guards=False)
        _fold_constants(module)
    module.graph.set_codegen(fx.graph.CodeGen())  # not the exporter's, which sorts trees of tensors
    return fx.GraphModule(module, module.graph)


def as_onnx(members: Sequence[Graph], x: Tensor) -> bytes:
    """The float32 ONNX file of members that draw nothing, for batches of the size of x."""
    with torch.no_grad():
        module = as_module(members, x).eval()
        program = torch.onnx.export(module, (x,), dynamo=True, optimize=True, verbose=False)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


class _Network(nn.Module):
    def __init__(self, members: Sequence[Graph]) -> None:
        super().__init__()
        self._graphs = tuple(members)
        self._members = [
            Evaluation(graph, self._constants(number, graph))
            for number, graph in enumerate(members)
        ]

    def _constants(self, member: int, graph: Graph) -> Callable[[Value], Tensor]:
        names = {v: f"constant{member}_{number}" for number, v in enumerate(graph.constants)}
        for value, array in graph.constants.items():
            self.register_buffer(names[value], torch.from_numpy(array.copy()))
        return lambda value: cast(Tensor, getattr(self, names[value]))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            output
            for graph, member in zip(self._graphs, self._members, strict=True)
            for output in member.outputs(x, _DropoutNoise(graph))
        )


class _DropoutNoise:
    """Numbers drawn as torch's own layers draw them.

    Only masks that share a stream, or keep its low lanes, compare uniform numbers.
    """

    def __init__(self, graph: Graph) -> None:
        masks = [op for _, op in random_nodes(graph) if isinstance(op, KeepMask)]
        uses = Counter(op.stream for op in masks)
        self._compared = {op.stream for op in masks if op.inverted or uses[op.stream] > 1}
        self._drawn: dict[int, Tensor] = {}

    def draw(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        if op.stream not in self._drawn:
            self._drawn[op.stream] = self._fresh(op, rows, like)
        drawn = self._drawn[op.stream]
        if not isinstance(op, KeepMask) or op.stream not in self._compared:
            return drawn
        kept = drawn < 1 - op.p if op.inverted else drawn >= op.p
        return kept.reshape(len(drawn), *op.shape).to(like.dtype)

    def _fresh(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        match op:
            case KeepMask(shape=shape, p=p, shared=shared):
                drawn = like.new_empty((1 if shared else rows, *shape))
                return drawn.uniform_() if op.stream in self._compared else drawn.bernoulli_(1 - p)
            case Normal(shape=shape):
                return torch.randn((1, *shape))
            case Noise(Distribution.NORMAL, shape, shared=shared):
                return like.new_empty((1 if shared else rows, *shape)).normal_()
            case Noise(Distribution.UNIFORM, shape, shared=shared):
                drawn = like.new_empty((1 if shared else rows, *shape)).uniform_()
                return drawn.clamp(_LEAST, 1 - _LEAST)
            case ChoiceIndex(count, shared=shared):
                return torch.randint(count, (1 if shared else rows, 1))
        raise TypeError(f"{op.name} draws no numbers before the INTEGER stage")


def _fold_constants(module: fx.GraphModule) -> None:
    """Fold nodes that read constants alone into constants, so that no call computes them."""
    known: dict[fx.Node, Tensor] = {}
    for node in list(module.graph.nodes):
        inputs = node.all_input_nodes
        if node.op == "get_attr":
            known[node] = attrgetter(str(node.target))(module)
        elif node.op == "call_function" and inputs and all(i in known for i in inputs):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            value = node.target(*args, **kwargs)
            if not isinstance(value, Tensor):
                continue
            name = f"folded{len(known)}"
            module.register_buffer(name, value)
            with module.graph.inserting_before(node):
                constant = module.graph.get_attr(name)
            node.replace_all_uses_with(constant)
            known[constant] = value
    module.graph.eliminate_dead_code()
