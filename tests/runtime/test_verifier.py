"""The verifier of plans: honest ones pass, and any accepted program stays in its buffers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.types import Axis
from qbnnc.runtime.families import BY_OPCODE
from qbnnc.runtime.families.contraction import lowering as contraction
from qbnnc.runtime.families.contraction import winograd
from qbnnc.runtime.families.contraction.instructions import Convolve
from qbnnc.runtime.families.dropout.instructions import DropWeight
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.moves.instructions import Transpose
from qbnnc.runtime.families.sampled_weights.instructions import FoldBias
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.program import Place, columns_of
from qbnnc.runtime.verifier import verify, verify_schedule
from tests.examples import slow_but
from tests.runtime.draws import drop_connect, last_layer_chosen, noisy
from tests.runtime.masked import masked_conv, masked_linear
from tests.runtime.nets import lenet, mlp, resnet
from tests.runtime.redzones import Apart, apart, run, written
from tests.runtime.sampled import bayes_lenet, bayes_mlp
from tests.runtime.test_winograd import network as winograd_net
from tests.strategies import Ops, random_integer_model
from tests.tokens import integer_model as of_ids

NETWORKS: tuple[Callable[[], Model], ...] = (
    *(lenet, mlp, resnet),
    *(bayes_lenet, bayes_mlp),
    *(last_layer_chosen, drop_connect, noisy),
)

# Which constants are read, and in which order sampled weights lie.
ORDER = (
    "rows columns mu sigma run_offsets pixel_offsets pair_offsets k_offsets unit_weights zeros "
    "index step block divisor members"
).split()
SIZES = {  # which must be what the buffers hold: twice or none of it is refused
    "size", "channels", "pixels", "height", "width", "count", "rows", "columns", "groups",
    "padded", "filters", "lanes", "segments", "depth", "out_height", "out_width", "block", "units",
    "unit", "elements", "pairs", "k_blocks", "stride", "samples", "plane_height", "plane_width",
}  # fmt: skip


def nets() -> Iterator[Graph]:
    """Yield graphs of every op and form, some of them random."""
    for make in NETWORKS:
        yield make().graph
    yield winograd_net(8, 9, (1, 1, 0, 2)).graph
    for seed in range(60):
        yield random_integer_model(seed, ops="all").graph
        yield random_integer_model(seed, ops="draws").graph
    for seed in range(4):
        yield random_integer_model(seed, ops="products").graph
        yield random_integer_model(seed, ops="parts").graph
        yield of_ids(seed).graph


@pytest.mark.slow
def test_honest_plans_pass_and_every_opcode_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, graphs = set[int](), list(nets())
    for isa in (chosen(), Isa.AVX2, Isa.NEON_DOT):
        monkeypatch.setattr(contraction, "chosen", lambda isa=isa: isa)
        monkeypatch.setattr(
            winograd, "wins", lambda *a, isa=isa: isa is Isa.AVX2 and winograd.applies(*a[:3])
        )
        for graph in graphs:
            for form in MaskedForm:
                made = apart(graph, form)  # raises CompileError where the verifier refuses
                seen.update(made.plan.program[:, 0].tolist())
    assert seen == {*BY_OPCODE}


def mutants(made: Apart, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield programs that differ from the plan's in one number."""
    for number, row in enumerate(made.plan.program.tolist()):
        columns = vars(columns_of(BY_OPCODE[row[0]]))
        names = [f.name for f in fields(BY_OPCODE[row[0]])]
        last = columns[names[-1]] + 3
        for column in range(min(last, made.plan.program.shape[1])):
            old = row[column]
            near = [old - 1, old + 1, old - 16, old + 16, old + 64, 2 * old, old // 2, -old, 0, 1]
            others = [int(rng.choice(row)), int(rng.integers(-300, 300)), 1 << 20, 1 << 31, 1 << 62]
            for new in {*near, *others} - {old}:
                program = made.plan.program.copy()
                program[number, column] = new
                name = next((n for n in reversed(names) if columns[n] <= column), "opcode")
                yield f"line {number}, {BY_OPCODE[row[0]].name()}.{name}: {old} -> {new}", program


def reads_other_constants(made: Apart, program: NDArray[np.int64]) -> bool:
    """Tell whether other constants are read.

    Weights that should be zeros may then be others, so that codes beyond a run count.

    That stays inside the arena; which numbers the constants hold is not the verifier's matter.
    """
    ((number, column),) = np.argwhere(program != made.plan.program)
    row, columns = program[number], vars(columns_of(BY_OPCODE[program[number, 0]]))
    constant = any(
        columns.get(name) == column and row[column + 2] == Place.CONSTANT
        for name in ("weights", "bias", "input")
    )
    return constant or any(columns.get(name) == column for name in ORDER)


def assert_inside(graph: Graph, seed: int, share: float, masked: MaskedForm | None = None) -> int:
    """Run a share of the mutants that the verifier accepts; return their number."""
    made, rng, ran = apart(graph, masked), np.random.default_rng(seed), 0
    shape = (4, *graph.input.type.shape)
    x = np.random.default_rng(seed).normal(0, 1.3, shape).astype(np.float32)
    draws = 3 if any(Axis.SAMPLE in v.type.axes for v in graph.outputs) else 1
    for what, program in mutants(made, rng):
        if made.refusal(program) is not None or rng.random() > share:
            continue
        ran += 1
        (first, intact), (second, again) = (run(made, program, x, draws, p) for p in (0x5A, 0xC3))
        assert intact, f"{what}: writes what is not its own"
        assert again, f"{what}: writes what is not its own"
        if reads_other_constants(made, program):
            continue
        mine = written(made, draws, len(x))
        same = first.view(np.int32)[mine] == second.view(np.int32)[mine]
        assert same.all(), f"{what}: reads what is not its own"
    return ran


@pytest.mark.sample(2)
@pytest.mark.parametrize("ops", ["all", "draws"])
@pytest.mark.parametrize("seed", slow_but([0], range(8)))
def test_what_is_let_through_stays_in_its_buffers(seed: int, ops: Ops) -> None:
    """Mutants of small networks of every op run twice, with other bytes around each buffer."""
    graph = random_integer_model(seed, ops=ops).graph
    assert assert_inside(graph, seed, share=0.3) > 20


@pytest.mark.parametrize("masked", [MaskedForm.TABLE, MaskedForm.RECOMPUTE])
@pytest.mark.parametrize("make", [masked_conv, masked_linear])
def test_what_is_let_through_of_masked_layers(
    make: Callable[[], Model], masked: MaskedForm
) -> None:
    assert assert_inside(make().graph, 3, share=0.5, masked=masked) > 20


@pytest.mark.nightly
@pytest.mark.parametrize("ops", ["all", "draws", "products", "parts"])
@pytest.mark.parametrize("seed", range(200))
def test_all_that_is_let_through_stays_in_its_buffers(seed: int, ops: Ops) -> None:
    graph = random_integer_model(1000 + seed, ops=ops).graph
    assert assert_inside(graph, seed, share=1.0) > 0


def is_unused(row: list[int], name: str) -> bool:
    """Tell whether a field is no size, or the size of a missing halo, group or sum."""
    columns = columns_of(BY_OPCODE[row[0]])
    if BY_OPCODE[row[0]] is Convolve and row[columns.halo_height] == 0:
        return name in ("height", "width") or (name, row[columns.groups]) == ("channels", 1)
    if name in ("rows", "columns"):
        return BY_OPCODE[row[0]] is not Transpose
    if name == "block":  # it is cut to the channels of a group
        return BY_OPCODE[row[0]] in (FoldBias, DropWeight)
    return BY_OPCODE[row[0]] is FoldBias and row[columns.depth] == 0


@pytest.mark.sample(9)
@pytest.mark.few(3)
@pytest.mark.parametrize("masked", list(MaskedForm))
@pytest.mark.parametrize("net", NETWORKS)
def test_no_size_may_leave_its_buffer(net: Callable[[], Model], masked: MaskedForm) -> None:
    """Sizes far beyond a buffer, zero and negative ones are rejected."""
    made = apart(net().graph, masked)
    for number, row in enumerate(made.plan.program.tolist()):
        for name, column in vars(columns_of(BY_OPCODE[row[0]])).items():
            if name not in SIZES or is_unused(row, name):
                continue
            none = 1 << 40 if (BY_OPCODE[row[0]], name) == (FoldBias, "depth") else 0  # no sum
            for new in (-1, none, 1 << 20, 1 << 31, 1 << 62):
                program = made.plan.program.copy()
                program[number, column] = new
                assert made.refusal(program), f"{BY_OPCODE[row[0]].name()}.{name} = {new}"


def test_no_operand_may_be_elsewhere() -> None:
    """Other offsets and unknown places are rejected; constants may move up to their end."""
    for net in (bayes_lenet, last_layer_chosen, drop_connect, noisy):
        assert_placed(apart(net().graph))


def assert_placed(made: Apart) -> None:
    for number, row in enumerate(made.plan.program.tolist()):
        columns = columns_of(BY_OPCODE[row[0]])
        for field in fields(BY_OPCODE[row[0]]):
            if field.type != "Buffer" or is_unused(row, field.name):
                continue
            column = getattr(columns, field.name)
            if row[column + 2] == Place.INPUT:
                continue  # there is one input
            near = [] if row[column + 2] == Place.CONSTANT else [row[column] + 8]
            moves = [(0, new) for new in (*near, -64, 1 << 40)] + [(2, 7), (2, -1)]
            for which, new in moves:
                program = made.plan.program.copy()
                program[number, column + which] = new
                assert made.refusal(program), f"{BY_OPCODE[row[0]]}.{field.name}: {which}, {new}"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"scratch_bytes": 64}, "are not within"),
        ({"record_bytes": 0}, "are not within|is in records"),
        ({"copies": 1000}, "takes .* bytes, and has"),
        ({"samples": 0}, "a block has no rows, samples or copies"),
        ({"input_size": 783}, "784 numbers are used, and it has 783"),
        ({"outputs": ((9, 2),)}, "no output of this phase has 10 numbers there"),
        ({"outputs": ((10, 0),)}, "no output of this phase has 10 numbers there"),
        ({"outputs": ((10, 2), (3, 2))}, "no line writes the output at number 10"),
    ],
)
def test_a_memory_that_is_not_the_programs(changed: dict[str, Any], why: str) -> None:
    made = apart(lenet().graph)
    memory = replace(made.memory, **changed)
    found = verify(made.plan.program, made.plan.ends.tolist(), made.plan.constants, memory)
    assert found is not None
    assert re.search(why, found[1]), found[1]


