"""The constants of a graph as parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qbnnc.backends.torch.roles import Moment, Role, parameters_of
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Choice, Mask
from qbnnc.ir.types import Array
from qbnnc.support.errors import CompileError

_DEVIATIONS = 3.0  # a sampled weight's range is mu -+ 3 sigma


class Constants(nn.Module):
    """Trained constants are parameters, the others buffers; names are those of the graph.

    A sigma may cross zero while it is trained: it has a sign in every stage.
    """

    def __init__(self, graph: Graph, roles: Mapping[Node, Role], *, train_sigma: bool) -> None:
        super().__init__()
        moments = [role for role in roles.values() if isinstance(role, Moment)]
        kept = set() if train_sigma else {role.sigma for role in moments}
        trained = set(parameters_of(graph)) - kept
        self._moments = {
            graph.consumers()[node.output][0].output: (role.mu, role.sigma)
            for node, role in roles.items()
            if isinstance(role, Moment)
        }
        self._producers = graph.producers()
        self._names = {value: value.name.replace(".", "/") for value in graph.constants}
        for value, array in graph.constants.items():
            tensor = torch.from_numpy(array.copy())
            if value in trained:
                self.register_parameter(self._names[value], nn.Parameter(tensor))
            else:
                self.register_buffer(self._names[value], tensor)

    def __contains__(self, value: Value) -> bool:
        return value in self._names

    def __getitem__(self, value: Value) -> Tensor:
        tensor: Tensor = getattr(self, self._names[value])
        return tensor

    @property
    def device(self) -> torch.device:
        """The device of the constants."""
        tensors = [self[value] for value in self._names]
        return tensors[0].device if tensors else torch.device("cpu")

    def arrays(self) -> dict[Value, Array]:
        """The graph's constants as they are now."""
        return {value: self[value].detach().cpu().numpy().copy() for value in self._names}

    def spread(self, value: Value) -> Tensor:
        """Numbers that the range of a weight or bias covers, [N, K]: values, or mu -+ 3 |sigma|.

        A choice has those of all its members. What a mask drops is 0, which every range covers.
        """
        made, factor = self._producers.get(value), 1.0
        while made is not None and isinstance(made.op, Mask):
            value, factor = made.inputs[0], factor * made.op.scale
            made = self._producers.get(value)
        return self._unmasked(value) * factor

    def _unmasked(self, value: Value) -> Tensor:
        if value in self._names:
            return self[value].reshape(value.type.shape[0], -1)
        made = self._producers.get(value)
        if made is not None and isinstance(made.op, Choice):
            return self[made.inputs[0]].transpose(0, 1).reshape(value.type.shape[0], -1)
        if value not in self._moments:
            raise CompileError("is neither constant, chosen nor sampled", value.name)
        mu, sigma = (self[m].reshape(m.type.shape[0], -1) for m in self._moments[value])
        reach = _DEVIATIONS * sigma.abs()
        return torch.cat([mu - reach, mu + reach], dim=1)
