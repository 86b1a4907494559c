"""The random numbers of a module, taken from the counters of docs/semantics.md, section 5.

While `SuppliedDraws` is active, each op that draws gives the numbers that the FLOAT graph draws
from its stream. So the module and the graph can be compared in value, call by call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.frontend.torch_modes import Arguments, Keywords, RandomOpMode
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import ChoiceIndex, KeepMask, Noise, Normal
from qbnnc.ir.rng import Draw, keep_threshold, normal_table
from qbnnc.ir.types import Array

_UNMATCHED = 1 << 31  # streams from here on are for draws that the outputs do not depend on
_LANES = 65536.0


class Distribution(Enum):
    """The distributions of which a graph has streams."""

    BERNOULLI = "bernoulli"
    UNIFORM = "uniform"
    NORMAL = "normal"
    INTEGER = "integer"
    EXPONENTIAL = "exponential"


_DISTRIBUTIONS: Mapping[str, Distribution] = {
    "bernoulli": Distribution.BERNOULLI,
    "dropout": Distribution.BERNOULLI,
    "exponential": Distribution.EXPONENTIAL,
    "feature_dropout": Distribution.BERNOULLI,
    "native_dropout": Distribution.BERNOULLI,
    "rand": Distribution.UNIFORM,
    "rand_like": Distribution.UNIFORM,
    "uniform": Distribution.UNIFORM,
    "multinomial": Distribution.INTEGER,
    "normal": Distribution.NORMAL,
    "normal_functional": Distribution.NORMAL,
    "randint": Distribution.INTEGER,
    "randint_like": Distribution.INTEGER,
    "randn": Distribution.NORMAL,
    "randn_like": Distribution.NORMAL,
}


def distribution_of(op: str) -> Distribution | None:
    """The distribution that an aten op draws from, by its name without overload; None: another."""
    return _DISTRIBUTIONS.get(op.removesuffix("_"))


class UnmatchedDraw(Exception):
    """A draw of the module has no counterpart in the graph; the text says which and how."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The elements of a draw that a stream stands for; see convert.draw_sources.DrawSource.

    `elements` [rows or 1, lanes] number the draw's elements in row-major order; None means all.
    `lanes` (start, stop) are those of the stream that stand for them; None means all.
    """

    stream: int
    low: bool
    elements: NDArray[np.int64] | None
    lanes: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A draw of the traced program, in order of execution.

    The streams `parts` stand for it; nothing depends on elements without a stream. `signs` marks
    random signs of Flipout, which the graph leaves out. `where` is for messages.
    """

    distribution: Distribution | None
    parts: tuple[Part, ...]
    signs: bool
    where: str


@dataclass(frozen=True, slots=True)
class Lanes:
    """A stream of a graph: the number of its 16-bit lanes, and whether all rows share them."""

    count: int
    shared: bool


def lanes_of(graph: Graph) -> dict[int, Lanes]:
    """The streams of a graph by number."""
    found = dict[int, Lanes]()
    for _, op in random_nodes(graph):
        match op:
            case (
                KeepMask(shape=shape, shared=shared)
                | Noise(shape=shape, shared=shared)
                | ChoiceIndex(shape=shape, shared=shared)
            ):
                found[op.stream] = Lanes(prod(shape), shared)
            case Normal(shape=shape):
                found[op.stream] = Lanes(prod(shape), True)
    return found