@pytest.mark.parametrize("ends", [[0, 0, 0], [3, 2, 9], [-1, 2, 9], [1, 2], [1, 2, 99]])
def test_phases_that_do_not_end_with_the_program(ends: list[int]) -> None:
    made = apart(lenet().graph)
    found = verify(made.plan.program, ends, made.plan.constants, made.memory)
    assert found is not None
    assert found[1].startswith("phases end")


def test_regions_that_overlap() -> None:
    made = apart(lenet().graph)
    for number, region in enumerate(made.memory.regions):
        for other in made.memory.regions[:number]:
            if region.in_record or other.in_record:
                continue
            if other.first > region.last or region.first > other.last:
                continue
            regions = list(made.memory.regions)
            regions[number] = replace(region, offset=other.offset + other.nbytes - 1)
            memory = replace(made.memory, regions=tuple(regions))
            assert verify(
                made.plan.program, made.plan.ends.tolist(), made.plan.constants, memory
            ) == (-1, f"two values share byte {other.offset + other.nbytes - 1}")


CAPACITY = (4, 2, 6)  # rows, samples, copies


@pytest.mark.parametrize(
    ("block", "fits"),
    [
        ((0, 10, 0, 4, 0, 1), True),
        ((0, 10, 0, 5, 0, 1), False),  # rows
        ((0, 10, 0, 4, 0, 2), False),  # samples of a prefix
        ((1, 10, 0, 1, 3, 2), True),
        ((1, 10, 0, 2, 3, 2), False),  # rows of what has none
        ((1, 10, 0, 1, 3, 3), False),
        ((2, 10, 0, 3, 3, 2), True),
        ((2, 10, 0, 4, 3, 2), False),  # copies
        ((2, 10, 0, 6, 3, 1), True),
        ((2, 10, 0, 7, 3, 1), False),
        ((2, 10, 5, 3, 3, 2), True),
        ((2, 10, 6, 3, 3, 2), False),  # beyond the chunk
        ((2, 10, -1, 3, 3, 2), False),
        ((2, 9, 0, 3, 3, 2), False),  # before the rows
        ((2, 18, 0, 3, 3, 2), False),  # beyond the rows
        ((2, 10, 0, 3, 2, 2), False),  # before the draws
        ((2, 10, 0, 3, 6, 2), False),  # beyond the draws
        ((2, 10, 0, 0, 3, 1), False),
        ((2, 10, 0, 1, 3, 0), False),
        ((3, 10, 0, 1, 3, 1), False),
        ((-1, 10, 0, 1, 3, 1), False),
    ],
)
def test_blocks_of_a_schedule(block: tuple[int, ...], fits: bool) -> None:
    honest = (2, 10, 0, 1, 3, 1)
    table = np.array([honest, block, honest], np.int64)
    assert verify_schedule(table, CAPACITY, range(10, 20), range(3, 7), chunk=8) is fits
