"""No instruction may read or write at a place whose memory its kernel does not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.runtime.families import BY_OPCODE
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.sampled_weights.instructions import FoldBias
from qbnnc.runtime.program import Place, columns_of
from qbnnc.runtime.verifier import verify
from tests.runtime.masked import masked_conv, masked_linear
from tests.runtime.redzones import Apart, apart
from tests.runtime.sampled import bayes_lenet
from tests.strategies import random_integer_model
from tests.tokens import integer_model

CONSTANT_TOO = {  # operands that kernels look up in the constants
    *(("Convolve", "weights"), ("Depthwise", "weights"), ("Winograd", "weights")),
    *(("Convolve", "bias"), ("Depthwise", "bias"), ("Winograd", "bias")),
    *(("FoldBias", "bias"), ("DropWeight", "input"), ("MaskedProducts", "base")),
}
FROM_THE_INPUT = {("Quantize", "input"), ("Embed", "input")}


def plans() -> Iterator[Apart]:
    """Yield plans of every family."""
    yield apart(bayes_lenet().graph)
    yield apart(masked_conv().graph, MaskedForm.TABLE)
    yield apart(masked_linear().graph, MaskedForm.RECOMPUTE)
    for seed in range(40):
        yield apart(random_integer_model(seed, ops="all").graph)
    for seed in range(4):
        yield apart(random_integer_model(seed, ops="draws").graph)
        yield apart(random_integer_model(seed, ops="products").graph)
        yield apart(integer_model(seed).graph)


@pytest.fixture(scope="module")
def made() -> list[Apart]:
    return list(plans())


def operands(made: list[Apart]) -> Iterator[tuple[Apart, int, str, str, int]]:
    """Yield (plan, line, instruction, operand, its column) of the first few of each kind."""
    seen = dict[tuple[str, str], int]()
    for plan in made:
        for number, row in enumerate(plan.plan.program.tolist()):
            cls = BY_OPCODE[row[0]]
            for field in fields(cls):
                kind = cls.__name__, field.name
                if field.type == "Buffer" and seen.get(kind, 0) < 8:
                    seen[kind] = seen.get(kind, 0) + 1
                    yield plan, number, *kind, getattr(columns_of(cls), field.name)


def is_idle(row: NDArray[np.int64], own: tuple[str, str]) -> bool:
    """Tell whether an operand is never read: the weights of a bias without a sum."""
    return own == ("FoldBias", "weights") and row[columns_of(FoldBias).depth] == 0


def test_codes_are_read_where_the_kernel_reads(made: list[Apart]) -> None:
    """An offset into the constants or the input is none into the arena."""
    tried = set[str]()
    for plan, number, name, field, column in operands(made):
        own = name, field
        if field in ("output", "scratch") or is_idle(plan.plan.program[number], own):
            continue
        tried.add(name)
        elsewhere = {
            Place.CONSTANT: (0, 0, Place.CONSTANT),
            Place.INPUT: (0, plan.memory.input_size, Place.INPUT),
            Place.OUT: (0, sum(size for size, _ in plan.memory.outputs), Place.OUT),
        }
        for place, operand in elsewhere.items():
            if place is Place.CONSTANT and own in CONSTANT_TOO:
                continue
            if place is Place.INPUT and own in FROM_THE_INPUT:
                continue
            program = plan.plan.program.copy()
            program[number, column : column + 3] = operand
            assert plan.refusal(program), f"{name}.{field} at {place.name}"
    assert tried >= {"Embed", "MatMul", "Softmax", "Normalize", "MaxUnpool", "Gather", "Copy"}


def test_the_input_is_read_by_nothing_else(made: list[Apart]) -> None:
    """An offset into the arena is none into the input."""
    for plan, number, name, field, column in operands(made):
        if (name, field) not in FROM_THE_INPUT:
            continue
        for offset, stride in {(r.offset, r.nbytes) for r in plan.memory.regions}:
            for place in (Place.COPY, Place.FIXED, Place.ROW, Place.CONSTANT):
                program = plan.plan.program.copy()
                program[number, column : column + 3] = offset, stride, place
                assert plan.refusal(program), f"{name}.{field} at {place.name}"


def test_codes_never_leave(made: list[Apart]) -> None:
    """The program ends with each line in turn, and what the line writes is the whole output."""
    tried = 0
    for plan, number, name, field, column in operands(made):
        row = plan.plan.program[number]
        if field != "output" or row[column + 2] == Place.OUT:
            continue
        lines = plan.plan.program[: number + 1].copy()
        ends = np.minimum(plan.plan.ends, number + 1).tolist()
        regions = tuple(
            replace(region, last=min(region.last, number))
            for region in plan.memory.regions
            if region.first <= number and not region.in_record
        )
        phase = next(i for i, end in enumerate(ends) if number < end)
        for size in {1, 10, *(r.nbytes for r in regions), *(n for n in row.tolist() if n > 0)}:
            memory = replace(plan.memory, outputs=((size, phase),), regions=regions)
            lines[number, column : column + 3] = 0, size, Place.OUT
            found = verify(lines, ends, plan.plan.constants, memory)
            assert found, f"{name} writes {size} codes to the output"
            tried += 1
    assert tried > 100
