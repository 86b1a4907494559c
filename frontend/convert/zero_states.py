"""Zeros that a loop starts from: their products with weights or gates are zeros.

The first states of an LSTM or GRU are such. Without this, random weights would be given a constant.
"""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.tracked import AnyActivation, Constant, Filled, Noise, Tracked
from qbnnc.frontend.program.random_ops import op_name

# The names of the factor that may be zeros, and of what is added.
_PRODUCTS = {
    "addmm": ("mat1", "self"),
    "conv1d": ("input", "bias"),
    "conv2d": ("input", "bias"),
    "linear": ("input", "bias"),
    "matmul": ("self", None),
    "mm": ("self", None),
}


def of_zeros(call: Call) -> Tracked | None:
    """The result of a product with zeros, or of a sum with zeros, that all rows have; else None."""
    name, arguments = op_name(call.node), call.arguments
    if name in _PRODUCTS:
        factor, added = _PRODUCTS[name]
        known = not any(isinstance(each, Noise) for each in arguments.values())
        if known or not _is_zeros(arguments.get(factor)):
            return None  # constants alone are folded
        return _bias(call, None if added is None else arguments.get(added))
    if name not in ("add", "mul"):
        return None
    pair = (arguments.get("self"), arguments.get("other"))
    for zeros, other in (pair, pair[::-1]):
        if _is_zeros(zeros) and isinstance(other, AnyActivation | Noise):
            if name == "mul":
                return Filled(call.shape(), 0.0)
            if isinstance(other, AnyActivation) and _whole(call):
                return other
            if isinstance(other, Noise) and _is_row(call, other):
                return other
    return None


def _bias(call: Call, bias: object) -> Tracked | None:
    """What is left of a layer of zeros; None where it is no constant, nor a vector of noise."""
    shape = call.shape()
    if bias is None:
        return Filled(shape, 0.0)
    if isinstance(bias, Noise) and op_name(call.node) in ("addmm", "linear"):
        return bias
    if isinstance(bias, Constant) and all(isinstance(n, int) for n in shape[1:]):
        row = tuple(int(n) for n in shape[1:])
        behind = 1 if op_name(call.node).startswith("conv") else 0
        whole = bias.tensor.detach().float().reshape(-1, *[1] * (len(row) - 1) * behind)
        return Filled(shape, None, whole.expand(row))
    return None


def _whole(call: Call) -> bool:
    """Whether a sum has the factor 1, and each operand the shape of the result."""
    shapes = [str(list(node.meta["val"].shape)) for node in call.node.all_input_nodes]
    return call.arguments.get("alpha", 1) == 1 and set(shapes) == {str(list(call.shape()))}


def _is_row(call: Call, noise: Noise) -> bool:
    """Whether noise, added once, has the shape of a row: zeros have repeated it for each."""
    return call.arguments.get("alpha", 1) == 1 and noise.shape == call.shape()[1:]


def _is_zeros(value: object) -> bool:
    return isinstance(value, Filled) and value.number == 0
