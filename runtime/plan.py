"""Plans: a graph as a program, its constants and the layout of its arena.

A plan does not depend on the batch or the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.types import Array, TensorType
from qbnnc.runtime.arena import Arena, allocate
from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.families.contraction.instructions import Layer
from qbnnc.runtime.families.dispatch import lower_nodes
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.instructions import MaskedSums
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.lowering import Lowering, Step
from qbnnc.runtime.packing import Layout, aligned_bytes
from qbnnc.runtime.program import COLUMNS, Buffer, Instruction, Phase, phase_of
from qbnnc.runtime.verifier import Memory, Region, verify
from qbnnc.support.errors import CompileError, Loc

BLOCK_BYTES = 1 << 19  # in use at a time, which stay in the L2 cache of most CPUs
MOST_BLOCK_BYTES = 1 << 22  # where weights do not stay there and are read again for each block


@dataclass(frozen=True, slots=True)
class Stored:
    """The place of a value: a buffer, in the order of memory or in the layout of a weight."""

    buffer: Buffer
    type: TensorType
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """The cost for a row, a sample and a copy, in multiplications of a convolution or seconds."""

    row: float
    sample: float
    copy: float

    def of(self, batch: int, draws: int) -> float:
        """Return the cost of a whole prediction; `draws` are samples of a member."""
        return batch * self.row + draws * self.sample + batch * draws * self.copy


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A program with its memory, proved to stay inside it.

    `program` is int64 [steps, COLUMNS], prefix first. `ends` says where each phase ends. `work` is
    in multiplications, `time` in seconds. `values` says where values are, by name. `copied` has the
    outputs that no step makes: they are the input (None) or a constant. Several plans may share
    `constants`; `constant_bytes` counts its own.
    """

    program: NDArray[np.int64]
    constants: NDArray[np.uint8]
    constant_bytes: int
    arena: Arena
    steps: tuple[Step, ...]
    ends: NDArray[np.int64]
    outputs: tuple[TensorType, ...]
    work: Work
    time: Work
    values: dict[str, Stored]
    copied: dict[int, Array | None]

    @property
    def size(self) -> int:
        """The elements of all outputs of one copy."""
        return sum(type_.size for type_ in self.outputs)

    @property
    def has_tables(self) -> bool:
        """Whether the records hold tables, which are read for each sample."""
        return any(isinstance(step.instruction, MaskedSums) for step in self.steps)

    def arena_bytes(self, rows: int) -> int:
        """Count the bytes of an arena for chunks of `rows` rows, with 64 to read past the end."""
        return self.arena.scratch_bytes + rows * self.arena.record_bytes + 64


