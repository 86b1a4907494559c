"""What all rules of one conversion share: the graph being built, streams, and the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dense import dense
from qbnnc.frontend.convert.draws import Converted, DrawSource
from qbnnc.frontend.convert.naming import Namer
from qbnnc.frontend.convert.parameters import Weight
from qbnnc.frontend.convert.probing import ON_ACTIVATIONS, RELAXED, is_relaxed
from qbnnc.frontend.convert.sampling import Weights
from qbnnc.frontend.convert.values import (
    Fixed,
    Flipped,
    Keep,
    Masked,
    Noise,
    Padded,
    Perturbation,
    Place,
    Product,
    Row,
    Shape,
    Tracked,
    Uniform,
)
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import KeepMask, Mask, Normal, Pad
from qbnnc.ir.types import Stage


class Scope:
    """`nodes` are the program's, in order of execution; `batch` is the size of the input's first
    axis: a symbol, or a number in a static export."""

    def __init__(self, nodes: Sequence[fx.Node], batch: int | torch.SymInt) -> None:
        self.build = Builder()
        self.namer = Namer(nodes)
        self._batch = batch
        self._stream = {node: position for position, node in enumerate(nodes)}
        self._weights = Weights(self.build, self._stream)
        self._inverted: dict[fx.Node, float] = {}
        self._low: dict[fx.Node, bool] = {}
        self._nodes = nodes
        self._masks: dict[fx.Node, tuple[KeepMask, Value]] = {}
        self._emitted: dict[Masked | Product | Padded, Value] = {}

    def graph(self, outputs: tuple[Value, ...]) -> Converted:
        """The finished graph, its streams numbered in order of execution."""
        graph = self.build.graph(outputs, Stage.FLOAT)
        drawing = [n.op.stream for n in graph.nodes if isinstance(n.op, KeepMask | Normal)]
        number = {stream: i for i, stream in enumerate(sorted(set(drawing)))}
        numbered = replace(graph, nodes=tuple(_numbered(node, number) for node in graph.nodes))
        sources = (self._nodes[stream] for stream in number)
        return Converted(numbered, tuple(DrawSource(n, self._low.get(n, False)) for n in sources))

    @property
    def rows(self) -> int:
        """How many rows an op is tried on: the batch of a static export, else enough to mix."""
        return self._batch if isinstance(self._batch, int) else 2

    def is_batch(self, extent: int | torch.SymInt) -> bool:
        """Whether an axis of this extent holds the rows of the batch."""
        if isinstance(extent, int) or isinstance(self._batch, int):
            return isinstance(extent, int) and extent == self._batch
        same: bool = extent.node.expr == self._batch.node.expr
        return same

    def constant(self, name: str, tensor: Tensor) -> Value:
        return self._weights.constant(name, tensor)

    def parameters(self, place: Place, weight: Weight, bias: Weight | None) -> tuple[Value, Value]:
        """The weight and the bias of a layer; zeros if it has no bias."""
        return self._weights.parameters(place, weight, bias)

    def value(self, tracked: Tracked, reader: Call) -> Value:
        """The IR value of something computed from the input; emits what was put off."""
        match tracked:
            case Row(value):
                return value
            case Masked() | Product() | Padded():
                if tracked not in self._emitted:
                    self._emitted[tracked] = self._emit(tracked)
                return self._emitted[tracked]
            case _:
                _no_value(tracked, reader)

    def masked(self, x: Value, keep: Keep, call: Call) -> Tracked:
        """x under a mask; x itself where the mask drops nothing."""
        place = call.place("dropout")
        if not 0 <= keep.p < 1:
            raise CompileError(
                f"dropout with probability {keep.p:g}; it must be at least 0 and below 1", place.loc
            )
        if keep.p == 0 and keep.scale == 1:
            return Row(x)
        if self._inverted.setdefault(keep.source, keep.p) != keep.p:
            raise CompileError(
                "one mask is used both as it is and inverted; draw two masks", place.loc
            )
        return Masked(x, keep, keep.scale, self._stream[keep.source], place)

    def _emit(self, waiting: Masked | Product | Padded) -> Value:
        place = waiting.place
        match waiting:
            case Product():
                return dense(self, place, waiting.x, waiting.weight, None)
            case Padded():
                op = Pad(waiting.padding)
                return self.build.emit(op, waiting.x, loc=place.loc, name=place.name)
            case Masked():
                mask, scale = self._mask(waiting), _snapped(waiting.scale, waiting.keep.p)
                return self.build.emit(Mask(scale), waiting.x, mask, loc=place.loc, name=place.name)

    def _mask(self, masked: Masked) -> Value:
        source, place = masked.keep.source, masked.place
        self._low.setdefault(source, masked.keep.low)
        shape, shared = self._mask_shape(masked)
        op = KeepMask(shape, masked.keep.p, masked.stream, shared)
        if source not in self._masks:
            mask = self.build.emit(op, loc=place.loc, name=f"{place.name}.keep")
            self._masks[source] = op, mask
        known, mask = self._masks[source]
        if known != op:
            raise CompileError("one mask is used in two shapes; draw two masks", place.loc)
        return mask

    def _mask_shape(self, masked: Masked) -> tuple[tuple[int, ...], bool]:
        """The mask's shape for one row, with as many axes as x, and whether all rows share it."""
        x, shape = masked.x.type.shape, masked.keep.shape
        full: Shape = (1,) * (len(x) + 1 - len(shape)) + shape
        lead, inner = full[0], full[1:]
        fits = len(full) == len(x) + 1 and all(m in (1, n) for m, n in zip(inner, x, strict=False))
        if not fits or not (self.is_batch(lead) or lead == 1):
            raise CompileError(
                f"a mask of shape {list(shape)} does not fit {list(x)} for each row of the batch; "
                "draw it with the shape of the tensor it masks",
                masked.place.loc,
            )
        return tuple(int(extent) for extent in inner), not self.is_batch(lead)


