"""A SIMULATED graph as a module to fine-tune (Algorithm 1), and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qbnnc.backends.torch.constants import Constants
from qbnnc.backends.torch.forward import Evaluation, Grids, key_of
from qbnnc.backends.torch.noise import FreshNoise, NoiseSource
from qbnnc.backends.torch.quantizers import Ranges, ValueQuantizer, WeightQuantizer
from qbnnc.backends.torch.roles import Observed, Weight, roles_of
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.model import Model
from qbnnc.ir.ops import FakeQuantize
from qbnnc.ir.types import Stage
from qbnnc.support.errors import CompileError

_USUAL_SPREAD = 0.02


class Simulation(nn.Module):
    """The network with simulated quantisation: the integers will compute the same.

    Called with a batch [B, *shape] it gives the outputs [B, ...] of one Monte-Carlo sample, as a
    tuple if there are several outputs. Random numbers are fresh each time. Dropout that is part of
    the compiled network is active in train() and in eval(). train() lets ranges move, until
    `freeze_ranges`. Gradients pass straight through the rounding.

    Weights and biases are trained, and so are constants of which one is chosen. A sampled weight
    has its mu trained, and sigma only with `train_sigma`: no loss here regularises sigma as the
    ELBO does, so that training would shrink it. Batch normalisation is folded already.
    """

    def __init__(
        self,
        model: Model,
        member: int = 0,
        *,
        ranges: Ranges = Ranges.EMA,
        decay: float = 0.1,
        train_sigma: bool = False,
    ) -> None:
        """One member of a SIMULATED Model; `decay` weighs a new batch in a moving average.

        CompileError for a Model of another stage.
        """
        super().__init__()
        if model.stage is not Stage.SIMULATED:
            raise CompileError(f"the model is {model.stage.name}, not SIMULATED", "the network")
        self._model, self._member, graph = model, member, model.members[member]
        self._graph, self._roles = graph, roles_of(graph)
        self.constants = Constants(graph, self._roles, train_sigma=train_sigma)
        self.quantizers = nn.ModuleDict(dict(self._quantizers(ranges, decay)))

    def _quantizers(self, ranges: Ranges, decay: float) -> Iterator[tuple[str, nn.Module]]:
        places = Counter(r.group for r in self._roles.values() if isinstance(r, Observed))
        for node, role in self._roles.items():
            match node.op, role:
                case FakeQuantize(quant), Observed(group) if group is node.output:
                    yield key_of(group), ValueQuantizer(quant, ranges, decay, places[group])
                case FakeQuantize(quant), Weight():
                    spread = self.constants.spread(node.inputs[0])
                    yield key_of(node.output), WeightQuantizer(quant, ranges, spread)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.sample(x, FreshNoise())
        return outputs[0] if len(outputs) == 1 else outputs

    def sample(self, x: Tensor, noise: NoiseSource) -> tuple[Tensor, ...]:
        """The outputs [B, ...] of one sample with the random numbers of `noise`."""
        made = Evaluation(self._graph, self.constants.__getitem__, self._grids()).outputs(x, noise)
        return tuple(output.expand(len(x), *output.shape[1:]) for output in made)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The trainable parameters for an optimiser whose steps are about `lr` long (Adam).

        A weight tensor of small values, with root mean square r < 0.02, gets the learning rate
        lr * r / 0.02. The first layer is one where the network divides its inputs by 255.
        """
        groups: list[dict[str, Any]] = []
        for parameter in self.parameters():
            if parameter.requires_grad:
                spread = float(parameter.detach().double().square().mean().sqrt())
                small = parameter.ndim > 1 and 0 < spread < _USUAL_SPREAD
                rate = lr * spread / _USUAL_SPREAD if small else lr
                groups.append({"params": [parameter], "lr": rate})
        return groups

    def freeze_ranges(self) -> None:
        """Keep the ranges of values as they are from here on, and learned ranges of weights too."""
        for quantizer in self.quantizers.values():
            assert isinstance(quantizer, ValueQuantizer | WeightQuantizer)
            quantizer.frozen = True
            for parameter in quantizer.parameters():
                parameter.requires_grad_(False)

    def graph(self) -> Graph:
        """The SIMULATED graph with the weights and ranges of now."""
        grids = self._grids()
        new: dict[Value, FakeQuantize] = {}
        with torch.no_grad():
            for node in self._graph.nodes:
                if isinstance(node.op, FakeQuantize):
                    new[node.output] = FakeQuantize(grids.of(node, None).quant())
                else:
                    grids.follow(node)
        ops = {value.name: op for value, op in new.items()}

        def rule(node: Node, build: Builder) -> Value | None:
            if (op := ops.get(node.output.name)) is None:
                return None
            return build.emit(op, *node.inputs, loc=node.loc, name=node.output.name)

        return rewrite(replace(self._graph, constants=self.constants.arrays()), rule)

    def model(self) -> Model:
        """The SIMULATED Model with this member as it is now."""
        return with_member(self._model, self._member, self.graph())

    def _grids(self) -> Grids:
        return Grids(self._roles, self.constants, dict(self.quantizers.items()))


def with_member(model: Model, member: int, graph: Graph) -> Model:
    """The Model with another graph as this member."""
    members = list(model.members)
    members[member] = graph
    return replace(model, members=tuple(members))
