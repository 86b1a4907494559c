"""The type of a value: element type, shape, what it varies with, and what its codes mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # the element type is the TensorType's business, not Python's


class Stage(IntEnum):
    """The level of a graph: float, fake-quantised or integer. Each is a closed set of ops."""

    FLOAT = 0  # the user's model
    SIMULATED = 1  # the same, with FakeQuantize (SQ) nodes where codes will be
    INTEGER = 2  # codes only, between the input quantiser and the outputs


class DType(Enum):
    F32 = "f32"
    U8 = "u8"
    I8 = "i8"
    I32 = "i32"

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self]

    @staticmethod
    def of(dtype: np.dtype[Any]) -> DType:
        """The DType of a numpy dtype; ValueError if there is none."""
        for ours, theirs in _NUMPY.items():
            if theirs == dtype:
                return ours
        raise ValueError(f"no value of a graph has the element type {dtype}")


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.U8: np.dtype(np.uint8),
    DType.I8: np.dtype(np.int8),
    DType.I32: np.dtype(np.int32),
}


class Axis(Enum):
    """A leading axis a value may have besides its shape."""

    ROW = "row"  # the rows of the batch
    SAMPLE = "sample"  # the Monte-Carlo samples


Axes: TypeAlias = frozenset[Axis]
CONSTANT: Axes = frozenset()
PER_ROW: Axes = frozenset({Axis.ROW})
PER_SAMPLE: Axes = frozenset({Axis.SAMPLE})
PER_ROW_AND_SAMPLE: Axes = PER_ROW | PER_SAMPLE


@dataclass(frozen=True, slots=True)
class QuantParams:
    """real = scale * (code - zero_point), codes low..high (docs/semantics.md, section 1).

    One scale and zero point, or one for each index of `axis` of the shape. Scales are float32
    numbers, held exactly.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    low: int
    high: int
    axis: int | None = None

    def __post_init__(self) -> None:
        per_index = self.axis is not None
        if len(self.scale) != len(self.zero_point) or (len(self.scale) != 1 and not per_index):
            raise ValueError("one scale and one zero point, or one of each for every index")

    @property
    def bits(self) -> int:
        return (self.high - self.low).bit_length()

    @property
    def per_tensor(self) -> tuple[float, int]:
        """(scale, zero_point) of a value that has one of each; ValueError otherwise."""
        if self.axis is not None or len(self.scale) != 1:
            raise ValueError("the value has a scale for each channel, not one")
        return self.scale[0], self.zero_point[0]

    def scale_array(self, rank: int) -> NDArray[np.float32]:
        """The scales, shaped to broadcast against `rank` trailing axes."""
        return np.asarray(self.scale, np.float32).reshape(self._broadcast_shape(rank))

    def zero_point_array(self, rank: int) -> NDArray[np.int32]:
        """The zero points, shaped to broadcast against `rank` trailing axes."""
        return np.asarray(self.zero_point, np.int32).reshape(self._broadcast_shape(rank))

    def _broadcast_shape(self, rank: int) -> list[int]:
        return [len(self.scale) if i == self.axis else 1 for i in range(rank)]

    def scaled(self, factor: float) -> QuantParams:
        """The same codes, meaning `factor` times as much. float64 product, one rounding to f32.

        ValueError unless the factor is positive: scales are.
        """
        if not factor > 0:
            raise ValueError(f"codes cannot mean {factor} times as much; their scale is positive")
        scale = tuple(float(np.float32(s * factor)) for s in self.scale)
        return QuantParams(scale, self.zero_point, self.low, self.high, self.axis)

    def __str__(self) -> str:
        scales = f"{self.scale[0]:.6g}" if self.axis is None else f"{len(self.scale)} scales"
        zero = {*self.zero_point}
        zeros = f"{min(zero)}" if len(zero) == 1 else f"{min(zero)}..{max(zero)}"
        codes = "" if self.bits > 8 else f", {self.low}..{self.high}"
        return f"<{scales}, z={zeros}{codes}>"


EPS_QUANT = QuantParams((float(np.float32(3 / 127)),), (0,), -127, 127)  # for N(0, 1)


@dataclass(frozen=True, slots=True)
class TensorType:
    """`shape` leaves out the batch and the samples; `axes` says which of the two a value has.

    `quant` says what the codes mean (INTEGER), or on which grid an f32 value lies (SIMULATED).
    """

    dtype: DType
    shape: tuple[int, ...]
    axes: Axes = CONSTANT
    quant: QuantParams | None = None

    @property
    def size(self) -> int:
        """Elements of one row of one sample."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one row of one sample."""
        return self.size * self.dtype.numpy.itemsize

    def __str__(self) -> str:
        axes = "".join(f"{a.value}," for a in Axis if a in self.axes).rstrip(",")
        shape = ",".join(map(str, self.shape))
        quant = "" if self.quant is None else str(self.quant)
        return f"{self.dtype.value}[{shape}]" + (f"{{{axes}}}" if axes else "") + quant
