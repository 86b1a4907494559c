"""One example of every op: its fields, inputs that it takes, and its traits, written by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.ops import (
    Add,
    AddQuantized,
    Affine,
    AveragePool2d,
    BatchNorm,
    Choice,
    ChoiceIndex,
    Clamp,
    ClampCodes,
    Composite,
    Concat,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    Distribution,
    Embedding,
    EmbeddingCodes,
    EpsCodes,
    FakeQuantize,
    Function,
    Gather,
    InsertZeros,
    KeepMask,
    Linear,
    LinearInteger,
    Lookup,
    LookupReal,
    Mask,
    MatMul,
    MatMulInteger,
    MaxPool2d,
    MaxUnpool,
    Multiply,
    MultiplyInteger,
    Noise,
    NoiseCodes,
    Normal,
    Normalize,
    NormalizeInteger,
    Op,
    Operation,
    Pad,
    Part,
    QuantizeInput,
    Requantize,
    Reshape,
    SampledWeight,
    SampledWeightInteger,
    ScaledSoftmax,
    Select,
    Slice,
    Softmax,
    SoftmaxInteger,
    Step,
    SumPoolInteger,
    Tensor,
    Transpose,
    Unary,
    UpsampleNearest,
)
from qbnnc.ir.ops.choice import index_range
from qbnnc.ir.types import (
    CONSTANT,
    EPS_QUANT,
    PER_ROW,
    PER_SAMPLE,
    Array,
    Axes,
    DType,
    QuantParams,
    TensorType,
)

GRID = QuantParams((0.125,), (3,), 0, 127)
_OTHER = QuantParams((0.25,), (5,), 0, 127)
_WEIGHT = QuantParams((0.5,), (0,), -127, 127)
_TO_CODES = QuantParams((0.5,), (7,), 0, 127)
MOVES = "keeps_codes commutes_with_clamp commutes_with_factor"
_STEPS = (Step(Operation.FUNCTION, (0,), (0.0,), Function.TANH), Step(Operation.ADD, (0, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An op, inputs that it takes (none for a random op), and the names of its traits."""

    op: Op
    inputs: tuple[Tensor, ...] = ()
    traits: str = ""

    @property
    def codes(self) -> bool:
        """Whether the first input holds codes."""
        return self.inputs[0].type.dtype is not DType.F32


def _tensor(array: Array, axes: Axes = PER_ROW, quant: QuantParams | None = None) -> Tensor:
    """An array [*shape] of one row of one sample."""
    type_ = TensorType(DType.of(array.dtype), array.shape, axes, quant)
    return Tensor(array[None, None], type_)


def _reals(*shape: int, seed: int = 0, axes: Axes = PER_ROW) -> Tensor:
    return _tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32), axes)


def _on_grid(*shape: int, seed: int = 0) -> Tensor:
    """Float32 numbers on GRID: a simulated value."""
    codes = np.random.default_rng(seed).integers(0, 20, shape)
    return _tensor(((codes - 3) * 0.125).astype(np.float32), quant=GRID)


def _codes(*shape: int, seed: int = 0, quant: QuantParams = GRID) -> Tensor:
    codes = np.random.default_rng(seed).integers(1, 128, shape).astype(np.uint8)
    return _tensor(codes, quant=quant)


def _constant(array: Array, quant: QuantParams | None = None) -> Tensor:
    return _tensor(array, CONSTANT, quant)


def _weight(*shape: int, axes: Axes = CONSTANT, quant: QuantParams = _WEIGHT) -> Tensor:
    codes = np.random.default_rng(9).integers(-90, 91, shape).astype(np.int8)
    return _tensor(codes, axes, quant)


def _parameters(*shape: int) -> tuple[Tensor, Tensor]:
    return _reals(*shape, seed=1, axes=CONSTANT), _reals(shape[0], seed=2, axes=CONSTANT)


def _integer_parameters(*shape: int) -> tuple[Tensor, Tensor]:
    bias = np.arange(shape[0], dtype=np.int32)
    return _weight(*shape), _constant(bias, QuantParams((0.0625,), (0,), -(2**30), 2**30))


def _accumulators() -> Tensor:
    quant = QuantParams((0.0625,), (0,), -(2**31), 2**31 - 1)
    return _tensor(np.arange(-90, 6, dtype=np.int32).reshape(4, 4, 6), quant=quant)


def _mask(*shape: int) -> Tensor:
    keep = np.random.default_rng(4).integers(0, 2, shape).astype(np.uint8)
    return _tensor(keep, PER_ROW)


