"""The instructions there are; `kernels` holds a function for each.

Offsets into the constants are in bytes. "Pixels" are positions of an image, which lies in memory
as [pixels][channels]; any other value is one pixel.
"""

from qbnnc.runtime.instructions.contraction import Convolve, Depthwise, Epilogue, Winograd
from qbnnc.runtime.instructions.moves import Copy, Gather, Load, Transpose
from qbnnc.runtime.instructions.pointwise import (
    Add,
    Clamp,
    Lookup,
    LookupReal,
    Multiply,
    Select,
)
from qbnnc.runtime.instructions.pooling import MaxPool, SumPool
from qbnnc.runtime.instructions.quantization import Dequantize, Quantize, Requantize
from qbnnc.runtime.instructions.random import (
    DrawWeight,
    Drop,
    EpsCodes,
    FoldBias,
    KeepMask,
    SampleWeight,
)

__all__ = [
    "Add",
    "Clamp",
    "Convolve",
    "Copy",
    "Depthwise",
    "Dequantize",
    "DrawWeight",
    "Drop",
    "Epilogue",
    "EpsCodes",
    "FoldBias",
    "Gather",
    "KeepMask",
    "Load",
    "Lookup",
    "LookupReal",
    "MaxPool",
    "Multiply",
    "Quantize",
    "Requantize",
    "SampleWeight",
    "Select",
    "SumPool",
    "Transpose",
    "Winograd",
]
