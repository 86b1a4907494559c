"""Both roundings and the masks inside kernels, against their definitions."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import quantize, requantize
from qbnnc.ir.ops import Dequantize, LinearInteger, QuantizeInput, Requantize
from qbnnc.ir.rng import Draw, keep_threshold
from qbnnc.ir.types import QuantParams
from qbnnc.runtime import load
from tests.runtime.nets import Net, codes

EXTREMES = [2**31 - 1, -(2**31), 2**24 + 1, -(2**24) - 1, 2**24, 0, 1, -1]


def requantized(
    acc: NDArray[np.int32], m: float, quant: QuantParams, low: int, high: int, *, fused: bool
) -> NDArray[np.uint8]:
    """Return the runtime's codes of accumulators: the biases of a layer that sees zeros."""
    net = Net((1,))
    weight = net.constant(np.zeros((len(acc), 1), np.int8), QuantParams((1.0,), (0,), -1, 1))
    sums = net.emit(LinearInteger(True), net.value, weight, net.constant(acc))
    factor = net.constant(np.full(1, m, np.float32))
    requant = net.emit(Requantize(quant, low, high), sums, factor)
    outputs = [net.emit(Dequantize(), requant)]
    if not fused:
        outputs.append(net.emit(Dequantize(), sums))
    codes_: NDArray[np.uint8] = load(net.model(*outputs)).trace(np.zeros((1, 1)))[requant.name]
    row: NDArray[np.uint8] = codes_[0, 0]
    return row


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("m", "zero", "low", "high"),
    [
        (0.5, 0, 0, 127),
        (0.25, 1, 0, 127),
        (2.0**-9, 0, 0, 127),
        (0.0025, 64, 64, 127),
        (3e-7, 17, 3, 200),
        (0.5, 127, 0, 127),
        (1e30, 5, 0, 255),
        (3.4e38, 5, 1, 254),
        (1.2e-38, 9, 0, 15),
    ],
)
def test_requantize(m: float, zero: int, low: int, high: int, fused: bool) -> None:
    rng = np.random.default_rng(0)
    acc = np.concatenate(
        [EXTREMES, np.arange(-600, 600), rng.integers(-(2**31), 2**31, 2000)]
    ).astype(np.int32)
    quant = QuantParams((1.0,), (zero,), 0, 255)
    with np.errstate(over="ignore"):
        want = requantize(acc, np.full(1, m, np.float32), zero, low, high)
    got = requantized(acc, m, quant, low, high, fused=fused)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("scale", "zero"), [(0.25, 0), (0.1, 7), (0.3, 64), (1.2e-38, 3)])
def test_quantize_divides(scale: float, zero: int) -> None:
    """Numbers for which x / S and x * (1 / S) differ, or ties to even and away from zero."""
    quant = codes(scale, zero)
    steps = np.arange(-300, 300, dtype=np.float32) * np.float32(0.5)
    x = np.concatenate([steps * np.float32(scale), np.linspace(-9, 30, 3000, dtype=np.float32)])
    x = np.concatenate(
        [x, np.nextafter(x, np.float32(np.inf)), np.array([np.inf, -np.inf], np.float32)]
    )
    net = Net((1,))
    net.emit(QuantizeInput((0.0,), quant.scale, quant, 1, 120), net.input)
    got = load(net.model()).trace(x[:, None])["quantize_input1"][0, :, 0]
    want = quantize(x, np.float32(quant.scale[0]), zero, 1, 120)
    np.testing.assert_array_equal(got, want)


def test_dequantize_of_large_accumulators_rounds_once() -> None:
    acc = np.array([*EXTREMES, 2**25 + 1, 2**30 + 63, -(2**30) - 65], np.int32)
    net = Net((1,))
    quant = QuantParams((float(np.float32(0.1)),), (0,), -1, 1)
    weight = net.constant(np.zeros((len(acc), 1), np.int8), quant)
    net.emit(LinearInteger(True), net.value, weight, net.constant(acc))
    p = load(net.model(net.emit(Dequantize()))).predict(np.zeros((1, 1)))
    scale = np.float32(codes(0.03).scale[0]) * np.float32(0.1)
    np.testing.assert_array_equal(p.samples[0, 0], acc.astype(np.float32) * scale)


@pytest.mark.few(6)
@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("count", [1, 3, 4, 10, 101, 500])
def test_masks_are_the_lanes_of_the_definition(p: float, count: int) -> None:
    net = Net((count,), 0, codes(1.0, 0))
    net.dropout(p)
    x, rows, samples = np.ones((3, count)), range(250, 253), 4
    got = load(net.model()).predict(x, samples, seed=-77, first_row=250).samples
    lanes = Draw.of(-77, range(samples), rows).lanes(0, count, shared=False)
    np.testing.assert_array_equal(got, (lanes >= keep_threshold(p)).astype(np.float32))


@pytest.mark.parametrize("index", range(5))
def test_a_lane_equal_to_the_threshold_is_kept(index: int) -> None:
    lanes = Draw.of(3, range(1), range(1)).lanes(0, 5, shared=False)
    net = Net((5,), 0, codes(1.0, 0))
    net.dropout(int(lanes[0, 0, index]) / 65536)
    got = load(net.model()).predict(np.ones((1, 5)), 1, seed=3).samples[0, 0]
    np.testing.assert_array_equal(got, lanes[0, 0] >= lanes[0, 0, index])
    assert got[index] == 1


def test_golden_masks(data: Path) -> None:
    """Masks equal the vectors of an independent program."""
    checked = 0
    with np.load(data / "golden_semantics.npz") as golden:
        for name in golden.files:
            if name.startswith("keep_"):
                checked += _check_golden(name, golden[name])
    assert checked > 3


def _check_golden(name: str, want: NDArray[np.uint8]) -> int:
    p, seed, stream, sample, row = (
        float(part.removeprefix(key))
        for part, key in zip(
            name.split("_")[1:6], ("p", "seed", "stream", "sample", "row"), strict=True
        )
    )
    whole_seed = int(name.split("seed")[1].split("_")[0])
    assert float(whole_seed) == seed
    net = Net((len(want),), 0, codes(1.0))
    net.streams = int(stream)
    net.dropout(p)
    x = np.ones((1, len(want)))
    got = load(net.model()).predict(x, int(sample) + 1, whole_seed, int(row)).samples[-1, 0]
    np.testing.assert_array_equal(got, want)
    return 1
