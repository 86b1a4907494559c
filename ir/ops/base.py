"""The op of a node: a frozen dataclass whose fields are its attributes, and the traits of ops."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from qbnnc.ir.rng import Draw
from qbnnc.ir.types import CONSTANT, Array, Axes, DType, QuantParams, Stage, TensorType
from qbnnc.ir.validity import check_type
from qbnnc.support import limits

FLOAT_STAGES = frozenset({Stage.FLOAT, Stage.SIMULATED})
INTEGER_STAGE = frozenset({Stage.INTEGER})
EVERY_STAGE = frozenset(Stage)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An input as an op's `evaluate` sees it: numbers, and what they mean.

    `data` is [L, B, *shape], with 1 in place of L or B where the value does not vary with the
    sample or the row, so that tensors broadcast.
    """

    data: Array
    type: TensorType

    @property
    def quant(self) -> QuantParams:
        """The quantiser of the codes; ValueError if these are not codes."""
        return codes_of(self.type)

    @property
    def scale(self) -> Array:
        """S, f32, shaped to broadcast against `data`."""
        return self.quant.scale_array(len(self.type.shape))

    @property
    def zero_point(self) -> Array:
        """Z, i32, shaped to broadcast against `data`."""
        return self.quant.zero_point_array(len(self.type.shape))


class Op(ABC):
    """One operation of the closed set of its stages.

    The traits say what passes and backends must know of an op, so that none of them lists op
    classes of its own. Each is False unless the class says otherwise:

    - `keeps_codes`: codes of the result are codes of the inputs, and mean `grid_factor` times as
      much as on the first input's grid. New ones are the zero point, or 0 in a pool's padding.
    - `adds_zeros`: elements of the result may be zeros that no input holds.
    - `elementwise`: an element of the result depends on that element of the inputs alone, or on
      the one that broadcasts to it.
    - `composable`: several such ops in a row can be steps of one Composite.
    - `has_own_scale`: the integers of the result need a scale and zero point of their own.
    - `leaves_as_number`: as an output the result needs no such codes. It leaves as dequantised
      accumulators, or by a table of numbers.
    - `commutes_with_clamp`: clamping the first input by bounds that keep 0 clamps the result by
      `grid_factor` times these bounds.
    - `commutes_with_factor`: multiplying the first input by a positive number multiplies the
      result by it, once the bounds of a clamp are multiplied too.
    - `makes_accumulators`: the result is an int32 sum whose range must be proved.
    """

    __slots__ = ()
    stages: ClassVar[frozenset[Stage]]
    since: ClassVar[int] = 1  # the version of the file format that the op came with
    keeps_codes: ClassVar[bool] = False
    adds_zeros: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    composable: ClassVar[bool] = False
    has_own_scale: ClassVar[bool] = False
    leaves_as_number: ClassVar[bool] = False
    commutes_with_clamp: ClassVar[bool] = False
    commutes_with_factor: ClassVar[bool] = False
    makes_accumulators: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The class's name in snake case: "Conv2d" -> "conv2d"."""
        return op_name(type(self))

    @property
    def grid_factor(self) -> float:
        """The factor by which an op that keeps codes multiplies what they mean."""
        return 1.0

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """The result's type; ValueError, saying why, if the inputs or the fields do not fit."""

    def result(self, *inputs: TensorType) -> TensorType:
        """The type that `infer` gives; ValueError if it is beyond the limits, too."""
        limits.OPERANDS.check(len(inputs))
        type_ = self.infer(*inputs)
        check_type(type_)
        return type_


def op_name(cls: type[Op]) -> str:
    """The name of a class of ops in texts: "conv2d" for Conv2d."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


class DeterministicOp(Op):
    """An op that is a function of its inputs."""

    __slots__ = ()

    @abstractmethod
    def evaluate(self, *inputs: Tensor) -> Array:
        """The value that defines the op, [L, B, *shape]; backends return these bits (INTEGER)."""


class ClampedOp(DeterministicOp):
    """An op whose result is clamped to the codes low..high."""

    __slots__ = ()
    low: int
    high: int


class RandomOp(Op):
    """An op without inputs that draws random numbers, lanes of the stream it is numbered with."""

    __slots__ = ()
    shape: tuple[int, ...]
    stream: int

    @abstractmethod
    def draw(self, draw: Draw) -> Array:
        """Random numbers [L, B, *shape], or [L, 1, *shape] if the rows share them."""


def union(*inputs: TensorType) -> Axes:
    """The axes of a result: whatever any input varies with."""
    return CONSTANT.union(*(i.axes for i in inputs))


def codes_of(type: TensorType) -> QuantParams:
    """The quantiser of a type; ValueError if it has none."""
    if type.quant is None:
        raise ValueError(f"takes codes, not {type}")
    return type.quant


def expect_codes_of_any_type(type: TensorType) -> None:
    """ValueError unless these are codes: of activations (u8), weights (i8) or biases (i32)."""
    if type.dtype is DType.F32 or type.quant is None:
        raise ValueError(f"takes codes, not {type}")


def expect_codes(*types: TensorType) -> None:
    """ValueError unless all are u8 codes of activations."""
    for type_ in types:
        if type_.dtype is not DType.U8 or type_.quant is None:
            raise ValueError(f"takes u8 codes, not {type_}")


def expect_reals(*types: TensorType) -> None:
    """ValueError unless all are float32 numbers."""
    for type_ in types:
        if type_.dtype is not DType.F32:
            raise ValueError(f"takes real numbers, not {type_}")


def expect_axis(type: TensorType, axis: int) -> None:
    """ValueError unless the shape has this axis."""
    if not 0 <= axis < len(type.shape):
        raise ValueError(f"{type} has no axis {limits.shown(axis)}")


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that both broadcast to; ValueError if there is none."""
    rank = max(len(a), len(b))
    pairs = zip(*((1,) * (rank - len(s)) + s for s in (a, b)), strict=True)
    shape = list[int]()
    for m, n in pairs:
        if m != n and 1 not in (m, n):
            raise ValueError(f"{list(a)} and {list(b)} do not broadcast")
        shape.append(n if m == 1 else m)
    return tuple(shape)


def broadcasts_to(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a value of this shape broadcasts to the whole one."""
    offset = len(whole) - len(shape)
    return offset >= 0 and all(n in (1, whole[offset + i]) for i, n in enumerate(shape))


def expect_shape(what: str, type: TensorType, shape: tuple[int, ...]) -> None:
    """ValueError unless `type` has this shape."""
    if type.shape != shape:
        raise ValueError(f"{what} has shape {list(type.shape)}, not {list(shape)}")


def expect_count(inputs: tuple[TensorType, ...], count: int) -> None:
    """ValueError unless there are `count` inputs."""
    if len(inputs) != count:
        raise ValueError(f"takes {count} inputs, not {len(inputs)}")