class SuppliedDraws(RandomOpMode):
    """Supplies the draws of the module, call by call; `begin` starts a call."""

    def __init__(
        self, plan: Sequence[Planned], streams: Mapping[int, Lanes], rows: int, seed: int
    ) -> None:
        super().__init__()
        self._plan, self._streams, self._rows, self._seed = plan, streams, rows, seed
        self._sample = self._next = 0

    def begin(self, sample: int) -> None:
        self._sample, self._next = sample, 0

    def finish(self) -> None:
        """Raise UnmatchedDraw if the call has made fewer draws than the program."""
        if self._next < len(self._plan):
            missing = self._plan[self._next]
            raise UnmatchedDraw(
                f"a call of forward has not drawn what tracing saw it draw ({missing.where})"
            )

    def drawn(self, op: torch._ops.OpOverload, args: Arguments, kwargs: Keywords) -> object:
        name = op._schema.name.removeprefix("aten::")
        given = zip(op._schema.arguments, args, strict=False)
        arguments = {argument.name: value for argument, value in given} | dict(kwargs)
        if name == "native_dropout":
            active = arguments.get("train") is not False
            masked = self._native_dropout(arguments) if active else None
            return op(*args, **kwargs) if masked is None else masked
        mean, one = _parameters(name, arguments)
        result = cast(Tensor, op(*args, **kwargs))
        value = self._supplied(name, result, mean, one)
        return result if value is None else result.copy_(value)

    def _native_dropout(self, arguments: Mapping[str, object]) -> tuple[Tensor, Tensor] | None:
        """(x * mask / (1 - p), mask); None where nothing depends on the mask."""
        x, p = cast(Tensor, arguments["input"]), float(cast(float, arguments["p"]))
        keep = self._supplied("native_dropout", torch.empty_like(x), 0.0, 1 - p)
        return None if keep is None else (x * keep.to(x.dtype) / (1 - p), keep.bool())

    def _supplied(
        self, name: str, drawn: Tensor, low: Tensor | float, high: Tensor | float
    ) -> Tensor | None:
        """The numbers in place of `drawn`; None if it has another distribution than a stream's.

        `low` and `high` are the ends of a uniform draw, or the mean and standard deviation of a
        normal one. For a Bernoulli draw `high` is the probability of a 1, and for an exponential
        one the rate.
        """
        if self._next == len(self._plan):
            raise UnmatchedDraw(
                f"a call of forward draws a random tensor {list(drawn.shape)} ({name.strip('_')}) "
                "that tracing has not seen"
            )
        planned = self._plan[self._next]
        self._next += 1
        distribution = distribution_of(name)
        if planned.distribution is not distribution:
            raise UnmatchedDraw(
                f"a call of forward draws {name.strip('_')!r} where tracing saw another draw "
                f"({planned.where})"
            )
        if distribution is None:
            return None
        lanes, flipped = self._lanes(planned, drawn)
        match distribution:
            case Distribution.UNIFORM:
                u = (lanes.astype(np.float64) + 0.5) / _LANES
                u = np.maximum(u, 1 - u) if planned.signs else np.where(flipped, 1 - u, u)
                return low + (high - low) * torch.from_numpy(np.asarray(u))
            case Distribution.NORMAL:
                eps = normal_table()[lanes]
                noise = np.asarray(np.abs(eps) if planned.signs else eps)
                return low + high * torch.from_numpy(noise)
            case Distribution.EXPONENTIAL:
                u = np.asarray((lanes.astype(np.float64) + 0.5) / _LANES)
                return -torch.log(torch.from_numpy(u)) / high
            case Distribution.INTEGER:
                numbers = lanes.astype(np.int64) * int(high - low) >> 16
                return int(low) + torch.from_numpy(np.asarray(numbers))
            case Distribution.BERNOULLI:
                if planned.signs:
                    return torch.ones(drawn.shape)
                return _ones(lanes, high, flipped)

    def _lanes(self, planned: Planned, drawn: Tensor) -> tuple[NDArray[np.uint16], Array]:
        """The lanes of a draw in its shape, and a mask of the elements of which low ones are kept.

        UnmatchedDraw: the graph shares lanes between rows in another way.
        """
        shape = tuple(drawn.shape)
        draw = Draw.of(self._seed, [self._sample], range(self._rows))
        lanes = draw.lanes(_UNMATCHED + self._next, prod(shape), shared=True).reshape(-1)
        flipped = np.zeros(prod(shape), bool)
        for part in planned.parts:
            stream = self._streams.get(part.stream)
            if stream is None:
                raise UnmatchedDraw(
                    f"forward draws a random tensor {list(shape)} that the compiled network leaves "
                    f"out ({planned.where})"
                )
            whole = draw.lanes(part.stream, stream.count, shared=stream.shared)[0]
            own = whole[..., slice(*part.lanes or (None,))]
            places = self._places(part, prod(shape))
            if places.shape != own.shape or places.max(initial=-1) >= prod(shape):
                where = "for the whole batch" if stream.shared else "for each row"
                raise UnmatchedDraw(
                    f"forward draws a random tensor {list(shape)} for {self._rows} rows, and the "
                    f"compiled network {stream.count} numbers {where} ({planned.where})"
                )
            lanes[places], flipped[places] = own, part.low
        return lanes.reshape(shape), flipped.reshape(shape)

    def _places(self, part: Part, count: int) -> NDArray[np.int64]:
        return np.arange(count)[None] if part.elements is None else part.elements


def _parameters(
    name: str, arguments: Mapping[str, object]
) -> tuple[Tensor | float, Tensor | float]:
    """(low, high) of `_supplied`, read before the op is run: it may overwrite them."""

    def given(*names: str, default: float) -> Tensor | float:
        value = next((arguments[n] for n in names if arguments.get(n) is not None), default)
        return value.clone() if isinstance(value, Tensor) else float(cast(float, value))

    match distribution_of(name):
        case Distribution.UNIFORM if name.startswith("uniform"):
            return given("from", "from_", default=0.0), given("to", default=1.0)
        case Distribution.NORMAL if name.startswith("normal"):
            return given("mean", default=0.0), given("std", default=1.0)
        case Distribution.EXPONENTIAL:
            return 0.0, given("lambd", default=1.0)
        case Distribution.INTEGER if name == "multinomial":
            return 0.0, float(cast(Tensor, arguments["self"]).shape[-1])
        case Distribution.INTEGER:
            return given("low", default=0.0), given("high", default=1.0)
        case Distribution.BERNOULLI:
            inside = "self" if name == "bernoulli" else "p"
            return 0.0, given("p", inside, default=0.5)
        case _:
            return 0.0, 1.0


def _ones(lanes: Array, probability: Tensor | float, low: Array) -> Tensor:
    """A Bernoulli draw: 1 for the high lanes, or for the low ones if `low`."""
    p = np.broadcast_to(_in_few_digits(probability), lanes.shape)
    threshold = _thresholds(np.round(np.where(low, p, 1 - p), 12))
    return torch.from_numpy(np.where(low, lanes < threshold, lanes >= threshold))


def _in_few_digits(probability: Tensor | float) -> Array:
    """Probabilities in float64; a float32 0.7 is 0.7, as the front end reads it."""
    if not isinstance(probability, Tensor):
        return np.asarray(probability, np.float64)
    values, where = np.unique(probability.detach().float().numpy(), return_inverse=True)
    exact = np.array([float(str(value)) for value in values.reshape(-1)])
    result: Array = exact[where].reshape(probability.shape)
    return result


def _thresholds(p: Array) -> Array:
    """The keep_threshold of each probability."""
    values, where = np.unique(p, return_inverse=True)
    table = np.array([keep_threshold(float(v)) for v in values.reshape(-1)])
    thresholds: Array = table[where].reshape(p.shape)
    return thresholds
