"""The instructions that compute one element at a time, or look it up in a table."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise(Instruction):
    """quant(f(dequant(a), dequant(b))), with the `scales` of a, b and the result."""

    a: Buffer
    b: Buffer
    scales: int
    a_zero: int
    b_zero: int
    zero: int
    low: int
    high: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Pairwise):
    """quant(dequant(a) + dequant(b))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply(Instruction):
    """(a - Z_a)(b - Z_b) over [height][width][channels], i32 or requantised by one `factor`.

    The steps of a and b are in elements, 0 or more.
    """

    a: Buffer
    b: Buffer
    requantize: int  # whether the product becomes u8
    factor: int
    a_zero: int
    b_zero: int
    zero: int
    low: int
    high: int
    height: int
    width: int
    channels: int
    a_step_y: int
    a_step_x: int
    a_step_channel: int
    b_step_y: int
    b_step_x: int
    b_step_channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SumOfProducts(Instruction):
    """A carried state, i32: (a - Z_a)(b - Z_b), and with `second` (c - Z_c)(d - Z_d), by `factors`.

    `b_state` and `d_state` say that b or d is a carried state too, i32, and not u8. Without a
    second product c and d are a and b.
    """

    a: Buffer
    b: Buffer
    c: Buffer
    d: Buffer
    second: int
    b_state: int
    d_state: int
    factors: int
    a_zero: int
    b_zero: int
    c_zero: int
    d_zero: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp(Instruction):
    """u8 codes clamped to low..high."""

    input: Buffer
    low: int
    high: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup(Instruction):
    """table[code], u8 to u8."""

    input: Buffer
    table: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupReal(Instruction):
    """table[code], u8 [pixels][channels] to an output [channels][pixels]."""

    input: Buffer
    table: int
    pixels: int
    channels: int


PAIRWISE: tuple[type[Pairwise], ...] = (Add,)
"""An instruction for each op of pairs, by the name of the float op."""

INSTRUCTIONS: tuple[type[Instruction], ...] = (
    *PAIRWISE,
    Multiply,
    SumOfProducts,
    Clamp,
    Lookup,
    LookupReal,
)
