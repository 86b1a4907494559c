"""The parameters of a recurrent layer, as torch keeps them, and what is computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Constant, Noise, Tracked


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """The parameters of one layer in one direction, as torch keeps them.

    `w_ih` is [G*H, F], `w_hh` [G*H, P] and each bias [G*H], for G gates. `w_hr` [P, H] projects h;
    without it P is H.
    """

    w_ih: Tracked
    w_hh: Tracked
    b_ih: Tracked | None
    b_hh: Tracked | None
    w_hr: Tracked | None = None


def computed(call: Call, target: torch._ops.OpOverload, arguments: dict[str, object]) -> Tracked:
    """An op on parameters: computed now, or a function of their noise."""
    parts = [p for a in arguments.values() for p in (a if isinstance(a, list) else [a])]
    if any(isinstance(part, Noise) for part in parts):
        return Noise(call.node, target, arguments)
    with torch.no_grad():
        return Constant(target(**{name: _plain(value) for name, value in arguments.items()}))


def _plain(value: object) -> object:
    match value:
        case Constant(tensor):
            return tensor
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def known(call: Call, tracked: Tracked, what: str) -> Weight:
    """A parameter as the weight of a layer; CompileError if the input decides it."""
    match tracked:
        case Noise():
            return call.probed(tracked, what)
        case Constant(tensor):
            return Weight(tensor.detach().to(torch.float32))
        case _:
            call.fail(f"its {what} depends on the input", "only constants are supported")


def shape_of(tracked: Tracked) -> tuple[int, ...]:
    """The shape of a parameter."""
    match tracked:
        case Constant(tensor):
            return tuple(tensor.shape)
        case Noise(source):
            return tuple(source.meta["val"].shape)
        case _:
            return (0,)
