"""A fuzz target: how inputs of one format are made, and what is done with one."""

from __future__ import annotations

from random import Random
from typing import Protocol

from tests.fuzz.verdict import Verdict


class Unmade(Exception):
    """A mutation left something that cannot be written as a file of this format."""


class Target(Protocol):
    """Made once in a worker, before its memory is measured: imports and seeds belong to that.

    CompileOptions one tries its seeds, each of which must be read and run.
    """

    @property
    def suffix(self) -> str:
        """The suffix of the files that hold inputs."""

    def make(self, rng: Random) -> bytes:
        """One input, which depends on nothing but the generator's state; or Unmade."""

    def attempt(self, data: bytes) -> Verdict:
        """Do what a user would with this input, and compare the answer with its definition.

        Raises what the code under test raises. A UserError counts as REFUSED.
        """


def generator(target: str, index: int) -> Random:
    """The random numbers of one input, the same on every machine."""
    return Random(f"{target} {index}")
