"""C models under the host's compiler, with sanitizers: the oracle's samples, bit for bit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.c import Source, golden_program, to_c
from qbnnc.backends.c.fixed_point import Int64, fit, steps
from qbnnc.backends.c.scope import Form
from qbnnc.backends.c.values import Walk, broadcast_strides, row_major, runs, stored
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2d, Linear, SampledWeightInteger
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import UserError
from tests.graphs import lenet, mlp, resnet
from tests.net import Net
from tests.strategies import random_integer_model


def checks(compiler: str) -> bool:
    """Whether a compiler is there, and its sanitizers run here."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.c").write_text("int main(void) { return 0; }\n")
        command = [compiler, *CHECKED, "-o", "a", "a.c"]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return False
        return (
            subprocess.run([Path(folder) / "a"], capture_output=True, check=False).returncode == 0
        )


STRICT = "-std=c99 -pedantic -Wall -Wextra -Wconversion -Werror".split()
CHECKED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all".split()
# Contraction would fuse a product with a sum where there is one.
FUSED = "-O3 -ffp-contract=fast".split()
if platform.machine() == "x86_64":
    FUSED.append("-mfma")
CHECKERS = [name for name in ("gcc", "clang") if checks(name)]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_compiler = pytest.mark.skipif(not CHECKERS, reason="needs gcc or clang with sanitizers")


