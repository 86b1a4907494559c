"""Moves and concatenations: elements change place, and new ones are the zero point."""

import numpy as np
import pytest

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    InsertZeros,
    Move,
    Pad,
    Reshape,
    Select,
    Slice,
    SumPoolInteger,
    Transpose,
    UpsampleNearest,
)
from qbnnc.runtime import load
from qbnnc.runtime.families.moves.lowering import _run
from qbnnc.support.errors import CompileError
from tests.runtime.nets import Net, assert_equal, codes, images
from tests.runtime.test_trace import assert_traced

MOVES: list[tuple[tuple[int, ...], Move]] = [
    ((3, 4, 5), Transpose((0, 1, 2))),
    ((3, 4, 5), Transpose((1, 2, 0))),
    ((3, 4, 5), Transpose((2, 0, 1))),
    ((3, 4, 5), Transpose((0, 2, 1))),
    ((3, 4), Transpose((1, 0))),
    ((2, 3, 4, 5), Transpose((3, 1, 0, 2))),
    ((3, 4, 5), Slice(0, 1, 3)),
    ((3, 4, 5), Slice(1, 0, 4, 2)),
    ((3, 4, 5), Slice(2, -4, -1)),
    ((20,), Slice(0, 3, 17, 3)),
    ((3, 4), Slice(1, 2, 99)),
    ((3, 4, 5), Pad((1, 2, 0, 3))),
    ((3, 4), Pad((0, 1, 1, 0))),
    ((3, 4, 5), Pad((0, 0, 0, 0))),
    ((3, 4, 5), InsertZeros((2, 3))),
    ((3, 1, 1), InsertZeros((4, 4))),
    ((3, 4, 5), UpsampleNearest((2, 3))),
    ((3, 4), UpsampleNearest((1, 2))),
    ((3, 4, 5), Gather(0, (2, 0, 0, 1))),
    ((3, 4, 5), Gather(1, (3, 2, 1, 0))),
    ((3, 4, 5), Gather(2, (4,))),
    ((1, 4, 5), Gather(0, (0, 0, 0))),
    ((3, 1, 5), Gather(1, (0, 0))),
    ((2, 3, 4, 5), Gather(2, (1, 1, 3))),
    ((20,), Gather(0, (19, 0, 7))),
]


@pytest.mark.few(14)
@pytest.mark.parametrize(
    ("shape", "op", "wide"),
    [(*m, wide) for m in MOVES for wide in (False, True) if len(m[0]) == 3 or not wide],
)
def test_moves(shape: tuple[int, ...], op: Move, wide: bool) -> None:
    """Concatenation works on codes, and on accumulators of one scale."""
    net = Net(shape, 1, codes(0.03, 0 if wide else 17))
    if wide:
        net.emit(SumPoolInteger((1, 1), (1, 1)))
    net.emit(op)
    model = net.model()
    assert_equal(model, images(model, 3))
    assert_traced(model, images(model, 3), 1)


def test_random_values_are_moved() -> None:
    net = Net((3, 4, 5), 2, codes(0.03, 9))
    net.dropout(0.3)
    net.emit(Pad((1, 1, 1, 1)))
    net.emit(Transpose((1, 0, 2)))
    net.dropout(0.4)
    model = net.model()
    assert_equal(model, images(model, 5), samples=3, first_row=4)
    assert_traced(model, images(model, 5), 3)