def _channels(number: float) -> Tensor:
    return _constant(np.full(4, number, np.float32))


def _index(number: int, count: int) -> Tensor:
    return _tensor(np.array([number], np.int32), PER_SAMPLE, index_range(count))


def _ids(*shape: int, rows: int) -> Tensor:
    ids = np.random.default_rng(6).integers(0, rows, shape)
    return _tensor(ids.astype(np.float32))


def _table(*shape: int) -> Tensor:
    codes = np.random.default_rng(7).integers(0, 128, shape).astype(np.uint8)
    return _constant(codes, GRID)


_IMAGE = (4, 4, 6)
_SCALARS = tuple(
    _constant(np.full((4, 1, 1), number, np.float32)) for number in (1.5, 0.25)
)  # scale and shift

_EXAMPLES: tuple[Example, ...] = (
    Example(
        Add(),
        (_reals(*_IMAGE), _reals(*_IMAGE, seed=1)),
        traits="elementwise composable has_own_scale",
    ),
    Example(
        AddQuantized(_TO_CODES, 0, 127),
        (_codes(*_IMAGE), _codes(*_IMAGE, quant=_OTHER)),
        traits="elementwise",
    ),
    Example(Affine(), (_reals(*_IMAGE), *_SCALARS), traits="elementwise composable"),
    Example(
        AveragePool2d((2, 2), (2, 2)),
        (_on_grid(*_IMAGE),),
        traits="has_own_scale commutes_with_factor",
    ),
    Example(
        BatchNorm(1e-5),
        (_on_grid(*_IMAGE), *map(_channels, (1.5, 0.5, 0.1, 2.0))),
        traits="elementwise",
    ),
    Example(Choice(), (_weight(3, 4, 2), _index(2, 3)), traits="keeps_codes"),
    Example(ChoiceIndex(3, 0)),
    Example(
        Clamp(-0.3, 1.0), (_on_grid(*_IMAGE),), traits="elementwise composable commutes_with_factor"
    ),
    Example(ClampCodes(5, 90), (_codes(*_IMAGE),), traits="keeps_codes elementwise"),
    Example(
        Composite(_STEPS),
        (_on_grid(*_IMAGE),),
        traits="elementwise composable has_own_scale leaves_as_number",
    ),
    Example(Concat(0), (_on_grid(*_IMAGE), _on_grid(*_IMAGE, seed=1)), traits="keeps_codes"),
    Example(
        Conv2d(),
        (_on_grid(*_IMAGE), *_parameters(3, 4, 2, 2)),
        traits="has_own_scale leaves_as_number",
    ),
    Example(
        Conv2dInteger(),
        (_codes(*_IMAGE), *_integer_parameters(3, 4, 2, 2)),
        traits="makes_accumulators",
    ),
    Example(Dequantize((96,)), (_codes(*_IMAGE),)),
    Example(Embedding(), (_ids(2, 3, rows=6), _reals(6, 4, axes=CONSTANT)), traits="has_own_scale"),
    Example(EmbeddingCodes(), (_ids(2, 3, rows=6), _table(6, 4))),
    Example(EpsCodes((5,), 0)),
    Example(FakeQuantize(_TO_CODES), (_reals(*_IMAGE),), traits="elementwise"),
    Example(Gather(1, (2, 0, 0)), (_on_grid(*_IMAGE),), traits=MOVES),
    Example(InsertZeros((2, 2)), (_on_grid(*_IMAGE),), traits=f"{MOVES} adds_zeros"),
    Example(KeepMask((5,), 0.5, 0)),
    Example(Linear(), (_on_grid(7), *_parameters(3, 7)), traits="has_own_scale leaves_as_number"),
    Example(LinearInteger(), (_codes(7), *_integer_parameters(3, 7)), traits="makes_accumulators"),
    Example(
        Lookup(_TO_CODES),
        (_codes(*_IMAGE), _constant(np.arange(128, dtype=np.uint8))),
        traits="elementwise",
    ),
    Example(
        LookupReal(),
        (_codes(*_IMAGE), _constant(np.arange(128, dtype=np.float32))),
        traits="elementwise",
    ),
    Example(
        Mask(2.0), (_on_grid(*_IMAGE), _mask(4, 1, 1)), traits=f"{MOVES} adds_zeros elementwise"
    ),
    Example(
        MatMul(transposed=True, factor=0.5),
        (_on_grid(2, 3, 5), _on_grid(2, 4, 5, seed=1)),
        traits="has_own_scale leaves_as_number",
    ),
    Example(
        MatMulInteger(factor=0.5),
        (_codes(2, 3, 5), _codes(2, 5, 4, seed=1, quant=_OTHER)),
        traits="makes_accumulators",
    ),
    Example(MaxPool2d((2, 2), (2, 2)), (_on_grid(*_IMAGE),), traits=MOVES),
    Example(
        MaxUnpool((2, 3)),
        (_on_grid(4, 2, 2, seed=1), _on_grid(*_IMAGE)),
        traits=f"{MOVES} adds_zeros",
    ),
    Example(
        Multiply(),
        (_reals(*_IMAGE), _reals(4, 1, 1, seed=1)),
        traits="elementwise composable has_own_scale",
    ),
    Example(
        MultiplyInteger(),
        (_codes(*_IMAGE), _codes(4, 1, 1, seed=1)),
        traits="elementwise makes_accumulators",
    ),
    Example(Noise(Distribution.NORMAL, (5,), 0), traits="has_own_scale"),
    Example(NoiseCodes((5,), 0, (9, 30000, 65536), QuantParams((0.5,), (1,), 0, 3))),
    Example(Normal((5,), 0)),
    Example(Normalize(2, 1e-5), (_on_grid(*_IMAGE), *_SCALARS), traits="has_own_scale"),
    Example(NormalizeInteger(2, 30.0, 0.5, 2.0, _TO_CODES, 0, 127), (_codes(*_IMAGE), *_SCALARS)),
    Example(Pad((1, 0, 2, 1)), (_on_grid(*_IMAGE),), traits=f"{MOVES} adds_zeros"),
    Example(Part(2, (2, 3)), (_reals(9),)),
    Example(QuantizeInput((0.5,), (0.25,), GRID, 0, 127), (_reals(*_IMAGE),), traits="elementwise"),
    Example(
        Requantize(GRID, 0, 127),
        (_accumulators(), _constant(np.full((1, 1, 1), 0.5, np.float32))),
        traits="elementwise",
    ),
    Example(Reshape((8, 12)), (_on_grid(*_IMAGE),), traits=MOVES),
    Example(
        SampledWeight(),
        (
            _reals(3, 2, axes=CONSTANT),
            _reals(3, 2, seed=1, axes=CONSTANT),
            _reals(6, seed=2, axes=PER_SAMPLE),
        ),
    ),
    Example(
        SampledWeightInteger(QuantParams((0.25,), (0,), -127, 127)),
        (
            _weight(3, 2),
            _weight(3, 2),
            _weight(6, axes=PER_SAMPLE, quant=EPS_QUANT),
            _constant(np.full((3, 1), 20, np.int32)),
            _constant(np.full((3, 1), 30, np.float32)),
        ),
    ),
    Example(
        ScaledSoftmax(0.5),
        (
            _on_grid(*_IMAGE),
            _constant(np.array([[[1, 0, 1, 1, 0, 1]]], np.uint8)),
            _constant(np.arange(4, dtype=np.float32).reshape(4, 1, 1)),
        ),
        traits="has_own_scale",
    ),
    Example(
        Select(2.0), (_codes(*_IMAGE), _mask(*_IMAGE)), traits="keeps_codes adds_zeros elementwise"
    ),
    Example(Slice(2, 1, 5, 2), (_on_grid(*_IMAGE),), traits=MOVES),
    Example(Softmax(0, log=False), (_on_grid(*_IMAGE),)),
    Example(
        SoftmaxInteger(QuantParams((2**-7,), (0,), 0, 127), 0, 127, 0.25),
        (
            _accumulators(),
            _constant(np.array([65536, 24109, 8869, 3263, 0], np.int32)),
            _constant(np.array([[[1, 0, 1, 1, 0, 1]]], np.uint8)),
            _constant(np.arange(6, dtype=np.int32).reshape(1, 1, 6)),
        ),
    ),
    Example(SumPoolInteger((2, 2), (2, 2)), (_codes(*_IMAGE),), traits="makes_accumulators"),
    Example(Transpose((2, 0, 1)), (_on_grid(*_IMAGE),), traits=MOVES),
    Example(
        Unary(Function.TANH),
        (_on_grid(*_IMAGE),),
        traits="elementwise composable has_own_scale leaves_as_number",
    ),
    Example(UpsampleNearest((2, 1)), (_on_grid(*_IMAGE),), traits=MOVES),
)
EXAMPLES = {type(example.op).__name__: example for example in _EXAMPLES}
