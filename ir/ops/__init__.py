"""Every op there is, by name: the closed set that files and checks know."""

from qbnnc.ir.ops.activation import Clamp, ClampCodes, Softmax
from qbnnc.ir.ops.base import DeterministicOp, Op, RandomOp, Tensor
from qbnnc.ir.ops.dropout import KeepMask, Mask, Select
from qbnnc.ir.ops.elementwise import Add, AddQuantized
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.linear import Conv2d, Linear
from qbnnc.ir.ops.normalization import Affine, BatchNorm
from qbnnc.ir.ops.pooling import AveragePool2d, MaxPool2d, SumPoolInteger
from qbnnc.ir.ops.quantize import Dequantize, FakeQuantize, QuantizeInput, Requantize
from qbnnc.ir.ops.shape import Reshape

ALL_OPS: tuple[type[Op], ...] = (
    Add,
    AddQuantized,
    Affine,
    AveragePool2d,
    BatchNorm,
    Clamp,
    ClampCodes,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    FakeQuantize,
    KeepMask,
    Linear,
    LinearInteger,
    Mask,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Softmax,
    SumPoolInteger,
)

__all__ = [
    "ALL_OPS",
    "Add",
    "AddQuantized",
    "Affine",
    "AveragePool2d",
    "BatchNorm",
    "Clamp",
    "ClampCodes",
    "Conv2d",
    "Conv2dInteger",
    "Dequantize",
    "DeterministicOp",
    "FakeQuantize",
    "KeepMask",
    "Linear",
    "LinearInteger",
    "Mask",
    "MaxPool2d",
    "Op",
    "QuantizeInput",
    "RandomOp",
    "Requantize",
    "Reshape",
    "Select",
    "Softmax",
    "SumPoolInteger",
    "Tensor",
]
