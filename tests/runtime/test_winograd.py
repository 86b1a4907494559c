"""Winograd's form of a 3x3 convolution: it has the oracle's bits, and is chosen if faster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.ir.types import Array, DType, QuantParams
from qbnnc.runtime import load
from qbnnc.runtime.families.contraction import winograd
from qbnnc.runtime.families.contraction.instructions import Convolve, Winograd
from qbnnc.runtime.families.contraction.kernels.winograd_transforms import filter_transform
from qbnnc.runtime.families.masked_layers import lowering as masked_layers
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.packing import Layout
from qbnnc.runtime.plan import plan
from tests.examples import examples
from tests.runtime.nets import Net, assert_equal, codes, images
from tests.runtime.sampled import BayesNet
from tests.runtime.test_trace import assert_traced

runs_here = pytest.mark.skipif(
    chosen() is not Isa.AVX2, reason="without AVX2's products; test_isa runs these with QBNNC_ISA"
)


def network(
    height: int,
    width: int,
    padding: tuple[int, int, int, int],
    *,
    channels: int = 16,
    filters: int = 32,
    x: QuantParams | None = None,
    seed: int = 0,
    p: float | None = 0.2,
) -> Model:
    """Build a 1x1 convolution, a mask, and the 3x3 convolution in question."""
    net = Net((3, height, width), seed, codes(0.03, 17))
    net.conv(channels, 1)
    net.requantize(codes(0.03, 40) if x is None else x)
    if p is not None:
        net.dropout(p, channels, 1, 1)
    net.conv(filters, 3, Conv2dInteger((1, 1), padding))
    net.requantize(codes(0.5, 31))
    return net.model()


def forms(model: Model) -> list[type]:
    """Return the instructions of the convolutions, in order, if masks are applied first."""
    steps = plan(model.graph, draws=8, masked=MaskedForm.DIRECT).steps
    kinds = [type(s.instruction) for s in steps]
    return [k for k in kinds if k in (Convolve, Winograd)]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Force Winograd's form if it exists for a layer, behind a mask too."""
    monkeypatch.setattr(winograd, "wins", lambda *layer, **_: winograd.applies(*layer[:3]))
    monkeypatch.setattr(masked_layers, "form_of", lambda *_: MaskedForm.DIRECT)


@runs_here
@pytest.mark.usefixtures("always")
@given(
    size=st.tuples(st.integers(2, 11), st.integers(2, 11)),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    channels=st.sampled_from([16, 32, 48]),
    filters=st.sampled_from([16, 48]),
    bits=st.sampled_from([7, 8, 3]),
    rows=st.integers(1, 7),
    seed=st.integers(0, 99),
)
@examples(60)
def test_every_geometry(
    size: tuple[int, int],
    padding: tuple[int, int, int, int],
    channels: int,
    filters: int,
    bits: int,
    rows: int,
    seed: int,
) -> None:
    top, left, bottom, right = padding
    if size[0] + top + bottom < 3 or size[1] + left + right < 3:
        padding = (1, 1, 1, 1)
    x = codes(4 / 2**bits, 1, bits)
    model = network(*size, padding, channels=channels, filters=filters, x=x, seed=seed)
    assert forms(model)[-1] is Winograd
    assert_equal(model, images(model, rows), samples=3, seed=seed)


@runs_here
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_codes(sign: int) -> None:
    """The largest sums are exact: weights and codes at the ends of 8 bits, on 64 channels."""
    net = Net((64, 6, 5), 0, codes(0.03, 0, 8))
    quant = QuantParams((f32(0.01),) * 16, (0,) * 16, -127, 127, 0)
    weight = net.constant(np.full((16, 64, 3, 3), sign * 127, np.int8), quant)
    net.accumulators(Conv2dInteger((1, 1), (1, 1, 1, 1)), weight)
    net.requantize(codes(40.0, 128, 8))
    model = net.model()
    assert forms(model) == [Winograd]
    for x in (np.full((2, 64, 6, 5), 1e9, np.float32), images(model, 2)):
        assert_equal(model, x)


