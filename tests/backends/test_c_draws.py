"""C models with noise, choices, and masks of weights: the oracle's bits, and few bytes for them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.c import Source, to_c
from qbnnc.backends.c.lanes import strided
from qbnnc.backends.c.parts import Part, library
from qbnnc.backends.c.program import Constants
from qbnnc.backends.c.traits import definitions
from qbnnc.backends.c.vectors import drawn_rows
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.support.errors import CompileError
from tests.backends.test_c import (
    CHECKED,
    CHECKERS,
    COMPILERS,
    bayesian,
    compiled,
    needs_compiler,
    ran,
)
from tests.backends.test_c_weights import run, written
from tests.devices.programs import check_equal
from tests.drawn_nets import ENDS, EVERY_CODE, NETS
from tests.graphs import lenet
from tests.integer_net import IntegerNet
from tests.strategies import random_integer_model
from tools.devices.targets import HOST

KINDS = ("noise", "cho", "dropped", "")  # beginnings of the names of networks
CHECKED_TARGETS = [t for t in HOST if t.name == f"{(CHECKERS or ['gcc'])[0]}-sanitized"]


@needs_compiler
@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_draw(tmp_path: Path, kind: str) -> None:
    """Networks of a kind, or those of no kind."""
    others = tuple(begin for begin in KINDS if begin)
    names = [n for n in NETS if (n.startswith(kind) if kind else not n.startswith(others))]
    assert len(names) > 2
    check_equal(tmp_path, CHECKED_TARGETS[0], {name: NETS[name]() for name in names})


@pytest.mark.parametrize("name", NETS)
def test_the_samples_differ(name: str) -> None:
    """Otherwise equal bits would mean nothing."""
    model = NETS[name]()
    (samples,) = oracle_samples(model, drawn_rows(model.graph, 3), samples=6, seed=1)
    assert np.unique(samples).size > 5
    assert samples.std(axis=0).max() > 0


@needs_compiler
@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(12))
def test_random_models(tmp_path: Path, seed: int) -> None:
    model = random_model(seed)
    ran(tmp_path, model, CHECKED, CHECKERS[0], (None, 10**6)[seed // 2 % 2])


@needs_compiler
@pytest.mark.nightly
@pytest.mark.parametrize("first", range(100, 340, 10))
def test_many_random_models(tmp_path: Path, first: int) -> None:
    models = {f"random_{seed}": random_model(seed) for seed in range(first, first + 10)}
    check_equal(tmp_path, CHECKED_TARGETS[0], models)


def random_model(seed: int) -> Model:
    return random_integer_model(
        seed, ops="draws", classification=seed % 3 == 0, members=1 + seed % 2
    )


@pytest.mark.parametrize("name", NETS)
def test_every_constant_is_used(name: str) -> None:
    body = to_c(NETS[name](), "net").body
    defined = re.findall(r"^QBNNC_DATA \w+ (qb_data_\d+)\[", body, re.MULTILINE)
    assert defined
    assert [name for name in defined if len(re.findall(rf"\b{name}\b", body)) < 2] == []


@needs_compiler
@pytest.mark.parametrize("thresholds", [*ENDS, EVERY_CODE, *(EVERY_CODE[:n] for n in range(1, 9))])
def test_every_lane_has_its_code(tmp_path: Path, thresholds: tuple[int, ...]) -> None:
    """The search finds for each of 65,536 lanes the number of thresholds that it reaches."""
    inside = [t for t in thresholds if 0 < t < 65536]
    constants = Constants()
    name = constants.array(inside, "uint16_t") if inside else "NULL"
    arrays = "\n".join(constant.definition for constant in constants.arrays)
    (tmp_path / "lanes.c").write_text(
        f"{definitions(set())}\n#define QBNNC_DATA static const\n{library({Part.NOISE})}\n"
        "#include <stdio.h>\ntypedef struct { double origin, sum, squares; } unused;\n"
        f"{arrays}\n"
        "int main(void) {\n  uint32_t lane;\n  for (lane = 0; lane < 65536u; lane++)\n"
        f"    putchar({thresholds.count(0)} + qb_reached({name}, {len(inside)}, lane));\n"
        "  return 0;\n}\n"
    )
    built = subprocess.run(
        [CHECKERS[0], *CHECKED, "-o", "lanes", "lanes.c"], cwd=tmp_path, check=False
    )
    assert built.returncode == 0
    said = subprocess.run([tmp_path / "lanes"], capture_output=True, check=True).stdout
    lanes = np.arange(65536)
    expected = (np.asarray(thresholds)[:, None] <= lanes).sum(axis=0)
    np.testing.assert_array_equal(np.frombuffer(said, np.uint8), expected)


def test_noise_takes_two_bytes_a_threshold() -> None:
    """255 thresholds are 510 bytes; nothing else of the network is as large."""
    costs = to_c(NETS["noise_of_every_code"](), "net").costs
    assert max(costs.constants.values()) == 2 * 255


def layer(*, count: int = 0, dropped: bool = False, conv: bool = False) -> Source:
    """A layer whose weight is constant, one of `count`, or under a mask, behind noise."""
    shape = (3, 6, 6) if conv else (40,)
    net = IntegerNet(shape)
    net.times(net.noise((9000,), shape, shared=False, inverted=False))
    weight = net.weight((9, 3, 3, 3) if conv else (9, 40), count)
    if count:
        weight = net.choice(weight)
    if dropped:
        weight = net.dropped(weight)
    op = Conv2dInteger() if conv else None
    return to_c(net.layer(weight, net.bias(weight), op).model(), "net")


def sizes(source: Source) -> list[int]:
    return sorted(buffer.nbytes for buffer in source.costs.buffers)


@pytest.mark.parametrize("conv", [False, True])
def test_a_chosen_weight_stays_in_flash(conv: bool) -> None:
    """The one buffer more holds its number; flash has all weights, and their offsets."""
    plain, chosen = layer(conv=conv), layer(conv=conv, count=5)
    assert sizes(chosen) == sorted([*sizes(plain), 4])
    assert [c.form for c in chosen.costs.layers] == ["chosen"]
    products = 9 * 27 * 16 if conv else 9 * 40
    assert [(c.row, c.sample) for c in chosen.costs.layers] == [(0, products)]
    weights, more = 9 * 27 if conv else 9 * 40, 4 * 9
    assert chosen.constants == plain.constants + 4 * (weights + more)


def test_a_dropped_weight_is_never_stored() -> None:
    """A linear layer needs no memory, and a convolution that of a filter of 16 bits."""
    plain, dropped = layer(), layer(dropped=True)
    assert sizes(dropped) == sizes(plain)
    assert [c.form for c in dropped.costs.layers] == ["dropped"]
    filters = layer(conv=True, dropped=True)
    assert 2 * 27 in sizes(filters)
    assert max(sizes(filters)) == max(sizes(layer(conv=True)))
    assert "qb_keep(" not in filters.body.partition("---- this network")[2]


@needs_compiler
def test_chosen_weights_in_a_blob(tmp_path: Path) -> None:
    net = IntegerNet((40,))
    weight = net.choice(net.weight((9, 40), 3))
    source = written(tmp_path, net.layer(weight, net.bias(weight)).model())
    assert source.blob is not None
    assert len(source.blob.data) == 3 * 9 * 40
    files = ("net.c", "net_test.c", "net_weights.S")
    run(tmp_path, COMPILERS[0], "-I.", "-o", "net", *files)
    assert ": 0 of" in run(tmp_path, tmp_path / "net")


def test_two_masks_on_a_weight_are_refused() -> None:
    net = IntegerNet((6,))
    weight = net.dropped(net.dropped(net.weight((5, 6))))
    model = net.layer(weight, net.bias(weight)).model()
    with pytest.raises(CompileError, match="does not take a weight or bias that select makes"):
        to_c(model, "net")


def test_other_models_have_none_of_this() -> None:
    """The functions of these draws are in no file that does not call them."""
    words = "qb_noise qb_choose qb_with_weight qb_dropping qb_add_terms qb_select_sums".split()
    for graph, sampled in ((lenet(), False), (bayesian(), True)):
        body = to_c(compiled(graph, "w8a7"), "net").body
        assert [word for word in words if word in body] == []
        assert ("qb_convolve_sampled" in body) is ("qb_dot_filter" in body) is sampled


STEPS = st.tuples(*[st.integers(-5, 40)] * 4)
SHAPES = st.lists(st.integers(1, 4), min_size=4, max_size=4)


@given(st.integers(0, 99), STEPS, SHAPES)
def test_strides_give_the_numbers(
    start: int, steps: tuple[int, int, int, int], shape: list[int]
) -> None:
    numbers = numbered(start, steps, shape)
    found = strided(numbers)
    assert found is not None
    np.testing.assert_array_equal(numbered(*found, shape), numbers)


@given(STEPS, SHAPES, st.data())
def test_numbers_without_strides(
    steps: tuple[int, int, int, int], shape: list[int], data: st.DataObject
) -> None:
    """One number changes: strides may give the new ones too, or they do not give any."""
    numbers = numbered(0, steps, shape).reshape(-1)
    numbers[data.draw(st.integers(0, numbers.size - 1))] += 1
    numbers = numbers.reshape(shape)
    found = strided(numbers)
    if found is not None:
        np.testing.assert_array_equal(numbered(*found, shape), numbers)
    else:
        assert max(shape) > 1


def numbered(start: int, steps: tuple[int, int, int, int], shape: list[int]) -> Array:
    made: Array = start + np.tensordot(steps, np.indices(shape), 1)
    return made


def test_a_matrix_has_strides_of_outputs_and_inputs() -> None:
    assert strided(np.arange(12).reshape(3, 4)) == (0, (4, 1, 0, 0))
    assert strided(np.arange(12).reshape(4, 3).T[:, ::2]) == (0, (1, 6, 0, 0))
