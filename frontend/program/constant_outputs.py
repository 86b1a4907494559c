"""Constant outputs: the values of those that depend on no number in the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.fx.node import Argument

from qbnnc.frontend.program.locations import location
from qbnnc.frontend.program.nodes import batch_of, reached_from, the_input, the_inputs
from qbnnc.frontend.program.predictions import Prediction, bare_tensor, fits, same_extent
from qbnnc.frontend.program.random_ops import draws_noise
from qbnnc.support.errors import CompileError

Stored = Mapping[str, tuple[str, Tensor]]

_ROWS = 2  # the size of the batch for which constants are evaluated
_TRIES = 32


class Constants:
    """Evaluates the outputs that depend on no number in the input."""

    def __init__(self, program: ExportedProgram, stored: Stored) -> None:
        self._source = the_input(program)
        self._stored = stored
        self._reached = reached_from(program.graph.nodes, *the_inputs(program))
        parameters = program.graph_signature.inputs_to_parameters
        self._learnt = {name: stored[name][1] for name in parameters if name in stored}

    def row(self, prediction: Prediction, shape: tuple[int, ...]) -> Tensor:
        """The values for any row, f32; in a prediction's `shape` if they broadcast to it."""
        made = self._evaluate(prediction.node, {})
        value = prediction.node.meta["val"]
        if value.ndim and same_extent(value.shape[0], batch_of(self._source)):
            if not torch.equal(made, made[:1].expand_as(made)):
                self._fail(prediction, "is another constant for each row of the batch")
            made = made[0]
        if fits(made.shape, torch.Size(shape)):
            made = made.reshape(made.shape[max(0, made.ndim - len(shape)) :]).expand(shape)
        return made.to(torch.float32)

    def name(self, prediction: Prediction) -> str:
        """The name of the parameter or buffer in the user's model; else that of the output."""
        bare = bare_tensor(prediction.node)
        if bare is not None and bare.name in self._stored:
            return self._stored[bare.name][0]
        return prediction.name or f"output_{prediction.position}"

    def never_negative(self, prediction: Prediction) -> bool:
        """Whether no value of the parameters makes the output negative.

        Random values of the parameters are tried. A buffer keeps the value that it has.
        """
        generator = torch.Generator().manual_seed(0)
        for number in range(_TRIES):
            others = {
                name: torch.randn(t.shape, generator=generator) * 2.0 ** (number % 5 - 1)
                for name, t in self._learnt.items()
            }
            if bool((self._evaluate(prediction.node, others) < 0).any()):
                return False
        return True

    def _evaluate(self, node: fx.Node, others: Mapping[str, Tensor]) -> Tensor:
        """The node's value; `others` take the place of stored tensors, by placeholder."""
        known: dict[fx.Node, object] = {}
        for each in _ancestors(node, self._reached):
            known[each] = self._one(each, known, others)
        made = known[node]
        assert isinstance(made, Tensor)
        return made

    def _one(
        self, node: fx.Node, known: Mapping[fx.Node, object], others: Mapping[str, Tensor]
    ) -> object:
        value = node.meta.get("val")
        if isinstance(value, int | torch.SymInt):
            return self._extent(value)
        if node in self._reached:
            assert isinstance(value, Tensor)
            return torch.zeros([self._extent(n) for n in value.shape], dtype=value.dtype)
        if node.op == "placeholder":
            return others[node.name] if node.name in others else self._stored[node.name][1]
        if draws_noise(node):
            raise CompileError(
                "an output that does not depend on the input is random",
                location(node),
                remedy="return its mean, or add the noise to what depends on the input",
            )
        values = {each: cast(Argument, value) for each, value in known.items()}
        args = cast(Sequence[object], fx.node.map_arg(node.args, values.__getitem__))
        kwargs = cast(Mapping[str, object], fx.node.map_arg(node.kwargs, values.__getitem__))
        assert callable(node.target)
        return cast(object, node.target(*args, **kwargs))

    def _extent(self, value: int | torch.SymInt) -> int:
        batch = batch_of(self._source)
        if isinstance(value, int):
            return value
        settled = value.node.maybe_as_int()
        if settled is not None:
            return int(settled)
        if not same_extent(value, batch):
            raise CompileError(
                f"a constant output has the size {value}, which depends on the batch", "output"
            )
        return _ROWS

    def _fail(self, prediction: Prediction, what: str) -> NoReturn:
        raise CompileError(f"output {prediction.position} {what}", location(prediction.node))


def _ancestors(node: fx.Node, reached: set[fx.Node]) -> list[fx.Node]:
    """The nodes that a constant is made from, in order; only shapes depend on the input."""
    found, waiting = set[fx.Node](), [node]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            sized = isinstance(each.meta.get("val"), int | torch.SymInt)
            if each not in reached and not sized:
                waiting.extend(each.all_input_nodes)
    return [each for each in node.graph.nodes if each in found]