@runs_here
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("zero", [0, 20])
@pytest.mark.parametrize("bias", [True, False])
def test_sampled_weights(zero: int, bias: bool) -> None:
    """Sampled weights serve all rows of a sample; the bias, folded or not, may be sampled too."""
    net = BayesNet((16, 7, 6), 5, codes(0.03, 30))
    for filters in (32, 16):
        x = net.value
        weight = net.sampled(filters, x.type.shape[0], 3, 3)
        its_bias = net.sampled_bias(x, weight) if bias else net.bias(filters)
        net.emit(Conv2dInteger(padding=(1, 1, 1, 1)), x, weight, its_bias)
        net.observed(zero)
    net.dropout(0.3)
    model = net.model()
    assert forms(model) == [Winograd] * 2
    for batch_size in (None, 2):
        assert_equal(model, images(model, 5), samples=6, seed=3, batch_size=batch_size)
    assert_traced(model, images(model, 2), 3)


@runs_here
def test_sampled_weights_that_are_large_are_done_so() -> None:
    """The planner chooses the form by itself."""
    net = BayesNet((32, 16, 16), 6, codes(0.03, 30))
    net.bayes_conv(64, 3, Conv2dInteger(padding=(1, 1, 1, 1)))
    net.observed()
    model = net.model()
    assert forms(model) == [Winograd]
    assert_equal(model, images(model, 3), samples=2)


@runs_here
def test_large_layers_are_done_so() -> None:
    """The planner chooses the form by itself, with many tiles at a time and several blocks."""
    model = network(32, 32, (1, 1, 1, 1), channels=64, filters=64)
    assert forms(model) == [Convolve, Winograd]
    assert_equal(model, images(model, 2), samples=4)
    assert_equal(replace(model, draws=4), images(model, 1), samples=4)


def run_spread_weights(panel: Array, made: Array, channels: int) -> None:
    filter_transform(
        panel.ctypes.data, 16 * channels, made.ctypes.data, 2 * 16 * channels, channels // 4
    )


def test_transformed_weights() -> None:
    """Compute four times G g G' in float64, by the definition, in pairs of channels."""
    weights = np.random.default_rng(0).integers(-128, 128, (16, 48, 3, 3)).astype(np.int8)
    weights[0], weights[1] = -128, 127
    layout = Layout(weights.shape, run=48)
    panel, made = layout.pack(layout.rows(weights)), np.zeros((16, 24, 16, 2), np.int16)
    run: Any = njit(run_spread_weights)
    run(panel, made, 48)
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    want = 4 * np.einsum("iy,ocyx,jx->ijoc", g, weights.astype(np.float64), g)
    want = want.reshape(16, 16, 24, 2).swapaxes(1, 2)
    np.testing.assert_array_equal(made, want)


@pytest.mark.parametrize(
    ("channels", "size", "copies", "wins"),
    [
        (64, 32, 1, True),
        (128, 16, 1, True),
        (512, 4, 20, True),
        (512, 2, 1, False),
        (16, 32, 20, False),
    ],
)
def test_costs(channels: int, size: int, copies: int, wins: bool) -> None:
    """Weights that are read for few tiles cost more than they save."""
    layer = winograd.Convolution3x3(channels, channels, size, size, copies)
    tiles = winograd.tiles_at_once(layer)
    assert (winograd.winograd_cost(layer, tiles) < winograd.direct_cost(layer, 1)) is wins


@pytest.mark.parametrize("change", ["stride", "kernel", "channels", "affine", "accumulators"])
def test_where_it_does_not_apply(change: str) -> None:
    net = Net((8 if change == "channels" else 16, 9, 9), 1)
    size = 5 if change == "kernel" else 3
    op = Conv2dInteger((2, 2) if change == "stride" else (1, 1), (1, 1, 1, 1))
    shape = (16, net.shape[0], size, size)
    net.accumulators(op, net.weight(*shape, zero=3 if change == "affine" else 0))
    if change != "accumulators":
        net.requantize(codes(0.1))
    model = net.model()
    assert model.graph.nodes[1].output.type.dtype is DType.I32
    assert forms(model) == [Convolve]
    assert load(model).predict(images(model, 1)).samples.shape[0] == 1
