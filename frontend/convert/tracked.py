"""Tracked values: the forms in which the converter knows each tensor of the user's program.

The program is walked once, in order, and each of its tensors becomes one of these. Only an
`Activation` is computed at run time. Masks and products keep a form of their own until an op reads
them, so that `x * mask / 0.8` and `dropout(x, 0.2)` end up the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TypeAlias, cast

import torch
from torch import fx

from qbnnc.frontend.convert.activation_forms import Merged
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn, Moved, Shape
from qbnnc.frontend.convert.dropout_masks.mask_lanes import MaskLanes
from qbnnc.frontend.convert.images import Padded, Places
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Op
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """An activation, computed from the input: torch's [B, *shape] is an IR value of `shape`."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Transposed:
    """An activation with the batch as torch's axis `batch`, which is not the first.

    `value` has torch's other axes in order. Most ops take it by way of `layouts`.
    """

    value: Value
    batch: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant: a weight, a buffer, or a tensor computed from nothing else."""

    tensor: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """One of several constants: member i of `members` [count, *shape], by a random number i.

    The node `source` draws the number, which is low + floor(lane * count / 65536) there. If it
    draws one `per_row`, the first axis of torch's shape is the batch, and members have 1 there.
    """

    members: torch.Tensor
    source: fx.Node
    per_row: bool

    @property
    def count(self) -> int:
        return len(self.members)


@dataclass(frozen=True, slots=True, eq=False)
class IdFunction:
    """A function of ids: members[v] at each place, for the id v there; members [W, *shape].

    `ids` are numbers of the input, moved or not. W is the largest vocabulary of the network.
    """

    ids: Value
    members: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """Numbers that all rows of the batch repeat: one number everywhere, or those of `row`.

    Both are None if the tensor is not initialised.
    """

    shape: Shape
    number: float | None
    row: torch.Tensor | None = None

    def tensor(self, shape: Sequence[int]) -> torch.Tensor:
        """The numbers in a shape of integers; zeros if they are not initialised."""
        if self.row is not None:
            return self.row.expand(*shape)
        return torch.full(list(shape), self.number or 0.0, dtype=torch.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Constants whose axis `axis` is [before, batch, after], the same for all rows of the batch.

    `row` has `before` and `after` there. Such are factors of BatchEnsemble.
    """

    row: torch.Tensor
    axis: int

    def tensor(self, rows: int) -> torch.Tensor:
        whole = self.row.unsqueeze(self.axis + 1).repeat_interleave(rows, self.axis + 1)
        return whole.flatten(self.axis, self.axis + 2)


@dataclass(frozen=True, slots=True, eq=False)
class Uniform:
    """scale * u + offset with u uniform on [0, 1)."""

    drawn: Drawn
    shape: Shape
    scale: float = 1.0
    offset: float = 0.0

    def scaled(self, factor: float) -> Uniform:
        return replace(self, scale=self.scale * factor, offset=self.offset * factor)

    def moved(self, made: Moved, shape: Shape) -> Uniform:
        return replace(self, drawn=replace(self.drawn, moved=made), shape=shape)


@dataclass(frozen=True, slots=True, eq=False)
class DropoutMask:
    """A dropout mask: `scale` with probability 1 - p, else 0.

    If `low`, it keeps low numbers (u < q, bernoulli == 0), otherwise high ones. It is multiplied by
    the masks `others` of scale 1, which broadcast to `shape`.
    """

    drawn: Drawn
    shape: Shape
    p: float
    scale: float = 1.0
    low: bool = False
    others: tuple[DropoutMask, ...] = ()

    def scaled(self, factor: float) -> DropoutMask:
        return replace(self, scale=self.scale * factor)

    def times(self, other: DropoutMask, shape: Shape) -> DropoutMask:
        """The product of both masks, in the shape that they broadcast to."""
        factors = (replace(other, scale=1.0, others=()), *other.others)
        scale = self.scale * other.scale
        return replace(self, shape=shape, scale=scale, others=(*self.others, *factors))

    def moved(self, made: Moved, shape: Shape) -> DropoutMask:
        return replace(self, drawn=replace(self.drawn, moved=made), shape=shape)

    def inverted(self) -> DropoutMask:
        """1 - mask, for one mask that is 0 or 1."""
        return replace(self, p=exact(1.0 - self.p), low=not self.low)


@dataclass(frozen=True, slots=True, eq=False)
class MaskSum:
    """The offset plus the sum of the masks `terms`, which broadcast to `shape`."""

    terms: tuple[DropoutMask, ...]
    offset: float
    shape: Shape

    def scaled(self, factor: float) -> MaskSum:
        terms = tuple(term.scaled(factor) for term in self.terms)
        return replace(self, terms=terms, offset=self.offset * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """x times a mask, whose factor may still change; the result has rows of `shape`."""

    x: Value
    keep: DropoutMask
    scale: float
    taken: MaskLanes
    shape: tuple[int, ...]
    place: Place

    def scaled(self, factor: float) -> Masked:
        return replace(self, scale=self.scale * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """x @ weight.T, to which a bias may still be added; the weight is [N, K]."""

    x: Value
    weight: Weight
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Random numbers that are no mask: drawn by `source`, or computed there by `function`.

    `arguments` are those of the function, or of the op that draws. `why_no_mask` tells why masks
    among them have become noise.
    """

    source: fx.Node
    function: Callable[..., object] | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    why_no_mask: CompileError | None = None

    @property
    def shape(self) -> Shape:
        """Its shape, where the extent of the batch is a symbol."""
        value = self.source.meta["val"]
        result = self.function(value) if isinstance(self.function, itemgetter) else value
        return tuple(cast(torch.Tensor, result).shape)


@dataclass(frozen=True, slots=True, eq=False)
class Flipped:
    """x times random signs: the input of a Flipout perturbation.

    The signs vary along the axes `varies` of a row.
    """

    x: Value
    signs: Noise
    varies: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Perturbation:
    """op(x, weight, bias) with weights of mean zero, which Flipout adds to the mean's output.

    Its input is multiplied by the signs `flipped`, and its output by `signs`.
    """

    op: Op
    x: Value
    weight: Weight
    bias: Weight | None
    place: Place
    flipped: Noise
    signs: Noise | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A tensor of torch's `shape` whose parts along `axis` were written one by one.

    `parts` are the tensors and their extents along the axis, which is not the batch's. Some are
    activations. `join` emits the whole.
    """

    shape: Shape
    axis: int
    parts: tuple[tuple[Tracked, int], ...]
    join: Callable[[], Value]


AnyActivation: TypeAlias = (
    Activation
    | Transposed
    | Merged
    | Masked
    | Product
    | Padded
    | Flipped
    | Perturbation
    | Places
    | Written
)
Tracked: TypeAlias = (
    AnyActivation
    | Constant
    | Chosen
    | IdFunction
    | Filled
    | Blocks
    | Uniform
    | DropoutMask
    | MaskSum
    | Noise
)
Result: TypeAlias = "Tracked | tuple[Tracked, ...]"


def exact(probability: float) -> float:
    """A probability without the last digits that 1 - 0.8 leaves; masks resolve 2^-16."""
    return round(probability, 12)


def tracked_among(arguments: Mapping[str, object]) -> Iterator[Tracked]:
    for value in arguments.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tracked):
                yield item
