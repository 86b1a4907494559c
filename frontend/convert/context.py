"""The context of one conversion, shared by all rules: the graph, the streams, the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.activation_noise import NoiseActivations, mask_and_noise
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.choices import as_activation
from qbnnc.frontend.convert.draw_sources import Converted, DrawSource
from qbnnc.frontend.convert.dropout_masks.mask_lanes import Lanes
from qbnnc.frontend.convert.ids import check_ids
from qbnnc.frontend.convert.images import Padded
from qbnnc.frontend.convert.ops.embedding import activation_of
from qbnnc.frontend.convert.ops.linear import dense
from qbnnc.frontend.convert.sampled_weights.layers import LayerEmitter
from qbnnc.frontend.convert.sampled_weights.weight_masks import lanes_of
from qbnnc.frontend.convert.sampled_weights.weights import (
    Choosing,
    Weight,
    WeightEmitter,
    WeightMask,
)
from qbnnc.frontend.convert.tracked import (
    Activation,
    Chosen,
    DropoutMask,
    Flipped,
    IdFunction,
    Masked,
    MaskSum,
    Noise,
    Product,
    Result,
    Tracked,
    Uniform,
    Written,
)
from qbnnc.frontend.convert.unsupported_values import value_not_supported
from qbnnc.frontend.program.locations import Namer, Place
from qbnnc.frontend.program.nodes import is_batch
from qbnnc.ir import ops
from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import (
    Choice,
    ChoiceIndex,
    KeepMask,
    Mask,
    Multiply,
    Normal,
    Op,
    Pad,
    RandomOp,
    Reshape,
)
from qbnnc.ir.types import Stage
from qbnnc.support.errors import CompileError

Signs: TypeAlias = "tuple[fx.Node, fx.Node] | None"
_Waiting: TypeAlias = Masked | Product | Padded | Flipped


class Context:
    """The graph under construction, with the streams of its masks and noise.

    `nodes` are the program's, in order of execution. `batch` is the size of the input's first axis:
    a symbol, or a number in a static export. `run` is the rule of every op. `vocabulary` has the
    rows of the largest table that ids read; 0 if none do.
    """

    def __init__(
        self,
        nodes: Sequence[fx.Node],
        batch: int | torch.SymInt,
        run: Callable[[Call], Result],
        vocabulary: int = 0,
    ) -> None:
        self.build, self.vocabulary = Builder(), vocabulary
        self.namer = Namer(nodes)
        self._batch = batch
        self._lanes = Lanes(batch, {node: position for position, node in enumerate(nodes)})
        self._draws: dict[int, DrawSource] = {}
        self.weights = WeightEmitter(self.build, self._noise_stream, self.choice, self._weight_mask)
        self._layers = LayerEmitter(self.build, self.weights)
        self._noise = NoiseActivations(self, self._lanes, self._draws, run)
        self._signs: dict[fx.Node, Signs] = {}
        self._left_out = set[fx.Node]()
        self._masks: dict[KeepMask, Value] = {}
        self._numbers: dict[fx.Node, Value] = {}
        self._emitted: dict[_Waiting, Value] = {}
        self._steps: dict[Value, tuple[Value, ...]] = {}
        self._functions: dict[IdFunction, Value] = {}
        self._joined: dict[Written, Value] = {}

    def graph(self, outputs: tuple[Value, ...]) -> Converted:
        """The finished graph, its streams numbered in order of execution."""
        graph = self.build.graph(outputs, Stage.FLOAT)
        check_ids(graph)
        drawing = [n.op.stream for n in graph.nodes if isinstance(n.op, RandomOp)]
        number = {stream: i for i, stream in enumerate(sorted(set(drawing)))}
        numbered = replace(graph, nodes=tuple(_numbered(node, number) for node in graph.nodes))
        draws = tuple(self._draws[stream] for stream in number)
        return Converted(numbered, draws, frozenset(self._left_out))

    def keep_steps(self, whole: Value, steps: Sequence[Value]) -> None:
        """Remember the values of which `whole` [len(steps), ...] was made, one each."""
        self._steps[whole] = tuple(steps)

    def steps_of(self, whole: Value) -> tuple[Value, ...] | None:
        """The values along the first axis of a row, if it was made of them."""
        return self._steps.get(whole)

    def leave_out(self, signs: Iterable[fx.Node]) -> None:
        """Leave out nodes that draw random signs, which do not change the distribution of a row."""
        self._left_out.update(signs)

    def _noise_stream(self, sources: tuple[fx.Node, ...]) -> int:
        """The stream of noise tensors of weights."""
        stream = self._lanes.stream(sources[0])
        self._draws[stream] = DrawSource(sources[0], low=False, more=sources[1:])
        return stream

    @property
    def rows(self) -> int:
        """The number of rows that an op is tried on: the batch of a static export, or 2."""
        return self._batch if isinstance(self._batch, int) else 2

    @property
    def batch(self) -> int | torch.SymInt:
        """The size of the batch: a symbol, or a number in a static export."""
        return self._batch

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the batch that an op is tried on; what holds for them holds for all."""
        return self._lanes.sizes

    def is_batch(self, extent: int | torch.SymInt) -> bool:
        """Whether an axis of this extent holds the rows of the batch."""
        return is_batch(extent, self._batch)

    def constant(self, name: str, tensor: Tensor) -> Value:
        return self.weights.constant(name, tensor)

    def parameters(
        self, place: Place, weight: Weight, bias: Weight | None, signs: Signs = None
    ) -> tuple[Value, Value]:
        """The weight and the bias of a layer; zeros if it has no bias.

        `signs` are the random signs that a Flipout layer puts around its noise.
        """
        self._check_signs(place, weight, bias, signs)
        return self.weights.parameters(place, weight, bias)

    def layer(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight | None) -> Value:
        """op(x, weight, bias), a Linear or Conv2d of any weights; zeros if it has no bias."""
        self._check_signs(place, weight, bias, None)
        return self._layers.layer(place, op, x, weight, bias)

    def _check_signs(self, place: Place, weight: Weight, bias: Weight | None, signs: Signs) -> None:
        sources = [source for each in (weight, bias) if each is not None for source in each.sources]
        if any(self._signs.setdefault(source, signs) != signs for source in sources):
            raise CompileError(
                "the noise of a Flipout layer is used again with other signs, or without, "
                "which no sampled weights are",
                place.loc,
                remedy="draw noise for each use, or use the reparameterisation layer of the same "
                "library",
            )

    def value(self, tracked: Tracked, reader: Call) -> Value:
        """The IR value of a tensor that is computed from the input; emits it if it was put off."""
        match tracked:
            case Activation(value):
                return value
            case Masked() | Product() | Padded() | Flipped():
                if tracked not in self._emitted:
                    self._emitted[tracked] = self._emit(tracked, reader)
                return self._emitted[tracked]
            case Noise() | Uniform() | DropoutMask() | MaskSum() if self._noise.becomes(
                tracked, reader
            ):
                return self.value(self._noise.made(tracked, reader), reader)
            case IdFunction(members=members) if bool(members.isinf().any()):
                return activation_of(reader, tracked)  # which asks what reads it
            case IdFunction():
                if tracked not in self._functions:
                    self._functions[tracked] = activation_of(reader, tracked)
                return self._functions[tracked]
            case Written(join=join):
                if tracked not in self._joined:
                    self._joined[tracked] = join()
                return self._joined[tracked]
            case Chosen() if (row := as_activation(reader, tracked)) is not None:
                return row
            case _:
                value_not_supported(tracked, reader)

    def choice(
        self, choosing: Choosing, name: str, place: Place, *, per_row: bool = False
    ) -> Value:
        """One of several constants, by a number that is drawn once for all that it chooses."""
        source = choosing.source
        if source not in self._numbers:
            stream = self._lanes.stream(source)
            elements = tuple(torch.arange(n)[:, None] for n in self._lanes.sizes)
            self._draws[stream] = DrawSource(source, False, elements if per_row else None)
            op = ChoiceIndex(len(choosing.members), stream, not per_row)
            self._numbers[source] = self.build.emit(op, loc=place.loc, name=f"{place.name}.number")
        values = self.constant(f"{name}.members", choosing.members)
        return self.build.emit(Choice(), values, self._numbers[source], loc=place.loc, name=name)

    def masked(self, x: Value, keep: DropoutMask, call: Call) -> Tracked:
        """x under one or several masks; x itself if the mask drops nothing."""
        place = call.place("dropout")
        if not 0 <= keep.p < 1:
            raise CompileError(
                f"dropout with probability {keep.p:g}",
                place.loc,
                remedy="it must be at least 0 and below 1",
            )
        for other in keep.others:
            x = self.value(self.masked(x, other, call), call)
        if keep.p == 0 and keep.scale == 1:
            return Activation(x)
        taken = self._lanes.take(keep.drawn, x.type.shape, place.loc)
        seen = self._reshaped(x, taken.row, place, "rows")
        return Masked(seen, keep, keep.scale, taken, x.type.shape, place)

    def _weight_mask(self, mask: WeightMask, name: str, place: Place) -> Value:
        """A mask of a weight, the same for all rows."""
        found = lanes_of(mask)
        if found is None:
            raise CompileError(
                "elements of its weight share the numbers of a mask in a way no broadcast does",
                place.loc,
                remedy="draw the mask with the shape of the weight, or 1 where it is shared",
            )
        shape, elements = found
        stream = self._lanes.stream_of_weights(mask.source, elements, place.loc)
        sizes = (elements,) * len(self._lanes.sizes)
        keep = KeepMask(shape, mask.p, stream, shared=True)
        return self._kept(keep, DrawSource(mask.source, mask.low, sizes), name, place)

    def _kept(self, op: KeepMask, drawn: DrawSource, name: str, place: Place) -> Value:
        """The mask: plain for the first use of a stream, inverted for a later, opposite use."""
        plain = self._draws.setdefault(op.stream, drawn)
        op = replace(op, inverted=drawn.low != plain.low)
        if op not in self._masks:
            self._masks[op] = self.build.emit(op, loc=place.loc, name=f"{name}.keep")
        return self._masks[op]

    def _reshaped(self, x: Value, shape: tuple[int, ...], place: Place, suffix: str) -> Value:
        if x.type.shape == shape:
            return x
        name = f"{place.name}.{suffix}"
        return self.build.emit(Reshape(shape), x, loc=place.loc, name=name)

    def _emit(self, waiting: _Waiting, reader: Call) -> Value:
        match waiting:
            case Flipped(x, signs):
                return reader.emit(Multiply(), x, self.value(signs, reader))
            case Product(place=place):
                return dense(self, place, waiting.x, waiting.weight, None)
            case Padded(place=place):
                op = Pad(waiting.padding)
                return self.build.emit(op, waiting.x, loc=place.loc, name=place.name)
            case Masked(place=place):
                mask, scale = self._mask(waiting), _snapped(waiting.scale, waiting.keep.p)
                masked = self.build.emit(
                    Mask(scale), waiting.x, mask, loc=place.loc, name=place.name
                )
                return self._reshaped(masked, waiting.shape, place, "back")

    def _mask(self, masked: Masked) -> Value:
        taken, keep, place = masked.taken, masked.keep, masked.place
        if self._noise.holds(taken.stream):
            raise mask_and_noise(place.loc)
        op = KeepMask(taken.shape, keep.p, taken.stream, taken.shared)
        drawn = DrawSource(keep.drawn.source, keep.low, taken.elements)
        return self._kept(op, drawn, place.name, place)


def _numbered(node: Node, number: dict[int, int]) -> Node:
    match node.op:
        case (KeepMask() | Normal() | ops.Noise() | ChoiceIndex()) as op:
            return replace(node, op=replace(op, stream=number[op.stream]))
        case _:
            return node


def _snapped(scale: float, p: float) -> float:
    """`scale`, or exactly 1 / (1 - p) if only rounding keeps it from that (x / 0.8, x * 1.25)."""
    usual = 1 / (1 - p)
    return usual if abs(scale - usual) <= 1e-6 * usual else scale
