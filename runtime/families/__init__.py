"""The families of instructions, and the list of all instructions.

A family is a folder with `instructions`, `lowering` and `kernels`. To add an instruction, write its
class, its lowering and its kernel there, and its rule in `verifier.rules`. Then enter the class in
the list below.

In the fields of instructions, offsets into the constants are in bytes. "Pixels" are positions of an
image, which lies in memory as [pixels][channels]. Any other value is one pixel.
"""

from qbnnc.runtime.families.choice import instructions as choice
from qbnnc.runtime.families.contraction import instructions as contraction
from qbnnc.runtime.families.dropout import instructions as dropout
from qbnnc.runtime.families.embedding import instructions as embedding
from qbnnc.runtime.families.masked_layers import instructions as masked_layers
from qbnnc.runtime.families.moves import instructions as moves
from qbnnc.runtime.families.noise import instructions as noise
from qbnnc.runtime.families.normalization import instructions as normalization
from qbnnc.runtime.families.pointwise import instructions as pointwise
from qbnnc.runtime.families.pooling import instructions as pooling
from qbnnc.runtime.families.products import instructions as products
from qbnnc.runtime.families.quantization import instructions as quantization
from qbnnc.runtime.families.sampled_weights import instructions as sampled_weights
from qbnnc.runtime.families.softmax import instructions as softmax
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.program import Instruction

# The slowest kernels to compile come first: they are compiled in this order.
INSTRUCTIONS: tuple[type[Instruction], ...] = (
    contraction.Convolve,
    contraction.Depthwise,
    contraction.Winograd,
    sampled_weights.DrawWeight,
    sampled_weights.EpsCodes,
    sampled_weights.SampleWeight,
    sampled_weights.FoldBias,
    masked_layers.MaskedProducts,
    masked_layers.MaskedSums,
    masked_layers.UnitTable,
    masked_layers.UnitPlanes,
    pooling.MaxPool,
    pooling.SumPool,
    pooling.MaxUnpool,
    products.MatMul,
    normalization.Normalize,
    quantization.Quantize,
    quantization.Requantize,
    quantization.Dequantize,
    *softmax.INSTRUCTIONS,
    *pointwise.INSTRUCTIONS,
    dropout.DropWeight,
    dropout.Select,
    dropout.KeepMask,
    dropout.Drop,
    noise.NoiseCodes,
    choice.ChoiceIndex,
    choice.Choose,
    embedding.Embed,
    moves.Transpose,
    moves.Load,
    moves.Copy,
    moves.Gather,
)
OPCODES = {instruction: number for number, instruction in enumerate(INSTRUCTIONS, 1)}
BY_OPCODE = {number: instruction for instruction, number in OPCODES.items()}


def compiled_instructions() -> list[type[Instruction]]:
    """The instructions that this instruction set has a kernel for, the slowest to compile first."""
    missing = set() if chosen().multiplies_words else {contraction.Winograd}
    return [instruction for instruction in INSTRUCTIONS if instruction not in missing]
