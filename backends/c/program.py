"""A network as C under construction: constants, buffers, and the steps that use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.traits import Trait
from qbnnc.ir.placement import Need, place
from qbnnc.ir.types import Array

SIZES = {"uint8_t": 1, "int16_t": 2, "int32_t": 4, "float": 4}
_MEMBERS = {"uint8_t": "codes", "int16_t": "filters", "int32_t": "sums", "float": "reals"}
_ALIGNMENT = 4


class Phase(Enum):
    """Whether a step runs once a row, or once a sample."""

    ROW = 0
    SAMPLE = 1


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Memory of the state: `count` elements of a C type."""

    ctype: str
    count: int

    @property
    def nbytes(self) -> int:
        return SIZES[self.ctype] * self.count


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of C of a layer; `{0}`, `{1}`, ... in it are addresses of the buffers."""

    phase: Phase
    text: str
    buffers: tuple[Buffer, ...]
    layer: str


@dataclass(frozen=True, slots=True)
class Constant:
    """An array in flash, which belongs to the first layer that asked for it."""

    name: str
    ctype: str
    values: Array
    layer: str

    @property
    def in_bytes(self) -> bool:
        """Whether elements are single bytes, which have no byte order."""
        return self.values.itemsize == 1

    @property
    def definition(self) -> str:
        """The array as C text."""
        head = f"QBNNC_DATA {self.ctype} {self.name}[{self.values.size}]"
        return f"{head} = {{\n{_text(self.values)}}};"


class Constants:
    """Arrays in flash, each once; members of an ensemble share what is equal."""

    def __init__(self) -> None:
        self._known = dict[tuple[str, bytes], Constant]()
        self.layer = ""

    @property
    def arrays(self) -> list[Constant]:
        return list(self._known.values())

    @property
    def nbytes(self) -> int:
        return sum(constant.values.nbytes for constant in self._known.values())

    def array(self, values: Array | Sequence[float], ctype: str) -> str:
        """Return the name of an array of these values in row-major order."""
        flat = np.ascontiguousarray(values).reshape(-1).astype(_NUMPY[ctype])
        key = ctype, flat.tobytes()
        if key not in self._known:
            self._known[key] = Constant(f"qb_data_{len(self._known)}", ctype, flat, self.layer)
        return self._known[key].name


_NUMPY = {
    "int8_t": np.int8,
    "uint8_t": np.uint8,
    "uint16_t": np.uint16,
    "int32_t": np.int32,
    "uint32_t": np.uint32,
    "int64_t": np.int64,
    "float": np.float32,
}


def real(value: float) -> str:
    """Write a float32 so that it is read back to the bit."""
    return f"{float(np.float32(value)).hex()}f"


def _text(flat: Array) -> str:
    if flat.dtype == np.float32:
        words = [real(v) for v in flat]
    elif flat.dtype == np.int64:
        words = [f"INT64_C({v})" for v in flat.tolist()]
    elif flat.dtype == np.int32:
        # INT32_MIN has no literal of its own type.
        words = ["INT32_MIN" if v == -(2**31) else str(v) for v in flat.tolist()]
    elif flat.dtype == np.uint32:
        words = [f"{v}u" for v in flat.tolist()]
    else:
        words = [str(v) for v in flat.tolist()]
    return ",\n".join(", ".join(words[i : i + 20]) for i in range(0, len(words), 20))


@dataclass
class Program:
    """The steps of one member, and the records that its steps name.

    `members` is the number of members, which have the same steps; a record of each stands in an
    array, and a step takes that of member `m`. `traits` and `parts` are what the steps need of the
    library.
    """

    constants: Constants
    members: int
    steps: list[Step] = field(default_factory=list)
    records: list[tuple[str, str]] = field(default_factory=list)  # type, initialiser
    traits: set[Trait] = field(default_factory=set)
    parts: set[Part] = field(default_factory=set)

    def step(self, phase: Phase, text: str, *buffers: Buffer) -> None:
        self.steps.append(Step(phase, text, buffers, self.constants.layer))

    def record(self, ctype: str, fields: Iterable[object]) -> str:
        """Add a record; return an expression for its address."""
        return f"&{self._entry(ctype, '{' + ', '.join(map(str, fields)) + '}')}"

    def number(self, value: int) -> str:
        """Return an expression for a number that each member has of its own."""
        return str(value) if self.members == 1 else self._entry("int32_t", str(value))

    def pointer(self, values: Array | Sequence[float], ctype: str) -> str:
        """Return an expression for an array that each member has of its own."""
        name = self.constants.array(values, ctype)
        return name if self.members == 1 else self._entry(f"{ctype} *const", name)

    def _entry(self, ctype: str, text: str) -> str:
        name = f"qb_part_{len(self.records)}"
        self.records.append((ctype, text))
        return f"{name}[m]" if self.members > 1 else name


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of each buffer, the steps that need it, and the bytes that all of them take."""

    offsets: dict[Buffer, int]
    needs: dict[Buffer, Need]
    steps: tuple[Step, ...]
    nbytes: int

    def statement(self, step: Step) -> str:
        """Write a step with the addresses of its buffers."""
        return step.text.format(*(self._address(buffer) for buffer in step.buffers))

    def _address(self, buffer: Buffer) -> str:
        return (
            f"st->memory.{_MEMBERS[buffer.ctype]} + {self.offsets[buffer] // SIZES[buffer.ctype]}"
        )


def lay_out(program: Program) -> Layout:
    """Place the buffers of a program. What a row's steps leave to a sample's stays to the end."""
    steps = sorted(program.steps, key=lambda step: step.phase.value)
    needs, end = dict[Buffer, Need](), len(steps) - 1
    phases = dict[Buffer, Phase]()
    for number, step in enumerate(steps):
        for buffer in step.buffers:
            phase = phases.setdefault(buffer, step.phase)
            first = needs[buffer].first if buffer in needs else number
            last = end if phase is not step.phase else number
            known = needs[buffer].last if buffer in needs else 0
            needs[buffer] = Need(buffer.nbytes, first, max(last, known))
    offsets = place(needs, _ALIGNMENT)
    most = max((offsets[b] + b.nbytes for b in needs), default=0)
    nbytes = -(-max(most, 4) // _ALIGNMENT) * _ALIGNMENT
    return Layout(offsets, needs, tuple(steps), nbytes)
