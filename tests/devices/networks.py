"""Models for devices: MLPs of every method at any width, random graphs, standard networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.drawn_nets import NETS
from tests.graphs import bayesian_mlp, lenet, mlp
from tests.strategies import Ops, random_integer_model
from tools.devices.networks import standard

WIDTHS = [Bits(weights, activations) for weights in range(2, 9) for activations in range(2, 9)]
SOME_WIDTHS = [Bits.parse(text) for text in "w8a8 w8a7 w2a8 w8a2 w5a6 w4a4 w3a3 w2a2".split()]
# Each method's members: two outputs, a mean and a log variance.
METHODS: dict[str, Callable[[], tuple[Graph, ...]]] = {
    "pointwise": lambda: (mlp(1, p=None),),
    "mcd": lambda: (mlp(2),),
    "bbb": lambda: (bayesian_mlp(3),),
    "ensemble": lambda: tuple(mlp(seed, p=None) for seed in (4, 5, 6)),
    "mixture": lambda: tuple(mlp(seed) for seed in (7, 8)),
}


def mlps(method: str, widths: Iterable[Bits]) -> dict[str, Model]:
    """An MLP of a method at each width."""
    return {f"{method}_{bits}": _mlp(method, bits) for bits in widths}


@cache
def _mlp(method: str, bits: Bits) -> Model:
    return _compiled(METHODS[method](), Task.REGRESSION, bits)


@cache
def small_lenet(bits: Bits) -> Model:
    """Two convolutions and two linear layers, with dropout of channels and of elements."""
    return _compiled((lenet(1),), Task.CLASSIFICATION, bits)


def _compiled(members: tuple[Graph, ...], task: Task, bits: Bits) -> Model:
    rows = np.random.default_rng(3).normal(0, 1, (32, *members[0].input.type.shape))
    options = Options(Quantisation(bits), calibration=Calibration(passes=1))
    return quantise_model(Model(members, Head(task)), rows.astype(np.float32), options)


def random_models(seeds: Iterable[int], ops: Ops = "all") -> dict[str, Model]:
    """Random graphs over all ops, each second one of two members."""
    return {f"random_{seed}": _random(seed, ops) for seed in seeds}


@cache
def _random(seed: int, ops: Ops) -> Model:
    return random_integer_model(seed, ops=ops, classification=seed % 3 == 0, members=1 + seed % 2)


def drawn() -> dict[str, Model]:
    """A network for each way to draw noise, choices and masks of weights."""
    return {name: make() for name, make in NETS.items()}


def standards(names: Iterable[str], bits: str) -> dict[str, Model]:
    """Standard networks at a width."""
    return {f"{name}_{bits}": standard(name, bits) for name in names}