def _numbered(node: Node, number: dict[int, int]) -> Node:
    match node.op:
        case KeepMask() | Normal() as op:
            return replace(node, op=replace(op, stream=number[op.stream]))
        case _:
            return node


def _static_shape(node: fx.Node) -> list[int] | None:
    """The shape of a tensor that does not depend on the batch."""
    value = node.meta["val"]
    static = isinstance(value, Tensor) and all(isinstance(n, int) for n in value.shape)
    return list(value.shape) if static else None


def _shape_of(tracked: Tracked) -> str:
    """ " of shape [3, 4]", where it is known."""
    return f" of shape {list(tracked.tensor.shape)}" if isinstance(tracked, Fixed) else ""


def _snapped(scale: float, p: float) -> float:
    """Exactly 1 / (1 - p) where only rounding keeps `scale` from it (x / 0.8, x * 1.25)."""
    usual = 1 / (1 - p)
    return usual if abs(scale - usual) <= 1e-6 * usual else scale


def _no_value(tracked: Tracked, reader: Call) -> NoReturn:
    match tracked:
        case Noise() if is_relaxed(tracked):
            reader.fail(RELAXED)
        case Noise(source) if (shape := _static_shape(source)) is not None:
            reader.fail(
                f"noise is added to activations or scales them (a random tensor of shape {shape}); "
                "only dropout masks and sampled weights and biases of linear and convolution "
                "layers are supported"
            )
        case Noise() | Uniform():
            reader.fail(ON_ACTIVATIONS)
        case Flipped() | Perturbation():
            reader.fail(
                "random signs multiply activations; that is supported only in Flipout layers, "
                "linear or conv2d, where signs of the input's shape and of the output's shape "
                "surround a layer whose weights have mean zero"
            )
        case Keep():
            reader.fail(
                "a dropout mask is used for something other than masking a tensor computed from "
                "the input; masks on weights (DropConnect) are not supported"
            )
        case _:
            reader.fail(
                f"is given a constant{_shape_of(tracked)}, and only tensors computed from the "
                "input are taken here; put what the constant adds into the bias of a linear layer "
                "or convolution before or after it"
            )
