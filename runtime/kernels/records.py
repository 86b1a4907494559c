"""The records of int64 that the interpreter and the kernels read, and where each number is.

Each class lists the numbers of a record in their order. The module of the same name in capitals
has the place of each as an attribute: `job[JOB.program]`.
"""

from __future__ import annotations

from enum import IntEnum
from types import ModuleType
from typing import NamedTuple

from qbnnc.runtime.program import Phase, numbered


class Job(NamedTuple):
    """A program, its constants and a schedule, for one member.

    A job is made once and used for many predictions. Addresses are of arrays that the caller keeps
    alive.
    """

    member: int
    members: int
    batch: int
    samples: int  # of all members
    program: int  # address of int64 [steps, COLUMNS]
    steps: int
    ends: int  # address of int64 [3]: where its phases end
    schedule: int  # address of int64 [blocks, fields of a Block]
    blocks: int
    constants: int  # address of uint8 [constant bytes], a multiple of 8
    constant_bytes: int


class Block(NamedTuple):
    """One run of a phase: `samples` from `first_sample` on, of `rows` rows from `first_row`.

    `start` is the chunk's first row in the batch, and `first_row` counts from there.
    """

    phase: Phase
    start: int
    first_row: int
    rows: int
    first_sample: int = 0
    samples: int = 1


class Context(NamedTuple):
    """The facts of a block that its kernels read."""

    samples: int
    rows: int
    first_row: int  # of the block, in the chunk
    seed: int
    sample_number: int  # of the first sample
    sample_step: int  # from one sample to the next
    row_number: int  # of the first row, for random numbers
    input_row: int  # of the first row, in the batch
    out_first: int  # copy of the prediction for the first sample and row
    out_step: int  # copies from one sample to the next
    out_copies: int  # copies of the whole prediction


class Call(NamedTuple):
    """A prediction of one size for `kernels.predict`, all of whose jobs run in one thread.

    Addresses are of arrays that the caller keeps alive.
    """

    magic: int
    entries: int  # address of int64 [opcodes]: addresses of the entries
    opcodes: int
    jobs: int  # address of int64 [job_count, fields of a Job]
    job_count: int
    x_elements: int
    out_elements: int
    workspace_bytes: int


CALL_MAGIC = 0x6E6E_6271_6C6C_6163  # "callqbnn" in memory


class Status(IntEnum):
    """The result of a prediction; nothing was written if it is not DONE."""

    DONE = 0
    BAD_CALL = 1  # null, misaligned, or not made by `Session.native_call`
    BAD_POINTER = 2  # null or misaligned: x and out by 4 bytes, the workspace by 64
    WRONG_SIZE = 3  # x or out has another number of elements
    SMALL_WORKSPACE = 4
    OVERLAP = 5  # out shares memory with x, or the workspace with one of them
    NAN = 6  # in x


class Arrays(NamedTuple):
    """Addresses and lengths of the arrays that kernels read and write.

    x and out are float32; arena and constants are uint8.
    """

    x: int
    x_size: int
    arena: int
    arena_size: int
    constants: int
    constants_size: int
    out: int
    out_size: int


def _places(record: type[NamedTuple]) -> ModuleType:
    names = record._fields
    return numbered(record.__name__, [*((name, 1) for name in names), ("SIZE", 1)])


JOB, BLOCK, CONTEXT, CALL, ARRAYS = (
    _places(record) for record in (Job, Block, Context, Call, Arrays)
)
