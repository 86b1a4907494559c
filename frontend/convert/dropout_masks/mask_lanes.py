"""Lanes of a mask: the elements of a draw that mask the elements of a value.

A KeepMask gives each row lanes of its own, or all rows the same, in row-major order of its shape. A
view of a draw is such a mask on two conditions.

1. Each row of the batch takes elements of its own, or all rows take the same ones.
2. Within a row, an element masks one element, or all along some axes (broadcasting).

Elements are drawn independently. So any numbering of lanes has the same distribution, if all uses
of an element agree on it. A part of a draw that is used by itself gets a stream of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn
from qbnnc.support.errors import CompileError, Loc

_SIZES = (3, 5)  # batches to try if any is allowed: a form that holds for both holds for all
_BLOCKS = 1 << 16  # streams reserved for the parts of one draw

_HOW = "draw it with the shape of the tensor it masks, or with ones where it is shared"


@dataclass(frozen=True, slots=True, eq=False)
class MaskLanes:
    """The lanes of a KeepMask: `shape` of a row, and `stream` in order of execution.

    The masked value broadcasts with it under the shape `row`. `elements` [rows or 1, lanes] are the
    numbers of the drawn elements that rows take, for each size of the batch.
    """

    shape: tuple[int, ...]
    row: tuple[int, ...]
    shared: bool
    stream: int
    elements: tuple[Tensor, ...]


class Lanes:
    """The streams of all draws; `position` numbers the nodes in order of execution."""

    def __init__(self, batch: int | torch.SymInt, position: Mapping[fx.Node, int]) -> None:
        self._sizes = (batch,) if isinstance(batch, int) else _SIZES
        self._position = position
        self._taken: dict[fx.Node, list[MaskLanes]] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the batch that are tried."""
        return self._sizes

    def stream(self, source: fx.Node, part: int = 0) -> int:
        return self._position[source] * _BLOCKS + part

    def take(self, drawn: Drawn, row: tuple[int, ...], loc: Loc) -> MaskLanes:
        """The lanes that mask rows of this shape; CompileError if no KeepMask has such lanes."""
        views = [_View.of(drawn, row, size) for size in self._sizes]
        found = next((f for f in _forms(views, row) if f is not None), None)
        if found is None:
            shape = list(drawn.shape if drawn.moved is None else views[0].places.shape[1:])
            what = "shape" if drawn.moved is None else "rows, after reshapes and the like, of shape"
            raise CompileError(
                f"a mask of {what} {shape} does not fit {list(row)} for each row of the batch: "
                "rows or elements of it share random numbers in a way no broadcast does",
                loc,
                remedy=_HOW,
            )
        form, elements = found
        stream = self._stream_of(drawn.source, elements, loc)
        return MaskLanes(form.shape, form.row, form.shared, stream, elements)

    def stream_of_weights(self, source: fx.Node, elements: Tensor, loc: Loc) -> int:
        """The stream of the elements [1, lanes] of a mask on a weight."""
        return self._stream_of(source, (elements,) * len(self._sizes), loc)

    def _stream_of(self, source: fx.Node, elements: tuple[Tensor, ...], loc: Loc) -> int:
        """The stream of these elements; elements that were used before keep their stream."""
        known = self._taken.setdefault(source, [])
        for part, other in enumerate(known):
            if _all_equal(other.elements, elements):
                return self.stream(source, part)
            if _overlap(other.elements[0], elements[0]):
                raise CompileError(
                    "one mask is used twice, and the elements are not in the same order or only "
                    "some of them are used again",
                    loc,
                    remedy="use it in one order, or draw two masks",
                )
        stream = self.stream(source, len(known))
        known.append(MaskLanes((), (), False, stream, elements))
        return stream


@dataclass(frozen=True, slots=True)
class _Form:
    shape: tuple[int, ...]
    row: tuple[int, ...]
    shared: bool


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A view of a draw for one size of the batch, with one axis more than a row."""

    places: Tensor
    row: tuple[int, ...]
    batch: int
    of_rows: bool  # the first axis is the batch
    distinct: bool  # each element has one place
    stages: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(drawn: Drawn, row: tuple[int, ...], batch: int) -> _View:
        places = drawn.places(batch)
        of_rows = places.ndim == len(row) + 1 and len(places) == batch
        places = places.reshape((1,) * (len(row) + 1 - places.ndim) + tuple(places.shape))
        stages = () if drawn.moved is None else tuple(drawn.stages(batch))
        return _View(places, row, batch, of_rows, drawn.moved is None, stages)

    def under(self, row: tuple[int, ...]) -> tuple[_Form, Tensor] | None:
        """The form against rows of this shape, and the elements [rows or 1, lanes]."""
        places = self.places
        if not self.distinct and not _fits(places, row) and _fits(places, self.row):
            places = places.expand(len(places), *self.row)
        if tuple(places.shape[1:]) != row and places[0].numel() == torch.Size(row).numel():
            places = places.reshape(len(places), *row)
        if not (self.of_rows or len(places) == 1):
            return None
        if not _fits(places, row):
            return None
        shared = not self.of_rows
        if not self.distinct:
            places = _without_repeats(places)
            shared = shared or len(places) < self.batch
            if len(places.unique()) != places.numel():
                return None
        form = _Form(tuple(places.shape[1:]), row, shared)
        return form, places.reshape(len(places), -1)


def _forms(
    views: list[_View], row: tuple[int, ...]
) -> Iterator[tuple[_Form, tuple[Tensor, ...]] | None]:
    """Yield the form under each shape that a row has had, if all sizes of the batch agree on it."""
    size = torch.Size(row).numel()
    stages = [part for stage in views[0].stages for part in (stage[1:], stage)]
    inner = [stage[1:] for stage in views[0].stages]
    stages += [(*stage, *row[axes:]) for stage in inner for axes in range(1, len(row))]
    earlier = [shape for shape in stages if torch.Size(shape).numel() == size]
    for shape in dict.fromkeys([row, *earlier, *_divided(row)]):
        forms = [view.under(shape) for view in views]
        found = [form for form in forms if form is not None]
        if len(found) == len(views) and all(form == found[0][0] for form, _ in found):
            yield found[0][0], tuple(elements for _, elements in found)


def _divided(row: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the shapes with one axis divided in two, for elements repeated in runs or in turns."""
    for axis, extent in enumerate(row):
        for part in range(2, extent):
            if extent % part == 0:
                yield (*row[:axis], part, extent // part, *row[axis + 1 :])


def _fits(places: Tensor, row: tuple[int, ...]) -> bool:
    """Whether places with an axis in front broadcast with a row."""
    inner = places.shape[1:]
    return len(inner) == len(row) and all(m in (1, n) for m, n in zip(inner, row, strict=True))


def _without_repeats(places: Tensor) -> Tensor:
    """The places without the axes along which the elements are the same."""
    for axis in range(places.ndim):
        first = places.narrow(axis, 0, 1)
        if bool((places == first).all()):
            places = first
    return places


def _all_equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _overlap(a: Tensor, b: Tensor) -> bool:
    return bool(torch.isin(a.contiguous(), b.contiguous()).any())
