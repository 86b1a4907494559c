"""New ops in a traced program, in front of one whose place they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode


@dataclass(frozen=True, slots=True, eq=False)
class OpWriter:
    """Writes ops in front of a node, in whose place they stand; `graph` has both."""

    graph: fx.Graph
    node: fx.Node

    def call(self, target: Callable[..., object], *args: object, **kwargs: object) -> fx.Node:
        """One op, with the tensor that torch would trace it to."""
        with self.fake_mode:
            value = target(*_values(args), **cast("dict[str, object]", _values(kwargs)))
        return self.written(target, args, value, kwargs)

    def written(
        self, target: object, args: object, value: object, kwargs: dict[str, object] | None = None
    ) -> fx.Node:
        """One op that gives `value`."""
        made = self.graph.create_node(
            "call_function",
            cast(fx.node.Target, target),
            cast("tuple[fx.node.Argument, ...]", args),
            cast("dict[str, fx.node.Argument]", kwargs or {}),
        )
        kept = {k: v for k, v in self.node.meta.items() if k not in ("val", "tensor_meta")}
        made.meta = {**kept, "val": value}
        return made

    @property
    def fake_mode(self) -> FakeTensorMode:
        """The mode of the program's tensors, which have shapes alone."""
        first = self.node.all_input_nodes[0].meta["val"]
        return cast(FakeTensor, first).fake_mode


def _values(arguments: object) -> tuple[object, ...]:
    """Arguments with the tensor of each node in its place."""
    given = cast("fx.node.Argument", arguments)
    return cast("tuple[object, ...]", fx.node.map_arg(given, lambda each: each.meta["val"]))