@pytest.mark.parametrize("shapes", [((60,), (4, 15)), ((3, 20), (5, 4, 3)), ((2, 5, 6), (60,))])
def test_reshapes_between_moves(shapes: tuple[tuple[int, ...], ...]) -> None:
    net = Net((3, 4, 5), 3, codes(0.03, 9))
    net.emit(Transpose((1, 2, 0)))
    for shape in shapes:
        net.emit(Reshape(shape))
        net.emit(Slice(0, 0, 999))
    model = net.model()
    assert_equal(model, images(model, 3))


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7,), 0), ((3, 4), 0), ((3, 4), 1), *(((3, 4, 5), i) for i in range(3)),
     *(((2, 3, 2, 2), i) for i in range(4))],
)  # fmt: skip
@pytest.mark.parametrize("wide", [False, True])
def test_concat(shape: tuple[int, ...], axis: int, wide: bool) -> None:
    """Values that vary with the row, the sample, both or nothing are joined."""
    net = Net(shape, 4, codes(0.03, 9))
    x = net.value
    fixed = net.constant(net.rng.integers(0, 128, shape).astype(np.uint8), net.quant)
    cut = net.emit(Slice(axis, 0, 1), x)
    per_sample = net.emit(Select(), fixed, net.mask(*shape, shared=True))
    both = net.emit(Select(), x, net.mask(*shape))
    for parts in ((x, cut), (fixed, per_sample, fixed), (x, per_sample), (both, fixed, cut, x)):
        joined = net.emit(Concat(axis), *parts)
    if wide and len(shape) == 3:
        wider = [net.emit(SumPoolInteger((1, 1), (1, 1)), v) for v in (x, joined)]
        net.emit(Concat(axis), *wider)
    first = net.emit(Dequantize())
    model = net.model(first, net.emit(Dequantize(), joined))
    assert_equal(model, images(model, 5), samples=3, batch_size=2)
    assert_traced(model, images(model, 5), 3)


def unet() -> Net:
    """A U-Net: down, up by a transposed convolution and by nearest neighbours, and across."""
    net = Net((3, 8, 8), 5, codes(0.03, 30))
    quant = codes(0.25, 40)

    def layer(x: Value, filters: int, kernel: int) -> Value:
        net.value = x
        net.conv(filters, kernel)
        return net.requantize(quant)

    top = layer(net.emit(Pad((1, 1, 1, 1))), 4, 3)
    net.pool()
    down = net.dropout(0.3)
    spread = net.emit(Pad((1, 1, 2, 2)), net.emit(InsertZeros((2, 2)), down))
    up = layer(spread, 4, 3)
    near = net.emit(UpsampleNearest((2, 2)), down)
    joined = net.emit(Concat(0), top, up, near)
    net.value = layer(joined, 5, 1)
    return net


@pytest.mark.parametrize("rows", [1, 7])
def test_unet(rows: int) -> None:
    model = unet().model()
    x = images(model, rows)
    assert_equal(model, x, samples=3, seed=5, batch_size=3)
    assert_traced(model, x, 3)
    assert len(np.unique(load(model).predict(x, 3).samples)) > 40


def test_empty_batch() -> None:
    model = unet().model()
    assert load(model).predict(images(model, 0), 3).samples.shape == (3, 0, 5, 8, 8)


def test_runs_of_neighbours_are_moved_together() -> None:
    """An image is padded pixel by pixel or line by line, not element by element."""
    assert _run(np.array([-1, -1, 4, 5, 6, 7, 0, 1])) == 2
    assert _run(np.array([-1, -1, -1])) == 3
    assert _run(np.array([0, 1, 3])) == 1
    assert _run(np.arange(12)) == 12
    net = Net((16, 8, 8))
    net.emit(Pad((1, 1, 1, 1)))
    (move,) = (s for s in load(net.model())._plans[0].steps if s.name == "pad1")
    assert getattr(move.instruction, "run", 0) == 16


@pytest.mark.parametrize("shapes", [[], [(3, 2)], [(3, 2), (6,)]])
def test_constants_that_leave(shapes: list[tuple[int, ...]]) -> None:
    """Outputs that no instruction makes reach each row of each sample."""
    net = Net((4,))
    numbers = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    value = net.constant(numbers)
    for shape in shapes:
        value = net.emit(Reshape(shape), value)
    samples = load(net.model(value)).predict(np.ones((3, 4), np.float32)).samples
    assert np.array_equal(samples[0], np.stack([numbers.reshape(value.type.shape)] * 3))


def test_a_pad_before_which_numbers_were_moved_is_no_part_of_an_output() -> None:
    """New elements are zero and not the last number; the runtime cannot write such an output."""
    net = Net((2, 3))
    net.emit(Dequantize())
    net.emit(Transpose((1, 0)))
    model = net.model(net.emit(Pad((0, 1, 0, 0))))
    with pytest.raises(CompileError, match="computes on codes"):
        load(model)


def test_numbers_are_not_joined() -> None:
    net = Net((2,))
    first, second = (net.constant(np.ones(2, np.float32)) for _ in range(2))
    joined = net.emit(Concat(0), first, second)
    with pytest.raises(CompileError, match="float32 constant"):
        net.model(joined)
