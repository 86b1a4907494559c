"""One call of the user's program, as the rules see it; and what a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.sampled_weights.reparameterisation import probe
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Chosen, Constant, Filled, Noise, Result, Tracked
from qbnnc.frontend.program.locations import Place, location, plain_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Op
from qbnnc.support.errors import CompileError

if TYPE_CHECKING:
    from qbnnc.frontend.convert.context import Context


@dataclass(slots=True, eq=False)
class Call:
    """One call of an aten op, with readers for its arguments.

    `arguments` go by the schema's names, with defaults filled in. Tensors are replaced by what is
    known of them (see `tracked`). A reader raises CompileError if an argument is of another kind.
    """

    node: fx.Node
    arguments: Mapping[str, object]
    context: Context
    _place: Place | None = field(default=None)

    def place(self, op: str | None = None) -> Place:
        """The place of this call in the user's model; the same each time."""
        if self._place is None:
            self._place = self.context.namer.place(self.node, op)
        return self._place

    def fail(self, message: str, remedy: str = "") -> NoReturn:
        """CompileError at this call, which the message tells about."""
        raise CompileError(f"{plain_name(self.node)}: {message}", location(self.node), remedy)

    def emit(self, op: Op, *inputs: Value) -> Value:
        place = self.place()
        return self.context.build.emit(op, *inputs, loc=place.loc, name=place.name)

    def constant(self, suffix: str, tensor: Tensor) -> Value:
        return self.context.constant(f"{self.place().name}.{suffix}", tensor)

    def layer(self, op: Op, x: Value, weight: Weight, bias: Weight | None) -> Value:
        """This layer, a Linear or Conv2d; no bias is zeros."""
        return self.context.layer(self.place(), op, x, weight, bias)

    def tracked(self, name: str) -> Tracked:
        """The tracked value of a tensor argument; a plain number counts as a constant."""
        value = self.arguments[name]
        if isinstance(value, bool | int | float):
            return Constant(torch.tensor(value))
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            self.fail(
                "computes with the size of the batch",
                "a row's prediction must not depend on how many rows there are",
            )
        if value is None or isinstance(value, tuple | list):
            self.fail(f"the argument {name!r} is not a tensor")
        return cast(Tracked, value)

    def row(self, name: str) -> Value:
        """A tensor argument that is computed from the input."""
        return self.context.value(self.tracked(name), self)

    def fixed(self, name: str) -> Tensor:
        """A tensor argument that is known now, in float32."""
        match self.tracked(name):
            case Constant(tensor):
                return tensor.detach().to(torch.float32)
            case Filled(shape) as filled if all(isinstance(extent, int) for extent in shape):
                return filled.tensor([int(n) for n in shape]).to(torch.float32)
            case Filled(_, number) if number is not None:
                return torch.full([], number)
            case Noise():
                self.fail(
                    f"its {name} is random",
                    "only the weights and biases of linear and convolution layers may be sampled",
                )
            case Chosen():
                self.fail(
                    f"its {name} is chosen by a random number",
                    "only weights, biases, factors, terms and batch statistics may be chosen",
                )
            case _:
                self.fail(f"its {name} depends on the input", "only constants are supported")

    def fixed_or_none(self, name: str) -> Tensor | None:
        return None if self.arguments[name] is None else self.fixed(name)

    def weight(self, name: str) -> Weight:
        """The weight or bias of a layer, fixed or sampled; see `reparameterisation`."""
        match self.tracked(name):
            case Noise() as noise:
                return self.probed(noise, name)
            case Chosen(members, source, per_row=False):
                return Weight.chosen(source, members)
            case Chosen():
                self.fail(
                    f"its {name} is chosen for each row of the batch",
                    "choose one for all rows: torch.randint(count, (1,))",
                )
            case _:
                return Weight(self.fixed(name))

    def weight_or_none(self, name: str) -> Weight | None:
        return None if self.arguments[name] is None else self.weight(name)

    def probed(self, noise: Noise, what: str) -> Weight:
        return probe(noise, what if what == "bias" else "weight", self.fail)

    def number(self, name: str, default: float | None = None) -> float:
        """A number, or a tensor argument that holds one."""
        value = self.arguments[name]
        if value is None and default is not None:
            return default
        if isinstance(value, bool | int | float):
            return float(value)
        number = number_of(self.fixed(name))
        if number is None:
            self.fail(f"its {name} must be one number", "give a Python number, the same everywhere")
        return number

    def flag(self, name: str) -> bool:
        return bool(self.arguments.get(name))

    def pair(self, name: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Two integers, given as one, as two, or as none (the default)."""
        value = self.arguments[name]
        values = [value] if isinstance(value, int) else list(cast("Sequence[int]", value))
        if not values and default is not None:
            return default
        if len(values) not in (1, 2) or not all(isinstance(v, int) for v in values):
            self.fail(f"its {name} {values} is not one or two integers")
        return values[0], values[-1]

    def is_bool(self, *names: str) -> bool:
        """Whether the first tensor argument with one of these names is boolean."""
        schema = cast(torch._ops.OpOverload, self.node.target)._schema.arguments
        given = zip((a.name for a in schema), self.node.args, strict=False)
        nodes = [node for name, node in given if name in names and isinstance(node, fx.Node)]
        return bool(nodes) and nodes[0].meta["val"].dtype is torch.bool

    def integer(self, name: str) -> int:
        value = self.arguments[name]
        if isinstance(value, int):
            return value
        return self.fail(
            f"its {name} is not an integer that is known now",
            "give a Python number that is the same in each call",
        )

    def shape(self, index: int = 0) -> Shape:
        """The shape of the result, batch included; `index` chooses one of several results."""
        meta = self.node.meta["val"]
        return tuple((meta[index] if isinstance(meta, list | tuple) else meta).shape)

    def row_shape(self) -> tuple[int, ...]:
        """The shape of the result without the batch; CompileError if its rows are mixed."""
        shape = self.shape()
        if not shape or not self.context.is_batch(shape[0]):
            self.fail(
                f"gives {list(shape)}, where the rows of the batch are no longer the first axis",
                "every layer must treat the rows of a batch one by one",
            )
        return tuple(self._static(extent) for extent in shape[1:])

    def _static(self, extent: int | torch.SymInt) -> int:
        if isinstance(extent, int):
            return extent
        return self.fail(
            f"gives a size {extent} that depends on the batch, or on a tensor's values",
            "give sizes as Python numbers; in place of a constant mask of booleans, take the "
            "numbers of its ones, found in __init__",
        )


def number_of(tensor: Tensor) -> float | None:
    """The number `tensor` holds everywhere, in the fewest digits that give its float32."""
    flat = tensor.detach().reshape(-1)
    if not len(flat) or not bool((flat == flat[0]).all()):
        return None
    return float(str(flat[0].to(torch.float32).numpy()))


Rule: TypeAlias = Callable[[Call], Result]  # one aten op, in all its overloads
Rules: TypeAlias = Mapping[str, Rule]  # by the op's name without its overload
