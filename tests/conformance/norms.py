"""INTEGER models of one normalisation, of every shape of its groups and its constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.model import Model
from qbnnc.ir.ops import NormalizeInteger
from tests.runtime.nets import Net, codes

OUT = codes(0.04, 60)


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation over the last `axes` axes; weight and bias have the axes `own` of x."""

    shape: tuple[int, ...]
    axes: int
    own: tuple[int, ...] = ()
    eps: float = 20.0
    outer_eps: float = 0.0
    floor: float = 2.0**-100
    centred: bool = True
    low: int = 0
    bits: int = 7

    def model(self, *, dropout: bool = False) -> Model:
        """The codes of the input, dropped or not, normalised and dequantised."""
        net = Net(self.shape, 3, codes(f32(0.03), 50, self.bits))
        if dropout:
            net.dropout(0.3)
        lengths = tuple(n if axis in self.own else 1 for axis, n in enumerate(self.shape))
        weight, bias = (net.rng.normal(0, s, lengths).astype(np.float32) for s in (20.0, 15.0))
        op = NormalizeInteger(
            self.axes,
            self.eps,
            self.outer_eps,
            self.floor,
            OUT,
            self.low,
            OUT.high,
            self.centred,
        )
        net.emit(op, net.value, net.constant(weight), net.constant(bias))
        return net.model()

    def rows(self, count: int = 5) -> NDArray[np.float32]:
        """Rows of several scales, of which the first is constant, and the second nearly so."""
        rng = np.random.default_rng(1)
        x = rng.normal(0, 1, (count, *self.shape)) * rng.uniform(
            0.05, 1.5, (count, *[1] * len(self.shape))
        )
        x[0] = 0.3
        x[1] = 0.3
        x[1].flat[0] = 0.6
        return x.astype(np.float32)


NORMS: dict[str, Norm] = {
    "layer": Norm((33,), 1, (0,)),
    "one element": Norm((1,), 1, (0,)),
    "tokens": Norm((5, 24), 1, (1,)),
    "tokens, eps 0": Norm((5, 24), 1, (1,), eps=0.0),
    "tokens, outer eps": Norm((5, 24), 1, (1,), eps=0.0, outer_eps=7.5),
    "tokens, floor": Norm((5, 24), 1, (), eps=0.0, floor=300.0, centred=False),
    "tokens, RMS": Norm((5, 24), 1, (1,), centred=False),
    "tokens, ReLU": Norm((5, 24), 1, (1,), low=60),
    "tokens of 8 bits": Norm((4, 24), 1, (1,), bits=8),
    "parameters of each token": Norm((5, 24), 1, (0, 1)),
    "one row of an image": Norm((3, 4, 17), 1, (2,)),
    "one row, parameters of channels": Norm((3, 4, 17), 1, (0,)),
    "instance": Norm((6, 5, 7), 2, (0,)),
    "instance, parameters of positions": Norm((6, 5, 7), 2, (1, 2)),
    "image": Norm((6, 5, 7), 3, (0,)),
    "image, parameters of all": Norm((6, 5, 7), 3, (0, 1, 2)),
    "image of one position": Norm((6, 1, 1), 2, (0,)),
    "groups of channels": Norm((2, 3, 4, 5), 3, (0, 1)),
    "heads": Norm((2, 5, 3, 8), 1, (3,)),
    "large": Norm((3, 200_000), 1, (1,), bits=8),
}
