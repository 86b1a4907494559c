"""What a node does: an Op is a frozen dataclass whose fields are the attributes."""

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
    """What an op's `evaluate` sees of an input: numbers, and what they mean.

    `data` is [L, B, *shape], with 1 in place of L or B where the value does not vary with the
    sample or the row, so that tensors broadcast.
    """

    data: Array
    type: TensorType

    @property
    def quant(self) -> QuantParams:
        """What the codes mean; ValueError if these are not codes."""
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
    """One operation of the closed set of its stages."""

    __slots__ = ()
    stages: ClassVar[frozenset[Stage]]

    @property
    def name(self) -> str:
        """The class's name in snake case: "Conv2d" -> "conv2d"."""
        return op_name(type(self))

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """The result's type; ValueError, saying why, if the inputs or the fields do not fit."""

    def result(self, *inputs: TensorType) -> TensorType:
        """As `infer`, within the limits: how builders and checks ask an op for its type."""
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
        """What the op means, [L, B, *shape]; every backend returns the INTEGER ops' bits."""


class RandomOp(Op):
    """An op without inputs that draws random numbers, lanes of the stream it is numbered with."""

    __slots__ = ()
    shape: tuple[int, ...]
    stream: int

    @abstractmethod
    def draw(self, draw: Draw) -> Array:
        """[L, B, *shape], or [L, 1, *shape] if the rows share it."""


def union(*inputs: TensorType) -> Axes:
    """What a result varies with: whatever any input varies with."""
    return CONSTANT.union(*(i.axes for i in inputs))


def codes_of(type: TensorType) -> QuantParams:
    """What the codes of a type mean; ValueError if it has none."""
    if type.quant is None:
        raise ValueError(f"takes codes, not {type}")
    return type.quant


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