def ran(folder: Path, model: Model, flags: list[str], cc: str, ram: int | None = None) -> Source:
    """Compile the model's test program, run it, and expect that nothing differs."""
    source = to_c(model, "net", ram)
    (folder / "net.c").write_text(source.body)
    (folder / "net.h").write_text(source.header)
    (folder / "net_test.c").write_text(golden_program(model, "net"))
    command = [cc, *STRICT, *flags, "-o", "net", "net.c", "net_test.c"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    # The addresses that a sanitizer wants may be taken; it says so, and nothing was tested.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    made = subprocess.run(
        [folder / "net"], capture_output=True, text=True, check=False, env=environment
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert ": 0 of" in made.stdout
    return source


@needs_compiler
@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(12))
def test_random_models_of_every_op(tmp_path: Path, seed: int) -> None:
    model = random_integer_model(
        seed, ops="all", classification=seed % 3 == 0, members=1 + seed % 2
    )
    ran(tmp_path, model, CHECKED, CHECKERS[0], (None, 10**6)[seed // 2 % 2])


def compiled(graph: Graph, bits: str) -> Model:
    """An INTEGER model of a graph with random weights, calibrated on random rows."""
    rows = np.random.default_rng(3).normal(0, 1, (32, *graph.input.type.shape))
    options = Options(Quantisation(Bits.parse(bits)), calibration=Calibration(passes=1))
    return quantise_model(Model((graph,), Head(Task.RAW)), rows.astype(np.float32), options)


def bayesian() -> Graph:
    """A network whose weights are sampled."""
    net = Net((2, 6, 6), 4).bayesian(5, "conv", Conv2d(padding=(1, 1, 1, 1))).relu("relu")
    return net.max_pool("pool").flatten("flatten").bayesian(4, "fc", Linear()).graph()


@needs_compiler
@pytest.mark.few(1)
@pytest.mark.parametrize("bits", ["w8a8", "w2a2"])
@pytest.mark.parametrize("network", [mlp, lenet, resnet, bayesian])
def test_networks(tmp_path: Path, network: Callable[[], Graph], bits: str) -> None:
    model = compiled(network(), bits)
    for cc, flags in ((CHECKERS[0], CHECKED), *((cc, FUSED) for cc in COMPILERS)):
        folder = tmp_path / f"{cc}{flags[0]}"
        folder.mkdir()
        ran(folder, model, flags, cc)


@needs_compiler
@pytest.mark.few(1)
@pytest.mark.parametrize("form", list(Form))
def test_forms_of_masked_layers(tmp_path: Path, form: Form) -> None:
    """Each form is forced: with all memory, with what sums take, and with the least there is."""
    model = compiled(lenet(), "w8a7")
    free, least = to_c(model, "net", 10**7), to_c(model, "net")
    ram = {Form.CACHED: free.memory, Form.SUBTRACT: least.memory, Form.DIRECT: 0}[form]
    if form is Form.DIRECT:
        ram = smallest(model)
    source = ran(tmp_path, model, CHECKED, CHECKERS[0], ram)
    assert set(source.forms.values()) <= {form}
    assert bool(source.forms) is (form is not Form.DIRECT)
    assert source.memory <= ram


def smallest(model: Model) -> int:
    """The memory that the refusal of one byte names."""
    with pytest.raises(UserError, match="values take") as refused:
        to_c(model, "net", 1)
    return int(str(refused.value).split("values take ")[1].split(" bytes")[0].replace(",", ""))


@given(st.integers(1, 2000), st.integers(2, 127), st.floats(1.0, 2.0**12), st.integers(-3, 3))
def test_a_proved_rounding_is_the_rounding(
    reach: int, high: int, divisor: float, zero: int
) -> None:
    """Every t is tried: the definition by rint, and the shift."""
    t = np.arange(-reach, reach + 1)
    exact = np.float32(divisor)

    def rounded(values: Int64) -> Int64:
        scaled = values.astype(np.float32) / exact
        codes: Int64 = np.rint(np.clip(scaled, -high - zero, high - zero)).astype(np.int64) + zero
        return codes

    ends = np.array([-reach]), np.array([reach])
    at = steps(rounded, -high, high, *ends)
    codes = range(-high + 1 - zero, high + 1 - zero)
    found = fit(1 / float(exact), codes, at[0].tolist(), -reach, reach)
    if found is None:
        return
    shifted = (t.astype(object) * found.multiplier + found.addend) // 2**found.shift
    clipped = np.clip(shifted.astype(np.int64), -high - zero, high - zero) + zero
    np.testing.assert_array_equal(clipped, rounded(t))


def test_most_roundings_are_proved() -> None:
    model = compiled(bayesian(), "w8a7")
    text = to_c(model, "net").body
    layers = [n for n in model.graph.nodes if isinstance(n.op, SampledWeightInteger)]
    assert len(layers) >= 2
    assert text.count("QBNNC_DATA int64_t") >= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_runs_are_the_numbers(indices: list[int]) -> None:
    found = [first + step * i for first, step, count in runs(indices) for i in range(count)]
    assert found == indices


@given(
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_a_mask_that_repeats_is_one(shape: list[int], whole: list[bool]) -> None:
    """Every element is tried: element i of an image in memory takes element i % count."""
    mask = [n if kept else 1 for n, kept in zip(shape, whole, strict=True)]
    walk = Walk(tuple(shape), broadcast_strides(shape, mask, row_major(mask)), stored(shape))
    grid = np.indices(shape).reshape(3, -1)
    source, target = (np.array(strides) @ grid for strides in (walk.source, walk.target))
    found = walk.repeats()
    if found is not None:
        np.testing.assert_array_equal(source, target % found)
    elif mask[1:] == [1, 1]:
        raise AssertionError("a mask of channels repeats")


def test_a_name_that_is_none() -> None:
    with pytest.raises(UserError, match="letters, digits"):
        to_c(compiled(mlp(), "w8a7"), "my-model")


@needs_compiler
def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    """The golden vectors of another network: the test can fail."""
    first, other = compiled(mlp(0), "w8a7"), compiled(mlp(1), "w8a7")
    source = to_c(first, "net")
    (tmp_path / "net.c").write_text(source.body)
    (tmp_path / "net.h").write_text(source.header)
    (tmp_path / "net_test.c").write_text(golden_program(other, "net"))
    subprocess.run([COMPILERS[0], "-o", "net", "net.c", "net_test.c"], cwd=tmp_path, check=True)
    made = subprocess.run([tmp_path / "net"], capture_output=True, text=True, check=False)
    assert made.returncode == 1
