"""Every op there is: the closed set that files, checks, backends and tests take from here.

An op is registered by its name in `__all__`. `OPS` holds the ops by the names that files know.
"""

from inspect import isabstract, isclass

from qbnnc.ir.ops.activation import Clamp, ClampCodes
from qbnnc.ir.ops.base import ClampedOp, DeterministicOp, Op, RandomOp, Tensor
from qbnnc.ir.ops.choice import Choice, ChoiceIndex
from qbnnc.ir.ops.composite import Composite, Operation, Step
from qbnnc.ir.ops.dropout import KeepMask, Mask, Select
from qbnnc.ir.ops.elementwise import (
    Add,
    AddQuantized,
    Multiply,
    MultiplyInteger,
    Pairwise,
    PairwiseQuantized,
)
from qbnnc.ir.ops.embedding import Embedding, EmbeddingCodes
from qbnnc.ir.ops.functions import Function
from qbnnc.ir.ops.integer import ContractionInteger, Conv2dInteger, LinearInteger
from qbnnc.ir.ops.linear import Contraction, Conv2d, Linear
from qbnnc.ir.ops.matmul import MatMul, MatMulInteger, MatrixProduct
from qbnnc.ir.ops.noise import Distribution, Noise, NoiseCodes
from qbnnc.ir.ops.normalization import Affine, BatchNorm
from qbnnc.ir.ops.normalize import Normalize, NormalizeInteger
from qbnnc.ir.ops.part import Part
from qbnnc.ir.ops.pooling import AveragePool2d, MaxPool2d, SumPoolInteger
from qbnnc.ir.ops.quantize import Dequantize, FakeQuantize, QuantizeInput, Requantize
from qbnnc.ir.ops.sampling import EpsCodes, Normal, SampledWeight, SampledWeightInteger
from qbnnc.ir.ops.shape import (
    Concat,
    Gather,
    InsertZeros,
    Move,
    Pad,
    Rearrangement,
    Reshape,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.ops.softmax import ScaledSoftmax, Softmax, SoftmaxInteger
from qbnnc.ir.ops.sum_of_products import SumOfProducts, SumOfProductsInteger
from qbnnc.ir.ops.unary import Lookup, LookupReal, Pointwise, Unary
from qbnnc.ir.ops.unpooling import MaxUnpool
from qbnnc.ir.types import Stage

__all__ = [
    "OPS",
    "Add",
    "AddQuantized",
    "Affine",
    "AveragePool2d",
    "BatchNorm",
    "Choice",
    "ChoiceIndex",
    "Clamp",
    "ClampCodes",
    "ClampedOp",
    "Composite",
    "Concat",
    "Contraction",
    "ContractionInteger",
    "Conv2d",
    "Conv2dInteger",
    "Dequantize",
    "DeterministicOp",
    "Distribution",
    "Embedding",
    "EmbeddingCodes",
    "EpsCodes",
    "FakeQuantize",
    "Function",
    "Gather",
    "InsertZeros",
    "KeepMask",
    "Linear",
    "LinearInteger",
    "Lookup",
    "LookupReal",
    "Mask",
    "MatMul",
    "MatMulInteger",
    "MatrixProduct",
    "MaxPool2d",
    "MaxUnpool",
    "Move",
    "Multiply",
    "MultiplyInteger",
    "Noise",
    "NoiseCodes",
    "Normal",
    "Normalize",
    "NormalizeInteger",
    "Op",
    "Operation",
    "Pad",
    "Pairwise",
    "PairwiseQuantized",
    "Part",
    "Pointwise",
    "QuantizeInput",
    "RandomOp",
    "Rearrangement",
    "Requantize",
    "Reshape",
    "SampledWeight",
    "SampledWeightInteger",
    "ScaledSoftmax",
    "Select",
    "Slice",
    "Softmax",
    "SoftmaxInteger",
    "Step",
    "SumOfProducts",
    "SumOfProductsInteger",
    "SumPoolInteger",
    "Tensor",
    "Transpose",
    "Unary",
    "UpsampleNearest",
    "ops_of",
]

OPS: dict[str, type[Op]] = {
    name: cls
    for name, cls in ((name, globals().get(name)) for name in __all__)
    if isclass(cls) and issubclass(cls, Op) and not isabstract(cls)
}


def ops_of(stage: Stage) -> frozenset[type[Op]]:
    """The ops that a graph of this stage may hold."""
    return frozenset(cls for cls in OPS.values() if stage in cls.stages)
