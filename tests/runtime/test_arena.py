"""The arena: buffers that are needed at one time never overlap, and little space is lost."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

from qbnnc.ir.model import Model
from qbnnc.ir.ops import ClampCodes
from qbnnc.runtime import arena
from qbnnc.runtime.arena import Arena
from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.plan import Plan, plan
from qbnnc.runtime.program import COLUMNS, Kind, Phase, Place
from tests.examples import examples
from tests.runtime.nets import Net, lenet, mlp, resnet
from tests.runtime.sampled import bayes_lenet, bayes_mlp
from tests.strategies import integer_models


def assert_sound(made: Plan) -> None:
    for a, b in combinations(made.arena.slots, 2):
        if a.first <= b.last and b.first <= a.last:
            apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
            assert apart, f"{a.buffer.name} and {b.buffer.name} overlap"
    assert made.arena.lower_bound <= made.arena.scratch_bytes
    assert_needed(made, made.arena)


def assert_needed(made: Plan, arena: Arena) -> None:
    """Slots cover each use, computed here anew; a value that outlives its phase keeps its slot."""
    slots = {slot.buffer: slot for slot in arena.slots}
    kept = set[str]()
    for i, step in enumerate(made.steps):
        for buffer in step.instruction.buffers():
            if buffer.kind in (Kind.INPUT, Kind.OUT, Kind.CONSTANT):
                continue
            operand = arena.locate(buffer)
            if operand.place is Place.ROW:
                kept.add(buffer.name)
                assert operand.offset >= arena.scratch_bytes
                assert operand.stride == arena.record_bytes
                continue
            slot = slots[buffer]
            assert slot.first <= i <= slot.last
            assert slot.offset % 64 == 0
            assert slot.nbytes >= operand.stride
            made_in = made.steps[slot.first].phase
            if made_in is Phase.SAMPLE and step.phase is Phase.SUFFIX:
                assert slot.last == len(made.steps) - 1
            assert not (made_in is Phase.PREFIX and step.phase is Phase.SUFFIX and buffer.axes)
    assert bool(kept) == (arena.record_bytes > 0)


@given(integer_models())
@examples(60)
def test_random_models(model: Model) -> None:
    assert_sound(plan(model.graph))
    assert_sound(plan(model.graph, reuse=False))


@given(integer_models(ops="all") | integer_models(ops="draws"))
@examples(60)
def test_random_models_of_all_ops(model: Model) -> None:
    assert_sound(plan(model.graph))
    assert_sound(plan(model.graph, reuse=False))


@pytest.mark.parametrize("make", [lenet, mlp, resnet, bayes_mlp, bayes_lenet])
def test_programs_of_very_many_buffers(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs of many buffers are laid out in the order of time, as well as these are."""
    monkeypatch.setattr(arena, "_MOST_BY_SIZE", 0)
    made = plan(make().graph)
    assert_sound(made)
    assert made.arena.scratch_bytes <= 1.5 * made.arena.lower_bound


@pytest.mark.slow
def test_the_time_to_lay_out_many_buffers_does_not_explode() -> None:
    """A chain of ten thousand steps is laid out: each reads the buffer of the step before."""
    net = Net((4,))
    for _ in range(10_000):
        net.emit(ClampCodes(0, 100))
    made = plan(net.graph())
    assert made.arena.scratch_bytes < 4 * made.arena.lower_bound


@pytest.mark.parametrize("make", [lenet, mlp, resnet, bayes_mlp, bayes_lenet])
def test_little_space_is_lost(make: Callable[..., Model]) -> None:
    made = plan(make().graph)
    assert_sound(made)
    assert made.arena.scratch_bytes <= 1.1 * made.arena.lower_bound
    kept = plan(make().graph, reuse=False).arena
    assert kept.scratch_bytes / kept.capacity.copies > (
        made.arena.scratch_bytes / made.arena.capacity.copies
    )


@pytest.mark.parametrize("make", [lenet, mlp, resnet])
def test_blocks_stay_in_the_cache(make: Callable[..., Model]) -> None:
    """Values take the budget, and the kernel of a convolution up to 128 KiB beside them."""
    made = plan(make().graph, budget=100_000)
    assert made.arena.scratch_bytes < 100_000 + (128 << 10)


def test_programs_are_rows_of_known_opcodes() -> None:
    made = plan(resnet().graph)
    assert made.program.shape == (len(made.steps), COLUMNS)
    assert not made.program.flags.writeable
    for line, step in zip(made.program, made.steps, strict=True):
        assert line[0] == OPCODES[type(step.instruction)]
        row = step.instruction.encode(made.arena.locate)
        assert np.array_equal(line[1 : len(row) + 1], row)
