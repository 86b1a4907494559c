"""What all rules of one conversion share: the graph being built, streams, and the batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.naming import Namer
from qbnnc.frontend.convert.values import (
    Keep,
    Masked,
    Noise,
    Padded,
    Product,
    Row,
    Shape,
    Tracked,
    Uniform,
)
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import KeepMask, Linear, Mask


class Scope:
    """`batch` is the size of the input's first axis: a symbol, or a number in a static export."""

    def __init__(self, nodes: Iterable[fx.Node], batch: int | torch.SymInt) -> None:
        self.build = Builder()
        self.namer = Namer(nodes)
        self._batch = batch
        self._streams: dict[fx.Node, tuple[int, float]] = {}
        self._masks: dict[fx.Node, tuple[KeepMask, Value]] = {}
        self._emitted: dict[Masked | Product, Value] = {}

    def is_batch(self, extent: int | torch.SymInt) -> bool:
        """Whether an axis of this extent holds the rows of the batch."""
        if isinstance(extent, int) or isinstance(self._batch, int):
            return isinstance(extent, int) and extent == self._batch
        same: bool = extent.node.expr == self._batch.node.expr
        return same

    def constant(self, name: str, tensor: Tensor) -> Value:
        array = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        return self.build.constant(name, np.array(array, np.float32))

    def value(self, tracked: Tracked, reader: Call) -> Value:
        """The IR value of something computed from the input; emits what was put off."""
        match tracked:
            case Row(value):
                return value
            case Masked() | Product():
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
        stream, p = self._streams.setdefault(keep.source, (len(self._streams), keep.p))
        if p != keep.p:
            raise CompileError(
                "one mask is used both as it is and inverted; draw two masks", place.loc
            )
        return Masked(x, keep, keep.scale, stream, place)

    def _emit(self, waiting: Masked | Product) -> Value:
        place = waiting.place
        if isinstance(waiting, Product):
            bias = self.constant(f"{place.name}.bias", torch.zeros(waiting.weight.shape[0]))
            weight = self.constant(f"{place.name}.weight", waiting.weight)
            return self.build.emit(
                Linear(), waiting.x, weight, bias, loc=place.loc, name=place.name
            )
        mask = self._mask(waiting)
        scale = _snapped(waiting.scale, waiting.keep.p)
        return self.build.emit(Mask(scale), waiting.x, mask, loc=place.loc, name=place.name)

    def _mask(self, masked: Masked) -> Value:
        source, place = masked.keep.source, masked.place
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


def _snapped(scale: float, p: float) -> float:
    """Exactly 1 / (1 - p) where only rounding keeps `scale` from it (x / 0.8, x * 1.25)."""
    usual = 1 / (1 - p)
    return usual if abs(scale - usual) <= 1e-6 * usual else scale


def _no_value(tracked: Tracked, reader: Call) -> NoReturn:
    match tracked:
        case Noise() | Uniform():
            reader.fail(
                "noise is added to activations; only dropout masks are supported. Noise on weights "
                "(Bayes by Backprop) is not supported yet either"
            )
        case Padded():
            reader.fail("padding is supported only in front of a convolution")
        case Keep():
            reader.fail("a dropout mask is used for something other than masking a tensor")
        case _:
            reader.fail("is given a constant where a tensor computed from the input is needed")
