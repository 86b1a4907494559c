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
    SumOfProducts,
    SumOfProductsInteger,
    SumPoolInteger,
    Tensor,
    Transpose,
    Unary,
    UpsampleNearest,
)
from qbnnc.ir.types import (
    CONSTANT,
    EPS_QUANT,
    PER_SAMPLE,
    DType,
    QuantParams,
)
from tests.op_inputs import (
    GRID,
    OTHER,
    TO_CODES,
    accumulators,
    channels,
    codes,
    constant,
    ids,
    index,
    integer_parameters,
    mask,
    on_grid,
    parameters,
    reals,
    state,
    table,
    weight,
)

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


_IMAGE = (4, 4, 6)
_SCALARS = tuple(
    constant(np.full((4, 1, 1), number, np.float32)) for number in (1.5, 0.25)
)  # scale and shift

_EXAMPLES: tuple[Example, ...] = (
    Example(
        Add(),
        (reals(*_IMAGE), reals(*_IMAGE, seed=1)),
        traits="elementwise composable has_own_scale",
    ),
    Example(
        AddQuantized(TO_CODES, 0, 127),
        (codes(*_IMAGE), codes(*_IMAGE, quant=OTHER)),
        traits="elementwise",
    ),
    Example(Affine(), (reals(*_IMAGE), *_SCALARS), traits="elementwise composable"),
    Example(
        AveragePool2d((2, 2), (2, 2)),
        (on_grid(*_IMAGE),),
        traits="has_own_scale commutes_with_factor",
    ),
    Example(
        BatchNorm(1e-5),
        (on_grid(*_IMAGE), *map(channels, (1.5, 0.5, 0.1, 2.0))),
        traits="elementwise",
    ),
    Example(Choice(), (weight(3, 4, 2), index(2, 3)), traits="keeps_codes"),
    Example(ChoiceIndex(3, 0)),
    Example(
        Clamp(-0.3, 1.0), (on_grid(*_IMAGE),), traits="elementwise composable commutes_with_factor"
    ),
    Example(ClampCodes(5, 90), (codes(*_IMAGE),), traits="keeps_codes elementwise"),
    Example(
        Composite(_STEPS),
        (on_grid(*_IMAGE),),
        traits="elementwise composable has_own_scale leaves_as_number",
    ),
    Example(Concat(0), (on_grid(*_IMAGE), on_grid(*_IMAGE, seed=1)), traits="keeps_codes"),
    Example(
        Conv2d(),
        (on_grid(*_IMAGE), *parameters(3, 4, 2, 2)),
        traits="has_own_scale leaves_as_number",
    ),
    Example(
        Conv2dInteger(),
        (codes(*_IMAGE), *integer_parameters(3, 4, 2, 2)),
        traits="makes_accumulators",
    ),
    Example(Dequantize((96,)), (codes(*_IMAGE),)),
    Example(Embedding(), (ids(2, 3, rows=6), reals(6, 4, axes=CONSTANT)), traits="has_own_scale"),
    Example(EmbeddingCodes(), (ids(2, 3, rows=6), table(6, 4))),
    Example(EpsCodes((5,), 0)),
    Example(FakeQuantize(TO_CODES), (reals(*_IMAGE),), traits="elementwise"),
    Example(Gather(1, (2, 0, 0)), (on_grid(*_IMAGE),), traits=MOVES),
    Example(InsertZeros((2, 2)), (on_grid(*_IMAGE),), traits=f"{MOVES} adds_zeros"),
    Example(KeepMask((5,), 0.5, 0)),
    Example(Linear(), (on_grid(7), *parameters(3, 7)), traits="has_own_scale leaves_as_number"),
    Example(LinearInteger(), (codes(7), *integer_parameters(3, 7)), traits="makes_accumulators"),
    Example(
        Lookup(TO_CODES),
        (codes(*_IMAGE), constant(np.arange(128, dtype=np.uint8))),
        traits="elementwise",
    ),
    Example(
        LookupReal(),
        (codes(*_IMAGE), constant(np.arange(128, dtype=np.float32))),
        traits="elementwise",
    ),
    Example(Mask(2.0), (on_grid(*_IMAGE), mask(4, 1, 1)), traits=f"{MOVES} adds_zeros elementwise"),
    Example(
        MatMul(transposed=True, factor=0.5),
        (on_grid(2, 3, 5), on_grid(2, 4, 5, seed=1)),
        traits="has_own_scale leaves_as_number",
    ),
    Example(
        MatMulInteger(factor=0.5),
        (codes(2, 3, 5), codes(2, 5, 4, seed=1, quant=OTHER)),
        traits="makes_accumulators",
    ),
    Example(MaxPool2d((2, 2), (2, 2)), (on_grid(*_IMAGE),), traits=MOVES),
    Example(
        MaxUnpool((2, 3)),
        (on_grid(4, 2, 2, seed=1), on_grid(*_IMAGE)),
        traits=f"{MOVES} adds_zeros",
    ),
    Example(
        Multiply(),
        (reals(*_IMAGE), reals(4, 1, 1, seed=1)),
        traits="elementwise composable has_own_scale",
    ),
    Example(
        MultiplyInteger(),
        (codes(*_IMAGE), codes(4, 1, 1, seed=1)),
        traits="elementwise makes_accumulators",
    ),
    Example(Noise(Distribution.NORMAL, (5,), 0), traits="has_own_scale"),
    Example(NoiseCodes((5,), 0, (9, 30000, 65536), QuantParams((0.5,), (1,), 0, 3))),
    Example(Normal((5,), 0)),
    Example(Normalize(2, 1e-5), (on_grid(*_IMAGE), *_SCALARS), traits="has_own_scale"),
    Example(NormalizeInteger(2, 30.0, 0.5, 2.0, TO_CODES, 0, 127), (codes(*_IMAGE), *_SCALARS)),
    Example(Pad((1, 0, 2, 1)), (on_grid(*_IMAGE),), traits=f"{MOVES} adds_zeros"),
    Example(Part(2, (2, 3)), (reals(9),)),
    Example(QuantizeInput((0.5,), (0.25,), GRID, 0, 127), (reals(*_IMAGE),), traits="elementwise"),
    Example(
        Requantize(GRID, 0, 127),
        (accumulators(), constant(np.full((1, 1, 1), 0.5, np.float32))),
        traits="elementwise",
    ),
    Example(Reshape((8, 12)), (on_grid(*_IMAGE),), traits=MOVES),
    Example(
        SampledWeight(),
        (
            reals(3, 2, axes=CONSTANT),
            reals(3, 2, seed=1, axes=CONSTANT),
            reals(6, seed=2, axes=PER_SAMPLE),
        ),
    ),
    Example(
        SampledWeightInteger(QuantParams((0.25,), (0,), -127, 127)),
        (
            weight(3, 2),
            weight(3, 2),
            weight(6, axes=PER_SAMPLE, quant=EPS_QUANT),
            constant(np.full((3, 1), 20, np.int32)),
            constant(np.full((3, 1), 30, np.float32)),
        ),
    ),
    Example(
        ScaledSoftmax(0.5),
        (
            on_grid(*_IMAGE),
            constant(np.array([[[1, 0, 1, 1, 0, 1]]], np.uint8)),
            constant(np.arange(4, dtype=np.float32).reshape(4, 1, 1)),
        ),
        traits="has_own_scale",
    ),
    Example(
        Select(2.0), (codes(*_IMAGE), mask(*_IMAGE)), traits="keeps_codes adds_zeros elementwise"
    ),
    Example(Slice(2, 1, 5, 2), (on_grid(*_IMAGE),), traits=MOVES),
    Example(Softmax(0, log=False), (on_grid(*_IMAGE),)),
    Example(
        SoftmaxInteger(QuantParams((2**-7,), (0,), 0, 127), 0, 127, 0.25),
        (
            accumulators(),
            constant(np.array([65536, 24109, 8869, 3263, 0], np.int32)),
            constant(np.array([[[1, 0, 1, 1, 0, 1]]], np.uint8)),
            constant(np.arange(6, dtype=np.int32).reshape(1, 1, 6)),
        ),
    ),
    Example(
        SumOfProducts(),
        tuple(reals(*_IMAGE, seed=seed) for seed in range(4)),
        traits="elementwise has_own_scale",
    ),
    Example(
        SumOfProductsInteger(QuantParams((0.001,), (0,), -32767, 32767)),
        (
            codes(*_IMAGE),
            state(*_IMAGE, scale=0.0004),
            codes(*_IMAGE, seed=1, quant=OTHER),
            codes(*_IMAGE, seed=2),
        ),
        traits="elementwise",
    ),
    Example(SumPoolInteger((2, 2), (2, 2)), (codes(*_IMAGE),), traits="makes_accumulators"),
    Example(Transpose((2, 0, 1)), (on_grid(*_IMAGE),), traits=MOVES),
    Example(
        Unary(Function.TANH),
        (on_grid(*_IMAGE),),
        traits="elementwise composable has_own_scale leaves_as_number",
    ),
    Example(UpsampleNearest((2, 1)), (on_grid(*_IMAGE),), traits=MOVES),
)
EXAMPLES = {type(example.op).__name__: example for example in _EXAMPLES}
