"""The instructions that move elements of 1 or 4 bytes and change none."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose(Instruction):
    """[rows][columns] to [columns][rows], with elements of `item` bytes."""

    input: Buffer
    rows: int
    columns: int
    item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather(Instruction):
    """`count` runs of `run` elements of `item` bytes.

    `index` i32 [count] says where the runs begin; -1 is a run of `fill`.
    """

    input: Buffer
    index: int
    count: int
    run: int
    item: int
    fill: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """A copy of `count` runs of `run` bytes to `first`, `first + step`, ... of the output."""

    input: Buffer
    first: int
    count: int
    run: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Instruction):
    """A copy of a constant to a buffer."""

    constant: int
    size: int
