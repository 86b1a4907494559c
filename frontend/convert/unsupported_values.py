"""Tracked values that an op cannot read as an activation: the reason, and what compiles instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from torch import Tensor, fx

from qbnnc.frontend.convert.activation_forms import Merged
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.images import Places
from qbnnc.frontend.convert.tracked import (
    Constant,
    DropoutMask,
    Filled,
    Flipped,
    MaskSum,
    Noise,
    Perturbation,
    Tracked,
    Transposed,
    Uniform,
)
from qbnnc.frontend.program.locations import location, plain_name
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.support.errors import CompileError

_PRODUCTS = frozenset("addmm linear matmul mm".split())


class NotAnActivation(CompileError):
    """Random numbers are read as an activation, which no rule has asked them to be before."""


def value_not_supported(tracked: Tracked, reader: Call) -> NoReturn:
    """Raise CompileError at the op `reader`, which needs an activation and gets `tracked`."""
    match tracked:
        case Noise(why_no_mask=CompileError() as why_no_mask):
            raise why_no_mask
        case Noise(source) if (shape := _static_shape(source)) is not None:
            reader.fail(
                f"noise is added to activations or scales them (a random tensor of shape {shape})",
                "draw it for each row (torch.randn_like(x)), as only dropout masks, weights and "
                "biases of linear and convolution layers, and Gaussian factors and terms are "
                "shared by the batch",
            )
        case Noise(source, function, arguments) if function and is_given_a_constant(
            source, arguments
        ):
            reader.fail(
                "a layer with random weights is given a constant, as the first state of an "
                "LSTM or GRU is",
                "start from the first step's own result, or use nn.LSTM or nn.GRU with weights "
                "that are sampled before they are called",
            )
        case Noise() | Uniform():
            raise NotAnActivation(
                f"{plain_name(reader.node)}: takes random numbers whose first axis is not the "
                "batch",
                location(reader.node),
                "draw them with the batch first: torch.randn_like(x), or ones where they are "
                "shared by the elements of a row",
            )
        case Flipped() | Perturbation():
            reader.fail(
                "random signs multiply activations",
                "that is supported only in Flipout layers, linear or conv2d, where signs of "
                "the input's shape and of the output's shape surround a layer whose weights "
                "have mean zero",
            )
        case Places():
            reader.fail(
                "takes the indices of a max pool, which only a max unpool is supported to take",
                "leave them out, or give them to F.max_unpool2d as they are",
            )
        case Transposed(_, batch):
            reader.fail(
                f"takes a tensor whose rows of the batch are axis {batch}",
                "move the batch back to the front before (transpose, or reduce the axes in "
                "front of it)",
            )
        case Merged(_, axis, before, after):
            reader.fail(
                f"takes a tensor whose axis {axis} holds the batch between {before} and {after} "
                "of other axes, which a view has merged",
                "give it these axes apart, with the batch in front",
            )
        case DropoutMask() | MaskSum():
            raise NotAnActivation(
                f"{plain_name(reader.node)}: a dropout mask is used for something other than "
                "masking a tensor computed from the input",
                location(reader.node),
                "masks on weights (DropConnect) do not compile",
            )
        case _:
            reader.fail(
                f"is given a constant{_shape_of(tracked)}, and only tensors computed from the "
                "input are taken here",
                "put what the constant adds into the bias of a linear layer or convolution "
                "before or after it",
            )


def _static_shape(node: fx.Node) -> list[int] | None:
    """The shape of a tensor; None if it depends on the batch."""
    value = node.meta["val"]
    static = isinstance(value, Tensor) and all(isinstance(n, int) for n in value.shape)
    return list(value.shape) if static else None


def _shape_of(tracked: Tracked) -> str:
    """ " of shape [3, 4]"; "" if the shape is not known."""
    return f" of shape {list(tracked.tensor.shape)}" if isinstance(tracked, Constant) else ""


def is_given_a_constant(source: fx.Node, arguments: Mapping[str, object]) -> bool:
    """Whether noise is a product of a constant and random weights."""
    given = next(iter(arguments.values()), None)
    return op_name(source) in _PRODUCTS and isinstance(given, Constant | Filled)
