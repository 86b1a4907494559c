"""Random numbers: published vectors, golden vectors, and the laws the masks obey."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from qbnnc.ir.ops import KeepMask
from qbnnc.ir.rng import Draw, derive, eps_table, keep_threshold
from qbnnc.ir.types import Array
from tests.conftest import DATA

GOLDEN = np.load(DATA / "golden_semantics.npz")
LANES = [name for name in GOLDEN if name.startswith("lanes_")]
KEEPS = [name for name in GOLDEN if name.startswith("keep_")]


def parsed(name: str) -> dict[str, int]:
    return {k: int(v) for k, v in re.findall(r"(seed|stream|sample|row|n)(\d+)", name)}


def lanes(name: str) -> Array:
    at = parsed(name)
    draw = Draw.of(at["seed"], [at["sample"]], [at["row"]])
    drawn: Array = draw.lanes(at["stream"], at["n"], shared=False)[0, 0]
    return drawn


def survival(statistic: float, freedom: int) -> float:
    """P(chi-square with `freedom` degrees of freedom > statistic)."""
    half = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def test_published_splitmix64_vectors() -> None:
    words = derive(np.array([1234567], np.uint64), np.arange(5, dtype=np.uint64))
    assert [int(w) for w in words] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert (words == GOLDEN["splitmix64_seed_1234567"]).all()


@pytest.mark.parametrize("name", LANES)
def test_golden_lanes(name: str) -> None:
    assert (lanes(name) == GOLDEN[name]).all()


@pytest.mark.parametrize("name", KEEPS)
def test_golden_masks(name: str) -> None:
    at = parsed(name)
    p = float(re.findall(r"p([\d.]+)_", name)[0])
    draw = Draw.of(at["seed"], [at["sample"]], [at["row"]])
    mask = KeepMask((at["n"],), p, at["stream"]).draw(draw)
    assert (mask[0, 0] == GOLDEN[name]).all()


def test_golden_eps_table() -> None:
    assert (eps_table() == GOLDEN["eps_table"]).all()


def test_seeds_and_rows_are_taken_mod_two_to_the_64() -> None:
    a = Draw.of(-1, [0], [-1]).lanes(0, 8, shared=False)
    b = Draw.of(2**64 - 1, [0], [2**64 - 1]).lanes(0, 8, shared=False)
    assert (a == b).all()


def test_a_sample_does_not_depend_on_how_many_there_are() -> None:
    few = Draw.of(3, range(2), range(4)).lanes(1, 33, shared=False)
    many = Draw.of(3, range(20), range(4)).lanes(1, 33, shared=False)
    assert (few == many[:2]).all()


def test_a_shared_mask_is_that_of_row_0() -> None:
    op = KeepMask((9,), 0.3, 2)
    own = op.draw(Draw.of(5, range(3), range(4)))
    shared = KeepMask((9,), 0.3, 2, shared=True).draw(Draw.of(5, range(3), range(7, 11)))
    assert shared.shape == (3, 1, 9)
    assert (shared[:, 0] == own[:, 0]).all()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.2, 0.5, 0.999])
def test_keep_rate(p: float) -> None:
    """The rate is exactly 1 - rint(p*65536)/65536; chi-square over rows at the 1e-6 level."""
    mask = KeepMask((1000,), p, 0).draw(Draw.of(11, range(20), range(50)))
    kept = mask.reshape(-1, 1000).sum(axis=1)
    expected = 1000 * (1 - keep_threshold(p) / 65536)
    if p == 0.0:
        assert (kept == 1000).all()
        return
    statistic = ((kept - expected) ** 2).sum() / (expected * (1 - expected / 1000))
    assert 1e-6 < survival(statistic, len(kept)) < 1 - 1e-6


@pytest.mark.parametrize(
    ("p", "threshold"),
    [
        (0.0, 0),
        (0.1, 6554),  # 6553.6
        (0.2, 13107),  # 13107.2
        (0.3, 19661),  # 19660.8
        (0.5, 32768),
        (0.9, 58982),  # 58982.4
        (0.999, 65470),  # 65470.464
        (1.5 / 65536, 2),
        (2.5 / 65536, 2),  # half to even
    ],
)
def test_the_threshold_is_the_nearest_lane(p: float, threshold: int) -> None:
    """rint(p * 65536): rounded down, a mask of p = 0.3 would keep 2^-16 too many."""
    assert keep_threshold(p) == threshold
    lanes = Draw.of(3, [0], range(300)).lanes(0, 400, shared=False)
    mask = KeepMask((400,), p, 0).draw(Draw.of(3, [0], range(300)))
    assert (mask == (lanes >= threshold)).all()


@pytest.mark.parametrize("axis", ["element", "row", "sample", "stream", "seed"])
def test_neighbouring_masks_are_independent(axis: str) -> None:
    """A 2x2 contingency table of a lane and its neighbour along each counter."""
    a = KeepMask((400,), 0.5, 0).draw(Draw.of(1, range(20), range(20)))
    match axis:
        case "element":
            first, second = a[..., :-1], a[..., 1:]
        case "row":
            first, second = a[:, :-1], a[:, 1:]
        case "sample":
            first, second = a[:-1], a[1:]
        case "stream":
            first = a
            second = KeepMask((400,), 0.5, 1).draw(Draw.of(1, range(20), range(20)))
        case _:
            first = a
            second = KeepMask((400,), 0.5, 0).draw(Draw.of(2, range(20), range(20)))
    pairs = np.bincount((2 * first + second).ravel(), minlength=4)
    statistic = ((pairs - pairs.sum() / 4) ** 2 / (pairs.sum() / 4)).sum()
    assert survival(statistic, 3) > 1e-6


def test_lanes_are_uniform() -> None:
    drawn = Draw.of(0, range(16), range(64)).lanes(0, 4096, shared=False)
    counts = np.bincount(drawn.ravel() >> 8, minlength=256)
    expected = drawn.size / 256
    assert survival(float(((counts - expected) ** 2 / expected).sum()), 255) > 1e-6
