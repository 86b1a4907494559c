"""Networks whose first random value is a value of the row times a dropout mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger, KeepMask, LinearInteger, Select
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.session import Session
from qbnnc.support.errors import Loc
from tests.runtime.nets import Net, codes

PROBABILITIES = (0.0, 1e-5, 0.2, 0.5, 0.50001, 0.8, 0.99999, 0.9999999)


@dataclass(frozen=True)
class Mask:
    """The settings of a dropout mask: p, whether rows share it, and which lanes it keeps."""

    p: float = 0.3
    shared: bool = False
    inverted: bool = False
    stream: int = 0


def drop(net: Net, mask: Mask, *shape: int) -> Value:
    """Multiply the last value with a mask of `shape`, or of the value's own."""
    x = net.value
    keep = KeepMask(shape or x.type.shape, mask.p, mask.stream, mask.shared, mask.inverted)
    made = net.build.emit(keep, loc=Loc("mask"), name=f"mask{mask.stream}")
    return net.emit(Select(), x, made)


def start(shape: tuple[int, ...], zero: int, seed: int, bits: int = 7) -> Net:
    """Begin a network whose input's codes have this zero point."""
    return Net(shape, seed, codes(0.03, zero, bits))


def masked_conv(
    shape: tuple[int, int, int] = (3, 6, 5),
    filters: int = 5,
    kernel: tuple[int, int] = (3, 2),
    op: Conv2dInteger | None = None,
    mask: Mask | None = None,
    zero: int = 9,
    affine: int = 0,
    seed: int = 0,
    end: str = "codes",
) -> Model:
    """A convolution behind a mask of channels. `end` is codes, output, or both."""
    net, op = start(shape, zero, seed), Conv2dInteger() if op is None else op
    drop(net, Mask() if mask is None else mask, shape[0], 1, 1)
    weight = net.weight(filters, shape[0] // op.groups, *kernel, zero=affine)
    return finished(net, net.accumulators(op, weight), end)


def masked_linear(
    features: int = 13,
    outputs: int = 7,
    mask: Mask | None = None,
    zero: int = 9,
    affine: int = 0,
    seed: int = 0,
    end: str = "codes",
) -> Model:
    """A linear layer behind a mask of elements."""
    net = start((features,), zero, seed)
    drop(net, Mask() if mask is None else mask)
    weight = net.weight(outputs, features, zero=affine)
    return finished(net, net.accumulators(LinearInteger(), weight), end)


def finished(net: Net, sums: Value, end: str) -> Model:
    """Finish a network after a layer's sums: codes, an output, or sums with two readers."""
    if end == "output":
        return net.model()
    if end == "codes":
        net.requantize(codes(0.3, 5))
        return net.model()
    first = net.requantize(codes(0.3, 5))
    net.value = sums
    second = net.requantize(codes(0.5, 30))
    net.add(first, second, codes(0.4, 20))
    return net.model()


def kinds(session: Session) -> list[str]:
    """Return the instructions of the first member, in their order."""
    return [step.instruction.name() for step in session._plans[0].steps]


def assert_forms_equal(
    model: Model,
    x: NDArray[np.float32],
    samples: int,
    forms: tuple[MaskedForm | None, ...] = (*MaskedForm, None),
    *,
    seed: int = 5,
    first_row: int = 0,
    batch_size: int | None = None,
    threads: int = 1,
    block_bytes: int | None = None,
) -> None:
    """Assert that each form gives the oracle's bits."""
    want = oracle_samples(model, x, samples=samples, seed=seed, first_row=first_row)
    for form in forms:
        session = Session(model, threads=threads, block_bytes=block_bytes, masked=form)
        made = session.predict(x, samples, seed, first_row, batch_size)
        for name, expected in zip(model.head.sample_names(len(want)), want, strict=True):
            got = made[name].view(np.uint32)
            np.testing.assert_array_equal(got, expected.view(np.uint32), f"{form}: {name}")
