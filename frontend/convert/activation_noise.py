"""Random numbers of the batch's size, as activations: each row draws its own.

A tracked `Noise` is a draw, or a function of draws that was put off. Where an op reads it as an
activation, the draw becomes a Noise op. The rules of the functions then run again, with activations
in place of noise. Masks that no rule of masks knows become steps of uniform noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.draw_sources import DrawSource
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn, Moved, Shape
from qbnnc.frontend.convert.dropout_masks.mask_lanes import Lanes
from qbnnc.frontend.convert.layouts.layout import Layout, laid
from qbnnc.frontend.convert.noise import in_order, is_mask
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.arithmetic import product, summed
from qbnnc.frontend.convert.ops.elementwise_formulas import Term, computed
from qbnnc.frontend.convert.ops.shapes import broadcast, reshaped, step
from qbnnc.frontend.convert.scaled_noise import constant, given, scaled
from qbnnc.frontend.convert.tracked import (
    AnyActivation,
    DropoutMask,
    MaskSum,
    Noise,
    Result,
    Tracked,
    Uniform,
    exact,
    tracked_among,
)
from qbnnc.frontend.convert.unsupported_values import (
    NotAnActivation,
    is_given_a_constant,
    value_not_supported,
)
from qbnnc.frontend.program.random_ops import NORMALS, op_name
from qbnnc.ir import ops
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Distribution, Function
from qbnnc.ir.rng import keep_threshold
from qbnnc.support.errors import CompileError, Loc

if TYPE_CHECKING:
    from qbnnc.frontend.convert.context import Context

_LANES = 65536


class NoiseActivations:
    """Makes activations of tracked random numbers, each of them once.

    `run` is the rule of every op. `draws` are the streams of the graph, which masks have, too.
    """

    def __init__(
        self,
        context: Context,
        lanes: Lanes,
        draws: dict[int, DrawSource],
        run: Callable[[Call], Result],
    ) -> None:
        self._context, self._lanes, self._draws, self._run = context, lanes, draws, run
        self._streams: dict[int, Value] = {}
        self._made: dict[fx.Node, Result] = {}

    def holds(self, stream: int) -> bool:
        """Whether the numbers of a stream are noise, and no mask."""
        return stream in self._streams

    def becomes(self, tracked: Tracked, reader: Call) -> bool:
        """Whether the op `reader` gets these random numbers as an activation.

        Functions of masks and uniform noise alone are put off, as weights may be made of them.
        """
        match tracked:
            case Noise():
                return any(self._from_rows(each) for each in in_order(tracked))
            case Uniform(shape=shape) | DropoutMask(shape=shape) | MaskSum(shape=shape):
                put_off = is_mask(list(tracked_among(reader.arguments)))
                return self._is_rows(shape) and not put_off
            case _:
                return False

    def made(self, tracked: Tracked, reader: Call) -> Tracked:
        """The random numbers as an activation; CompileError if they have no such form."""
        match tracked:
            case Uniform():
                return self._uniform(tracked)
            case DropoutMask():
                return self._mask(reader, tracked)
            case MaskSum():
                return self._sum(reader, tracked)
            case Noise():
                self._convert(tracked)
                return self._known(tracked)
            case _:
                value_not_supported(tracked, reader)

    def _convert(self, noise: Noise) -> None:
        """Convert the noise of rows, and what is computed from it, in order, without recursion."""
        for each in in_order(noise):
            inputs = (t for t in tracked_among(each.arguments) if isinstance(t, Noise))
            by_row = self._from_rows(each) or any(one.source in self._made for one in inputs)
            if by_row and each.source not in self._made:
                self._made[each.source] = self._result(each)

    def _known(self, noise: Noise) -> Tracked:
        """The result for noise that has been converted."""
        made = self._made[noise.source]
        if isinstance(noise.function, itemgetter) and isinstance(made, tuple):
            return cast(Tracked, noise.function(made))
        return cast(Tracked, made)

    def _result(self, noise: Noise) -> Result:
        if noise.function is None:
            return self._drawn(noise)
        call = Call(noise.source, self._arguments(noise), self._context)
        if not any(isinstance(each, AnyActivation) for each in tracked_among(call.arguments)):
            self._refuse(noise, call)
        try:
            return self._run(call)
        except CompileError as error:
            why = noise.why_no_mask
            raise error if why is None or isinstance(why, NotAnActivation) else why from error

    def _refuse(self, noise: Noise, call: Call) -> None:
        """CompileError: a function repeats for the rows what all of them share."""
        if noise.why_no_mask is not None:
            raise noise.why_no_mask
        if is_given_a_constant(noise.source, noise.arguments):
            value_not_supported(noise, call)
        for each in tracked_among(call.arguments):
            if isinstance(each, Noise):
                value_not_supported(each, call)
        call.fail("makes random numbers of the batch's size in a way that is not supported")

    def _arguments(self, noise: Noise) -> Mapping[str, object]:
        """The arguments of a function, with activations in place of the noise of rows.

        Masks stay as they are beside activations. Alone, they become activations.
        """
        arguments = {name: self._noise_in(value) for name, value in noise.arguments.items()}
        if any(isinstance(each, AnyActivation) for each in tracked_among(arguments)):
            return arguments
        if noise.source.meta["val"].dtype is torch.bool and noise.why_no_mask is not None:
            raise noise.why_no_mask  # u < p for each element would round the probabilities
        call = Call(noise.source, {}, self._context)
        return {name: self._mask_in(value, call) for name, value in arguments.items()}

    def _noise_in(self, value: object) -> object:
        match value:
            case Noise() if value.source in self._made:
                return self._known(value)
            case list():
                return [self._noise_in(item) for item in value]
            case _:
                return value

    def _mask_in(self, value: object, call: Call) -> object:
        match value:
            case Uniform() | DropoutMask() | MaskSum() if self.becomes(value, call):
                return self.made(value, call)
            case list():
                return [self._mask_in(item, call) for item in value]
            case _:
                return value

    def _from_rows(self, noise: Noise) -> bool:
        """Whether noise is of the batch's size, or computed from masks that are."""
        masks = (t for t in tracked_among(noise.arguments) if not isinstance(t, Noise))
        return self._of_rows(noise) or any(
            self._is_rows(each.shape)
            for each in masks
            if isinstance(each, Uniform | DropoutMask | MaskSum)
        )

    def _of_rows(self, noise: Noise) -> bool:
        value = noise.source.meta["val"]
        if isinstance(noise.function, itemgetter):
            value = noise.function(value)
        first = value[0] if isinstance(value, list | tuple) else value
        return isinstance(first, Tensor) and self._batch_in(tuple(first.shape)) is not None

    def _batch_in(self, shape: Shape) -> int | None:
        """The axis of the batch: the first, or any whose extent is the batch's symbol."""
        axes = shape[:1] if isinstance(self._context.batch, int) else shape
        return next((i for i, n in enumerate(axes) if self._context.is_batch(n)), None)

    def _is_rows(self, shape: Shape) -> bool:
        return len(shape) > 0 and self._context.is_batch(shape[0])

    def _drawn(self, noise: Noise) -> Tracked:
        """The numbers that an op draws, in the order of axes in which it draws them."""
        axis = self._batch_in(noise.shape) or 0
        made = self._in_front(noise)
        return (
            made
            if axis == 0
            else laid(
                self._context.value(made, Call(noise.source, {}, self._context)), Layout(axis)
            )
        )

    def _in_front(self, noise: Noise) -> Tracked:
        """The numbers with a mean and a deviation, or between two ends; the batch comes first."""
        call, name = Call(noise.source, noise.arguments, self._context), op_name(noise.source)
        if name in NORMALS:
            eps = self._numbers(call, Distribution.NORMAL)
            return scaled(call, eps, given(call, "std", 1.0), given(call, "mean", 0.0))
        if name == "uniform":
            low, high = (call.number(end) for end in ("from", "to"))
            u = self._numbers(call, Distribution.UNIFORM)
            return scaled(call, u, constant(high - low), constant(low))
        if name == "exponential":
            rate = call.number("lambd")
            u = self._numbers(call, Distribution.UNIFORM)
            return computed(call, u, lambda u: u.of(Function.LOG) * (-1.0 / rate))
        call.fail(
            f"draws random numbers for activations by {name!r}, which is not supported",
            "draw normal, uniform or exponential ones, or compute them from these",
        )

    def _numbers(self, call: Call, distribution: Distribution) -> Value:
        """The numbers that the call draws: one stream."""
        shape = call.shape()
        drawn, axis = Drawn(call.node, shape), self._batch_in(shape) or 0
        if axis:
            order = [axis, *(other for other in range(len(shape)) if other != axis)]
            moved = Moved(torch.ops.aten.permute.default, {"self": drawn, "dims": order})
            drawn, shape = replace(drawn, moved=moved), tuple(shape[each] for each in order)
        return self._lanes_of(call, drawn, self._row(shape, call), distribution)

    def _uniform(self, u: Uniform) -> Tracked:
        call = Call(u.drawn.source, {}, self._context)
        value = self._lanes_of(call, u.drawn, self._row(u.shape, call), Distribution.UNIFORM)
        return scaled(call, value, constant(u.scale), constant(u.offset))

    def _mask(self, call: Call, mask: DropoutMask) -> Tracked:
        """The mask as numbers: 1 for lanes that are at least a threshold, exactly as a KeepMask."""
        if not self._is_rows(mask.shape):
            value_not_supported(mask, call)
        call = Call(mask.drawn.source, {}, self._context)
        u = self._lanes_of(call, mask.drawn, self._row(mask.shape, call), Distribution.UNIFORM)
        threshold = keep_threshold(exact(1 - mask.p) if mask.low else mask.p) / _LANES

        def stepped(u: Term) -> Term:
            high = u.of(Function.AT_LEAST, threshold)
            if mask.low:
                return high.affine(-mask.scale, mask.scale)
            return high if mask.scale == 1 else high.affine(mask.scale)

        whole: Tracked = computed(call, u, stepped)
        for other in mask.others:
            whole = product(call, whole, self._mask(call, replace(other, others=())))
        return whole

    def _sum(self, call: Call, masks: MaskSum) -> Tracked:
        whole, *more = (self._mask(call, term) for term in masks.terms)
        for each in more:
            whole = summed(call, whole, each, 1.0)
        return affine(call, whole, shift=constant(masks.offset).tensor) if masks.offset else whole

    def _row(self, shape: Shape, call: Call) -> tuple[int, ...]:
        if not all(isinstance(extent, int) for extent in shape[1:]):
            call.fail(f"reads random numbers of shape {list(shape)}", "only the batch may vary")
        return tuple(int(extent) for extent in shape[1:])

    def _lanes_of(
        self, call: Call, drawn: Drawn, row: tuple[int, ...], distribution: Distribution
    ) -> Value:
        """The drawn elements as rows of this shape."""
        taken = self._lanes.take(drawn, row, call.place().loc)
        if taken.stream not in self._streams:
            if taken.stream in self._draws:
                raise mask_and_noise(call.place().loc)
            self._draws[taken.stream] = DrawSource(drawn.source, False, taken.elements)
            op = ops.Noise(distribution, taken.shape, taken.stream, taken.shared)
            self._streams[taken.stream] = step(call, "noise", op)
        value = reshaped(call, self._streams[taken.stream], taken.shape, "rows")
        return reshaped(call, broadcast(call, value, taken.row), row, "back")


def mask_and_noise(loc: Loc) -> CompileError:
    """The error about random numbers that are a dropout mask in one place, and noise in another."""
    return CompileError(
        "the same random numbers mask activations in one place, and are computed with in another",
        loc,
        remedy="draw them twice",
    )
