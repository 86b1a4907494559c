"""Windows of layers, and the records that tell C about them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from qbnnc.backends.c.program import Program
from qbnnc.backends.c.traits import Trait
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.integer import Conv2dInteger


@dataclass(frozen=True, slots=True)
class Geometry:
    """The window of a layer; a linear layer is a convolution of one position with one tap."""

    image: tuple[int, int, int]  # C, H, W
    output: tuple[int, int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @staticmethod
    def of(node: Node) -> Geometry:
        """The geometry of a layer."""
        x, y = node.inputs[0].type.shape, node.output.type.shape
        if not isinstance(node.op, Conv2dInteger):
            return Geometry((x[0], 1, 1), (y[0], 1, 1))
        op, kernel = node.op, node.inputs[1].type.shape[-2:]
        (c, h, w), (o, oh, ow) = x, y
        return Geometry(
            (c, h, w), (o, oh, ow), (kernel[0], kernel[1]), op.stride, op.dilation,
            op.padding[:2], op.groups,
        )  # fmt: skip

    @property
    def taps(self) -> int:
        """The inputs of one output."""
        return prod(self.kernel) * self.image[0] // self.groups

    @property
    def outputs(self) -> int:
        """The outputs of a group."""
        return self.output[0] // self.groups

    @property
    def depthwise(self) -> bool:
        return self.groups == self.image[0] == self.output[0] and self.groups > 1

    @property
    def leaves_the_image(self) -> bool:
        """Whether some window has places outside of the image."""
        return any(self.padding) or any(
            (count - 1) * stride + (taps - 1) * dilation >= size
            for count, stride, taps, dilation, size in zip(
                self.output[1:],
                self.stride,
                self.kernel,
                self.dilation,
                self.image[1:],
                strict=True,
            )
        )

    @property
    def gathered(self) -> int:
        """The codes of a patch that some processor has to gather; 0 if none has."""
        together = self.groups == 1 and self.dilation[1] == 1
        words = self.kernel[1] * self.image[0] % 4 == 0
        return 0 if together and words and not self.leaves_the_image else self.taps

    def fields(self, x_zero: int, window: tuple[int, int]) -> list[object]:
        """The fields of a `qb_conv` after its arrays."""
        (c, h, w), (o, oh, ow) = self.image, self.output
        numbers = x_zero, h, w, c, o, self.groups, *self.kernel, *self.stride, *self.dilation
        return [*numbers, *self.padding, oh, ow, *window]


def conv_record(
    program: Program,
    geometry: Geometry,
    arrays: tuple[str, str],
    x_zero: int,
    window: tuple[int, int],
) -> str:
    """Add a `qb_conv`, and what its window needs of the library; return its address.

    `arrays` are the names of the weight and of its zero points, or NULL.
    """
    if geometry.leaves_the_image:
        program.traits.add(Trait.OUTSIDE)
    if geometry.groups > 1:
        program.traits.add(Trait.GROUPS)
    if arrays[1] != "NULL":
        program.traits.add(Trait.WEIGHT_ZEROS)
    return program.record("qb_conv", [*arrays, *geometry.fields(x_zero, window)])