def plan(
    graph: Graph,
    *,
    draws: int = 1,
    reuse: bool = True,
    budget: int | None = None,
    masked: MaskedForm | None = None,
) -> Plan:
    """Plan a graph; raise CompileError, at the node, if no kernel takes its inputs.

    `draws` are the samples of most predictions, by which forms of layers are chosen. `budget` is
    the size of a block in bytes; None chooses it. Without `reuse` of the arena's space, every value
    of a phase is still there when the phase has run. `masked` is the form of layers under a dropout
    mask where it exists; None chooses it.
    """
    made = draft(Lowering(graph, draws, traced=not reuse, masked=masked), graph.nodes)
    arena = allocate(made.steps, made.block_bytes(budget), reuse=reuse)
    return finish(made, arena, made.lowering.constants.pack())


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A program whose buffers have no place yet, and the bytes of the constants that it reads."""

    lowering: Lowering
    steps: tuple[Step, ...]
    constant_bytes: int

    @property
    def work(self) -> Work:
        """The cost of its steps in multiplications, by phase."""
        return Work(*(sum(s.instruction.work for s in self.steps if s.phase is r) for r in Phase))

    @property
    def time(self) -> Work:
        """The cost of its steps in seconds of one core, by phase."""
        return Work(
            *(sum(_seconds(s.instruction) for s in self.steps if s.phase is r) for r in Phase)
        )

    def block_bytes(self, budget: int | None) -> int:
        """Return the size of a block in bytes: `budget` if it is given."""
        if budget is not None:
            return budget
        return max(BLOCK_BYTES, min(self.constant_bytes // 4, MOST_BLOCK_BYTES))


def _seconds(instruction: Instruction) -> float:
    """Estimate the time of one run on one core."""
    isa, multiplies = chosen(), isinstance(instruction, Layer)
    rate = isa.products_per_second if multiplies else isa.other_work_per_second
    return instruction.work / rate


def draft(lowering: Lowering, nodes: Iterable[Node]) -> Draft:
    """Lower some nodes of a graph; raise CompileError, at the node, if no kernel takes it."""
    before = lowering.constants.asked
    lower_nodes(lowering, tuple(nodes))
    steps = tuple(sorted(lowering.steps, key=lambda step: step.phase))
    return Draft(lowering, steps, lowering.constants.asked - before)


def finish(made: Draft, arena: Arena, constants: NDArray[np.uint8]) -> Plan:
    """Make the plan of a program in `arena`; raise CompileError if it could leave its memory."""
    program, ends = _program(made.steps, arena), _ends(made.steps)
    _expect_safe(made, program, ends, constants, arena)
    return Plan(
        program=program,
        constants=constants,
        constant_bytes=made.constant_bytes,
        arena=arena,
        steps=made.steps,
        ends=ends,
        outputs=tuple(value.type for value in made.lowering.graph.outputs),
        work=made.work,
        time=made.time,
        values=_values(made.lowering),
        copied=made.lowering.copied(),
    )


def _expect_safe(
    made: Draft,
    program: NDArray[np.int64],
    ends: NDArray[np.int64],
    constants: NDArray[np.uint8],
    arena: Arena,
) -> None:
    """Raise CompileError, at the node, if a line could leave its memory: kernels check nothing."""
    violation = verify(
        program, ends.tolist(), constants, memory_of(made.lowering, arena, len(program))
    )
    if violation is not None:
        number, why = violation
        loc = made.steps[number].loc if number >= 0 else Loc("the network")
        raise CompileError(
            f"the program planned for it could leave its memory, and is not run: {why}",
            loc,
            remedy="no file that qbnnc has written does this, so compile the model again, or "
            "report it",
        )


def memory_of(lowering: Lowering, arena: Arena, steps: int) -> Memory:
    """Describe the memory of a program, as the verifier needs it."""
    regions = [Region(s.offset, s.nbytes, s.first, s.last) for s in arena.slots]
    regions += [
        Region(
            arena.operands[b].offset, b.stride, 0, steps, in_record=True, given=lowering.given(b)
        )
        for b in arena.kept
    ]
    copied, partial = lowering.copied(), lowering.partial
    return Memory(
        regions=tuple(regions),
        scratch_bytes=arena.scratch_bytes,
        record_bytes=arena.record_bytes,
        rows=arena.capacity.rows,
        samples=arena.capacity.samples,
        copies=arena.capacity.copies,
        input_size=lowering.graph.input.type.size,
        outputs=tuple(
            (value.type.size, None if partial or i in copied else int(phase_of(value.type.axes)))
            for i, value in enumerate(lowering.graph.outputs)
        ),
    )


def _values(lowering: Lowering) -> dict[str, Stored]:
    packed = {
        value.name: Stored(b, value.type, layout) for (value, layout), b in lowering.packed.items()
    }
    plain = {v.name: Stored(b, v.type) for v, b in lowering.buffers.items()}
    constants = {value.name for value in lowering.graph.constants}
    return {name: stored for name, stored in (packed | plain).items() if name not in constants}


def new_arena(plan: Plan, rows: int) -> NDArray[np.uint8]:
    """Allocate an arena for a chunk of `rows` rows, not cleared."""
    return aligned_bytes(plan.arena_bytes(rows))


def _program(steps: tuple[Step, ...], arena: Arena) -> NDArray[np.int64]:
    program = np.zeros((len(steps), COLUMNS), np.int64)
    for line, step in zip(program, steps, strict=True):
        opcode = OPCODES[type(step.instruction)]
        row = [opcode, *step.instruction.encode(arena.locate)]
        line[: len(row)] = row
    program.flags.writeable = False
    return program


def _ends(steps: tuple[Step, ...]) -> NDArray[np.int64]:
    phases = [step.phase for step in steps]
    return np.cumsum([phases.count(phase) for phase in Phase], dtype=np.int64)
