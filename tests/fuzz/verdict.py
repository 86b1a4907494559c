"""The fate of an input: the verdicts that are right, and the faults that are findings."""

from __future__ import annotations

import os
import traceback
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("backends/", "frontend/", "ir/", "passes/", "runtime/", "tools/")


class Kind(Enum):
    """Each input ends in one of these; the first five are as they should be."""

    REFUSED = "refused"  # a UserError when it was read
    PASSED = "passed check"  # read whole, then refused, as of a stage that does not predict
    RAN = "ran, equal"  # predicted, and every bit is as defined
    UNCOMPARED = "ran, not compared"  # its definition is too much work for a test
    UNMADE = "not an input"  # the mutation gave nothing that could be written
    UNTYPED = "untyped exception"
    CRASH = "crash"
    SLOW = "slow"
    MEMORY = "memory"
    WRONG = "wrong answer"

    @property
    def is_fault(self) -> bool:
        return self in _FAULTS


_FAULTS = frozenset({Kind.UNTYPED, Kind.CRASH, Kind.SLOW, Kind.MEMORY, Kind.WRONG})
CHECKED = frozenset({Kind.PASSED, Kind.RAN, Kind.UNCOMPARED, Kind.WRONG})


class WrongAnswer(Exception):
    """The code under test accepted an input, and did not do what its definition says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` is the message of a refusal or of a fault; `where` the innermost of our frames."""

    kind: Kind
    detail: str = ""
    where: str = ""

    @property
    def signature(self) -> str:
        """Faults with equal ones are one finding: the exception's type and the place."""
        return f"{self.kind.value}: {self.detail.split(':', 1)[0]} in {self.where or '?'}"

    def record(self) -> dict[str, str]:
        """For JSON."""
        return {**asdict(self), "kind": self.kind.value}

    @staticmethod
    def of(record: dict[str, str]) -> Verdict:
        """The inverse of `record`."""
        return Verdict(Kind(record["kind"]), record["detail"], record["where"])


def verdict_of(error: Exception) -> Verdict:
    """The fault that an exception is."""
    kind = Kind.UNTYPED
    if isinstance(error, WrongAnswer):
        kind = Kind.WRONG
    elif isinstance(error, MemoryError):
        kind = Kind.MEMORY
    text = " ".join(str(error).split())[:300]
    return Verdict(kind, f"{type(error).__name__}: {text}", place_of(error))


def place_of(error: BaseException) -> str:
    """The function of ours in which an exception arose: "ir/codec.py:decode", or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    named = [f"{found}:{f.name}" for f in frames if (found := of_ours(f.filename))]
    return named[-1] if named else ""


def of_ours(filename: str) -> str:
    """A source file's path in the repository, or nothing for one of tests and libraries."""
    path = os.path.relpath(os.path.realpath(filename), ROOT)
    return path if path.startswith(OURS) else ""
