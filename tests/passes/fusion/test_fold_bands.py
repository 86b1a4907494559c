"""fold-affine: a convolution takes scales that differ between bands of its output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Affine, Conv2d, Op, Reshape, Transpose
from qbnnc.ir.types import Array
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from tests.graphs import inputs, run
from tests.net import Net


@dataclass(frozen=True)
class Case:
    """A convolution, and the bands of its output along an axis; channels may have own scales."""

    shape: tuple[int, int, int]
    channels: int
    kernel: int
    op: Conv2d
    axis: int
    bands: int
    own: bool = True

    def net(self) -> Net:
        """The convolution alone."""
        return Net(self.shape).conv(self.channels, self.kernel, "conv", self.op)

    def graph(self, *, shift_alone: bool = False) -> Graph:
        net = self.net()
        scale, shift = (self.constants(net, seed) for seed in (0, 1))
        scale = scale[:, :1, :1] if shift_alone else scale
        return net.affine(scale, shift, "scale").graph()

    def constants(self, net: Net, seed: int) -> Array:
        """A number a channel and band, at every row or column of the band."""
        rng, length = np.random.default_rng(seed), net.value.type.shape[self.axis]
        numbers = rng.normal(size=(self.channels if self.own else 1, self.bands))
        along = numbers.repeat(length // self.bands, axis=1).astype(np.float32)
        return along[:, :, None] if self.axis == 1 else along[:, None]


PADDED = Conv2d(padding=(1, 1, 1, 1))
CASES = {
    "depthwise": Case((4, 12, 5), 4, 3, Conv2d(padding=(1, 1, 1, 1), groups=4), 1, 3),
    "dense": Case((3, 12, 10), 4, 3, PADDED, 1, 3),
    "columns": Case((3, 10, 12), 4, 3, PADDED, 2, 3),
    "depthwise columns": Case((4, 5, 12), 4, 3, Conv2d((1, 1), (1, 1, 1, 1), groups=4), 2, 3),
    "multiplier": Case((2, 12, 7), 6, 3, Conv2d((1, 1), (1, 0, 1, 0), groups=2), 1, 2),
    "groups": Case((4, 12, 12), 6, 3, Conv2d((1, 1), (0, 1, 0, 1), groups=2), 2, 3),
    "narrowing": Case((6, 8, 9), 2, 3, Conv2d((1, 1), (1, 1, 1, 1), groups=2), 1, 2),
    "stride": Case((2, 16, 15), 3, 3, Conv2d((2, 2), (1, 0, 0, 2)), 1, 2),
    "dilation": Case((2, 15, 18), 3, 3, Conv2d((1, 2), (2, 2, 3, 1), (2, 2)), 1, 2),
    "stride of columns": Case((2, 12, 16), 3, 3, Conv2d((1, 2), (1, 0, 2, 1), (2, 1)), 2, 4),
    "rows left over": Case((2, 12, 12), 3, 3, Conv2d((3, 1)), 1, 2),
    "every channel alike": Case((3, 12, 10), 4, 3, PADDED, 1, 3, own=False),
    "every row": Case((2, 6, 6), 3, 1, Conv2d(), 1, 6),
}


def folded(graph: Graph) -> list[Op]:
    """The ops after the pass, which must compute the same."""
    after = FoldAffine()(graph)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * max(1, np.abs(a).max()))
    return [node.op for node in after.nodes]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_convolution_takes_the_scales_of_bands(case: Case) -> None:
    ops = folded(case.graph())
    assert not any(isinstance(op, Affine) for op in ops)
    convs = [op for op in ops if isinstance(op, Conv2d)]
    assert [op.groups for op in convs] == [case.op.groups * case.bands]


def test_rows_of_a_depthwise_convolution_are_moved_once() -> None:
    ops = folded(CASES["depthwise"].graph())
    assert [op.name for op in ops] == ["pad", "gather", "reshape", "conv2d", "reshape"]
    assert not any(isinstance(op, Transpose) for op in ops)
    unpadded = Case((4, 12, 5), 4, 3, Conv2d(padding=(0, 1, 0, 1), groups=4), 1, 2)
    ops = folded(unpadded.graph())
    assert [op.name for op in ops] == ["gather", "reshape", "conv2d", "reshape"]


def test_sub_spectral_norm_goes_into_the_convolution() -> None:
    net = Net((4, 12, 5)).conv(4, 3, "conv", Conv2d(padding=(1, 1, 1, 1), groups=4))
    net.emit(Reshape((12, 4, 5)), name="split").batch_norm("norm")
    ops = folded(net.emit(Reshape((4, 12, 5)), name="joined").relu("relu").graph())
    assert [op.groups for op in ops if isinstance(op, Conv2d)] == [12]


# Bands of one row read 3 each: 4 of them read twice the 6 rows that there are.
@pytest.mark.parametrize(("length", "taken"), [(6, True), (7, False)])
def test_bands_read_at_most_twice_the_rows(length: int, taken: bool) -> None:
    rows = length - 2
    case = Case((2, length, 30), 2, 3, Conv2d(groups=2), 1, rows)
    groups = [op.groups for op in folded(case.graph()) if isinstance(op, Conv2d)]
    assert groups == ([2 * rows] if taken else [2, 2 * rows])


# 2 bands of 1x1 weights from C channels are 2*C a channel, and its output has 16 elements.
@pytest.mark.parametrize(("channels", "taken"), [(8, True), (9, False)])
def test_copies_of_weights_are_no_more_than_the_output(channels: int, taken: bool) -> None:
    case = Case((channels, 4, 4), 3, 1, Conv2d(), 1, 2)
    groups = [op.groups for op in folded(case.graph()) if isinstance(op, Conv2d)]
    assert groups == ([2] if taken else [1, 12])


def test_a_shift_alone_makes_no_bands() -> None:
    ops = folded(CASES["dense"].graph(shift_alone=True))
    assert [op.groups for op in ops if isinstance(op, Conv2d)] == [1, 48]


def test_scales_of_rows_and_columns_stay_outside() -> None:
    net = CASES["dense"].net()
    scale = np.kron(net.rng.normal(size=(1, 2, 2)), np.ones((1, 6, 5))).astype(np.float32)
    ops = folded(net.affine(scale, scale, "scale").graph())
    assert [op.groups for op in ops if isinstance(op, Conv2d)] == [1, 120]


def test_bands_of_different_lengths_have_the_length_that_divides_them() -> None:
    net = CASES["dense"].net()
    scale = np.array([1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3], np.float32)[None, :, None]
    shift = np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2], np.float32)[None, :, None]
    ops = folded(net.affine(scale, shift, "scale").graph())
    assert [op.groups for op in ops if isinstance(op, Conv2d)] == [3]


def test_sampled_weights_are_not_copied() -> None:
    """Bands would draw noise of their own."""
    case = CASES["dense"]
    net = Net(case.shape).bayesian(4, "conv", PADDED)
    graph = net.affine(case.constants(net, 0), case.constants(net, 1), "scale").graph()
    ops = [node.op for node in FoldAffine()(graph).nodes]
    assert [op.groups for op in ops if isinstance(op, Conv2d)] == [1, 48]


def test_a_quiet_band_is_rounded_after_its_norm() -> None:
    """Rows of an eighth of the size, which a norm raises: codes of 4 bits before it had 2 levels.

    The output leaves as accumulators, so that only the input's 8 bits round.
    """
    net = CASES["every channel alike"].net()
    size = np.array([1, 1, 1 / 8], np.float32).repeat(4)[None, :, None]
    graph = net.affine(1 / size, 0 * size, "norm").graph()
    x = inputs(graph, 64) * size[None]
    options = Options(Quantisation(Bits(8, 4), outer_bits=4))
    model = quantise_model(Model((graph,), Head(Task.RAW)), x, options)
    (real,), (found,) = run(graph, x), run(model.graph, x)
    error, quiet = np.abs(real - found), slice(9, 12)
    assert error[..., quiet, :].mean() < 0.1 * real[..., quiet, :].std()
    assert np.abs(error).mean() < 0.05 * real.std()
