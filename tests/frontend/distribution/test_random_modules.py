"""Random networks with random noise: most compile, and each that does keeps its distribution.

`check_values` compares a network on the same random numbers, which takes one to two seconds, and
`check_samples` compares samples, which takes several. Networks are drawn from fixed seeds, so that
a change of sources changes no network. Only nightly draws others.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend.distribution import Reference, Subject, check_distribution
from qbnnc.frontend.distribution.check import COUPLED_ROWS
from qbnnc.frontend.distribution.coupled_calls import coupled
from qbnnc.frontend.trace.any_batch import Traced, trace_for_any_batch
from qbnnc.ir.evaluate import broadcast_output, evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.passes.pipeline import comparable
from qbnnc.support.errors import CompileError
from tests.examples import nightly_but
from tests.frontend.distribution.random_modules import RandomNet, random_net

Float64 = NDArray[np.float64]
NETWORKS = 200
LEAST = 160
VALUES = range(1000, 1016)  # compared in value
SHORT = range(0, 120, 10)  # compared by samples, not slow
WHOLE = range(3, 195, 12)  # compiled to integers
_CALLS = 768
_INTEGER_SAMPLES = 512
_SAMPLES = 4096
_SIGMAS = 6.0
_PLACE = re.compile(r"^\S.*\(\w+\.py:\d+\): |^layers\.\d+")


def rows_of(net: RandomNet, seed: int, count: int = 32) -> NDArray[np.float32]:
    shape = (count, *net.row)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def traced_and_rewritten(net: RandomNet, x: NDArray[np.float32]) -> tuple[Traced, Graph]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = trace_for_any_batch(net, torch.from_numpy(x[:2]), None)
    return traced, comparable(traced.graph, shared=False)


def samples_of_module(net: RandomNet, x: NDArray[np.float32], count: int) -> Float64:
    """[N, B, E], each call with random numbers of its own."""
    torch.manual_seed(11)
    with torch.no_grad():
        calls = [net(torch.from_numpy(x)).double() for _ in range(count)]
    made: Float64 = torch.stack(calls).numpy()
    return made


def samples_of_graph(graph: Graph, x: NDArray[np.float32], count: int) -> Float64:
    parts = list[Float64]()
    for start in range(0, count, 64):
        draw = Draw.of(12, range(start, start + 64), range(len(x)))
        (output,) = evaluate(graph, x, draw)
        parts.append(broadcast_output(output, 64, len(x)).astype(np.float64))
    return np.concatenate(parts)


def assert_same_moments(module: Float64, graph: Float64) -> None:
    """Means and variances of each row and output within the error of both counts of samples."""
    largest = np.abs(module).max() + 1e-6
    for power in (1, 2):
        centre = module.mean(0) if power == 2 else 0.0
        a, b = (module - centre) ** power, (graph - centre) ** power
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        apart = np.abs(a.mean(0) - b.mean(0))
        assert (apart <= _SIGMAS * error + 1e-4 * largest**power).all(), (power, apart, error)
    ratio = np.sqrt(graph.var(0).sum() / max(module.var(0).sum(), 1e-12))
    assert graph.var(0).sum() < 1e-9 or 0.75 < ratio < 1.33


def compiled_or_refused(net: RandomNet, x: NDArray[np.float32]) -> tuple[Reference, Graph] | str:
    """The network and its graph, or the message of the error, which has to name a place."""
    try:
        traced, graph = traced_and_rewritten(net, x)
    except CompileError as error:
        refused = str(error)
    else:
        return Reference(net, traced), graph
    assert _PLACE.search(refused), f"no place in: {refused}"
    return refused


def check_values(net: RandomNet, x: NDArray[np.float32]) -> None:
    """Compare the rewritten graph with the network on the same random numbers."""
    made = compiled_or_refused(net, x)
    if not isinstance(made, str):
        reference, graph = made
        assert coupled(reference, graph, reference.rows(x, COUPLED_ROWS)) is None, str(net)


def check_samples(seed: int) -> str | None:
    """None if the network compiles with its distribution; else the message of the error."""
    net = random_net(Random(seed))
    x = rows_of(net, seed)
    made = compiled_or_refused(net, x)
    if isinstance(made, str):
        return made
    reference, graph = made
    check_distribution([Subject(reference, graph, graph)], x)
    few = reference.rows(x, 4)
    assert_same_moments(samples_of_module(net, few, _CALLS), samples_of_graph(graph, few, _SAMPLES))
    return None


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", VALUES)
def test_a_network_is_not_supported_or_keeps_its_values(seed: int) -> None:
    net = random_net(Random(seed))
    check_values(net, rows_of(net, seed))


@pytest.mark.sample(4)
@pytest.mark.few(1)
@pytest.mark.parametrize("seed", SHORT)
def test_a_network_is_not_supported_or_keeps_its_distribution(seed: int) -> None:
    check_samples(seed)


@pytest.mark.nightly
def test_most_of_two_hundred_compile_and_keep_their_distribution(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unsupported, wrong = dict[int, str](), dict[int, str]()
    for seed in range(NETWORKS):
        try:
            message = check_samples(seed)
        except (CompileError, AssertionError) as error:
            wrong[seed] = f"{error} in {random_net(Random(seed))}"
            continue
        if message is not None:
            unsupported[seed] = message
    with capsys.disabled():
        print(f"\n{NETWORKS - len(unsupported)} of {NETWORKS} random networks compile")
        for reason, count in Counter(map(_reason, unsupported.values())).most_common():
            print(f"{count:5} {reason}")
    assert not wrong, "\n".join(f"{seed}: {told}" for seed, told in wrong.items())
    assert NETWORKS - len(unsupported) >= LEAST


def _reason(message: str) -> str:
    """A message without its place and its numbers."""
    return re.sub(r"\[[\d, ]*\]", "[..]", _PLACE.sub("", message))[:100]


@pytest.mark.nightly
@settings(
    max_examples=200,
    phases=[Phase.generate],  # to shrink a network takes minutes; its story says enough
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(st.randoms(use_true_random=False))
def test_networks_drawn_by_hypothesis(rng: Random) -> None:
    net = random_net(rng)
    note(str(net))
    check_values(net, rows_of(net, 0))


@pytest.mark.parametrize("seed", nightly_but(WHOLE[::4], WHOLE))
def test_integers_have_the_law_of_the_module(seed: int, tmp_path: Path) -> None:
    net = random_net(Random(seed))
    x = rows_of(net, seed, 128)
    model = qbnnc.compile(net, tmp_path / "net.qbnn", calibration=x, samples=8, task="raw")
    few = x[:8]
    (made,) = oracle_samples(model, few, samples=_INTEGER_SAMPLES, seed=5)
    truth = samples_of_module(net, few, _INTEGER_SAMPLES)
    spread = [np.sqrt(samples.var(0).mean()) for samples in (made.astype(np.float64), truth)]
    assert 0.8 < spread[0] / spread[1] < 1.25
    assert np.abs(made.mean(0) - truth.mean(0)).mean() < 0.15 * truth.std()
    onnx = OnnxArtefact.from_bytes(emit(model)).predict(few, seed=5)
    (same,) = oracle_samples(model, few, samples=8, seed=5)
    np.testing.assert_array_equal(onnx["samples"], same)
