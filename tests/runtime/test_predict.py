"""The public interface: arguments, statistics, and independence of how work is split."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, Literal, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir import format
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.runtime import Prediction, Session, arena, load, outputs, packing
from qbnnc.runtime.arena import Capacity
from qbnnc.runtime.kernels.records import Block
from qbnnc.runtime.plan import plan
from qbnnc.runtime.program import Phase
from qbnnc.runtime.schedule import blocks
from qbnnc.support.errors import FileError, InputError
from tests.examples import examples
from tests.runtime.nets import Net, assert_equal, codes, images, lenet, mlp, resnet
from tests.strategies import input_batch, integer_models


def raw_mlp() -> Model:
    """A network of one output whose statistics are its mean and variance."""
    net = Net((10,))
    net.linear(7)
    net.requantize(codes(0.06, 20))
    net.dropout(0.4)
    return net.model()


def test_a_file_is_loaded_and_predicts(tmp_path: Path) -> None:
    model, path = lenet(draws=3), tmp_path / "lenet.qbnn"
    format.save(model, path)
    x = images(model, 4)
    p, want = load(path).predict(x, seed=5), oracle_prediction(model, x, samples=3, seed=5)
    assert list(p) == ["samples", "probabilities", "entropy", "mutual_information"] == list(want)
    for name, expected in want.items():
        np.testing.assert_array_equal(p[name], expected)
    assert p.samples.shape == (3, 4, 10)
    assert load(str(path)).samples == 3


def test_prediction_is_a_mapping_with_attributes() -> None:
    p = load(mlp(draws=2)).predict(np.zeros((3, 10)))
    names = ["samples", "samples_log_var", "mean", "aleatoric", "epistemic", "variance"]
    assert list(p) == names
    assert len(p) == 6
    assert p.mean is p["mean"]
    assert "variance" in dir(p)
    assert all(array.dtype == np.float32 for array in p.values())
    assert repr(p).startswith(
        "Prediction(samples=[2, 3, 1], samples_log_var=[2, 3, 1], mean=[3, 1]"
    )
    with pytest.raises(AttributeError, match="no 'entropy'; it has samples, "):
        _ = p.entropy
    with pytest.raises(KeyError):
        _ = p["entropy"]
    for twin in (pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p)):
        assert isinstance(twin, Prediction)
        assert np.array_equal(twin.mean, p.mean)


@pytest.mark.parametrize("make", [mlp, raw_mlp, lenet])
@pytest.mark.parametrize("rows", [1, 300])
def test_statistics_are_made_when_they_are_read(make: Callable[..., Model], rows: int) -> None:
    """They are those of Head, to the bit, by the kernel or by numpy, and of copies too."""
    model = make()
    p = load(model).predict(images(model, rows), 6, seed=3)
    twin = pickle.loads(pickle.dumps(p))
    outputs = tuple(p[name] for name in model.head.sample_names(len(model.graph.outputs)))
    for name, array in model.head.evaluate(outputs).items():
        for prediction in (p, twin, copy.deepcopy(p)):
            assert np.array_equal(prediction[name].view(np.uint32), array.view(np.uint32))


def test_threads_read_the_same_statistics() -> None:
    session, x, ready = load(lenet()), images(lenet(), 20), Barrier(4, timeout=60)
    names = ["entropy", "probabilities", "mutual_information", "entropy"]

    def read(p: Prediction, name: str) -> bool:
        ready.wait()
        first = p[name]
        ready.wait()
        return first is p[name]

    with ThreadPoolExecutor(4) as pool:
        for seed in range(30):
            same = pool.map(partial(read, session.predict(x, 3, seed)), names)
            assert list(same) == [True] * 4


@pytest.mark.parametrize(
    ("dtype", "order"), [("f8", "C"), ("f2", "C"), (">f4", "C"), ("u1", "C"), ("f4", "F")]
)
def test_element_types_and_orders(dtype: str, order: Literal["C", "F"]) -> None:
    model = lenet()
    x = np.random.default_rng(0).integers(0, 3, (2, 1, 28, 28))
    p = load(model).predict(np.array(x, dtype, order=order))
    assert np.array_equal(p.samples, load(model).predict(x.astype(np.float32)).samples)


def test_read_only_misaligned_and_nested_input() -> None:
    session, x = load(mlp()), np.linspace(-1, 1, 20, dtype=np.float32).reshape(2, 10)
    want = session.predict(x).samples
    frozen = x.copy()
    frozen.flags.writeable = False
    shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 10)
    for other in (frozen, shifted, x.tolist()):
        assert np.array_equal(session.predict(other).samples, want)
    assert x.flags.writeable


@pytest.mark.parametrize("samples", [1, 4])
def test_empty_batch(samples: int) -> None:
    p = load(mlp(draws=samples)).predict(np.zeros((0, 10)))
    assert p.samples.shape == (samples, 0, 1)
    assert p.mean.shape == (0, 1)


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 + 5, -(2**100), 2**200])
def test_seeds(seed: int) -> None:
    model = mlp()
    assert_equal(model, images(model, 5), samples=3, seed=seed)
    same, x = load(model), images(model, 5)
    assert np.array_equal(
        same.predict(x, 2, seed).samples, same.predict(x, 2, seed % 2**64).samples
    )


@pytest.mark.parametrize("first_row", [0, 1, 2**32, 2**63 - 2, 2**64 - 2, 2**64, 2**99])
def test_first_rows(first_row: int) -> None:
    model = resnet()
    assert_equal(model, images(model, 5), samples=2, first_row=first_row)


def test_numpy_integers_are_numbers() -> None:
    session, x = load(mlp()), np.zeros((2, 10))
    numbers: list[Any] = [np.int64(3), np.uint64(2**63), np.int8(1), np.int32(2)]
    p = session.predict(x, *numbers)
    assert np.array_equal(p.samples, session.predict(x, 3, 2**63, 1).samples)


@given(integer_models(), st.integers(1, 8), st.integers(1, 9), st.integers(0, 1000))
@examples(20)
def test_a_batch_may_be_split(model: Model, size: int, cut: int, seed: int) -> None:
    session, x = load(model), input_batch(model, 9, seed)
    samples = 2 if model.stochastic else 1
    name = model.head.sample_names(len(model.graph.outputs))[0]
    whole = session.predict(x, samples, seed, 40)[name]
    parts = [
        session.predict(x[:cut], samples, seed, 40, size)[name],
        session.predict(x[cut:], samples, seed, 40 + cut, size)[name],
    ]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("make", [lenet, mlp, resnet])
def test_sample_l_does_not_depend_on_l(make: Callable[..., Model]) -> None:
    model = make()
    session, x = load(model), images(model, 3)
    most = session.predict(x, 9, seed=2).samples
    for samples in (1, 2, 5):
        assert np.array_equal(session.predict(x, samples, seed=2).samples, most[:samples])
    assert len(np.unique(most, axis=0)) > 1


def test_ensemble_samples_are_interleaved() -> None:
    """Sample s = draw * M + member is the one that the member gives alone."""
    model = Model(tuple(lenet(seed, p=None).graph for seed in range(3)), Head(Task.CLASSIFICATION))
    x = images(model, 4)
    whole = load(model).predict(x).samples
    for number, member in enumerate(model.members):
        alone = load(replace(model, members=(member,))).predict(x).samples
        assert np.array_equal(whole[number::3], alone)
    assert not np.array_equal(whole[0], whole[1])


@pytest.mark.few(9)
@pytest.mark.parametrize("rows", [1, 5, 16, 17, 33])
@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("draws", [1, 3, 20])
def test_blocks_cover_everything_once(rows: int, chunk: int, draws: int) -> None:
    whole = plan(resnet().graph)
    small = replace(whole, arena=replace(whole.arena, capacity=Capacity(3, 2, 16)))
    seen = {r: np.zeros((draws, rows), int) for r in Phase}
    for block in blocks(small, range(rows), range(draws), chunk):
        first = block.start + block.first_row
        seen[block.phase][
            block.first_sample : block.first_sample + block.samples, first : first + block.rows
        ] += 1
        assert block.rows <= (3 if block.phase is Phase.PREFIX else 16)
        assert block.samples * block.rows <= 16
    assert (seen[Phase.PREFIX][0] == 1).all()
    assert (seen[Phase.SUFFIX] == 1).all()


@pytest.mark.parametrize("budget", [1, 3000, 40_000])
@pytest.mark.parametrize("shared", [False, True])
def test_block_sizes_change_nothing(budget: int, shared: bool) -> None:
    net = Net((2, 6, 6))
    net.dropout(0.3, shared=shared)
    net.conv(4, 3)
    net.requantize(codes(0.05))
    net.dropout(0.5, 4, 1, 1, shared=not shared)
    model = net.model()
    x, session = images(model, 50), Session(model, block_bytes=budget)
    want = load(model).predict(x, 7, seed=3).samples
    for batch_size in (None, 1, 13):
        assert np.array_equal(session.predict(x, 7, 3, batch_size=batch_size).samples, want)


def test_large_batches_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbnnc.runtime.jobs.CHUNK_BYTES", 10_000)
    model = resnet()
    session = load(model, threads=1)
    assert session.plan_summary().row_bytes > 500
    assert session.peak_bytes(10**6, 1) < 10**6 * 4 * (3 * 64 + 5) + 10**6
    assert_equal(model, images(model, 64), samples=3)


def test_describes_itself() -> None:
    session = load(resnet(draws=4))
    assert isinstance(session, Session)
    assert repr(session) == "Session(MC dropout, input [batch, 3, 8, 8], 4 samples, 10 operations)"
    summary = session.plan_summary()
    ranges = [o.phase for o in summary.operations]
    assert ranges == sorted(ranges, key=["prefix", "sample", "suffix"].index)
    assert ranges.count("prefix") == 3
    assert {o.kind for o in summary.operations} >= {"convolve", "add", "quantize"}
    assert sum(o.share for o in summary.operations) == pytest.approx(1)
    assert summary.lower_bound <= summary.scratch_bytes <= 1.15 * summary.lower_bound
    assert session.peak_bytes(1000) > session.peak_bytes(10) > summary.constants_bytes


def test_block_is_a_plain_record() -> None:
    assert Block(Phase.PREFIX, 0, 1, 2) == Block(Phase.PREFIX, 0, 1, 2, 0, 1)


def test_no_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory is told: for the plan, the outputs and the arena."""

    def fails(*_: object) -> NoReturn:
        raise MemoryError

    model = mlp()
    session, x = load(model), images(model, 2)
    with monkeypatch.context() as patched:
        patched.setattr(packing, "aligned_bytes", fails)
        with pytest.raises(FileError, match="no memory to load and plan it"):
            load(model)
    for module, name in ((arena, "aligned_bytes"), (outputs.Outputs, "allocate")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, fails)
            with pytest.raises(InputError, match="no memory for 2 rows and 5 samples at once"):
                session.predict(x, samples=5)
    assert session.predict(x, samples=5).samples.shape[0] == 5
